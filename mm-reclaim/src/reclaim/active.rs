//! `shrink_active_list`: moves pages from the tail of an active list to the inactive one,
//! so that reclaim gets to see them.
//!
//! The look takes the access flags off every page: one that is sent down must be used again
//! to come back. That it was used until now earns another round for executable file pages
//! only; all other pages get their chance on the inactive list. Nothing is reclaimed here.
//!
//! Left out until such pages exist: stripping private data, and executable file pages
//! (an anonymous page is never kept for being executable).

use super::{ScanProgress, ScanRequest};
use crate::env::{Env, Tasks};
use crate::lru::IsolatedList;
use crate::mm::Mm;
use crate::page::{IsolatedPage, LruList, PageFlags, PageType};
use crate::rmap::RmapBatch;
use crate::stat::VmEvent;
use crate::zone::Zone;

impl<'m, E: Env> Mm<'m, E> {
    /// Looks at up to `want` pages of an active list.
    pub(super) fn shrink_active_list(
        &self,
        want: u32,
        list: LruList,
        zone: &Zone<'m, E::Cpu>,
        request: &ScanRequest,
        progress: &ScanProgress,
    ) {
        let kind = list.page_type().unwrap_or(PageType::Anon);
        let lruvec = self.lru.in_zone(zone.id());
        self.lru_add_drain();
        let mode = self.isolate_mode(kind, request, progress);
        let mut batch = lruvec.isolate(self.map, list, want, mode);
        self.count(VmEvent::PgRefill, u64::from(batch.scanned));
        zone.note_looked_at(batch.scanned);
        let mut back = IsolatedList::new(self.map);
        let mut walks = RmapBatch::new();
        let mut looks = Looks::default();
        while let Some(page) = batch.pages.pop() {
            self.env.tasks().yield_now();
            let fate = self.active_page(&page, &mut walks, &mut looks);
            self.send(&page, fate, &mut looks);
            back.push(page);
        }
        walks.finish(self);
        lruvec.putback(&mut back, kind, batch.taken, |page| self.free_cold_after_last_put(page));
        self.count(VmEvent::PgDeactivate, u64::from(looks.deactivated));
        self.count(VmEvent::NrRotated, u64::from(looks.rotated));
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
        let found = self.page_referenced(page.page(), walks);
        if found.mappings == 0 {
            return Fate::Deactivate;
        }
        looks.rotated += page.page().nr_pages();
        let is_text = found.exec && flags.page_type() == PageType::File;
        if is_text { Fate::Stay } else { Fate::Deactivate }
    }

    /// Chooses the list to which the page goes back.
    fn send(&self, page: &IsolatedPage<'m>, fate: Fate, looks: &mut Looks) {
        match fate {
            Fate::Unevictable => page.page().choose_list(false, true),
            Fate::Stay => {}
            Fate::Deactivate => {
                page.page().choose_list(false, false);
                page.page().mark_workingset();
                looks.deactivated += page.page().nr_pages();
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

/// What the looks at one batch came to, in base pages.
#[derive(Default)]
struct Looks {
    /// Sent to the inactive list.
    deactivated: u32,
    /// Used since the look before.
    rotated: u32,
}
