//! Several tasks in one address space: their faults share the area lock.

use std::sync::atomic::{AtomicU64, Ordering};

use mm_reclaim::env::{Clock, Prot, Tasks};
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::mmap::{Advice, Place};
use mm_reclaim::space::{AreaFlags, SpaceId};
use mm_reclaim::units::{Nanos, Vpn};
use simulator::{Config, DiskConfig, FIRST_DISK, Machine, Pace};

/// Nanoseconds that a read takes here.
const READ: u64 = 10_000_000;
const RIGHTS: Prot = Prot::READ.union(Prot::WRITE);

/// A machine whose disk answers at once, until a space is swapped out.
fn with_slow_disk() -> Config {
    let mut config = Config::default();
    config.hardware.disks = vec![DiskConfig::sync(4096)];
    config
}

/// A space with `pages` pages, all of them written and on the disk, which is slow from now on and
/// reads nothing ahead.
fn swapped_out(machine: Machine<'_>, pages: u32) -> (SpaceId, Vpn) {
    let mm = machine.mm;
    mm.set_page_cluster(0);
    let space = mm.create_space().expect("memory");
    let start = mm.mmap(space, Place::Anywhere, pages, RIGHTS, AreaFlags::empty()).expect("room");
    for page in 0..pages {
        fault(machine, space, start + page, Access::Write);
    }
    mm.lru_add_drain_all();
    assert_eq!(mm.madvise(space, start..start + pages, Advice::PageOut), Ok(pages));
    assert_eq!(mm.space_stat(space).swapped, pages);
    let pace = Pace::Async { latency: READ..READ + 1, per_page: 0 };
    machine.world.disks.configure(FIRST_DISK, |disk| disk.pace = pace);
    (space, start)
}

/// A fault that is resolved; whether it waited for a read.
fn fault(machine: Machine<'_>, space: SpaceId, vpn: Vpn, access: Access) -> bool {
    match machine.mm.handle_fault(space, vpn.addr(), access) {
        FaultEnd::Minor => false,
        FaultEnd::Major => true,
        end => panic!("{vpn:?}: {end:?}"),
    }
}

fn time(machine: Machine<'_>) -> u64 {
    Clock::now(&*machine.world.sched).0
}

/// Two tasks of one space that fault on different pages of a slow disk wait for their own reads
/// only: concurrently, and not one after the other.
#[test]
fn faults_of_one_space_wait_for_their_own_reads() {
    Machine::run(&with_slow_disk(), |machine| {
        let (space, start) = swapped_out(machine, 8);
        let before = time(machine);
        machine.crowd(8, |machine, task| {
            assert!(fault(machine, space, start + task as u32, Access::Read));
        });
        let took = time(machine) - before;
        assert!(took < 2 * READ, "{took} ns for eight reads of {READ} ns side by side");
        let stat = machine.mm.space_stat(space);
        assert_eq!((stat.resident, stat.maj_faults), (8, 8));
        machine.validate();
    });
}

/// A fault that waits for memory, with the area lock, does not hold up the other faults of its
/// space.
#[test]
fn a_fault_that_reclaims_holds_up_no_other_fault() {
    let mut config = with_slow_disk();
    let pace = Pace::Async { latency: READ..READ + 1, per_page: READ / 8 };
    config.hardware.disks = vec![DiskConfig { pace, queue: 16, ..DiskConfig::sync(8192) }];
    Machine::run(&config, |machine| {
        let mm = machine.mm;
        let space = mm.create_space().expect("memory");
        let map = |pages| mm.mmap(space, Place::Anywhere, pages, RIGHTS, AreaFlags::empty());
        let (large, small) = (map(6000).expect("room"), map(1).expect("room"));
        mm.mlock(space, small..small + 1).expect("memory");
        let (longest, done) = (AtomicU64::new(0), AtomicU64::new(0));
        machine.crowd(2, |machine, task| {
            if task == 0 {
                for page in 0..4500 {
                    let before = time(machine);
                    fault(machine, space, large + page, Access::Write);
                    longest.fetch_max(time(machine) - before, Ordering::Relaxed);
                }
                done.store(1, Ordering::Relaxed);
            }
            while task == 1 && done.load(Ordering::Relaxed) == 0 {
                let before = time(machine);
                fault(machine, space, small, Access::Read);
                let took = time(machine) - before;
                assert!(took < READ / 4, "a fault took {took} ns beside one that reclaims");
                machine.sleep(Nanos(READ / 20));
            }
        });
        let longest = longest.into_inner();
        assert!(longest > READ / 2, "{longest} ns: no fault ever waited for memory");
        mm.destroy_space(space).expect("there");
        machine.validate();
    });
}

/// While one task waits for a read, another one changes the areas of the space at once.
#[test]
fn a_change_of_the_areas_does_not_wait_for_a_read() {
    Machine::run(&with_slow_disk(), |machine| {
        let (space, start) = swapped_out(machine, 2);
        let before = time(machine);
        machine.crowd(2, |machine, task| {
            if task == 0 {
                fault(machine, space, start, Access::Read);
                return;
            }
            while machine.world.disks.pending() == 0 {
                machine.world.yield_now();
            }
            let mm = machine.mm;
            let at = mm.mmap(space, Place::Anywhere, 4, RIGHTS, AreaFlags::empty()).expect("room");
            mm.munmap(space, at..at + 4).expect("mapped");
            let took = time(machine) - before;
            assert!(took < READ / 2, "{took} ns: it waited for the read");
        });
        machine.validate();
    });
}

/// A page that is unmapped while a fault waits for it is not mapped by that fault.
#[test]
fn a_fault_looks_again_at_what_was_unmapped_meanwhile() {
    Machine::run(&with_slow_disk(), |machine| {
        let (space, start) = swapped_out(machine, 2);
        machine.crowd(2, |machine, task| {
            if task == 0 {
                let end = machine.mm.handle_fault(space, start.addr(), Access::Read);
                assert_eq!(end, FaultEnd::BadAddress);
                return;
            }
            while machine.world.disks.pending() == 0 {
                machine.world.yield_now();
            }
            machine.mm.munmap(space, start..start + 2).expect("mapped");
        });
        assert_eq!(machine.mm.space_stat(space).resident, 0);
        machine.validate();
    });
}

/// A stream of faults does not starve a task that changes the areas, and all of them together lose
/// no page, whatever the schedule.
#[test]
fn faults_and_changes_take_turns() {
    for seed in 0..8 {
        let mut config = with_slow_disk();
        config.hardware.seed = seed;
        config.hardware.preempt_every = 20;
        Machine::run(&config, |machine| {
            let (space, start) = swapped_out(machine, 64);
            machine.crowd(4, |machine, task| match task {
                3 => (0..40).for_each(|_| change_areas(machine, space, start)),
                _ => (0..40).for_each(|round| {
                    let page = start + (round * 7 + task as u32 * 3) % 64;
                    let access = if round % 3 == 0 { Access::Write } else { Access::Read };
                    fault(machine, space, page, access);
                }),
            });
            machine.validate();
            machine.mm.destroy_space(space).expect("there");
            machine.validate();
        });
    }
}

/// Maps, touches and unmaps two pages, and sends others to the disk.
fn change_areas(machine: Machine<'_>, space: SpaceId, start: Vpn) {
    let mm = machine.mm;
    let at = mm.mmap(space, Place::Anywhere, 2, RIGHTS, AreaFlags::empty()).expect("room");
    fault(machine, space, at, Access::Write);
    mm.munmap(space, at..at + 2).expect("mapped");
    mm.madvise(space, start + 8..start + 24, Advice::PageOut).expect("mapped");
}
