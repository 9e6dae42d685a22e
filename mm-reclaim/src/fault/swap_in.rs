//! Swap-in: a fault on a swap entry (SWAP-05).
//!
//! The page may still be in the swap cache, even under write-back; then nothing is read.
//! Else a page is allocated, added to the cache (a second task uses the first one's page) and read.
//! With the page lock held the entry is rechecked, and the page is mapped: with write permission if
//! the faulting space is its only user.
//!
//! A page that could not be read leaves the cache again. The fault that started the read gets a bus
//! error; one that found a failed read-ahead, or shared the wait, reads again, so that each read
//! error ends one access at most (SWAP-07).
//!
//! A refault within the workingset is activated at once (LRU-09, LRU-11).
//!
//! Counterpart in Linux: `do_swap_page`.

use super::{Access, Detour, FaultEnd, Faults, Need, Patience, Site, count_fault};
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::base::units::Order;
use crate::env::{Env, Mapping, PageTables, Prot, Pte, WaitEnd};
use crate::page::{PageFlags, PageLock, PageRef};
use crate::space::AreaFlags;
use crate::swap::{Ahead, NotPresent, SwapEntry};
use crate::zone::gfp::Gfp;

/// A page of the cache.
pub(super) struct SwappedIn<'m> {
    pub(super) page: PageRef<'m>,
    entry: SwapEntry,
    /// It was read by this fault.
    pub(super) read: bool,
    need: Need,
}

impl SwappedIn<'_> {
    /// Whether the page is still that of the slot. For the holder of the page lock.
    fn is_cached(&self) -> bool {
        let page = self.page.page();
        page.has(PageFlags::SWAPCACHE) && page.private() == self.entry.raw()
    }
}

impl<'m, E: Env> Faults<'m, E> {
    /// Resolves a fault on a swap entry, or reads its page in for `swapoff`. A fault that has not
    /// waited yet does not wait here.
    #[doc(alias = "do_swap_page")]
    pub(super) fn swap_fault(
        &self,
        site: Site<'m, E>,
        entry: SwapEntry,
        need: Need,
        patience: Patience,
    ) -> Result<FaultEnd, Detour<'m, E>> {
        let found = match self.swap.lookup(entry) {
            Some(page) => {
                let was_ahead = page.page().take_readahead();
                if need == Need::Touch {
                    site.space.ra_hits.fetch_add(u64::from(was_ahead), Ordering::Relaxed);
                    self.note_cache_hit(&site, was_ahead);
                }
                SwappedIn { page, entry, read: patience == Patience::Read, need }
            }
            None => match self.swap_read(&site, entry, need) {
                Ok(Some(found)) => found,
                // The slot was reused: the entry has changed, too.
                Ok(None) => return Ok(FaultEnd::Minor),
                Err(end) => return Ok(end),
            },
        };
        let lock = match found.page.page().try_lock() {
            Some(lock) => lock,
            None if patience == Patience::None => return Err(Detour::Wait(found)),
            None => match self.zones.lock_page(&found.page) {
                Ok(lock) => lock,
                Err(WaitEnd::Ready | WaitEnd::TimedOut | WaitEnd::Killed) => {
                    self.lru.put(found.page);
                    return Ok(FaultEnd::Killed);
                }
            },
        };
        let end = self.map_swapped(site, &found, &lock);
        self.zones.unlock(lock);
        self.lru.put(found.page);
        Ok(end)
    }

    /// Waits until a page of the cache is read, without the area lock. Returns it, up to date or no
    /// longer in the cache.
    ///
    /// # Errors
    /// The read failed and was started by this fault, or the caller was killed.
    pub(super) fn wait_for_read(&self, found: SwappedIn<'m>) -> Result<SwappedIn<'m>, FaultEnd> {
        let Ok(lock) = self.zones.lock_page(&found.page) else {
            self.lru.put(found.page);
            return Err(FaultEnd::Killed);
        };
        let is_read = lock.page().has(PageFlags::UPTODATE);
        if !is_read && found.is_cached() {
            self.swap.forget_failed_read(&lock);
        }
        self.zones.unlock(lock);
        if is_read || !found.read {
            return Ok(found);
        }
        self.lru.put(found.page);
        self.events.count(VmEvent::SwapBusError, 1);
        Err(FaultEnd::BusError)
    }

    /// Maps a locked page of the cache, if the entry still names it.
    fn map_swapped(
        &self,
        site: Site<'m, E>,
        found: &SwappedIn<'m>,
        lock: &PageLock<'m>,
    ) -> FaultEnd {
        let (page, entry) = (lock.page(), found.entry);
        let is_cached = found.is_cached();
        if !page.has(PageFlags::UPTODATE) {
            // Another task that waited for the same read may have been first.
            if is_cached {
                self.swap.forget_failed_read(lock);
            }
            return self.after_failed_read(found);
        }
        if !is_cached {
            return FaultEnd::Minor;
        }
        let exclusive = !page.is_mapped() && self.swap.slot_uses(page) == 1;
        let writable = exclusive && site.area.prot.contains(Prot::WRITE);
        let write = site.access == Access::Write;
        let prot = if writable { site.area.prot } else { site.area.prot - Prot::WRITE };
        let young = found.need == Need::Touch;
        let mapping = Mapping { pfn: self.map.pfn(page), prot, young, dirty: writable && write };
        if !page.is_mapped() {
            let family = self.family_of_cached(&site, page, exclusive);
            page.set_owner(family, site.area.index_of(site.vpn));
        }
        // A store to a shared page faults again, and then gets a copy.
        let end = if found.read { FaultEnd::Major } else { FaultEnd::Minor };
        match self.map_entry(site, found, mapping, end) {
            Ok(end) => {
                self.after_swap_in(site, entry, lock, write && exclusive);
                end
            }
            Err(end) => end,
        }
    }

    /// A failed read ends the access that started it, and no other.
    #[cold]
    fn after_failed_read(&self, found: &SwappedIn<'m>) -> FaultEnd {
        if !found.read {
            return FaultEnd::Minor;
        }
        self.events.count(VmEvent::SwapBusError, 1);
        FaultEnd::BusError
    }

    /// Turns a swap entry into a mapping of its page, if the entry is unchanged. The counts are
    /// right whenever the page-table lock is free; that of the fault, which ends as `end`, is one
    /// of them.
    ///
    /// # Errors
    /// How the fault ends if the entry has changed, or the page has the maximum number of mappings.
    fn map_entry(
        &self,
        site: Site<'m, E>,
        found: &SwappedIn<'m>,
        new: Mapping,
        end: FaultEnd,
    ) -> Result<FaultEnd, FaultEnd> {
        let page = found.page.page();
        let mut tables = site.space.tables.lock();
        let Some(tables) = tables.as_mut() else { return Err(FaultEnd::Minor) };
        if tables.get(site.vpn) != NotPresent::Swap(found.entry).into() {
            return Err(FaultEnd::Minor);
        }
        if page.add_mapping().is_err() {
            return Err(FaultEnd::Killed);
        }
        tables.replace(site.vpn, Pte::Present(new));
        page.get().leak();
        site.space.add_resident(1);
        site.space.add_swapped(-1);
        Ok(match found.need {
            Need::Touch => count_fault(site.space, end),
            Need::Unuse => end,
        })
    }

    /// The slot has one user less. If that was the last, it is freed when the page is dirtied or
    /// locked, so that its contents will not be used again, when it is broken, and when swap is
    /// getting full.
    fn after_swap_in(
        &self,
        site: Site<'m, E>,
        entry: SwapEntry,
        lock: &PageLock<'m>,
        dirtied: bool,
    ) {
        let page = lock.page();
        let slot = self.swap.free(entry);
        let locked = site.area.flags.contains(AreaFlags::LOCKED);
        if locked {
            self.rmap.mlock_page(page);
        }
        if dirtied || locked || slot.broken || self.swap.is_full() {
            self.swap.try_to_free_swap(lock);
        }
    }

    /// Reads a slot, whose page was not in the cache, into a new page of the cache, unless another
    /// task does so first; `None` if the slot is not stored any more. Read-ahead reads its
    /// neighbours too.
    fn swap_read(
        &self,
        site: &Site<'m, E>,
        entry: SwapEntry,
        need: Need,
    ) -> Result<Option<SwappedIn<'m>>, FaultEnd> {
        let device = self.swap.device(entry);
        let gfp = match need {
            Need::Touch => Gfp::HIGHUSER_MOVABLE,
            Need::Unuse => Gfp::HIGHUSER_MOVABLE | Gfp::RETRY_MAYFAIL,
        };
        loop {
            if device.state(entry.slot()).uses == 0 {
                return Ok(None);
            }
            let new = self.alloc.alloc_page(gfp, Order::ZERO).ok_or(FaultEnd::Killed)?;
            if let Ok(page) = self.swap.read_into(entry, new, Ahead::No) {
                self.read_ahead(site, entry);
                return Ok(Some(SwappedIn { page, entry, read: true, need }));
            }
            // Another page was added first, or the slot is gone.
            if let Some(page) = self.swap.lookup(entry) {
                return Ok(Some(SwappedIn { page, entry, read: false, need }));
            }
        }
    }
}
