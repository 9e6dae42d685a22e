//! Sleeping. The head of [`super`] describes the protocol, and why no wakeup is lost.
//!
//! **Data.** None of its own. **Order.** The pair of full fences in [`wait_until`] and
//! [`super::wake`].

use core::sync::atomic::{Ordering, fence};

use mm_reclaim::env::{WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::Nanos;

use super::table::Leave;
use super::wake::{self, KERNEL_KEY};
use super::{TaskId, sched, services, state};
use crate::arch::cpu;
use crate::drivers::timer;

/// A key that is never woken.
fn sleep_key(id: TaskId) -> WaitKey {
    WaitKey(KERNEL_KEY | 1 << 32 | u64::from(id.0))
}

/// Sleeps until `ready` returns true, the time is up or the task is killed: see
/// [`mm_reclaim::env::Tasks::wait_until`].
pub fn wait_until(key: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
    cpu::might_sleep("a wait");
    if ready() {
        return WaitEnd::Ready;
    }
    let task = super::current();
    services::send_off(task);
    let deadline = match mode.timeout {
        Some(time) => timer::ticks().saturating_add(timer::ticks_in(time)),
        None => u64::MAX,
    };
    loop {
        begin(task.id(), key, deadline, mode.killable);
        let end = if ready() {
            WaitEnd::Ready
        } else if mode.killable && task.is_dying() {
            WaitEnd::Killed
        } else if timer::ticks() >= deadline {
            WaitEnd::TimedOut
        } else {
            sched::leave(Leave::Blocked);
            continue;
        };
        if let Some(bucket) = state::lock().end_wait(task.id()) {
            wake::one_left(bucket);
        }
        return end;
    }
}

fn begin(id: TaskId, key: WaitKey, deadline: u64, killable: bool) {
    wake::one_more(key);
    state::lock().begin_wait(id, key.0, deadline, killable);
    // Pairs with the fence in `wake`: the waiter is counted before it tests.
    fence(Ordering::SeqCst);
}

/// Lets other tasks run if the caller's time slice is used up.
#[inline]
pub fn cond_resched() {
    let this = cpu::this();
    if this.work.load(Ordering::Relaxed) & cpu::WORK_RESCHED != 0
        && this.preempt.load(Ordering::Relaxed) == 0
    {
        sched::reschedule();
    }
}

/// Sleeps for `time`.
pub fn sleep(time: Nanos) {
    let mode = WaitMode { timeout: Some(time), killable: false };
    let _ = wait_until(sleep_key(super::current_id()), mode, &mut || false);
}

/// Sleeps for `time`, or until the task is killed.
pub fn sleep_killable(time: Nanos) -> WaitEnd {
    let mode = WaitMode { timeout: Some(time), killable: true };
    wait_until(sleep_key(super::current_id()), mode, &mut || false)
}
