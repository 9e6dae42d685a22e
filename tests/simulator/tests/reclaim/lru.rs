//! The lists: where pages enter, how they move, what reclaiming them costs.

use mm_reclaim::env::Prot;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::{LruList, PageFlags, PageType};
use mm_reclaim::reclaim::{KeepReason, Reason};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::PhysAddr;
use mm_reclaim::zone::{ZoneId, ZoneLimits};
use simulator::{Config, DiskConfig, Machine, Program};

use crate::bench::{
    HeldPage, anything, chill, cold, direct, direct_round, frame, frames, has, hot, is_present,
    lock_behind_reclaim, look, on, on_list, pages, prove, small,
};

const DISK: DiskConfig = DiskConfig::sync(1024);

/// Three zones in the small machine.
fn three_zones(disk: DiskConfig) -> Config {
    let mut config = small(disk);
    let (dma_end, dma32_end) = (PhysAddr(1 << 20), PhysAddr(2 << 20));
    config.mm.zone_limits = ZoneLimits { dma_end, dma32_end };
    config
}

/// LRU-03: the first use marks the page, the second one activates it and clears the mark.
#[test]
fn two_uses_activate_a_page() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        let pfn = frame(machine, &program, area.start);
        let state = || {
            let flags = PageFlags::REFERENCED | PageFlags::ACTIVE;
            machine.mm.memmap().page(pfn).flags() & flags
        };
        let held = machine.mm.get_page(pfn).expect("a page in use");
        assert_eq!(state(), PageFlags::empty());
        machine.mm.mark_page_accessed(&held);
        assert_eq!(state(), PageFlags::REFERENCED);
        assert_eq!(on_list(machine, LruList::ActiveAnon), 0);
        machine.mm.mark_page_accessed(&held);
        assert_eq!(state(), PageFlags::empty(), "it waits in a batch");
        assert_eq!(on_list(machine, LruList::ActiveAnon), 1);
        assert_eq!(state(), PageFlags::ACTIVE);
        assert_eq!(machine.mm.event(VmEvent::PgActivate), 1);
        machine.mm.put_page(held);
        prove(machine);
    });
}

/// LRU-03: a page that is still in a batch is activated too, and an unevictable one is left alone.
#[test]
fn uses_count_in_a_batch_and_not_for_locked_pages() {
    on(DISK, |machine| {
        let mut program = Program::new(machine);
        let area = program.map(2);
        program.write_all(area.clone());
        let last = area.start + 1..area.end;
        machine.mm.mlock(program.space, last).expect("memory");
        for vpn in pages(area) {
            let held = HeldPage::of(machine, frame(machine, &program, vpn));
            let again = machine.mm.get_page(frame(machine, &program, vpn)).expect("in use");
            (0..3).for_each(|_| machine.mm.mark_page_accessed(&again));
            machine.mm.put_page(again);
            drop(held);
        }
        assert_eq!(on_list(machine, LruList::ActiveAnon), 1);
        assert_eq!(on_list(machine, LruList::Unevictable), 1);
        prove(machine);
    });
}

/// LRU-10: memory that is locked once more is still locked.
#[test]
fn locking_twice_keeps_memory_locked() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 4);
        (0..2).for_each(|_| program.lock(area.clone(), true).expect("memory"));
        // Copies of its own: their area decides whether they are locked.
        let child = program.fork().expect("memory");
        program.write_all(area.clone());
        child.exit();
        let all = frames(machine, &program, area.clone());
        assert_eq!(on_list(machine, LruList::Unevictable), 4);
        look(machine, &all, anything());
        assert!(pages(area.clone()).all(|vpn| is_present(machine, &program, vpn)));
        prove(machine);
        program.lock(area.clone(), false).expect("the same range");
        assert_eq!(on_list(machine, LruList::Unevictable), 0);
        prove(machine);
        program.check_all(area);
    });
}

/// LRU-10: a child inherits no lock: what it copies can be reclaimed.
#[test]
fn a_child_inherits_no_lock() {
    on(DISK, |machine| {
        let (program, area) = hot(machine, 4);
        program.lock(area.clone(), true).expect("memory");
        let mut child = program.fork().expect("memory");
        child.write_all(area.clone());
        assert_eq!(on_list(machine, LruList::Unevictable), 4, "the parent's");
        child.advise(area.clone(), Advice::PageOut).expect("an area");
        assert!(pages(area.clone()).all(|vpn| !is_present(machine, &child, vpn)));
        prove(machine);
        child.check_all(area.clone());
        program.check_all(area);
    });
}

/// LAZY-01: advice that memory is cold returns how many pages it took off the active list.
#[test]
fn cold_advice_counts_the_pages_that_it_moved() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 20);
        activate(machine, &mut program, area.start..area.start + 6);
        let moved = program.advise(area.clone(), Advice::Cold);
        assert_eq!((moved, on_list(machine, LruList::ActiveAnon)), (Ok(6), 0));
        assert_eq!(machine.mm.event(VmEvent::PgDeactivate), 6);
        prove(machine);
        program.check_all(area);
    });
}

/// LRU-05: a scan takes from the tail, the oldest pages first, and no more than it needs.
#[test]
fn a_scan_takes_the_oldest_and_no_more_than_it_may() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 128);
        direct_round(machine, Gfp::KERNEL);
        let scanned = machine.mm.event(VmEvent::PgScanDirect);
        let gone = pages(area.clone()).take_while(|v| !is_present(machine, &program, *v)).count();
        let all_gone = pages(area.clone()).filter(|v| !is_present(machine, &program, *v)).count();
        assert_eq!(gone, all_gone, "the oldest first");
        // The list's size shifted by the priorities 7 to 2: 1, 1, 3, 7, 14 and 25 pages; the
        // target of 32 is met then.
        assert_eq!((scanned, gone), (51, 51));
        prove(machine);
        program.check_all(area);
    });
}

/// LRU-05: zones above the request's class are not visited; those below are.
#[test]
fn zones_above_the_class_are_left_alone() {
    Machine::run(&three_zones(DISK), |machine| {
        let (program, area) = cold(machine, 800);
        let counts = |id| machine.mm.zone(id).reclaim_counts();
        let before = ZoneId::ALL.map(counts);
        let gfp = Gfp::DIRECT_RECLAIM | Gfp::IO | Gfp::FS | Gfp::NORETRY | Gfp::DMA;
        let take = |gfp| machine.mm.alloc_pages(gfp, mm_reclaim::units::Order::ZERO);
        let mut taken: Vec<_> = std::iter::from_fn(|| take(Gfp::DMA)).collect();
        taken.extend(take(gfp));
        assert_eq!(machine.mm.event(VmEvent::AllocStallDma), 1);
        assert!(counts(ZoneId::Dma).1 > before[0].1, "the class zone was reclaimed from");
        assert_eq!(counts(ZoneId::Dma32), before[1]);
        assert_eq!(counts(ZoneId::Normal), before[2]);
        crate::bench::release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// LRU-06: kept pages return to the head: a later scan meets the others first.
#[test]
fn kept_pages_return_to_the_head() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 96);
        let older = area.start..area.start + 32;
        let kept = look(machine, &frames(machine, &program, older.clone()), direct(Gfp::NOIO));
        assert_eq!(kept.verdicts, [(Reason::Keep(KeepReason::NoIo), 32)]);
        direct_round(machine, Gfp::KERNEL);
        assert!(pages(older).all(|vpn| is_present(machine, &program, vpn)));
        assert!(!is_present(machine, &program, area.start + 32));
        prove(machine);
        program.check_all(area);
    });
}

/// LRU-06: a page whose last user ended while it was isolated is freed when it is put back.
#[test]
fn a_page_unmapped_while_isolated_is_freed_at_its_return() {
    on(DISK, |machine| {
        let (program, _, pfn) = crate::bench::unwanted(machine);
        let free = machine.mm.total_free();
        look(machine, &[pfn], anything());
        assert_eq!(machine.mm.total_free(), free + 1);
        prove(machine);
        drop(program);
    });
}

/// LRU-08: what reclaim writes is charged to the type, and costs above a quarter of the
/// lists are halved.
#[test]
fn writing_costs_and_old_costs_fade() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 640);
        let lruvec = machine.mm.lru().in_zone(ZoneId::Dma);
        let quarter =
            || LruList::EVICTABLE.iter().map(|l| u64::from(lruvec.size(*l))).sum::<u64>() / 4;
        assert_eq!(lruvec.costs(), (0, 0));
        direct_round(machine, Gfp::KERNEL);
        let written = machine.mm.event(VmEvent::NrVmscanWrite);
        assert_eq!(lruvec.costs(), (written, 0));
        while machine.mm.event(VmEvent::NrVmscanWrite) <= quarter() {
            assert_eq!(lruvec.costs().0, machine.mm.event(VmEvent::NrVmscanWrite));
            direct_round(machine, Gfp::KERNEL);
        }
        assert!(lruvec.costs().0 <= quarter(), "{:?} of {}", lruvec.costs(), quarter());
        assert!(lruvec.costs().0 > 0, "halved, not forgotten");
        prove(machine);
        program.check_all(area);
    });
}

/// LRU-08: a refault of a page of the workingset is charged too.
#[test]
fn a_refault_of_the_workingset_costs() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 64);
        activate(machine, &mut program, area.start..area.start + 60);
        let last = area.start + 63..area.end;
        // Deactivated from the active list: it was part of the workingset.
        let pfn = frame(machine, &program, last.start);
        machine.mm.memmap().page(pfn).corrupt_flags(PageFlags::WORKINGSET);
        program.advise(last.clone(), Advice::PageOut).expect("an area");
        let cost = machine.mm.lru().in_zone(ZoneId::Dma).costs().0;
        program.check_all(last);
        assert_eq!(machine.mm.event(VmEvent::WorkingsetRestoreAnon), 1);
        assert_eq!(machine.mm.lru().in_zone(ZoneId::Dma).costs().0, cost + 1);
        prove(machine);
    });
}

/// Puts pages on the active list, as two uses do.
pub fn activate(
    machine: Machine<'_>,
    program: &mut Program<'_>,
    range: std::ops::Range<mm_reclaim::units::Vpn>,
) {
    for pfn in frames(machine, program, range) {
        let held = machine.mm.get_page(pfn).expect("in use");
        (0..2).for_each(|_| machine.mm.mark_page_accessed(&held));
        machine.mm.put_page(held);
        machine.mm.lru_add_drain_all();
        assert!(has(machine, pfn, PageFlags::ACTIVE));
    }
}

/// LRU-11: a new page begins on the inactive list, and so does one that comes back after
/// the workingset has changed; a refault within the workingset is activated at once.
#[test]
fn only_a_quick_refault_enters_the_active_list() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 100);
        assert_eq!(on_list(machine, LruList::ActiveAnon), 0, "new pages");
        let first = area.start..area.start + 1;
        program.advise(first.clone(), Advice::PageOut).expect("an area");
        program.check_all(first.clone());
        assert_eq!(on_list(machine, LruList::ActiveAnon), 0, "nothing to compete with");
        activate(machine, &mut program, area.start + 50..area.start + 60);
        program.advise(first.clone(), Advice::PageOut).expect("an area");
        program.check_all(first.clone());
        assert_eq!(on_list(machine, LruList::ActiveAnon), 11, "within the workingset");
        assert_eq!(machine.mm.event(VmEvent::WorkingsetActivateAnon), 1);
        program.advise(first.clone(), Advice::PageOut).expect("an area");
        program.advise(area.start + 1..area.start + 40, Advice::PageOut).expect("an area");
        program.check_all(first);
        assert_eq!(on_list(machine, LruList::ActiveAnon), 10, "too long ago");
        assert_eq!(machine.mm.event(VmEvent::WorkingsetRefaultAnon), 3);
        prove(machine);
        program.check_all(area);
    });
}

/// LRU-09: a refault whose distance is just the workingset's size is activated, one that is a
/// page further is not.
#[test]
fn a_distance_of_the_workingsets_size_fits() {
    // The clock also ticks for the page itself.
    for (others, activated) in [(8, 1), (9, 1), (10, 0)] {
        on(DISK, |machine| {
            let (mut program, area) = hot(machine, 100);
            activate(machine, &mut program, area.start + 50..area.start + 60);
            let first = area.start..area.start + 1;
            program.advise(first.clone(), Advice::PageOut).expect("an area");
            let next = area.start + 1..area.start + 1 + others;
            program.advise(next, Advice::PageOut).expect("an area");
            program.check_all(first);
            assert_eq!(machine.mm.event(VmEvent::WorkingsetRefaultAnon), 1);
            let got = machine.mm.event(VmEvent::WorkingsetActivateAnon);
            assert_eq!(got, activated, "{others} pages went since, 10 are active");
            assert_eq!(u64::from(on_list(machine, LruList::ActiveAnon)), 10 + activated);
            prove(machine);
            program.check_all(area);
        });
    }
}

/// LRU-01, LRU-11, SHRZ-06: pages of an active list that is too long come back to the
/// inactive list without a check of references, are counted, and are not reclaimed.
#[test]
fn a_long_active_list_is_refilled_from_its_tail() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 256);
        activate(machine, &mut program, area.start..area.start + 250);
        let [refill, deactivate] =
            [VmEvent::PgRefill, VmEvent::PgDeactivate].map(|e| machine.mm.event(e));
        direct_round(machine, Gfp::KERNEL);
        let scanned = machine.mm.event(VmEvent::PgRefill) - refill;
        let moved = machine.mm.event(VmEvent::PgDeactivate) - deactivate;
        assert!(scanned >= 32 && scanned == moved, "{scanned} scanned, {moved} deactivated");
        let active = |vpn| {
            is_present(machine, &program, vpn)
                && has(machine, frame(machine, &program, vpn), PageFlags::ACTIVE)
        };
        let stayed: Vec<bool> = pages(area.start..area.start + 250).map(active).collect();
        assert!(stayed.is_sorted(), "the oldest were deactivated: {stayed:?}");
        assert_eq!(u64::from(on_list(machine, LruList::ActiveAnon)), 250 - moved);
        prove(machine);
        program.check_all(area);
    });
}

/// SHRZ-06: a locked page that is met on the active list moves to the unevictable list.
#[test]
fn an_unevictable_page_on_the_active_list_goes_home() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 64);
        activate(machine, &mut program, area.start..area.start + 60);
        let pfn = frame(machine, &program, area.start);
        let rights = Prot::READ | Prot::WRITE | Prot::EXEC;
        machine.mm.mprotect(program.space, area.start..area.start + 1, rights).expect("an area");
        lock_behind_reclaim(machine, &program, area.start, pfn);
        direct_round(machine, Gfp::KERNEL);
        assert!(has(machine, pfn, PageFlags::UNEVICTABLE));
        assert!(!has(machine, pfn, PageFlags::WORKINGSET), "it went by way of the inactive list");
        assert_eq!(on_list(machine, LruList::Unevictable), 1);
        prove(machine);
        chill(&mut program, area.start + 1..area.end);
        program.check_all(area);
    });
}

/// SHRZ-05: an active list is left alone while its inactive list is long enough.
#[test]
fn a_short_active_list_is_left_alone() {
    on(DISK, |machine| {
        let (mut program, area) = cold(machine, 256);
        activate(machine, &mut program, area.start..area.start + 64);
        let refill = machine.mm.event(VmEvent::PgRefill);
        direct_round(machine, Gfp::KERNEL);
        assert_eq!(machine.mm.event(VmEvent::PgRefill), refill);
        assert_eq!(on_list(machine, LruList::ActiveAnon), 64);
        let isolated = machine.mm.lru().in_zone(ZoneId::Dma).isolated(PageType::Anon);
        assert_eq!(isolated, 0);
        prove(machine);
        program.check_all(area);
    });
}
