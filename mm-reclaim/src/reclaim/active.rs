//! `shrink_active_list`: moves pages from the tail of an active list to the inactive one,
//! so that reclaim gets to see them.
//!
//! References are looked at only for executable file pages, which earn another round; all
//! other pages get their chance on the inactive list. Nothing is reclaimed here.
//!
//! Left out until such pages exist: stripping private data, and executable file pages
//! (an anonymous page is never kept for being executable).

use super::{ScanProgress, ScanRequest};
use crate::env::{Env, Tasks};
use crate::lru::IsolatedList;
use crate::mm::Mm;
use crate::page::{IsolatedPage, LruList, PageFlags, PageType};
use crate::stat::VmEvent;
use crate::tlb::TlbBatch;
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
        let mode = progress.isolate_mode(request);
        let mut batch = lruvec.isolate(self.map, list, want, mode);
        self.count(VmEvent::PgRefill, u64::from(batch.scanned));
        let mut back = IsolatedList::new(self.map);
        let mut stale = TlbBatch::new();
        let (mut deactivated, mut rotated) = (0, 0);
        while let Some(page) = batch.pages.pop() {
            self.env.tasks().yield_now();
            let nr = page.page().nr_pages();
            match self.active_page(&page, &mut stale) {
                Fate::Unevictable => page.page().choose_list(false, true),
                Fate::Stay => rotated += nr,
                Fate::Deactivate => {
                    page.page().choose_list(false, false);
                    page.page().mark_workingset();
                    deactivated += nr;
                }
            }
            back.push(page);
        }
        stale.flush(&self.env);
        lruvec.putback(&mut back, kind, batch.taken, |page| self.free_cold_after_last_put(page));
        self.count(VmEvent::PgDeactivate, u64::from(deactivated));
        lruvec.note_cost(kind, rotated);
    }

    fn active_page(&self, page: &IsolatedPage<'m>, stale: &mut TlbBatch) -> Fate {
        let flags = page.page().flags();
        if flags.contains(PageFlags::MLOCKED) {
            return Fate::Unevictable;
        }
        if flags.page_type() == PageType::Anon {
            return Fate::Deactivate;
        }
        let found = self.page_referenced(page.page(), stale);
        if found.mappings > 0 && found.exec { Fate::Stay } else { Fate::Deactivate }
    }
}

/// What becomes of a page of an active list.
enum Fate {
    Unevictable,
    Stay,
    Deactivate,
}
