//! What a program says about its memory: `madvise` and `mlock`.
//!
//! Counterpart in Linux: `mm/madvise.c`, `mm/mlock.c`.

use core::ops::Range;

use crate::aspace::{AddressSpace, AreaFlags, AreaView, SpaceError, SpaceId};
use crate::env::{Env, PageTables, Prot, Pte};
use crate::fault::{Access, FaultEnd};
use crate::lru::{IsolatedList, Relocation};
use crate::mm::Mm;
use crate::page::{Page, PageFlags, PageRef};
use crate::reclaim::SWAP_CLUSTER_MAX;
use crate::stat::VmEvent;
use crate::tlb::TlbBatch;
use crate::units::Vpn;

/// Pages looked at in one page-table lock hold.
const BATCH: usize = SWAP_CLUSTER_MAX as usize;

/// What a program can advise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Reclaim these pages now (`MADV_PAGEOUT`).
    PageOut,
    /// These pages will not be needed soon (`MADV_COLD`).
    Cold,
    /// The contents are not needed any more: the next touch sees zeroes (`MADV_DONTNEED`).
    DontNeed,
}

/// Present pages of a stretch, each with a reference.
struct Gathered<'m> {
    pages: [Option<PageRef<'m>>; BATCH],
    len: usize,
    /// Where to go on.
    next: Vpn,
}

impl<'m, E: Env> Mm<'m, E> {
    /// Follows an advice about `range`, which areas cover without a hole; how many pages
    /// it freed or moved.
    ///
    /// # Errors
    /// If the range has holes or lies outside the user's half.
    pub fn madvise(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        advice: Advice,
    ) -> Result<u32, SpaceError> {
        let space = self.space(id);
        let index = space.areas.lock(self.env.tasks());
        self.refuse_reaped(id)?;
        if range.start >= range.end || !index.covers(&self.areas, &range) {
            return Err(SpaceError::BadRange { start: range.start, end: range.end });
        }
        self.lru_add_drain();
        let mut done = 0;
        for at in index.overlapping(&self.areas, &range) {
            let view = self.areas.at(index.handles()[at]).view();
            let part = view.start.max(range.start)..view.end.min(range.end);
            done += match advice {
                _ if view.flags.contains(AreaFlags::LOCKED) => 0,
                Advice::PageOut => self.page_out_range(space, part),
                Advice::Cold => self.cold_range(space, part),
                Advice::DontNeed => {
                    self.zap_range(space, &view, part);
                    0
                }
            };
        }
        Ok(done)
    }

    /// Takes references of the present pages in `range` that only this space maps.
    fn gather(
        &self,
        space: &AddressSpace<E::Cpu, E::Tables>,
        range: Range<Vpn>,
        mut look: impl FnMut(&mut E::Tables, Vpn, &Page) -> bool,
    ) -> Gathered<'m> {
        let mut out = Gathered { pages: [const { None }; BATCH], len: 0, next: range.end };
        let mut locked = space.tables.lock();
        let Some(tables) = locked.as_mut() else { return out };
        let mut at = range.start;
        while let Some((vpn, pte)) = tables.next_entry(at, range.end) {
            if out.len == BATCH {
                out.next = vpn;
                break;
            }
            at = vpn + 1;
            let Pte::Present(mapping) = pte else { continue };
            let page = self.map.page(mapping.pfn);
            if look(tables, vpn, page) {
                out.pages[out.len] = Some(page.get());
                out.len += 1;
            }
        }
        out
    }

    fn page_out_range(&self, space: &AddressSpace<E::Cpu, E::Tables>, range: Range<Vpn>) -> u32 {
        let (mut at, mut freed) = (range.start, 0);
        while at < range.end {
            let mut batch = self.gather(space, at..range.end, |_, _, page| page.mapcount() == 1);
            at = batch.next;
            freed += self.page_out_batch(&mut batch);
        }
        freed
    }

    /// Isolates the pages of a batch zone by zone and reclaims them.
    fn page_out_batch(&self, batch: &mut Gathered<'m>) -> u32 {
        let mut freed = 0;
        for zone in self.zones() {
            let mut list = IsolatedList::new(self.map);
            for slot in &mut batch.pages[..batch.len] {
                let of_zone = |p: &mut PageRef<'m>| p.page().zone_index() == zone.id().index();
                let Some(held) = slot.take_if(of_zone) else { continue };
                if let Some(isolated) = self.lru.of(held.page()).isolate_page(held.page()) {
                    list.push(isolated);
                }
                self.put(held);
            }
            if !list.is_empty() {
                freed += self.reclaim_pages(&mut list, zone);
            }
        }
        freed
    }

    fn cold_range(&self, space: &AddressSpace<E::Cpu, E::Tables>, range: Range<Vpn>) -> u32 {
        let (mut at, mut moved) = (range.start, 0);
        let mut stale = TlbBatch::new();
        while at < range.end {
            let batch = self.gather(space, at..range.end, |tables, vpn, page| {
                if tables.test_and_clear_young(vpn) {
                    stale.gather(&self.env, tables.asid(), vpn, false);
                }
                page.mapcount() == 1
            });
            at = batch.next;
            for held in batch.pages.into_iter().flatten() {
                held.page().take_referenced();
                moved += u32::from(
                    self.lru.of(held.page()).relocate(held.page(), Relocation::Deactivate),
                );
                self.put(held);
            }
        }
        stale.flush(&self.env);
        self.count(VmEvent::PgDeactivate, u64::from(moved));
        moved
    }

    // ---- mlock ----

    /// Locks `range` into memory: every page is brought in and stays (LRU-10).
    ///
    /// # Errors
    /// If the range has holes, or memory runs out; pages locked by then stay locked.
    pub fn mlock(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        let set = |view: AreaView| view.flags | AreaFlags::LOCKED;
        self.change_areas(id, range.clone(), |area, _| {
            area.set_rights(area.view().prot, set(area.view()));
        })?;
        let space = self.space(id);
        let mut at = range.start;
        while at < range.end {
            let mut index = space.areas.lock(self.env.tasks());
            self.refuse_reaped(id)?;
            let Some((_, area)) = index.find(&self.areas, at) else {
                return Err(SpaceError::BadRange { start: at, end: range.end });
            };
            let end = area.end().min(range.end);
            drop(index);
            for vpn in at.0..end.0 {
                self.lock_in(id, Vpn(vpn))?;
            }
            at = end;
        }
        Ok(())
    }

    /// Brings one page of a locked area in and marks it.
    fn lock_in(&self, id: SpaceId, vpn: Vpn) -> Result<(), SpaceError> {
        let space = self.space(id);
        loop {
            if let Some(held) = self.present_page(space, vpn) {
                self.mlock_page(held.page());
                self.put(held);
                return Ok(());
            }
            let writable = {
                let mut index = space.areas.lock(self.env.tasks());
                let area = index.find(&self.areas, vpn).map(|(_, a)| a.view());
                area.is_some_and(|a| a.prot.contains(Prot::WRITE))
            };
            let access = if writable { Access::Write } else { Access::Read };
            match self.handle_fault(id, vpn.addr(), access) {
                FaultEnd::Minor | FaultEnd::Major => {}
                FaultEnd::Killed => return Err(SpaceError::NoMemory),
                FaultEnd::BadAddress | FaultEnd::BusError => {
                    return Err(SpaceError::BadRange { start: vpn, end: vpn + 1 });
                }
            }
        }
    }

    fn present_page(
        &self,
        space: &AddressSpace<E::Cpu, E::Tables>,
        vpn: Vpn,
    ) -> Option<PageRef<'m>> {
        let tables = space.tables.lock();
        match tables.as_ref()?.get(vpn) {
            Pte::Present(mapping) => Some(self.map.page(mapping.pfn).get()),
            _ => None,
        }
    }

    /// Lets the pages of `range` be reclaimed again.
    ///
    /// # Errors
    /// If the range has holes or lies outside the user's half.
    pub fn munlock(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        self.change_areas(id, range, |area, space| {
            let view = area.view();
            area.set_rights(view.prot, view.flags - AreaFlags::LOCKED);
            let mut at = view.start;
            while at < view.end {
                let batch = self.gather(space, at..view.end, |_, _, _| true);
                at = batch.next;
                for held in batch.pages.into_iter().flatten() {
                    self.munlock_page(held.page());
                    self.put(held);
                }
            }
        })
    }

    /// Marks a page that a locked area maps, and takes it to the unevictable list. One
    /// that is isolated or in another CPU's batch at the moment is culled by reclaim.
    pub(crate) fn mlock_page(&self, page: &'m Page) {
        if page.set_mlocked(true) {
            return;
        }
        self.count(VmEvent::UnevictablePgsMlocked, 1);
        if !page.has(PageFlags::LRU) {
            self.lru_add_drain();
        }
        self.lru.of(page).relocate(page, Relocation::Unevictable);
    }

    /// A locked area maps the page no longer; if none does, reclaim may have it.
    pub(crate) fn munlock_page(&self, page: &'m Page) {
        if self.is_mapped_locked(page) || !page.set_mlocked(false) {
            return;
        }
        self.count(VmEvent::UnevictablePgsMunlocked, 1);
        if self.lru.of(page).relocate(page, Relocation::Rescue) {
            self.count(VmEvent::UnevictablePgsRescued, 1);
        }
    }
}
