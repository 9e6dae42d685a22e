//! The page cache: pages that stand for a piece of something stored elsewhere.
//!
//! Data: a *store* keeps, for each piece, the frame of its page or the shadow of one that was
//! evicted. There are two: the slot tables of swap devices ([`crate::swap`]), and the indices of
//! files ([`crate::file`]). What both need is here: lookup, insertion, freeze
//! and removal, shadows, and the completion of transfers.
//!
//! Owner: the store owns one reference to each page in it. The page's flags name the store it is
//! in, and `private` or `place` the position there; both change under the page lock.
//!
//! ```text
//!            enter                         freeze_and_remove
//!   fresh ----------> locked, being read        +-------> frozen -> its zone; a shadow stays
//!                          | end_read           |
//!                          v                    |
//!                     in the cache, up to date -+-------> in no cache: remove
//!                          ^        |
//!                          |        | begin_write
//!                 end_write+--------v
//!                        under write-back
//! ```
//!
//! **A lookup holds no lock or reference at first**: it reads the store, takes a reference unless
//! the page is free or frozen, and reads the store again. If that still names the frame, the page
//! was in the cache while the reference was taken. A caller that uses the page's contents takes the
//! page lock and checks the page once more.
//!
//! Locks: the page lock, held by the caller, and the store's own locks, which nest inside it and
//! around nothing.
//!
//! Counterpart in Linux: `struct address_space`, `filemap_get_entry`, `__remove_mapping`,
//! `mm/workingset.c`.

mod refault;
mod transfer;

use crate::base::stat::VmEvents;
use crate::base::sync::{NoPreempt, Ordering};
use crate::base::units::Pfn;
use crate::block::writeback::Writeback;
use crate::env::{Cpu, Env};
use crate::lru::Lru;
use crate::lru::turnover::Turnover;
use crate::lru::workingset::Shadow;
use crate::page::memmap::MemMap;
use crate::page::{FrozenPage, LockedPage, NewPage, Page, PageFlags, PageLock, PageRef};
use crate::zone::Zones;

/// Records what is cached: the frame of a page, or the shadow of an evicted one.
pub(crate) trait Store {
    /// The name of a piece.
    type Key: Copy;

    /// The frame of the page that is cached for a piece. Acquire: the page is seen as it was when
    /// inserted.
    fn cached(&self, key: Self::Key) -> Option<Pfn>;

    /// Inserts a frame; returns the shadow that it replaces, if there was one.
    ///
    /// # Errors
    /// Another page was inserted first, or there is no such piece any more.
    fn enter(&self, key: Self::Key, frame: Pfn) -> Result<Option<u32>, NotEntered>;

    /// Removes an inserted frame and leaves a shadow.
    fn leave(&self, key: Self::Key, frame: Pfn, shadow: Option<u32>);
}

/// A page was not inserted.
pub(crate) struct NotEntered;

/// Why a page cannot be evicted from its cache now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Busy {
    /// There are other references.
    Referenced,
    /// It is dirty.
    Dirty,
}

/// What the users of the cache have in common.
pub(crate) struct Cache<'m, E: Env> {
    pub(crate) env: E,
    pub(crate) map: MemMap<'m>,
    pub(crate) zones: &'m Zones<'m, E>,
    pub(crate) lru: &'m Lru<'m, E>,
    pub(crate) writeback: &'m Writeback<E>,
    turnover: &'m Turnover,
    pub(crate) events: &'m VmEvents<E::Cpu>,
}

impl<'m, E: Env> Cache<'m, E> {
    pub(crate) fn new(
        lru: &'m Lru<'m, E>,
        writeback: &'m Writeback<E>,
        turnover: &'m Turnover,
    ) -> Self {
        let (zones, events) = (lru.zones, lru.events);
        Self { env: zones.env, map: zones.map, zones, lru, writeback, turnover, events }
    }

    /// The page was frozen: it is about to be thawed; or it leaves the cache, and is perhaps gone.
    #[cold]
    #[inline(never)]
    fn await_thaw<S: Store>(store: &S, key: S::Key, pfn: Pfn) {
        if store.cached(key) == Some(pfn) {
            E::Cpu::relax();
        }
    }

    /// The page of a piece, if it is cached (`filemap_get_entry`).
    #[doc(alias = "filemap_get_entry")]
    #[inline(always)]
    pub(crate) fn lookup<S: Store>(&self, store: &S, key: S::Key) -> Option<PageRef<'m>> {
        loop {
            let pfn = store.cached(key)?;
            let Some(found) = self.map.page(pfn).get_unless_zero() else {
                Self::await_thaw(store, key, pfn);
                continue;
            };
            if store.cached(key) == Some(pfn) {
                return Some(found);
            }
            self.lru.put(found);
        }
    }

    /// Inserts a fresh page, which `begin` marks as cached and locked, with its contents still to
    /// be read. Returns the lock, a reference for the caller, and the shadow of the page that was
    /// here before.
    ///
    /// # Errors
    /// The page was not inserted, and is freed.
    #[doc(alias = "__filemap_add_folio")]
    #[inline]
    pub(crate) fn enter<S: Store>(
        &self,
        store: &S,
        key: S::Key,
        new: NewPage<'m>,
        begin: impl FnOnce(&'m Page) -> PageLock<'m>,
    ) -> Result<(PageLock<'m>, PageRef<'m>, Option<u32>), NotEntered> {
        let held = new.into_ref();
        let page = held.page();
        // The store's reference and the page's marks come first, before the page can be found.
        page.get().leak();
        let lock = begin(page);
        match store.enter(key, self.map.pfn(page)) {
            Ok(shadow) => Ok((lock, held, shadow)),
            Err(refused) => {
                page.leave_cache();
                page.put();
                self.zones.unlock(lock);
                self.lru.put(held);
                Err(refused)
            }
        }
    }

    /// Removes a page from its cache; the page is then the only copy of its contents. The caller
    /// holds a reference, and the page is not under write-back.
    #[doc(alias = "filemap_remove_folio")]
    pub(crate) fn remove<S: Store>(&self, store: &S, key: S::Key, lock: &PageLock<'m>) {
        let page = lock.page();
        page.leave_cache();
        store.leave(key, self.map.pfn(page), None);
        let last = page.put();
        debug_assert!(!last, "the caller holds a reference");
    }

    /// Evicts a clean page from its cache, if the isolation and the cache hold its only references
    /// (SPL-16); leaves a shadow.
    ///
    /// # Errors
    /// Returns the page, with the reason.
    #[doc(alias = "__remove_mapping")]
    #[inline]
    pub(crate) fn freeze_and_remove<S: Store>(
        &self,
        store: &S,
        key: S::Key,
        page: LockedPage<'m>,
    ) -> Result<FrozenPage<'m>, (LockedPage<'m>, Busy)> {
        let nr = self.map.nr_pages(page.page());
        let expected = 1 + nr;
        let whole = NoPreempt::<E::Cpu>::new();
        let frozen = match page.freeze(expected, &whole) {
            Ok(frozen) => frozen,
            Err(page) => return Err((page, Busy::Referenced)),
        };
        // Tested after the freeze: a page cannot be dirtied without a reference.
        if frozen.page().has(PageFlags::DIRTY) {
            return Err((frozen.thaw(expected), Busy::Dirty));
        }
        let shadow = self.workingset_eviction(&frozen, nr);
        store.leave(key, self.map.pfn(frozen.page()), Some(shadow));
        Ok(frozen.settle())
    }

    /// Advances the clock and makes the shadow that the page leaves behind.
    #[inline]
    fn workingset_eviction(&self, frozen: &FrozenPage<'m>, nr: u32) -> u32 {
        let page = frozen.page();
        let lruvec = self.lru.of(page);
        let clock = lruvec.clock.fetch_add(nr, Ordering::Relaxed);
        let workingset = page.has(PageFlags::WORKINGSET);
        Shadow { clock, zone: page.zone_index() as u8, workingset }.encode()
    }
}
