//! Page faults: what user mode asked for, and how it gets it.
//!
//! The caller has no lock. A fault takes the address space's area lock for its whole
//! length, so areas stand still; reclaim may still turn present entries into swap entries
//! under the page-table lock, so every look at an entry is repeated under that lock before
//! it is acted on, and a changed entry ends the fault: the access is simply repeated.
//!
//! ```text
//!   entry            access          what happens
//!   none             any             a zeroed page, mapped (anonymous)
//!   swap             any             the page, from the cache or read in
//!   present, old     any             young (and dirty) is set
//!   present, clean   write allowed   dirty is set
//!   present, shared  write           copied, or reused when exclusive
//! ```
//!
//! Counterpart in Linux: `mm/memory.c`.

use crate::aspace::{AddressSpace, AreaFlags, AreaView, SpaceId};
use crate::env::{Env, FrameMemory, Mapping, PageTables, Prot, Pte};
use crate::gfp::Gfp;
use crate::mm::Mm;
use crate::page::{Page, PageFlags, PageRef};
use crate::stat::VmEvent;
use crate::sync::{AtomicU64, Ordering};
use crate::units::{Order, Vpn};

/// What user mode tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An instruction fetch.
    Exec,
}

impl Access {
    const fn needs(self) -> Prot {
        match self {
            Self::Read => Prot::READ,
            Self::Write => Prot::WRITE,
            Self::Exec => Prot::EXEC,
        }
    }

    const fn is_write(self) -> bool {
        matches!(self, Self::Write)
    }
}

/// How a fault ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a fault may end in a signal"]
pub enum FaultEnd {
    /// The access can be repeated; no I/O was waited for.
    Minor,
    /// The access can be repeated; the page was read in.
    Major,
    /// No area, or the area does not allow it: SIGSEGV.
    BadAddress,
    /// The page could not be read in: SIGBUS.
    BusError,
    /// No memory, or the task was killed meanwhile: it must exit.
    Killed,
}

/// What a swapped page is brought in for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// A program touched it.
    Touch,
    /// Its device goes out of use: nobody has touched it, and nobody shall be killed for it.
    Unuse,
}

/// Where a fault happened, as its steps need it.
pub(crate) struct Site<'m, E: Env> {
    pub(crate) space: &'m AddressSpace<E::Cpu, E::Tables>,
    pub(crate) area: AreaView,
    pub(crate) vpn: Vpn,
    pub(crate) access: Access,
}

impl<E: Env> Clone for Site<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: Env> Copy for Site<'_, E> {}

impl<'m, E: Env> Mm<'m, E> {
    /// Resolves a fault of user mode at `addr`.
    pub fn handle_fault(&self, id: SpaceId, addr: u64, access: Access) -> FaultEnd {
        let space = self.space(id);
        let Some(vpn) = Vpn::of(addr) else { return FaultEnd::BadAddress };
        let mut areas = space.areas.lock(self.env.tasks());
        let Some((handle, area)) = areas.find(&self.areas, vpn) else {
            return match self.refuse_reaped(id) {
                Ok(()) => FaultEnd::BadAddress,
                Err(_) => FaultEnd::Killed,
            };
        };
        let mut view = area.view();
        if !view.prot.contains(access.needs()) {
            return FaultEnd::BadAddress;
        }
        if view.anon == 0 && !self.prepare_anon(handle, &mut view) {
            return FaultEnd::Killed;
        }
        let end = self.fault_in(Site { space, area: view, vpn, access });
        // Counted before the area lock goes, so plain additions do.
        match end {
            FaultEnd::Minor => bump(&space.min_faults),
            FaultEnd::Major => bump(&space.maj_faults),
            FaultEnd::BadAddress | FaultEnd::BusError | FaultEnd::Killed => {}
        }
        end
    }

    /// Resolves a fault under the area lock.
    #[inline(always)]
    fn fault_in(&self, site: Site<'m, E>) -> FaultEnd {
        let pte = {
            let mut tables = site.space.tables.lock();
            let Some(tables) = tables.as_mut() else { return FaultEnd::Killed };
            match tables.get(site.vpn) {
                Pte::None => match self.touch_now(&site, tables) {
                    Some(page) => {
                        // The reference that `init_anon` made for the batch.
                        let held = PageRef::adopt(page);
                        self.lru_add_held(held);
                        return FaultEnd::Minor;
                    }
                    None => Pte::None,
                },
                Pte::Present(mapping) if !needs_copy(&site, mapping) => {
                    tables.mark_accessed(site.vpn, site.access.is_write());
                    return FaultEnd::Minor;
                }
                other => other,
            }
        };
        match pte {
            Pte::None => self.anonymous_fault(site),
            Pte::Swap(entry) => self.swap_fault(site, entry, Need::Touch),
            Pte::Present(mapping) => self.write_protect_fault(site, mapping),
        }
    }

    /// The first touch without detours: a page at hand, a table in place, nothing locked
    /// into memory. All under the page-table lock, so the entry is looked at once.
    #[inline(always)]
    fn touch_now(&self, site: &Site<'m, E>, tables: &mut E::Tables) -> Option<&'m Page> {
        if site.area.flags.contains(AreaFlags::LOCKED) {
            return None;
        }
        let page = self.alloc_page_now(Gfp::HIGHUSER_MOVABLE)?;
        let pfn = self.map.pfn(page);
        self.env.frames().zero(pfn);
        let dirty = site.access.is_write();
        let mapping = Mapping { pfn, prot: site.area.prot, young: true, dirty };
        if tables.set(site.vpn, Pte::Present(mapping)).is_err() {
            self.put(PageRef::adopt(page));
            return None;
        }
        page.init_anon(site.area.anon, site.area.index_of(site.vpn));
        site.space.add_resident(1);
        Some(page)
    }

    /// Gives an area its family at the first touch (`anon_vma_prepare`).
    #[cold]
    fn prepare_anon(&self, handle: u32, view: &mut AreaView) -> bool {
        let Some((anon, family)) = self.anons.take() else { return false };
        let mut members = family.lock();
        self.areas.at(handle).set_anon(anon);
        members.link(&self.areas, handle);
        view.anon = anon;
        true
    }

    /// The first touch: a zeroed page of the caller's own.
    fn anonymous_fault(&self, site: Site<'m, E>) -> FaultEnd {
        let Some(page) = self.alloc_user_page() else { return FaultEnd::Killed };
        let pfn = self.map.pfn(page);
        self.env.frames().zero(pfn);
        page.init_anon(site.area.anon, site.area.index_of(site.vpn));
        let mapping =
            Mapping { pfn, prot: site.area.prot, young: true, dirty: site.access.is_write() };
        self.map_new(site, page, mapping, Pte::None)
    }

    #[inline]
    pub(crate) fn alloc_user_page(&self) -> Option<&'m Page> {
        self.alloc_page(Gfp::HIGHUSER_MOVABLE, Order::ZERO)
    }

    /// Maps a page that nobody else knows yet, with one mapping and one reference, where
    /// `expected` still stands; else frees it, for the access is repeated.
    fn map_new(
        &self,
        site: Site<'m, E>,
        page: &'m Page,
        mapping: Mapping,
        expected: Pte,
    ) -> FaultEnd {
        match self.set_entry(site, Pte::Present(mapping), expected) {
            SetEnd::Done => {
                self.enter_lists(site, page);
                FaultEnd::Minor
            }
            SetEnd::Changed => {
                self.drop_unmapped(page);
                FaultEnd::Minor
            }
            SetEnd::NoMemory => {
                self.drop_unmapped(page);
                FaultEnd::Killed
            }
        }
    }

    /// A page that has just been mapped joins the lists, with the reference that
    /// `init_anon` made for the batch.
    fn enter_lists(&self, site: Site<'m, E>, page: &'m Page) {
        if site.area.flags.contains(AreaFlags::LOCKED) {
            page.set_mlocked(true);
            page.choose_list(false, true);
            self.count(VmEvent::UnevictablePgsMlocked, 1);
        }
        self.lru_add_held(PageRef::adopt(page));
    }

    /// A page that was prepared for a mapping that did not come about.
    fn drop_unmapped(&self, page: &'m Page) {
        page.remove_mapping();
        self.put(PageRef::adopt(page));
        self.put(PageRef::adopt(page));
    }

    /// Maps a page where the entry still is `expected`, making the tables it needs.
    #[inline]
    fn set_entry(&self, site: Site<'m, E>, new: Pte, expected: Pte) -> SetEnd {
        loop {
            {
                let mut tables = site.space.tables.lock();
                let Some(tables) = tables.as_mut() else { return SetEnd::NoMemory };
                if tables.get(site.vpn) != expected {
                    return SetEnd::Changed;
                }
                if tables.set(site.vpn, new).is_ok() {
                    site.space.add_resident(1);
                    return SetEnd::Done;
                }
            }
            if !self.grow_tables(site.space, site.vpn) {
                return SetEnd::NoMemory;
            }
        }
    }

    /// Adds one missing table on the way to `vpn`; false without memory.
    #[cold]
    pub(crate) fn grow_tables(&self, space: &AddressSpace<E::Cpu, E::Tables>, vpn: Vpn) -> bool {
        let Some(frame) = self.alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::ZERO) else {
            return false;
        };
        let unused = match space.tables.lock().as_mut() {
            Some(tables) => {
                let unused = tables.install_table(vpn, frame);
                space.table_frames.store(tables.table_frames(), Ordering::Relaxed);
                unused
            }
            None => Some(frame),
        };
        if let Some(frame) = unused {
            self.free_pages(frame, Order::ZERO);
        }
        true
    }

    /// A store to a present page that may not be stored to: the area allows it, so the
    /// page is shared with another process, or was.
    fn write_protect_fault(&self, site: Site<'m, E>, mapping: Mapping) -> FaultEnd {
        let page = self.map.page(mapping.pfn);
        // Taken under the page-table lock, while the entry shows that the page is mapped.
        let held = {
            let tables = site.space.tables.lock();
            match tables.as_ref().map(|t| t.get(site.vpn)) {
                Some(Pte::Present(now)) if now.pfn == mapping.pfn => page.get(),
                _ => return FaultEnd::Minor,
            }
        };
        if self.reuse_page(&held) {
            self.make_writable(site, mapping);
            self.count(VmEvent::CowReuse, 1);
            self.put(held);
            return FaultEnd::Minor;
        }
        self.copy_page(site, held, mapping)
    }

    /// Whether the faulting mapping is the page's only user: it gives its slot back then.
    pub(crate) fn reuse_page(&self, held: &PageRef<'m>) -> bool {
        let page = held.page();
        if page.mapcount() != 1 {
            return false;
        }
        if !page.has(PageFlags::SWAPCACHE) {
            return page.refs() <= 2 || self.refs_after_drain(page) <= 2;
        }
        let Some(lock) = page.try_lock() else { return false };
        let alone = page.mapcount() == 1
            && (!page.has(PageFlags::SWAPCACHE) || self.try_to_free_swap(&lock));
        self.unlock(lock);
        alone
    }

    /// A batch may hold a reference: it is emptied before the count is believed.
    fn refs_after_drain(&self, page: &Page) -> u32 {
        self.lru_add_drain();
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

    /// Gives the faulting space a page of its own with the same contents.
    fn copy_page(&self, site: Site<'m, E>, held: PageRef<'m>, old: Mapping) -> FaultEnd {
        let Some(page) = self.alloc_user_page() else {
            self.put(held);
            return FaultEnd::Killed;
        };
        let pfn = self.map.pfn(page);
        self.env.frames().copy(pfn, old.pfn);
        page.init_anon(site.area.anon, site.area.index_of(site.vpn));
        let new = Mapping { pfn, prot: site.area.prot, young: true, dirty: true };
        let replaced = {
            let mut tables = site.space.tables.lock();
            match tables.as_mut().map(|t| (t.get(site.vpn), t)) {
                Some((Pte::Present(now), tables)) if now.pfn == old.pfn => {
                    // Break before make: no CPU may see two frames at one address.
                    tables.replace(site.vpn, Pte::None);
                    let entry = crate::env::TlbEntry { asid: tables.asid(), vpn: site.vpn };
                    self.env.flush_tlb(&[entry]);
                    let set = tables.set(site.vpn, Pte::Present(new));
                    debug_assert!(set.is_ok(), "the table exists");
                    held.page().remove_mapping();
                    true
                }
                _ => false,
            }
        };
        if replaced {
            self.put(PageRef::adopt(held.page()));
            self.enter_lists(site, page);
            self.count(VmEvent::CowCopy, 1);
            // That mapping may have been the last, while somebody else held the page lock.
            self.drop_unwanted(held.page());
        } else {
            self.drop_unmapped(page);
        }
        self.put(held);
        FaultEnd::Minor
    }
}

/// How [`Mm::set_entry`] ended.
enum SetEnd {
    Done,
    /// The entry was not what it was expected to be.
    Changed,
    NoMemory,
}

/// Adds one to a count that the area lock guards.
#[inline(always)]
fn bump(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// A store to a page that the entry does not allow, although the area does.
fn needs_copy<E: Env>(site: &Site<'_, E>, mapping: Mapping) -> bool {
    site.access.is_write() && !mapping.prot.contains(Prot::WRITE)
}

#[cfg(test)]
mod tests;
