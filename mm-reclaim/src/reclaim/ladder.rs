//! The ladder: from an isolated page to its verdict, rung by rung.
//!
//! Decides the fate of one page. Each stage takes the locked page and either passes it on or breaks
//! with a [`Verdict`]; `?` climbs. A verdict never holds the page lock: [`Judge::keep`] and similar
//! helpers release it first (SPL-18).
//!
//! Invariant: the page of a verdict is the page that came in, isolated as before (or
//! frozen, for `Free`), with the references it came with.
//!
//! Locks: the page lock across the rungs; family and page-table locks inside
//! `page_referenced` and `try_to_unmap`; none across I/O.
//!
//! Pages that cannot exist yet: huge pages, and those of limit reclaim. Their rungs are marked as such.
//!
//! Counterpart in Linux: the body of `shrink_page_list`.

use core::ops::ControlFlow::{Break, Continue};

use super::references::{PageReferences, check_references, is_overdue};
use super::verdict::Terms;
use super::{
    ActivateReason, BatchStat, CullReason, FreeReason, KeepReason, May, Reclaim, ReclaimKind,
    ScanRequest, Stage, Verdict,
};
use crate::base::stat::VmEvent;
use crate::base::sync::NoPreempt;
use crate::base::units::FilePage;
use crate::cache::Busy;
use crate::env::Env;
use crate::page::{IsolatedPage, LockedPage, PageFlags, PageType};
use crate::rmap::{References, RmapBatch, Slot, Unmap};
use crate::zone::gfp::Gfp;
use crate::zone::{Zone, ZoneFlags};

/// What the rungs share for one batch.
pub(super) struct Judge<'a, 'm, E: Env> {
    pub(super) reclaim: &'a Reclaim<'m, E>,
    pub(super) request: &'a ScanRequest,
    pub(super) zone: &'a Zone<'m, E::Cpu>,
    pub(super) may: May,
    /// Base pages of the page that is judged.
    pub(super) nr: u32,
    pub(super) stat: BatchStat,
    /// Scan pressure of the batch.
    pub(super) pressure: u64,
    /// Base pages that entered the swap cache, less those that left it.
    pub(super) cached: i32,
    pub(super) walks: RmapBatch<'m>,
    /// Referenced pages that were passed over since a page was last freed or its write began.
    pub(super) passed_over: u32,
}

impl<'m, E: Env> Judge<'_, 'm, E> {
    /// Climbs the ladder with one page.
    #[inline]
    pub(super) fn judge(&mut self, page: IsolatedPage<'m>) -> Verdict<'m> {
        let verdict = match self.climb(page) {
            Continue(never) => match never {},
            Break(verdict) => verdict,
        };
        if is_taken(&verdict) {
            self.passed_over = 0;
        }
        verdict
    }

    #[inline]
    fn climb(&mut self, page: IsolatedPage<'m>) -> Stage<'m, core::convert::Infallible> {
        let page = self.lock(page)?;
        let page = self.evictable(page)?;
        let page = self.unmappable(page)?;
        let page = self.under_writeback(page)?;
        let (page, terms) = self.references(page)?;
        let page = self.swap_slot(page)?;
        let page = self.unmap(page)?;
        Break(Verdict::Unmapped(page, terms))
    }

    /// SPL-01: a page whose lock is held elsewhere is kept, without scan pressure.
    fn lock(&mut self, page: IsolatedPage<'m>) -> Stage<'m> {
        match page.try_lock() {
            Ok(locked) => {
                self.nr = self.reclaim.map.nr_pages(locked.page());
                self.pressure += u64::from(self.nr);
                Continue(locked)
            }
            Err(page) => Break(Verdict::Keep(page, KeepReason::LockedElsewhere)),
        }
    }

    /// SPL-02: a page of a locked area, or of an unevictable file, loses its slot and goes to the
    /// unevictable list.
    fn evictable(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        let flags = page.page().flags();
        let is_kept = flags.contains(PageFlags::MLOCKED)
            || flags.contains(PageFlags::FILE) && self.reclaim.files.retain(page.lock());
        if is_kept { self.cull(page, CullReason::Unevictable) } else { Continue(page) }
    }

    /// SPL-03: without the right to unmap, a mapped page is kept; with it, pages that take
    /// more work to free count double in scan pressure.
    fn unmappable(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        let mapped = page.page().is_mapped();
        if mapped && !self.may.contains(May::UNMAP) {
            return self.keep(page, KeepReason::MayNotUnmap);
        }
        if mapped || page.page().has(PageFlags::SWAPCACHE) {
            self.pressure += u64::from(self.nr);
        }
        Continue(page)
    }

    /// SPL-04 to SPL-07: what the batch shows about the device, and pages under write-back.
    fn under_writeback(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        let flags = page.page().flags();
        if !flags.contains(PageFlags::SWAPBACKED)
            && let Some(at) = page.page().file_page()
        {
            self.count_dirty(at, flags);
        }
        let written = flags.contains(PageFlags::WRITEBACK);
        if written { self.leave_to_writeback(page, flags) } else { Continue(page) }
    }

    /// Pages of files only: anonymous memory is written by reclaim itself, and must not stall it. The
    /// store may know better than the flags of a page with private data.
    #[inline(never)]
    fn count_dirty(&mut self, at: FilePage, flags: PageFlags) {
        let (files, nr) = (self.reclaim.files, self.nr);
        let mut state = (flags.contains(PageFlags::DIRTY), flags.contains(PageFlags::WRITEBACK));
        if flags.contains(PageFlags::PRIVATE) {
            state = files.dirty_writeback(at).unwrap_or(state);
        }
        let (dirty, written) = state;
        if dirty || written {
            self.stat.dirty += nr;
            self.stat.unqueued += if written { 0 } else { nr };
            let again = written && flags.contains(PageFlags::RECLAIM);
            self.stat.congested += if again || files.is_congested(at) { nr } else { 0 };
        }
    }

    /// SPL-05 and SPL-06. SPL-07, waiting for a marked page in limit reclaim, belongs here: no
    /// [`Target::Group`](super::Target::Group) request exists yet.
    fn leave_to_writeback(&mut self, page: LockedPage<'m>, flags: PageFlags) -> Stage<'m> {
        let drowning = self.zone.flags().contains(ZoneFlags::WRITEBACK);
        let is_kswapd = self.request.kind == ReclaimKind::Kswapd;
        if is_kswapd && drowning && flags.contains(PageFlags::RECLAIM) {
            self.stat.immediate += self.nr;
            return self.activate(page, ActivateReason::ImmediateWriteback);
        }
        page.page().mark_reclaim();
        self.stat.writeback += self.nr;
        self.activate(page, ActivateReason::UnderWriteback)
    }

    /// SPL-08: the references decide, unless so many pages were passed over that the next one is
    /// due (CTRL-06).
    fn references(&mut self, page: LockedPage<'m>) -> Stage<'m, (LockedPage<'m>, Terms)> {
        if self.request.force {
            return Continue((page, Terms::Free));
        }
        let found = self.look_at_references(&page);
        let marked = page.page().take_referenced();
        let kind = page.page().flags().page_type();
        match check_references(found, marked, kind, self.reclaim.reference_rule()) {
            PageReferences::Reclaim => Continue((page, Terms::Free)),
            PageReferences::ReclaimClean => Continue((page, Terms::FreeClean)),
            _ if is_overdue(found, kind, self.passed_over) => Continue((page, Terms::Overdue)),
            PageReferences::Activate => {
                self.passed_over += 1;
                Break(self.activated(page, ActivateReason::Referenced))
            }
            PageReferences::Keep => {
                self.passed_over += 1;
                page.page().mark_referenced();
                self.stat.ref_keep += self.nr;
                Break(self.kept(page, KeepReason::Referenced))
            }
        }
    }

    /// The mappings' access flags. An anonymous page with one mapping, which was not used, takes
    /// the next two rungs in the same visit: without a reference it goes on in any case.
    fn look_at_references(&mut self, page: &LockedPage<'m>) -> References {
        let Self { reclaim, request, walks, cached, .. } = self;
        let (rmap, flags) = (reclaim.rmap, page.page().flags());
        let is_anon = flags.page_type() == PageType::Anon && !flags.contains(PageFlags::FILE);
        if page.page().mapcount() != 1 || !is_anon {
            return rmap.page_referenced(page.page(), walks);
        }
        rmap.unmap_unreferenced(page.lock(), walks, |lock| {
            if flags.contains(PageFlags::SWAPCACHE) {
                let is_broken = || reclaim.swap.is_slot_broken(lock.page());
                let has_none = flags.contains(PageFlags::DIRTY) && is_broken();
                return if has_none { Slot::None } else { Slot::Given };
            }
            let enters = request.gfp.contains(Gfp::IO) && reclaim.swap.add_to_swap(lock, 1);
            *cached += i32::from(enters);
            if enters { Slot::GivenAndCounted } else { Slot::None }
        })
    }

    /// SPL-09: an anonymous page gets a slot, and a new one if that is broken. A lazily freed page
    /// (SPL-10) takes none; its type is `File`, so it passes. SPL-11, splitting a huge page that
    /// finds no contiguous slots, belongs here: user pages are base pages so far.
    fn swap_slot(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        let flags = page.page().flags();
        let is_cached = flags.contains(PageFlags::SWAPCACHE);
        // Only a page that could not be written, and so is dirty, has a broken slot.
        let has_slot = is_cached
            && !(flags.contains(PageFlags::DIRTY) && self.reclaim.swap.is_slot_broken(page.page()));
        let is_anon = flags.page_type() == PageType::Anon && !flags.contains(PageFlags::FILE);
        if !is_anon || has_slot {
            return Continue(page);
        }
        if !self.request.gfp.contains(Gfp::IO) {
            return self.keep(page, KeepReason::NoIo);
        }
        if is_cached && !self.reclaim.rmap.leave_broken_slot(page.lock()) {
            return self.activate(page, ActivateReason::PageoutFailed);
        }
        if !self.reclaim.swap.add_to_swap(page.lock(), 0) {
            return self.activate(page, ActivateReason::NoSlot);
        }
        self.cached += 1;
        Continue(page)
    }

    /// SPL-12: every mapping becomes a swap entry. SPL-10: those of a lazily freed page are dropped.
    fn unmap(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        if !page.page().is_mapped() {
            return Continue(page);
        }
        let (rmap, walks) = (self.reclaim.rmap, &mut self.walks);
        let end = match page.page().is_lazily_freed() {
            false => rmap.try_to_unmap(page.lock(), walks),
            true => rmap.discard_mappings(page.lock(), walks),
        };
        if end == Unmap::Done { Continue(page) } else { self.still_mapped(page, end) }
    }

    #[cold]
    #[inline(never)]
    fn still_mapped(&mut self, page: LockedPage<'m>, end: Unmap) -> Stage<'m> {
        if end == Unmap::Locked {
            return self.cull(page, CullReason::LockedMapping);
        }
        self.stat.unmap_fail += self.nr;
        if end != Unmap::Dirty {
            return self.activate(page, ActivateReason::UnmapFailed);
        }
        self.stat.lazyfree_fail += self.nr;
        self.activate(page, ActivateReason::LazyFreeDirty)
    }

    /// SPL-16: removes the page from its cache and freezes it, if there are no other references.
    pub(super) fn free(
        &mut self,
        page: LockedPage<'m>,
        reason: FreeReason,
    ) -> Stage<'m, core::convert::Infallible> {
        let removed = match page.page().file_page() {
            Some(at) => self.reclaim.files.freeze_and_remove(at, page),
            None if page.page().has(PageFlags::SWAPCACHE) => {
                let removed = self.reclaim.swap.freeze_and_remove(page);
                self.cached -= i32::from(removed.is_ok());
                removed
            }
            None if page.page().is_lazily_freed() => return self.free_lazily_freed(page),
            None => return self.keep_for_good(page),
        };
        match removed {
            Ok(frozen) => Break(Verdict::Free(frozen, reason)),
            Err((page, busy)) => {
                let (page, lock) = page.split();
                self.reclaim.zones.unlock(lock);
                Break(Verdict::Keep(page, why_busy(busy)))
            }
        }
    }

    /// SPL-10: nobody maps the page any more. It is dropped if nobody holds it either; one that was
    /// dirtied by its holder is kept.
    #[cold]
    #[inline(never)]
    fn free_lazily_freed(&mut self, page: LockedPage<'m>) -> Stage<'m, core::convert::Infallible> {
        let whole = NoPreempt::<E::Cpu>::new();
        let busy = match page.freeze(1, &whole) {
            // Tested after the freeze: a page cannot be dirtied without a reference.
            Ok(frozen) if !frozen.page().has(PageFlags::DIRTY) => {
                self.reclaim.events.count(VmEvent::PgLazyFreed, u64::from(self.nr));
                return Break(Verdict::Free(frozen.settle(), FreeReason::LazyFreed));
            }
            Ok(frozen) => frozen.thaw(1),
            Err(busy) => busy,
        };
        Break(self.kept(busy, KeepReason::LazyFreeBusy))
    }

    /// A page that is in no cache cannot be freed: its contents would be lost.
    #[cold]
    fn keep_for_good(&mut self, page: LockedPage<'m>) -> Stage<'m, core::convert::Infallible> {
        let (page, lock) = page.split();
        self.reclaim.zones.unlock(lock);
        Break(Verdict::Keep(page, KeepReason::NoMapping))
    }

    // ---- verdicts: the page lock is released first ----

    pub(super) fn keep(&mut self, page: LockedPage<'m>, why: KeepReason) -> Stage<'m> {
        Break(self.kept(page, why))
    }

    pub(super) fn kept(&self, page: LockedPage<'m>, why: KeepReason) -> Verdict<'m> {
        let (page, lock) = page.split();
        self.reclaim.zones.unlock(lock);
        Verdict::Keep(page, why)
    }

    /// SPL-17: with swap more than half full, an activated page releases its slot.
    pub(super) fn activate(&mut self, page: LockedPage<'m>, why: ActivateReason) -> Stage<'m> {
        Break(self.activated(page, why))
    }

    pub(super) fn activated(&mut self, page: LockedPage<'m>, why: ActivateReason) -> Verdict<'m> {
        let page_type = page.page().flags().page_type();
        if page.page().has(PageFlags::SWAPCACHE) && self.reclaim.swap.is_full() {
            self.reclaim.swap.try_to_free_swap(page.lock());
        }
        self.stat.activate[page_type as usize] += self.nr;
        let (page, lock) = page.split();
        self.reclaim.zones.unlock(lock);
        Verdict::Activate(page, why)
    }

    fn cull(&mut self, page: LockedPage<'m>, why: CullReason) -> Stage<'m> {
        self.reclaim.swap.try_to_free_swap(page.lock());
        let (page, lock) = page.split();
        self.reclaim.zones.unlock(lock);
        Break(Verdict::Cull(page, why))
    }
}

/// Whether the page goes: no referenced page was passed over since.
fn is_taken(verdict: &Verdict<'_>) -> bool {
    matches!(verdict, Verdict::Unmapped(..))
}

/// SPL-16: the cache's answer, as a reason.
fn why_busy(busy: Busy) -> KeepReason {
    match busy {
        Busy::Referenced => KeepReason::ExtraReference,
        Busy::Dirty => KeepReason::FoundDirty,
    }
}
