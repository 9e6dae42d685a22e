//! Pages of files that very many areas map.

use mm_reclaim::page::MAPCOUNT_MAX;
use mm_reclaim::reclaim::{FreeReason, Reason, ScanRequest};
use mm_reclaim::space::AreaFlags;
use simulator::tables::Touch;
use simulator::{Death, DiskConfig, Machine, Program};

use crate::bench::{look, page};
use crate::file_cache::{with_files, written};
use crate::file_maps::map;

/// RMAP-01, RMAP-03: a page that has as many mappings as it can count refuses one more, by a bus error of
/// who wants it; the count never wraps, and its neighbours can be mapped.
#[test]
fn one_mapping_too_many_is_refused() {
    Machine::run(&with_files(DiskConfig::sync(64)), |machine| {
        let file = written(machine, 4);
        let (first, second) = (Program::new(machine), Program::new(machine));
        let [one, two] = [&first, &second].map(|p| map(p, &file, 0..4, AreaFlags::SHARED));
        first.touch((one.start + 2).addr(), Touch::Load).expect("a mapped page");
        let frame = machine.mm.file_frame(file.file(), 2).expect("a cached page");
        let mapped = page(machine, frame);
        // As if so many areas mapped it.
        let others = MAPCOUNT_MAX - mapped.mapcount();
        mapped.corrupt_counts(others as i16, i32::from(others));
        assert_eq!(mapped.mapcount(), MAPCOUNT_MAX);
        for touch in [Touch::Load, Touch::Store(1)] {
            assert_eq!(second.touch((two.start + 2).addr(), touch), Err(Death::BusError));
        }
        assert_eq!(mapped.mapcount(), MAPCOUNT_MAX);
        assert!(second.touch((two.start + 1).addr(), Touch::Load).is_ok());
        mapped.corrupt_counts((others as i16).wrapping_neg(), -i32::from(others));
        assert!(second.touch((two.start + 2).addr(), Touch::Load).is_ok());
        drop((first, second, file));
        machine.validate();
    });
}

/// RMAP-01, RMAP-02: of a thousand mappings of one file in different places a walk visits those that
/// cover the page, and reclaim drops each of them.
#[test]
fn a_walk_visits_the_mappings_that_cover_the_page() {
    Machine::run(&with_files(DiskConfig::sync(2048)), |machine| {
        let file = written(machine, 1010);
        let program = Program::new(machine);
        let areas: Vec<_> =
            (0..1000).map(|n| map(&program, &file, n..n + 8, AreaFlags::SHARED)).collect();
        let (index, covering) = (500, 493..=500);
        for n in covering.clone() {
            let at = areas[n as usize].start + (index - n);
            program.touch(at.addr(), Touch::Load).expect("a mapped page");
        }
        let frame = machine.mm.file_frame(file.file(), index).expect("a cached page");
        assert_eq!(machine.mm.areas_asked(page(machine, frame)), 8);
        assert_eq!(u32::from(page(machine, frame).mapcount()), 8);
        let first = machine.mm.file_frame(file.file(), 0).expect("a cached page");
        assert_eq!(machine.mm.areas_asked(page(machine, first)), 1);
        let seen = look(machine, &[frame], ScanRequest::proactive());
        assert_eq!(seen.verdicts, [(Reason::Free(FreeReason::Clean), 1)]);
        for n in covering {
            let at = areas[n as usize].start + (index - n);
            program.touch(at.addr(), Touch::Load).expect("read again");
        }
        drop((program, file));
        machine.validate();
    });
}
