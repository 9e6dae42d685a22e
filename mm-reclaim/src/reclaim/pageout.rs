//! The upper part of the ladder: a dirty page is written, or a reason is given, and a clean one
//! leaves its cache.
//!
//! The order of the checks is SPL-19's. Submitting clears dirty, sets write-back and releases the
//! page lock (SPL-20); a synchronous device has completed the transfer when `submit` returns, and
//! the page can be freed in the same pass if its lock is regained.

use core::ops::ControlFlow::{Break, Continue};

use super::ladder::Judge;
use super::stored::is_held_elsewhere;
use super::verdict::Terms;
use super::{ActivateReason, FreeReason, KeepReason, May, Reclaim, Stage, Verdict};
use crate::env::Env;
use crate::page::{IsolatedPage, LockedPage, PageFlags, PageLock, PageType};
use crate::swap::SwapEntry;

impl<'m, E: Env> Judge<'_, 'm, E> {
    /// The rest of the ladder, for a page that no CPU can use any more.
    #[inline]
    pub(super) fn finish(&mut self, page: LockedPage<'m>, terms: Terms) -> Verdict<'m> {
        self.nr = self.reclaim.map.nr_pages(page.page());
        match self.climb_on(page, terms) {
            Continue(never) => match never {},
            Break(verdict) => verdict,
        }
    }

    #[inline]
    fn climb_on(
        &mut self,
        page: LockedPage<'m>,
        terms: Terms,
    ) -> Stage<'m, core::convert::Infallible> {
        let (page, reason) = self.clean(page, terms)?;
        let page = self.release_private(page)?;
        self.free(page, reason)
    }

    /// SPL-13, SPL-14, SPL-19: leaves the page clean and locked, or decides.
    #[inline]
    fn clean(
        &mut self,
        page: LockedPage<'m>,
        terms: Terms,
    ) -> Stage<'m, (LockedPage<'m>, FreeReason)> {
        let reason = |how| if terms == Terms::Overdue { FreeReason::Overdue } else { how };
        let flags = page.page().flags();
        if !flags.contains(PageFlags::DIRTY) {
            return Continue((page, reason(FreeReason::Clean)));
        }
        if flags.page_type() == PageType::File {
            let (page, how) = self.clean_stored(page, flags, terms)?;
            return Continue((page, reason(how)));
        }
        let page = self.may_write(page, flags)?;
        let page = self.pageout(page)?;
        Continue((page, reason(FreeReason::Written)))
    }

    /// SPL-19, in its order.
    pub(super) fn may_write(&mut self, page: LockedPage<'m>, flags: PageFlags) -> Stage<'m> {
        if !self.request.may_enter(flags.contains(PageFlags::SWAPCACHE)) {
            return self.keep(page, KeepReason::MayNotEnter);
        }
        if !self.may.contains(May::WRITEPAGE) {
            return self.keep(page, KeepReason::MayNotWrite);
        }
        Continue(page)
    }

    /// SPL-14: writes a page that is backed by swap and checks its state afterwards.
    fn pageout(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        if let Some(at) = page.page().file_page() {
            return self.page_out_of_shared(page, at);
        }
        if !page.page().has(PageFlags::SWAPCACHE) {
            return self.activate(page, ActivateReason::PageoutFailed);
        }
        self.swap_out(page)
    }

    /// Writes a page of the swap cache, unless it could not be freed anyway: at once with its lock held,
    /// if the device can.
    #[inline(always)]
    pub(super) fn swap_out(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        if is_held_elsewhere(page.page()) {
            return self.keep(page, KeepReason::ExtraReference);
        }
        let swap = self.reclaim.swap;
        let entry = SwapEntry::from_raw(page.page().private());
        let device = swap.device(entry);
        if device.state(entry.slot()).uses == 0 {
            swap.try_to_free_swap(page.lock());
            return self.keep(page, KeepReason::SlotUnused);
        }
        let Some(ok) = swap.write_now(page.lock(), device, entry) else {
            return self.write(
                page,
                |reclaim, lock| reclaim.swap.writepage(lock),
                |reclaim| reclaim.swap.has_write_failed(entry),
            );
        };
        self.stat.pageout += self.nr;
        self.stat.swapped_now += self.nr;
        if ok { Continue(page) } else { self.activate(page, ActivateReason::WriteFailed) }
    }

    /// Submits the page; `has_failed` says, of one that is dirty afterwards, whether its store
    /// could not write it.
    #[inline]
    pub(super) fn write(
        &mut self,
        page: LockedPage<'m>,
        submit: impl FnOnce(&Reclaim<'m, E>, PageLock<'m>),
        has_failed: impl FnOnce(&Reclaim<'m, E>) -> bool,
    ) -> Stage<'m> {
        self.stat.pageout += self.nr;
        let (page, lock) = page.split();
        submit(self.reclaim, lock);
        self.after_write(page, has_failed)
    }

    /// Checks the state of a submitted page.
    #[inline(always)]
    fn after_write(
        &mut self,
        page: IsolatedPage<'m>,
        has_failed: impl FnOnce(&Reclaim<'m, E>) -> bool,
    ) -> Stage<'m> {
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
        if flags.contains(PageFlags::DIRTY) && has_failed(self.reclaim) {
            return self.activate(page, ActivateReason::WriteFailed);
        }
        self.keep(page, KeepReason::DirtyAgain)
    }
}
