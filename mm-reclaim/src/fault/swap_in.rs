//! Swap-in: a fault on a swap entry (SWAP-05).
//!
//! The page may still be in the swap cache, even under write-back; then nothing is read.
//! Else a page is allocated, entered into the cache (whoever is second uses the first
//! one's page) and read. With the page lock held the entry is looked at again, and the
//! page is mapped: with write permission if the faulting space is its only user.
//!
//! A page that could not be read leaves the cache again. Whoever asked for that very read
//! gets a bus error; whoever came upon a failed read-ahead, or shared the wait, reads for
//! itself, so that each read error ends one access at most (SWAP-07).
//!
//! A refault within the workingset is activated at once (LRU-09, LRU-11).
//!
//! Counterpart in Linux: `do_swap_page`, `swap_cluster_readahead`.

use super::{Access, FaultEnd, Faults, Need, Site, bump};
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::base::units::Order;
use crate::env::{BlockDevice, Env, Mapping, PageTables, Prot, Pte, WaitEnd};
use crate::lru::workingset::{Shadow, workingset_size};
use crate::page::{Page, PageFlags, PageLock, PageRef, PageType};
use crate::space::AreaFlags;
use crate::swap::SwapEntry;
use crate::swap::map::Held;
use crate::zone::ZoneId;
use crate::zone::gfp::Gfp;

/// A page of the cache.
struct SwappedIn<'m> {
    page: PageRef<'m>,
    /// It was read for this very need.
    read: bool,
    need: Need,
}

impl<'m, E: Env> Faults<'m, E> {
    /// Resolves a fault on a swap entry, or brings its page back for `swapoff`.
    pub(crate) fn swap_fault(&self, site: Site<'m, E>, raw: u32, need: Need) -> FaultEnd {
        let entry = SwapEntry::from_raw(raw);
        let found = match self.swap.lookup(entry) {
            Some(page) => {
                if need == Need::Touch && page.page().take_readahead() {
                    bump(&site.space.ra_hits);
                }
                SwappedIn { page, read: false, need }
            }
            None => match self.swap_read(entry, need) {
                Ok(Some(found)) => found,
                // The slot changed hands: the entry has changed, too.
                Ok(None) => return FaultEnd::Minor,
                Err(end) => return end,
            },
        };
        let lock = match self.zones.lock_page(&found.page) {
            Ok(lock) => lock,
            Err(WaitEnd::Ready | WaitEnd::TimedOut | WaitEnd::Killed) => {
                self.lru.put(found.page);
                return FaultEnd::Killed;
            }
        };
        let end = self.map_swapped(site, entry, &found, &lock);
        self.zones.unlock(lock);
        self.lru.put(found.page);
        end
    }

    /// Maps a locked page of the cache, if the entry still names it.
    fn map_swapped(
        &self,
        site: Site<'m, E>,
        entry: SwapEntry,
        found: &SwappedIn<'m>,
        lock: &PageLock<'m>,
    ) -> FaultEnd {
        let page = lock.page();
        let is_cached = page.has(PageFlags::SWAPCACHE) && page.private() == entry.raw();
        if !page.has(PageFlags::UPTODATE) {
            // Another who waited for the same read may have been quicker.
            if is_cached {
                self.forget_failed_read(lock);
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
            page.set_mapping(family, site.area.index_of(site.vpn));
        }
        match self.map_entry(site, page, entry, mapping) {
            MapEnd::Done => {}
            MapEnd::Changed => return FaultEnd::Minor,
            MapEnd::TooMany => return FaultEnd::Killed,
        }
        self.after_swap_in(site, entry, lock, write && exclusive);
        // A store to a shared page faults again, and is given a copy then.
        if found.read { FaultEnd::Major } else { FaultEnd::Minor }
    }

    /// A failed read ends the access that asked for it, and no other.
    #[cold]
    fn after_failed_read(&self, found: &SwappedIn<'m>) -> FaultEnd {
        if !found.read {
            return FaultEnd::Minor;
        }
        self.events.count(VmEvent::SwapBusError, 1);
        FaultEnd::BusError
    }

    /// A page whose contents never came leaves the cache; its slot still has them, perhaps.
    #[cold]
    fn forget_failed_read(&self, lock: &PageLock<'m>) {
        let page = lock.page();
        let entry = SwapEntry::from_raw(page.private());
        page.leave_swap_cache();
        self.lru.of(page).add_swapcached(-1);
        self.swap.uncache(entry, self.map.pfn(page), None);
        let last = page.put();
        debug_assert!(!last, "the caller holds a reference");
    }

    /// Turns a swap entry into a mapping of its page, if it still is that entry. The counts
    /// are right whenever the page-table lock is free.
    fn map_entry(
        &self,
        site: Site<'m, E>,
        page: &'m Page,
        entry: SwapEntry,
        new: Mapping,
    ) -> MapEnd {
        let mut tables = site.space.tables.lock();
        let Some(tables) = tables.as_mut() else { return MapEnd::Changed };
        if tables.get(site.vpn) != Pte::Swap(entry.raw()) {
            return MapEnd::Changed;
        }
        if page.add_mapping().is_err() {
            return MapEnd::TooMany;
        }
        tables.replace(site.vpn, Pte::Present(new));
        page.get().leak();
        site.space.add_resident(1);
        site.space.add_swapped(-1);
        MapEnd::Done
    }

    /// The slot has one user less; it is given back when nobody will want it, so that the
    /// page is not written again for nothing, and when it cannot be written: the page needs
    /// another.
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

    /// Reads a slot, whose page was not in the cache just now, into a new page of the cache,
    /// unless another does so first; `None` if the slot is not stored any more. Read-ahead
    /// brings its neighbours too.
    fn swap_read(&self, entry: SwapEntry, need: Need) -> Result<Option<SwappedIn<'m>>, FaultEnd> {
        let device = self.swap.device(entry);
        let gfp = match need {
            Need::Touch => Gfp::HIGHUSER_MOVABLE,
            Need::Unuse => Gfp::HIGHUSER_MOVABLE | Gfp::RETRY_MAYFAIL,
        };
        loop {
            if device.state(entry.slot()).uses == 0 {
                return Ok(None);
            }
            let Some(page) = self.alloc.alloc_page(gfp, Order::ZERO) else {
                return Err(FaultEnd::Killed);
            };
            if let Some(page) = self.start_swap_read(entry, page, false) {
                self.read_ahead(entry);
                return Ok(Some(SwappedIn { page, read: true, need }));
            }
            // Another page was quicker, or the slot is gone.
            if let Some(page) = self.swap.lookup(entry) {
                return Ok(Some(SwappedIn { page, read: false, need }));
            }
        }
    }

    /// Enters a fresh page into the cache and starts reading; `None` if another page was
    /// quicker or the slot is gone (the fresh page is freed then).
    fn start_swap_read(
        &self,
        entry: SwapEntry,
        page: &'m Page,
        ahead: bool,
    ) -> Option<PageRef<'m>> {
        let held = PageRef::adopt(page);
        // The cache's reference, and the entry in the page, before anybody can find it.
        page.get().leak();
        let lock = page.begin_in_swap_cache(entry.raw(), ahead);
        match self.swap.device(entry).cache(entry.slot(), self.map.pfn(page)) {
            Ok(shadow) => {
                self.lru.of(page).add_swapcached(1);
                if let Some(shadow) = shadow {
                    self.workingset_refault(page, Shadow::decode(shadow));
                }
                self.lru.add(page);
                self.swap.readpage(lock);
                Some(held)
            }
            Err(_) => {
                page.leave_swap_cache();
                page.put();
                self.zones.unlock(lock);
                self.lru.put(held);
                None
            }
        }
    }

    /// LRU-09: a page that would still be here had the inactive list been longer by what
    /// the workingset could have spared belongs on the active list.
    fn workingset_refault(&self, page: &Page, shadow: Shadow) {
        self.events.count(VmEvent::WorkingsetRefaultAnon, 1);
        let lruvec = self.lru.set.in_zone(ZoneId::ALL[shadow.zone as usize % ZoneId::ALL.len()]);
        let now = lruvec.clock.load(Ordering::Relaxed);
        let distance = shadow.distance(now);
        if self.turnover.is_watching() {
            self.turnover.note_refault(shadow, now);
        }
        let size = |list| lruvec.size(list);
        if distance > workingset_size(PageType::Anon, size, self.swap.has_free()) {
            return;
        }
        page.choose_list(true, false);
        lruvec.age(1);
        lruvec.refaults[PageType::Anon as usize].fetch_add(1, Ordering::Relaxed);
        self.events.count(VmEvent::WorkingsetActivateAnon, 1);
        if shadow.workingset {
            page.mark_workingset();
            lruvec.note_cost(PageType::Anon, 1);
            self.events.count(VmEvent::WorkingsetRestoreAnon, 1);
        }
    }

    /// Reads the aligned cluster around `entry`, as far as it is stored and memory is at
    /// hand without reclaim. A synchronous device gains nothing by it.
    fn read_ahead(&self, entry: SwapEntry) {
        let cluster = self.swap.page_cluster();
        let device = self.swap.device(entry);
        if cluster == 0 || self.env.blocks().is_synchronous(device.id) {
            return;
        }
        let first = entry.slot() & !((1 << cluster) - 1);
        let mut ahead = 0;
        self.env.blocks().plug();
        for slot in (first..first + (1 << cluster)).filter(|s| *s != entry.slot()) {
            if slot >= device.blocks() || !is_stored(device.state(slot)) {
                continue;
            }
            let gfp = Gfp::MOVABLE | Gfp::NOWARN;
            let Some(page) = self.alloc.alloc_page(gfp, Order::ZERO) else { break };
            let entry = SwapEntry::new(entry.device(), slot);
            if let Some(held) = self.start_swap_read(entry, page, true) {
                ahead += 1;
                self.lru.put(held);
            }
        }
        self.events.count(VmEvent::SwapRa, ahead);
        self.env.blocks().unplug();
    }
}

/// How [`Faults::map_entry`] ended.
enum MapEnd {
    Done,
    /// The entry is another one by now.
    Changed,
    /// The page has as many mappings as it can count.
    TooMany,
}

fn is_stored(state: crate::swap::map::SlotState) -> bool {
    state.uses > 0 && matches!(state.held, Held::Nothing | Held::Shadow(_))
}
