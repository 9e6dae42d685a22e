//! What a task knows of itself, for the static functions of [`Cpu`].
//!
//! Every task is a CPU of its own, as far as there are numbers: all of them run at once. A
//! task under a spin lock can be held up like any other, as a CPU can by its neighbours.
//!
//! Shuttle runs all tasks of a schedule on one thread, so what they know lies in variables
//! of the thread, by the task's number, and is forgotten when a schedule begins.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use mm_reclaim::env::{Cpu, MAX_CPUS, TaskFlags};
use mm_reclaim::lock_order::{HeldLocks, TABLES};

/// One task's own.
#[derive(Debug, Default)]
pub(crate) struct Own {
    pub(crate) flags: Cell<Option<TaskFlags>>,
    preempt_off: Cell<u32>,
    held: HeldLocks,
    /// How often it yields before the device answers it next.
    patience: Cell<u32>,
    /// After so many page-table locks, if any, it is held up before the next one.
    tables_left: Cell<Option<u32>>,
}

/// How often a task yields that is held up before a page-table lock: long enough for others to get far.
const LONG: u32 = 300;

thread_local! {
    static TASKS: RefCell<Vec<Rc<Own>>> = const { RefCell::new(Vec::new()) };
    static PAUSES: Cell<u32> = const { Cell::new(0) };
}

/// The reaper yields this many times before it next takes a page-table lock.
pub(crate) fn hold_up_reaper(pauses: u32) {
    PAUSES.set(pauses);
}

/// The calling task yields this many times when it next asks a device what it is.
pub(crate) fn hold_up_at_device(pauses: u32) {
    own().patience.set(pauses);
}

/// The calling task yields often before it takes a page-table lock, after `locks` more of them.
pub(crate) fn hold_up_at_tables(locks: u32) {
    own().tables_left.set(Some(locks));
}

/// The calling task is about to take a page-table lock.
fn pause_at_tables() {
    let own = own();
    match own.tables_left.get() {
        Some(0) => {
            own.tables_left.set(None);
            (0..LONG).for_each(|_| shuttle::thread::yield_now());
        }
        left => own.tables_left.set(left.map(|left| left - 1)),
    }
}

/// The pauses that [`hold_up_at_device`] asked for.
pub(crate) fn pause_at_device() {
    (0..own().patience.take()).for_each(|_| shuttle::thread::yield_now());
}

/// The calling task is the reaper, or the disk, which takes no page-table lock.
pub(crate) fn is_reaper() -> bool {
    own().flags.get() == Some(TaskFlags::KERNEL)
}

/// A schedule begins: no task has done anything.
pub(crate) fn forget_all() {
    TASKS.take();
    PAUSES.set(0);
}

/// The calling task's own.
pub(crate) fn own() -> Rc<Own> {
    let me = usize::from(shuttle::current::me());
    TASKS.with_borrow_mut(|tasks| {
        if tasks.len() <= me {
            tasks.resize_with(me + 1, Rc::default);
        }
        Rc::clone(&tasks[me])
    })
}

/// Sleeping, or what may come to it, begins here: no lock is held, and preemption is on.
pub(crate) fn assert_may_sleep(what: &str) {
    assert_no_lock(what);
    assert_eq!(own().preempt_off.get(), 0, "{what} while preemption is off");
}

/// No lock is held.
pub(crate) fn assert_no_lock(what: &str) {
    own().held.assert_none(what);
}

/// The CPU that the calling task is.
#[derive(Debug)]
pub struct ModelCpu;

impl Cpu for ModelCpu {
    fn preempt_disable() {
        let own = own();
        own.preempt_off.set(own.preempt_off.get() + 1);
    }

    fn preempt_enable() {
        let own = own();
        own.preempt_off.set(own.preempt_off.get() - 1);
    }

    fn current() -> usize {
        usize::from(shuttle::current::me()) % MAX_CPUS
    }

    /// A task that spins lets the others run.
    fn relax() {
        shuttle::thread::yield_now();
    }

    fn lock_taken(rank: u8) {
        own().held.taken(rank);
        if rank == TABLES {
            pause_at_tables();
        }
        while rank == TABLES && PAUSES.get() > 0 && is_reaper() {
            PAUSES.set(PAUSES.get() - 1);
            shuttle::thread::yield_now();
        }
    }

    fn lock_released(rank: u8) {
        own().held.released(rank);
    }
}
