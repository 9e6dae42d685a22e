//! What tasks sleep for: a lock, and a word in which other tasks leave requests.
//!
//! A [`SleepLock`] guards what a task may hold across I/O and reclaim: an address space's
//! areas. Several tasks may share it, or one may hold it exclusively. Reclaim itself never takes
//! one (it runs inside faults, which hold it), and a holder never takes it again.
//!
//! The inner mechanism ([`ShareLock`]) is only ever tried: a holder may be preempted and may
//! sleep. A sleeper announces itself in the lock's word before each attempt, and the holder reads
//! the announcement in the step that releases the lock: no wakeup is lost. The last of several
//! holders wakes.
//!
//! A [`CallWord`] is for one task that serves many: they leave their requests and wake it only if
//! there was none before; it takes all of them at once, and sleeps if there are none.

use core::ops::{Deref, DerefMut};

use crate::base::sync::{AtomicU32, Exclusive, Ordering, ShareLock, Shared};
use crate::base::units::Nanos;
use crate::env::{Tasks, WaitEnd, WaitKey, WaitMode};

/// Where kswapd sleeps.
pub(crate) const KSWAPD_WAIT: WaitKey = WaitKey(1 << 62);
/// Where direct reclaimers throttled because the reserves are low sleep (`pfmemalloc_wait`).
pub(crate) const PFMEMALLOC_WAIT: WaitKey = WaitKey(1 << 62 | 1);
/// For sleeps that end only by time or a kill.
const NAP_WAIT: WaitKey = WaitKey(1 << 62 | 2);
/// Where reclaimers that wait for the devices sleep.
pub(crate) const WRITEBACK_WAIT: WaitKey = WaitKey(1 << 62 | 3);
/// Where the reaper sleeps.
pub(crate) const REAPER_WAIT: WaitKey = WaitKey(1 << 62 | 4);
/// Where reclaimers that find too many pages isolated sleep.
pub(crate) const ISOLATION_WAIT: WaitKey = WaitKey(1 << 62 | 5);

/// Where the flusher sleeps.
pub(crate) const FLUSHER_WAIT: WaitKey = WaitKey(1 << 62 | 6);

/// Sleeps for `time`, or until killed if `killable`.
pub(crate) fn nap<K: Tasks>(tasks: &K, time: Nanos, killable: bool) -> WaitEnd {
    let mode = WaitMode { timeout: Some(time), killable };
    tasks.wait_until(NAP_WAIT, mode, &mut || false)
}

/// A sleeping lock around `T` (`mmap_lock`).
#[doc(alias = "mmap_lock")]
pub struct SleepLock<T> {
    inner: ShareLock<T>,
}

/// Exclusive access to the data of a [`SleepLock`], until it is dropped.
#[must_use = "the lock is held only while the guard lives"]
pub struct SleepGuard<'a, T, K: Tasks> {
    inner: Exclusive<'a, T>,
    lock: &'a SleepLock<T>,
    tasks: &'a K,
}

/// Shared access to the data of a [`SleepLock`], until it is dropped.
#[must_use = "the lock is held only while the guard lives"]
pub(crate) struct SharedGuard<'a, T, K: Tasks> {
    inner: Shared<'a, T>,
    lock: &'a SleepLock<T>,
    tasks: &'a K,
}

impl<T> SleepLock<T> {
    /// A lock around `value` that nobody holds.
    pub const fn new(value: T) -> Self {
        Self { inner: ShareLock::new(value) }
    }

    fn key(&self) -> WaitKey {
        WaitKey((self as *const Self).addr() as u64)
    }

    /// Sleeps until the caller holds the lock exclusively.
    #[inline]
    pub fn lock<'a, K: Tasks>(&'a self, tasks: &'a K) -> SleepGuard<'a, T, K> {
        #[cfg(debug_assertions)]
        tasks.might_sleep();
        let inner = self.inner.try_exclusive().unwrap_or_else(|| self.lock_slowly(tasks));
        SleepGuard { inner, lock: self, tasks }
    }

    /// Sleeps until the caller shares the lock.
    #[inline]
    pub(crate) fn lock_shared<'a, K: Tasks>(&'a self, tasks: &'a K) -> SharedGuard<'a, T, K> {
        #[cfg(debug_assertions)]
        tasks.might_sleep();
        let inner = match self.inner.share() {
            Ok(inner) => inner,
            Err(wake) => self.share_late(tasks, wake),
        };
        SharedGuard { inner, lock: self, tasks }
    }

    /// Shares the lock, if that needs no sleep.
    ///
    /// # Errors
    /// With what [`SleepLock::share_after`] must know of the failed attempt.
    #[inline(always)]
    pub(crate) fn share_now<'a, K: Tasks>(
        &'a self,
        tasks: &'a K,
    ) -> Result<SharedGuard<'a, T, K>, bool> {
        self.inner.share().map(|inner| SharedGuard { inner, lock: self, tasks })
    }

    /// Sleeps until the caller shares the lock, after [`SleepLock::share_now`] has failed.
    pub(crate) fn share_after<'a, K: Tasks>(
        &'a self,
        tasks: &'a K,
        wake: bool,
    ) -> SharedGuard<'a, T, K> {
        #[cfg(debug_assertions)]
        tasks.might_sleep();
        SharedGuard { inner: self.share_late(tasks, wake), lock: self, tasks }
    }

    /// Sleeps until the caller shares the lock, or is killed.
    pub(crate) fn lock_shared_killable<'a, K: Tasks>(
        &'a self,
        tasks: &'a K,
    ) -> Option<SharedGuard<'a, T, K>> {
        let mode = WaitMode { timeout: None, killable: true };
        let inner = self.inner.try_shared().or_else(|| self.share_slowly(tasks, mode))?;
        Some(SharedGuard { inner, lock: self, tasks })
    }

    /// Takes the lock exclusively if it is free.
    pub(crate) fn try_lock<'a, K: Tasks>(&'a self, tasks: &'a K) -> Option<SleepGuard<'a, T, K>> {
        Some(SleepGuard { inner: self.inner.try_exclusive()?, lock: self, tasks })
    }

    #[cold]
    fn lock_slowly<K: Tasks>(&self, tasks: &K) -> Exclusive<'_, T> {
        loop {
            let got = self.wait_for(tasks, WaitMode::UNTIL_READY, || {
                // Repeated in each attempt: a holder in the meantime has cleared it.
                self.inner.want_exclusive();
                self.inner.try_exclusive()
            });
            if let Some(got) = got {
                return got;
            }
        }
    }

    /// After a failed first attempt, which may have made another task miss the lock.
    #[cold]
    fn share_late<K: Tasks>(&self, tasks: &K, wake: bool) -> Shared<'_, T> {
        if wake {
            tasks.wake(self.key());
        }
        loop {
            if let Some(inner) = self.share_slowly(tasks, WaitMode::UNTIL_READY) {
                return inner;
            }
        }
    }

    #[cold]
    fn share_slowly<K: Tasks>(&self, tasks: &K, mode: WaitMode) -> Option<Shared<'_, T>> {
        self.wait_for(tasks, mode, || self.inner.try_shared())
    }

    /// Sleeps until `take` succeeds, or the wait ends by `mode`.
    fn wait_for<G, K: Tasks>(
        &self,
        tasks: &K,
        mode: WaitMode,
        mut take: impl FnMut() -> Option<G>,
    ) -> Option<G> {
        let mut got = None;
        let end = tasks.wait_until(self.key(), mode, &mut || {
            self.inner.announce_sleeper();
            got = take();
            got.is_some()
        });
        debug_assert_eq!(end == WaitEnd::Ready, got.is_some());
        got
    }
}

impl<T, K: Tasks> Drop for SleepGuard<'_, T, K> {
    #[inline]
    fn drop(&mut self) {
        if self.inner.release() {
            self.tasks.wake(self.lock.key());
        }
    }
}

impl<T, K: Tasks> Drop for SharedGuard<'_, T, K> {
    #[inline]
    fn drop(&mut self) {
        if self.inner.release() {
            self.tasks.wake(self.lock.key());
        }
    }
}

impl<T, K: Tasks> Deref for SleepGuard<'_, T, K> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, K: Tasks> DerefMut for SleepGuard<'_, T, K> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

impl<T, K: Tasks> Deref for SharedGuard<'_, T, K> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

/// The requests to one task that it has not taken yet; 0 if none.
pub(crate) struct CallWord(AtomicU32);

impl CallWord {
    /// No request.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Replaces the word by `join` of it. True if there was no request before: the caller must then
    /// wake the task. Otherwise another caller does, and the task has not taken the requests since.
    #[inline]
    pub(crate) fn raise(&self, join: impl Fn(u32) -> u32) -> bool {
        // Release pairs with the Acquire in `take`: the task sees what the callers saw.
        let was = self.0.fetch_update(Ordering::Release, Ordering::Relaxed, |w| Some(join(w)));
        was == Ok(0)
    }

    /// Whether there is a request that the task has not taken yet.
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Takes all requests. The task calls this in each test of its wait.
    #[inline]
    pub(crate) fn take(&self) -> u32 {
        self.0.swap(0, Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
