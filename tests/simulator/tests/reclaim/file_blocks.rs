//! Stores whose blocks are smaller than pages, and file systems that keep their records in pages.

use std::ops::Range;

use mm_reclaim::env::{DeviceId, FileStore, FrameMemory};
use mm_reclaim::space::AreaFlags;
use mm_reclaim::units::{Nanos, PAGE_SIZE, Vpn};
use mm_reclaim::{FileError, SyncMode};
use simulator::tables::Touch;
use simulator::{Death, DiskConfig, Machine, OpenFile, Pace, Program};

use crate::file_cache::{content, with_files, written};
use crate::file_maps::map;

const BLOCK: usize = 1024;
const SYNC: DiskConfig = DiskConfig::sync(64);

/// A disk that takes so long for each request.
fn slow(millis: u64) -> DiskConfig {
    let latency = Nanos::from_millis(millis).0;
    DiskConfig { pace: Pace::Async { latency: latency..latency + 1, per_page: 0 }, ..SYNC }
}

fn at(area: &Range<Vpn>, byte: u64) -> u64 {
    area.start.addr() + byte
}

/// FILE-03, FILE-06: the store is asked for what is stored to: by `write` for its bytes, by a mapping
/// for the page up to the end of the file. A file that becomes longer asks again for what its last page
/// gains, also if that is mapped and dirty.
#[test]
fn a_longer_file_asks_for_what_its_last_page_gains() {
    Machine::run(&with_files(SYNC), |machine| {
        let files = &machine.world.files;
        files.split_pages(BLOCK);
        let mut file = OpenFile::create(machine, DeviceId(1));
        assert_eq!(file.write(0, &[1; 100]), Ok(100));
        assert_eq!(files.take_reserved(), [(0, 0..100)]);
        let program = Program::new(machine);
        let area = map(&program, &file, 0..2, AreaFlags::SHARED);
        program.touch(at(&area, 8), Touch::Store(7)).expect("a mapped page");
        assert_eq!(files.take_reserved(), [(0, 0..100)]);
        program.touch(at(&area, 16), Touch::Store(7)).expect("a writable page");
        assert_eq!(files.take_reserved(), [], "it is dirty and writable");

        file.truncate(3000).expect("a size");
        assert_eq!(files.take_resized(), [3000]);
        program.touch(at(&area, 2000), Touch::Store(9)).expect("a mapped page");
        assert_eq!(files.take_reserved(), [(0, 0..3000)]);
        // `write` behind a gap is the same; it reserves what it writes.
        assert_eq!(file.write(3500, &[2; 8]), Ok(8));
        assert_eq!(files.take_reserved(), [(0, 3500..3508)]);
        program.touch(at(&area, 3200), Touch::Store(5)).expect("a mapped page");
        assert_eq!(files.take_reserved(), [(0, 0..3508)]);
        assert_eq!(files.take_resized(), [], "a write says nothing");
        file.sync().expect("a disk that works");
        assert_eq!(file.read(2000, 1), Ok(vec![9]));
        assert_eq!(program.touch(at(&area, 5000), Touch::Store(1)), Err(Death::BusError));
        drop((program, file));
        machine.validate();
    });
}

/// FILE-05, FILE-06: a file that is cut inside of a page tells its store when nothing of that page is
/// being written any more.
#[test]
fn a_cut_inside_of_a_page_waits_for_its_write() {
    let slow = slow(50);
    Machine::run(&with_files(slow), |machine| {
        let files = &machine.world.files;
        let file = written(machine, 2);
        files.split_pages(BLOCK);
        assert_eq!(file.write(0, &content(0, 0)[..100]), Ok(100));
        let started = machine.mm.write_dirty_pages(file.file(), 0..2, 2, SyncMode::None);
        assert_eq!(started, Ok(1));
        assert!(file.file().is_being_written());
        file.truncate(500).expect("a size");
        assert!(!file.file().is_being_written(), "the store was told too early");
        assert_eq!(files.take_resized(), [500]);
        drop(file);
        machine.validate();
    });
}

/// FILE-04: a write that fails tells the store where the file ends, which may have reserved more.
#[test]
fn a_write_that_fails_says_where_the_file_ends() {
    Machine::run(&with_files(SYNC), |machine| {
        machine.world.files.split_pages(BLOCK);
        let mut file = OpenFile::create(machine, DeviceId(1));
        assert_eq!(file.write(0, &[1; 100]), Ok(100));
        // Nothing of the source is ever there.
        file.absent = 1;
        let written = file.write(3000, &[1]);
        assert_eq!(written, Err(FileError::BadBuffer));
        assert_eq!((machine.world.files.take_resized(), file.file().size()), (vec![100], 100));
        drop(file);
        machine.validate();
    });
}

/// FILE-01: records are read, changed and made in the pages of a file, and written like any others.
#[test]
fn records_are_kept_in_pages() {
    let slow = slow(5);
    Machine::run(&with_files(slow), |machine| {
        let (mm, world, file) = (machine.mm, machine.world, written(machine, 4));
        assert_eq!(mm.drop_file_pages(file.file(), 0..4), 4);
        let mut word = [0; 8];
        mm.look_at_page(file.file(), 2, &mut |frame| world.read(frame, 8, &mut word))
            .expect("read");
        assert_eq!(word[..], content(file.number(), 2)[8..16]);
        let change = |index: u32, byte: u8| {
            mm.change_page(file.file(), index, &mut |frame| world.write(frame, 0, &[byte; 8]))
        };
        change(2, 5).expect("a page that was read");
        assert_eq!(mm.dirty_state().dirty, 1);
        mm.write_page(file.file(), 2).expect("a disk that works");
        assert!(file.file().is_clean());
        change(9, 1).expect_err("behind the end");
        // A page that is begun is not read.
        let reads = world.disks.stat(DeviceId(1)).reads;
        assert_eq!(mm.drop_file_pages(file.file(), 0..4), 1);
        mm.begin_page(file.file(), 3, &mut |frame| world.write(frame, 0, &[6; 16])).expect("made");
        assert_eq!(world.disks.stat(DeviceId(1)).reads, reads);
        mm.write_page(file.file(), 3).expect("a disk that works");
        assert_eq!(mm.drop_file_pages(file.file(), 0..4), 1);
        let mut bytes = [0; PAGE_SIZE];
        mm.look_at_page(file.file(), 3, &mut |frame| world.read(frame, 0, &mut bytes))
            .expect("read");
        assert_eq!((bytes[..16].to_vec(), &bytes[16..]), (vec![6; 16], &[0; PAGE_SIZE - 16][..]));
        drop(file);
        machine.validate();
    });
}

/// FILE-01: a record is not changed while it is being written, and who changes it waits for that.
#[test]
fn a_record_is_not_changed_while_it_is_written() {
    let slow = slow(50);
    Machine::run(&with_files(slow), |machine| {
        let (mm, world, file) = (machine.mm, machine.world, written(machine, 1));
        mm.change_page(file.file(), 0, &mut |frame| world.write(frame, 0, &[1])).expect("there");
        mm.write_dirty_pages(file.file(), 0..1, 1, SyncMode::None).expect("a write");
        assert!(file.file().is_being_written());
        let mut was = true;
        mm.change_page(file.file(), 0, &mut |_| was = file.file().is_being_written()).expect("it");
        assert!(!was, "the page was changed under the device");
        mm.write_dirty_pages(file.file(), 0..1, 1, SyncMode::None).expect("a write");
        mm.wait_for_page_write(file.file(), 0);
        assert!(!file.file().is_being_written());
        drop(file);
        machine.validate();
    });
}

/// DIRT-03, FILE-01: a record that cannot be written is an error for who waits for it, each time.
#[test]
fn a_record_that_cannot_be_written_is_an_error() {
    let config = DiskConfig { fail_write: 1, ..SYNC };
    Machine::run(&with_files(config), |machine| {
        let (mm, world) = (machine.mm, machine.world);
        let file = OpenFile::create(machine, DeviceId(1));
        file.truncate(PAGE_SIZE as u64).expect("a size");
        for _ in 0..2 {
            world.reserve(file.number(), 0, 0..PAGE_SIZE).expect("room");
            mm.begin_page(file.file(), 0, &mut |frame| world.write(frame, 0, &[1])).expect("made");
            assert_eq!(mm.write_page(file.file(), 0), Err(FileError::Io));
        }
        drop(file);
        machine.validate();
    });
}
