//! The part of the MMU that all address spaces share: TLBs and ASIDs.
//!
//! Each CPU has a TLB that keeps a translation, with the rights and the dirty state that
//! the entry had when it was filled, until it is flushed or another one takes its line. A
//! forgotten flush therefore has its real consequence: an access reaches the old frame.
//!
//! In addition each CPU caches walks: which table of the lowest level translates a block of pages.
//! Flushing single pages leaves them, as the crate's contract allows; only flushing the space
//! forgets them. A table that is freed without that is still walked.
//!
//! As on the architecture that this imitates, an entry without its young flag is never
//! cached, and an access that faults leaves no line behind for its page on this CPU (the
//! trap code's duty in a kernel: without it a store could fault forever on a line that was filled
//! while the page was read-only).
//!
//! ASIDs are given in turn. When the numbers are used up, every TLB is emptied and the
//! numbers in use are skipped from then on.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use mm_reclaim::env::{Asid, Prot, TlbEntry};
use mm_reclaim::units::{Pfn, Vpn};

/// Lines of a TLB, each for the pages whose number hashes to it.
const LINES: usize = 512;

/// Walks that a CPU keeps.
const WALKS: usize = 64;

/// A cached walk: which table translates for a block of pages.
#[derive(Clone, Copy, Debug)]
struct Walk {
    asid: Asid,
    block: u32,
    table: Pfn,
}

const fn walk_of(asid: Asid, block: u32) -> usize {
    (block as usize).wrapping_add(asid.0 as usize * 7) % WALKS
}

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
    tlbs: Vec<Vec<Option<Line>>>,
    /// Tables of the lowest level, each in the place that its block hashes to.
    walks: Vec<[Option<Walk>; WALKS]>,
    last_asid: u16,
    max_asid: u16,
    in_use: BTreeSet<u16>,
    flushed_pages: u64,
    flushed_spaces: u64,
}

const fn line_of(asid: Asid, vpn: Vpn) -> usize {
    (vpn.0 as usize).wrapping_add(asid.0 as usize * 37) % LINES
}

impl Mmu {
    /// Empty TLBs for `cpus` CPUs, and ASIDs up to `max_asid`.
    pub fn new(cpus: usize, max_asid: u16, sets_flags: bool) -> Self {
        let state = State {
            tlbs: vec![vec![None; LINES]; cpus],
            walks: vec![[None; WALKS]; cpus],
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
        self.state().tlbs[cpu][line_of(asid, vpn)].filter(|l| l.asid == asid && l.vpn == vpn)
    }

    pub(crate) fn fill(&self, cpu: usize, line: Line) {
        self.state().tlbs[cpu][line_of(line.asid, line.vpn)] = Some(line);
    }

    /// The table of the lowest level that the CPU remembers for a block of pages.
    pub(crate) fn walk_cached(&self, cpu: usize, asid: Asid, block: u32) -> Option<Pfn> {
        let walk = self.state().walks[cpu][walk_of(asid, block)];
        walk.filter(|w| w.asid == asid && w.block == block).map(|w| w.table)
    }

    pub(crate) fn cache_walk(&self, cpu: usize, asid: Asid, block: u32, table: Pfn) {
        self.state().walks[cpu][walk_of(asid, block)] = Some(Walk { asid, block, table });
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
        let walks = state.walks.iter_mut().flatten();
        walks.filter(|w| w.is_some_and(|w| w.asid == asid)).for_each(|w| *w = None);
        let lines = state.tlbs.iter_mut().flatten();
        lines.filter(|l| l.is_some_and(|l| l.asid == asid)).for_each(|l| *l = None);
        state.flushed_spaces += 1;
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
                state.tlbs.iter_mut().flatten().for_each(|line| *line = None);
                state.walks.iter_mut().flatten().for_each(|walk| *walk = None);
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
        let line = &mut self.tlbs[cpu][line_of(asid, vpn)];
        if line.is_some_and(|l| l.asid == asid && l.vpn == vpn) {
            *line = None;
        }
    }
}
