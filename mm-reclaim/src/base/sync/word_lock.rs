//! A lock that is only ever tried, in one word with a number that everybody may read.
//!
//! Data: the top bit of the word says "held", the other 63 are the number. Whoever sets the
//! bit owns what is inside, and may leave another number behind. **Nobody waits for it**: who
//! finds it held does without. So its holder may be preempted and interrupted, and taking it
//! costs one atomic operation where a [`Lock`](super::Lock) stops preemption as well.

#![allow(unsafe_code, reason = "a lock hands out exclusive access to what is inside")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};

use super::{AtomicU64, Ordering};

const HELD: u64 = 1 << 63;

/// Data that one holder at a time may touch, and a number below 2^63.
#[repr(C)] // The word first: it then needs no address of its own.
pub(crate) struct WordLock<T> {
    word: AtomicU64,
    data: UnsafeCell<T>,
}

// SAFETY: the data is reached by the holder of the bit alone, who may be any thread; hence
// `Send` is what it needs. The bit is set with Acquire and cleared with Release.
unsafe impl<T: Send> Sync for WordLock<T> {}

impl<T> WordLock<T> {
    /// Held by nobody, with the number 0.
    pub(crate) const fn new(data: T) -> Self {
        Self { word: AtomicU64::new(0), data: UnsafeCell::new(data) }
    }

    /// The number that the last holder left.
    pub(crate) fn number(&self) -> u64 {
        self.word.load(Ordering::Relaxed) & !HELD
    }

    /// Takes the lock if nobody has it.
    #[inline(always)]
    pub(crate) fn try_hold(&self) -> Option<Held<'_, T>> {
        // Acquire pairs with the Release of `drop`: what the last holder left is seen.
        let was = self.word.fetch_or(HELD, Ordering::Acquire);
        if was & HELD == 0 { Some(Held { lock: self, number: was }) } else { None }
    }
}

/// The right to what is inside, until it is dropped.
pub(crate) struct Held<'a, T> {
    lock: &'a WordLock<T>,
    /// What the word is to say afterwards; below 2^63.
    pub(crate) number: u64,
}

impl<T> Deref for Held<'_, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the bit is this holder's; `try_hold` gave it to nobody else.
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
        // came after it would have read it. Loom takes the two for unordered, unless this is
        // a read-modify-write as well.
        #[cfg(not(loom))]
        self.lock.word.store(self.number, Ordering::Release);
        #[cfg(loom)]
        self.lock.word.swap(self.number, Ordering::Release);
    }
}
