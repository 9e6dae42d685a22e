//! The mappings of a page: counts through fork, copies and splits; references and unmapping seen
//! through every mapping; translations that must not outlive their entries.

use mm_reclaim::env::{Mapping, PageTables, Prot, Pte};
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::PageFlags;
use mm_reclaim::reclaim::{ActivateReason, FreeReason, KeepReason, Reason, ScanRequest};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::map::{MAX_USES, SlotState};
use mm_reclaim::units::Vpn;
use simulator::tables::Touch;
use simulator::{Config, Death, DiskConfig, FIRST_DISK, Machine, Program};

use crate::bench::{
    anything, chill, cold, entry, frame, frames, has, hot, is_present, look, on, page, pages,
    prove, slot, slow, small,
};

const DISK: DiskConfig = DiskConfig::sync(1024);

/// The small machine with young and dirty kept by software, and by hardware.
fn both_ways() -> [Config; 2] {
    [false, true].map(|sets_flags| {
        let mut config = small(DISK);
        config.hardware.sets_flags = sets_flags;
        config
    })
}

/// RMAP-01: the count of mappings is right through fork, copy-on-write and exit.
#[test]
fn mappings_are_counted_through_fork_copy_and_exit() {
    on(DISK, |machine| {
        let (program, area) = hot(machine, 8);
        let pfn = frame(machine, &program, area.start);
        let counts = || page(machine, pfn).mapcount();
        assert_eq!(counts(), 1);
        let mut child = program.fork().expect("a child");
        let grandchild = child.fork().expect("a grandchild");
        assert_eq!(counts(), 3);
        prove(machine);
        child.write(area.start).expect("alive");
        assert_ne!(frame(machine, &child, area.start), pfn, "the child has a copy");
        assert_eq!((counts(), machine.mm.event(VmEvent::CowCopy)), (2, 1));
        prove(machine);
        grandchild.exit();
        assert_eq!(counts(), 1);
        prove(machine);
        program.check_all(area.clone());
        child.check_all(area);
    });
}

/// RMAP-01: the last of several sharers gets the page itself when it stores, not a copy.
#[test]
fn the_last_sharer_keeps_the_page() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 1);
        let pfn = frame(machine, &program, area.start);
        program.fork().expect("a child").exit();
        program.write(area.start).expect("alive");
        assert_eq!(frame(machine, &program, area.start), pfn);
        assert_eq!(machine.mm.event(VmEvent::CowReuse), 1);
        assert_eq!(machine.mm.event(VmEvent::CowCopy), 0);
        prove(machine);
    });
}

/// RMAP-01: pages are found through areas that were split by unmapping and by new rights,
/// in a parent and in a child that split elsewhere.
#[test]
fn mappings_are_found_through_split_areas() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 64);
        let part = |a: u32, b: u32| area.start + a..area.start + b;
        let mut child = program.fork().expect("a child");
        program.unmap(part(10, 20)).expect("an area");
        machine.mm.mprotect(program.space, part(40, 50), Prot::READ).expect("an area");
        child.unmap(part(30, 35)).expect("an area");
        let pfn = frame(machine, &program, part(5, 6).start);
        assert_eq!(page(machine, pfn).mapcount(), 2);
        let lone = frame(machine, &child, part(12, 13).start);
        assert_eq!(page(machine, lone).mapcount(), 1);
        prove(machine);
        let all: Vec<_> = pages(area.clone())
            .filter(|v| is_present(machine, &child, *v))
            .map(|v| frame(machine, &child, v))
            .collect();
        let seen = look(machine, &all, ScanRequest::proactive());
        assert_eq!(seen.verdicts, [(Reason::Free(FreeReason::Written), 59)]);
        for vpn in pages(part(0, 10)).chain(pages(part(40, 64))) {
            assert_eq!(slot(machine, &program, vpn), slot(machine, &child, vpn));
        }
        prove(machine);
        [part(0, 10), part(20, 64)].into_iter().for_each(|range| program.check_all(range));
        [part(0, 30), part(35, 64)].into_iter().for_each(|range| child.check_all(range));
        prove(machine);
    });
}

/// RMAP-02: clear, access, look: the access is seen although no task was switched, because
/// the translation was flushed with the flag.
#[test]
fn an_access_after_the_look_is_seen_by_the_next() {
    for config in both_ways() {
        Machine::run(&config, |machine| {
            let (program, area) = hot(machine, 4);
            let all = frames(machine, &program, area.clone());
            let seen = look(machine, &all, anything());
            assert_eq!(seen.verdicts, [(Reason::Keep(KeepReason::Referenced), 4)]);
            program.check_all(area);
            let seen = look(machine, &all, anything());
            let want = Reason::Activate(ActivateReason::Referenced);
            assert_eq!(seen.verdicts, [(want, 4)], "flags by hardware: {config:?}");
            prove(machine);
        });
    }
}

/// RMAP-02: advice that clears the references flushes too.
#[test]
fn an_access_after_cold_advice_is_seen() {
    for config in both_ways() {
        Machine::run(&config, |machine| {
            let (program, area) = cold(machine, 2);
            program.check(area.start).expect("alive");
            let seen = look(machine, &frames(machine, &program, area), anything());
            let kept = Reason::Keep(KeepReason::Referenced);
            assert_eq!(seen.verdicts, [(kept, 1), (Reason::Free(FreeReason::Written), 1)]);
            prove(machine);
        });
    }
}

/// RMAP-02: the flag is cleared in every mapping, each counted once.
#[test]
fn the_look_clears_every_mapping() {
    on(DISK, |machine| {
        let (program, area) = hot(machine, 1);
        let child = program.fork().expect("a child");
        child.check_all(area.clone());
        let all = frames(machine, &program, area.clone());
        look(machine, &all, anything());
        for p in [&program, &child] {
            let young = match entry(machine, p, area.start) {
                Pte::Present(mapping) => mapping.young,
                other => panic!("{other:?}"),
            };
            assert!(!young);
        }
        prove(machine);
    });
}

/// RMAP-05: a store that only the page table records reaches the page when it is unmapped: a page
/// that was read back clean and then stored to is written again.
#[test]
fn the_dirty_bit_is_carried_to_the_page() {
    for config in both_ways() {
        Machine::run(&config, |machine| {
            let (mut program, area) = cold(machine, 2);
            look(machine, &frames(machine, &program, area.clone()), anything());
            program.check_all(area.clone());
            program.write(area.start).expect("alive");
            chill(&mut program, area.clone());
            let all = frames(machine, &program, area.clone());
            assert!(has(machine, all[0], PageFlags::SWAPCACHE), "clean, and stored to in place");
            let seen = look(machine, &all, anything());
            let [clean, written] = [FreeReason::Clean, FreeReason::Written].map(Reason::Free);
            assert_eq!(seen.verdicts, [(clean, 1), (written, 1)]);
            prove(machine);
            program.check_all(area);
        });
    }
}

/// RMAP-05: an attempt that fails half way leaves every mapping usable: the one that was
/// replaced finds the page in the cache, the other one still maps it.
#[test]
fn a_failed_unmapping_leaves_every_mapping_usable() {
    on(DISK, |machine| {
        let (mut program, area) = cold(machine, 1);
        let mut child = program.fork().expect("a child");
        look(machine, &frames(machine, &program, area.clone()), ScanRequest::proactive());
        let slot = slot(machine, &program, area.start);
        [&program, &child].into_iter().for_each(|p| p.check_all(area.clone()));
        [&mut program, &mut child].into_iter().for_each(|p| chill(p, area.clone()));
        let set = |uses| machine.mm.corrupt_slot(slot, |state| SlotState { uses, ..state });
        set(MAX_USES - 1);
        let pfn = frame(machine, &program, area.start);
        let seen = look(machine, &[pfn], anything());
        assert_eq!(seen.verdicts, [(Reason::Activate(ActivateReason::UnmapFailed), 1)]);
        assert_eq!(seen.stat.unmap_fail, 1);
        set(1);
        let mapped = [&program, &child].map(|p| is_present(machine, p, area.start));
        assert_eq!(mapped.iter().filter(|m| **m).count(), 1, "one was replaced, one was not");
        prove(machine);
        let reads = machine.world.disks.stat(FIRST_DISK).reads;
        [&program, &child].into_iter().for_each(|p| p.check_all(area.clone()));
        assert_eq!(machine.world.disks.stat(FIRST_DISK).reads, reads, "still in memory");
        assert_eq!(page(machine, pfn).mapcount(), 2);
        prove(machine);
    });
}

/// RMAP-06: once its batch is through, no CPU reaches a reclaimed page: the next access
/// faults, although it used the page a moment ago.
#[test]
fn no_translation_outlives_its_batch() {
    for config in both_ways() {
        Machine::run(&config, |machine| {
            let (mut program, area) = hot(machine, 100);
            for round in 0..3 {
                program.check_all(area.clone());
                let faults = machine.mm.space_stat(program.space).maj_faults;
                assert_eq!(program.advise(area.clone(), Advice::PageOut), Ok(100));
                if round % 2 == 0 {
                    program.write_all(area.clone());
                } else {
                    program.check_all(area.clone());
                }
                assert_eq!(machine.mm.space_stat(program.space).maj_faults - faults, 100);
                prove(machine);
            }
            program.check_all(area);
        });
    }
}

/// RMAP-06: no store is lost to a page that is being written out: the translation is
/// flushed before the device reads the page, not only when the batch ends. Another task of
/// the same program stores all the time.
#[test]
fn stores_during_page_out_are_never_lost() {
    for seed in 0..4 {
        let mut config = small(DISK);
        config.hardware.seed = seed;
        config.hardware.preempt_every = 3;
        config.hardware.sets_flags = seed % 2 == 0;
        if seed >= 2 {
            config.hardware.disks = vec![DiskConfig::later(1024)];
        }
        Machine::run(&config, |machine| {
            let (program, area) = hot(machine, 32);
            machine.crowd(2, |machine, who| match who {
                0 => (0..60).for_each(|_| {
                    let done = machine.mm.madvise(program.space, area.clone(), Advice::PageOut);
                    assert!(done.is_ok());
                }),
                _ => (0..60).for_each(|n| store_everywhere(machine, &program, &area, n)),
            });
            prove(machine);
        });
    }
}

/// Stores `n` to every page; each still holds what the round before stored.
fn store_everywhere(
    machine: Machine<'_>,
    program: &Program<'_>,
    area: &std::ops::Range<Vpn>,
    n: u64,
) {
    for vpn in pages(area.clone()) {
        let addr = vpn.addr() + 64;
        let was = program.touch(addr, Touch::Store(n + 1)).expect("alive");
        assert_eq!(was, n, "a store to {vpn:?} was lost");
        machine.world.sched.yield_now();
    }
}

/// RMAP-06: an entry lost its right to store, in a fork say, and the flush for that is still to
/// come when the page is evicted: it is not written out before its own flush.
#[test]
fn a_right_that_was_just_taken_may_still_be_used() {
    for config in both_ways() {
        Machine::run(&config, |machine| {
            let (program, area) = hot(machine, 4);
            let all = frames(machine, &program, area.clone());
            pages(area.clone()).for_each(|vpn| take_right(machine, &program, vpn));
            let seen = look(machine, &all, ScanRequest { force: true, ..anything() });
            assert_eq!(seen.verdicts, [(Reason::Free(FreeReason::Written), 4)]);
            program.check_all(area);
            prove(machine);
        });
    }
}

/// Makes an entry read-only, without a flush.
fn take_right(machine: Machine<'_>, program: &Program<'_>, vpn: Vpn) {
    machine.mm.with_tables(program.space, |tables| {
        let Pte::Present(old) = tables.get(vpn) else { panic!("{vpn:?} is present") };
        tables.replace(vpn, Pte::Present(Mapping { prot: Prot::READ, ..old }));
    });
}

/// A right that `mprotect` takes is gone when it returns, for translations in use as well.
#[test]
fn a_right_that_is_taken_is_gone_at_once() {
    for config in both_ways() {
        Machine::run(&config, |machine| {
            let (program, area) = hot(machine, 4);
            let store = |vpn: Vpn| program.touch(vpn.addr() + 64, Touch::Store(1));
            assert_eq!(store(area.start), Ok(0));
            machine.mm.mprotect(program.space, area.clone(), Prot::READ).expect("an area");
            assert_eq!(store(area.start), Err(Death::BadAddress));
            program.check_all(area);
        });
    }
}

/// RMAP-06: a page under write-back that is stored to again is stored to in the page, not
/// through a translation from before: the device has the old bytes, the next write-out the
/// new ones.
#[test]
fn a_stale_translation_does_not_hide_a_store_from_the_next_write_out() {
    on(slow(64), |machine| {
        let (mut program, area) = hot(machine, 3);
        program.advise(area.clone(), Advice::PageOut).expect("an area");
        program.write_all(area.clone());
        prove(machine);
        program.advise(area.clone(), Advice::PageOut).expect("an area");
        prove(machine);
        program.advise(area.clone(), Advice::PageOut).expect("an area");
        prove(machine);
        program.check_all(area);
    });
}
