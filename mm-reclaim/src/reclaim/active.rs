//! `shrink_active_list`: moves pages from the tail of an active list to the inactive one,
//! so that reclaim can scan them.
//!
//! The scan clears the access flags of every page: a deactivated page must be used again to come
//! back. Recent use earns another round on the active list for executable file pages only; all
//! other pages get their chance on the inactive list. Nothing is reclaimed here.
//!
//! Private data that takes more than a tenth of memory is released here too: a page that stays in use
//! is never evicted, and would keep it.

use super::{Reclaim, Scan};
use crate::base::stat::VmEvent;
use crate::env::{Env, Tasks};
use crate::lru::Taken;
use crate::page::{IsolatedPage, ListChoice, LruList, PageFlags, PageType};
use crate::rmap::RmapBatch;
use crate::zone::gfp::Gfp;

impl<'m, E: Env> Scan<'_, 'm, E> {
    /// Scans up to `want` pages of an active list.
    pub(super) fn shrink_active_list(&mut self, want: u32, list: LruList) {
        let kind = list.page_type().unwrap_or(PageType::Anon);
        let Reclaim { env, lru, rmap, events, .. } = self.reclaim;
        lru.drain();
        let mut batch = Taken::nothing();
        self.lruvec.isolate(list, want, self.isolate_mode(kind), &mut batch);
        events.count(VmEvent::PgRefill, u64::from(batch.scanned));
        self.zone.note_looked_at(batch.scanned);
        self.progress.looked_at += batch.scanned;
        self.progress.aged += batch.scanned;
        let strip = self.reclaim.files.has_too_much_private();
        let mut walks = RmapBatch::new();
        let mut looks = Looks::default();
        while let Some(page) = batch.pages.pop() {
            env.tasks().yield_now();
            if strip {
                self.strip(&page);
            }
            let fate = self.active_page(&page, &mut walks, &mut looks);
            self.send(&page, fate, &mut looks);
            batch.pages.keep(page);
        }
        batch.pages.rewind();
        rmap.finish(&mut walks);
        lru.putback(self.lruvec, &mut batch.pages, kind, batch.taken);
        events.count(VmEvent::PgDeactivate, u64::from(looks.deactivated));
        events.count(VmEvent::NrRotated, u64::from(looks.rotated));
    }

    fn active_page(
        &self,
        page: &IsolatedPage<'m>,
        walks: &mut RmapBatch<'m>,
        looks: &mut Looks,
    ) -> Fate {
        let flags = page.page().flags();
        if flags.contains(PageFlags::MLOCKED) {
            return Fate::Unevictable;
        }
        let found = self.reclaim.rmap.page_referenced(page.page(), walks);
        if found.mappings == 0 {
            return Fate::Deactivate;
        }
        looks.rotated += self.reclaim.map.nr_pages(page.page());
        let is_text = found.exec && flags.page_type() == PageType::File;
        if is_text { Fate::Stay } else { Fate::Deactivate }
    }

    /// Has the private data of a page released, if its lock is free: nothing waits here, so the store
    /// gets no rights.
    #[cold]
    #[inline(never)]
    fn strip(&self, page: &IsolatedPage<'m>) {
        let Reclaim { files, zones, .. } = self.reclaim;
        let page = page.page();
        if !page.has(PageFlags::PRIVATE) {
            return;
        }
        if let Some(lock) = page.try_lock() {
            // Whether it still has a file, and is not being written, is settled by the lock.
            if page.has(PageFlags::PRIVATE | PageFlags::FILE) && !page.has(PageFlags::WRITEBACK) {
                files.release_private(&lock, Gfp::empty());
            }
            zones.unlock(lock);
        }
    }

    /// Chooses the list that the page is put back on.
    fn send(&self, page: &IsolatedPage<'m>, fate: Fate, looks: &mut Looks) {
        match fate {
            Fate::Unevictable => page.page().choose_list(ListChoice::Unevictable),
            Fate::Stay => {}
            Fate::Deactivate => {
                page.page().choose_list(ListChoice::Inactive);
                page.page().mark_workingset();
                looks.deactivated += self.reclaim.map.nr_pages(page.page());
            }
        }
    }
}

/// What becomes of a page of an active list.
#[derive(Clone, Copy)]
enum Fate {
    Unevictable,
    Stay,
    Deactivate,
}

/// The result of scanning one batch, in base pages.
#[derive(Default)]
struct Looks {
    /// Moved to the inactive list.
    deactivated: u32,
    /// Used since the previous scan.
    rotated: u32,
}
