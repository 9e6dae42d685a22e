//! Page faults: how they are resolved.
//!
//! The caller has no lock. A fault shares the address space's area lock with other faults, so areas
//! do not change. Reclaim and other faults of the space may still change entries, under the
//! page-table lock, so every entry is rechecked under that lock before it is acted on, and a
//! changed entry ends the fault: the access is simply repeated. A fault that must wait for a read
//! drops the area lock, waits, and starts again.
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
//! Faults in areas that map a file are in `file.rs`.
//!
//! Counterpart in Linux: `mm/memory.c`.

mod copy;
mod direct;
mod family;
mod file;
mod read_ahead;
mod straight;
mod swap_in;
mod unuse;

pub use unuse::SwapOffError;

use crate::alloc::Alloc;
use crate::base::stat::{VmEvent, VmEvents};
use crate::base::sync::{AtomicU64, NoPreempt, Ordering};
use crate::base::units::{Order, Vpn};
use crate::env::{Cpu, Env, FrameMemory, Mapping, NoTable, PageTables, Prot, Pte};
use crate::file::{FileRef, Files};
use crate::filemap::Filemap;
use crate::lru::Lru;
use crate::page::memmap::MemMap;
use crate::page::{ListChoice, NewPage, PageRef};
use crate::rmap::Rmap;
use crate::space::{
    AddressSpace, Area, AreaFlags, AreaView, Backing, FamilyHandle, SpaceId, SpaceOf, Spaces,
};
use crate::swap::{NotPresent, Swap};
use crate::zone::Zones;
use crate::zone::gfp::Gfp;
use file::FileWait;
use straight::SharedAreas;
use swap_in::SwappedIn;

/// What user mode tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Access {
    /// A load.
    Read = Prot::READ.bits(),
    /// A store.
    Write = Prot::WRITE.bits(),
    /// An instruction fetch.
    Exec = Prot::EXEC.bits(),
}

impl Access {
    #[inline(always)]
    const fn needs(self) -> Prot {
        Prot::from_bits_truncate(self as u8)
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
    /// No memory, or the task was killed: it must exit.
    Killed,
}

/// Why a swapped page is read in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// A program accessed it.
    Touch,
    /// `swapoff` of its device: no program accessed it, and none must be killed for it.
    Unuse,
}

/// What a fault has waited for before this attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Patience {
    /// Nothing: it does not wait for a read under the area lock.
    None,
    /// It has waited for another task's read.
    Waited,
    /// It has waited for its own read.
    Read,
}

/// What must be done first, without the area lock.
enum Detour<'m, E: Env> {
    /// The area has no family yet.
    Family,
    /// The page is being read.
    Wait(SwappedIn<'m>),
    /// The page of a file is being read.
    File(FileWait<'m, E>),
    /// The fault is resolved; it has dirtied a page of the file, and may have to wait for that.
    Dirtied(FileRef<'m, E::Cpu>, FaultEnd),
}

/// Where a fault happened.
pub(crate) struct Site<'m, E: Env> {
    pub(crate) space: &'m SpaceOf<'m, E>,
    /// The area, and its fields as they are while the area lock is held.
    pub(crate) place: &'m Area,
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
    /// The owner of a page that the area makes: its family.
    #[inline(always)]
    fn owner(&self) -> u32 {
        self.area.family.map_or(0, FamilyHandle::raw)
    }

    /// Whether untouched memory is read, and need not stay resident.
    #[inline(always)]
    fn wants_zero_page(&self) -> bool {
        self.area.backing == Backing::Anonymous
            && !self.access.is_write()
            && !self.area.flags.contains(AreaFlags::LOCKED)
    }
}

/// The resolution of page faults.
pub(crate) struct Faults<'m, E: Env> {
    env: E,
    map: MemMap<'m>,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    files: &'m Files<'m, E>,
    filemap: &'m Filemap<'m, E>,
    swap: &'m Swap<'m, E>,
    spaces: &'m Spaces<'m, E>,
    rmap: &'m Rmap<'m, E>,
    alloc: &'m Alloc<'m, E>,
    events: &'m VmEvents<E::Cpu>,
}

impl<'m, E: Env> Faults<'m, E> {
    pub(crate) fn new(
        lru: &'m Lru<'m, E>,
        swap: &'m Swap<'m, E>,
        spaces: &'m Spaces<'m, E>,
        rmap: &'m Rmap<'m, E>,
        alloc: &'m Alloc<'m, E>,
        filemap: &'m Filemap<'m, E>,
    ) -> Self {
        let zones = lru.zones;
        let (env, map, events, files) = (zones.env, zones.map, lru.events, filemap.files);
        Self { env, map, zones, lru, files, filemap, swap, spaces, rmap, alloc, events }
    }

    /// Resolves a fault of user mode at `addr`. In a space that does not exist every address
    /// is bad.
    #[doc(alias = "handle_mm_fault")]
    pub(crate) fn handle_fault(&'m self, id: SpaceId, addr: u64, access: Access) -> FaultEnd {
        let Ok(space) = self.spaces.find(id) else { return FaultEnd::BadAddress };
        self.resolve(space, addr, access, NoPreempt::<E::Cpu>::new())
    }

    /// Resolves a fault under the shared area lock, or returns what must be done first and cannot
    /// be done under it.
    fn attempt(
        &'m self,
        areas: &SharedAreas<'m, E>,
        space: &'m SpaceOf<'m, E>,
        vpn: Vpn,
        access: Access,
        patience: Patience,
    ) -> Result<FaultEnd, Detour<'m, E>> {
        let Some((place, area)) = areas.find(vpn) else {
            return Ok(match space.refuse_reaped() {
                Ok(()) => FaultEnd::BadAddress,
                Err(_) => FaultEnd::Killed,
            });
        };
        if !area.prot.contains(access.needs()) {
            return Ok(FaultEnd::BadAddress);
        }
        if area.family.is_none() && area.backing == Backing::Anonymous {
            return Err(Detour::Family);
        }
        self.fault_in(Site { space, place, area, vpn, access }, patience)
    }

    /// Does what must be done first without the area lock, and then starts again. The second wait
    /// for a read happens under the lock: the page cannot be evicted again then.
    #[cold]
    fn take_detour(
        &'m self,
        space: &'m SpaceOf<'m, E>,
        vpn: Vpn,
        access: Access,
        mut detour: Detour<'m, E>,
    ) -> FaultEnd {
        let mut patience = Patience::None;
        let mut waited_for: Option<PageRef<'m>> = None;
        let end = loop {
            match detour {
                Detour::Family => {
                    if !self.give_family(space, vpn) {
                        break FaultEnd::Killed;
                    }
                }
                Detour::Wait(found) => match self.wait_for_read(found) {
                    Ok(found) => {
                        patience = if found.read { Patience::Read } else { Patience::Waited };
                        self.keep(&mut waited_for, found.page);
                    }
                    Err(end) => break end,
                },
                Detour::File(wait) => match self.wait_for_file(wait) {
                    Ok((page, found)) => {
                        patience = found;
                        self.keep(&mut waited_for, page);
                    }
                    Err(end) => break end,
                },
                Detour::Dirtied(file, end) => {
                    self.after_dirtying(file);
                    break end;
                }
            }
            let areas = space.areas.lock_shared(self.env.tasks());
            let attempt = self.attempt(&areas, space, vpn, access, patience);
            drop(areas);
            match attempt {
                Ok(end) => break end,
                Err(next) => detour = next,
            }
        };
        if let Some(held) = waited_for {
            self.lru.put(held);
        }
        end
    }

    /// Keeps the page that was waited for last from being evicted.
    fn keep(&self, kept: &mut Option<PageRef<'m>>, page: PageRef<'m>) {
        if let Some(before) = kept.replace(page) {
            self.lru.put(before);
        }
    }

    /// The first touch of an area: it gets its family, under the exclusive lock. False without
    /// memory.
    fn give_family(&self, space: &'m SpaceOf<'m, E>, vpn: Vpn) -> bool {
        let mut index = space.areas.lock(self.env.tasks());
        match index.find(vpn) {
            Some((area, view)) if view.family.is_none() => {
                self.prepare_family(&mut index, area).is_some()
            }
            _ => true,
        }
    }

    /// Reads the entry, and does what it asks for.
    fn fault_in(&self, site: Site<'m, E>, patience: Patience) -> Result<FaultEnd, Detour<'m, E>> {
        let space = site.space;
        let pte = {
            let mut tables = space.tables.lock();
            let Some(tables) = tables.as_mut() else { return Ok(FaultEnd::Killed) };
            let pte = tables.get(site.vpn);
            if let Pte::Present(mapping) = pte
                && !needs_copy(&site, mapping)
            {
                tables.mark_accessed(site.vpn, site.access.is_write());
                return Ok(count_fault(space, FaultEnd::Minor));
            }
            pte
        };
        let end = match pte {
            Pte::None => match site.area.backing {
                Backing::Anonymous if site.wants_zero_page() => self.zero_page_fault(site),
                Backing::Anonymous => self.anonymous_fault(site),
                // Counted where it is mapped.
                Backing::File(id) => return self.file_fault(site, id, patience),
            },
            // Counted where it is mapped.
            Pte::NotPresent(word) => match NotPresent::decode(word) {
                NotPresent::Swap(entry) => return self.swap_in(site, entry, patience),
            },
            Pte::Present(mapping) => return self.write_protect_fault(site, mapping),
        };
        let _tables = space.tables.lock();
        Ok(count_fault(space, end))
    }

    /// Marks a fresh page as mapped, under the page-table lock; returns the reference for the
    /// batch.
    #[inline(always)]
    fn mapped(&self, site: &Site<'m, E>, new: NewPage<'m>) -> PageRef<'m> {
        site.space.add_resident(1);
        new.into_mapped(site.owner(), site.area.index_of(site.vpn))
    }

    /// The entry for a read of untouched memory.
    #[inline(always)]
    fn zero_mapping(&self, site: &Site<'m, E>) -> Mapping {
        let prot = site.area.prot - Prot::WRITE;
        Mapping { pfn: self.spaces.zero_pfn(), prot, young: true, dirty: false }
    }

    /// The first touch is a read, and a table is missing.
    #[cold]
    fn zero_page_fault(&self, site: Site<'m, E>) -> FaultEnd {
        let pte = Pte::Present(self.zero_mapping(&site));
        self.set_untouched(site, |tables| tables.set(site.vpn, pte))
    }

    /// The first touch: maps a private zeroed page.
    #[doc(alias = "do_anonymous_page")]
    fn anonymous_fault(&self, site: Site<'m, E>) -> FaultEnd {
        let Some(new) = self.alloc_user_page() else { return FaultEnd::Killed };
        let pfn = self.map.pfn(new.page());
        self.env.frames().zero(pfn);
        let dirty = site.access.is_write();
        let pte = Pte::Present(Mapping { pfn, prot: site.area.prot, young: true, dirty });
        let (mut new, mut held) = (Some(new), None);
        let end = self.set_untouched(site, |tables| {
            tables.set(site.vpn, pte)?;
            held = new.take().map(|new| self.mapped(&site, new));
            Ok(())
        });
        if let Some(held) = held {
            self.enter_lists(site, held);
        }
        if let Some(unused) = new {
            self.lru.put(unused.into_ref());
        }
        end
    }

    /// Runs `set` under the page-table lock if the entry is empty, and adds missing tables. If it
    /// is no longer empty, the access is repeated.
    #[inline]
    fn set_untouched(
        &self,
        site: Site<'m, E>,
        mut set: impl FnMut(&mut E::Tables) -> Result<(), NoTable>,
    ) -> FaultEnd {
        loop {
            {
                let mut tables = site.space.tables.lock();
                let Some(tables) = tables.as_mut() else { return FaultEnd::Killed };
                if tables.get(site.vpn) != Pte::None || set(tables).is_ok() {
                    return FaultEnd::Minor;
                }
            }
            if !self.grow_tables(site.space, site.vpn) {
                return FaultEnd::Killed;
            }
        }
    }

    #[inline]
    pub(crate) fn alloc_user_page(&self) -> Option<NewPage<'m>> {
        self.alloc.alloc_page(Gfp::HIGHUSER_MOVABLE, Order::ZERO)
    }

    /// Adds a page that was just mapped to the lists, with the reference for the batch.
    fn enter_lists(&self, site: Site<'m, E>, held: PageRef<'m>) {
        let page = held.page();
        if site.area.flags.contains(AreaFlags::LOCKED) {
            page.set_mlocked(true);
            page.choose_list(ListChoice::Unevictable);
            self.events.count(VmEvent::UnevictablePgsMlocked, 1);
        }
        self.lru.add_held(held);
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
}

/// Adds one to a count that the page-table lock guards.
#[inline(always)]
fn bump(count: &AtomicU64) {
    count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

/// Counts a fault with this end, for the holder of the page-table lock.
#[inline(always)]
fn count_fault<C: Cpu, T: PageTables>(space: &AddressSpace<'_, C, T>, end: FaultEnd) -> FaultEnd {
    match end {
        FaultEnd::Minor => bump(&space.min_faults),
        FaultEnd::Major => bump(&space.maj_faults),
        FaultEnd::BadAddress | FaultEnd::BusError | FaultEnd::Killed => {}
    }
    end
}

/// Whether it is a store that the entry does not allow, although the area does.
fn needs_copy<E: Env>(site: &Site<'_, E>, mapping: Mapping) -> bool {
    site.access.is_write() && !mapping.prot.contains(Prot::WRITE)
}

#[cfg(test)]
mod tests;
