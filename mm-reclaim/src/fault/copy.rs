//! Copy-on-write: a store to a page that was shared when it was mapped.
//!
//! The page is reused if the faulting mapping is its only user, else copied. Both recheck the entry
//! under the page-table lock: reclaim may have unmapped the page concurrently, and another task of
//! the space may have resolved the same fault. A copy is mapped only where the old page is still
//! mapped read-only; else that task's stores would be lost with the old page.
//!
//! Counterpart in Linux: `do_wp_page`, `wp_page_copy`.

use super::{Detour, FaultEnd, Faults, Site};
use crate::base::stat::VmEvent;
use crate::base::units::Pfn;
use crate::env::{Env, FrameMemory, Mapping, PageTables, Prot, Pte, TlbEntry};
use crate::page::{NewPage, Page, PageFlags, PageRef};
use crate::space::{AreaFlags, Backing};

impl<'m, E: Env> Faults<'m, E> {
    /// A store to a present, read-only page: the area allows it, so the page is shared with another
    /// process, or was.
    #[doc(alias = "do_wp_page")]
    pub(super) fn write_protect_fault(
        &self,
        site: Site<'m, E>,
        mapping: Mapping,
    ) -> Result<FaultEnd, Detour<'m, E>> {
        let is_shared = site.area.flags.contains(AreaFlags::SHARED);
        if !is_shared && site.area.family.is_none() {
            return Err(Detour::Family);
        }
        if self.spaces.is_zero_page(mapping.pfn) {
            let end = self.replace_zero_page(site);
            return Ok(self.counted(&site, end));
        }
        let page = self.map.page(mapping.pfn);
        // Taken under the page-table lock, while the entry shows that the page is mapped.
        let found = {
            let tables = site.space.tables.lock();
            match tables.as_ref().map(|t| t.get(site.vpn)) {
                Some(Pte::Present(now)) if now.pfn == mapping.pfn => Some(page.get()),
                _ => None,
            }
        };
        let Some(held) = found else { return Ok(self.counted(&site, FaultEnd::Minor)) };
        if let (true, Backing::File(id)) = (is_shared, site.area.backing) {
            return self.store_to_shared(site, id, held);
        }
        if self.reuse_page(&held) {
            self.own_page(&site, page);
            self.make_writable(site, mapping);
            self.events.count(VmEvent::CowReuse, 1);
            self.lru.put(held);
            return Ok(self.counted(&site, FaultEnd::Minor));
        }
        let end = self.copy_page(site, held, mapping);
        Ok(self.counted(&site, end))
    }

    fn counted(&self, site: &Site<'m, E>, end: FaultEnd) -> FaultEnd {
        let _tables = site.space.tables.lock();
        super::count_fault(site.space, end)
    }

    /// Whether the faulting mapping is the page's only user: if so, its slot is freed.
    #[doc(alias = "wp_page_reuse")]
    pub(crate) fn reuse_page(&self, held: &PageRef<'m>) -> bool {
        let page = held.page();
        if page.mapcount() != 1 || page.has(PageFlags::FILE) {
            return false;
        }
        if !page.has(PageFlags::SWAPCACHE) {
            return page.refs() <= 2 || self.refs_after_drain(page) <= 2;
        }
        let Some(lock) = page.try_lock() else { return false };
        let alone = page.mapcount() == 1
            && (!page.has(PageFlags::SWAPCACHE) || self.swap.try_to_free_swap(&lock));
        self.zones.unlock(lock);
        alone && (page.refs() <= 2 || self.refs_after_drain(page) <= 2)
    }

    /// A batch may hold a reference: it is drained before the count is used.
    fn refs_after_drain(&self, page: &Page) -> u32 {
        self.lru.drain();
        page.refs()
    }

    fn make_writable(&self, site: Site<'m, E>, old: Mapping) {
        let mut tables = site.space.tables.lock();
        let Some(tables) = tables.as_mut() else { return };
        let Pte::Present(now) = tables.get(site.vpn) else { return };
        if now.pfn == old.pfn {
            let new = Mapping { prot: site.area.prot, young: true, dirty: true, ..now };
            tables.replace(site.vpn, Pte::Present(new));
        }
    }

    /// Gives the faulting space a private copy of the page.
    #[doc(alias = "wp_page_copy")]
    fn copy_page(&self, site: Site<'m, E>, held: PageRef<'m>, old: Mapping) -> FaultEnd {
        let Some(new) = self.alloc_user_page() else {
            self.lru.put(held);
            return FaultEnd::Killed;
        };
        let to = self.map.pfn(new.page());
        match held.page().has(PageFlags::FILE) {
            true => self.env.frames().copy_shared(to, old.pfn),
            false => self.env.frames().copy(to, old.pfn),
        }
        if self.replace_page(site, old.pfn, new, true) {
            self.events.count(VmEvent::CowCopy, 1);
            self.leave_mapping(site, held.page());
        }
        self.lru.put(held);
        FaultEnd::Minor
    }

    /// Gives the faulting space a private zeroed page in place of the zero page.
    pub(crate) fn replace_zero_page(&self, site: Site<'m, E>) -> FaultEnd {
        let Some(new) = self.alloc_user_page() else { return FaultEnd::Killed };
        self.env.frames().zero(self.map.pfn(new.page()));
        self.replace_page(site, self.spaces.zero_pfn(), new, site.access.is_write());
        FaultEnd::Minor
    }

    /// Maps a fresh page where `old` is still mapped; false, with the page freed, if it is not.
    fn replace_page(&self, site: Site<'m, E>, old: Pfn, new: NewPage<'m>, dirty: bool) -> bool {
        match self.replace_mapping(site, old, new, dirty) {
            Ok(held) => {
                self.enter_lists(site, held);
                true
            }
            Err(unused) => {
                self.lru.put(unused.into_ref());
                false
            }
        }
    }

    /// The page-table half of [`Faults::replace_page`]. Break before make: no CPU may see two
    /// frames at one address.
    fn replace_mapping(
        &self,
        site: Site<'m, E>,
        old: Pfn,
        new: NewPage<'m>,
        dirty: bool,
    ) -> Result<PageRef<'m>, NewPage<'m>> {
        let mut locked = site.space.tables.lock();
        let tables = match locked.as_mut().map(|t| (t.get(site.vpn), t)) {
            // A writable one by now was mapped by another task that shares the space.
            Some((Pte::Present(now), tables)) if is_still(now, old) => tables,
            _ => return Err(new),
        };
        let pfn = self.map.pfn(new.page());
        let mapping = Mapping { pfn, prot: site.area.prot, young: true, dirty };
        tables.replace(site.vpn, Pte::None);
        self.env.flush_tlb(&[TlbEntry { asid: tables.asid(), vpn: site.vpn }]);
        let set = tables.set(site.vpn, Pte::Present(mapping));
        debug_assert!(set.is_ok(), "the table exists");
        if !self.spaces.is_zero_page(old) {
            self.map.page(old).remove_mapping();
            site.space.add_resident(-1);
        }
        Ok(self.mapped(&site, new))
    }

    /// A mapping of `page`, to which the caller has a reference, was replaced: drops its counts and
    /// reference. It may have been the last, or the last locked one.
    fn leave_mapping(&self, site: Site<'m, E>, page: &'m Page) {
        if site.area.flags.contains(AreaFlags::LOCKED) {
            self.rmap.munlock_page(page);
        }
        self.lru.put(PageRef::adopt(page));
        self.swap.drop_unwanted(page);
    }
}

/// Whether the entry still maps `old` read-only.
fn is_still(now: Mapping, old: Pfn) -> bool {
    now.pfn == old && !now.prot.contains(Prot::WRITE)
}
