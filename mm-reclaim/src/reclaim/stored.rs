//! The rungs of the ladder that only pages of files reach: when one is written, what its store keeps
//! with it, and pages that have lost their file.
//!
//! None of this is on the path of an anonymous page: each entry is out of line.
//!
//! **Private data.** A file system whose blocks are smaller than a page keeps their state with the page
//! ([`PageIo::mark_private`](crate::block::PageIo::mark_private)). It writes blocks by itself too, so
//! that all of them may be clean while the page's flag says dirty: such a page is clean (FILE-06). The
//! flag goes when the data is released. Nobody can set it meanwhile: that takes the page lock, or a
//! mapping, of which the page has none here.
//!
//! **Orphans.** A store that still uses a page when its file loses it keeps a reference to it. The page
//! stays on its list until the ladder meets it and the store agrees.
//!
//! Counterpart in Linux: the parts of `shrink_page_list` and `pageout` for `page_is_file_cache`,
//! `page_has_private` and pages without a mapping.

use core::ops::ControlFlow::{Break, Continue};

use super::ladder::Judge;
use super::verdict::Terms;
use super::{ActivateReason, FreeReason, KeepReason, ReclaimKind, Stage, Verdict};
use crate::base::stat::VmEvent;
use crate::base::sync::NoPreempt;
use crate::base::units::FilePage;
use crate::env::Env;
use crate::page::{LockedPage, Page, PageFlags, PageRef};
use crate::zone::ZoneFlags;

/// References of a page that only its cache and the isolation have (SPL-14, SPL-16).
const EXPECTED: u32 = 2;

impl<'m, E: Env> Judge<'_, 'm, E> {
    /// SPL-13, SPL-14, SPL-19 for a dirty page that is not backed by swap.
    #[cold]
    #[inline(never)]
    pub(super) fn clean_stored(
        &mut self,
        page: LockedPage<'m>,
        flags: PageFlags,
        terms: Terms,
    ) -> Stage<'m, (LockedPage<'m>, FreeReason)> {
        let Some(at) = page.page().file_page() else {
            return self.dirty_without_file(page, flags);
        };
        if flags.contains(PageFlags::PRIVATE) && self.are_blocks_clean(at) {
            return Continue((page, FreeReason::Clean));
        }
        if !self.may_write_file(flags) {
            page.page().mark_reclaim();
            self.reclaim.events.count(VmEvent::NrVmscanImmediateReclaim, u64::from(self.nr));
            return Break(self.activated(page, ActivateReason::DirtyFile));
        }
        if terms == Terms::FreeClean {
            return Break(self.kept(page, KeepReason::ReferencedDirty));
        }
        let page = self.may_write(page, flags)?;
        let page = self.page_out_of_file(page, at)?;
        Continue((page, FreeReason::Written))
    }

    /// A program's page that was given up, and written to; or one that has lost its file, and whose
    /// contents are nobody's.
    fn dirty_without_file(
        &mut self,
        page: LockedPage<'m>,
        flags: PageFlags,
    ) -> Stage<'m, (LockedPage<'m>, FreeReason)> {
        if page.page().is_lazily_freed() {
            return Break(self.kept(page, KeepReason::LazyFreeBusy));
        }
        if flags.contains(PageFlags::PRIVATE) {
            return Continue((page, FreeReason::Clean));
        }
        Break(self.kept(page, KeepReason::NoMapping))
    }

    /// FILE-06: the store says that all blocks of a page are clean, and none is being written.
    fn are_blocks_clean(&self, at: FilePage) -> bool {
        self.reclaim.files.dirty_writeback(at) == Some((false, false))
    }

    /// SPL-13: only kswapd, only in a zone full of dirty pages, only at the second visit.
    fn may_write_file(&self, flags: PageFlags) -> bool {
        self.request.kind == ReclaimKind::Kswapd
            && self.zone.flags().contains(ZoneFlags::DIRTY)
            && flags.contains(PageFlags::RECLAIM)
    }

    /// SPL-14: submits a page of a stored file. A congested device keeps no one out, since nobody but
    /// kswapd gets here (SPL-13).
    fn page_out_of_file(&mut self, page: LockedPage<'m>, at: FilePage) -> Stage<'m> {
        debug_assert!(self.request.kind == ReclaimKind::Kswapd);
        if is_held_elsewhere(page.page()) {
            return self.keep(page, KeepReason::ExtraReference);
        }
        if !self.reclaim.files.may_write(at) {
            page.page().clear_reclaim();
            return self.activate(page, ActivateReason::PageoutFailed);
        }
        self.write(page, |reclaim, lock| reclaim.files.writepage(at, lock), |_| false)
    }

    /// SPL-14: a page of shared memory gets its slot here, unless it could not be freed anyway.
    #[cold]
    #[inline(never)]
    pub(super) fn page_out_of_shared(&mut self, page: LockedPage<'m>, at: FilePage) -> Stage<'m> {
        if is_held_elsewhere(page.page()) {
            return self.keep(page, KeepReason::ExtraReference);
        }
        if !self.reclaim.swap.add_shared_to_swap(at, page.lock()) {
            return self.activate(page, ActivateReason::NoSlot);
        }
        self.cached += self.nr as i32;
        self.swap_out(page)
    }

    /// SPL-15: the store releases what it keeps with the page.
    #[inline]
    pub(super) fn release_private(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        match page.page().has(PageFlags::PRIVATE) {
            false => Continue(page),
            true => self.release_private_data(page),
        }
    }

    #[cold]
    #[inline(never)]
    fn release_private_data(&mut self, page: LockedPage<'m>) -> Stage<'m> {
        let files = self.reclaim.files;
        if !files.release_private(page.lock(), self.request.gfp) {
            return self.activate(page, ActivateReason::PrivateBusy);
        }
        let Some(at) = page.page().file_page() else {
            return Break(self.free_orphan(page));
        };
        // It is dirty only if its blocks are clean.
        files.clear_page_dirty(files.at(at.file), at, page.lock());
        Continue(page)
    }

    /// SPL-15: the page has no file, and the store does not use it any more. Whoever else has a
    /// reference found it by chance, and frees it soon.
    fn free_orphan(&mut self, page: LockedPage<'m>) -> Verdict<'m> {
        // The reference of the private data (`Files::drop_private`).
        let last = page.page().put();
        debug_assert!(!last, "the isolation has a reference");
        let whole = NoPreempt::<E::Cpu>::new();
        let page = match page.freeze(1, &whole) {
            Ok(frozen) => return Verdict::Free(frozen.settle(), FreeReason::Orphan),
            Err(page) => page,
        };
        drop(whole);
        let (page, lock) = page.split();
        self.reclaim.zones.unlock(lock);
        self.stat.reclaimed += self.nr;
        let page = page.leak();
        page.end_isolation();
        self.reclaim.lru.put(PageRef::adopt(page));
        Verdict::Left(FreeReason::Orphan)
    }
}

/// Whether a page that nothing maps has references beside those of its cache and the isolation: it
/// could not be freed after the write.
pub(super) fn is_held_elsewhere(page: &Page) -> bool {
    page.refs() != EXPECTED
}
