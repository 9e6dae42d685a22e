//! What reclaim has scanned in a zone, and with what result.

use super::Zone;
use crate::base::sync::Ordering;
use crate::env::Cpu;

impl<C: Cpu> Zone<'_, C> {
    /// Base pages that reclaim looked at and freed here, ever.
    pub fn reclaim_counts(&self) -> (u64, u64) {
        (self.scanned.load(Ordering::Relaxed), self.stolen.load(Ordering::Relaxed))
    }

    /// Ends a batch of an inactive list.
    pub(crate) fn note_reclaim(&self, scanned: u32, stolen: u32) {
        self.scanned.fetch_add(u64::from(scanned), Ordering::Relaxed);
        self.stolen.fetch_add(u64::from(stolen), Ordering::Relaxed);
        // Freed pages clear the count when they return to the buddy lists.
        if stolen == 0 {
            self.note_looked_at(scanned);
        }
    }

    /// Reclaim looked at pages and freed none of them.
    pub(crate) fn note_looked_at(&self, pages: u32) {
        self.in_vain.fetch_add(pages, Ordering::Relaxed);
    }

    /// Base pages that reclaim looked at since a page was last freed here, or became freeable as
    /// its write ended (`NR_PAGES_SCANNED`).
    pub fn looked_at_in_vain(&self) -> u32 {
        self.in_vain.load(Ordering::Relaxed)
    }

    /// A page was freed, or can be from now on: the scan was of use.
    #[inline]
    pub(crate) fn forget_vain_looks(&self) {
        if self.looked_at_in_vain() != 0 {
            self.in_vain.store(0, Ordering::Relaxed);
        }
    }
}
