//! Locks report their ranks to the environment, in debug builds.

use std::thread_local;

use crate::base::lock_order::{HeldLocks, LRUVEC, ZONE};
use crate::base::sync::Lock;
use crate::env::Cpu;
use crate::tests::panic_of;

thread_local! {
    static HELD: HeldLocks = const { HeldLocks::new() };
}

/// A CPU that is a thread and checks the order of its locks.
struct Watchful;

impl Cpu for Watchful {
    fn preempt_disable() {}
    fn preempt_enable() {}
    fn current() -> usize {
        0
    }
    fn lock_taken(rank: u8) {
        HELD.with(|held| held.taken(rank));
    }
    fn lock_released(rank: u8) {
        HELD.with(|held| held.released(rank));
    }
}

#[test]
fn a_lock_is_known_while_its_guard_lives() {
    let (lists, zone) =
        (Lock::<Watchful, (), LRUVEC>::new(()), Lock::<Watchful, (), ZONE>::new(()));
    let outer = lists.lock();
    let inner = zone.lock();
    drop(outer);
    assert!(panic_of(|| HELD.with(|held| held.assert_none("a wait"))).contains("a zone lock"));
    drop(inner);
    HELD.with(|held| held.assert_none("a wait"));
}

/// The inversion is reported before the wait: two CPUs that take two locks in different orders need
/// not do so at the same time for it to be noticed.
#[test]
fn locks_in_the_wrong_order_are_noticed_by_one_cpu_alone() {
    let (lists, zone) =
        (Lock::<Watchful, (), LRUVEC>::new(()), Lock::<Watchful, (), ZONE>::new(()));
    let _inner = zone.lock();
    assert!(panic_of(|| drop(lists.lock())).contains("a lruvec lock is taken inside a zone lock"));
}
