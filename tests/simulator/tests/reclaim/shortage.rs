//! Shortages that could go wrong in two ways: a program is killed although memory was available, or
//! none is and nothing progresses (OOM-02).

use std::ops::Range;

use mm_reclaim::env::{Clock, Prot};
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::PageFlags;
use mm_reclaim::reclaim::{ActivateReason as Activate, Reason, ScanRequest};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::map::Held;
use mm_reclaim::units::{Nanos, Order, Pfn, Vpn};
use mm_reclaim::zone::{Mark, ZoneId};
use simulator::{Config, Death, DiskConfig, FIRST_DISK, Machine, Pace, Program};

use crate::bench::{
    anything, chill, cold, direct_round, exhaust, frames, has, hot, in_flight, is_present, look,
    on, pages, prove, release, slot, slow, small,
};

const DISK: DiskConfig = DiskConfig::sync(2048);

// ---- what an allocation may use ----

/// A machine of one zone that is large enough for a boost: 16 MiB.
fn roomy(disk: DiskConfig) -> Config {
    let mut config = small(disk);
    config.hardware.memory = std::iter::once(0..4096).collect();
    config
}

/// Has one migrate type take from another, as a page table does between the pages of a
/// program, and leaves this many pages free; the pages that it took.
fn fall_back(machine: Machine<'_>, free: u32) -> Vec<Pfn> {
    let zone = machine.mm.zone(ZoneId::Dma);
    let true_min = zone.mark(Mark::Min);
    let take = |gfp| machine.mm.alloc_pages(gfp, Order::ZERO);
    let mut taken: Vec<_> = std::iter::from_fn(|| take(Gfp::MOVABLE)).collect();
    let mut tables = Vec::new();
    while zone.mark(Mark::Min) == true_min {
        tables.extend(take(Gfp::MEMALLOC));
    }
    while zone.free() < free {
        release(machine, vec![taken.pop().expect("enough pages")]);
    }
    assert_eq!(zone.watermarks().min, true_min, "the boost is none of the true marks");
    assert!(zone.watermarks().high < free && free < zone.mark(Mark::Min));
    taken.extend(tables);
    taken
}

/// BUDY-03, OOM-02: the boost of the marks is for kswapd: a request that keeps the true MIN gets
/// its page, also if it may not wait, and no program is killed for the boost.
#[test]
fn the_boost_is_nothing_that_an_allocation_may_not_use() {
    Machine::run(&roomy(DiskConfig::sync(2)), |machine| {
        let (program, area) = hot(machine, 1500);
        let mut taken = fall_back(machine, 300);
        let got = machine.mm.alloc_pages(Gfp::MOVABLE, Order::ZERO);
        assert!(got.is_some(), "without reclaim");
        taken.extend(got);
        machine.crowd(1, |machine, _| {
            let all = (0..50).map(|_| machine.mm.alloc_pages(Gfp::HIGHUSER_MOVABLE, Order::ZERO));
            release(machine, all.map(|pfn| pfn.expect("a page")).collect());
        });
        assert_eq!(machine.mm.event(VmEvent::OomKill), 0);
        assert_eq!(machine.mm.event(VmEvent::AllocStallNormal), 0);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// BUDY-03, CTRL-01: kswapd does aim at the boosted HIGH.
#[test]
fn kswapd_works_for_the_boost() {
    Machine::run(&roomy(DISK), |machine| {
        let (program, area) = cold(machine, 2000);
        let zone = machine.mm.zone(ZoneId::Dma);
        let mut taken = fall_back(machine, 300);
        let boosted = zone.mark(Mark::High);
        taken.extend(machine.mm.alloc_pages(Gfp::NOWAIT, Order::ZERO));
        machine.sleep(Nanos::from_millis(500));
        assert!(zone.free() > boosted, "{} free, {boosted} wanted", zone.free());
        assert_eq!(zone.mark(Mark::High), zone.watermarks().high, "worked off");
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// OOM-02: what others free during the fruitless rounds of a request avoids the kill.
#[test]
fn pages_given_back_between_the_rounds_spare_a_kill() {
    on(DiskConfig::sync(2), |machine| {
        let (program, area) = hot(machine, 100);
        let mut taken = exhaust(machine);
        let kills = |machine: Machine<'_>| machine.mm.event(VmEvent::OomKill);
        // Another task frees pages during the fruitless rounds of the first one.
        let pages: Vec<_> = taken.split_off(taken.len() - 40);
        let parts = std::sync::Mutex::new(pages);
        machine.crowd(2, |machine, who| {
            if who == 0 {
                let got = machine.mm.alloc_pages(Gfp::KERNEL, Order::ZERO);
                release(machine, vec![got.expect("a page")]);
            } else {
                machine.sleep(Nanos::from_millis(1));
                release(machine, std::mem::take(&mut *parts.lock().unwrap()));
            }
        });
        assert_eq!(kills(machine), 0);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

// ---- swap is full ----

/// Writes `count` pages to the device and frees them, but for none that are read again.
fn paged_out<'m>(machine: Machine<'m>, count: u32) -> (Program<'m>, Range<Vpn>) {
    let (program, area) = cold(machine, count);
    let all = frames(machine, &program, area.clone());
    for _ in 0..2 {
        look(machine, &all, ScanRequest::proactive());
        machine.settle();
    }
    assert!(pages(area.clone()).all(|vpn| !is_present(machine, &program, vpn)));
    (program, area)
}

/// SWAP-04, SHRZ-03, OOM-02: with swap full, pages that have a slot already are reclaimed,
/// active ones too, before any program is killed; pages that have none are left alone.
#[test]
fn with_swap_full_pages_that_have_a_slot_still_go() {
    for (disk, active) in [
        (DiskConfig::sync(700), false),
        (DiskConfig::later(700), false),
        (DiskConfig::sync(700), true),
    ] {
        on(disk, |machine| {
            machine.mm.set_page_cluster(0);
            let (mut program, area) = paged_out(machine, 300);
            program.check_all(area.clone());
            let all = frames(machine, &program, area.clone());
            chill(&mut program, area.clone());
            if active {
                all.iter().for_each(|pfn| activate(machine, *pfn));
            }
            let (other, rest) = paged_out(machine, 399);
            assert_eq!(machine.mm.swap_pages(), (699, 0));
            assert!(all.iter().all(|pfn| has(machine, *pfn, PageFlags::SWAPCACHE)));
            let (third, more) = hot(machine, 100);
            let mut taken = exhaust(machine);
            for _ in 0..250 {
                taken.extend(machine.mm.alloc_pages(Gfp::KERNEL, Order::ZERO));
            }
            assert_eq!(machine.mm.event(VmEvent::OomKill), 0);
            assert_eq!(machine.mm.verdict_count(Reason::Activate(Activate::NoSlot)), 0);
            assert_eq!(machine.mm.space_stat(third.space).resident, 100);
            release(machine, taken);
            prove(machine);
            [(program, area), (other, rest), (third, more)].iter().for_each(|(p, a)| {
                p.check_all(a.clone());
            });
        });
    }
}

/// Uses a page until it is on the active list.
fn activate(machine: Machine<'_>, pfn: Pfn) {
    let held = machine.mm.get_page(pfn).expect("in use");
    (0..2).for_each(|_| machine.mm.mark_page_accessed(&held));
    machine.mm.put_page(held);
    machine.mm.lru_add_drain_all();
    assert!(has(machine, pfn, PageFlags::ACTIVE));
}

/// OOM-02, SHRZ-03: when those are gone, too, it ends: reclaim does not spin for pages that it
/// cannot evict.
#[test]
fn with_swap_full_and_nothing_left_somebody_is_killed() {
    for disk in [DiskConfig::sync(64), DiskConfig::later(64), DiskConfig::sync(700)] {
        on(disk, |machine| {
            let mut program = Program::new(machine);
            let area = program.map(3000);
            let start = machine.world.sched.now().0;
            let end = pages(area).try_for_each(|vpn| program.write(vpn));
            assert_eq!(end, Err(Death::Killed));
            let took = machine.world.sched.now().0 - start;
            assert!(took < 1_000_000_000, "{took} ns");
            drop(program);
            prove(machine);
        });
    }
}

// ---- writes fail ----

/// SWAP-07, OOM-02: a page whose slot broke goes to a new one at the next scan, without a touch:
/// its entries are found in every program that shares it, and name the new slot then.
#[test]
fn a_page_leaves_a_broken_slot_without_a_touch() {
    for disk in [DiskConfig::sync(64), DiskConfig::later(64)] {
        on(DiskConfig { fail_write: 1, ..disk }, |machine| {
            let (program, area) = cold(machine, 3);
            let child = program.fork().expect("a child");
            let all = frames(machine, &program, area.clone());
            look(machine, &all, anything());
            machine.settle();
            let old: Vec<_> = pages(area.clone()).map(|v| slot(machine, &program, v)).collect();
            assert!(old.iter().all(|entry| machine.mm.slot_state(*entry).broken));
            machine.world.disks.configure(FIRST_DISK, |disk| disk.fail_write = 0);
            for _ in 0..2 {
                look(machine, &all, anything());
                machine.settle();
            }
            for (vpn, old) in pages(area.clone()).zip(&old) {
                let new = slot(machine, &program, vpn);
                assert_ne!(new, *old);
                assert_eq!(slot(machine, &child, vpn), new);
                assert_eq!(machine.mm.slot_state(new).uses, 2);
                assert_eq!(machine.mm.slot_state(*old).held, Held::Bad, "retired");
            }
            assert_eq!(machine.mm.swap_pages(), (63, 57));
            prove(machine);
            program.check_all(area.clone());
            child.check_all(area);
        });
    }
}

/// SWAP-07: the same where it is mapped again in one program and not in the other, where a right
/// was removed in the meantime, and where no other slot is free: then it stays, mapped.
#[test]
fn a_page_leaves_a_broken_slot_whatever_maps_it() {
    for blocks in [64, 3] {
        on(DiskConfig { fail_write: 1, ..DiskConfig::sync(blocks) }, |machine| {
            let (program, area) = cold(machine, 2);
            let child = program.fork().expect("a child");
            let all = frames(machine, &program, area.clone());
            look(machine, &all, anything());
            machine.world.disks.configure(FIRST_DISK, |disk| disk.fail_write = 0);
            machine.mm.mprotect(child.space, area.clone(), Prot::READ).expect("an area");
            program.check(area.start).expect("alive");
            assert!(is_present(machine, &program, area.start));
            look(machine, &all, ScanRequest::proactive());
            let fits = blocks == 64;
            for program in [&program, &child] {
                assert!(pages(area.clone()).all(|v| is_present(machine, program, v) != fits));
            }
            prove(machine);
            program.check_all(area.clone());
            child.check_all(area.clone());
            let end = machine.mm.handle_fault(child.space, area.start.addr(), Access::Write);
            assert_eq!(end, FaultEnd::BadAddress, "the right is gone");
            prove(machine);
        });
    }
}

/// How a program ended that writes and checks all its pages, and how long it took.
fn two_rounds(machine: Machine<'_>, count: u32) -> (Result<(), Death>, u64) {
    let start = machine.world.sched.now().0;
    let mut program = Program::new(machine);
    let area = program.map(count);
    let end = (0..2).try_for_each(|_| {
        pages(area.clone()).try_for_each(|vpn| program.write(vpn))?;
        pages(area.clone()).try_for_each(|vpn| program.check(vpn))
    });
    (end, machine.world.sched.now().0 - start)
}

/// The bound of a run of the grid: a minute of virtual time. The slowest of them that completes
/// takes less than ten seconds.
const BOUND: Nanos = Nanos::from_millis(60_000);

/// OOM-02, SWAP-07: every 2nd, 3rd, 5th… write fails, on machines of several sizes with
/// little and much swap, alone and with others, on one CPU and on several: each program is done or
/// killed within a minute of virtual time.
#[test]
fn every_run_with_failing_writes_ends() {
    let mut ends = [0, 0];
    for fail_write in [1, 2, 3, 5, 7, 20] {
        for memory in [300, 500, 900] {
            for swap in [40, 300, 1500, 4000] {
                for (tasks, pace) in [(1, Pace::Sync), (1, QUICK), (3, QUICK)] {
                    let disk = DiskConfig { pace, fail_write, ..DiskConfig::later(swap) };
                    let count = failing_run(disk, memory, tasks);
                    ends.iter_mut().zip(count).for_each(|(all, one)| *all += one);
                }
            }
        }
    }
    let [done, killed] = ends;
    assert!(done > 100 && killed > 100, "{done} done, {killed} killed");
}

const QUICK: Pace = Pace::Async { latency: 5_000..50_000, per_page: 2_000 };

/// One run of the grid; how many programs were done, and killed.
fn failing_run(disk: DiskConfig, memory: u32, tasks: usize) -> [usize; 2] {
    let told = format!("{disk:?}, {memory} frames, {tasks} tasks");
    let mut config = small(disk);
    config.hardware.memory = std::iter::once(0..memory).collect();
    config.hardware.cpus = tasks;
    config.hardware.preempt_every = if tasks == 1 { 0 } else { 50 };
    let ends = std::sync::Mutex::new(Vec::new());
    Machine::run(&config, |machine| {
        machine.world.sched.limit(20_000_000, BOUND);
        machine.crowd(tasks, |machine, _| {
            let (end, _) = two_rounds(machine, memory * 2 / tasks as u32);
            ends.lock().unwrap().push(end);
        });
        machine.world.sched.limit(1_000_000, BOUND);
        prove(machine);
    });
    let ends = ends.into_inner().unwrap();
    let count = |want| ends.iter().filter(|end| **end == want).count();
    let ended = [count(Ok(())), count(Err(Death::Killed))];
    assert_eq!(ended[0] + ended[1], tasks, "{told}");
    ended
}

// ---- the few pages ----

/// OOM-02: all that is left is a few pages of a program, which needs them again as soon as they are
/// evicted. Each round of reclaim frees something, and there is no progress: once no page is
/// available, the program is killed. With a hundred pages to cycle it is not.
#[test]
fn turning_the_same_few_pages_round_is_no_progress() {
    for (count, few) in [(12, true), (100, false)] {
        on(DiskConfig::sync(300), |machine| {
            let (mut program, area) = cold(machine, count);
            let taken = exhaust(machine);
            let mut rounds = 0;
            while rounds < 300 && pages(area.clone()).all(|v| program.write(v).is_ok()) {
                // Down to MIN, so that the next request has to reclaim.
                let mut more = exhaust(machine);
                // That takes everything off the CPU's lists.
                machine.validate();
                more.extend(exhaust(machine));
                let alone = Gfp::KERNEL - Gfp::KSWAPD_RECLAIM;
                let got = machine.mm.alloc_pages(alone, Order::ZERO);
                release(machine, more.into_iter().chain(got).collect());
                rounds += 1;
            }
            assert_eq!(machine.mm.event(VmEvent::OomKill), u64::from(few), "{rounds} rounds");
            assert!(machine.mm.event(VmEvent::AllocStallNormal) >= 48);
            release(machine, taken);
            prove(machine);
        });
    }
}

/// OOM-02: a loop over a little more than memory also evicts every page and brings it back; but it
/// makes progress, and no program is killed while swap is large.
#[test]
fn a_loop_over_a_little_more_than_memory_goes_on() {
    for more in [5, 20, 60] {
        on(DISK, |machine| {
            let mut program = Program::new(machine);
            let room = machine.mm.total_free() - machine.mm.zone(ZoneId::Dma).watermarks().high;
            let area = program.map(room + more);
            for _ in 0..10 {
                program.write_all(area.clone());
            }
            assert!(machine.mm.event(VmEvent::WorkingsetRefaultAnon) > 0);
            prove(machine);
        });
    }
}

// ---- slow devices ----

/// SHRZ-08: with hardly a free page, as tiny marks leave it, a reclaimer does not wait until
/// the device is idle: a few pages under write-back are few compared with those that could be.
#[test]
fn tiny_marks_do_not_make_direct_reclaim_stall() {
    let mut config = small(DiskConfig::sync(2048));
    config.mm.min_free_kbytes = Some(0);
    Machine::run(&config, |machine| {
        machine.mm.set_page_cluster(0);
        let (mut program, area) = paged_out(machine, 300);
        program.check_all(area.clone());
        chill(&mut program, area.clone());
        machine.world.disks.configure(FIRST_DISK, |disk| disk.pace = slow(2048).pace);
        let (other, rest, _) = in_flight(machine, 30);
        let start = machine.world.sched.now().0;
        direct_round(machine, Gfp::KERNEL);
        let took = machine.world.sched.now().0 - start;
        assert!(machine.mm.event(VmEvent::PgStealDirect) >= 32);
        assert!(took < 1_000_000_000, "{took} ns");
        prove(machine);
        program.check_all(area);
        other.check_all(rest);
    });
}
