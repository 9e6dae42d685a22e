//! Waiting for the device: one mechanism for three purposes (SHRZ-08).
//!
//! Each wait ends when write-back has made progress or the time is up, and happens once: nothing in
//! reclaim waits without limit.

use super::{Reclaim, ScanRequest};
use crate::env::{Env, FileStore, Tasks, WaitEnd};
use crate::page::LruList;
use crate::zone::gfp::Gfp;
use crate::zone::{Zone, ZoneFlags};

impl<'m, E: Env> Reclaim<'m, E> {
    /// Sleeps only if the zone saw congestion and a device is still congested; else yields.
    pub(super) fn wait_iff_congested(&self, zone: &Zone<'m, E::Cpu>) {
        let is_congested = || self.swap.is_any_congested() || self.env.files().is_any_congested();
        if zone.flags().contains(ZoneFlags::CONGESTED) && is_congested() {
            let _: WaitEnd = self.writeback.wait();
        } else {
            self.env.tasks().yield_now();
        }
    }

    /// Sleeps while more than 110 % of the dirty limit is under write-back; once only for callers
    /// that may not do both IO and FS.
    pub(super) fn throttle_vm_writeout(&self, request: &ScanRequest) {
        let patient = request.gfp.contains(Gfp::IO | Gfp::FS);
        while over_limit(self.writeback.pages(), self.dirtyable_pages()) {
            let end = self.writeback.wait();
            if !patient || end == WaitEnd::Killed {
                return;
            }
        }
    }

    /// Pages that could be dirty: free ones, the file cache, and anonymous pages, which are most of
    /// those under write-back. If only free pages counted, each reclaimer would wait, at each
    /// priority, until the device is idle.
    fn dirtyable_pages(&self) -> u32 {
        let free: u32 = self.zones.iter().map(Zone::free).sum();
        free + LruList::EVICTABLE.iter().map(|list| self.lru.set.total(*list)).sum::<u32>()
    }
}

/// More than 110 % of the dirty limit, a fifth of what could be dirty.
fn over_limit(writeback: u32, dirtyable: u32) -> bool {
    let limit = dirtyable / 5;
    writeback > limit + limit / 10
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHRZ-08: 110 % of a fifth.
    #[test]
    fn write_out_is_throttled_above_the_limit() {
        assert!(!over_limit(220, 1000));
        assert!(over_limit(221, 1000));
        assert!(!over_limit(0, 0));
    }
}
