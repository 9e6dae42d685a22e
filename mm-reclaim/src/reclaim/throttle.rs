//! Waiting for the device: one mechanism for three occasions (SHRZ-08).
//!
//! Each wait ends when write-back has made progress or the time is up, and happens once:
//! nothing in reclaim waits for ever.

use super::ScanRequest;
use crate::env::{BlockDevice, Env, Tasks, WaitEnd, WaitMode};
use crate::gfp::Gfp;
use crate::mm::{Mm, WRITEBACK_WAIT};
use crate::page::LruList;
use crate::sync::Ordering;
use crate::units::Nanos;
use crate::zone::{Zone, ZoneFlags};

/// The longest wait.
const LIMIT: Nanos = Nanos::from_millis(100);

impl<'m, E: Env> Mm<'m, E> {
    /// Sleeps until a write has completed, 100 ms at most.
    pub(crate) fn congestion_wait(&self) -> WaitEnd {
        let state = &self.reclaim;
        let before = state.writes_done.load(Ordering::SeqCst);
        state.stalled.fetch_add(1, Ordering::SeqCst);
        let mode = WaitMode { timeout: Some(LIMIT), killable: true };
        let end = self.env.tasks().wait_until(WRITEBACK_WAIT, mode, &mut || {
            state.writes_done.load(Ordering::SeqCst) != before
        });
        state.stalled.fetch_sub(1, Ordering::SeqCst);
        end
    }

    /// A write has completed: whoever waits for the devices looks again.
    pub(crate) fn note_write_done(&self) {
        // SeqCst: either the sleeper's count is seen here, or the sleeper, which counts
        // itself first, sees this completion in its own look.
        self.reclaim.writes_done.fetch_add(1, Ordering::SeqCst);
        if self.reclaim.stalled.load(Ordering::SeqCst) != 0 {
            self.env.tasks().wake(WRITEBACK_WAIT);
        }
    }

    /// Base pages on their way to a device.
    pub fn pages_under_writeback(&self) -> u32 {
        self.reclaim.writeback.load(Ordering::Relaxed)
    }

    /// Sleeps only if the zone saw congestion and a device still is congested; else lets
    /// others run.
    pub(super) fn wait_iff_congested(&self, zone: &Zone<'m, E::Cpu>) {
        if zone.flags().contains(ZoneFlags::CONGESTED) && self.any_congested() {
            let _: WaitEnd = self.congestion_wait();
        } else {
            self.env.tasks().yield_now();
        }
    }

    fn any_congested(&self) -> bool {
        self.swap_devices().any(|(_, d)| self.env.blocks().is_congested(d.id))
    }

    /// Naps while more than 110 % of the dirty limit is under write-back; once only for
    /// callers that may not do both IO and FS.
    pub(super) fn throttle_vm_writeout(&self, request: &ScanRequest) {
        let patient = request.gfp.contains(Gfp::IO | Gfp::FS);
        while over_limit(self.pages_under_writeback(), self.dirtyable_pages()) {
            let end = self.congestion_wait();
            if !patient || end == WaitEnd::Killed {
                return;
            }
        }
    }

    /// Pages that could be dirty: free ones, the file cache, and anonymous pages. What is
    /// under write-back are mostly these. Compared with what is free alone, hardly any could
    /// be: then each reclaimer would wait, at each priority, until the device is idle.
    fn dirtyable_pages(&self) -> u32 {
        let free: u32 = self.zones.iter().map(Zone::free).sum();
        free + LruList::EVICTABLE.iter().map(|list| self.lru.total(*list)).sum::<u32>()
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
