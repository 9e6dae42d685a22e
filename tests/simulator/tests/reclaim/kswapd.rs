//! The ways into reclaim: kswapd in the background, direct reclaim, and which task waits for which
//! and how long.

use mm_reclaim::env::{Clock, Tasks};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::LruList;
use mm_reclaim::reclaim::{DEF_PRIORITY, May, SWAP_CLUSTER_MAX, ScanProgress, ScanRequest};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Nanos, Order, Pfn};
use mm_reclaim::zone::{Mark, ZoneFlags, ZoneId};
use simulator::{DiskConfig, Machine, Program};

use crate::bench::{
    HeldLock, anything, cold, direct_round, dirty_file, exhaust, file_in_flight, frame, frames,
    half_way, in_flight, is_present, look, on, on_list, pages, prove, release, slow,
    with_file_disk,
};

const DISK: DiskConfig = DiskConfig::sync(2048);
const MS: u64 = 1_000_000;

/// The time that `body` takes on the machine.
fn time<R>(machine: Machine<'_>, body: impl FnOnce() -> R) -> (R, u64) {
    let start = machine.world.sched.now().0;
    let result = body();
    (result, machine.world.sched.now().0 - start)
}

fn take(machine: Machine<'_>, gfp: Gfp) -> Option<Pfn> {
    machine.mm.alloc_pages(gfp, Order::ZERO)
}

fn event(machine: Machine<'_>, event: VmEvent) -> u64 {
    machine.mm.event(event)
}

/// Takes pages, without any watermark, until a quarter of MIN is left.
fn spend_reserve(machine: Machine<'_>) -> Vec<Pfn> {
    let mut taken = exhaust(machine);
    let zone = machine.mm.zone(ZoneId::Dma);
    while machine.mm.total_free() > zone.watermarks().min / 4 {
        taken.extend(take(machine, Gfp::MEMALLOC));
    }
    taken
}

/// CTRL-01: woken below LOW, kswapd works until HIGH is reached, no further than it must,
/// and sleeps.
#[test]
fn kswapd_balances_to_high_and_sleeps() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 700);
        let zone = machine.mm.zone(ZoneId::Dma);
        let taken = exhaust(machine);
        assert!(zone.free() <= zone.mark(Mark::Min) + 32);
        assert_eq!(event(machine, VmEvent::PageOutRun), 0, "asked not to be woken");
        assert_eq!(take(machine, Gfp::NOWAIT), None);
        machine.sleep(Nanos(500 * MS));
        let high = zone.watermarks().high;
        assert!(zone.free() > high, "{} free, HIGH is {high}", zone.free());
        assert!(zone.free() <= high + high.max(SWAP_CLUSTER_MAX), "{} free", zone.free());
        let runs = event(machine, VmEvent::PageOutRun);
        assert!(runs >= 1 && event(machine, VmEvent::PgStealKswapd) > 0);
        machine.sleep(Nanos(1000 * MS));
        assert_eq!(event(machine, VmEvent::PageOutRun), runs, "it sleeps");
        assert_eq!(event(machine, VmEvent::PgScanDirect), 0);
        prove(machine);
        release(machine, taken);
        program.check_all(area);
    });
}

/// CTRL-01: after 16 fruitless runs kswapd stops, until a reclaim by another task succeeds.
#[test]
fn kswapd_gives_up_after_sixteen_fruitless_runs() {
    on(DiskConfig::sync(33), |machine| {
        let (mut program, area) = cold(machine, 100);
        let first = area.start..area.start + 32;
        program.advise(first.clone(), mm_reclaim::mmap::Advice::PageOut).expect("an area");
        assert_eq!(machine.mm.swap_pages(), (32, 0));
        let mut taken = exhaust(machine);
        for _ in 0..40 {
            assert_eq!(take(machine, Gfp::NOWAIT), None);
            machine.sleep(Nanos(20 * MS));
        }
        assert_eq!(event(machine, VmEvent::PageOutRun), 16);
        program.unmap(first.clone()).expect("an area");
        let direct = Gfp::DIRECT_RECLAIM | Gfp::IO | Gfp::FS | Gfp::NORETRY;
        taken.extend(take(machine, Gfp::NOWAIT));
        machine.sleep(Nanos(20 * MS));
        assert_eq!(event(machine, VmEvent::PageOutRun), 16, "nothing was reclaimed so far");
        taken.extend(exhaust(machine));
        taken.extend(take(machine, direct));
        assert!(event(machine, VmEvent::PgStealDirect) > 0);
        taken.extend(exhaust(machine));
        taken.extend(take(machine, Gfp::NOWAIT));
        machine.sleep(Nanos(20 * MS));
        assert!(event(machine, VmEvent::PageOutRun) > 16, "it tries again");
        release(machine, taken);
        prove(machine);
        program.check_all(first.end..area.end);
    });
}

/// CTRL-01, SHRZ-11: a zone back in balance loses its flags.
#[test]
fn a_balanced_zone_loses_its_flags() {
    on(slow(2048), |machine| {
        let (program, area, _) = in_flight(machine, 4);
        direct_round(machine, Gfp::KERNEL);
        let flags = || machine.mm.zone(ZoneId::Dma).flags();
        assert!(flags().contains(ZoneFlags::WRITEBACK));
        prove(machine);
        let (other, rest) = cold(machine, 500);
        let taken = exhaust(machine);
        take(machine, Gfp::NOWAIT);
        prove(machine);
        assert!(event(machine, VmEvent::PgStealKswapd) > 0);
        assert_eq!(flags(), ZoneFlags::empty());
        release(machine, taken);
        program.check_all(area);
        other.check_all(rest);
    });
}

/// CTRL-01: that is so too if the zone was balanced by others before kswapd came to it.
#[test]
fn flags_go_even_if_nothing_was_left_to_do() {
    on(slow(2048), |machine| {
        let (program, area, _) = in_flight(machine, 4);
        direct_round(machine, Gfp::KERNEL);
        assert!(machine.mm.zone(ZoneId::Dma).flags().contains(ZoneFlags::WRITEBACK));
        let taken = exhaust(machine);
        assert_eq!(take(machine, Gfp::NOWAIT), None);
        release(machine, taken);
        machine.sleep(Nanos(MS));
        assert_eq!(event(machine, VmEvent::PageOutRun), 1);
        assert_eq!(event(machine, VmEvent::PgScanKswapd), 0);
        assert_eq!(machine.mm.zone(ZoneId::Dma).flags(), ZoneFlags::empty());
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-02: below half of MIN a user's task sleeps until kswapd has refilled the reserve;
/// a kernel task does not wait.
#[test]
fn a_user_waits_for_the_reserve_and_a_kernel_task_does_not() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 700);
        let mut taken = spend_reserve(machine);
        let alone = (Gfp::KERNEL | Gfp::NORETRY) - Gfp::KSWAPD_RECLAIM;
        taken.extend(take(machine, alone));
        assert_eq!(event(machine, VmEvent::PgScanDirectThrottle), 0, "main is a kernel task");
        assert_eq!(event(machine, VmEvent::AllocStallNormal), 1);
        taken.extend(spend_reserve(machine));
        let before = event(machine, VmEvent::PgStealKswapd);
        machine.crowd(1, |machine, _| {
            release(machine, take(machine, Gfp::KERNEL).into_iter().collect());
        });
        assert_eq!(event(machine, VmEvent::PgScanDirectThrottle), 1);
        assert!(event(machine, VmEvent::PgStealKswapd) > before, "kswapd refilled it");
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-02: with kswapd stuck behind a slow device, a caller without FS waits for a second
/// at most, one with FS until the reserve is up.
#[test]
fn without_fs_the_wait_ends_after_a_second() {
    on(DiskConfig { queue: 2048, ..slow(2048) }, |machine| {
        let (program, area) = cold(machine, 700);
        let mut taken = spend_reserve(machine);
        let waits = |gfp| {
            let times = std::sync::Mutex::new(0);
            machine.crowd(1, |machine, _| {
                let before = event(machine, VmEvent::ReclaimDelay);
                let (got, took) = time(machine, || take(machine, gfp | Gfp::NORETRY));
                release(machine, got.into_iter().collect());
                let delay = (event(machine, VmEvent::ReclaimDelay) - before) * 1000;
                *times.lock().unwrap() = took - delay;
            });
            times.into_inner().unwrap()
        };
        let restricted = waits(Gfp::NOFS);
        assert!((1000 * MS..1200 * MS).contains(&restricted), "{restricted} ns");
        taken.extend(spend_reserve(machine));
        let patient = waits(Gfp::KERNEL);
        assert!(patient > 3000 * MS, "{patient} ns");
        assert_eq!(event(machine, VmEvent::PgScanDirectThrottle), 2);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-02, BUDY-10: a task that is killed while it is throttled returns at once, without
/// having reclaimed.
#[test]
fn a_throttled_task_that_is_killed_returns_without_reclaiming() {
    on(DiskConfig { queue: 2048, ..slow(2048) }, |machine| {
        let (program, area) = cold(machine, 700);
        let victim = Program::new(machine);
        let taken = spend_reserve(machine);
        let stalls = event(machine, VmEvent::AllocStallNormal);
        machine.crowd(2, |machine, who| {
            if who == 1 {
                machine.sleep(Nanos(200 * MS));
                machine.world.kill_for_memory(victim.space);
                return;
            }
            let outer = machine.world.sched.act_for(Some(victim.space));
            let (got, took) = time(machine, || take(machine, Gfp::KERNEL));
            machine.world.sched.act_for(outer);
            assert_eq!(got, None);
            assert!((190 * MS..300 * MS).contains(&took), "{took} ns");
        });
        assert_eq!(event(machine, VmEvent::PgScanDirectThrottle), 1);
        assert_eq!(event(machine, VmEvent::AllocStallNormal), stalls);
        assert_eq!(event(machine, VmEvent::PgScanDirect), 0);
        release(machine, taken);
        drop(victim);
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-03: each attempt of direct reclaim is counted for the class zone of the request.
#[test]
fn an_attempt_counts_as_a_stall_of_its_class() {
    let events = [VmEvent::AllocStallDma, VmEvent::AllocStallDma32, VmEvent::AllocStallNormal];
    for (gfp, want) in [(Gfp::DMA, [1, 0, 0]), (Gfp::DMA32, [0, 1, 0]), (Gfp::empty(), [0, 0, 1])] {
        on(DISK, |machine| {
            let (program, area) = cold(machine, 64);
            let mut taken = exhaust(machine);
            let gfp = gfp | Gfp::DIRECT_RECLAIM | Gfp::IO | Gfp::FS | Gfp::NORETRY;
            taken.extend(take(machine, gfp));
            assert_eq!(events.map(|e| event(machine, e)), want);
            release(machine, taken);
            prove(machine);
            program.check_all(area);
        });
    }
}

/// CTRL-03: the priorities go down to 0: even a single page is scanned.
#[test]
fn the_hardest_priority_meets_a_single_page() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        direct_round(machine, Gfp::KERNEL);
        assert_eq!(event(machine, VmEvent::PgScanDirect), 1);
        assert!(!is_present(machine, &program, area.start));
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-03: if nothing was reclaimed and an active list was left alone, it is tried once
/// more with deactivation forced.
#[test]
fn a_failed_attempt_is_repeated_with_deactivation_forced() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 60);
        let all = frames(machine, &program, area.clone());
        for pfn in &all[..20] {
            let held = machine.mm.get_page(*pfn).expect("in use");
            (0..2).for_each(|_| machine.mm.mark_page_accessed(&held));
            machine.mm.put_page(held);
        }
        assert_eq!(on_list(machine, LruList::ActiveAnon), 20);
        let locks: Vec<_> = all[20..].iter().map(|f| HeldLock::of(machine, *f)).collect();
        direct_round(machine, Gfp::KERNEL);
        assert_eq!(event(machine, VmEvent::AllocStallNormal), 2);
        assert!(event(machine, VmEvent::PgStealDirect) > 0);
        drop(locks);
        prove(machine);
        program.check_all(area);
    });
}

/// CTRL-05: the request of each entry point.
#[test]
fn each_way_in_asks_for_its_own() {
    let direct = ScanRequest::direct(Gfp::KERNEL | Gfp::DMA32, Order::ZERO);
    assert_eq!((direct.nr_to_reclaim, direct.class), (32, ZoneId::Dma32));
    let kswapd = ScanRequest::kswapd(Order::ZERO, ZoneId::Normal);
    for request in [direct, kswapd] {
        assert_eq!(request.may, May::UNMAP | May::WRITEPAGE | May::SWAP);
        assert!(request.is_global() && !request.force);
    }
    assert_eq!((DEF_PRIORITY, ScanProgress::default().priority), (12, 12));
}

/// CTRL-05: kswapd's target in each zone is its HIGH mark.
#[test]
fn kswapd_works_harder_where_more_is_wanted() {
    let scanned = |min_free_kbytes| {
        let mut config = crate::bench::small(DISK);
        config.mm.min_free_kbytes = Some(min_free_kbytes);
        Machine::run(&config, |machine| {
            let (program, area) = cold(machine, 500);
            let taken = exhaust(machine);
            take(machine, Gfp::NOWAIT);
            prove(machine);
            release(machine, taken);
            program.check_all(area);
            event(machine, VmEvent::PgStealKswapd)
        })
    };
    let (little, much) = (scanned(128), scanned(768));
    assert!(much >= 3 * little, "{little}, {much}");
}

/// SHRZ-03: without a free slot anonymous pages are not scanned at all.
#[test]
fn without_swap_anonymous_pages_are_not_scanned() {
    on(DiskConfig::sync(9), |machine| {
        let (mut program, area) = cold(machine, 100);
        let first = area.start..area.start + 8;
        program.advise(first, mm_reclaim::mmap::Advice::PageOut).expect("an area");
        direct_round(machine, Gfp::KERNEL);
        assert_eq!(event(machine, VmEvent::PgScanDirect), 0);
        prove(machine);
        program.check_all(area);
    });
}

/// SHRZ-07: with too many pages isolated a direct reclaimer sleeps 100 ms and gives up,
/// a dying one does not wait, and kswapd is not affected.
#[test]
fn too_many_isolated_stall_all_but_kswapd_and_the_dying() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        let isolate =
            |n| machine.mm.lru().in_zone(ZoneId::Dma).corrupt_counts(LruList::ActiveAnon, 0, n);
        isolate(1000);
        let (_, took) = time(machine, || direct_round(machine, Gfp::KERNEL));
        assert_eq!(event(machine, VmEvent::PgScanDirect), 0);
        assert!((100 * MS..200 * MS).contains(&took), "{took} ns, one list, one look");
        let outer = machine.world.sched.act_for(Some(program.space));
        machine.world.kill_for_memory(program.space);
        let (_, took) = time(machine, || direct_round(machine, Gfp::KERNEL));
        assert!(took < 100 * MS, "{took} ns");
        assert_eq!(event(machine, VmEvent::PgScanDirect), 0);
        machine.world.sched.forget_kill(program.space);
        machine.world.sched.act_for(outer);
        let (other, rest) = cold(machine, 200);
        let taken = exhaust(machine);
        take(machine, Gfp::NOWAIT);
        machine.sleep(Nanos(50 * MS));
        assert!(event(machine, VmEvent::PgStealKswapd) > 0);
        isolate(-1000);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
        other.check_all(rest);
    });
}

/// SHRZ-08: a direct reclaimer waits 100 ms at most where zone and device are congested,
/// and not at all where the device is not.
#[test]
fn congestion_is_waited_for_only_if_the_device_is_congested() {
    for (above, waits) in [(0, true), (64, false)] {
        let disk = DiskConfig { congested_above: above, ..slow(64) };
        with_file_disk(disk, |machine| {
            let (file, frames) = file_in_flight(machine, 1);
            look(machine, &frames, anything());
            // That activated it; this takes it down again.
            direct_round(machine, Gfp::KERNEL);
            let (_, took) = time(machine, || direct_round(machine, Gfp::KERNEL));
            let flags = machine.mm.zone(ZoneId::Dma).flags();
            assert!(flags.contains(ZoneFlags::CONGESTED), "met again under write-back");
            let want = if waits { 100 * MS..1500 * MS } else { 0..50 * MS };
            assert!(want.contains(&took), "{took} ns, congested above {above}");
            drop(file);
            prove(machine);
        });
    }
}

/// SHRZ-08: above 110 % of the limit a reclaimer waits for the device; without IO and FS
/// it naps once.
#[test]
fn too_much_write_back_is_waited_for() {
    for (gfp, want) in [(Gfp::KERNEL, 9000 * MS..20_000 * MS), (Gfp::NOFS, 100 * MS..4000 * MS)] {
        on(slow(256), |machine| {
            let (program, area, _) = in_flight(machine, 64);
            let (_, took) = time(machine, || direct_round(machine, gfp));
            assert!(want.contains(&took), "{took} ns for {gfp:?}");
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SHRZ-11: dirty pages of files not under write-back flag the zone; anonymous ones do not, nor one
/// page of another kind.
#[test]
fn a_batch_of_dirty_pages_flags_the_zone() {
    with_file_disk(DISK, |machine| {
        let (file, _) = dirty_file(machine, 3);
        direct_round(machine, Gfp::NOIO);
        assert_eq!(machine.mm.zone(ZoneId::Dma).flags(), ZoneFlags::DIRTY);
        drop(file);
        prove(machine);
    });
    on(DISK, |machine| {
        let (program, area, _) = half_way(machine);
        direct_round(machine, Gfp::NOIO);
        assert_eq!(machine.mm.zone(ZoneId::Dma).flags(), ZoneFlags::empty());
        prove(machine);
        program.check_all(area);
    });
    on(DISK, |machine| {
        let (program, area) = cold(machine, 1);
        direct_round(machine, Gfp::NOIO);
        assert_eq!(machine.mm.zone(ZoneId::Dma).flags(), ZoneFlags::empty());
        prove(machine);
        program.check_all(area);
    });
}

/// SHRZ-11, SPL-05: kswapd stalls where it meets pages again that are still being written.
#[test]
fn kswapd_stalls_in_a_zone_that_drowns_in_write_back() {
    on(slow(1024), |machine| {
        // At the tail, more than a batch of them; the other pages keep write-back below its limit.
        let (program, area, _) = in_flight(machine, 100);
        let (other, rest) = cold(machine, 600);
        let tally = crate::bench::Tally::new(machine);
        let taken = exhaust(machine);
        take(machine, Gfp::NOWAIT);
        machine.sleep(Nanos(2000 * MS));
        let reason = mm_reclaim::reclaim::Reason::Activate(
            mm_reclaim::reclaim::ActivateReason::ImmediateWriteback,
        );
        assert!(tally.of(machine, reason) > 0, "{:?}", tally.since(machine));
        release(machine, taken);
        prove(machine);
        program.check_all(area);
        other.check_all(rest);
    });
}

/// CTRL-01, CTRL-03: under a steady load kswapd does most of the work, and each counter of
/// scan and steal agrees with the others.
#[test]
fn a_steady_load_is_kswapds_work() {
    on(DISK, |machine| {
        let mut program = Program::new(machine);
        let area = program.map(2000);
        for vpn in pages(area.clone()) {
            program.write(vpn).expect("alive");
            if vpn.0.is_multiple_of(4) {
                machine.sleep(Nanos(MS));
            }
        }
        prove(machine);
        let [kswapd, direct] =
            [VmEvent::PgStealKswapd, VmEvent::PgStealDirect].map(|e| event(machine, e));
        assert!(kswapd > direct, "{kswapd} by kswapd, {direct} directly");
        assert!(!is_present(machine, &program, area.start), "the oldest page is in swap");
        let last = frame(machine, &program, area.start + 1999);
        assert!(machine.mm.memmap().page(last).is_mapped());
        program.check_all(area);
        prove(machine);
    });
}
