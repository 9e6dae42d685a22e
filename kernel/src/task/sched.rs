//! Leaving the CPU: preemption, sleep, exit; the timer interrupt; idling.
//!
//! **Data.** The scheduler's state, guarded by its lock. **Order.** A leaf lock. It is released
//! before the switch: no other CPU can pick the task that leaves, since tasks stay on their CPU,
//! and interrupts stay masked until the next task's registers are loaded.

use core::sync::atomic::Ordering::Relaxed;

use super::state::{lock, poke};
use super::table::{Leave, Sched};
use super::{Task, TaskId, current, stack, wake};
use crate::arch::context;
use crate::arch::cpu::{self, IrqGuard, PerCpu};
use crate::drivers::timer;

/// Lets another task run, if one should run first. Preemption must be enabled.
///
/// The layer of the processor calls this by its symbol when it enables preemption again, and at the
/// end of an interrupt of preemptible kernel code. Masked interrupts stay masked.
// SAFETY: no other item has its name.
#[unsafe(no_mangle)]
pub extern "C" fn reschedule() {
    leave(Leave::Ready);
}

/// Lets the next task run, if one is ready.
pub fn yield_cpu() {
    leave(Leave::Yielding);
}

/// Leaves the CPU, and returns when the task runs again; at once if nothing else is ready, or if
/// the wait is over already.
///
/// # Panics
/// If preemption is off: a lock may be held.
pub(super) fn leave(how: Leave) {
    let _masked = IrqGuard::new();
    let this = cpu::this();
    assert!(this.preempt.load(Relaxed) == 0, "a task leaves the CPU while preemption is off");
    let prev = current();
    if how == Leave::Exited {
        // With interrupts masked: after a preemption from now on, the task would be cleaned up
        // while it still runs.
        prev.set_exited();
    }
    let next = {
        let mut sched = lock();
        let now = timer::ticks();
        if !sched.leave(prev.id(), how, now) {
            return;
        }
        let next = sched.pick_after(prev.id());
        start_slice(this, now, &sched);
        take_over(this, next);
        next.task()
    };
    if core::ptr::eq(next, prev) {
        return;
    }
    // SAFETY: interrupts are masked; `prev` runs; `next` was picked for this CPU and so
    // does not run, and its context was completed when it left or was created.
    let last = unsafe { context::switch(&prev.thread, &next.thread, prev) };
    finish_switch(last);
}

/// Makes the code that starts to run on CPU `cpu` task `id`. Comes before [`cpu::init`], so that
/// queries find it.
pub fn begin_as(cpu: usize, id: TaskId) {
    set_current(cpu::of(cpu), id.task());
}

fn set_current(this: &PerCpu, task: &'static Task) {
    this.current.store(core::ptr::from_ref(task).cast_mut().cast(), Relaxed);
    this.stack_low.store(task.stack_low() as usize, Relaxed);
}

/// Makes `next` this CPU's current task. Under the scheduler lock, so that a kill finds either a
/// task that does not run, whose flags are checked here, or one that does, whose CPU is
/// interrupted.
fn take_over(this: &PerCpu, next: TaskId) {
    let task = next.task();
    set_current(this, task);
    this.work.store(if task.is_dying() { cpu::WORK_KILLED } else { 0 }, Relaxed);
}

fn start_slice(this: &PerCpu, now: u64, sched: &Sched) {
    let end = now + sched.slice();
    this.slice_end.store(end, Relaxed);
    timer::set_deadline(end.min(sched.next_deadline()));
}

/// The first thing that a task does when it runs: `last` ran before, and its stack is no longer in
/// use.
// SAFETY: only the context switch calls it, with this argument; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn finish_switch(last: &'static Task) {
    if last.has_exited() {
        bury(last);
    }
}

/// Frees the resources of a task that exited, once its CPU has left its stack, and notifies its
/// parent. Interrupts are masked.
fn bury(task: &'static Task) {
    stack::free_stack(task);
    let parent = {
        let mut sched = lock();
        let parent = sched.family.exited(task.id());
        sched.finish_exit(task.id(), parent.is_some());
        parent
    };
    if let Some(parent) = parent {
        wake(wake::child_key(parent));
    }
}

/// The timer interrupt: ends waits whose time is up, and the time slice.
pub fn timer_interrupt() {
    let this = cpu::this();
    let now = timer::ticks();
    let mut sched = lock();
    let pokes = sched.expire(now, &mut wake::one_left);
    if now >= this.slice_end.load(Relaxed) {
        if sched.another_is_due(this.id.load(Relaxed) as usize, now) {
            this.add_work(cpu::WORK_RESCHED);
        }
        start_slice(this, now, &sched);
    } else {
        timer::set_deadline(this.slice_end.load(Relaxed).min(sched.next_deadline()));
    }
    drop(sched);
    poke(pokes);
}

/// The body of a CPU's idle task: waits for interrupts and lets others run.
pub fn idle() -> ! {
    loop {
        cpu::irqs_off();
        if cpu::this().work.load(Relaxed) == 0 {
            // A pending interrupt ends the wait although it is masked.
            cpu::wait_for_interrupt();
        }
        cpu::irqs_on();
        reschedule();
    }
}
