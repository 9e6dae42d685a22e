//! The mark of pages that a locked area maps (LRU-10).
//!
//! **When the mark is set.** Under the page-table lock, with the entry seen present and the
//! area seen locked: here when a range is locked, in `fault/` when a page is mapped in a locked
//! area, in `rmap/mod.rs` when reclaim finds a locked mapping.
//!
//! **When it is cleared.** With the last locked mapping, on every path that removes or unlocks
//! one. Each of them calls [`Rmap::munlock_page`], which checks all mappings:
//!
//! | path | where |
//! | --- | --- |
//! | `munlock` | here |
//! | `munmap`, `MADV_DONTNEED`, exit, the reaper, a fork that failed | `zap.rs` |
//! | a copy at a store to a shared page | `fault/copy.rs` |
//!
//! Reclaim never removes a locked mapping, and `swapoff` only adds some. A child's areas are not
//! locked, so a fork copies no mark. `validate` checks that a page with the mark has a locked
//! mapping.
//!
//! Counterpart in Linux: `mm/mlock.c`.

use super::Rmap;
use crate::base::stat::VmEvent;
use crate::env::Env;
use crate::lru::Relocation;
use crate::page::{Page, PageFlags};

impl<'m, E: Env> Rmap<'m, E> {
    /// Marks a page that a locked area maps: see the module's head for when this is allowed.
    pub(crate) fn mark_mlocked(&self, page: &Page) {
        if !page.set_mlocked(true) {
            self.events.count(VmEvent::UnevictablePgsMlocked, 1);
        }
    }

    /// Moves a marked page to the unevictable list. One that is isolated or in another CPU's batch
    /// at the moment gets there when it is put back.
    pub(crate) fn settle_mlocked(&self, page: &'m Page) {
        if !page.has(PageFlags::LRU) {
            self.lru.drain();
        }
        self.lru.of(page).relocate(page, Relocation::Unevictable);
    }

    /// Marks and moves a page that was just mapped in a locked area.
    pub(crate) fn mlock_page(&self, page: &'m Page) {
        self.mark_mlocked(page);
        self.settle_mlocked(page);
    }

    /// A locked area no longer maps the page; if none does, reclaim may take it.
    pub(crate) fn munlock_page(&self, page: &'m Page) {
        if !page.has(PageFlags::MLOCKED) || self.is_mapped_locked(page) || !page.set_mlocked(false)
        {
            return;
        }
        self.events.count(VmEvent::UnevictablePgsMunlocked, 1);
        if self.lru.of(page).relocate(page, Relocation::Rescue) {
            self.events.count(VmEvent::UnevictablePgsRescued, 1);
        }
    }
}
