//! A lock that many may hold for looking, or one for changing; it is only ever tried.
//!
//! Data: one word. Its bits say "held for changing", "wanted for changing" and "somebody may be
//! asleep"; the others count those who look. While it is wanted for changing it is given to no
//! new looker, so that a stream of lookers cannot keep a changer out. Who must wait sleeps
//! ([`SleepLock`](crate::base::wait::SleepLock)): a sleeper announces itself in the word before
//! each look, and whoever gives the lock back reads that in the same step.

#![allow(unsafe_code, reason = "a lock hands out access to what is inside")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::{AtomicU32, Ordering};

const CHANGED: u32 = 1 << 31;
const WANTED: u32 = 1 << 30;
const SLEEPERS: u32 = 1 << 29;

/// Data that one holder may change, or several may look at.
pub(crate) struct ShareLock<T> {
    word: AtomicU32,
    data: UnsafeCell<T>,
    /// Loom holds every access to the data against the others by this.
    #[cfg(loom)]
    watch: super::under_loom::Late<::loom::cell::UnsafeCell<()>>,
}

// SAFETY: the data moves to whichever thread holds the lock for changing, and is seen by several
// that hold it for looking: hence both bounds. The word changes with Acquire where the lock is
// taken and with Release where it is given back.
unsafe impl<T: Send + Sync> Sync for ShareLock<T> {}

impl<T> ShareLock<T> {
    /// Held by nobody.
    pub(crate) const fn new(data: T) -> Self {
        Self {
            word: AtomicU32::new(0),
            data: UnsafeCell::new(data),
            #[cfg(loom)]
            watch: super::under_loom::Late::new(),
        }
    }

    /// Takes the lock for looking, unless it is held or wanted for changing.
    ///
    /// # Errors
    /// Whether somebody sleeps who may have missed the lock because of this very attempt.
    #[inline(always)]
    pub(crate) fn share(&self) -> Result<Shared<'_, T>, bool> {
        // Acquire pairs with the Release of the last changer.
        let was = self.word.fetch_add(1, Ordering::Acquire);
        if was & (CHANGED | WANTED) == 0 { Ok(self.shared()) } else { Err(self.put_share()) }
    }

    /// Likewise, without a trace of a failed attempt.
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

    /// One looker less; whether it was the last and somebody may be asleep.
    #[inline(always)]
    fn put_share(&self) -> bool {
        let was = self.word.fetch_sub(1, Ordering::Release);
        was & SLEEPERS != 0 && self.wake_if_last(was)
    }

    #[cold]
    fn wake_if_last(&self, was: u32) -> bool {
        let is_last = was & !(SLEEPERS | WANTED) == 1;
        if is_last {
            // Cleared before the wake: whoever looks then announces itself again.
            self.word.fetch_and(!SLEEPERS, Ordering::Relaxed);
        }
        is_last
    }

    /// The caller may sleep if it does not get the lock in its next look.
    pub(crate) fn announce_sleeper(&self) {
        self.word.fetch_or(SLEEPERS, Ordering::Relaxed);
    }

    /// Takes the lock for changing if nobody has it; that somebody wants it goes with it.
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

    /// Whether somebody may be asleep.
    #[cfg(test)]
    pub(crate) fn has_sleepers(&self) -> bool {
        self.word.load(Ordering::Relaxed) & SLEEPERS != 0
    }

    /// The caller tries for the lock until it has it for changing: no new looker gets it before.
    pub(crate) fn want_exclusive(&self) {
        self.word.fetch_or(WANTED, Ordering::Relaxed);
    }
}

/// The right to look at what is inside, until it is given back.
#[must_use = "the lock is held only while the guard lives"]
pub(crate) struct Shared<'a, T> {
    lock: &'a ShareLock<T>,
    /// Ends before the lock is given back.
    #[cfg(loom)]
    access: Option<::loom::cell::ConstPtr<()>>,
}

/// The right to change what is inside, until it is given back.
#[must_use = "the lock is held only while the guard lives"]
pub(crate) struct Exclusive<'a, T> {
    lock: &'a ShareLock<T>,
    #[cfg(loom)]
    access: Option<::loom::cell::MutPtr<()>>,
}

impl<T> Shared<'_, T> {
    /// Gives the lock back; whether nobody holds it now and somebody may be asleep.
    #[inline(always)]
    pub(crate) fn release(&mut self) -> bool {
        #[cfg(loom)]
        drop(self.access.take());
        self.lock.put_share()
    }
}

impl<T> Exclusive<'_, T> {
    /// Gives the lock back; whether somebody may be asleep.
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
        // SAFETY: the word counts this holder, so nobody has the lock for changing.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> Deref for Exclusive<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the bit is this holder's; nobody else has the lock.
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
