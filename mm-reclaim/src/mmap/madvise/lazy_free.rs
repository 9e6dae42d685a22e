//! `MADV_FREE`: a program gives up the contents of a range, but not the range (LAZY-01).
//!
//! A page that only this program maps is made clean, loses its slot, and is marked through the
//! batch for that: it is no longer backed by swap, and so belongs to the lists of files. Until
//! reclaim takes it (SPL-10) a load finds the old contents. A store sets the entry's dirty flag
//! again, by which reclaim sees that the page must be kept. What is in swap is dropped at once: the
//! next touch sees zeroes.
//!
//! **Order.** Entries are made clean, then the TLB is flushed, and then the pages are marked. So a
//! store after the call finds no translation that would let it pass unseen; a store during the call
//! may be lost with the old contents.
//!
//! A page that others map too, that is under write-back, or that is locked or isolated at the moment
//! stays as it is: this is advice.
//!
//! Locks: the area lock, held by the caller; the page-table lock for a batch of entries; page locks
//! are only tried.
//!
//! Counterpart in Linux: `madvise_free_pte_range`.

use core::ops::Range;

use super::{BATCH, Gathered, Mmap};
use crate::base::tlb::TlbBatch;
use crate::base::units::Vpn;
use crate::env::{Env, Mapping, PageTables, Pte};
use crate::lru::Move;
use crate::page::{Page, PageFlags};
use crate::space::SpaceOf;
use crate::swap::NotPresent;

impl<'m, E: Env> Mmap<'m, E> {
    /// Gives up the contents of `range`; returns how many pages were marked or dropped.
    pub(super) fn free_lazily(&self, space: &SpaceOf<'m, E>, range: Range<Vpn>) -> u32 {
        let (mut at, mut freed) = (range.start, 0);
        while at < range.end {
            let mut stale = TlbBatch::new();
            let (batch, dropped) = self.give_up_entries(space, at..range.end, &mut stale);
            stale.flush(&self.env);
            (at, freed) = (batch.next, freed + dropped);
            for held in batch.pages.into_iter().flatten() {
                freed += u32::from(self.lru.relocate(held.page(), Move::LazyFree));
                self.lru.put(held);
            }
        }
        freed
    }

    /// The next few entries of `range`: drops what is in swap, and makes pages clean; returns these,
    /// and the number of entries dropped.
    fn give_up_entries(
        &self,
        space: &SpaceOf<'m, E>,
        range: Range<Vpn>,
        stale: &mut TlbBatch,
    ) -> (Gathered<'m>, u32) {
        let (mut out, mut dropped) = (Gathered::until(range.end), 0);
        let mut locked = space.tables.lock();
        let Some(tables) = locked.as_mut() else { return (out, 0) };
        let mut at = range.start;
        for _ in 0..BATCH {
            let Some((vpn, pte)) = tables.next_entry(at, range.end) else { return (out, dropped) };
            at = vpn + 1;
            match pte {
                Pte::Present(old) if !self.spaces.is_zero_page(old.pfn) => {
                    if self.make_clean(tables, vpn, old, stale) {
                        out.push(self.map.page(old.pfn).get());
                    }
                }
                Pte::None | Pte::Present(_) => {}
                Pte::NotPresent(word) => match NotPresent::decode(word) {
                    NotPresent::Swap(entry) => {
                        tables.replace(vpn, Pte::None);
                        space.add_swapped(-1);
                        self.swap.free_swap_and_cache(entry);
                        dropped += 1;
                    }
                },
            }
        }
        out.next = at;
        (out, dropped)
    }

    /// Makes an entry and its page clean, if no other entry leads to the page; false if the page is
    /// to stay as it is.
    fn make_clean(
        &self,
        tables: &mut E::Tables,
        vpn: Vpn,
        old: Mapping,
        stale: &mut TlbBatch,
    ) -> bool {
        let page = self.map.page(old.pfn);
        if page.has(PageFlags::FILE) || page.mapcount() != 1 || !self.leave_store(page) {
            return false;
        }
        // A translation is cached only of an entry that was used.
        if old.young || old.dirty {
            tables.replace(vpn, Pte::Present(Mapping { young: false, dirty: false, ..old }));
            stale.gather(&self.env, tables.asid(), vpn);
        }
        true
    }

    /// Frees the slot of a page that one entry maps, and makes it clean; false if it keeps its
    /// slot: the slot is in use, or is being written to.
    fn leave_store(&self, page: &'m Page) -> bool {
        if !page.flags().intersects(PageFlags::SWAPCACHE | PageFlags::DIRTY) {
            return true;
        }
        let Some(lock) = page.try_lock() else { return false };
        // Counted again: a page of the cache may have been mapped until it was locked.
        let left = page.mapcount() == 1
            && (!page.has(PageFlags::SWAPCACHE) || self.swap.try_to_free_swap(&lock));
        if left {
            page.clear_dirty();
        }
        self.lru.zones.unlock(lock);
        left
    }
}
