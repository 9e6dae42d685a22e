//! Sleeping and waking. The protocol, and why no wake-up is lost, is told at the head of
//! [`super`].
//!
//! **Data.** How many waiters each bucket has, for a wake-up that finds none to cost a
//! fence and a load. **Owner.** The waiters count themselves in, whoever takes them out
//! counts them out. **Order.** The pair of full fences in [`wait_until`] and [`wake`].

use core::sync::atomic::{AtomicU32, Ordering, fence};

use mm_reclaim::env::{WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::Nanos;

use super::table::{BUCKETS, Leave, bucket_of};
use super::{TaskId, sched};
use crate::arch::{cpu, timer};
use crate::ramdisk;

static WAITERS: [AtomicU32; BUCKETS] = [const { AtomicU32::new(0) }; BUCKETS];

/// Keys of the kernel itself have this bit; collisions with the crate's cost a look.
const KERNEL_KEY: u64 = 1 << 63;

/// The key for the exit of a child of `parent`.
pub(super) fn child_key(parent: TaskId) -> WaitKey {
    WaitKey(KERNEL_KEY | u64::from(parent.0))
}

/// A key that nobody wakes.
fn sleep_key(id: TaskId) -> WaitKey {
    WaitKey(KERNEL_KEY | 1 << 32 | u64::from(id.0))
}

/// One waiter left bucket `bucket`.
pub(super) fn one_left(bucket: usize) {
    WAITERS[bucket].fetch_sub(1, Ordering::Relaxed);
}

/// Sleeps until `ready` returns true, the time is up or the task is killed: see
/// [`mm_reclaim::env::Tasks::wait_until`].
pub fn wait_until(key: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
    if ready() {
        return WaitEnd::Ready;
    }
    let task = cpu::this().current();
    ramdisk::unplug_before_sleep();
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
        if let Some(bucket) = sched::lock().end_wait(task.id()) {
            one_left(bucket);
        }
        return end;
    }
}

fn begin(id: TaskId, key: WaitKey, deadline: u64, killable: bool) {
    WAITERS[bucket_of(key.0)].fetch_add(1, Ordering::Relaxed);
    sched::lock().begin_wait(id, key.0, deadline, killable);
    // Pairs with the fence in `wake`: the waiter is counted before it looks.
    fence(Ordering::SeqCst);
}

/// Makes every task that waits for `key` look again.
#[inline]
pub fn wake(key: WaitKey) {
    // Pairs with the fence in `begin`: what the waiter waits for precedes this look.
    fence(Ordering::SeqCst);
    if WAITERS[bucket_of(key.0)].load(Ordering::Relaxed) != 0 {
        wake_waiters(key);
    }
}

#[inline(never)]
fn wake_waiters(key: WaitKey) {
    cpu::preempt_disable();
    let (woken, pokes) = sched::lock().wake(key.0);
    if woken != 0 {
        WAITERS[bucket_of(key.0)].fetch_sub(woken, Ordering::Relaxed);
        sched::poke(pokes);
    }
    cpu::preempt_enable();
}

/// Lets other tasks run if the caller's time is up.
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
