//! The named transitions of a page's state: who may make each, and with which ordering.
//!
//! All of them work on the atomics of one descriptor; none waits. The orderings that are
//! stronger than relaxed name their counterparts. Those of the allocator are in `free`.

mod free;

use super::{ListChoice, LruList, MAPCOUNT_MAX, Page, PageFlags, PageLock, PageRef, ZONE_SHIFT};
use crate::base::sync::Ordering;
use crate::base::units::FilePage;

impl Page {
    #[inline(always)]
    fn set(&self, flags: PageFlags) -> PageFlags {
        PageFlags::from_bits_truncate(self.flags.fetch_or(flags.bits(), Ordering::Relaxed))
    }

    #[inline(always)]
    fn clear(&self, flags: PageFlags) -> PageFlags {
        PageFlags::from_bits_truncate(self.flags.fetch_and(!flags.bits(), Ordering::Relaxed))
    }

    // ---- the page lock ----

    /// Takes the page lock if it is free.
    #[inline]
    pub fn try_lock(&self) -> Option<PageLock<'_>> {
        // Acquire pairs with the Release in `unlock`: the next holder sees what the previous one
        // did to the page.
        let was = self.flags.fetch_or(PageFlags::LOCKED.bits(), Ordering::Acquire);
        if was & PageFlags::LOCKED.bits() == 0 { Some(PageLock::new(self)) } else { None }
    }

    /// Releases the page lock; true if a task may be waiting for it.
    #[inline]
    pub(crate) fn unlock(&self) -> bool {
        let gone = PageFlags::LOCKED.union(PageFlags::WAITERS);
        let was = self.flags.fetch_and(!gone.bits(), Ordering::Release);
        debug_assert!(was & PageFlags::LOCKED.bits() != 0, "unlock of an unlocked {self:?}");
        was & PageFlags::WAITERS.bits() != 0
    }

    /// Announces a sleeper; the caller must test the awaited flag again afterwards.
    pub(crate) fn announce_waiter(&self) {
        // SeqCst: ordered before the test that follows; pairs with the atomic read-modify-write
        // that ends the awaited state and reads WAITERS in one step.
        self.flags.fetch_or(PageFlags::WAITERS.bits(), Ordering::SeqCst);
    }

    // ---- references ----

    /// One more reference, for a holder of one.
    #[inline(always)]
    pub fn get(&self) -> PageRef<'_> {
        let was = self.refs.fetch_add(1, Ordering::Relaxed);
        debug_assert!(was != 0, "get of a free or frozen {self:?}");
        PageRef::new(self)
    }

    /// One more reference, unless the page is free or frozen (`get_page_unless_zero`).
    ///
    /// The caller found the page without holding a reference and must check afterwards that it is
    /// still the page it looked for.
    #[doc(alias = "folio_try_get")]
    pub fn get_unless_zero(&self) -> Option<PageRef<'_>> {
        let up = |n: u32| if n == 0 { None } else { Some(n + 1) };
        // Acquire pairs with the Release of `thaw`: a page that was frozen and came back is
        // seen as its new owner left it.
        self.refs.fetch_update(Ordering::Acquire, Ordering::Relaxed, up).ok()?;
        Some(PageRef::new(self))
    }

    /// Drops one reference; true if it was the last one.
    #[inline(always)]
    pub(crate) fn put(&self) -> bool {
        // Release: what this holder did to the page happens before it is freed; the last put
        // acquires it all.
        let was = self.refs.fetch_sub(1, Ordering::Release);
        debug_assert!(was != 0, "put of a free or frozen {self:?}");
        if was == 1 {
            crate::base::sync::fence(Ordering::Acquire);
        }
        was == 1
    }

    /// Takes all references away at once if there are exactly `expected`.
    #[inline]
    pub(crate) fn freeze(&self, expected: u32) -> bool {
        // Acquire: sees all that the other holders did before their puts.
        self.refs.compare_exchange(expected, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Undoes a freeze.
    pub(crate) fn thaw(&self, refs: u32) {
        // Release pairs with the Acquire of `get_unless_zero`.
        self.refs.store(refs, Ordering::Release);
    }

    // ---- mappings ----

    /// One more mapping. The caller holds a reference and a page-table lock.
    #[inline(always)]
    pub(crate) fn add_mapping(&self) -> Result<(), ()> {
        let was = self.mapcount.fetch_add(1, Ordering::Relaxed);
        if was >= MAPCOUNT_MAX {
            self.mapcount.fetch_sub(1, Ordering::Relaxed);
            return Err(());
        }
        Ok(())
    }

    /// Removes one mapping; true if it was the last one.
    #[inline(always)]
    pub(crate) fn remove_mapping(&self) -> bool {
        let was = self.mapcount.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(was != 0, "unmapping an unmapped {self:?}");
        was == 1
    }

    /// Makes a page that leaves the allocator, without a reference yet, an anonymous page of a
    /// family, mapped once. It has two references then: the mapping's and that of the batch through
    /// which it enters the lists.
    ///
    /// The count is stored, not added to: while it is 0 nobody can take a reference.
    #[inline(always)]
    pub(crate) fn init_anon(&self, family: u32, index: u32) {
        self.describe_anon(family, index, PageFlags::empty());
        // Release pairs with the Acquire of `get_unless_zero`: a page has references when it is
        // described.
        self.refs.store(2, Ordering::Release);
    }

    #[inline(always)]
    fn describe_anon(&self, family: u32, index: u32, more: PageFlags) {
        debug_assert!(self.refs() == 0, "in use: {self:?}");
        self.set_owner(family, index);
        self.mapcount.store(1, Ordering::Relaxed);
        let zone = self.flags.load(Ordering::Relaxed) & (3 << ZONE_SHIFT);
        let flags = PageFlags::UPTODATE.union(PageFlags::SWAPBACKED).union(more).bits();
        self.flags.store(zone | flags, Ordering::Relaxed);
    }

    /// As [`Page::init_anon`], for a page that was read from swap. With `entry` it is also in the
    /// swap cache, under that entry, which has a third reference; else it is dirty, the only copy.
    #[inline(always)]
    pub(crate) fn init_swapped_in(&self, family: u32, index: u32, entry: Option<u32>) {
        let place = if entry.is_some() { PageFlags::SWAPCACHE } else { PageFlags::DIRTY };
        self.private.store(entry.unwrap_or(0), Ordering::Relaxed);
        self.describe_anon(family, index, place);
        self.refs.store(2 + u32::from(entry.is_some()), Ordering::Release);
    }

    /// Undoes [`Page::init_swapped_in`]: the page was not published.
    #[cold]
    pub(crate) fn undo_swapped_in(&self) {
        self.flags.store(self.flags.load(Ordering::Relaxed) & (3 << ZONE_SHIFT), Ordering::Relaxed);
        self.mapcount.store(0, Ordering::Relaxed);
        self.private.store(0, Ordering::Relaxed);
        self.refs.store(0, Ordering::Relaxed);
    }

    /// Sets the page's owner. For the holder of the page lock while nothing maps the page, or only
    /// areas that the new family leads to as well.
    #[inline(always)]
    pub(crate) fn set_owner(&self, owner: u32, index: u32) {
        self.place.store(u64::from(index) << 32 | u64::from(owner), Ordering::Relaxed);
    }

    // ---- contents ----

    /// The contents differ from the backing store's from now on; true if they did not before.
    pub(crate) fn set_dirty(&self) -> bool {
        // Test first: a page that is dirty already needs no exclusive cache line.
        !self.has(PageFlags::DIRTY) && !self.set(PageFlags::DIRTY).contains(PageFlags::DIRTY)
    }

    /// The contents are the backing store's again; true if they were not before.
    pub(crate) fn clear_dirty(&self) -> bool {
        self.clear(PageFlags::DIRTY).contains(PageFlags::DIRTY)
    }

    /// Reading the contents ended.
    pub(crate) fn end_read(&self, ok: bool) {
        // Release pairs with the Acquire of `is_uptodate`: who sees the flag sees the contents.
        let end = if ok { PageFlags::UPTODATE } else { PageFlags::ERROR };
        self.flags.fetch_or(end.bits(), Ordering::Release);
    }

    /// Writing the contents failed: this is the only copy.
    pub(crate) fn note_write_error(&self) {
        self.set(PageFlags::DIRTY.union(PageFlags::ERROR));
    }

    /// Writing a file's page failed: it stays clean (DIRT-03).
    pub(crate) fn note_failed_write(&self) {
        self.set(PageFlags::ERROR);
    }

    /// What becomes of the next write is all that counts.
    pub(crate) fn clear_error(&self) {
        self.clear(PageFlags::ERROR);
    }

    /// The contents were made in memory: they are valid, and a former error is past.
    pub(crate) fn set_uptodate(&self) {
        self.clear(PageFlags::ERROR);
        // Release pairs with the Acquire of `is_uptodate`: who sees the flag sees the contents.
        self.flags.fetch_or(PageFlags::UPTODATE.bits(), Ordering::Release);
    }

    /// Whether the contents are valid, for a reader without the page lock.
    #[inline(always)]
    pub(crate) fn is_uptodate(&self) -> bool {
        self.flags.load(Ordering::Acquire) & PageFlags::UPTODATE.bits() != 0
    }

    /// A page that was read ahead: the next window is to be read when it is used.
    pub(crate) fn mark_readahead(&self) {
        self.set(PageFlags::READAHEAD);
    }

    /// Clears the mark of a failed write; true if it was set.
    #[inline]
    pub(crate) fn take_write_error(&self) -> bool {
        let mark = PageFlags::DIRTY.union(PageFlags::ERROR);
        self.has(mark) && self.clear(PageFlags::ERROR).contains(PageFlags::ERROR)
    }

    /// A fresh page, which is not published yet, becomes an anonymous one in the swap cache under
    /// `entry`, whose contents are still to be read; `ahead` says that no fault waits for them. The
    /// cache holds a reference from now on, and the caller the page lock.
    #[inline]
    pub(crate) fn begin_in_swap_cache(&self, entry: u32, ahead: bool) -> PageLock<'_> {
        let mut flags = PageFlags::LOCKED | PageFlags::SWAPBACKED | PageFlags::SWAPCACHE;
        flags.set(PageFlags::READAHEAD, ahead);
        self.private.store(entry, Ordering::Relaxed);
        let now = self.flags.load(Ordering::Relaxed);
        self.flags.store(now | flags.bits(), Ordering::Relaxed);
        PageLock::new(self)
    }

    /// Clears the read-ahead mark; true if it was set.
    #[inline]
    pub(crate) fn take_readahead(&self) -> bool {
        self.has(PageFlags::READAHEAD)
            && self.clear(PageFlags::READAHEAD).contains(PageFlags::READAHEAD)
    }

    /// A fresh page becomes an anonymous one whose contents are still to be read.
    #[cfg(test)]
    pub(crate) fn set_swapbacked(&self) {
        self.set(PageFlags::SWAPBACKED);
    }

    /// An anonymous page becomes one whose contents may be dropped. For the holder of the lruvec's
    /// lock, while the page is on no list: its type is another one from now on.
    pub(crate) fn mark_lazily_freed(&self) {
        self.clear(PageFlags::SWAPBACKED.union(PageFlags::REFERENCED));
    }

    /// A lazily freed page was written to: its contents count again. For the holder of the isolated
    /// page, whose type is another one from now on.
    pub(crate) fn take_back_lazily_freed(&self) {
        self.set(PageFlags::SWAPBACKED);
    }

    /// Enters the swap cache under `entry`, dirty. The holder of the page lock calls this, and
    /// the cache holds a reference from now on.
    #[inline(always)]
    pub(crate) fn enter_swap_cache(&self, entry: u32) {
        self.private.store(entry, Ordering::Relaxed);
        self.set(PageFlags::SWAPCACHE.union(PageFlags::DIRTY));
    }

    /// A fresh page, which is not published yet, becomes a page of a file, whose contents are still
    /// to be read. The cache holds a reference from now on, and the caller the page lock.
    /// Shared memory is backed by swap.
    pub(crate) fn begin_in_file(&self, at: FilePage, swapbacked: bool) -> PageLock<'_> {
        self.set_owner(at.file.0, at.index);
        let now = self.flags.load(Ordering::Relaxed);
        let mut flags = PageFlags::LOCKED | PageFlags::FILE;
        flags.set(PageFlags::SWAPBACKED, swapbacked);
        self.flags.store(now | flags.bits(), Ordering::Relaxed);
        PageLock::new(self)
    }

    /// A page of shared memory moves from its file's cache to swap's, under `entry`, dirty. For the
    /// holder of the page lock and the index's.
    pub(crate) fn move_to_swap_cache(&self, entry: u32) {
        self.private.store(entry, Ordering::Relaxed);
        let flip = PageFlags::FILE.union(PageFlags::SWAPCACHE).bits();
        let was = self.flags.fetch_xor(flip, Ordering::Relaxed);
        debug_assert!(was & flip == PageFlags::FILE.bits(), "no page of a file: {self:?}");
        self.set_dirty();
        self.set_owner(0, 0);
    }

    /// The way back: its contents are nowhere else from then on.
    pub(crate) fn move_to_file(&self, at: FilePage) {
        self.set_owner(at.file.0, at.index);
        let flip = PageFlags::FILE.union(PageFlags::SWAPCACHE).bits();
        let was = self.flags.fetch_xor(flip, Ordering::Relaxed);
        debug_assert!(was & flip == PageFlags::SWAPCACHE.bits(), "not in swap's cache: {self:?}");
        self.set_dirty();
        self.private.store(0, Ordering::Relaxed);
    }

    /// Its store keeps private data with it. For the holder of the page lock.
    pub(crate) fn mark_private(&self) {
        self.set(PageFlags::PRIVATE);
    }

    /// Its private data was released.
    pub(crate) fn clear_private(&self) {
        self.clear(PageFlags::PRIVATE);
    }

    /// Leaves the cache that it is in, whose reference the caller now owns.
    pub(crate) fn leave_cache(&self) {
        let gone = PageFlags::SWAPCACHE.union(PageFlags::FILE).union(PageFlags::RETAINED);
        let was = self.clear(gone);
        if was.contains(PageFlags::FILE) {
            self.set_owner(0, 0);
        }
        self.private.store(0, Ordering::Relaxed);
    }

    // ---- write-back ----

    /// Submitting a write: dirty was cleared, write-back is set, and the reclaim mark if reclaim does
    /// it.
    pub(crate) fn begin_writeback(&self, for_reclaim: bool) {
        let mark = if for_reclaim { PageFlags::RECLAIM } else { PageFlags::empty() };
        self.set(PageFlags::WRITEBACK | mark);
    }

    /// Write-back ended: both marks are cleared. Returns the former flags, including WAITERS.
    pub(crate) fn end_writeback(&self) -> PageFlags {
        // Release: the device has read the frame before it is reused.
        let gone = PageFlags::WRITEBACK | PageFlags::RECLAIM;
        let was = self.flags.fetch_and(!gone.bits(), Ordering::Release);
        debug_assert!(was & PageFlags::WRITEBACK.bits() != 0, "no write-back to end: {self:?}");
        PageFlags::from_bits_truncate(was)
    }

    /// Clears WAITERS; true if it was set.
    pub(crate) fn take_waiters(&self) -> bool {
        self.has(PageFlags::WAITERS) && self.clear(PageFlags::WAITERS).contains(PageFlags::WAITERS)
    }

    /// Reclaim wants the page as soon as its write-back ends.
    pub(crate) fn mark_reclaim(&self) {
        self.set(PageFlags::RECLAIM);
    }

    /// The page is not to be written for reclaim, after all.
    pub(crate) fn clear_reclaim(&self) {
        self.clear(PageFlags::RECLAIM);
    }

    // ---- references seen by reclaim ----

    /// Marks the page as seen referenced.
    pub(crate) fn mark_referenced(&self) {
        if !self.has(PageFlags::REFERENCED) {
            self.set(PageFlags::REFERENCED);
        }
    }

    /// Clears the mark; true if it was set.
    #[inline]
    pub(crate) fn take_referenced(&self) -> bool {
        self.has(PageFlags::REFERENCED)
            && self.clear(PageFlags::REFERENCED).contains(PageFlags::REFERENCED)
    }

    /// The page belongs to the workingset.
    pub(crate) fn mark_workingset(&self) {
        self.set(PageFlags::WORKINGSET);
    }

    /// Sets or clears MLOCKED; returns what it was.
    pub(crate) fn set_mlocked(&self, on: bool) -> bool {
        let was = if on { self.set(PageFlags::MLOCKED) } else { self.clear(PageFlags::MLOCKED) };
        was.contains(PageFlags::MLOCKED)
    }

    /// Sets or clears RETAINED; returns what it was. The holder of the page lock sets it.
    pub(crate) fn set_retained(&self, on: bool) -> bool {
        let flag = PageFlags::RETAINED;
        let was = if on { self.set(flag) } else { self.clear(flag) };
        was.contains(flag)
    }

    // ---- lists: for the holder of the lruvec's lock, or of the isolation token ----

    /// Sets the flags that say "on a list".
    #[inline]
    pub(crate) fn enter_lru(&self) {
        self.set(PageFlags::LRU);
    }

    /// Isolation: the page leaves its list for a token.
    #[inline]
    pub(crate) fn enter_isolation(&self) {
        let flip = PageFlags::LRU.union(PageFlags::ISOLATED).bits();
        let was = self.flags.fetch_xor(flip, Ordering::Relaxed);
        debug_assert!(was & flip == PageFlags::LRU.bits(), "isolating an unlisted {self:?}");
    }

    /// The page returns to a list.
    #[inline]
    pub(crate) fn leave_isolation(&self) {
        let flip = PageFlags::LRU.union(PageFlags::ISOLATED).bits();
        let was = self.flags.fetch_xor(flip, Ordering::Relaxed);
        debug_assert!(was & flip == PageFlags::ISOLATED.bits(), "putting back a listed {self:?}");
    }

    /// The page that a token took off its list does not return to one: its last holder frees it.
    pub(crate) fn end_isolation(&self) {
        self.clear(PageFlags::ISOLATED | PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
    }

    /// The page leaves its list permanently.
    pub(crate) fn leave_lru(&self) {
        self.clear(PageFlags::LRU | PageFlags::ACTIVE | PageFlags::UNEVICTABLE);
    }

    /// Chooses the list to link the page on, which its flags name from now on. MLOCKED and RETAINED
    /// may have changed while the page was on no list. For the holder of the lruvec's lock.
    #[inline(always)]
    pub(crate) fn settle_list(&self) -> LruList {
        let flags = self.flags();
        let either = PageFlags::MLOCKED.union(PageFlags::RETAINED).union(PageFlags::UNEVICTABLE);
        if flags.intersects(either) {
            return self.settle_evictability(flags);
        }
        LruList::of(flags)
    }

    #[cold]
    fn settle_evictability(&self, flags: PageFlags) -> LruList {
        let stays = flags.intersects(PageFlags::MLOCKED.union(PageFlags::RETAINED));
        if stays != flags.contains(PageFlags::UNEVICTABLE) {
            self.choose_list(if stays { ListChoice::Unevictable } else { ListChoice::Inactive });
        }
        self.lru_list()
    }

    /// Chooses the list that the flags name; the caller owns the page's place.
    #[inline]
    pub(crate) fn choose_list(&self, list: ListChoice) {
        let want = match list {
            ListChoice::Inactive => PageFlags::empty(),
            ListChoice::Active => PageFlags::ACTIVE,
            ListChoice::Unevictable => PageFlags::UNEVICTABLE,
        };
        let group = PageFlags::ACTIVE.union(PageFlags::UNEVICTABLE);
        let now = self.flags() & group;
        if now != want {
            let flip = now.symmetric_difference(want);
            self.flags.fetch_xor(flip.bits(), Ordering::Relaxed);
        }
    }

    // ---- seeded damage, for the tests of `validate()` ----

    /// Flips flags without any lock or check. Only for tests of `validate()`, to show that damage
    /// is found.
    #[doc(hidden)]
    pub fn corrupt_flags(&self, flip: PageFlags) {
        self.flags.fetch_xor(flip.bits(), Ordering::Relaxed);
    }

    /// Shifts the counts, like [`Page::corrupt_flags`].
    #[doc(hidden)]
    pub fn corrupt_counts(&self, mapcount: i16, refs: i32) {
        self.mapcount.fetch_add(mapcount as u16, Ordering::Relaxed);
        self.refs.fetch_add(refs as u32, Ordering::Relaxed);
    }

    /// Overwrites owner and index, like [`Page::corrupt_flags`].
    #[doc(hidden)]
    pub fn corrupt_owner(&self, owner: u32, index: u32) {
        self.set_owner(owner, index);
    }
}
