//! The reverse mapping: which areas map a page, and what reclaim does through it.
//!
//! A walk goes from the page's family handle to the family's areas and from each to one
//! page-table entry; `space/family.rs` describes the structure and its cost. From a page of a file it
//! goes to the areas that cover its place in the file (`space/file_areas.rs`).
//!
//! Locks: page lock (where the caller needs a stable answer), tree of families, page table. Never
//! an area lock: a walk may run inside a fault that holds one.
//!
//! Counterpart in Linux: `mm/rmap.c`.

mod broken_slot;
mod family;
mod file;
mod lazy_free;
mod mlocked;
mod zap;

use core::ops::ControlFlow;

use crate::base::stat::VmEvents;
use crate::base::sync::Proof;
use crate::base::tlb::TlbBatch;
use crate::base::units::{Pfn, Vpn};
use crate::env::{Env, Mapping, PageTables, Prot, Pte};
use crate::file::Files;
use crate::lru::Lru;
use crate::page::memmap::MemMap;
use crate::page::{Page, PageFlags, PageLock, PageRef};
use crate::space::{Area, AreaFlags, SpaceOf, Spaces};
use crate::swap::{NotPresent, Swap, SwapEntry};
use crate::zone::Zones;

pub(crate) use family::FamilyFrames;

/// One mapping of a page, under its page-table lock.
pub(crate) struct Hit<'a, 'm, E: Env> {
    pub(crate) space: &'m SpaceOf<'m, E>,
    pub(crate) tables: &'a mut E::Tables,
    pub(crate) area: &'m Area,
    pub(crate) vpn: Vpn,
    pub(crate) mapping: Mapping,
}

/// What the walks of one batch leave to be done: translations to flush, frames to release.
pub(crate) struct RmapBatch<'m> {
    pub(crate) stale: TlbBatch,
    frames: FamilyFrames<'m>,
}

impl<'m> RmapBatch<'m> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { stale: TlbBatch::new(), frames: FamilyFrames::NONE }
    }
}

/// The result of checking all mappings of a page (`page_referenced`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct References {
    /// Mappings whose access flag was set.
    pub mappings: u32,
    /// One of them allows execution.
    pub exec: bool,
    /// Some mapping is locked into memory.
    pub locked: bool,
}

/// How an attempt to unmap a page ended (`try_to_unmap`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unmap {
    /// The page is no longer mapped.
    Done,
    /// A mapping is locked into memory.
    Locked,
    /// A mapping could not be replaced; every mapping left is as it was.
    Failed,
    /// The page was lazily freed, and written to since; every mapping left is as it was.
    Dirty,
}

/// Whether a page that is about to be unmapped has a slot in swap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    /// It has none, or one that cannot be used.
    None,
    /// It has one.
    Given,
    /// It has one, which counts the mapping already.
    GivenAndCounted,
}

/// The reverse mapping of the machine.
pub(crate) struct Rmap<'m, E: Env> {
    env: E,
    map: MemMap<'m>,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    files: &'m Files<'m, E>,
    swap: &'m Swap<'m, E>,
    spaces: &'m Spaces<'m, E>,
    events: &'m VmEvents<E::Cpu>,
}

impl<'m, E: Env> Rmap<'m, E> {
    pub(crate) fn new(
        lru: &'m Lru<'m, E>,
        swap: &'m Swap<'m, E>,
        spaces: &'m Spaces<'m, E>,
    ) -> Self {
        let zones = lru.zones;
        let (env, map, events) = (zones.env, zones.map, lru.events);
        Self { env, map, zones, lru, files: spaces.files, swap, spaces, events }
    }

    /// The frame of zeroes, if there is one yet.
    pub(crate) fn zero_pfn(&self) -> Pfn {
        self.spaces.zero_pfn()
    }

    /// Whether there is one.
    pub(crate) fn has_zero_page(&self) -> bool {
        self.spaces.has_zero_page()
    }

    /// Makes a zeroed frame the zero page, unless there is one.
    pub(crate) fn enter_zero_page(&self, pfn: Pfn, page: PageRef<'m>) {
        self.spaces.enter_zero_page(pfn, page);
    }

    /// Flushes what the walks of a batch left to be flushed, and releases their frames.
    pub(crate) fn finish(&self, batch: &mut RmapBatch<'m>) {
        batch.stale.flush(&self.env);
        self.let_go_families(core::mem::replace(&mut batch.frames, FamilyFrames::NONE));
    }

    /// Visits every mapping of `page`, until the visitor breaks or all were visited. `frames` is
    /// passed from one walk of a batch to the next.
    pub(crate) fn rmap_walk(
        &self,
        page: &Page,
        frames: &mut FamilyFrames<'m>,
        visit: &mut dyn FnMut(Hit<'_, 'm, E>) -> ControlFlow<()>,
    ) {
        match page.has(PageFlags::FILE) {
            true => self.walk_file(page, frames, visit),
            false => self.walk_family(page, frames, visit),
        }
    }

    /// As [`Rmap::rmap_walk`], for an anonymous page.
    #[inline(always)]
    fn walk_family(
        &self,
        page: &Page,
        frames: &mut FamilyFrames<'m>,
        visit: impl FnMut(Hit<'_, 'm, E>) -> ControlFlow<()>,
    ) {
        if page.is_mapped()
            && let Some(family) = self.lock_family(page, frames)
        {
            self.walk_areas(family.areas(self.spaces), family.proof(), page, visit);
        }
    }

    #[inline(always)]
    fn walk_areas(
        &self,
        areas: impl Iterator<Item = &'m Area>,
        locked: Proof<'_>,
        page: &Page,
        mut visit: impl FnMut(Hit<'_, 'm, E>) -> ControlFlow<()>,
    ) {
        let mut left = page.mapcount();
        let (pfn, index) = (self.map.pfn(page), page.index());
        for area in areas {
            let Some(vpn) = area.page_of(index) else { continue };
            let space = self.spaces.of(area);
            let mut tables = space.tables.lock_pinned(locked);
            let Some(tables) = tables.as_mut() else { continue };
            let Pte::Present(mapping) = tables.get(vpn) else { continue };
            if mapping.pfn != pfn {
                continue;
            }
            left = left.saturating_sub(1);
            let hit = Hit { space, tables, area, vpn, mapping };
            if visit(hit).is_break() || left == 0 {
                break;
            }
        }
    }

    /// Clears the access flag of every mapping and returns what was found. The translations join
    /// `batch`: once it is flushed, the next access sets the flag again.
    pub(crate) fn page_referenced(&self, page: &Page, batch: &mut RmapBatch<'m>) -> References {
        if page.has(PageFlags::FILE) {
            return self.file_referenced(page, batch);
        }
        let mut found = References::default();
        let RmapBatch { stale, frames } = batch;
        self.walk_family(page, frames, |mut hit| self.referenced_one(&mut hit, stale, &mut found));
        found
    }

    /// As [`Rmap::page_referenced`], for a page with one mapping. If that was not used, and
    /// `prepare` says that the page has a slot, it becomes the swap entry in the same visit, as
    /// [`Rmap::try_to_unmap`] would do.
    pub(crate) fn unmap_unreferenced(
        &self,
        lock: &PageLock<'m>,
        batch: &mut RmapBatch<'m>,
        prepare: impl FnOnce(&PageLock<'m>) -> Slot,
    ) -> References {
        let mut found = References::default();
        let RmapBatch { stale, frames } = batch;
        let mut prepare = Some(prepare);
        self.walk_family(lock.page(), frames, |mut hit| {
            let next = self.referenced_one(&mut hit, stale, &mut found);
            if found == References::default()
                && let Some(prepare) = prepare.take()
            {
                match prepare(lock) {
                    Slot::None => {}
                    Slot::Given => _ = self.unmap_one(lock.page(), hit, stale),
                    Slot::GivenAndCounted => self.replace_one(lock.page(), hit, stale),
                }
            }
            next
        });
        found
    }

    #[inline(always)]
    fn referenced_one(
        &self,
        hit: &mut Hit<'_, 'm, E>,
        stale: &mut TlbBatch,
        found: &mut References,
    ) -> ControlFlow<()> {
        let (prot, flags) = hit.area.rights();
        if flags.contains(AreaFlags::LOCKED) {
            found.locked = true;
            return ControlFlow::Break(());
        }
        if hit.mapping.young && hit.tables.test_and_clear_young(hit.vpn) {
            found.mappings += 1;
            found.exec |= prot.contains(Prot::EXEC);
            stale.gather(&self.env, hit.tables.asid(), hit.vpn);
        }
        ControlFlow::Continue(())
    }

    /// Turns every mapping of a page in the swap cache into its swap entry, and drops every mapping of
    /// a page of a file.
    ///
    /// The caller holds the page lock and two references at least. A dirty mapping makes
    /// the page dirty. The translations join `batch`.
    pub(crate) fn try_to_unmap(&self, lock: &PageLock<'m>, batch: &mut RmapBatch<'m>) -> Unmap {
        let page = lock.page();
        if page.has(PageFlags::FILE) {
            return self.try_to_unmap_of_file(page, batch);
        }
        let mut end = Unmap::Done;
        let RmapBatch { stale, frames } = batch;
        self.walk_family(page, frames, |hit| {
            if hit.area.is_locked() {
                // Marked under the page-table lock: an munlock of the area checks later.
                self.mark_mlocked(page);
                end = Unmap::Locked;
                return ControlFlow::Break(());
            }
            if !self.unmap_one(page, hit, stale) {
                end = Unmap::Failed;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        settled(end, page)
    }

    /// Replaces one mapping by the page's swap entry; false if the slot cannot count it.
    #[inline(always)]
    fn unmap_one(&self, page: &'m Page, hit: Hit<'_, 'm, E>, stale: &mut TlbBatch) -> bool {
        let is_counted = self.swap.duplicate(SwapEntry::from_raw(page.private()));
        if is_counted {
            self.replace_one(page, hit, stale);
        }
        is_counted
    }

    /// Replaces one mapping by the page's swap entry, which the slot counts already.
    #[inline(always)]
    fn replace_one(&self, page: &'m Page, hit: Hit<'_, 'm, E>, stale: &mut TlbBatch) {
        let Hit { space, tables, vpn, .. } = hit;
        let entry = SwapEntry::from_raw(page.private());
        let Pte::Present(old) = tables.replace(vpn, NotPresent::Swap(entry).into()) else {
            unreachable!("the entry was seen present under the page-table lock");
        };
        if old.dirty {
            page.set_dirty();
        }
        stale.gather(&self.env, tables.asid(), vpn);
        space.add_resident(-1);
        space.add_swapped(1);
        page.remove_mapping();
        let last = page.put();
        debug_assert!(!last, "the caller holds a reference");
    }

    /// Whether some area that maps `page` is locked into memory.
    pub(crate) fn is_mapped_locked(&self, page: &Page) -> bool {
        let (mut locked, mut frames) = (false, FamilyFrames::NONE);
        self.rmap_walk(page, &mut frames, &mut |hit| {
            locked = hit.area.is_locked();
            if locked { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.let_go_families(frames);
        locked
    }
}

/// How an attempt to unmap a page ended that came to `end`: mappings may be left that no walk found.
fn settled(end: Unmap, page: &Page) -> Unmap {
    match end {
        Unmap::Done if page.is_mapped() => Unmap::Failed,
        other => other,
    }
}
