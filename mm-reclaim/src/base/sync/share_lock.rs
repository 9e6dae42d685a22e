//! A lock with many shared holders or one exclusive holder; it is only ever tried.
//!
//! Data: one word. Three bits say "held exclusively", "wanted exclusively" and "a task may be
//! asleep"; the others count the shared holders. While it is wanted exclusively no new shared
//! holder gets it, so that a stream of readers cannot starve a writer. Tasks that must wait sleep
//! ([`SleepLock`](crate::base::wait::SleepLock)): a sleeper announces itself in the word before
//! each attempt, and the unlock reads that in the same step.

#![allow(unsafe_code, reason = "a lock hands out access to what is inside")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::{AtomicU32, Ordering};

const CHANGED: u32 = 1 << 31;
const WANTED: u32 = 1 << 30;
const SLEEPERS: u32 = 1 << 29;

/// Data that one holder may change, or several may read.
pub(crate) struct ShareLock<T> {
    word: AtomicU32,
    data: UnsafeCell<T>,
    /// Loom checks the accesses to the data through this.
    #[cfg(loom)]
    watch: super::under_loom::Late<::loom::cell::UnsafeCell<()>>,
}

// SAFETY: the data moves to any thread that holds the lock exclusively, and is seen by several that
// share it, so both bounds are needed. The word changes with Acquire where the lock is taken and
// with Release where it is released.
unsafe impl<T: Send + Sync> Sync for ShareLock<T> {}

impl<T> ShareLock<T> {
    /// A lock that is not held.
    pub(crate) const fn new(data: T) -> Self {
        Self {
            word: AtomicU32::new(0),
            data: UnsafeCell::new(data),
            #[cfg(loom)]
            watch: super::under_loom::Late::new(),
        }
    }

    /// Takes the lock shared, unless it is held or wanted exclusively.
    ///
    /// # Errors
    /// Whether a task may be asleep that missed the lock because of this attempt.
    #[inline(always)]
    pub(crate) fn share(&self) -> Result<Shared<'_, T>, bool> {
        // Acquire pairs with the Release of the last exclusive holder.
        let was = self.word.fetch_add(1, Ordering::Acquire);
        if was & (CHANGED | WANTED) == 0 { Ok(self.shared()) } else { Err(self.put_share()) }
    }

    /// Takes the lock shared; a failed attempt changes nothing.
    pub(crate) fn try_shared(&self) -> Option<Shared<'_, T>> {
        let up = |word: u32| if word & (CHANGED | WANTED) == 0 { Some(word + 1) } else { None };
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, up).ok()?;
        Some(self.shared())
    }

    #[inline(always)]
    fn shared(&self) -> Shared<'_, T> {
        #[cfg(loom)]
        let watch = self.watch.get(|| ::loom::cell::UnsafeCell::new(()));
        Shared {
            lock: self,
            #[cfg(loom)]
            access: Some(watch.get()),
        }
    }

    /// Drops one shared holder; returns whether it was the last and a task may be asleep.
    #[inline(always)]
    fn put_share(&self) -> bool {
        let was = self.word.fetch_sub(1, Ordering::Release);
        was & SLEEPERS != 0 && self.wake_if_last(was)
    }

    #[cold]
    fn wake_if_last(&self, was: u32) -> bool {
        let is_last = was & !(SLEEPERS | WANTED) == 1;
        if is_last {
            // Cleared before the wake: a task that tries after that announces itself again.
            self.word.fetch_and(!SLEEPERS, Ordering::Relaxed);
        }
        is_last
    }

    /// The caller may sleep if its next attempt fails.
    pub(crate) fn announce_sleeper(&self) {
        self.word.fetch_or(SLEEPERS, Ordering::Relaxed);
    }

    /// Takes the lock exclusively if it is free; clears "wanted exclusively".
    #[inline(always)]
    pub(crate) fn try_exclusive(&self) -> Option<Exclusive<'_, T>> {
        let take = |word: u32| {
            if word & !(WANTED | SLEEPERS) == 0 { Some(word & SLEEPERS | CHANGED) } else { None }
        };
        // Acquire pairs with the Release of every holder before.
        self.word.fetch_update(Ordering::Acquire, Ordering::Relaxed, take).ok()?;
        #[cfg(loom)]
        let watch = self.watch.get(|| ::loom::cell::UnsafeCell::new(()));
        Some(Exclusive {
            lock: self,
            #[cfg(loom)]
            access: Some(watch.get_mut()),
        })
    }

    /// Whether a task may be asleep.
    #[cfg(test)]
    pub(crate) fn has_sleepers(&self) -> bool {
        self.word.load(Ordering::Relaxed) & SLEEPERS != 0
    }

    /// The caller will try until it holds the lock exclusively: no new shared holder gets it
    /// before.
    pub(crate) fn want_exclusive(&self) {
        self.word.fetch_or(WANTED, Ordering::Relaxed);
    }
}

/// Shared access to the data, until the lock is released.
#[must_use = "the lock is held only while the guard lives"]
pub(crate) struct Shared<'a, T> {
    lock: &'a ShareLock<T>,
    /// Ends before the lock is released.
    #[cfg(loom)]
    access: Option<::loom::cell::ConstPtr<()>>,
}

/// Exclusive access to the data, until the lock is released.
#[must_use = "the lock is held only while the guard lives"]
pub(crate) struct Exclusive<'a, T> {
    lock: &'a ShareLock<T>,
    #[cfg(loom)]
    access: Option<::loom::cell::MutPtr<()>>,
}

impl<T> Shared<'_, T> {
    /// Unlocks; returns whether the lock is free now and a task may be asleep.
    #[inline(always)]
    pub(crate) fn release(&mut self) -> bool {
        #[cfg(loom)]
        drop(self.access.take());
        self.lock.put_share()
    }
}

impl<T> Exclusive<'_, T> {
    /// Unlocks; returns whether a task may be asleep.
    #[inline(always)]
    pub(crate) fn release(&mut self) -> bool {
        #[cfg(loom)]
        drop(self.access.take());
        self.lock.word.fetch_and(!(CHANGED | SLEEPERS), Ordering::Release) & SLEEPERS != 0
    }
}

impl<T> Deref for Shared<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the word counts this holder, so there is no exclusive holder.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> Deref for Exclusive<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the bit is this holder's; there is no other holder.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for Exclusive<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed for as long.
        unsafe { &mut *self.lock.data.get() }
    }
}
