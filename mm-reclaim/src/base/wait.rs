//! What tasks sleep for: a lock, and a word in which others leave what they want.
//!
//! A [`SleepLock`] guards what a task may hold across I/O and reclaim: an address space's
//! areas. Reclaim itself never takes one (it runs inside faults, which hold it).
//!
//! The inner mechanism is `spin`'s mutex, of which only `try_lock` is used: a holder may
//! be preempted and may sleep. A sleeper counts itself before its last look; the holder
//! unlocks before it looks at the count; a full fence stands between each pair, so one of
//! the two sees the other and no wake-up is lost.
//!
//! A [`CallWord`] is for one task that serves many: they leave what they want and wake it only
//! if nothing was wanted before; it takes everything at once, and sleeps if that is nothing.

use core::ops::{Deref, DerefMut};

use crate::base::sync::{AtomicU32, Ordering, RawMutex, RawMutexGuard, fence};
use crate::base::units::Nanos;
use crate::env::{Tasks, WaitEnd, WaitKey, WaitMode};

/// kswapd sleeps here.
pub(crate) const KSWAPD_WAIT: WaitKey = WaitKey(1 << 62);
/// Direct reclaimers throttled because the reserves are low sleep here (`pfmemalloc_wait`).
pub(crate) const PFMEMALLOC_WAIT: WaitKey = WaitKey(1 << 62 | 1);
/// Naps that nothing ends early.
const NAP_WAIT: WaitKey = WaitKey(1 << 62 | 2);
/// Reclaimers that wait for the devices to catch up sleep here.
pub(crate) const WRITEBACK_WAIT: WaitKey = WaitKey(1 << 62 | 3);
/// The reaper sleeps here.
pub(crate) const REAPER_WAIT: WaitKey = WaitKey(1 << 62 | 4);
/// Reclaimers that find too many pages isolated sleep here.
pub(crate) const ISOLATION_WAIT: WaitKey = WaitKey(1 << 62 | 5);

/// Sleeps for `time`, or until killed if `killable`.
pub(crate) fn nap<K: Tasks>(tasks: &K, time: Nanos, killable: bool) -> WaitEnd {
    let mode = WaitMode { timeout: Some(time), killable };
    tasks.wait_until(NAP_WAIT, mode, &mut || false)
}

/// A sleeping lock around `T`.
pub(crate) struct SleepLock<T> {
    inner: RawMutex<T>,
    sleepers: AtomicU32,
}

/// The data of a [`SleepLock`], until it is dropped.
#[must_use = "the lock is held only while the guard lives"]
pub(crate) struct SleepGuard<'a, T, K: Tasks> {
    /// `None` only inside `drop`.
    inner: Option<RawMutexGuard<'a, T>>,
    lock: &'a SleepLock<T>,
    tasks: &'a K,
}

impl<T> SleepLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { inner: RawMutex::new(value), sleepers: AtomicU32::new(0) }
    }

    fn key(&self) -> WaitKey {
        WaitKey((self as *const Self).addr() as u64)
    }

    /// Sleeps until the lock is the caller's.
    #[inline]
    pub(crate) fn lock<'a, K: Tasks>(&'a self, tasks: &'a K) -> SleepGuard<'a, T, K> {
        #[cfg(debug_assertions)]
        tasks.might_sleep();
        let inner = match self.inner.try_lock() {
            Some(inner) => inner,
            None => loop {
                if let Some(inner) = self.lock_slowly(tasks, WaitMode::UNTIL_READY) {
                    break inner;
                }
            },
        };
        SleepGuard { inner: Some(inner), lock: self, tasks }
    }

    /// Sleeps until the lock is the caller's, or the caller is killed.
    pub(crate) fn lock_killable<'a, K: Tasks>(
        &'a self,
        tasks: &'a K,
    ) -> Option<SleepGuard<'a, T, K>> {
        let mode = WaitMode { timeout: None, killable: true };
        let inner = self.inner.try_lock().or_else(|| self.lock_slowly(tasks, mode));
        Some(SleepGuard { inner: Some(inner?), lock: self, tasks })
    }

    /// Takes the lock if it is free.
    pub(crate) fn try_lock<'a, K: Tasks>(&'a self, tasks: &'a K) -> Option<SleepGuard<'a, T, K>> {
        let inner = self.inner.try_lock()?;
        Some(SleepGuard { inner: Some(inner), lock: self, tasks })
    }

    #[cold]
    fn lock_slowly<K: Tasks>(&self, tasks: &K, mode: WaitMode) -> Option<RawMutexGuard<'_, T>> {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let mut got = None;
        let end = tasks.wait_until(self.key(), mode, &mut || {
            fence(Ordering::SeqCst);
            got = self.inner.try_lock();
            got.is_some()
        });
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        debug_assert_eq!(end == WaitEnd::Ready, got.is_some());
        got
    }
}

impl<T, K: Tasks> Drop for SleepGuard<'_, T, K> {
    #[inline]
    fn drop(&mut self) {
        self.inner = None;
        fence(Ordering::SeqCst);
        if self.lock.sleepers.load(Ordering::Relaxed) != 0 {
            self.tasks.wake(self.lock.key());
        }
    }
}

impl<T, K: Tasks> Deref for SleepGuard<'_, T, K> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        self.inner.as_ref().expect("held until drop")
    }
}

impl<T, K: Tasks> DerefMut for SleepGuard<'_, T, K> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("held until drop")
    }
}

/// What one task is asked for by others and has not taken yet; 0 is nothing.
pub(crate) struct CallWord(AtomicU32);

impl CallWord {
    /// Nothing is asked for.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Puts `join` of what is asked for in its place. True if that was nothing: the task is
    /// to be woken now. Otherwise somebody else was told so, and it has not looked since.
    #[inline]
    pub(crate) fn raise(&self, join: impl Fn(u32) -> u32) -> bool {
        // Release pairs with the Acquire in `take`: the task sees what the callers saw.
        let was = self.0.fetch_update(Ordering::Release, Ordering::Relaxed, |w| Some(join(w)));
        was == Ok(0)
    }

    /// All that was asked for. The task looks here in each look of its wait.
    #[inline]
    pub(crate) fn take(&self) -> u32 {
        self.0.swap(0, Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
