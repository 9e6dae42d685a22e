//! Batching of TLB invalidations.
//!
//! Changing a page-table entry leaves stale translations on some CPU. They are collected and
//! flushed together: before a page that may still be stored to is written out, and before any page
//! of the batch is freed (RMAP-06).

use crate::base::units::Vpn;
use crate::env::{Asid, Env, TlbEntry};

/// The most entries before a flush is forced.
const CAPACITY: usize = 32;

/// Stale translations that are still to be flushed.
pub(crate) struct TlbBatch {
    entries: [TlbEntry; CAPACITY],
    len: usize,
    /// One of them allows stores to a page that is no longer mapped.
    writable: bool,
}

impl TlbBatch {
    pub(crate) const fn new() -> Self {
        let blank = TlbEntry { asid: Asid(0), vpn: Vpn(0) };
        Self { entries: [blank; CAPACITY], len: 0, writable: false }
    }

    /// Adds a translation; `writable` says whether a CPU may still store through it.
    #[inline]
    pub(crate) fn gather<E: Env>(&mut self, env: &E, asid: Asid, vpn: Vpn, writable: bool) {
        if self.len == CAPACITY {
            self.flush(env);
        }
        self.entries[self.len] = TlbEntry { asid, vpn };
        self.len += 1;
        self.writable |= writable;
    }

    /// Flushes the collected translations.
    pub(crate) fn flush<E: Env>(&mut self, env: &E) {
        if self.len > 0 {
            env.flush_tlb(&self.entries[..self.len]);
            self.len = 0;
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
        debug_assert!(self.len == 0, "{} stale translations were forgotten", self.len);
    }
}

#[cfg(test)]
mod tests;
