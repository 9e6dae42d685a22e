//! How pages enter the lists and, with their last reference, leave them.
//!
//! Data: every lruvec of the machine and the batches in front of them. Owner:
//! [`Mm`](crate::Mm). Locks: those of the batches and of the lruvecs.
//!
//! A list holds no reference. So the last put unlinks the page from its list and returns it to its
//! zone: [`Lru::put`] is the only way in which a page in use becomes free, except for pages that
//! reclaim has frozen.

use super::turnover::Reading;
use super::{LruBatches, LruSet, Lruvec, Move};
use crate::base::stat::VmEvents;
use crate::base::sync::{Ordering, Proof};
use crate::env::Env;
use crate::page::{FrozenPage, IsolatedPages, Page, PageFlags, PageRef, PageType};
use crate::zone::{Zone, ZoneId, Zones};

/// The lists of the machine.
pub(crate) struct Lru<'m, E: Env> {
    pub(crate) zones: &'m Zones<'m, E>,
    pub(crate) set: LruSet<'m, E::Cpu>,
    batches: LruBatches<'m, E::Cpu>,
    pub(crate) events: &'m VmEvents<E::Cpu>,
}

impl<'m, E: Env> Lru<'m, E> {
    /// Empty lists for the pages of `zones`.
    pub(crate) fn new(zones: &'m Zones<'m, E>, events: &'m VmEvents<E::Cpu>) -> Self {
        Self { zones, set: LruSet::new(zones.map), batches: LruBatches::new(events), events }
    }

    /// The lruvec of a page.
    #[inline(always)]
    pub(crate) fn of(&self, page: &Page) -> &Lruvec<'m, E::Cpu> {
        self.set.of(page)
    }

    // ---- references ----

    /// Drops a reference; the last one frees the page.
    #[doc(alias = "folio_put")]
    #[inline]
    pub(crate) fn put(&self, reference: PageRef<'m>) {
        let page = reference.leak();
        if page.put() {
            self.free_after_last_put(page);
        }
    }

    /// The last reference to `page` is gone: unlinks it and returns it to its zone.
    pub(crate) fn free_after_last_put(&self, page: &'m Page) {
        if page.has(PageFlags::LRU) {
            self.of(page).remove_freed(page);
        }
        self.zones.free_frozen(FrozenPage::after_last_put(page));
    }

    // ---- onto the lists ----

    /// Puts a new page on the list that its flags name, through this CPU's batch.
    #[doc(alias = "lru_cache_add")]
    #[inline]
    pub(crate) fn add(&self, page: &'m Page) {
        self.add_held(page.get());
    }

    /// Like [`Lru::add`], with a reference that the batch takes over.
    #[inline(always)]
    pub(crate) fn add_held(&self, held: PageRef<'m>) {
        self.batches.add(&self.set, held, |page| self.free_unlisted(page));
    }

    /// As [`Lru::add_held`], for a caller that is not preempted anyway.
    #[inline(always)]
    pub(crate) fn add_pinned(&self, held: PageRef<'m>, pinned: Proof<'_>) {
        self.batches.add_pinned(&self.set, held, pinned, |page| self.free_unlisted(page));
    }

    /// Moves a page of a list, through this CPU's batch; false, and nothing is done, if it is not
    /// one to be moved. The caller holds a reference, and no lock that comes after a batch's.
    #[inline(always)]
    pub(crate) fn relocate(&self, page: &'m Page, to: Move) -> bool {
        self.batches.relocate(&self.set, page, to, |page| self.free_unlisted(page))
    }

    /// Empties this CPU's batches (`lru_add_drain`).
    #[doc(alias = "lru_add_drain")]
    pub(crate) fn drain(&self) {
        self.batches.drain(&self.set, |page| self.free_unlisted(page));
    }

    /// Empties the batches of every CPU, so that each page is on its list
    /// (`lru_add_drain_all`).
    #[doc(alias = "lru_add_drain_all")]
    pub(crate) fn drain_all(&self) {
        self.batches.drain_all(&self.set, |page| self.free_unlisted(page));
    }

    /// Puts pages of one type that were isolated from `lruvec` back at the heads of the lists that
    /// their flags now name; those whose last reference was dropped in the meantime go to their
    /// zone.
    #[doc(alias = "move_pages_to_lru")]
    pub(crate) fn putback(
        &self,
        lruvec: &Lruvec<'m, E::Cpu>,
        pages: &mut IsolatedPages<'m>,
        kind: PageType,
        taken: u32,
    ) {
        lruvec.putback(pages, kind, taken, |page| self.free_unlisted(page));
    }

    /// A page whose last reference was put under the lruvec's lock goes to its zone.
    #[cold]
    fn free_unlisted(&self, page: &'m Page) {
        self.zones.free_cold(FrozenPage::after_last_put(page));
    }

    /// The page was used other than through a mapping (LRU-03): the first time it is marked, the
    /// second time it goes to the active list, through this CPU's batch.
    pub(crate) fn mark_page_accessed(&self, held: &PageRef<'m>) {
        let page = held.page();
        let flags = page.flags();
        if !flags.contains(PageFlags::REFERENCED) {
            page.mark_referenced();
        } else if !flags.intersects(PageFlags::ACTIVE | PageFlags::UNEVICTABLE) {
            let goes = match flags.contains(PageFlags::LRU) {
                true => self.relocate(page, Move::Activate),
                false => self.batches.activate_new(page),
            };
            // One that is isolated, or in another CPU's batch, is activated at its next use.
            if goes {
                page.take_referenced();
                self.of(page).age(self.zones.map.nr_pages(page));
            }
        }
    }

    /// The clocks of all zones' lists, for [`Turnover`](super::turnover::Turnover).
    pub(crate) fn read_clocks(&self) -> Reading {
        let evictions = |zone: &Zone<'m, E::Cpu>| zone.reclaim_counts().1;
        Reading {
            clocks: ZoneId::ALL.map(|id| self.set.in_zone(id).clock.load(Ordering::Relaxed)),
            evictions: self.zones.iter().map(evictions).sum(),
        }
    }
}
