//! Page faults: what user mode asked for, and how it gets it.
//!
//! The caller has no lock. A fault takes the address space's area lock for its whole
//! length, so areas stand still; reclaim may still turn present entries into swap entries
//! under the page-table lock, so every look at an entry is repeated under that lock before
//! it is acted on, and a changed entry ends the fault: the access is simply repeated.
//!
//! ```text
//!   entry            access          what happens
//!   none             read            the zero page, mapped read-only
//!   none             write           a zeroed page, mapped (anonymous)
//!   zero page        write           replaced by a zeroed page
//!   swap             any             the page, from the cache or read in
//!   present, old     any             young (and dirty) is set
//!   present, clean   write allowed   dirty is set
//!   present, shared  write           copied, or reused when exclusive
//! ```
//!
//! Counterpart in Linux: `mm/memory.c`.

mod family;
mod swap_in;
mod unuse;

pub use unuse::SwapOffError;

use crate::alloc::Alloc;
use crate::base::stat::{VmEvent, VmEvents};
use crate::base::sync::{AtomicU64, Ordering};
use crate::base::units::{Order, Pfn, Vpn};
use crate::env::{Env, FrameMemory, Mapping, NoTable, PageTables, Prot, Pte, TlbEntry};
use crate::lru::Lru;
use crate::lru::turnover::Turnover;
use crate::page::memmap::MemMap;
use crate::page::{Page, PageFlags, PageRef};
use crate::rmap::Rmap;
use crate::space::{AreaFlags, AreaView, SpaceId, SpaceOf, Spaces};
use crate::swap::Swap;
use crate::zone::Zones;
use crate::zone::gfp::Gfp;

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
    pub(crate) space: &'m SpaceOf<'m, E>,
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

impl<E: Env> Site<'_, E> {
    /// Untouched memory is read, and need not stay resident.
    #[inline(always)]
    fn wants_zero_page(&self) -> bool {
        !self.access.is_write() && !self.area.flags.contains(AreaFlags::LOCKED)
    }
}

/// The resolution of page faults.
pub(crate) struct Faults<'m, E: Env> {
    env: E,
    map: MemMap<'m>,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    swap: &'m Swap<'m, E>,
    spaces: &'m Spaces<'m, E>,
    rmap: &'m Rmap<'m, E>,
    alloc: &'m Alloc<'m, E>,
    turnover: &'m Turnover,
    events: &'m VmEvents<E::Cpu>,
}

impl<'m, E: Env> Faults<'m, E> {
    pub(crate) fn new(
        lru: &'m Lru<'m, E>,
        swap: &'m Swap<'m, E>,
        spaces: &'m Spaces<'m, E>,
        rmap: &'m Rmap<'m, E>,
        alloc: &'m Alloc<'m, E>,
        turnover: &'m Turnover,
    ) -> Self {
        let zones = lru.zones;
        let (env, map, events) = (zones.env, zones.map, lru.events);
        Self { env, map, zones, lru, swap, spaces, rmap, alloc, turnover, events }
    }

    /// Resolves a fault of user mode at `addr`. In a space that does not exist every address
    /// is bad.
    pub fn handle_fault(&self, id: SpaceId, addr: u64, access: Access) -> FaultEnd {
        let Ok(space) = self.spaces.find(id) else { return FaultEnd::BadAddress };
        let Some(vpn) = Vpn::of(addr) else { return FaultEnd::BadAddress };
        let mut index = space.areas.lock(self.env.tasks());
        let Some((area, mut view)) = index.find(vpn) else {
            return match space.refuse_reaped() {
                Ok(()) => FaultEnd::BadAddress,
                Err(_) => FaultEnd::Killed,
            };
        };
        if !view.prot.contains(access.needs()) {
            return FaultEnd::BadAddress;
        }
        if view.family == 0 {
            let Some(family) = self.prepare_family(&mut index, area) else {
                return FaultEnd::Killed;
            };
            view.family = family;
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
                Pte::None if site.wants_zero_page() => {
                    match tables.set(site.vpn, self.zero_pte(&site)) {
                        Ok(()) => return FaultEnd::Minor,
                        Err(NoTable) => Pte::None,
                    }
                }
                Pte::None => match self.touch_now(&site, tables) {
                    Some(page) => {
                        // The reference that `init_anon` made for the batch.
                        let held = PageRef::adopt(page);
                        self.lru.add_held(held);
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
            Pte::None if site.wants_zero_page() => self.zero_page_fault(site),
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
        let page = self.alloc.alloc_page_now(Gfp::HIGHUSER_MOVABLE)?;
        let pfn = self.map.pfn(page);
        self.env.frames().zero(pfn);
        let dirty = site.access.is_write();
        let mapping = Mapping { pfn, prot: site.area.prot, young: true, dirty };
        if tables.set(site.vpn, Pte::Present(mapping)).is_err() {
            self.lru.put(PageRef::adopt(page));
            return None;
        }
        page.init_anon(site.area.family, site.area.index_of(site.vpn));
        site.space.add_resident(1);
        Some(page)
    }

    /// The entry of untouched memory that was read.
    #[inline(always)]
    fn zero_pte(&self, site: &Site<'m, E>) -> Pte {
        let prot = site.area.prot - Prot::WRITE;
        Pte::Present(Mapping { pfn: self.spaces.zero_pfn(), prot, young: true, dirty: false })
    }

    /// The first touch is a read, and a table is missing.
    #[cold]
    fn zero_page_fault(&self, site: Site<'m, E>) -> FaultEnd {
        match self.set_entry(site, self.zero_pte(&site), Pte::None) {
            SetEnd::Done | SetEnd::Changed => FaultEnd::Minor,
            SetEnd::NoMemory => FaultEnd::Killed,
        }
    }

    /// The first touch: a zeroed page of the caller's own.
    fn anonymous_fault(&self, site: Site<'m, E>) -> FaultEnd {
        let Some(page) = self.alloc_user_page() else { return FaultEnd::Killed };
        let pfn = self.map.pfn(page);
        self.env.frames().zero(pfn);
        page.init_anon(site.area.family, site.area.index_of(site.vpn));
        let mapping =
            Mapping { pfn, prot: site.area.prot, young: true, dirty: site.access.is_write() };
        self.map_new(site, page, mapping, Pte::None)
    }

    #[inline]
    pub(crate) fn alloc_user_page(&self) -> Option<&'m Page> {
        self.alloc.alloc_page(Gfp::HIGHUSER_MOVABLE, Order::ZERO)
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
            self.events.count(VmEvent::UnevictablePgsMlocked, 1);
        }
        self.lru.add_held(PageRef::adopt(page));
    }

    /// A page that was prepared for a mapping that did not come about.
    fn drop_unmapped(&self, page: &'m Page) {
        page.remove_mapping();
        self.lru.put(PageRef::adopt(page));
        self.lru.put(PageRef::adopt(page));
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
                    let is_zero = matches!(new, Pte::Present(m) if self.spaces.is_zero_page(m.pfn));
                    site.space.add_resident(i32::from(!is_zero));
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
    pub(crate) fn grow_tables(&self, space: &SpaceOf<'m, E>, vpn: Vpn) -> bool {
        let Some(frame) = self.alloc.alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::ZERO) else {
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
            self.alloc.free_pages(frame, Order::ZERO);
        }
        true
    }

    /// A store to a present page that may not be stored to: the area allows it, so the
    /// page is shared with another process, or was.
    fn write_protect_fault(&self, site: Site<'m, E>, mapping: Mapping) -> FaultEnd {
        if self.spaces.is_zero_page(mapping.pfn) {
            return self.replace_zero_page(site);
        }
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
            self.own_page(&site, page);
            self.make_writable(site, mapping);
            self.events.count(VmEvent::CowReuse, 1);
            self.lru.put(held);
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
            && (!page.has(PageFlags::SWAPCACHE) || self.swap.try_to_free_swap(&lock));
        self.zones.unlock(lock);
        alone && (page.refs() <= 2 || self.refs_after_drain(page) <= 2)
    }

    /// A batch may hold a reference: it is emptied before the count is believed.
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

    /// Gives the faulting space a page of its own with the same contents.
    fn copy_page(&self, site: Site<'m, E>, held: PageRef<'m>, old: Mapping) -> FaultEnd {
        let Some(page) = self.alloc_user_page() else {
            self.lru.put(held);
            return FaultEnd::Killed;
        };
        self.env.frames().copy(self.map.pfn(page), old.pfn);
        if self.replace_page(site, old.pfn, page, true) {
            self.events.count(VmEvent::CowCopy, 1);
            self.leave_mapping(site, held.page());
        }
        self.lru.put(held);
        FaultEnd::Minor
    }

    /// Gives the faulting space a zeroed page of its own where it maps the zero page.
    pub(crate) fn replace_zero_page(&self, site: Site<'m, E>) -> FaultEnd {
        let Some(page) = self.alloc_user_page() else { return FaultEnd::Killed };
        self.env.frames().zero(self.map.pfn(page));
        self.replace_page(site, self.spaces.zero_pfn(), page, site.access.is_write());
        FaultEnd::Minor
    }

    /// Maps a fresh page where `old` still is mapped; false, with the page freed, if that is
    /// not so any more. Break before make: no CPU may see two frames at one address.
    fn replace_page(&self, site: Site<'m, E>, old: Pfn, page: &'m Page, dirty: bool) -> bool {
        page.init_anon(site.area.family, site.area.index_of(site.vpn));
        let pfn = self.map.pfn(page);
        let new = Mapping { pfn, prot: site.area.prot, young: true, dirty };
        let mut locked = site.space.tables.lock();
        let Some((Pte::Present(now), tables)) = locked.as_mut().map(|t| (t.get(site.vpn), t))
        else {
            drop(locked);
            self.drop_unmapped(page);
            return false;
        };
        if now.pfn != old {
            drop(locked);
            self.drop_unmapped(page);
            return false;
        }
        tables.replace(site.vpn, Pte::None);
        self.env.flush_tlb(&[TlbEntry { asid: tables.asid(), vpn: site.vpn }]);
        let set = tables.set(site.vpn, Pte::Present(new));
        debug_assert!(set.is_ok(), "the table exists");
        if self.spaces.is_zero_page(old) {
            site.space.add_resident(1);
        } else {
            self.map.page(old).remove_mapping();
        }
        drop(locked);
        self.enter_lists(site, page);
        true
    }

    /// A mapping of `page`, to which the caller has a reference, was replaced: what the
    /// mapping had goes. It may have been the last, or the last locked one.
    fn leave_mapping(&self, site: Site<'m, E>, page: &'m Page) {
        if site.area.flags.contains(AreaFlags::LOCKED) {
            self.rmap.munlock_page(page);
        }
        self.lru.put(PageRef::adopt(page));
        self.swap.drop_unwanted(page);
    }
}

/// How [`Faults::set_entry`] ended.
enum SetEnd {
    Done,
    /// The entry was not what it was expected to be.
    Changed,
    NoMemory,
}

/// Adds one to a count that the area lock guards.
#[inline(always)]
pub(crate) fn bump(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// A store to a page that the entry does not allow, although the area does.
fn needs_copy<E: Env>(site: &Site<'_, E>, mapping: Mapping) -> bool {
    site.access.is_write() && !mapping.prot.contains(Prot::WRITE)
}

#[cfg(test)]
mod tests;
