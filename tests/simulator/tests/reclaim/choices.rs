//! Choices of reclaim that lose no byte when they are wrong: how much it takes, and from where.
//! Each shows in a count that only the right choice gives.

use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::LruList;
use mm_reclaim::reclaim::SWAP_CLUSTER_MAX;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Nanos, Order, Pfn};
use mm_reclaim::zone::ZoneId;
use simulator::{DiskConfig, Machine, Program};

use crate::bench::{
    ALONE, HeldLock, HeldPage, cold, direct_round, event, exhaust, frame, frames, hot, on, on_list,
    prove, release, small, spend, take,
};
use crate::lru::activate;

const DISK: DiskConfig = DiskConfig::sync(2048);
const MS: u64 = 1_000_000;

/// Takes every free page, then frees this many of them, no two of which are neighbours.
fn scatter(machine: Machine<'_>, free: usize) -> Vec<Pfn> {
    let take_all = || take(machine, Gfp::MEMALLOC);
    let all: Vec<Pfn> = std::iter::from_fn(take_all).collect();
    let (mut odd, even): (Vec<Pfn>, Vec<Pfn>) = all.into_iter().partition(|p| p.0 % 2 == 1);
    release(machine, odd.split_off(odd.len() - free));
    [odd, even].concat()
}

/// CTRL-01: called for an order, kswapd reclaims twice its size and then continues for single pages
/// alone: it does not reclaim all memory for a block that cannot form.
#[test]
fn kswapd_does_not_clear_memory_for_a_block() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 400);
        let zone = machine.mm.zone(ZoneId::Dma);
        // Every second page of the program stays, so that no two free ones merge.
        let locks: Vec<_> = frames(machine, &program, area.clone())
            .into_iter()
            .filter(|pfn| pfn.0 % 2 == 0)
            .map(|pfn| HeldLock::of(machine, pfn))
            .collect();
        let taken = scatter(machine, zone.watermarks().min as usize);
        let before = event(machine, VmEvent::PgStealKswapd);
        assert_eq!(machine.mm.alloc_pages(Gfp::NOWAIT, Order::COSTLY), None);
        machine.sleep(Nanos(500 * MS));
        let stolen = event(machine, VmEvent::PgStealKswapd) - before;
        let high = zone.watermarks().high;
        assert!(zone.free() > high, "{} free, HIGH is {high}", zone.free());
        assert!(stolen <= 150, "{stolen} stolen, HIGH is {high}");
        drop(locks);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-01: called for an order, kswapd continues until one round reclaims twice its size, raising
/// the pressure after each that does not, though there are enough single pages.
#[test]
fn kswapd_works_for_a_block_until_a_round_frees_twice_its_size() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 268);
        let zone = machine.mm.zone(ZoneId::Dma);
        let locks: Vec<_> = frames(machine, &program, area.clone())
            .into_iter()
            .step_by(2)
            .map(|pfn| HeldLock::of(machine, pfn))
            .collect();
        let high = zone.watermarks().high;
        let taken = scatter(machine, high as usize + 100);
        assert!(zone.free() > high, "{} free, HIGH is {high}", zone.free());
        assert_eq!(machine.mm.alloc_pages(Gfp::NOWAIT, Order::COSTLY), None);
        machine.sleep(Nanos(500 * MS));
        // At priority 7 the list gives two pages at a time, one of them locked, until it is
        // shorter than 256: that is too little. At priority 6 all reclaimable ones come.
        let stolen = event(machine, VmEvent::PgStealKswapd);
        assert!(stolen > 64, "{stolen} stolen");
        drop(locks);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-01: a round that scanned its target and freed something is followed by another at the same
/// priority.
#[test]
fn kswapd_looks_no_harder_while_it_gets_on() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 600);
        let zone = machine.mm.zone(ZoneId::Dma);
        let locks: Vec<_> = frames(machine, &program, area.clone())
            .into_iter()
            .step_by(2)
            .map(|pfn| HeldLock::of(machine, pfn))
            .collect();
        let taken = [exhaust(machine), spend(machine, ZoneId::Dma, 32)].concat();
        let lruvec = machine.mm.lru().in_zone(ZoneId::Dma);
        // Half of what a round scans at the first priority is reclaimable.
        let target = zone.watermarks().high.max(SWAP_CLUSTER_MAX);
        let more = ((target as i32) << 12) + 4095 - lruvec.size(LruList::InactiveAnon) as i32;
        lruvec.corrupt_counts(LruList::InactiveAnon, more, 0);
        assert_eq!(take(machine, Gfp::NOWAIT), None);
        machine.sleep(Nanos(500 * MS));
        lruvec.corrupt_counts(LruList::InactiveAnon, -more, 0);
        let stolen = event(machine, VmEvent::PgStealKswapd) as u32;
        assert!(zone.free() > zone.watermarks().high, "{stolen} stolen");
        assert!(stolen <= target + 2, "{stolen} stolen in two rounds, {target} looked at in each");
        drop(locks);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-01: a run that reclaims something resets the count of fruitless ones; a direct reclaimer
/// that finds nothing does not.
#[test]
fn only_success_starts_kswapds_count_anew() {
    on(DiskConfig::sync(33), |machine| {
        let (mut program, area) = cold(machine, 200);
        let first = area.start..area.start + 32;
        program.advise(first.clone(), Advice::PageOut).expect("an area");
        let mut taken = exhaust(machine);
        let mut call = |times| {
            for _ in 0..times {
                taken.extend(take(machine, Gfp::NOWAIT));
                machine.sleep(Nanos(20 * MS));
            }
            event(machine, VmEvent::PageOutRun)
        };
        assert_eq!(call(10), 10);
        program.unmap(first.clone()).expect("an area");
        let before = event(machine, VmEvent::PgStealKswapd);
        call(1);
        assert_eq!(event(machine, VmEvent::PgStealKswapd), before + 32, "all slots");
        // What it freed is used up, and the next fruitless run is the first one again.
        taken.extend(exhaust(machine));
        let runs = event(machine, VmEvent::PageOutRun);
        let call = |times| {
            for _ in 0..times {
                assert_eq!(take(machine, Gfp::NOWAIT), None);
                machine.sleep(Nanos(20 * MS));
            }
            event(machine, VmEvent::PageOutRun) - runs
        };
        assert_eq!(call(40), 16);
        taken.extend(std::iter::from_fn(|| take(machine, ALONE)));
        assert_eq!(event(machine, VmEvent::PgStealDirect), 0);
        assert_eq!(call(5), 16, "a direct reclaimer found nothing either");
        release(machine, taken);
        prove(machine);
        program.check_all(first.end..area.end);
    });
}

/// SHRZ-04, CTRL-03: a direct reclaimer scans its whole quota at the first priority and stops
/// at its target at the others.
#[test]
fn a_direct_reclaimer_scans_its_first_quota_whole() {
    // Pages on the list; quotas are these, shifted by the priority.
    for (size, want) in [(100 << 12, 100), (31 << 12, 31 + 32)] {
        on(DISK, |machine| {
            let (program, area) = cold(machine, 300);
            let lruvec = machine.mm.lru().in_zone(ZoneId::Dma);
            let more = size - lruvec.size(LruList::InactiveAnon) as i32;
            lruvec.corrupt_counts(LruList::InactiveAnon, more, 0);
            direct_round(machine, Gfp::KERNEL);
            lruvec.corrupt_counts(LruList::InactiveAnon, -more, 0);
            assert_eq!(event(machine, VmEvent::PgScanDirect), want, "of {size}");
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SHRZ-04, CTRL-01: kswapd stops at its target at the first priority too.
#[test]
fn kswapd_stops_at_its_target() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 600);
        let zone = machine.mm.zone(ZoneId::Dma);
        let lruvec = machine.mm.lru().in_zone(ZoneId::Dma);
        let more = 500 << 12;
        lruvec.corrupt_counts(LruList::InactiveAnon, more, 0);
        let taken = exhaust(machine);
        assert_eq!(take(machine, Gfp::NOWAIT), None);
        machine.sleep(Nanos(500 * MS));
        lruvec.corrupt_counts(LruList::InactiveAnon, -more, 0);
        let stolen = event(machine, VmEvent::PgStealKswapd);
        let target = u64::from(zone.watermarks().high.max(SWAP_CLUSTER_MAX));
        let batches = target.next_multiple_of(SWAP_CLUSTER_MAX.into());
        assert_eq!(stolen, batches, "the target is {target}");
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// SHRZ-04: anonymous pages age although none of them is to be reclaimed: pages move from the
/// active list to the inactive one, as long as that is low and swap is free.
#[test]
fn active_anonymous_pages_age_beside_other_reclaim() {
    for (slots, ages) in [(300, true), (9, false)] {
        let mut config = small(DiskConfig::sync(slots));
        // Without swappiness the quota of anonymous pages is zero, whatever sizes and costs are.
        config.mm.swappiness = 0;
        Machine::run(&config, |machine| {
            let (mut program, area) = hot(machine, 200);
            if !ages {
                let first = area.start..area.start + 8;
                program.advise(first, Advice::PageOut).expect("an area");
                assert_eq!(machine.mm.swap_pages().1, 0);
            }
            activate(machine, &mut program, area.start + 20..area.end);
            let refill = event(machine, VmEvent::PgRefill);
            direct_round(machine, Gfp::KERNEL);
            let looked = event(machine, VmEvent::PgRefill) - refill;
            let active = on_list(machine, LruList::ActiveAnon);
            if ages {
                assert!(looked >= 64, "{looked} looked at");
                assert!(active < 180 - 64, "{active} active");
            } else {
                assert_eq!((looked, active), (0, 180));
            }
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SHRZ-09: for an order above the costly ones a zone is worked on as long as rounds free
/// something and enough is left, whatever the priority: here until the list, shifted by 8,
/// gives no page. For single pages it is one round.
#[test]
fn an_order_is_worked_for_as_long_as_it_pays() {
    for (order, want) in [(0, 32..40), (4, 45..46)] {
        on(DISK, |machine| {
            let (program, area) = cold(machine, 300);
            let taken = exhaust(machine);
            let order = Order::new(order).expect("an order");
            let got = machine.mm.alloc_pages(ALONE, order);
            let stolen = event(machine, VmEvent::PgStealDirect);
            assert!(want.contains(&stolen), "{stolen} for {order:?}");
            got.into_iter().for_each(|pfn| machine.mm.free_pages(pfn, order));
            release(machine, taken);
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SHRZ-10, CTRL-03: refault activations that moved since the last snapshot open the active
/// list, though the inactive one is not low; once a reclaim has seen them, it is protected again.
#[test]
fn moved_refaults_open_the_active_list_once() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 400);
        activate(machine, &mut program, area.start + 300..area.start + 360);
        let first = area.start..area.start + 1;
        program.advise(first.clone(), Advice::PageOut).expect("an area");
        program.check_all(first);
        assert_eq!(event(machine, VmEvent::WorkingsetActivateAnon), 1);
        let cold = area.start + 1..area.start + 300;
        program.advise(cold, Advice::Cold).expect("an area");
        let round = || {
            let before = event(machine, VmEvent::PgRefill);
            direct_round(machine, Gfp::KERNEL);
            event(machine, VmEvent::PgRefill) - before
        };
        let (once, again) = (round(), round());
        assert!(once > 0 && again == 0, "{once} active pages looked at, then {again}");
        prove(machine);
        program.check_all(area);
    });
}

/// SHRZ-02, SHRZ-09: the pages that a further round of one zone freed count for that round alone: a
/// round that frees nothing is the last.
#[test]
fn a_fruitless_round_ends_the_work_for_an_order() {
    on(DISK, |machine| {
        machine.world.sched.limit(500_000, Nanos::from_millis(1_000_000));
        let (program, area) = cold(machine, 300);
        let all = frames(machine, &program, area.clone());
        // Some of the oldest are reclaimable, none of the others.
        let locks: Vec<_> = all[8..].iter().map(|pfn| HeldLock::of(machine, *pfn)).collect();
        let taken = exhaust(machine);
        let got = machine.mm.alloc_pages(ALONE, Order::new(4).expect("an order"));
        assert_eq!(got, None);
        assert_eq!(event(machine, VmEvent::PgStealDirect), 8);
        let scanned = event(machine, VmEvent::PgScanDirect);
        assert!(scanned < 2000, "{scanned} scanned");
        drop(locks);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// OBS-01: what reclaim scans and frees is counted by type and by reclaimer.
#[test]
fn scan_and_steal_are_counted_by_type() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 500);
        direct_round(machine, Gfp::KERNEL);
        let taken = exhaust(machine);
        assert_eq!(take(machine, Gfp::NOWAIT), None);
        machine.sleep(Nanos(500 * MS));
        release(machine, taken);
        let sum = |events: &[VmEvent]| events.iter().map(|e| event(machine, *e)).sum::<u64>();
        use VmEvent::{PgScanAnon, PgScanDirect, PgScanFile, PgScanKswapd};
        use VmEvent::{PgStealAnon, PgStealDirect, PgStealFile, PgStealKswapd};
        assert!(event(machine, PgStealDirect) > 0 && event(machine, PgStealKswapd) > 0);
        assert_eq!(sum(&[PgStealAnon]), sum(&[PgStealDirect, PgStealKswapd]));
        assert_eq!(sum(&[PgScanAnon]), sum(&[PgScanDirect, PgScanKswapd]));
        assert_eq!(sum(&[PgScanFile, PgStealFile]), 0, "there are no files");
        prove(machine);
        program.check_all(area);
    });
}

/// RMAP-01: after copy-on-write a page with a reference from outside the page tables is not given
/// to a writer: the holder keeps seeing the contents that it took.
#[test]
fn a_page_that_others_hold_is_copied() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 2);
        program.fork().expect("memory").exit();
        let [first, second] = [0, 1].map(|i| area.start + i);
        let pfn = frame(machine, &program, first);
        let held = HeldPage::of(machine, pfn);
        let bytes = || machine.world.arena.save_frame(pfn);
        let before = bytes();
        program.write(first).expect("alive");
        assert_ne!(frame(machine, &program, first), pfn);
        assert_eq!(bytes(), before);
        let counts = || [VmEvent::CowCopy, VmEvent::CowReuse].map(|e| event(machine, e));
        assert_eq!(counts(), [1, 0]);
        drop(held);
        program.write(second).expect("alive");
        assert_eq!(counts(), [1, 1], "this one has no other holder");
        prove(machine);
        program.check_all(area);
    });
}

/// OBS-01: when a program ends, the faults that it took are counted: all of them, and those
/// among them for which a page was read.
#[test]
fn the_faults_of_a_program_are_counted_at_its_end() {
    on(DISK, |machine| {
        let mut program = Program::new(machine);
        let area = program.map(5);
        program.write_all(area.clone());
        program.advise(area.start..area.start + 3, Advice::PageOut).expect("an area");
        program.check_all(area);
        program.exit();
        let counts = [VmEvent::PgFault, VmEvent::PgMajFault].map(|e| event(machine, e));
        assert_eq!(counts, [5 + 3, 3]);
        prove(machine);
    });
}
