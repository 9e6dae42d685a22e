//! A program's advice about its memory: `madvise`.
//!
//! The range is processed area by area. A hole is skipped and reported at the end; an area in which
//! the advice cannot be followed ends the call: the areas before it were advised.
//!
//! Counterpart in Linux: `mm/madvise.c`.

mod lazy_free;

use core::ops::Range;

use super::Mmap;
use crate::base::tlb::TlbBatch;
use crate::base::units::Vpn;
use crate::env::{Env, PageTables, Pte, TaskFlags, Tasks};
use crate::lru::{Lruvec, Move};
use crate::page::{IsolatedPages, Page, PageFlags, PageRef, PageType};
use crate::reclaim::SWAP_CLUSTER_MAX;
use crate::space::{AreaFlags, AreaView, Backing, SpaceError, SpaceId, SpaceOf};

/// Pages handled in one critical section of the page-table lock.
const BATCH: usize = SWAP_CLUSTER_MAX as usize;

/// What a program can advise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Advice {
    /// Advice that this crate does not act upon: only the range is checked.
    Normal,
    /// Reclaim these pages now (`MADV_PAGEOUT`).
    PageOut,
    /// These pages will not be needed soon (`MADV_COLD`).
    Cold,
    /// The contents are not needed any more: the next touch sees zeroes (`MADV_DONTNEED`).
    DontNeed,
    /// The contents are not needed any more, unless the program stores to them once more
    /// (`MADV_FREE`).
    Free,
}

/// Present pages of a stretch, each with a reference.
pub(crate) struct Gathered<'m> {
    pub(crate) pages: [Option<PageRef<'m>>; BATCH],
    len: usize,
    /// Where to continue.
    pub(crate) next: Vpn,
}

impl<'m> Gathered<'m> {
    /// No page of a stretch that is followed by `next`.
    #[inline(always)]
    fn until(next: Vpn) -> Self {
        Self { pages: [const { None }; BATCH], len: 0, next }
    }

    #[inline(always)]
    fn push(&mut self, held: PageRef<'m>) {
        self.pages[self.len] = Some(held);
        self.len += 1;
    }
}

impl<'m, E: Env> Mmap<'m, E> {
    /// Follows advice about `range`; returns how many pages it freed or moved.
    ///
    /// # Errors
    /// [`SpaceError::Locked`] if the advice would take pages out of an area that is locked into
    /// memory, [`SpaceError::NotAnonymous`] if it is for anonymous memory and an area maps a file:
    /// the areas before it were advised. [`SpaceError::BadRange`] if the range has holes: all that is
    /// mapped was advised.
    pub fn madvise(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        advice: Advice,
    ) -> Result<u32, SpaceError> {
        let space = self.spaces.find(id)?;
        let index = space.areas.lock(self.env.tasks());
        space.refuse_reaped()?;
        if advice != Advice::Normal {
            self.lru.drain();
        }
        let mut done = 0;
        for area in index.overlapping(range.clone()) {
            let view = area.view();
            let part = view.part(view.start.max(range.start), view.end.min(range.end));
            done += self.advise_area(space, &part, advice)?;
        }
        match index.covers(range.clone()) {
            true => Ok(done),
            false => Err(SpaceError::BadRange { start: range.start, end: range.end }),
        }
    }

    /// Follows advice in an area, or a part of one.
    fn advise_area(
        &self,
        space: &SpaceOf<'m, E>,
        part: &AreaView,
        advice: Advice,
    ) -> Result<u32, SpaceError> {
        if advice != Advice::Normal && part.flags.contains(AreaFlags::LOCKED) {
            return Err(SpaceError::Locked { start: part.start });
        }
        Ok(match advice {
            Advice::Normal => 0,
            Advice::PageOut => self.page_out_range(space, part.start..part.end),
            Advice::Cold => self.cold_range(space, part.start..part.end),
            Advice::Free if part.backing != Backing::Anonymous => {
                return Err(SpaceError::NotAnonymous { start: part.start });
            }
            Advice::Free => self.free_lazily(space, part.start..part.end),
            Advice::DontNeed => {
                self.rmap.zap_range(space, part);
                0
            }
        })
    }

    /// Takes references to the present pages in `range` that `look` selects.
    pub(crate) fn gather(
        &self,
        space: &SpaceOf<'m, E>,
        range: Range<Vpn>,
        mut look: impl FnMut(&mut E::Tables, Vpn, &Page) -> bool,
    ) -> Gathered<'m> {
        let mut out = Gathered::until(range.end);
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
            if self.spaces.is_zero_page(mapping.pfn) {
                continue;
            }
            let page = self.map.page(mapping.pfn);
            if look(tables, vpn, page) {
                out.push(page.get());
            }
        }
        out
    }

    fn page_out_range(&self, space: &SpaceOf<'m, E>, range: Range<Vpn>) -> u32 {
        let (mut at, mut freed) = (range.start, 0);
        while at < range.end {
            let mut batch = self.gather(space, at..range.end, |_, _, page| page.mapcount() == 1);
            at = batch.next;
            freed += self.page_out_batch(&mut batch);
            if self.env.tasks().flags().contains(TaskFlags::DYING) {
                break;
            }
        }
        freed
    }

    /// Isolates the pages of a batch lruvec by lruvec, each type by itself, and reclaims them.
    fn page_out_batch(&self, batch: &mut Gathered<'m>) -> u32 {
        let pages = &mut batch.pages[..batch.len];
        let mut freed = 0;
        while let Some(first) = pages.iter().flatten().next() {
            let (lruvec, kind) = (self.lru.of(first.page()), first.page().flags().page_type());
            let mut list = self.isolate_of(lruvec, kind, pages);
            if !list.is_empty() {
                freed += self.reclaim.reclaim_pages(&mut list, lruvec, kind);
            }
        }
        freed
    }

    /// Isolates the pages of one lruvec and type, and drops the references to those that are on no
    /// list.
    fn isolate_of(
        &self,
        lruvec: &Lruvec<'m, E::Cpu>,
        kind: PageType,
        pages: &mut [Option<PageRef<'m>>],
    ) -> IsolatedPages<'m> {
        let is_of = |page: &Page| core::ptr::eq(self.lru.of(page), lruvec);
        let list = lruvec.isolate_held(pages, kind, is_of);
        for slot in pages {
            let is_left =
                |held: &mut PageRef<'m>| is_of(held.page()) && !held.page().has(PageFlags::LRU);
            if let Some(unlisted) = slot.take_if(is_left) {
                self.lru.put(unlisted);
            }
        }
        list
    }

    fn cold_range(&self, space: &SpaceOf<'m, E>, range: Range<Vpn>) -> u32 {
        let (mut at, mut moved) = (range.start, 0);
        let mut stale = TlbBatch::new();
        while at < range.end {
            let batch = self.gather(space, at..range.end, |tables, vpn, page| {
                if tables.test_and_clear_young(vpn) {
                    stale.gather(&self.env, tables.asid(), vpn);
                }
                page.mapcount() == 1
            });
            at = batch.next;
            for held in batch.pages.into_iter().flatten() {
                held.page().take_referenced();
                moved += u32::from(self.lru.relocate(held.page(), Move::Deactivate));
                self.lru.put(held);
            }
        }
        stale.flush(&self.env);
        moved
    }
}
