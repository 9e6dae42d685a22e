//! Per-CPU batches in front of the lists (`lru_add` and others).
//!
//! A page that enters a list first waits in its CPU's batch, so that the lruvec's lock is
//! taken once for [`BATCH`] pages; and so does a page of a list that is to move to another one, in
//! the batch of that [`Move`]. A batch holds a reference to each page: a page that loses all other
//! references is freed when the batch is drained. A page that is to move stays on its list, where
//! reclaim may isolate it; but while the reference is held it is not freed. So isolation drains the
//! caller's CPU first, and so does whoever counts references.
//!
//! What was decided when the page entered a batch may be out of date when that is drained: see
//! [`Relocation`].
//!
//! The batches of a CPU have one lock, taken by their CPU without contention; callers that need
//! complete lists (`validate()`, mlock) drain all of them.
//!
//! Counterpart in Linux: `struct cpu_fbatches`, `folio_add_lru`, `folio_batch_move_lru`.

use super::{LruSet, Relocation};
use crate::base::lock_order;
use crate::base::stat::{VmEvent, VmEvents};
use crate::base::sync::{Lock, Proof};
use crate::env::{Cpu, MAX_CPUS};
use crate::page::{ListChoice, Page, PageFlags, PageRef};

/// Pages in a batch.
pub(crate) const BATCH: usize = 15;

struct Batch<'m> {
    /// One place more than is used: a power of two needs no check of bounds.
    pages: [Option<&'m Page>; BATCH.next_power_of_two()],
    len: usize,
}

/// A move for which pages of lists are collected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Move {
    /// To the active list: the page was used twice.
    #[doc(alias = "lru_activate")]
    Activate,
    /// To the inactive list: the program says that the page is cold.
    #[doc(alias = "lru_deactivate")]
    Deactivate,
    /// To the inactive list of files: the program needs the contents no longer.
    #[doc(alias = "lru_lazyfree")]
    LazyFree,
    /// To the tail of the inactive list: reclaim has had the page written.
    #[doc(alias = "lru_move_tail")]
    Rotate,
}

impl Move {
    const ALL: [Self; 4] = [Self::Activate, Self::Deactivate, Self::LazyFree, Self::Rotate];

    fn relocation(self) -> Relocation {
        match self {
            Self::Activate => Relocation::Activate,
            Self::Deactivate => Relocation::Deactivate,
            Self::LazyFree => Relocation::LazyFree,
            Self::Rotate => Relocation::InactiveTail,
        }
    }

    /// Counts the base pages that were moved.
    fn event(self) -> VmEvent {
        match self {
            Self::Activate => VmEvent::PgActivate,
            Self::Deactivate => VmEvent::PgDeactivate,
            Self::LazyFree => VmEvent::PgLazyFree,
            Self::Rotate => VmEvent::PgRotated,
        }
    }
}

/// The batches of one CPU.
struct CpuBatches<'m> {
    /// New pages.
    add: Batch<'m>,
    /// Pages of lists, by [`Move`].
    moves: [Batch<'m>; Move::ALL.len()],
}

/// The batches of all CPUs.
pub(crate) struct LruBatches<'m, C: Cpu> {
    cpus: [Lock<C, CpuBatches<'m>, { lock_order::BATCH }>; MAX_CPUS],
    events: &'m VmEvents<C>,
}

impl<'m, C: Cpu> LruBatches<'m, C> {
    pub(crate) fn new(events: &'m VmEvents<C>) -> Self {
        Self { cpus: core::array::from_fn(|_| Lock::new(CpuBatches::new())), events }
    }

    /// Adds a new page to the lists, through this CPU's batch, which takes over `held`. The
    /// page's flags already name its list.
    ///
    /// When the batch is drained, pages whose last reference it held go to `freed`.
    #[inline(always)]
    pub(crate) fn add(&self, lru: &LruSet<'m, C>, held: PageRef<'m>, freed: impl FnMut(&'m Page)) {
        // The lock disables preemption. If the task moves to another CPU before that, the former
        // CPU's batch serves as well.
        self.cpus[C::current() % MAX_CPUS].lock().add.add(lru, held, freed);
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
        self.cpus[C::current() % MAX_CPUS].lock_pinned(pinned).add.add(lru, held, freed);
    }

    /// Moves a page of a list, through this CPU's batch; false, and nothing is done, if it is not
    /// one to be moved.
    #[inline(always)] // The move is a constant.
    pub(crate) fn relocate(
        &self,
        lru: &LruSet<'m, C>,
        page: &'m Page,
        to: Move,
        freed: impl FnMut(&'m Page),
    ) -> bool {
        let flags = page.flags();
        if !flags.contains(PageFlags::LRU) || !to.relocation().applies(flags) {
            return false;
        }
        let mut cpu = self.cpus[C::current() % MAX_CPUS].lock();
        let batch = &mut cpu.moves[to as usize];
        batch.push(page.get());
        if batch.is_full() {
            batch.relocate(lru, to, self.events, freed);
        }
        true
    }

    /// A page that waits in this CPU's batch for new ones is to enter the active list; false if it
    /// does not wait there.
    #[doc(alias = "__lru_cache_activate_folio")]
    pub(crate) fn activate_new(&self, page: &Page) -> bool {
        let cpu = self.cpus[C::current() % MAX_CPUS].lock();
        // While it waits, its place is the batch's.
        let waits = cpu.add.has(page) && !page.has(PageFlags::UNEVICTABLE);
        if waits {
            page.choose_list(ListChoice::Active);
        }
        waits
    }

    /// Empties this CPU's batches (`lru_add_drain`).
    pub(crate) fn drain(&self, lru: &LruSet<'m, C>, freed: impl FnMut(&'m Page)) {
        self.cpus[C::current() % MAX_CPUS].lock().drain(lru, self.events, freed);
    }

    /// Empties every CPU's batches (`lru_add_drain_all`).
    pub(crate) fn drain_all(&self, lru: &LruSet<'m, C>, mut freed: impl FnMut(&'m Page)) {
        for cpu in &self.cpus {
            cpu.lock().drain(lru, self.events, &mut freed);
        }
    }
}

impl<'m> CpuBatches<'m> {
    fn new() -> Self {
        Self { add: Batch::new(), moves: core::array::from_fn(|_| Batch::new()) }
    }

    /// The new pages first: some of them may be to move.
    fn drain<C: Cpu>(
        &mut self,
        lru: &LruSet<'m, C>,
        events: &VmEvents<C>,
        mut freed: impl FnMut(&'m Page),
    ) {
        self.add.drain(lru, &mut freed);
        let used = self.moves.iter_mut().zip(Move::ALL).filter(|(batch, _)| batch.len > 0);
        for (batch, to) in used {
            batch.relocate(lru, to, events, &mut freed);
        }
    }
}

impl<'m> Batch<'m> {
    fn new() -> Self {
        Self { pages: [None; BATCH.next_power_of_two()], len: 0 }
    }

    /// Adds a page. There is room: a full batch is drained at once.
    #[inline(always)]
    fn push(&mut self, held: PageRef<'m>) {
        let at = self.len % BATCH.next_power_of_two();
        self.pages[at] = Some(held.leak());
        self.len = at + 1;
    }

    #[inline(always)]
    fn is_full(&self) -> bool {
        self.len == BATCH
    }

    fn has(&self, page: &Page) -> bool {
        let mut waiting = self.pages[..self.len].iter().flatten();
        waiting.any(|other| core::ptr::eq(*other, page))
    }

    #[inline(always)]
    fn add<C: Cpu>(&mut self, lru: &LruSet<'m, C>, held: PageRef<'m>, freed: impl FnMut(&'m Page)) {
        self.push(held);
        if self.is_full() {
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

    /// Empties a batch of pages that are to move.
    fn relocate<C: Cpu>(
        &mut self,
        lru: &LruSet<'m, C>,
        to: Move,
        events: &VmEvents<C>,
        mut freed: impl FnMut(&'m Page),
    ) {
        let (mut left, mut moved) = (&self.pages[..core::mem::take(&mut self.len)], 0);
        while let Some(first) = left.first().copied().flatten() {
            let done = lru.of(first).relocate_held(left, to.relocation(), &mut moved, &mut freed);
            left = &left[done..];
        }
        if moved > 0 {
            events.count(to.event(), u64::from(moved));
        }
    }
}

#[cfg(test)]
mod tests;
