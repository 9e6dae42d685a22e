//! Tasks: kernel tasks, user processes, and the scheduler that shares the CPUs among them.
//!
//! | file | what |
//! | --- | --- |
//! | [`fair`] | which task runs next: the rules; pure, tested on the host |
//! | [`queue`], [`table`], [`family`] | the scheduler's state; pure, tested on the host |
//! | `current` | a task's own data, accessed without a lock |
//! | `state` | the scheduler's state and its lock |
//! | `stack` | kernel stacks |
//! | `sched` | leaving the CPU, the timer interrupt, idling, cleanup after an exit |
//! | `wake`, `wait` | sleeping and waking: the memory management's [`mm_reclaim::env::Tasks`] |
//! | `spawn`, `exit` | how tasks start and end |
//! | `services` | what tasks need from the layers above |
//!
//! **Data.** A fixed table of tasks in two halves. The scheduler's data is a [`table::Sched`]
//! guarded by the scheduler lock. The data that only the task itself or its CPU accesses is a
//! `Task`. **Owner.** A task belongs to one CPU for its whole life: the one that had the fewest
//! programs when it was made, or the first for tasks of the kernel. **Lock.** The scheduler lock, a
//! leaf, taken with interrupts masked.
//!
//! **No wakeup is lost.** A waiter (1) enters the bucket of its key, (2) tests its condition, (3)
//! sleeps unless it was removed from the bucket. A waker (a) makes the condition true, (b) checks
//! whether the bucket has waiters, (c) removes those of the key. Either (1) precedes (b) in the
//! order of the scheduler lock and of the two full fences, and then the waiter is removed and does
//! not sleep; or (a) precedes (2), and then it sees the condition. Timeouts and kills remove a
//! waiter in the same way.

pub mod fair;
pub mod family;
pub mod queue;
pub mod table;

#[cfg(target_os = "none")]
mod current;
#[cfg(target_os = "none")]
mod exit;
#[cfg(target_os = "none")]
mod sched;
#[cfg(target_os = "none")]
mod services;
#[cfg(target_os = "none")]
mod spawn;
#[cfg(target_os = "none")]
mod stack;
#[cfg(target_os = "none")]
mod state;
#[cfg(target_os = "none")]
mod wait;
#[cfg(target_os = "none")]
mod wake;

#[cfg(target_os = "none")]
pub use current::{Task, current, current_id, name_of, without_faults};
#[cfg(target_os = "none")]
pub use exit::{
    count, exists, exit, exit_killed, init_was_killed_for_memory, is_killed, kill_current,
    kill_process, kill_programs, kill_space, name_of_process, owner_of_space, pids, rename_current,
    wait_child,
};
#[cfg(target_os = "none")]
pub use sched::{begin_as, idle, reschedule, timer_interrupt, yield_cpu};
#[cfg(target_os = "none")]
pub use services::Services;
#[cfg(target_os = "none")]
pub use spawn::{
    SpawnError, adopt_boot_task, adopt_idle_task, fork, idle_of, leave_boot_stack, set_online,
    spawn_kernel, spawn_kernel_on, spawn_server, spawn_user,
};
#[cfg(target_os = "none")]
pub use stack::{deepest_stack, measure_stacks, own_stack};
#[cfg(target_os = "none")]
pub use wait::{cond_resched, sleep, sleep_killable, wait_until};
#[cfg(target_os = "none")]
pub use wake::{wake, wake_from_interrupt};

/// Tasks that can exist at once: five hundred programs, and the kernel's own.
pub const MAX_TASKS: usize = 520;

/// CPUs that tasks are spread over.
pub const CPUS: usize = 4;

/// The place of a task in the task table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskId(pub u16);

impl TaskId {
    /// The place as an index.
    #[inline(always)]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The numbers of the signals that end a program.
pub mod signal {
    /// An illegal instruction.
    pub const SIGILL: u8 = 4;
    /// A breakpoint without a debugger.
    pub const SIGTRAP: u8 = 5;
    /// An access to a page that could not be read.
    pub const SIGBUS: u8 = 7;
    /// A floating-point exception.
    pub const SIGFPE: u8 = 8;
    /// Killed, by another process or because memory ran out.
    pub const SIGKILL: u8 = 9;
    /// An access to an address without memory, or without the right to it.
    pub const SIGSEGV: u8 = 11;
    /// A child has exited.
    pub const SIGCHLD: u8 = 17;
}

/// A program's exit code as `wait4` reports it.
pub const fn exited_with(code: i32) -> i32 {
    (code & 0xff) << 8
}

/// A death by a signal as `wait4` reports it.
pub const fn killed_by(signal: u8) -> i32 {
    signal as i32 & 0x7f
}
