//! The slots of a swap device.
//!
//! A slot's word, from the low bits: use count (13), broken (1), what it holds (2), memory
//! control group (16), frame or shadow (32).
//!
//! ```text
//!              allocate(frame)              put_use to 0, uncache
//!      0 free ----------------> cached ---------------------------> 0 free
//!                               |    ^
//!         uncache, count > 0    v    |  cache(frame)
//!                          stored or shadow
//! ```
//!
//! A vacated slot is discarded before it can be allocated again: discarding it later would destroy
//! what its next user has written.
//!
//! A slot whose block failed is broken: once vacated it is bad and never free again.
//! A cached slot with count 0 is a page about to be written whose mappings are still to be
//! replaced, or one whose last user is gone; either way its page decides when it is freed. Free
//! slots are allocated in runs: each device works through a cluster of [`CLUSTER`] slots, so that a
//! batch of pages lands in neighbouring blocks.

mod clusters;
mod drain;
mod sole;

pub use drain::DeviceUse;
pub(crate) use sole::Sole;

use core::mem::MaybeUninit;

use crate::base::lock_order::SWAP_DEVICE;
use crate::base::storage;
use crate::base::sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Lock, Ordering};
use crate::base::units::Pfn;
use crate::env::{Cpu, DeviceId};

/// Slots in a cluster.
pub const CLUSTER: u32 = 256;
const COUNT_MASK: u64 = (1 << 13) - 1;
const BROKEN: u64 = 1 << 13;
/// The most page-table entries that may name one slot.
pub const MAX_USES: u32 = COUNT_MASK as u32;
const KIND_SHIFT: u32 = 14;
const PAGE_KIND: u64 = 1;
const SHADOW_KIND: u64 = 2;
const MEMCG_SHIFT: u32 = 16;
const VALUE_SHIFT: u32 = 32;

/// Memory for one slot of a swap device.
#[repr(transparent)]
pub struct Slot(AtomicU64);

/// What a slot holds apart from its use count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// Nothing: free if the count is 0, else a stored page.
    Nothing,
    /// A page in the swap cache.
    Page(Pfn),
    /// The shadow of a page that was evicted.
    Shadow(u32),
    /// The slot must not be used.
    Bad,
}

/// A slot's word, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotState {
    /// Page-table entries that name the slot.
    pub uses: u32,
    /// The memory control group that is charged.
    pub memcg: u16,
    /// Writing the block failed: it must not be used again.
    pub broken: bool,
    /// The rest.
    pub held: Held,
}

impl SlotState {
    const FREE: Self = Self { uses: 0, memcg: 0, broken: false, held: Held::Nothing };
    const BAD: Self = Self { held: Held::Bad, ..Self::FREE };

    const fn encode(self) -> u64 {
        let (kind, value) = match self.held {
            Held::Nothing => (0, 0),
            Held::Page(pfn) => (PAGE_KIND, pfn.0),
            Held::Shadow(shadow) => (SHADOW_KIND, shadow),
            Held::Bad => (3, 0),
        };
        self.uses as u64
            | if self.broken { BROKEN } else { 0 }
            | kind << KIND_SHIFT
            | (self.memcg as u64) << MEMCG_SHIFT
            | (value as u64) << VALUE_SHIFT
    }

    const fn decode(word: u64) -> Self {
        let value = (word >> VALUE_SHIFT) as u32;
        let held = match word >> KIND_SHIFT & 3 {
            0 => Held::Nothing,
            1 => Held::Page(Pfn(value)),
            2 => Held::Shadow(value),
            _ => Held::Bad,
        };
        let memcg = (word >> MEMCG_SHIFT) as u16;
        Self { uses: (word & COUNT_MASK) as u32, memcg, broken: word & BROKEN != 0, held }
    }

    /// No entry names the slot and nothing is in it. It cannot be allocated yet: its block is still
    /// to be discarded, unless it is broken.
    const fn is_vacated(self) -> bool {
        self.uses == 0 && matches!(self.held, Held::Bad)
    }

    /// Whether a page-table entry names the slot, or a page is cached in it.
    pub const fn is_in_use(self) -> bool {
        self.uses > 0 || matches!(self.held, Held::Page(_))
    }

    /// Whether dropping one use frees the slot.
    pub const fn is_freed_by_put(self) -> bool {
        self.uses == 1 && !self.broken && !matches!(self.held, Held::Page(_))
    }

    /// Whether no entry names the slot and nothing is in it.
    pub const fn is_free(self) -> bool {
        self.encode() == 0
    }
}

struct Search {
    /// Where the next search for a free slot begins.
    next: u32,
}

/// One swap device in use.
pub struct SwapDevice<'m, C: Cpu> {
    pub(crate) id: DeviceId,
    priority: AtomicU16,
    slots: &'m [Slot],
    /// Slots in use in each cluster.
    clusters: &'m [Slot],
    /// For each group of 64 clusters: above how many have a slot in use, below how many are full. A
    /// search that passes over many clusters reads these.
    groups: &'m [Slot],
    search: Lock<C, Search, SWAP_DEVICE>,
    usable: AtomicU32,
    free: AtomicU32,
    /// A [`DeviceUse`]; changed under the search lock.
    state: AtomicU8,
}

/// Words of memory that a device of `blocks` pages needs for its slots.
pub const fn words_for(blocks: u32) -> usize {
    let count = blocks.div_ceil(CLUSTER) as usize;
    blocks as usize + count + count.div_ceil(clusters::GROUP)
}

impl<'m, C: Cpu> SwapDevice<'m, C> {
    /// A device of `blocks` pages, of which page 0 (the header) and `bad` are never used.
    /// `memory` holds [`words_for`]`(blocks)` words at least.
    pub(crate) fn new(
        id: DeviceId,
        priority: i16,
        blocks: u32,
        memory: &'m mut [MaybeUninit<Slot>],
        bad: impl Iterator<Item = u32>,
    ) -> Self {
        let memory = fill(&mut memory[..words_for(blocks)]);
        let (slots, counts) = memory.split_at(blocks as usize);
        let (clusters, groups) = counts.split_at(blocks.div_ceil(CLUSTER) as usize);
        let device = Self {
            id,
            priority: AtomicU16::new(0),
            slots,
            clusters,
            groups,
            search: Lock::new(Search { next: 1 }),
            usable: AtomicU32::new(0),
            free: AtomicU32::new(0),
            state: AtomicU8::new(DeviceUse::Off as u8),
        };
        device.start(priority, blocks, bad);
        device
    }

    /// Blocks of the device, usable or not.
    pub fn blocks(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Slots that can be used.
    pub fn usable(&self) -> u32 {
        self.usable.load(Ordering::Relaxed)
    }

    /// Slots that are free.
    pub fn free(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    /// The state of a slot.
    ///
    /// # Panics
    /// If the device has no such slot.
    #[inline(always)]
    pub fn state(&self, slot: u32) -> SlotState {
        // Acquire pairs with the Release of `update`: a frame found here was filled in
        // before it was entered.
        SlotState::decode(self.slots[slot as usize].0.load(Ordering::Acquire))
    }

    #[inline(always)]
    fn word(&self, slot: u32) -> u64 {
        // Acquire, as in `state`.
        self.slots[slot as usize].0.load(Ordering::Acquire)
    }

    /// Replaces `word` by `new`, if the slot is unchanged.
    #[inline(always)]
    fn swap_word(&self, slot: u32, word: u64, new: u64) -> bool {
        // AcqRel, as in `update`.
        let word = self.slots[slot as usize].0.compare_exchange(
            word,
            new,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        word.is_ok()
    }

    /// The page of the swap cache that a slot holds.
    #[inline(always)]
    pub(crate) fn cached(&self, slot: u32) -> Option<Pfn> {
        let word = self.word(slot);
        (kind_of(word) == PAGE_KIND).then_some(Pfn((word >> VALUE_SHIFT) as u32))
    }

    /// Every slot's state.
    pub fn iter(&self) -> impl Iterator<Item = (u32, SlotState)> + '_ {
        (0..self.slots.len() as u32).map(|i| (i, self.state(i)))
    }

    /// Allocates a free slot for the page in `frame`, which enters the swap cache with it, and
    /// counts `uses` page-table entries that are about to name it.
    #[inline(always)]
    pub(crate) fn allocate(&self, frame: Pfn, memcg: u16, uses: u32) -> Option<u32> {
        if self.free() == 0 {
            return None;
        }
        let mut search = self.search.lock();
        if !self.is_on() {
            return None;
        }
        let slot = self.find_free(search.next)?;
        let state = SlotState { uses, memcg, held: Held::Page(frame), ..SlotState::FREE };
        self.slots[slot as usize].0.store(state.encode(), Ordering::Release);
        self.note_used(slot);
        self.free.fetch_sub(1, Ordering::Relaxed);
        search.next = slot + 1;
        Some(slot)
    }

    /// Changes a slot by a pure transition, atomically, unless it returns `None`.
    fn update(
        &self,
        slot: u32,
        change: impl Fn(SlotState) -> Option<SlotState>,
    ) -> Result<SlotState, SlotState> {
        let word = &self.slots[slot as usize].0;
        let step = |w| change(SlotState::decode(w)).map(SlotState::encode);
        // Release pairs with the Acquire of `state`.
        word.fetch_update(Ordering::AcqRel, Ordering::Acquire, step)
            .map(SlotState::decode)
            .map_err(SlotState::decode)
    }

    /// Ends a transition: a vacated slot is discarded and only then free for reuse, unless its
    /// block is broken. True if it became free.
    fn settle(&self, slot: u32, was: SlotState, now: SlotState, discard: impl FnOnce()) -> bool {
        let freed = now.is_vacated() && !was.broken;
        if freed {
            discard();
            self.release(slot);
        }
        freed
    }

    fn release(&self, slot: u32) {
        let _search = self.search.lock();
        self.slots[slot as usize].0.store(SlotState::FREE.encode(), Ordering::Release);
        self.note_unused(slot);
        self.free.fetch_add(1, Ordering::Relaxed);
    }

    /// One more page-table entry names the slot; false if the count is full.
    #[inline]
    pub(crate) fn add_use(&self, slot: u32) -> bool {
        // As in `put_use`.
        let word = self.word(slot);
        if kind_of(word) == PAGE_KIND
            && word & COUNT_MASK < COUNT_MASK
            && self.swap_word(slot, word, word + 1)
        {
            return true;
        }
        self.add_use_slowly(slot)
    }

    #[cold]
    fn add_use_slowly(&self, slot: u32) -> bool {
        let up = |s: SlotState| (s.uses < MAX_USES).then_some(SlotState { uses: s.uses + 1, ..s });
        self.update(slot, up).is_ok()
    }

    /// One page-table entry less; returns the slot's former state. If it was the last use, the slot
    /// is free now, after `discard`.
    #[inline]
    pub(crate) fn put_use(&self, slot: u32, discard: impl FnOnce()) -> SlotState {
        // The common case is one use less of a cached page: only the count changes, in the low
        // bits.
        let word = self.word(slot);
        if kind_of(word) == PAGE_KIND
            && word & COUNT_MASK > 0
            && self.swap_word(slot, word, word - 1)
        {
            return SlotState::decode(word);
        }
        self.put_use_slowly(slot, discard)
    }

    #[cold]
    fn put_use_slowly(&self, slot: u32, discard: impl FnOnce()) -> SlotState {
        let after = |s: SlotState| {
            debug_assert!(s.uses > 0, "slot {slot} has no use to put: {s:?}");
            let uses = s.uses - 1;
            match s.held {
                Held::Page(_) => SlotState { uses, ..s },
                _ if uses == 0 => SlotState::BAD,
                _ => SlotState { uses, ..s },
            }
        };
        let was = self.update(slot, |s| Some(after(s))).unwrap_or(SlotState::FREE);
        // A page in the cache keeps its slot.
        if !matches!(was.held, Held::Page(_)) {
            self.settle(slot, was, after(was), discard);
        }
        was
    }

    /// Adds the page in `frame` to the swap cache of a stored slot; returns the shadow that was
    /// there, if any.
    ///
    /// # Errors
    /// The state, if the slot is not a stored one.
    #[inline]
    pub(crate) fn cache(&self, slot: u32, frame: Pfn) -> Result<Option<u32>, SlotState> {
        // The common case is an unchanged slot: the frame takes the shadow's place.
        let word = self.word(slot);
        let rest = word & !(3 << KIND_SHIFT) & ((1 << VALUE_SHIFT) - 1);
        let new = rest | PAGE_KIND << KIND_SHIFT | u64::from(frame.0) << VALUE_SHIFT;
        if kind_of(word) == SHADOW_KIND && word & COUNT_MASK > 0 && self.swap_word(slot, word, new)
        {
            return Ok(Some((word >> VALUE_SHIFT) as u32));
        }
        self.cache_slowly(slot, frame)
    }

    #[cold]
    fn cache_slowly(&self, slot: u32, frame: Pfn) -> Result<Option<u32>, SlotState> {
        let was = self.update(slot, |s| match s.held {
            Held::Nothing | Held::Shadow(_) if s.uses > 0 => {
                Some(SlotState { held: Held::Page(frame), ..s })
            }
            _ => None,
        })?;
        Ok(match was.held {
            Held::Shadow(shadow) => Some(shadow),
            _ => None,
        })
    }

    /// Removes the page in `frame` from the swap cache, leaving `shadow` if the slot is still used;
    /// true if the slot became free, after `discard`.
    #[inline]
    pub(crate) fn uncache(
        &self,
        slot: u32,
        frame: Pfn,
        shadow: Option<u32>,
        discard: impl FnOnce(),
    ) -> bool {
        // The common case is an unchanged slot with users: the shadow takes the frame's place.
        let word = self.word(slot);
        let rest = word & !(3 << KIND_SHIFT) & ((1 << VALUE_SHIFT) - 1);
        let now = rest | PAGE_KIND << KIND_SHIFT | u64::from(frame.0) << VALUE_SHIFT;
        if let Some(shadow) = shadow
            && word == now
            && word & COUNT_MASK > 0
        {
            let new = rest | SHADOW_KIND << KIND_SHIFT | u64::from(shadow) << VALUE_SHIFT;
            if self.swap_word(slot, word, new) {
                return false;
            }
        }
        self.uncache_slowly(slot, frame, shadow, discard)
    }

    #[cold]
    fn uncache_slowly(
        &self,
        slot: u32,
        frame: Pfn,
        shadow: Option<u32>,
        discard: impl FnOnce(),
    ) -> bool {
        let after = |s: SlotState| match (s.uses, shadow) {
            (0, _) => SlotState::BAD,
            (_, Some(shadow)) => SlotState { held: Held::Shadow(shadow), ..s },
            (_, None) => SlotState { held: Held::Nothing, ..s },
        };
        let change = |s: SlotState| (s.held == Held::Page(frame)).then(|| after(s));
        let was = self.update(slot, change);
        debug_assert!(was.is_ok(), "slot {slot} does not hold {frame:?}: {was:?}");
        was.is_ok_and(|s| self.settle(slot, s, after(s), discard))
    }

    /// Writing the slot's block failed: once vacated it is never allocated again.
    pub(crate) fn mark_broken(&self, slot: u32) {
        let _ = self.update(slot, |s| Some(SlotState { broken: true, ..s }));
    }

    /// Overwrites a slot, for tests of `validate()`.
    #[doc(hidden)]
    pub fn corrupt(&self, slot: u32, state: SlotState) {
        self.slots[slot as usize].0.store(state.encode(), Ordering::Relaxed);
    }
}

#[inline(always)]
const fn kind_of(word: u64) -> u64 {
    word >> KIND_SHIFT & 3
}

/// Makes every word a free slot.
fn fill(memory: &mut [MaybeUninit<Slot>]) -> &[Slot] {
    storage::fill(memory, |_| Slot(AtomicU64::new(SlotState::FREE.encode())))
}

#[cfg(test)]
mod tests;
