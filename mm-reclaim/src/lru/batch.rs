//! Per-CPU batches in front of the lists (`lru_add` and others).
//!
//! A page that enters a list first waits in its CPU's batch, so that the lruvec's lock is
//! taken once for [`BATCH`] pages. The batch holds a reference to each page: a page that loses all
//! other references is freed when the batch is drained. Isolation drains the caller's CPU first.
//!
//! Each batch has a lock of its own, taken by its CPU without contention; callers that need
//! complete lists (`validate()`, mlock) drain all of them.

use super::LruSet;
use crate::base::lock_order;
use crate::base::sync::{Lock, Proof};
use crate::env::{Cpu, MAX_CPUS};
use crate::page::{Page, PageRef};

/// Pages in a batch.
pub(crate) const BATCH: usize = 15;

struct Batch<'m> {
    /// One place more than is used: a power of two needs no check of bounds.
    pages: [Option<&'m Page>; BATCH.next_power_of_two()],
    len: usize,
}

/// The batches of all CPUs.
pub(crate) struct LruBatches<'m, C: Cpu> {
    add: [Lock<C, Batch<'m>, { lock_order::BATCH }>; MAX_CPUS],
}

impl<'m, C: Cpu> LruBatches<'m, C> {
    pub(crate) fn new() -> Self {
        Self {
            add: core::array::from_fn(|_| {
                Lock::new(Batch { pages: [None; BATCH.next_power_of_two()], len: 0 })
            }),
        }
    }

    /// Adds a new page to the lists, through this CPU's batch, which takes over `held`. The
    /// page's flags already name its list.
    ///
    /// When the batch is drained, pages whose last reference it held go to `freed`.
    #[inline(always)]
    pub(crate) fn add(&self, lru: &LruSet<'m, C>, held: PageRef<'m>, freed: impl FnMut(&'m Page)) {
        // The lock disables preemption. If the task moves to another CPU before that, the former
        // CPU's batch serves as well.
        self.add[C::current() % MAX_CPUS].lock().add(lru, held, freed);
    }

    /// As [`LruBatches::add`], for a caller that is not preempted anyway.
    #[inline(always)]
    pub(crate) fn add_pinned(
        &self,
        lru: &LruSet<'m, C>,
        held: PageRef<'m>,
        pinned: Proof<'_>,
        freed: impl FnMut(&'m Page),
    ) {
        self.add[C::current() % MAX_CPUS].lock_pinned(pinned).add(lru, held, freed);
    }

    /// Empties this CPU's batch (`lru_add_drain`).
    pub(crate) fn drain(&self, lru: &LruSet<'m, C>, freed: impl FnMut(&'m Page)) {
        self.add[C::current() % MAX_CPUS].lock().drain(lru, freed);
    }

    /// Empties every CPU's batch (`lru_add_drain_all`).
    pub(crate) fn drain_all(&self, lru: &LruSet<'m, C>, mut freed: impl FnMut(&'m Page)) {
        for batch in &self.add {
            batch.lock().drain(lru, &mut freed);
        }
    }
}

impl<'m> Batch<'m> {
    #[inline(always)]
    fn add<C: Cpu>(&mut self, lru: &LruSet<'m, C>, held: PageRef<'m>, freed: impl FnMut(&'m Page)) {
        // Never full: it was drained then.
        let at = self.len % BATCH.next_power_of_two();
        self.pages[at] = Some(held.leak());
        self.len = at + 1;
        if at + 1 == BATCH {
            self.drain(lru, freed);
        }
    }

    #[cold]
    fn drain<C: Cpu>(&mut self, lru: &LruSet<'m, C>, mut freed: impl FnMut(&'m Page)) {
        let mut left = &mut self.pages[..core::mem::take(&mut self.len)];
        while let Some(first) = left.first().copied().flatten() {
            let done = lru.of(first).add_held(left, &mut freed);
            left = &mut left[done..];
        }
    }
}

#[cfg(test)]
mod tests;
