//! Tables that take a frame at a time, as they grow, and never give one back.
//!
//! **Data.** Addresses of frames. **Owner.** The table. **Lock.** None: a frame is added once.

use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire},
};

use mm_reclaim::units::{PAGE_SIZE, Pfn};

use super::frames::frame_address;

/// A table of up to `FRAMES` frames.
pub struct Growing<T: 'static, const FRAMES: usize> {
    frames: [AtomicPtr<T>; FRAMES],
    entries: PhantomData<&'static T>,
}

impl<T: Sync, const FRAMES: usize> Default for Growing<T, FRAMES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Sync, const FRAMES: usize> Growing<T, FRAMES> {
    /// Entries of a frame.
    pub const PER_FRAME: usize = PAGE_SIZE / size_of::<T>();

    /// An empty table.
    pub const fn new() -> Self {
        assert!(align_of::<T>() <= PAGE_SIZE && size_of::<T>() > 0);
        Self { frames: [const { AtomicPtr::new(ptr::null_mut()) }; FRAMES], entries: PhantomData }
    }

    /// An entry, if the table has grown that far.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&'static T> {
        let frame = self.frames.get(at / Self::PER_FRAME)?.load(Acquire);
        if frame.is_null() {
            return None;
        }
        let entry = frame.wrapping_add(at % Self::PER_FRAME);
        // SAFETY: a frame that is in the table stays there, and `grow` filled all of it before; only
        // shared references to its entries are made, of which this is one.
        Some(unsafe { &*entry })
    }

    /// Makes sure that the table has grown up to an entry: with the frame of `take`, filled with
    /// `blank`. What is not needed goes to `give`. False if there is no frame.
    pub fn grow(
        &self,
        at: usize,
        take: impl FnOnce() -> Option<Pfn>,
        give: impl FnOnce(Pfn),
        blank: impl Fn() -> T,
    ) -> bool {
        let Some(place) = self.frames.get(at / Self::PER_FRAME) else { return false };
        if !place.load(Acquire).is_null() {
            return true;
        }
        let Some(frame) = take() else { return false };
        let first = frame_address(frame).cast::<T>();
        for entry in 0..Self::PER_FRAME {
            let entry = first.wrapping_add(entry);
            // SAFETY: the frame is the caller's until it is in the table; the entries fit, and are
            // aligned.
            unsafe { entry.write(blank()) };
        }
        // Release pairs with the Acquire of `get`: who finds the frame finds it filled.
        if place.compare_exchange(ptr::null_mut(), first, AcqRel, Acquire).is_err() {
            give(frame);
        }
        true
    }
}
