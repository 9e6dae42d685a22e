//! Per-CPU batches in front of the lists (`lru_add` and its kin).
//!
//! A page that enters a list first waits in its CPU's batch, so that the lruvec's lock is
//! taken once for [`BATCH`] pages. The batch holds a reference of each page: a page freed
//! meanwhile by everybody else is freed when the batch is drained. Isolation drains the
//! caller's CPU first.
//!
//! Each batch has a lock of its own, taken by its CPU without contention; whoever wants
//! every list complete (`validate()`, mlock) drains all of them.

use super::LruSet;
use crate::env::{Cpu, MAX_CPUS};
use crate::lock_order;
use crate::page::{Page, PageRef};
use crate::sync::Lock;

/// Pages in a batch.
pub(crate) const BATCH: usize = 15;

struct Batch<'m> {
    pages: [Option<&'m Page>; BATCH],
    len: usize,
}

/// The batches of all CPUs.
pub(crate) struct LruBatches<'m, C: Cpu> {
    add: [Lock<C, Batch<'m>, { lock_order::BATCH }>; MAX_CPUS],
}

impl<'m, C: Cpu> LruBatches<'m, C> {
    pub(crate) fn new() -> Self {
        Self { add: core::array::from_fn(|_| Lock::new(Batch { pages: [None; BATCH], len: 0 })) }
    }

    /// Adds a new page to the lists, through this CPU's batch, which takes over `held`. The
    /// page's flags already name its list.
    ///
    /// `put` gives a reference back when the batch is drained.
    #[inline(always)]
    pub(crate) fn add(&self, lru: &LruSet<'m, C>, held: PageRef<'m>, put: impl Fn(PageRef<'m>)) {
        // The lock stops preemption before the choice of the CPU can go stale; were the
        // task moved in between, another CPU's batch would do as well.
        let mut batch = self.add[C::current() % MAX_CPUS].lock();
        let at = batch.len;
        batch.pages[at] = Some(held.leak());
        batch.len = at + 1;
        if at + 1 == BATCH {
            batch.drain(lru, put);
        }
    }

    /// Empties this CPU's batch (`lru_add_drain`).
    pub(crate) fn drain(&self, lru: &LruSet<'m, C>, put: impl Fn(PageRef<'m>)) {
        self.add[C::current() % MAX_CPUS].lock().drain(lru, put);
    }

    /// Empties every CPU's batch (`lru_add_drain_all`).
    pub(crate) fn drain_all(&self, lru: &LruSet<'m, C>, put: impl Fn(PageRef<'m>)) {
        for batch in &self.add {
            batch.lock().drain(lru, &put);
        }
    }
}

impl<'m> Batch<'m> {
    #[cold]
    fn drain<C: Cpu>(&mut self, lru: &LruSet<'m, C>, put: impl Fn(PageRef<'m>)) {
        let mut start = 0;
        while start < self.len {
            let run = self.run_from(start);
            let pages = self.pages[start..start + run].iter().copied().flatten();
            if let Some(first) = self.pages[start] {
                lru.of(first).add_new(pages);
            }
            start += run;
        }
        let len = core::mem::take(&mut self.len);
        for slot in &mut self.pages[..len] {
            if let Some(page) = slot.take() {
                put(PageRef::adopt(page));
            }
        }
    }

    /// How many pages from `start` on share a zone, and so a lruvec.
    fn run_from(&self, start: usize) -> usize {
        let zone = |slot: &Option<&Page>| slot.map(Page::zone_index);
        let first = zone(&self.pages[start]);
        self.pages[start..self.len].iter().take_while(|slot| zone(slot) == first).count()
    }
}

#[cfg(test)]
mod tests;
