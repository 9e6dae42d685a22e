//! Models of direct swap-in, as `protocols.rs` has those of the other protocols.
#![cfg(shuttle)]

use std::sync::Arc;

use models::disk::Pace;
use models::explore::explore;
use models::machine::{Body, Machine, Program, task};
use shuttle::sync::atomic::{AtomicU32, Ordering};

/// SWAP-05: tasks of one space read pages from swap directly, while these are evicted again, even
/// into the slots from which they are being read, while the space forks and while swap goes away.
#[test]
fn direct_swap_in() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let space = machine.program(2);
        space.store_all(2);
        (0..2).for_each(|page| space.page_out(page));
        let left = Arc::new(AtomicU32::new(3));
        let end = move |left: &AtomicU32| {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                space.check(0, 8);
                space.check(1, 101);
                space.exit();
            }
        };
        let (one, other, third) = (Arc::clone(&left), Arc::clone(&left), left);
        let stores = move |_: Machine<'_>| {
            space.store(0, 7);
            space.page_out(0);
            space.store(0, 8);
            space.page_out(0);
            space.check(0, 8);
            end(&one);
        };
        let loads = move |_: Machine<'_>| {
            space.fault_for_load_once(0);
            space.check(1, 101);
            space.page_out(1);
            space.fault_for_store_once(0);
            space.check(1, 101);
            end(&other);
        };
        let forks = move |machine: Machine<'_>| {
            machine.swap_off_for_a_moment();
            let child = space.fork();
            child.check(1, 101);
            child.store(1, 9);
            child.exit();
            end(&third);
        };
        vec![task(stores), task(loads), task(forks)]
    }
    explore("direct_swap_in", &[], || Machine::run(40, Pace::AtOnce, tasks));
}

/// SWAP-05: a task is about to read a page from swap directly, while another one stores to it and
/// a page of a stranger is evicted into the slot that this has freed.
#[test]
fn direct_swap_in_of_a_slot_used_again() {
    /// Enough for all that the other task does.
    const PAUSES: u32 = 2000;
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        machine.use_slots(2);
        let (space, filler, stranger) =
            (machine.program(1), machine.program(1), machine.program(1));
        space.store_all(1);
        space.page_out(0);
        filler.store_all(1);
        filler.page_out(0);
        stranger.store(0, 9);
        let left = Arc::new(AtomicU32::new(2));
        let end = move |left: &AtomicU32| {
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                space.check(0, 7);
                stranger.check(0, 9);
                [space, filler, stranger].into_iter().for_each(Program::exit);
            }
        };
        let (one, other) = (Arc::clone(&left), left);
        let loads = move |machine: Machine<'_>| {
            machine.hold_up_at_device(PAUSES);
            space.fault_for_load_once(0);
            end(&one);
        };
        let stores = move |_: Machine<'_>| {
            space.store(0, 7);
            stranger.page_out(0);
            end(&other);
        };
        vec![task(loads), task(stores)]
    }
    let run = || Machine::run(40, Pace::AtOnce, tasks);
    explore("direct_swap_in_of_a_slot_used_again", &[], run);
}
