//! A lock that is only ever tried, in one word with a number that can be read without it.
//!
//! Data: the top bit of the word says "held", the other 63 are the number. The task that sets the
//! bit owns the data, and may leave another number behind. **No task waits for it**: one that finds
//! it held does without. So its holder may be preempted and interrupted, and taking it costs one
//! atomic operation, where a [`Lock`](super::Lock) also disables preemption.

#![allow(unsafe_code, reason = "a lock hands out exclusive access to what is inside")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::{AtomicU64, Ordering};

const HELD: u64 = 1 << 63;

/// Data that one holder at a time may access, and a number below 2^63.
#[repr(C)] // The word first: both then have the same address.
pub(crate) struct WordLock<T> {
    word: AtomicU64,
    data: UnsafeCell<T>,
}

// SAFETY: the data is reached only by the holder of the bit, which may be any thread, so `Send` is
// required. The bit is set with Acquire and cleared with Release.
unsafe impl<T: Send> Sync for WordLock<T> {}

impl<T> WordLock<T> {
    /// A lock that is not held, with the number 0.
    pub(crate) const fn new(data: T) -> Self {
        Self { word: AtomicU64::new(0), data: UnsafeCell::new(data) }
    }

    /// The number that the last holder left.
    pub(crate) fn number(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & !HELD
    }

    /// Takes the lock if it is free.
    #[inline(always)]
    pub(crate) fn try_hold(&self) -> Option<Held<'_, T>> {
        // Acquire pairs with the Release of `drop`: what the last holder left is seen.
        let was = self.word.fetch_or(HELD, Ordering::Acquire);
        if was & HELD == 0 { Some(Held { lock: self, number: was }) } else { None }
    }
}

/// Access to the data, until it is dropped.
pub(crate) struct Held<'a, T> {
    lock: &'a WordLock<T>,
    /// The number to store at the release; below 2^63.
    pub(crate) number: u64,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the bit is this holder's; `try_hold` gave it to no other.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed for as long.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        debug_assert!(self.number & HELD == 0, "a number that needs the lock's bit");
        // Every attempt writes the word, and this write is the later one: an attempt that
        // came after it would have read it. Loom treats the two as unordered, unless this is a
        // read-modify-write as well.
        #[cfg(not(loom))]
        self.lock.word.store(self.number, Ordering::Release);
        #[cfg(loom)]
        self.lock.word.swap(self.number, Ordering::Release);
    }
}
