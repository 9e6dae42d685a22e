//! Dropping the mappings of a lazily freed page (SPL-10).
//!
//! Its contents are not needed, so its entries become empty, and not swap entries: the next touch
//! sees zeroes. An entry that is dirty says that the program has stored to the page since it gave
//! the contents up. Then the page is an ordinary one again, and stays mapped.
//!
//! **Why the other entries need not come back.** A page has become lazily freed with one entry. Of
//! several entries, all but that one are copies that `fork` has made of it or of one another, all of
//! them read-only: a store to one of them gets a copy of the page. So either all of them were dirty
//! when they were copied, and the walk ends at the first, or none ever is.
//!
//! A further reference, such as that of a caller that stores to the page by its frame, would keep
//! the page from being freed after its entries are gone, and its stores would be lost to the
//! program. So such a page stays mapped as well. It is counted before the entry is cleared: under
//! the page-table lock no reference is taken through that entry.
//!
//! Counterpart in Linux: the part of `try_to_unmap_one` for pages that are not backed by swap.

use core::ops::ControlFlow;

use super::{Hit, Rmap, RmapBatch, Unmap, settled};
use crate::base::tlb::TlbBatch;
use crate::env::{Env, PageTables, Pte};
use crate::page::{Page, PageFlags, PageLock};

impl<'m, E: Env> Rmap<'m, E> {
    /// Removes every mapping of a lazily freed page, which is isolated and locked. If it was
    /// written to, it is backed by swap again. The translations join `batch`.
    #[cold]
    #[inline(never)]
    pub(crate) fn discard_mappings(&self, lock: &PageLock<'m>, batch: &mut RmapBatch<'m>) -> Unmap {
        let page = lock.page();
        let mut end = Unmap::Done;
        let RmapBatch { stale, frames } = batch;
        self.walk_family(page, frames, |hit| {
            end = if hit.area.is_locked() {
                // Marked under the page-table lock: an munlock of the area checks later.
                self.mark_mlocked(page);
                Unmap::Locked
            } else {
                self.discard_one(page, hit, stale)
            };
            match end {
                Unmap::Done => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        settled(end, page)
    }

    fn discard_one(&self, page: &'m Page, hit: Hit<'_, 'm, E>, stale: &mut TlbBatch) -> Unmap {
        let Hit { space, tables, vpn, .. } = hit;
        if page.refs() != 1 + u32::from(page.mapcount()) {
            return Unmap::Failed;
        }
        let Pte::Present(old) = tables.replace(vpn, Pte::None) else {
            unreachable!("the entry was seen present under the page-table lock");
        };
        if old.dirty || page.has(PageFlags::DIRTY) {
            let set = tables.set(vpn, Pte::Present(old));
            debug_assert!(set.is_ok(), "the table exists");
            page.take_back_lazily_freed();
            return Unmap::Dirty;
        }
        stale.gather(&self.env, tables.asid(), vpn);
        space.add_resident(-1);
        page.remove_mapping();
        let last = page.put();
        debug_assert!(!last, "the caller holds a reference");
        Unmap::Done
    }
}
