//! Slots with one user and no page: the direct way in.
//!
//! A stored page that one page-table entry names, and that is not in the cache, can be read by the
//! holder of that entry's area lock without entering it first: nobody else has a way to it. The
//! holder reads the slot's word, then the block, and then replaces the word, if it is unchanged,
//! under the page-table lock with the entry unchanged as well.
//!
//! **Why that is enough.** While the entry stays, the slot has a user and is not freed. Its block
//! changes only if a page enters the cache under it, is written, and is evicted again: then the
//! word has another shadow, for the clock in it has advanced. It would be the same again after
//! 2^29 further evictions and activations within one read, as with a sequence counter that wraps.
//!
//! ```text
//!   shadow, 1 use --- cache_sole(frame) ---> the frame, no use: the mapping has taken its place
//!                \--- take_sole ---> vacated --- give_taken: discard ---> free
//! ```

use super::{
    BROKEN, COUNT_MASK, KIND_SHIFT, MEMCG_SHIFT, PAGE_KIND, SHADOW_KIND, SlotState, SwapDevice,
    VALUE_SHIFT,
};
use crate::base::units::Pfn;
use crate::env::Cpu;

/// The word of a slot that one entry names, with the shadow of the page that it stores.
#[derive(Clone, Copy)]
pub(crate) struct Sole(u64);

impl Sole {
    /// Count, broken mark and kind of such a slot.
    const MARK: u64 = SHADOW_KIND << KIND_SHIFT | 1;
    const MASK: u64 = COUNT_MASK | BROKEN | 3 << KIND_SHIFT;

    /// The shadow.
    #[inline(always)]
    pub(crate) fn shadow(self) -> u32 {
        (self.0 >> VALUE_SHIFT) as u32
    }
}

impl<C: Cpu> SwapDevice<'_, C> {
    /// The slot's word, if one entry names it and no page is in it.
    #[inline(always)]
    pub(crate) fn sole(&self, slot: u32) -> Option<Sole> {
        let word = self.word(slot);
        (word & Sole::MASK == Sole::MARK).then_some(Sole(word))
    }

    /// The page in `frame`, completely described, enters the cache in place of the entry that named
    /// the slot; false if the slot has changed.
    #[inline(always)]
    pub(crate) fn cache_sole(&self, slot: u32, sole: Sole, frame: Pfn) -> bool {
        let memcg = sole.0 & 0xffff << MEMCG_SHIFT;
        let new = memcg | PAGE_KIND << KIND_SHIFT | u64::from(frame.0) << VALUE_SHIFT;
        self.swap_word(slot, sole.0, new)
    }

    /// Nobody names the slot any more; false if it has changed. The caller frees it by
    /// [`SwapDevice::give_taken`].
    #[inline(always)]
    pub(crate) fn take_sole(&self, slot: u32, sole: Sole) -> bool {
        self.swap_word(slot, sole.0, SlotState::BAD.encode())
    }

    /// Frees a slot that was taken, after `discard`.
    #[inline]
    pub(crate) fn give_taken(&self, slot: u32, discard: impl FnOnce()) {
        discard();
        self.release(slot);
    }
}
