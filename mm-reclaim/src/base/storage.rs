//! Memory handed over at boot, cut into typed slices.
//!
//! The crate allocates nothing for itself: the caller gives it one block (a [`Layout`]
//! from the plan says how much), and [`Storage`] cuts typed, initialised slices from it
//! that live as long as the block.

#![allow(unsafe_code, reason = "turns uninitialised bytes into initialised slices")]

use core::alloc::Layout;
use core::mem::MaybeUninit;

/// Initialises every element and returns the slice as initialised.
pub(crate) fn fill<T>(memory: &mut [MaybeUninit<T>], make: impl Fn(usize) -> T) -> &[T] {
    for (i, element) in memory.iter_mut().enumerate() {
        element.write(make(i));
    }
    // SAFETY: the loop above has written every element.
    unsafe { memory.assume_init_ref() }
}

/// Initialises runs of equal elements: as many as each pair says, made by its function.
///
/// # Panics
/// If the runs are not as long as the memory.
pub(crate) fn fill_runs<T, F: Fn() -> T>(
    memory: &mut [MaybeUninit<T>],
    runs: impl Iterator<Item = (usize, F)>,
) -> &[T] {
    let mut left = &mut *memory;
    for (count, make) in runs {
        let (run, rest) = core::mem::take(&mut left).split_at_mut(count);
        // Several in a round: there is an element for each frame of the machine.
        let (rounds, few) = run.as_chunks_mut::<8>();
        let write = |element: &mut MaybeUninit<T>| _ = element.write(make());
        rounds.iter_mut().for_each(|round| round.iter_mut().for_each(write));
        few.iter_mut().for_each(write);
        left = rest;
    }
    assert!(left.is_empty(), "{} elements are in no run", left.len());
    // SAFETY: the runs follow each other from the first element on, each element of a run was
    // written, and none is left.
    unsafe { memory.assume_init_ref() }
}

/// What is left of a block of memory.
pub(crate) struct Storage<'m> {
    rest: &'m mut [MaybeUninit<u8>],
}

impl<'m> Storage<'m> {
    pub(crate) fn new(block: &'m mut [MaybeUninit<u8>]) -> Self {
        Self { rest: block }
    }

    /// Cuts room for a single value off the front, and moves it there. It is never dropped.
    pub(crate) fn one<T>(&mut self, value: T) -> &'m T {
        self.take(1)[0].write(value)
    }

    /// Cuts `count` elements off the front, after padding, and initialises them.
    ///
    /// # Panics
    /// If too little is left: the plan requested less than it uses.
    pub(crate) fn cut<T>(&mut self, count: usize, make: impl Fn(usize) -> T) -> &'m [T] {
        fill(self.take(count), make)
    }

    /// As [`Storage::cut`], for runs of equal elements, `count` in all.
    ///
    /// # Panics
    /// If too little is left, or the runs are not `count` elements.
    pub(crate) fn cut_runs<T, F: Fn() -> T>(
        &mut self,
        count: usize,
        runs: impl Iterator<Item = (usize, F)>,
    ) -> &'m [T] {
        fill_runs(self.take(count), runs)
    }

    fn take<T>(&mut self, count: usize) -> &'m mut [MaybeUninit<T>] {
        let rest = core::mem::take(&mut self.rest);
        let pad = rest.as_ptr().align_offset(align_of::<T>());
        let bytes = count * size_of::<T>();
        assert!(pad + bytes <= rest.len(), "storage too small: {} < {}", rest.len(), pad + bytes);
        let (taken, rest) = rest[pad..].split_at_mut(bytes);
        self.rest = rest;
        let first = taken.as_mut_ptr().cast::<MaybeUninit<T>>();
        // SAFETY: `taken` is exclusively ours for 'm, aligned by the padding, and has room
        // for `count` elements, which need no initialisation as MaybeUninit.
        unsafe { core::slice::from_raw_parts_mut(first, count) }
    }
}

/// Adds room for `count` elements of `T` to a layout.
///
/// # Panics
/// If the size overflows the address space.
pub(crate) fn extend<T>(layout: Layout, count: usize) -> Layout {
    let array = Layout::array::<T>(count).expect("a table that fits the address space");
    layout.extend(array).expect("tables that fit the address space").0
}

#[cfg(test)]
mod tests;
