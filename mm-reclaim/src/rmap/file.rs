//! The mappings of a file's pages: walked, made clean, dropped.
//!
//! A page of a file names the file as its owner. Without the page lock it may leave the file, and the
//! file may go; so a walk holds the frame that the file lies in, which stays one of files, and then
//! locks the areas of the file that is there. Whatever these map as this frame is a mapping of the
//! page, whichever file it is by now.
//!
//! Locks: the areas of the file, one page table at a time; inside them, the file's index.
//!
//! Counterpart in Linux: `rmap_walk_file`, `folio_mkclean`, `unmap_mapping_range`.

use core::ops::{ControlFlow, RangeInclusive};

use super::{FamilyFrames, Hit, References, Rmap, RmapBatch, Unmap, settled};
use crate::base::tlb::TlbBatch;
use crate::base::units::{FileId, Vpn};
use crate::env::{Env, Mapping, PageTables, Prot, Pte};
use crate::file::{File, FileHandle};
use crate::page::{Page, PageFlags, PageLock};
use crate::space::{Area, SpaceOf};
use crate::swap::NotPresent;

/// Mappings that are dropped in one critical section.
const BATCH: usize = 32;

/// Pages whose mappings were dropped: each has still the mapping's reference.
struct Dropped<'m> {
    pages: [Option<(&'m Page, bool)>; BATCH],
    len: usize,
    /// An entry was cleared, of a page or a slot.
    any: bool,
    stale: TlbBatch,
}

impl<'m, E: Env> Rmap<'m, E> {
    /// Visits every mapping of a page of a file.
    #[inline(never)]
    pub(super) fn walk_file(
        &self,
        page: &Page,
        frames: &mut FamilyFrames<'m>,
        visit: &mut dyn FnMut(Hit<'_, 'm, E>) -> ControlFlow<()>,
    ) {
        let Some(handle) = FileHandle::new(page.owner()) else { return };
        let pool = &self.files.pool;
        // In the place of a root's frame, since a walk needs one or the other.
        if !page.is_mapped()
            || frames.root.at != pool.frame_of(handle)
                && self.hold_frame(pool, handle, &mut frames.root).is_none()
        {
            return;
        }
        let areas = self.spaces.areas_of(pool.at_held(handle));
        let index = page.index();
        self.walk_areas(areas.covering(index..=index), areas.proof(), page, visit);
    }

    /// The areas that a walk for a page of a file visits, if it does not leave the file meanwhile.
    pub(crate) fn areas_of_file_page(&self, page: &Page) -> usize {
        let Some(handle) = FileHandle::new(page.owner()) else { return 0 };
        let areas = self.spaces.areas_of(self.files.pool.at(handle));
        let index = page.index();
        areas.covering(index..=index).count()
    }

    /// [`Rmap::page_referenced`], for a page of a file.
    #[inline(never)]
    pub(super) fn file_referenced(&self, page: &Page, batch: &mut RmapBatch<'m>) -> References {
        let mut found = References::default();
        let RmapBatch { stale, frames } = batch;
        self.walk_file(page, frames, &mut |mut hit| {
            self.referenced_one(&mut hit, stale, &mut found)
        });
        found
    }

    /// Drops every mapping of a page of a file, unless it is locked into memory.
    #[inline(never)]
    pub(super) fn try_to_unmap_of_file(&self, page: &'m Page, batch: &mut RmapBatch<'m>) -> Unmap {
        let mut end = Unmap::Done;
        let RmapBatch { stale, frames } = batch;
        self.walk_file(page, frames, &mut |hit| {
            if hit.area.is_locked() {
                // As in `try_to_unmap`.
                self.mark_mlocked(page);
                end = Unmap::Locked;
                return ControlFlow::Break(());
            }
            self.drop_one(page, hit, stale);
            ControlFlow::Continue(())
        });
        settled(end, page)
    }

    /// Drops one mapping of a file's page.
    fn drop_one(&self, page: &'m Page, hit: Hit<'_, 'm, E>, stale: &mut TlbBatch) {
        let Hit { space, tables, vpn, .. } = hit;
        let Pte::Present(old) = tables.replace(vpn, Pte::None) else {
            unreachable!("the entry was seen present under the page-table lock");
        };
        if old.dirty {
            self.files.set_page_dirty(page);
        }
        stale.gather(&self.env, tables.asid(), vpn);
        space.add_resident(-1);
        page.remove_mapping();
        let last = page.put();
        debug_assert!(!last, "the caller holds a reference");
    }

    /// Makes every mapping of a page read-only and clean; true if one was dirty. From the flush of
    /// `stale` on, a store is a fault again (FILE-03).
    #[doc(alias = "folio_mkclean")]
    pub(crate) fn page_mkclean(&self, lock: &PageLock<'m>, stale: &mut TlbBatch) -> bool {
        let (mut dirty, mut frames) = (false, FamilyFrames::NONE);
        self.rmap_walk(lock.page(), &mut frames, &mut |hit| {
            let Hit { tables, vpn, mapping, .. } = hit;
            if mapping.dirty || mapping.prot.contains(Prot::WRITE) {
                let clean = Mapping { prot: mapping.prot - Prot::WRITE, dirty: false, ..mapping };
                let old = tables.replace(vpn, Pte::Present(clean));
                dirty |= matches!(old, Pte::Present(old) if old.dirty);
                stale.gather(&self.env, tables.asid(), vpn);
            }
            ControlFlow::Continue(())
        });
        self.let_go_families(frames);
        dirty
    }

    /// Drops every mapping of pages `range` of a file; with `copies` also what private areas have in
    /// their place; true if there was any. The pages stay in the file's cache.
    ///
    /// The file's size or the page's lock keeps new mappings of these pages from being made.
    #[doc(alias = "unmap_mapping_range")]
    pub(crate) fn unmap_file(
        &self,
        file: &'m File<E::Cpu>,
        id: FileId,
        range: &RangeInclusive<u32>,
        copies: bool,
    ) -> bool {
        let mut found = false;
        loop {
            let stale = TlbBatch::new();
            let mut out = Dropped { pages: [None; BATCH], len: 0, any: false, stale };
            let areas = self.spaces.areas_of(file);
            for area in areas.covering(range.clone()) {
                self.drop_in_area(area, id, range, copies, &mut out);
            }
            drop(areas);
            out.stale.flush(&self.env);
            for (page, was_locked) in out.pages[..out.len].iter().flatten() {
                self.let_go(page, *was_locked);
            }
            found |= out.any;
            if out.len < BATCH {
                return found;
            }
        }
    }

    /// Drops what an area maps of a range, as far as there is room in `out`.
    fn drop_in_area(
        &self,
        area: &Area,
        id: FileId,
        range: &RangeInclusive<u32>,
        copies: bool,
        out: &mut Dropped<'m>,
    ) {
        let space = self.spaces.of(area);
        let (view, locked) = (area.view(), area.is_locked());
        let first = view.index_of(view.start);
        let part = |index: u32| Vpn(view.start.0.saturating_add(index.saturating_sub(first)));
        let end = Vpn(part(*range.end()).0.saturating_add(1)).min(view.end);
        let (mut at, mut tables) = (part(*range.start()), space.tables.lock());
        let Some(tables) = tables.as_mut() else { return };
        while out.len < BATCH
            && let Some((vpn, pte)) = tables.next_entry(at, end)
        {
            at = vpn + 1;
            if self.is_to_be_dropped(pte, id, copies) {
                let old = tables.replace(vpn, Pte::None);
                out.any = true;
                out.stale.gather(&self.env, tables.asid(), vpn);
                if let Some(page) = self.dropped_entry(space, old) {
                    out.pages[out.len] = Some((page, locked));
                    out.len += 1;
                }
            }
        }
    }

    fn is_to_be_dropped(&self, pte: Pte, id: FileId, copies: bool) -> bool {
        match pte {
            Pte::None => false,
            Pte::NotPresent(_) => copies,
            Pte::Present(mapping) => {
                let page = self.map.page(mapping.pfn);
                copies || page.has(PageFlags::FILE) && page.owner() == id.0
            }
        }
    }

    /// Counts a removed entry; returns the page that it mapped, with the mapping's reference.
    fn dropped_entry(&self, space: &SpaceOf<'m, E>, old: Pte) -> Option<&'m Page> {
        match old {
            Pte::None => None,
            Pte::NotPresent(word) => {
                let NotPresent::Swap(entry) = NotPresent::decode(word);
                space.add_swapped(-1);
                self.swap.free_swap_and_cache(entry);
                None
            }
            Pte::Present(old) => {
                let page = self.map.page(old.pfn);
                if old.dirty {
                    self.files.set_page_dirty(page);
                }
                page.remove_mapping();
                space.add_resident(-1);
                Some(page)
            }
        }
    }
}
