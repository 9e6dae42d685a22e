//! One model for each protocol of `docs/concurrency.md`, under the name that it has there.
//!
//! A model is a few tasks on a machine of a few frames. What goes wrong shows in one of four
//! ways: an assertion of the crate, something that the machine refuses, a value that a
//! program did not store, or `validate` in the end. Tasks that wait forever are a deadlock, which
//! shuttle reports.
#![cfg(shuttle)]

use std::sync::Arc;

use mm_reclaim::stat::VmEvent;
use models::disk::Pace;
use models::explore::explore;
use models::machine::{Body, Machine, Program, task};
use shuttle::sync::atomic::{AtomicU32, Ordering};

/// LRU-05: reclaim takes pages off a list while their program gives them up.
#[test]
fn isolate_against_free() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let program = machine.program(20);
        program.store_all(20);
        machine.mm.lru_add_drain_all();
        let gives_up = move |_: Machine<'_>| {
            program.unmap(12, 8);
            program.unmap(4, 8);
            program.check_all(4);
            program.exit();
        };
        vec![task(gives_up), task(|machine| machine.press(26))]
    }
    explore("isolate_against_free", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// RMAP-01, BUDY-12: reclaim follows a page to its family while the last area goes, and the
/// frame that the family lay in with it.
#[test]
fn walk_against_last_area() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let program = machine.program(6);
        program.store_all(6);
        machine.mm.lru_add_drain_all();
        let goes = move |machine: Machine<'_>| {
            // Reclaim has begun.
            machine.wait_for(|| machine.mm.event(VmEvent::PgScanAnon) > 0);
            program.unmap(0, 6);
            machine.trim();
            program.exit();
        };
        vec![task(goes), task(|machine| machine.press(60)), task(|machine| machine.press(60))]
    }
    explore("walk_against_last_area", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// RMAP-01: reclaim follows pages to their families while relatives fork and end, so that
/// families are passed on, freed, and taken again by programs of another tree.
#[test]
fn walk_against_a_changing_tree() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let parent = machine.program(8);
        parent.store_all(8);
        let child = parent.fork();
        (0..4).for_each(|page| child.store(page, 7));
        machine.mm.lru_add_drain_all();
        let changes = move |machine: Machine<'_>| {
            // Reclaim has begun.
            machine.wait_for(|| machine.mm.event(VmEvent::PgScanAnon) > 0);
            parent.exit();
            let grandchild = child.fork();
            child.exit();
            grandchild.check(0, 7);
            grandchild.check(7, 107);
            grandchild.exit();
            // Two trees, made of the freed families.
            let strangers = [machine.program(2), machine.program(2)];
            strangers.iter().for_each(|program| program.store_all(2));
            strangers.iter().for_each(|program| program.check_all(2));
            strangers.into_iter().for_each(Program::exit);
        };
        vec![task(changes), task(|machine| machine.press(60)), task(|machine| machine.press(60))]
    }
    explore("walk_against_a_changing_tree", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// SPL-16: reclaim freezes a clean page of the swap cache while a relative looks it up.
#[test]
fn freeze_against_get() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let parent = machine.program(1);
        parent.store_all(1);
        parent.page_out(0);
        let child = parent.fork();
        // Read in again: the page is clean, and the child's entry still names its slot.
        parent.check_all(1);
        let frees = move |_: Machine<'_>| {
            parent.page_out(0);
            parent.check_all(1);
            parent.exit();
        };
        vec![task(frees), reader(child, 1)]
    }
    explore("freeze_against_get", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// PAGE-01: programs wait for pages that they have read, and relatives for each other's.
#[test]
fn page_lock_and_its_waiters() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        machine.mm.set_page_cluster(0);
        let parent = machine.program(4);
        parent.store_all(4);
        (0..4).for_each(|page| parent.page_out(page));
        machine.wait_for_disk();
        // What was written is clean now, and leaves memory.
        machine.press(40);
        vec![reader(parent.fork(), 1), reader(parent, 4)]
    }
    explore("page_lock_and_its_waiters", &[], || Machine::run(40, Pace::Later, tasks));
}

/// SWAP-05: a page that is being written is touched, freed by its program, and reclaimed
/// again, before and after the device is done with it.
#[test]
fn writeback_against_reclaim_and_fault() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        machine.mm.set_page_cluster(0);
        let parent = machine.program(3);
        parent.store_all(3);
        let child = parent.fork();
        child.store(0, 7);
        let writes = move |_: Machine<'_>| {
            parent.page_out(0);
            parent.store(0, 1);
            parent.page_out(0);
            parent.check(0, 1);
            parent.unmap(1, 1);
            parent.check(2, 102);
            parent.exit();
        };
        let goes = move |_: Machine<'_>| {
            child.page_out(0);
            child.unmap(1, 1);
            child.page_out(2);
            child.check(0, 7);
            child.exit();
        };
        vec![task(writes), task(goes), task(|machine| machine.press(34))]
    }
    explore("writeback_against_reclaim_and_fault", &[], || Machine::run(40, Pace::Later, tasks));
}

/// SWAP-05: relatives look a page up while one of them takes it out of the cache, and its
/// frame is used again for something else.
#[test]
fn swap_cache_lookup_against_removal() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let parent = machine.program(1);
        parent.store_all(1);
        parent.page_out(0);
        let child = parent.fork();
        parent.check_all(1);
        let removes = move |machine: Machine<'_>| {
            for _ in 0..2 {
                parent.page_out(0);
                machine.press(40);
                parent.check_all(1);
            }
            parent.exit();
        };
        let looks = move |_: Machine<'_>| {
            for _ in 0..3 {
                child.check_all(1);
                child.page_out(0);
            }
            child.store(0, 7);
            child.check(0, 7);
            child.exit();
        };
        vec![task(removes), task(looks)]
    }
    explore("swap_cache_lookup_against_removal", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// SWAP-07: a page that relatives wait for could not be read, and leaves the cache once.
#[test]
fn failed_read_against_its_waiters() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        machine.mm.set_page_cluster(0);
        let parent = machine.program(1);
        parent.store_all(1);
        parent.page_out(0);
        machine.wait_for_disk();
        // What was written is clean now, and leaves memory.
        machine.press(40);
        let (child, other) = (parent.fork(), parent.fork());
        machine.fail_reads(2);
        vec![reader(child, 1), reader(other, 1), reader(parent, 1)]
    }
    explore("failed_read_against_its_waiters", &[], || Machine::run(40, Pace::Later, tasks));
}

/// LRU-02: a page loses its last mapping while it waits in a batch that others drain.
#[test]
fn last_reference_against_batch() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let (one, other) = (machine.program(4), machine.program(4));
        let comes_and_goes = |program: Program<'_>| {
            program.store_all(4);
            program.unmap(0, 3);
            program.check(3, 103);
            program.exit();
        };
        let drains = |machine: Machine<'_>| {
            machine.mm.lru_add_drain_all();
            machine.mm.lru_add_drain_all();
        };
        vec![task(move |_| comes_and_goes(one)), task(move |_| comes_and_goes(other)), task(drains)]
    }
    explore("last_reference_against_batch", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// LRU-02, LAZY-01, SPL-10: reclaim isolates pages that wait in a batch to be moved, while their
/// program gives their contents up, stores to some of them again, and unmaps others.
#[test]
fn move_against_isolate() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let program = machine.program(12);
        program.store_all(12);
        machine.mm.lru_add_drain_all();
        let moves = move |_: Machine<'_>| {
            program.give_up(0, 8);
            (0..3).for_each(|page| program.store(page, 7));
            program.unmap(6, 2);
            (0..3).for_each(|page| program.check(page, 7));
            (3..6).for_each(|page| program.check_given_up(page, 100 + u64::from(page)));
            program.check(11, 111);
            program.exit();
        };
        let drains = |machine: Machine<'_>| {
            (0..3).for_each(|_| machine.mm.lru_add_drain_all());
        };
        vec![task(moves), task(|machine| machine.press(30)), task(drains)]
    }
    explore("move_against_isolate", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// RMAP-01: reclaim turns the entries that fork is copying into swap entries.
#[test]
fn fork_against_unmap() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let parent = machine.program(14);
        parent.store_all(14);
        machine.mm.lru_add_drain_all();
        let forks = move |_: Machine<'_>| {
            let child = parent.fork();
            child.store(0, 7);
            parent.check_all(14);
            child.check(0, 7);
            parent.exit();
            (1..14).for_each(|page| child.check(page, 100 + u64::from(page)));
            child.exit();
        };
        vec![task(forks), task(|machine| machine.press(34))]
    }
    explore("fork_against_unmap", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// Two tasks of one space fault on the same pages, of which some were shared until now and others
/// are on a slow disk, while a third changes the areas: no store is lost.
#[test]
fn faults_of_one_space() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let parent = machine.program(6);
        parent.store_all(6);
        let space = parent.fork();
        parent.exit();
        machine.mm.lru_add_drain_all();
        (0..2).for_each(|page| space.page_out(page));
        machine.wait_for_disk();
        let left = Arc::new(AtomicU32::new(3));
        let end = move |left: &AtomicU32| {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                (0..6).for_each(|page| space.check(page, 7 + u64::from(page)));
                space.exit();
            }
        };
        let (one, other, third) = (Arc::clone(&left), Arc::clone(&left), left);
        let stores = move |_: Machine<'_>| {
            (0..6).for_each(|page| {
                space.store(page, 7 + u64::from(page));
                space.check(page, 7 + u64::from(page));
            });
            end(&one);
        };
        let faults = move |_: Machine<'_>| {
            (0..6).for_each(|page| space.fault_for_store_once(page));
            end(&other);
        };
        let maps = move |machine: Machine<'_>| {
            space.map_for_a_moment();
            machine.press(8);
            space.map_for_a_moment();
            end(&third);
        };
        vec![task(stores), task(faults), task(maps)]
    }
    explore("faults_of_one_space", &[], || Machine::run(40, Pace::Later, tasks));
}

/// A task of a space makes a page that was shared until now its own, and stores to it, while
/// another one, which found it shared, copies it: the copy is not mapped over the store.
#[test]
fn copy_against_reuse() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let parent = machine.program(1);
        parent.store(0, 1);
        let space = parent.fork();
        parent.exit();
        machine.mm.lru_add_drain_all();
        let stored = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&stored);
        let stores = move |_: Machine<'_>| {
            space.store(0, 7);
            stored.store(1, Ordering::Relaxed);
        };
        let faults = move |machine: Machine<'_>| {
            space.fault_for_store_once(0);
            machine.wait_for(|| seen.load(Ordering::Relaxed) == 1);
            space.check(0, 7);
            space.exit();
        };
        vec![task(stores), task(faults)]
    }
    explore("copy_against_reuse", &[78_520], || Machine::run(40, Pace::AtOnce, tasks));
}

/// CTRL-01: a task that finds memory low wakes kswapd, also when it is about to sleep.
#[test]
fn kswapd_wake_against_sleep() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let program = machine.program(30);
        let needs = move |machine: Machine<'_>| {
            program.store_all(30);
            for _ in 0..2 {
                let before = machine.mm.event(VmEvent::PageOutRun);
                let held = machine.take_until_low();
                machine.wait_for(|| machine.mm.event(VmEvent::PageOutRun) > before);
                machine.give(held);
            }
            program.exit();
        };
        vec![task(needs)]
    }
    explore("kswapd_wake_against_sleep", &[], || Machine::run(48, Pace::AtOnce, tasks));
}

/// LRU-06: a program ends while reclaim unmaps and frees the pages that it shares.
#[test]
fn exit_against_reclaim_of_its_pages() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let parent = machine.program(10);
        parent.store_all(10);
        let child = parent.fork();
        (0..4).for_each(|page| child.store(page, 7));
        machine.mm.lru_add_drain_all();
        let ends = move |machine: Machine<'_>| {
            child.exit();
            let next = machine.program(6);
            next.store_all(6);
            next.check_all(6);
            next.exit();
        };
        let stays = move |_: Machine<'_>| {
            parent.check_all(10);
            parent.exit();
        };
        vec![task(ends), task(stays), task(|machine| machine.press(34))]
    }
    explore("exit_against_reclaim_of_its_pages", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// SPL-02, LRU-10: reclaim finds a page locked that is unlocked at that moment. No mark of it
/// stays.
#[test]
fn unlock_against_cull() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let program = machine.program(8);
        program.store_all(8);
        machine.mm.lru_add_drain_all();
        let at_work = Arc::new(AtomicU32::new(2));
        let ends = move |machine: Machine<'_>, at_work: &AtomicU32| {
            if at_work.fetch_sub(1, Ordering::AcqRel) == 1 {
                assert_eq!(machine.marked_as_locked(), [], "nothing is locked");
                program.check_all(8);
                program.exit();
            }
        };
        let seen = Arc::clone(&at_work);
        let locks = move |machine: Machine<'_>| {
            (0..4).for_each(|_| program.lock_for_a_moment(0, 8));
            ends(machine, &seen);
        };
        let presses = move |machine: Machine<'_>| {
            machine.press(34);
            ends(machine, &at_work);
        };
        vec![task(locks), task(presses)]
    }
    explore("unlock_against_cull", &[173], || Machine::run(40, Pace::AtOnce, tasks));
}

/// OOM-01: the reaper gives a victim up, which ends at that moment, and another program gets
/// the number of its space.
#[test]
fn reaper_against_exit() {
    /// After this many naps the reaper gives up on a victim.
    const NAPS: u32 = 1000;
    /// It is then held up before it marks the victim, long enough for all the others.
    const PAUSE: u32 = 2000;
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        machine.mm.set_page_cluster(0);
        let victim = machine.program(1);
        victim.store_all(1);
        victim.page_out(0);
        machine.wait_for_disk();
        // The disk's CPU holds the written page in a batch.
        machine.mm.lru_add_drain_all();
        machine.press(40);
        machine.let_die(victim, NAPS);
        machine.hold_up_reaper(PAUSE);
        let held: Vec<_> = (0..6).map_while(|_| machine.take_one()).collect();
        let ends = move |machine: Machine<'_>| {
            machine.swap_off_for_a_moment();
            victim.exit();
            let next = machine.program(1);
            machine.hold_up_reaper(0);
            machine.wait_for_reaper();
            assert!(next.is_alive(), "it was not killed");
            next.exit();
        };
        let kills = |machine: Machine<'_>| {
            machine.wait_for_request();
            machine.take_until_kill();
        };
        let gives = move |machine: Machine<'_>| {
            machine.wait_for_kill();
            machine.give(held);
        };
        vec![task(ends), task(kills), task(gives)]
    }
    explore("reaper_against_exit", &[], || Machine::run_reaping(40, Pace::Later, tasks));
}

/// A program that reads its first pages and ends.
fn reader(program: Program<'_>, pages: u32) -> Body<'_> {
    task(move |_| {
        program.check_all(pages);
        program.exit();
    })
}
