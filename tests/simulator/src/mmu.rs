//! The part of the MMU that all address spaces share: TLBs and ASIDs.
//!
//! Each CPU has a TLB that keeps a translation, with the rights and the dirty state that
//! the entry had when it was filled, until it is flushed: it never forgets one by itself, however
//! many there are. A forgotten flush therefore has its real consequence: an access reaches the old
//! frame. Worse, most forgotten flushes do no harm in a given run, because no program uses the
//! translation; so [`Mmu::assert_unreachable`] checks at every free and reuse of a frame that no
//! translation to it is cached, and at every write to a disk that no store can reach it (RMAP-06).
//!
//! In addition each CPU caches walks: which table of the lowest level translates a block of pages.
//! Flushing single pages leaves them, as the crate's contract allows; only flushing the space
//! forgets them. A table that is freed without that is still walked, and its free is noticed.
//!
//! As on the architecture that this imitates, an entry without its young flag is never
//! cached, and an access that faults leaves no line behind for its page on this CPU (the
//! trap code's duty in a kernel: without it a store could fault forever on a line that was filled
//! while the page was read-only).
//!
//! ASIDs are given in turn. When the numbers are used up, every TLB is emptied and the
//! numbers in use are skipped from then on.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::env::{Asid, Prot, TlbEntry};
use mm_reclaim::units::{Pfn, Vpn};

/// One cached translation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) asid: Asid,
    pub(crate) vpn: Vpn,
    pub(crate) pfn: Pfn,
    pub(crate) prot: Prot,
    /// The entry was dirty: a store needs no second walk.
    pub(crate) dirty: bool,
}

/// The TLBs of all CPUs, and the ASIDs in use.
#[derive(Debug)]
pub struct Mmu {
    /// The hardware sets young and dirty by itself; else each first access faults.
    pub(crate) sets_flags: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tlbs: Vec<Tlb>,
    /// How many cached translations lead to a frame.
    uses: HashMap<Pfn, Uses>,
    last_asid: u16,
    max_asid: u16,
    in_use: BTreeSet<u16>,
    flushed_pages: u64,
    flushed_spaces: u64,
}

/// What one CPU has cached.
#[derive(Clone, Default, Debug)]
struct Tlb {
    lines: HashMap<(u16, u32), Line>,
    /// Tables of the lowest level, by the block of pages that they translate.
    walks: HashMap<(u16, u32), Pfn>,
}

/// Cached translations to one frame.
#[derive(Clone, Copy, Default, Debug)]
struct Uses {
    /// Pages, and walks through it if it is a table.
    all: u32,
    /// Those through which a store needs no second walk.
    stores: u32,
}

/// What is about to happen to a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is freed.
    Freed,
    /// It gets new contents.
    Reused,
    /// A disk reads it, or another frame becomes its copy.
    Written,
}

impl Line {
    const fn stores(&self) -> bool {
        self.dirty && self.prot.contains(Prot::WRITE)
    }
}

impl Mmu {
    /// Empty TLBs for `cpus` CPUs, and ASIDs up to `max_asid`.
    pub fn new(cpus: usize, max_asid: u16, sets_flags: bool) -> Self {
        let state = State {
            tlbs: vec![Tlb::default(); cpus],
            uses: HashMap::new(),
            last_asid: 0,
            max_asid,
            in_use: BTreeSet::new(),
            flushed_pages: 0,
            flushed_spaces: 0,
        };
        Self { sets_flags, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn look_up(&self, cpu: usize, asid: Asid, vpn: Vpn) -> Option<Line> {
        self.state().tlbs[cpu].lines.get(&(asid.0, vpn.0)).copied()
    }

    pub(crate) fn fill(&self, cpu: usize, line: Line) {
        let mut state = self.state();
        state.forget(cpu, line.asid, line.vpn);
        state.tlbs[cpu].lines.insert((line.asid.0, line.vpn.0), line);
        let uses = state.uses.entry(line.pfn).or_default();
        uses.all += 1;
        uses.stores += u32::from(line.stores());
    }

    /// The table of the lowest level that the CPU remembers for a block of pages.
    pub(crate) fn walk_cached(&self, cpu: usize, asid: Asid, block: u32) -> Option<Pfn> {
        self.state().tlbs[cpu].walks.get(&(asid.0, block)).copied()
    }

    /// Remembers a walk of a block of which none was cached.
    pub(crate) fn cache_walk(&self, cpu: usize, asid: Asid, block: u32, table: Pfn) {
        let mut state = self.state();
        state.tlbs[cpu].walks.insert((asid.0, block), table);
        state.uses.entry(table).or_default().all += 1;
    }

    pub(crate) fn drop_line(&self, cpu: usize, asid: Asid, vpn: Vpn) {
        self.state().forget(cpu, asid, vpn);
    }

    /// Drops these translations from every TLB.
    pub(crate) fn flush(&self, stale: &[TlbEntry]) {
        let mut state = self.state();
        for cpu in 0..state.tlbs.len() {
            stale.iter().for_each(|e| state.forget(cpu, e.asid, e.vpn));
        }
        state.flushed_pages += stale.len() as u64;
    }

    /// Drops every translation of one space from every TLB, and every walk.
    pub(crate) fn flush_space(&self, asid: Asid) {
        let mut state = self.state();
        state.forget_all(|of| of == asid.0);
        state.flushed_spaces += 1;
    }

    /// RMAP-06.
    ///
    /// # Panics
    /// If a CPU could still use a translation to the frame.
    pub fn assert_unreachable(&self, frame: Pfn, fate: Fate) {
        let state = self.state();
        let uses = state.uses.get(&frame).copied().unwrap_or_default();
        let live = if fate == Fate::Written { uses.stores } else { uses.all };
        if live > 0 {
            let lines = state.tlbs.iter().flat_map(|tlb| tlb.lines.values());
            let found: Vec<_> = lines.filter(|line| line.pfn == frame).collect();
            panic!("{frame:?} is {fate:?}, but cached translations lead to it: {found:?}");
        }
    }

    /// How many single pages and how many whole spaces were flushed so far.
    pub fn flushes(&self) -> (u64, u64) {
        let state = self.state();
        (state.flushed_pages, state.flushed_spaces)
    }

    pub(crate) fn take_asid(&self) -> Asid {
        let mut state = self.state();
        let state = &mut *state;
        assert!(state.in_use.len() < usize::from(state.max_asid), "more spaces than ASIDs");
        loop {
            if state.last_asid == state.max_asid {
                state.last_asid = 0;
                state.forget_all(|_| true);
            }
            state.last_asid += 1;
            if state.in_use.insert(state.last_asid) {
                return Asid(state.last_asid);
            }
        }
    }

    pub(crate) fn give_asid(&self, asid: Asid) {
        assert!(self.state().in_use.remove(&asid.0), "{asid:?} freed twice");
    }
}

impl State {
    fn forget(&mut self, cpu: usize, asid: Asid, vpn: Vpn) {
        if let Some(line) = self.tlbs[cpu].lines.remove(&(asid.0, vpn.0)) {
            self.unuse(line.pfn, line.stores());
        }
    }

    /// Forgets every translation and walk of these spaces.
    fn forget_all(&mut self, is_one: impl Fn(u16) -> bool) {
        let mut gone = Vec::new();
        for tlb in &mut self.tlbs {
            let lines = tlb.lines.extract_if(|(asid, _), _| is_one(*asid));
            gone.extend(lines.map(|(_, line)| (line.pfn, line.stores())));
            let walks = tlb.walks.extract_if(|(asid, _), _| is_one(*asid));
            gone.extend(walks.map(|(_, table)| (table, false)));
        }
        gone.into_iter().for_each(|(frame, stores)| self.unuse(frame, stores));
    }

    fn unuse(&mut self, frame: Pfn, stores: bool) {
        let uses = self.uses.get_mut(&frame).expect("counted when it was cached");
        uses.all -= 1;
        uses.stores -= u32::from(stores);
    }
}
