//! `msync`: what a program writes of its mappings of files, and which errors it learns.

use mm_reclaim::FileError;
use mm_reclaim::space::{AreaFlags, SpaceError};
use simulator::tables::Touch;
use simulator::{DiskConfig, Machine, Program};

use crate::file_cache::{DISK, with_files, written};
use crate::file_maps::map;

/// A machine with a program that maps eight pages of a file shared, and has stored to each.
fn stored(test: impl FnOnce(Machine<'_>, &mut dyn FnMut(std::ops::Range<u32>, bool) -> Synced)) {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let file = written(machine, 8);
        let program = Program::new(machine);
        let area = map(&program, &file, 0..8, AreaFlags::SHARED);
        for page in area.start.0..area.end.0 {
            program.touch(u64::from(page) << 12, Touch::Store(1)).expect("a mapped page");
        }
        test(machine, &mut |pages, later| {
            let range = area.start + pages.start..area.start + pages.end;
            program.call(|mm| mm.msync(program.space, range, later))
        });
        drop((program, file));
        machine.validate();
    });
}

type Synced = Result<Result<(), FileError>, SpaceError>;

/// FILE-03: a part of a mapping is written, and nothing else: at its start, within, at its end.
#[test]
fn a_part_of_a_mapping_is_written() {
    stored(|machine, msync| {
        let mut dirty = 8;
        for (part, pages) in [(0..2, 2), (3..4, 1), (3..4, 0), (6..8, 2), (0..8, 3)] {
            assert_eq!(msync(part.clone(), false), Ok(Ok(())), "{part:?}");
            dirty -= pages;
            assert_eq!(machine.mm.dirty_state().dirty, dirty, "{part:?}");
        }
    });
}

/// FILE-03: what may be written later is left to the flusher.
#[test]
fn what_may_be_written_later_is_left() {
    stored(|machine, msync| {
        assert_eq!(msync(0..8, true), Ok(Ok(())));
        assert_eq!(machine.mm.dirty_state().dirty, 8);
    });
}

/// FILE-03: of a private mapping there is nothing to write, whatever the file has.
#[test]
fn a_private_mapping_has_nothing_to_write() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let file = written(machine, 8);
        file.write(0, b"dirty").expect("room");
        let program = Program::new(machine);
        let area = map(&program, &file, 0..8, AreaFlags::empty());
        program.touch(area.start.addr() + 4096, Touch::Store(1)).expect("a mapped page");
        let done = program.call(|mm| mm.msync(program.space, area.clone(), false));
        assert_eq!((done, machine.mm.dirty_state().dirty), (Ok(Ok(())), 1));
        drop((program, file));
        machine.validate();
    });
}

/// A hole is an error after everything else was written.
#[test]
fn a_hole_is_reported_after_the_rest_was_written() {
    stored(|machine, msync| {
        assert!(matches!(msync(6..10, false), Ok(Err(_)) | Err(SpaceError::BadRange { .. })));
        assert_eq!(machine.mm.dirty_state().dirty, 6);
    });
}

/// DIRT-03: a mapping reports a failed write once, whichever part of it is asked about.
#[test]
fn a_mapping_reports_a_failed_write_once() {
    stored(|machine, msync| {
        machine.world.disks.configure(DISK, |disk| disk.fail_write = 1);
        assert_eq!(msync(0..2, false), Ok(Err(FileError::Io)));
        assert_eq!(msync(0..2, false), Ok(Ok(())), "it was reported");
        assert_eq!(msync(4..8, false), Ok(Err(FileError::Io)));
        machine.world.disks.configure(DISK, |disk| disk.fail_write = 0);
        assert_eq!(msync(0..8, false), Ok(Ok(())));
        assert_eq!(machine.mm.dirty_state().dirty, 0);
    });
}
