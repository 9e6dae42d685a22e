//! The swap cache: pages that have a slot.
//!
//! A page is in the cache while its slot's word names its frame and its `SWAPCACHE` flag
//! and `private` name the slot; both change under the page lock. The cache holds one
//! reference. A fault finds the page by the slot, even under write-back; reclaim finds
//! the slot by the page.
//!
//! Counterpart in Linux: `mm/swap_state.c`, `mm/swapfile.c`.

use super::map::{Held, SlotState, Sole};
use super::{Swap, SwapDevice, SwapEntry};
use crate::base::stat::VmEvent;
use crate::base::units::Pfn;
use crate::cache::{Busy, NotEntered, Store};
use crate::env::{BlockDevice, Env};
use crate::page::{FrozenPage, LockedPage, NewPage, Page, PageFlags, PageLock, PageRef, PageType};

/// Whether a page is read before it is needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ahead {
    /// A fault waits for it.
    No,
    /// A fault read its neighbour.
    Yes,
}

impl<E: Env> Store for Swap<'_, E> {
    type Key = SwapEntry;

    #[inline(always)]
    fn cached(&self, entry: SwapEntry) -> Option<Pfn> {
        self.device(entry).cached(entry.slot())
    }

    #[inline(always)]
    fn enter(&self, entry: SwapEntry, frame: Pfn) -> Result<Option<u32>, NotEntered> {
        self.device(entry).cache(entry.slot(), frame).map_err(|_| NotEntered)
    }

    #[inline(always)]
    fn leave(&self, entry: SwapEntry, frame: Pfn, shadow: Option<u32>) {
        let device = self.device(entry);
        device.uncache(entry.slot(), frame, shadow, || self.discard(device, entry));
    }
}

impl<'m, E: Env> Swap<'m, E> {
    /// Gives an anonymous page a slot and adds it to the cache; it is dirty from then on. False if
    /// no slot is free. The caller counts the pages in the cache. With `uses` the slot counts as many
    /// page-table entries already, which the caller makes under a page-table lock that it holds.
    pub(crate) fn add_to_swap(&self, lock: &PageLock<'m>, uses: u32) -> bool {
        let page = lock.page();
        let Some(entry) = self.allocate_slot(self.map.pfn(page), page.memcg(), uses) else {
            return false;
        };
        page.get().leak();
        page.enter_swap_cache(entry.raw());
        true
    }

    /// Removes a page from the cache; the page is then the only copy of its contents. The caller
    /// holds the page lock and a reference, and the page is not under write-back.
    pub(crate) fn delete_from_swap_cache(&self, lock: &PageLock<'m>) {
        lock.page().set_dirty();
        self.remove(lock);
    }

    fn remove(&self, lock: &PageLock<'m>) {
        let page = lock.page();
        let entry = SwapEntry::from_raw(page.private());
        self.lru.of(page).add_swapcached(-1);
        self.note_miss(page.flags());
        self.cache.remove(self, entry, lock);
    }

    /// Removes a page whose read failed from the cache; its slot may still have the contents.
    #[cold]
    pub(crate) fn forget_failed_read(&self, lock: &PageLock<'m>) {
        self.remove(lock);
    }

    /// Evicts a clean page, as [`Cache::freeze_and_remove`] does. The caller counts the pages in
    /// the cache.
    ///
    /// # Errors
    /// Returns the page, with the reason.
    ///
    /// [`Cache::freeze_and_remove`]: crate::cache::Cache::freeze_and_remove
    #[doc(alias = "__remove_mapping")]
    #[inline]
    pub(crate) fn freeze_and_remove(
        &self,
        page: LockedPage<'m>,
    ) -> Result<FrozenPage<'m>, (LockedPage<'m>, Busy)> {
        let entry = SwapEntry::from_raw(page.page().private());
        let flags = page.page().flags();
        let removed = self.cache.freeze_and_remove(self, entry, page)?;
        self.note_miss(flags);
        Ok(removed)
    }

    /// Counts a page that was read ahead in vain.
    #[inline(always)]
    fn note_miss(&self, flags: PageFlags) {
        if flags.contains(PageFlags::READAHEAD) {
            self.events.count(VmEvent::SwapRaMiss, 1);
        }
    }

    /// Adds a fresh page for a stored slot and starts reading it.
    ///
    /// # Errors
    /// Another page was added first or the slot is gone; the fresh page is freed then.
    #[doc(alias = "__read_swap_cache_async")]
    #[inline]
    pub(crate) fn read_into(
        &self,
        entry: SwapEntry,
        new: NewPage<'m>,
        ahead: Ahead,
    ) -> Result<PageRef<'m>, NotEntered> {
        let begin = |page: &'m Page| page.begin_in_swap_cache(entry.raw(), ahead == Ahead::Yes);
        let (lock, held, shadow) = self.cache.enter(self, entry, new, begin)?;
        self.lru.of(held.page()).add_swapcached(1);
        if let Some(shadow) = shadow {
            let can_swap = self.has_free();
            self.cache.workingset_refault(held.page(), PageType::Anon, shadow, can_swap);
        }
        self.lru.add(held.page());
        self.readpage(lock);
        Ok(held)
    }

    /// Ends the direct swap-in of a page: it is mapped, in the cache or not, and on no list yet.
    /// `is_full` is what [`Swap::is_full`] said.
    #[inline(always)]
    pub(crate) fn came_in_directly(
        &self,
        page: &Page,
        device: &SwapDevice<'m, E::Cpu>,
        entry: SwapEntry,
        sole: Sole,
        is_full: bool,
    ) {
        if page.has(PageFlags::SWAPCACHE) {
            self.lru.of(page).add_swapcached(1);
        } else {
            device.give_taken(entry.slot(), || self.discard(device, entry));
        }
        let can_swap = !is_full || self.has_free();
        self.cache.workingset_refault(page, PageType::Anon, sole.shadow(), can_swap);
    }

    /// Frees the slot of a page if no page-table entry names it (`try_to_free_swap`).
    pub(crate) fn try_to_free_swap(&self, lock: &PageLock<'m>) -> bool {
        let page = lock.page();
        let flags = page.flags();
        if !flags.contains(PageFlags::SWAPCACHE) || flags.contains(PageFlags::WRITEBACK) {
            return false;
        }
        if self.slot_uses(page) > 0 {
            return false;
        }
        self.delete_from_swap_cache(lock);
        true
    }

    /// Page-table entries that name the slot of a page in the cache.
    pub(crate) fn slot_uses(&self, page: &Page) -> u32 {
        let entry = SwapEntry::from_raw(page.private());
        self.device(entry).state(entry.slot()).uses
    }

    /// One more page-table entry names `entry`; false if the count is full.
    #[doc(alias = "swap_duplicate")]
    #[inline]
    pub(crate) fn duplicate(&self, entry: SwapEntry) -> bool {
        self.device(entry).add_use(entry.slot())
    }

    /// Whether writing to the slot of a page in the cache has failed.
    pub(crate) fn is_slot_broken(&self, page: &Page) -> bool {
        self.has_write_failed(SwapEntry::from_raw(page.private()))
    }

    /// Whether writing to a slot has failed, whether it is still in use or retired since.
    pub(crate) fn has_write_failed(&self, entry: SwapEntry) -> bool {
        let state = self.device(entry).state(entry.slot());
        state.broken || state.held == Held::Bad
    }

    /// One page-table entry less names `entry`; returns the slot's former state.
    #[doc(alias = "swap_free")]
    #[inline]
    pub(crate) fn free(&self, entry: SwapEntry) -> SlotState {
        let device = self.device(entry);
        device.put_use(entry.slot(), || self.discard(device, entry))
    }

    /// One page-table entry less names `entry` (`free_swap_and_cache`): a page in the cache without
    /// other users is removed.
    pub(crate) fn free_swap_and_cache(&self, entry: SwapEntry) {
        self.free(entry);
        let state = self.device(entry).state(entry.slot());
        if state.uses == 0
            && matches!(state.held, Held::Page(_))
            && let Some(held) = self.lookup(entry)
        {
            self.drop_unwanted(held.page());
            self.lru.put(held);
        }
    }

    /// Removes a page, to which the caller holds a reference, from the cache if no page-table entry
    /// leads to it, so that its slot is freed before reclaim finds it. A locked page is left to the
    /// holder of the lock.
    pub(crate) fn drop_unwanted(&self, page: &'m Page) {
        if page.is_mapped() || !page.has(PageFlags::SWAPCACHE) {
            return;
        }
        if let Some(lock) = page.try_lock() {
            self.try_to_free_swap(&lock);
            self.zones.unlock(lock);
        }
    }

    pub(super) fn discard(&self, device: &SwapDevice<'m, E::Cpu>, entry: SwapEntry) {
        self.env.blocks().discard(device.id, entry.slot(), 1);
    }

    /// The page of a slot, if it is in the cache (`lookup_swap_cache`).
    #[doc(alias = "lookup_swap_cache")]
    #[inline]
    pub(crate) fn lookup(&self, entry: SwapEntry) -> Option<PageRef<'m>> {
        self.cache.lookup(self, entry)
    }
}

#[cfg(test)]
mod tests;
