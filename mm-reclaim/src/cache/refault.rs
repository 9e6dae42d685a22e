//! A page that comes back: was it evicted too early (LRU-09)?
//!
//! The arithmetic is that of [`crate::lru::workingset`]; here it is applied to the lists.

use super::Cache;
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::env::Env;
use crate::lru::Lruvec;
use crate::lru::workingset::{Shadow, workingset_size};
use crate::page::{ListChoice, Page, PageType};
use crate::zone::ZoneId;

impl<E: Env> Cache<'_, E> {
    /// Activates a page that would still be in memory if the inactive list had been longer by the
    /// size of the workingset. `can_swap`: anonymous pages could be evicted.
    #[inline]
    pub(crate) fn workingset_refault(
        &self,
        page: &Page,
        kind: PageType,
        shadow: u32,
        can_swap: bool,
    ) {
        debug_assert_eq!(page.flags().page_type(), kind);
        let shadow = Shadow::decode(shadow);
        let [refault, ..] = events_of(kind);
        self.events.count(refault, 1);
        let zone = ZoneId::ALL[shadow.zone as usize % ZoneId::ALL.len()];
        let lruvec = self.lru.set.in_zone(zone);
        let now = lruvec.clock.load(Ordering::Relaxed);
        let distance = shadow.distance(now);
        if self.turnover.is_watching() {
            self.turnover.note_refault(shadow, now);
        }
        let size = |list| lruvec.size(list);
        if distance > workingset_size(kind, size, can_swap) {
            return;
        }
        self.activate_refault(page, kind, lruvec, shadow.workingset);
    }

    #[inline(never)]
    fn activate_refault(
        &self,
        page: &Page,
        kind: PageType,
        lruvec: &Lruvec<'_, E::Cpu>,
        was_workingset: bool,
    ) {
        let [_, activate, restore] = events_of(kind);
        page.choose_list(ListChoice::Active);
        lruvec.age(1);
        lruvec.refaults[kind as usize].fetch_add(1, Ordering::Relaxed);
        self.events.count(activate, 1);
        if was_workingset {
            page.mark_workingset();
            lruvec.note_cost(kind, 1);
            self.events.count(restore, 1);
        }
    }
}

/// The events: a refault, one that was activated, one of a page that was active before.
#[inline(always)]
fn events_of(kind: PageType) -> [VmEvent; 3] {
    match kind {
        PageType::Anon => [
            VmEvent::WorkingsetRefaultAnon,
            VmEvent::WorkingsetActivateAnon,
            VmEvent::WorkingsetRestoreAnon,
        ],
        PageType::File => [
            VmEvent::WorkingsetRefaultFile,
            VmEvent::WorkingsetActivateFile,
            VmEvent::WorkingsetRestoreFile,
        ],
    }
}
