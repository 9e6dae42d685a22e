//! The LRU lists of a lruvec, and how pages enter and leave them.
//!
//! Data: a [`Lruvec`] holds five lists (inactive and active, for anonymous and for file
//! pages, and unevictable) under one spin lock, their sizes in base pages mirrored in
//! atomics, the isolated counts, and the costs by which reclaim balances the two types.
//! There is one for every memory control group and zone; so far there is one group.
//! [`LruSet::of`] finds it from a page; a scan gets it as an argument; code that covers all groups
//! of a zone loops over `LruSet::of_zone`.
//!
//! Flow: a new page waits in a batch of its CPU, enters a list at the head, is scanned by reclaim
//! at the tail, and is isolated (held by a token) while reclaim decides:
//!
//! ```text
//!             head                       tail
//!   active    [ .  .  .  .  .  .  .  .  . ] --shrink_active_list--+
//!               ^ activate                                        v
//!   inactive  [ .  .  .  .  .  .  .  .  . ] --isolate--> shrink_page_list --> freed
//!               ^ new page, put back                        |
//!               +-------------------------------------------+ keep
//! ```
//!
//! Locks: a lruvec's lock nests inside the page lock and around nothing. A batch's lock
//! nests around the lruvec's and the zone's (a drained page may turn out to be freed).
//!
//! Counterpart in Linux: `struct lruvec`, `mm/swap.c`, `isolate_lru_pages`.

mod batch;
mod isolate;
mod pages;
mod relocate;
pub(crate) mod turnover;
pub mod workingset;

pub(crate) use batch::{LruBatches, Move};
pub use isolate::IsolateMode;
pub(crate) use isolate::Taken;
pub(crate) use pages::Lru;
pub(crate) use relocate::Relocation;

use crate::base::lock_order::LRUVEC;
use crate::base::sync::{AtomicU32, AtomicU64, Lock, Ordering};
use crate::base::units::isqrt;
use crate::env::Cpu;
use crate::page::list::PageList;
use crate::page::memmap::MemMap;
use crate::page::{IsolatedPage, IsolatedPages, LruList, Page, PageFlags, PageRef, PageType};
use crate::zone::{MAX_ZONES, ZoneId};

/// The lists themselves, inside the lruvec's lock.
pub(crate) struct Lists<'m> {
    lists: [PageList<'m>; LruList::COUNT],
}

/// The lists of one memory control group in one zone.
pub struct Lruvec<'m, C: Cpu> {
    zone: ZoneId,
    map: MemMap<'m>,
    lists: Lock<C, Lists<'m>, LRUVEC>,
    /// Base pages on each list. Changed under the lock, read without it.
    sizes: [AtomicU32; LruList::COUNT],
    /// Base pages isolated, by type.
    isolated: [AtomicU32; 2],
    /// What reclaiming each type has cost (`lru_note_cost`), by type.
    cost: [AtomicU64; 2],
    /// Counts evictions and activations (`nonresident_age`).
    pub(crate) clock: AtomicU32,
    /// Base pages in the swap cache: they have a slot and need no new one to be evicted. A batch of
    /// reclaim adds its changes at its end, so that the count may be stale for a moment, even below
    /// zero (two's complement).
    swapcached: AtomicU32,
    /// Refault activations, by type, and their state at the last snapshot.
    pub(crate) refaults: [AtomicU32; 2],
    pub(crate) refaults_seen: [AtomicU32; 2],
}

impl<'m, C: Cpu> Lruvec<'m, C> {
    fn new(map: MemMap<'m>, zone: ZoneId) -> Self {
        let lists = Lists { lists: core::array::from_fn(|_| PageList::new(map)) };
        Self {
            zone,
            map,
            lists: Lock::new(lists),
            sizes: [const { AtomicU32::new(0) }; LruList::COUNT],
            isolated: [const { AtomicU32::new(0) }; 2],
            cost: [const { AtomicU64::new(0) }; 2],
            clock: AtomicU32::new(0),
            swapcached: AtomicU32::new(0),
            refaults: [const { AtomicU32::new(0) }; 2],
            refaults_seen: [const { AtomicU32::new(0) }; 2],
        }
    }

    /// The zone that its pages lie in.
    #[inline(always)]
    pub fn zone(&self) -> ZoneId {
        self.zone
    }

    /// Base pages on a list.
    #[inline(always)]
    pub fn size(&self, list: LruList) -> u32 {
        self.sizes[list as usize].load(Ordering::Relaxed)
    }

    /// Base pages of one type that are isolated.
    pub fn isolated(&self, kind: PageType) -> u32 {
        self.isolated[kind as usize].load(Ordering::Relaxed)
    }

    /// The cost of reclaiming each type: anon, file.
    pub fn costs(&self) -> (u64, u64) {
        let at = |kind: PageType| self.cost[kind as usize].load(Ordering::Relaxed);
        (at(PageType::Anon), at(PageType::File))
    }

    /// Charges a type with `pages` of reclaim cost; both costs are halved when their sum
    /// passes a quarter of the lists (`lru_note_cost`).
    pub(crate) fn note_cost(&self, kind: PageType, pages: u32) {
        if pages == 0 {
            return;
        }
        self.cost[kind as usize].fetch_add(u64::from(pages), Ordering::Relaxed);
        let (anon, file) = self.costs();
        let size: u64 = LruList::EVICTABLE.iter().map(|l| u64::from(self.size(*l))).sum();
        if anon + file > size / 4 {
            // Two CPUs may halve concurrently; the balance only ages faster for a moment.
            self.cost[0].store(anon / 2, Ordering::Relaxed);
            self.cost[1].store(file / 2, Ordering::Relaxed);
        }
    }

    #[inline(always)]
    fn resize(&self, list: LruList, delta: i32) {
        let size = &self.sizes[list as usize];
        size.store(size.load(Ordering::Relaxed).wrapping_add_signed(delta), Ordering::Relaxed);
    }

    fn add_isolated(&self, kind: PageType, delta: i32) {
        // Wrapping addition of a negative number subtracts.
        self.isolated[kind as usize].fetch_add(delta as u32, Ordering::Relaxed);
    }

    /// Base pages in the swap cache (`nr_swapcached`), mapped or not.
    #[inline(always)]
    pub fn swapcached(&self) -> u32 {
        self.swapcached.load(Ordering::Relaxed).cast_signed().max(0).unsigned_abs()
    }

    /// Counts pages that entered or left the swap cache.
    #[inline(always)]
    pub(crate) fn add_swapcached(&self, delta: i32) {
        // Wrapping addition of a negative number subtracts.
        self.swapcached.fetch_add(delta as u32, Ordering::Relaxed);
    }

    /// Advances the workingset's clock by `pages` evictions or activations.
    pub(crate) fn age(&self, pages: u32) {
        if pages > 0 {
            self.clock.fetch_add(pages, Ordering::Relaxed);
        }
    }

    /// Whether the inactive list is too short compared with the active one: shorter than its `1 /
    /// ratio`th, where the ratio grows with the square root of the lists' size.
    pub fn inactive_is_low(&self, kind: PageType) -> bool {
        inactive_is_low(self.size(kind.inactive()), self.size(kind.active()))
    }

    /// Links a page, which is on no list and not isolated, where its flags say.
    #[inline]
    fn link_new(&self, lists: &mut Lists<'m>, page: &'m Page) {
        let list = page.settle_list();
        page.enter_lru();
        lists.lists[list as usize].push_front(page);
        self.resize(list, self.map.nr_pages(page) as i32);
    }

    /// Unlinks a page whose last reference is gone, if it is on a list.
    pub(crate) fn remove_freed(&self, page: &'m Page) {
        let mut lists = self.lists.lock();
        if page.has(PageFlags::LRU) {
            self.unlink(&mut lists, page);
            page.leave_lru();
        }
    }

    #[inline(always)]
    fn unlink(&self, lists: &mut Lists<'m>, page: &'m Page) {
        let list = page.lru_list();
        lists.lists[list as usize].remove(page);
        self.resize(list, -(self.map.nr_pages(page) as i32));
    }

    /// Isolates those of `pages` that `is_of` says are this lruvec's, and that are on a list for
    /// pages of type `kind`: their tokens take over the references.
    pub(crate) fn isolate_held(
        &self,
        pages: &mut [Option<PageRef<'m>>],
        kind: PageType,
        is_of: impl Fn(&Page) -> bool,
    ) -> IsolatedPages<'m> {
        let (mut out, mut taken) = (IsolatedPages::new(), 0);
        let mut lists = self.lists.lock();
        for slot in pages {
            let is_listed = |held: &mut PageRef<'m>| {
                let flags = held.page().flags();
                flags.contains(PageFlags::LRU) && flags.page_type() == kind && is_of(held.page())
            };
            let Some(held) = slot.take_if(is_listed) else { continue };
            let page = held.leak();
            self.unlink(&mut lists, page);
            page.enter_isolation();
            taken += self.map.nr_pages(page) as i32;
            out.push(IsolatedPage::adopt(page));
        }
        drop(lists);
        self.add_isolated(kind, taken);
        out
    }

    /// Isolates a listed page; `None` if it is on no list.
    pub(crate) fn isolate_page(&self, page: &'m Page) -> Option<IsolatedPage<'m>> {
        let mut lists = self.lists.lock();
        if !page.has(PageFlags::LRU) {
            return None;
        }
        self.unlink(&mut lists, page);
        page.enter_isolation();
        drop(lists);
        self.add_isolated(page.flags().page_type(), self.map.nr_pages(page) as i32);
        page.get().leak();
        Some(IsolatedPage::adopt(page))
    }

    /// Visits every page of a list, for `validate()`.
    pub(crate) fn for_each(&self, list: LruList, visit: impl FnMut(&'m Page)) {
        self.lists.lock().lists[list as usize].iter().for_each(visit);
    }

    /// Shifts the counts, for tests of `validate()`.
    #[doc(hidden)]
    pub fn corrupt_counts(&self, list: LruList, size: i32, isolated: i32) {
        self.resize(list, size);
        self.add_isolated(list.page_type().unwrap_or(PageType::Anon), isolated);
    }
}

/// The ratio rule on plain numbers of 4 KiB pages.
pub(crate) fn inactive_is_low(inactive: u32, active: u32) -> bool {
    let gib = (u64::from(inactive) + u64::from(active)) >> (30 - crate::base::units::PAGE_SHIFT);
    let ratio = if gib == 0 { 1 } else { isqrt(10 * gib) };
    u64::from(inactive) * ratio < u64::from(active)
}

/// Every lruvec of the machine.
pub struct LruSet<'m, C: Cpu> {
    vecs: [Lruvec<'m, C>; MAX_ZONES],
}

impl<'m, C: Cpu> LruSet<'m, C> {
    pub(crate) fn new(map: MemMap<'m>) -> Self {
        Self { vecs: ZoneId::ALL.map(|zone| Lruvec::new(map, zone)) }
    }

    /// The lruvec of a page. With several groups a page can be moved concurrently: callers must
    /// then recheck after locking the lruvec.
    #[inline(always)]
    pub fn of(&self, page: &Page) -> &Lruvec<'m, C> {
        &self.vecs[page.zone_index()]
    }

    /// The lruvec of the root group in a zone.
    pub fn in_zone(&self, zone: ZoneId) -> &Lruvec<'m, C> {
        &self.vecs[zone.index()]
    }

    /// The lruvecs of all groups in a zone; so far there is one group.
    pub(crate) fn of_zone(&self, zone: ZoneId) -> impl Iterator<Item = &Lruvec<'m, C>> {
        core::iter::once(self.in_zone(zone))
    }

    /// The sum of a value over all lruvecs.
    pub(crate) fn in_all_zones(&self, figure: impl Fn(&Lruvec<'m, C>) -> u32) -> u32 {
        self.vecs.iter().map(figure).sum()
    }

    /// Base pages on one list, over all zones.
    pub fn total(&self, list: LruList) -> u32 {
        self.vecs.iter().map(|v| v.size(list)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{TestCpu, owned};

    /// LRU-04: the ratio is 1 below 1 GiB, 3 at 1 GiB, 10 at 10 GiB.
    #[test]
    fn the_inactive_share_shrinks_with_the_square_root_of_the_size() {
        let gib = 1 << 18;
        assert!(!inactive_is_low(100, 100));
        assert!(inactive_is_low(99, 100));
        assert!(!inactive_is_low(gib / 4, gib * 3 / 4));
        assert!(inactive_is_low(gib / 4 - 1, gib * 3 / 4 + 1));
        assert!(!inactive_is_low(gib, gib * 10));
        assert!(inactive_is_low(gib - 1, gib * 10 + 1));
    }

    /// LRU-08: costs add up by type until their sum passes a quarter of the lists; then
    /// both are halved.
    #[test]
    fn costs_are_halved_when_they_pass_a_quarter_of_the_lists() {
        let lru = LruSet::<TestCpu>::new(owned(&[]));
        let vec = lru.in_zone(ZoneId::Dma);
        for list in LruList::EVICTABLE {
            vec.corrupt_counts(list, 100, 0);
        }
        vec.corrupt_counts(LruList::Unevictable, 10_000, 0);
        vec.note_cost(PageType::Anon, 60);
        vec.note_cost(PageType::File, 40);
        vec.note_cost(PageType::File, 0);
        assert_eq!(vec.costs(), (60, 40));
        vec.note_cost(PageType::File, 1);
        assert_eq!(vec.costs(), (30, 20));
        vec.note_cost(PageType::Anon, 51);
        assert_eq!(vec.costs(), (40, 10));
        assert_eq!(lru.in_zone(ZoneId::Normal).costs(), (0, 0));
    }
}
