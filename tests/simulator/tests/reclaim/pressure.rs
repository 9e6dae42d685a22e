//! How reclaim affects the lists and its callers: flags and snapshots, delays, hopeless zones,
//! access flags, pages that others hold, and how little it writes.

use mm_reclaim::env::{Clock, Pte};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::{LruList, PageFlags};
use mm_reclaim::reclaim::{ActivateReason as Activate, KeepReason as Keep, Reason};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Nanos, Order, Pfn};
use mm_reclaim::zone::{ZoneFlags, ZoneId};
use simulator::{DiskConfig, Machine, Program};

use crate::bench::{
    HeldLock, anything, cold, direct_round, entry, exhaust, file_in_flight, frame, frames, has,
    hot, look, on, on_list, pages, prove, release, slow, small, with_file_disk,
};

const DISK: DiskConfig = DiskConfig::sync(2048);
const MS: u64 = 1_000_000;

fn event(machine: Machine<'_>, event: VmEvent) -> u64 {
    machine.mm.event(event)
}

/// Wakes kswapd for a single page and lets it work.
fn run_kswapd(machine: Machine<'_>) {
    let taken = exhaust(machine);
    let got = machine.mm.alloc_pages(Gfp::NOWAIT, Order::ZERO);
    machine.sleep(Nanos(2000 * MS));
    release(machine, taken.into_iter().chain(got).collect());
}

/// Uses a page until it is on the active list.
fn activate(machine: Machine<'_>, pfn: Pfn) {
    let held = machine.mm.get_page(pfn).expect("in use");
    (0..2).for_each(|_| machine.mm.mark_page_accessed(&held));
    machine.mm.put_page(held);
}

/// CTRL-01: after a visit WRITEBACK is cleared, whether the zone is balanced or not; the other
/// flags stay until it is.
#[test]
fn a_visit_of_kswapd_drops_the_write_back_flag() {
    with_file_disk(slow(2048), |machine| {
        let (file, frames) = file_in_flight(machine, 4);
        look(machine, &frames, anything());
        direct_round(machine, Gfp::KERNEL);
        let flags = || machine.mm.zone(ZoneId::Dma).flags();
        assert_eq!(flags(), ZoneFlags::WRITEBACK | ZoneFlags::CONGESTED);
        let taken = exhaust(machine);
        assert_eq!(machine.mm.alloc_pages(Gfp::NOWAIT, Order::ZERO), None);
        machine.sleep(Nanos(500 * MS));
        assert!(event(machine, VmEvent::PageOutRun) > 0);
        assert_eq!(flags(), ZoneFlags::CONGESTED, "nothing could be freed");
        release(machine, taken);
        drop(file);
        prove(machine);
    });
}

/// CTRL-01, SHRZ-10: kswapd remembers the refaults at the end of its run: those that it has handled
/// do not make the next reclaimer deactivate, too.
#[test]
fn a_run_of_kswapd_ends_with_a_snapshot() {
    for kswapd_comes_first in [false, true] {
        on(DISK, |machine| {
            let (program, area) = cold(machine, 600);
            let all = frames(machine, &program, area.clone());
            all[..200].iter().for_each(|pfn| activate(machine, *pfn));
            look(machine, &all[300..301], anything());
            program.check(area.start + 300).expect("alive");
            assert_eq!(event(machine, VmEvent::WorkingsetActivateAnon), 1);
            if kswapd_comes_first {
                run_kswapd(machine);
                assert!(event(machine, VmEvent::PgStealKswapd) > 0);
            }
            let before = event(machine, VmEvent::PgRefill);
            direct_round(machine, Gfp::KERNEL);
            let refilled = event(machine, VmEvent::PgRefill) > before;
            assert_eq!(refilled, !kswapd_comes_first);
            prove(machine);
            program.check_all(area);
        });
    }
}

/// CTRL-03: the delay of a caller is what its attempts took, not what it was throttled.
#[test]
fn throttling_is_no_delay_of_reclaim() {
    on(DiskConfig { queue: 2048, ..slow(2048) }, |machine| {
        let (program, area) = cold(machine, 700);
        let mut taken = exhaust(machine);
        let min = machine.mm.zone(ZoneId::Dma).watermarks().min;
        while machine.mm.total_free() > min / 4 {
            taken.extend(machine.mm.alloc_pages(Gfp::MEMALLOC, Order::ZERO));
        }
        let start = machine.world.sched.now().0;
        machine.crowd(1, |machine, _| {
            let got = machine.mm.alloc_pages(Gfp::NOFS | Gfp::NORETRY, Order::ZERO);
            release(machine, got.into_iter().collect());
        });
        let took = machine.world.sched.now().0 - start;
        assert_eq!(event(machine, VmEvent::PgScanDirectThrottle), 1);
        let delay = event(machine, VmEvent::ReclaimDelay) * 1000;
        assert!(delay > 0, "an attempt behind such a device takes its time");
        assert!(took - delay >= 1000 * MS, "{took} ns, of which {delay} ns of delay");
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// SHRZ-01: a zone whose pages were scanned six times over, and none freed, is skipped except at
/// the first priority, until a page of it is freed.
#[test]
fn a_zone_is_given_up_after_six_times_its_pages() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 60);
        let all = frames(machine, &program, area.clone());
        let locks: Vec<_> = all.iter().map(|pfn| HeldLock::of(machine, *pfn)).collect();
        let mut taken = exhaust(machine);
        let alone = (Gfp::KERNEL | Gfp::RETRY_MAYFAIL) - Gfp::KSWAPD_RECLAIM;
        // The first ones get what the CPU's lists had; the last one makes all its rounds.
        taken.extend(std::iter::from_fn(|| machine.mm.alloc_pages(alone, Order::ZERO)));
        let looked_at = machine.mm.zone(ZoneId::Dma).looked_at_in_vain();
        assert!((6 * 60..8 * 60).contains(&looked_at), "{looked_at} looks at 60 pages");
        drop(locks);
        release(machine, taken);
        assert_eq!(machine.mm.zone(ZoneId::Dma).looked_at_in_vain(), 0);
        direct_round(machine, Gfp::KERNEL);
        assert!(event(machine, VmEvent::PgStealDirect) > 0);
        prove(machine);
        program.check_all(area);
    });
}

/// SHRZ-06: the scan of the active list clears the access flags; a deactivated page that is not
/// used again does not return. What was used is counted, and costs nothing.
#[test]
fn a_page_that_is_sent_down_must_be_used_again() {
    for sets_flags in [false, true] {
        let mut config = small(DISK);
        config.hardware.sets_flags = sets_flags;
        Machine::run(&config, |machine| {
            let (program, area) = hot(machine, 60);
            let all = frames(machine, &program, area.clone());
            all.iter().for_each(|pfn| activate(machine, *pfn));
            program.check_all(area.clone());
            assert_eq!(on_list(machine, LruList::ActiveAnon), 60);
            // Without IO nothing is written: the deactivated pages are scanned, and stay.
            let verdicts = direct_round(machine, Gfp::NOIO);
            assert!(verdicts.iter().all(|(reason, _)| *reason == Reason::Keep(Keep::NoIo)));
            let down = event(machine, VmEvent::PgDeactivate);
            assert!(down >= 32, "{down} were sent down");
            assert_eq!(event(machine, VmEvent::NrRotated), down, "each had been used");
            assert_eq!(machine.mm.lru().in_zone(ZoneId::Dma).costs(), (0, 0));
            let is_young = |vpn| match entry(machine, &program, vpn) {
                Pte::Present(mapping) => mapping.young,
                other => panic!("{other:?}"),
            };
            for (vpn, pfn) in pages(area.clone()).zip(&all) {
                assert_eq!(is_young(vpn), has(machine, *pfn, PageFlags::ACTIVE), "{vpn:?}");
            }
            let inactive: Vec<_> =
                all.iter().filter(|f| !has(machine, **f, PageFlags::ACTIVE)).copied().collect();
            let used = pages(area.clone())
                .find(|vpn| frame(machine, &program, *vpn) == inactive[0])
                .expect("mapped");
            (0..2).for_each(|_| {
                program.check(used).expect("alive");
                look(machine, &inactive[..1], anything());
            });
            assert!(has(machine, inactive[0], PageFlags::ACTIVE), "used again, it comes back");
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SHRZ-07: a dying task does not wait for isolated pages; what it is about to free counts as
/// reclaimed, so that it makes one attempt and no other.
#[test]
fn a_dying_task_counts_as_reclaimed_memory() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 60);
        let all = frames(machine, &program, area.clone());
        all[..20].iter().for_each(|pfn| activate(machine, *pfn));
        let isolate =
            |n| machine.mm.lru().in_zone(ZoneId::Dma).corrupt_counts(LruList::ActiveAnon, 0, n);
        isolate(1000);
        let outer = machine.world.sched.act_for(Some(program.space));
        machine.world.sched.kill(program.space);
        let start = machine.world.sched.now().0;
        direct_round(machine, Gfp::KERNEL);
        assert!(machine.world.sched.now().0 - start < 100 * MS);
        assert_eq!(event(machine, VmEvent::AllocStallNormal), 1);
        assert_eq!(event(machine, VmEvent::PgScanDirect), 0);
        machine.world.sched.forget_kill(program.space);
        machine.world.sched.act_for(outer);
        isolate(-1000);
        prove(machine);
        program.check_all(area);
    });
}

/// SHRZ-07: a task that waits for isolated pages continues as soon as they are put back, not only
/// at the timeout.
#[test]
fn isolated_pages_that_are_back_end_the_wait() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 200);
        let (other, rest) = cold(machine, 1);
        let one = frames(machine, &other, rest.clone());
        let isolate =
            |n| machine.mm.lru().in_zone(ZoneId::Dma).corrupt_counts(LruList::ActiveAnon, 0, n);
        isolate(1000);
        let start = machine.world.sched.now().0;
        machine.crowd(2, |machine, who| {
            if who == 0 {
                direct_round(machine, Gfp::KERNEL);
                let took = machine.world.sched.now().0 - start;
                assert!((10 * MS..50 * MS).contains(&took), "{took} ns");
            } else {
                machine.sleep(Nanos(10 * MS));
                isolate(-1000);
                look(machine, &one, anything());
            }
        });
        assert!(event(machine, VmEvent::PgStealDirect) > 0);
        prove(machine);
        program.check_all(area);
        other.check_all(rest);
    });
}

/// CTRL-05: in laptop mode neither kswapd nor a direct reclaimer writes before it is in
/// trouble; then it does.
#[test]
fn in_laptop_mode_nothing_is_written_before_there_is_trouble() {
    for laptop in [false, true] {
        for direct in [false, true] {
            let mut config = small(DiskConfig::sync(4096));
            config.hardware.memory = std::iter::once(0..4096).collect();
            Machine::run(&config, |machine| {
                let (program, area) = cold(machine, 3000);
                machine.mm.set_laptop_mode(laptop);
                assert_eq!(machine.mm.laptop_mode(), laptop);
                match direct {
                    true => drop(direct_round(machine, Gfp::KERNEL)),
                    false => run_kswapd(machine),
                }
                let refused = machine.mm.verdict_count(Reason::Keep(Keep::MayNotWrite));
                assert_eq!(refused > 0, laptop, "{refused} pages, direct {direct}");
                assert!(event(machine, VmEvent::PswpOut) > 0, "direct {direct}");
                prove(machine);
                program.check_all(area);
            });
        }
    }
}

/// SPL-14, SWAP-07: a page that could not be written waits on the active list, and goes to the next
/// device that works, without a touch.
#[test]
fn a_page_that_could_not_be_written_ages_like_any_other() {
    on(DiskConfig { fail_write: 1, ..DISK }, |machine| {
        let (program, area) = cold(machine, 40);
        let failed = Reason::Activate(Activate::WriteFailed);
        look(machine, &frames(machine, &program, area.clone()), anything());
        assert_eq!(machine.mm.verdict_count(failed), 40);
        machine.world.disks.configure(simulator::FIRST_DISK, |disk| disk.fail_write = 0);
        direct_round(machine, Gfp::KERNEL);
        assert!(event(machine, VmEvent::PgStealDirect) >= 32);
        assert_eq!(machine.mm.verdict_count(failed), 40);
        prove(machine);
        program.check_all(area);
        let mut other = Program::new(machine);
        let rest = other.map(10);
        other.write_all(rest);
        prove(machine);
    });
}
