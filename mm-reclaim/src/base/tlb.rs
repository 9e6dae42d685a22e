//! Batching of TLB invalidations.
//!
//! Changing a page-table entry leaves stale translations on some CPU. They are collected and
//! flushed together, before any page of the batch is written out or freed (RMAP-06).

use arrayvec::ArrayVec;

use crate::base::units::Vpn;
use crate::env::{Asid, Env, TlbEntry};

/// The most entries before a flush is forced.
const CAPACITY: usize = 32;

/// Stale translations that are still to be flushed.
pub(crate) struct TlbBatch {
    entries: ArrayVec<TlbEntry, CAPACITY>,
}

impl TlbBatch {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { entries: ArrayVec::new() }
    }

    /// Adds a translation.
    #[inline]
    pub(crate) fn gather<E: Env>(&mut self, env: &E, asid: Asid, vpn: Vpn) {
        if self.entries.is_full() {
            self.flush(env);
        }
        self.entries.push(TlbEntry { asid, vpn });
    }

    /// Flushes the collected translations.
    pub(crate) fn flush<E: Env>(&mut self, env: &E) {
        if !self.entries.is_empty() {
            env.flush_tlb(&self.entries);
            self.entries.clear();
        }
    }
}

impl Drop for TlbBatch {
    fn drop(&mut self) {
        #[cfg(any(test, feature = "std"))]
        if std::thread::panicking() {
            return;
        }
        debug_assert!(
            self.entries.is_empty(),
            "{} stale translations were forgotten",
            self.entries.len()
        );
    }
}

#[cfg(test)]
mod tests;
