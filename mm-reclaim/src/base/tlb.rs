//! Batching of TLB invalidations.
//!
//! Changing a page-table entry leaves stale translations on some CPU. They are collected and
//! flushed together: before a page that may still be stored to is written out, and before any page
//! of the batch is freed (RMAP-06).

use arrayvec::ArrayVec;

use crate::base::units::Vpn;
use crate::env::{Asid, Env, TlbEntry};

/// The most entries before a flush is forced.
const CAPACITY: usize = 32;

/// Stale translations that are still to be flushed.
pub(crate) struct TlbBatch {
    entries: ArrayVec<TlbEntry, CAPACITY>,
    /// One of them allows stores to a page that is no longer mapped.
    writable: bool,
}

impl TlbBatch {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { entries: ArrayVec::new(), writable: false }
    }

    /// Adds a translation; `writable` says whether a CPU may still store through it.
    #[inline]
    pub(crate) fn gather<E: Env>(&mut self, env: &E, asid: Asid, vpn: Vpn, writable: bool) {
        if self.entries.is_full() {
            self.flush(env);
        }
        self.entries.push(TlbEntry { asid, vpn });
        self.writable |= writable;
    }

    /// Flushes the collected translations.
    pub(crate) fn flush<E: Env>(&mut self, env: &E) {
        if !self.entries.is_empty() {
            env.flush_tlb(&self.entries);
            self.entries.clear();
            self.writable = false;
        }
    }

    /// Flushes if a page's contents may still change through a stale translation.
    #[inline]
    pub(crate) fn flush_writable<E: Env>(&mut self, env: &E) {
        if self.writable {
            self.flush(env);
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
