//! Waking: the other half of [`super::wait`]; the head of [`super`] describes the protocol.
//!
//! **Data.** The number of waiters of each bucket, so that a wakeup without waiters costs only a
//! fence and a load. **Owner.** A waiter adds itself; the code that removes it subtracts it.

use core::sync::atomic::{AtomicU32, Ordering, fence};

use mm_reclaim::env::WaitKey;

use super::table::{BUCKETS, bucket_of};
use super::{TaskId, state};
use crate::arch::cpu;
use crate::drivers::timer;

static WAITERS: [AtomicU32; BUCKETS] = [const { AtomicU32::new(0) }; BUCKETS];

/// Keys of the kernel itself have this bit; collisions with the crate's cost an extra test.
pub(super) const KERNEL_KEY: u64 = 1 << 63;

/// The key for the exit of a child of `parent`.
pub(super) fn child_key(parent: TaskId) -> WaitKey {
    WaitKey(KERNEL_KEY | u64::from(parent.0))
}

/// A waiter is about to enter the bucket of `key`.
pub(super) fn one_more(key: WaitKey) {
    WAITERS[bucket_of(key.0)].fetch_add(1, Ordering::Relaxed);
}

/// One waiter left bucket `bucket`.
pub(super) fn one_left(bucket: usize) {
    WAITERS[bucket].fetch_sub(1, Ordering::Relaxed);
}

/// Makes every task that waits for `key` test again. Not for interrupt handlers: the running task
/// is charged for the work of a server that it wakes.
#[inline]
pub fn wake(key: WaitKey) {
    // Pairs with the fence in `begin`: the condition was made true before this load.
    fence(Ordering::SeqCst);
    if WAITERS[bucket_of(key.0)].load(Ordering::Relaxed) != 0 {
        wake_waiters(key);
    }
}

/// [`wake`] for interrupt handlers: no task is charged for it.
pub fn wake_from_interrupt(key: WaitKey) {
    // Pairs with the fence in `begin`, as above.
    fence(Ordering::SeqCst);
    if WAITERS[bucket_of(key.0)].load(Ordering::Relaxed) != 0 {
        wake_waiters_for(key, None);
    }
}

#[inline(never)]
fn wake_waiters(key: WaitKey) {
    cpu::preempt_disable();
    wake_waiters_for(key, Some(super::current_id()));
    cpu::preempt_enable();
}

/// With preemption off or interrupts masked.
fn wake_waiters_for(key: WaitKey, by: Option<TaskId>) {
    let (woken, pokes) = state::lock().wake(key.0, by, timer::ticks());
    if woken != 0 {
        WAITERS[bucket_of(key.0)].fetch_sub(woken, Ordering::Relaxed);
        state::poke(pokes);
    }
}
