//! Direct reclaim: an allocation that needs a page reclaims it itself (CTRL-02, CTRL-03).
//!
//! First the reserves are protected: while they are below half of MIN, the caller sleeps and kswapd
//! refills them. Then it reclaims, with increasing priority.
//!
//! Counterpart in Linux: `try_to_free_pages`, `do_try_to_free_pages`,
//! `throttle_direct_reclaim`.

use super::kswapd::MAX_RECLAIM_RETRIES;
use super::{DEF_PRIORITY, May, Reclaim, ScanProgress, ScanRequest};
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::base::units::{Nanos, Order};
use crate::base::wait::PFMEMALLOC_WAIT;
use crate::env::{Clock, Env, TaskFlags, Tasks, WaitEnd, WaitMode};
use crate::zone::gfp::Gfp;
use crate::zone::{Mark, Zone, ZoneId};

/// The longest wait of a caller that may not enter file systems.
const THROTTLE_NOFS: Nanos = Nanos::from_millis(1000);
/// A throttled caller checks again after this time at the latest.
const THROTTLE_LOOK: Nanos = Nanos::from_millis(50);

/// What direct reclaim has come to.
#[derive(Clone, Copy)]
pub(crate) struct Tried {
    /// Pages freed, or 1 if the caller was killed while throttled, or if compaction could proceed.
    pub(crate) freed: u64,
    /// Pages whose write began: they can be freed when it has ended.
    pub(crate) written: u32,
    /// Pages scanned for the request, those of earlier attempts included.
    pub(crate) looked_at: u32,
}

impl<'m, E: Env> Reclaim<'m, E> {
    /// Frees pages for a request, which has had `looked_at` pages scanned before.
    pub(crate) fn try_to_free_pages(&self, gfp: Gfp, order: Order, looked_at: u32) -> Tried {
        if self.throttle_direct_reclaim(gfp) {
            return Tried { freed: 1, written: 0, looked_at };
        }
        let laptop = self.laptop_mode();
        let request = ScanRequest::direct(gfp, order).without(May::WRITEPAGE, laptop);
        let tried = self.do_try_to_free_pages(&request, looked_at);
        self.most_looked_at.fetch_max(tried.looked_at, Ordering::Relaxed);
        self.turnover.note_round(|| self.reclaimable_for(request.class), || self.lru.read_clocks());
        tried
    }

    /// Sleeps while the reserves are low; true if the caller was killed.
    fn throttle_direct_reclaim(&self, gfp: Gfp) -> bool {
        let flags = self.env.tasks().flags();
        let exempt = TaskFlags::KERNEL | TaskFlags::DYING | TaskFlags::OOM_VICTIM;
        if flags.intersects(exempt) || self.allow_direct_reclaim() {
            return false;
        }
        self.events.count(VmEvent::PgScanDirectThrottle, 1);
        let waits_for_ever = gfp.contains(Gfp::FS);
        let mode = WaitMode { timeout: Some(THROTTLE_LOOK), killable: waits_for_ever };
        let looks = if waits_for_ever { u64::MAX } else { THROTTLE_NOFS.0 / THROTTLE_LOOK.0 };
        for _ in 0..looks {
            if let Some(killed) = self.throttled_look(gfp, mode) {
                return killed;
            }
        }
        false
    }

    /// One wait of a throttled caller; `None` if it must wait again, else whether it was killed.
    /// Each check wakes kswapd again, which may have gone to sleep without success.
    fn throttled_look(&self, gfp: Gfp, mode: WaitMode) -> Option<bool> {
        self.wakeup_kswapd(Order::ZERO, gfp.class_zone());
        let ready = &mut || self.allow_direct_reclaim();
        match self.env.tasks().wait_until(PFMEMALLOC_WAIT, mode, ready) {
            WaitEnd::Ready => Some(false),
            WaitEnd::Killed => Some(true),
            WaitEnd::TimedOut => None,
        }
    }

    /// Whether the reserves hold at least half of MIN, or kswapd could not refill them anyway.
    pub(crate) fn allow_direct_reclaim(&self) -> bool {
        if self.kswapd_failures.load(Ordering::Relaxed) >= MAX_RECLAIM_RETRIES {
            return true;
        }
        let reclaimable = self.zones.iter().filter(|z| self.reclaimable_pages(z) > 0);
        let (reserve, free) = reclaimable.fold((0, 0), |(reserve, free), zone| {
            (reserve + zone.watermarks().get(Mark::Min), free + zone.free())
        });
        reserve == 0 || free > reserve / 2
    }

    /// The steps of direct reclaim: from the gentlest priority to the hardest, then once more with
    /// deactivation forced if it was skipped.
    fn do_try_to_free_pages(&self, request: &ScanRequest, looked_at: u32) -> Tried {
        let mut progress = ScanProgress { looked_at, ..ScanProgress::default() };
        loop {
            self.attempt(request, &mut progress);
            self.snapshot_refaults();
            let ScanProgress { force_writepage, written, looked_at, passed_over, .. } = progress;
            let is_done = progress.reclaimed > 0
                || progress.is_enough_for_one()
                || progress.compaction_ready
                || !progress.skipped_deactivate;
            if is_done {
                let freed = progress.reclaimed.max(u64::from(progress.compaction_ready));
                return Tried { freed, written, looked_at };
            }
            progress = ScanProgress {
                force_deactivate: true,
                force_writepage,
                written,
                looked_at,
                passed_over,
                ..ScanProgress::default()
            };
        }
    }

    /// One attempt, from the gentlest priority to the hardest: counted if the cause is a global
    /// shortage, and always accounted as delay of the caller.
    fn attempt(&self, request: &ScanRequest, progress: &mut ScanProgress) {
        if request.is_global() {
            self.events.count(allocstall(request.class), 1);
        }
        let start = self.env.clock().now();
        self.reclaim_by_priority(request, progress);
        let delay = self.env.clock().now().0.saturating_sub(start.0);
        self.events.count(VmEvent::ReclaimDelay, delay / 1000);
    }

    fn reclaim_by_priority(&self, request: &ScanRequest, progress: &mut ScanProgress) {
        for priority in (0..=DEF_PRIORITY).rev() {
            progress.priority = priority;
            progress.scanned = 0;
            self.shrink_zones(request, progress);
            let got_all = progress.reclaimed >= u64::from(request.nr_to_reclaim);
            if got_all || progress.is_enough_for_one() || progress.compaction_ready {
                return;
            }
            // After a round below priority 10, writing out is allowed in any mode.
            progress.force_writepage |= priority < 10;
        }
    }

    /// The most pages that a task has scanned for one request of its own.
    pub(crate) fn most_looked_at(&self) -> u32 {
        self.most_looked_at.load(Ordering::Relaxed)
    }

    /// Takes a snapshot of the refault activations of every group's lists: if they change, the next
    /// reclaim may deactivate.
    pub(crate) fn snapshot_refaults(&self) {
        let of_zone = |zone: &Zone<'m, E::Cpu>| self.lru.set.of_zone(zone.id());
        for lruvec in self.zones.iter().flat_map(of_zone) {
            for (seen, now) in lruvec.refaults_seen.iter().zip(&lruvec.refaults) {
                seen.store(now.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
    }
}

fn allocstall(class: ZoneId) -> VmEvent {
    match class {
        ZoneId::Dma => VmEvent::AllocStallDma,
        ZoneId::Dma32 => VmEvent::AllocStallDma32,
        ZoneId::Normal => VmEvent::AllocStallNormal,
    }
}
