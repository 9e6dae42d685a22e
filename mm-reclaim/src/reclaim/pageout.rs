//! The rung that writes: a dirty page is written, or it is said why not.
//!
//! The order of the checks is SPL-19's. Submitting clears dirty, sets write-back and gives
//! the page lock back (SPL-20); a synchronous device has completed the transfer when
//! `submit` returns, and the page can be freed in this very pass if its lock is regained.

use core::ops::ControlFlow::{Break, Continue};

use super::ladder::Judge;
use super::{ActivateReason, FreeReason, KeepReason, May, Reclaim, ReclaimKind, Stage, Verdict};
use crate::base::stat::VmEvent;
use crate::base::sync::{NoPreempt, Ordering};
use crate::env::Env;
use crate::lru::workingset::Shadow;
use crate::page::{FrozenPage, IsolatedPage, LockedPage, PageFlags, PageType};
use crate::swap::SwapEntry;
use crate::zone::ZoneFlags;

impl<'m, E: Env> Judge<'_, 'm, E> {
    /// SPL-13, SPL-14, SPL-19: leaves the page clean and locked, or decides.
    pub(super) fn clean(
        &mut self,
        page: LockedPage<'m>,
        clean_only: bool,
    ) -> Stage<'m, (LockedPage<'m>, FreeReason)> {
        let flags = page.page().flags();
        if !flags.contains(PageFlags::DIRTY) {
            return Continue((page, FreeReason::Clean));
        }
        let page = self.may_write(page, flags, clean_only)?;
        let page = self.pageout(page)?;
        Continue((page, FreeReason::Written))
    }

    /// SPL-19, in its order.
    fn may_write(&mut self, page: LockedPage<'m>, flags: PageFlags, clean_only: bool) -> Stage<'m> {
        if flags.page_type() == PageType::File && !self.may_write_file(flags) {
            page.page().mark_reclaim();
            self.reclaim.events.count(VmEvent::NrVmscanImmediateReclaim, 1);
            return self.activate(page, ActivateReason::DirtyFile);
        }
        if clean_only {
            return self.keep(page, KeepReason::ReferencedDirty);
        }
        if !self.request.may_enter(flags.contains(PageFlags::SWAPCACHE)) {
            return self.keep(page, KeepReason::MayNotEnter);
        }
        if !self.may.contains(May::WRITEPAGE) {
            return self.keep(page, KeepReason::MayNotWrite);
        }
        Continue(page)
    }

    /// SPL-13: only kswapd, only in a zone full of dirty pages, only at the second visit.
    /// No dirty file page exists yet, so nothing gets here but by way of tests.
    fn may_write_file(&self, flags: PageFlags) -> bool {
        self.request.kind == ReclaimKind::Kswapd
            && self.zone.flags().contains(ZoneFlags::DIRTY)
            && flags.contains(PageFlags::RECLAIM)
    }

    /// SPL-14: writes the page and looks at what has become of it.
    fn pageout(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        if !page.page().has(PageFlags::SWAPCACHE) {
            // A file page would be written by its file system here.
            return self.activate(page, ActivateReason::PageoutFailed);
        }
        if self.reclaim.swap.slot_uses(page.page()) == 0 {
            self.reclaim.swap.try_to_free_swap(page.lock());
            return self.keep(page, KeepReason::SlotUnused);
        }
        // A CPU may still store through a stale translation while the device reads.
        self.walks.stale.flush_writable(&self.reclaim.env);
        self.stat.pageout += page.page().nr_pages();
        let entry = SwapEntry::from_raw(page.page().private());
        let (page, lock) = page.split();
        self.reclaim.swap.writepage(lock);
        self.after_write(page, entry)
    }

    /// What has become of a page that was submitted to the slot of `entry`.
    fn after_write(&mut self, page: IsolatedPage<'m>, entry: SwapEntry) -> Stage<'m> {
        if page.page().has(PageFlags::WRITEBACK) {
            return Break(Verdict::Keep(page, KeepReason::InFlight));
        }
        let page = match page.try_lock() {
            Ok(locked) => locked,
            Err(page) => return Break(Verdict::Keep(page, KeepReason::LockLost)),
        };
        let flags = page.page().flags();
        if !flags.intersects(PageFlags::DIRTY | PageFlags::WRITEBACK) {
            return Continue(page);
        }
        if flags.contains(PageFlags::DIRTY) && self.reclaim.swap.has_write_failed(entry) {
            return self.activate(page, ActivateReason::WriteFailed);
        }
        self.keep(page, KeepReason::DirtyAgain)
    }
}

impl<'m, E: Env> Reclaim<'m, E> {
    /// Takes a clean page out of its cache for good, if the isolation and the cache hold
    /// its only references (SPL-16); the slot keeps a shadow of it. The caller keeps count of
    /// the pages in the cache.
    ///
    /// # Errors
    /// The page comes back, with the reason.
    pub(super) fn remove_mapping(
        &self,
        page: LockedPage<'m>,
    ) -> Result<FrozenPage<'m>, (LockedPage<'m>, KeepReason)> {
        let flags = page.page().flags();
        if !flags.contains(PageFlags::SWAPCACHE) {
            return Err((page, KeepReason::NoMapping));
        }
        let expected = 1 + page.page().nr_pages();
        let whole = NoPreempt::<E::Cpu>::new();
        let frozen = match page.freeze(expected, &whole) {
            Ok(frozen) => frozen,
            Err(page) => return Err((page, KeepReason::ExtraReference)),
        };
        // Looked at after the freeze: nobody can dirty a page without a reference.
        if frozen.page().has(PageFlags::DIRTY) {
            return Err((frozen.thaw(expected), KeepReason::FoundDirty));
        }
        let entry = SwapEntry::from_raw(frozen.page().private());
        let shadow = self.workingset_eviction(&frozen);
        let pfn = self.map.pfn(frozen.page());
        self.swap.uncache(entry, pfn, Some(shadow));
        Ok(frozen.settle())
    }

    /// Ticks the clock and makes the shadow that the page leaves behind.
    fn workingset_eviction(&self, frozen: &FrozenPage<'m>) -> u32 {
        let page = frozen.page();
        let lruvec = self.lru.of(page);
        let clock = lruvec.clock.fetch_add(page.nr_pages(), Ordering::Relaxed);
        let workingset = page.has(PageFlags::WORKINGSET);
        Shadow { clock, zone: page.zone_index() as u8, workingset }.encode()
    }
}
