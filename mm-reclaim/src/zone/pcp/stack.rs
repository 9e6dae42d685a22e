//! A stack of free blocks of one order and type, for one CPU.
//!
//! Data: up to `N` blocks in a [`WordLock`] whose number is their count, in the low bits, and
//! above it the total number of pops. The places from the count on are empty. **Owner:** the holder
//! of the lock, for a few dozen instructions or for a refill.

use crate::base::sync::{Held, WordLock};
use crate::base::units::Order;
use crate::page::Page;
use crate::page::memmap::MemMap;

/// Added for a pop: one more pop, one block less on the stack.
const POPPED: u64 = COUNT_MASK;
const COUNT_MASK: u64 = 63;

/// Up to `N` blocks; `N` is a power of two, 32 at most.
pub(super) struct Stack<'m, const N: usize>(WordLock<[Option<&'m Page>; N]>);

/// A stack whose lock is held.
pub(super) struct HeldStack<'a, 'm, const N: usize>(Held<'a, [Option<&'m Page>; N]>);

impl<'m, const N: usize> Stack<'m, N> {
    pub(super) const fn new() -> Self {
        const { assert!(N.is_power_of_two() && N <= 32, "the count fits its bits") };
        Self(WordLock::new([None; N]))
    }

    /// Blocks on the stack.
    pub(super) fn len(&self) -> u32 {
        (self.0.number() & COUNT_MASK) as u32
    }

    /// Total blocks popped.
    pub(super) fn popped(&self) -> u64 {
        self.0.number() / (COUNT_MASK + 1)
    }

    /// Takes the stack's lock, unless it is held.
    #[inline(always)]
    pub(super) fn try_hold(&self) -> Option<HeldStack<'_, 'm, N>> {
        self.0.try_hold().map(HeldStack)
    }
}

impl<'m, const N: usize> HeldStack<'_, 'm, N> {
    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        (self.0.number & COUNT_MASK) as usize
    }

    fn set_len(&mut self, len: usize) {
        self.0.number = self.0.number & !COUNT_MASK | len as u64;
    }

    /// Takes the block that was pushed last.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<&'m Page> {
        // For an empty stack this wraps to its last place, which is empty as well.
        let top = (self.0.number as usize).wrapping_sub(1) % N;
        let page = self.0[top].take()?;
        self.0.number += POPPED;
        Some(page)
    }

    /// Pushes a block; false if the stack is full.
    #[inline(always)]
    pub(super) fn push(&mut self, page: &'m Page) -> bool {
        if self.len() >= N {
            return false;
        }
        debug_assert!(!self.holds(page), "freed twice: {page:?}");
        let top = self.0.number as usize % N;
        self.0[top] = Some(page);
        self.0.number += 1;
        true
    }

    fn holds(&self, page: &Page) -> bool {
        self.0[..self.len()].iter().flatten().any(|listed| core::ptr::eq(*listed, page))
    }

    /// Pushes a cache-cold block at the bottom; there is room for it.
    pub(super) fn push_cold(&mut self, page: &'m Page) {
        let len = self.len();
        self.0.copy_within(..len, 1);
        self.0[0] = Some(page);
        self.set_len(len + 1);
    }

    /// Pushes the pages of a block that has just left the buddy lists as single ones, to be
    /// popped in the order of their frames. There is room for them.
    pub(super) fn push_run(&mut self, map: MemMap<'m>, first: &'m Page, order: Order) {
        let (run, len) = (map.run(first, order.pages()), self.len());
        for (place, page) in self.0[len..len + run.len()].iter_mut().zip(run.iter().rev()) {
            *place = Some(page);
        }
        self.set_len(len + run.len());
    }

    /// Takes up to `most` blocks, the oldest, off the stack; `give` sees them first.
    pub(super) fn drain(&mut self, most: usize, give: impl FnOnce(&[Option<&'m Page>])) {
        let len = self.len();
        let count = most.min(len);
        give(&self.0[..count]);
        self.0.copy_within(count..len, 0);
        self.0[len - count..len].fill(None);
        self.set_len(len - count);
    }
}
