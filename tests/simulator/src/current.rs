//! The state of the task that a thread runs: for the static functions of [`Cpu`].
//!
//! Locks reach the CPU by static functions, so that taking one costs nothing in a kernel.
//! Here they find their machine through the thread. A thread that is no task of a machine
//! (a plain unit test) is CPU 0 and is never preempted.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use mm_reclaim::env::Cpu;
use mm_reclaim::lock_order::HeldLocks;

use crate::sched::Sched;

thread_local! {
    static MACHINE: RefCell<Option<(Arc<Sched>, usize)>> = const { RefCell::new(None) };
    static DISABLED: Cell<u32> = const { Cell::new(0) };
    static CPU: Cell<usize> = const { Cell::new(0) };
    static CHANCES: Cell<u64> = const { Cell::new(u64::MAX) };
    /// A task is a thread, and is not preempted while it holds a lock.
    static HELD: HeldLocks = const { HeldLocks::new() };
}

/// What [`attach`] replaced.
pub(crate) struct Outer(Option<(Arc<Sched>, usize)>, u32, usize, u64);

/// This thread is task `id` from now on.
pub(crate) fn attach(sched: &Arc<Sched>, id: usize) -> Outer {
    Outer(
        MACHINE.replace(Some((Arc::clone(sched), id))),
        DISABLED.replace(0),
        CPU.replace(0),
        CHANCES.replace(u64::MAX),
    )
}

/// Undoes [`attach`].
pub(crate) fn restore(outer: Outer) {
    MACHINE.set(outer.0);
    DISABLED.set(outer.1);
    CPU.set(outer.2);
    CHANCES.set(outer.3);
}

/// The task continues on this CPU, and is preempted at the `chances`-th opportunity.
pub(crate) fn resume(cpu: usize, chances: u64) {
    CPU.set(cpu);
    CHANCES.set(chances);
}

/// The number of the calling task.
pub(crate) fn task() -> usize {
    MACHINE.with_borrow(|m| m.as_ref().map(|(_, id)| *id)).expect("called by no task")
}

/// Asserts that a task holds no spin lock.
pub(crate) fn assert_no_lock_held(what: &str) {
    HELD.with(|held| held.assert_none(what));
}

/// Asserts that a task that sleeps holds no lock.
pub(crate) fn assert_preemptible(what: &str) {
    assert!(DISABLED.get() == 0 || std::thread::panicking(), "{what} with a lock held");
}

/// The CPUs of the machine that the calling thread belongs to.
#[derive(Clone, Copy, Debug)]
pub struct SimCpu;

impl Cpu for SimCpu {
    fn preempt_disable() {
        DISABLED.set(DISABLED.get() + 1);
    }

    fn preempt_enable() {
        let left = DISABLED.get().checked_sub(1).expect("preemption was not off");
        DISABLED.set(left);
        if left > 0 || std::thread::panicking() {
            return;
        }
        CHANCES.set(CHANCES.get() - 1);
        if CHANCES.get() == 0
            && let Some((sched, _)) = MACHINE.with_borrow(Clone::clone)
        {
            sched.yield_now();
        }
    }

    fn current() -> usize {
        CPU.get()
    }

    /// One task runs at a time and none is preempted while it holds a lock: a task that finds a
    /// lock taken holds it itself.
    fn relax() {
        let alone = MACHINE.with_borrow(Option::is_some);
        assert!(!alone || std::thread::panicking(), "deadlock: this task holds the lock itself");
        std::thread::yield_now();
    }

    fn lock_taken(rank: u8) {
        HELD.with(|held| held.taken(rank));
    }

    fn lock_released(rank: u8) {
        HELD.with(|held| held.released(rank));
    }
}
