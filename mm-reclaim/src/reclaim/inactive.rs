//! `shrink_inactive_list`: takes a batch off an inactive list and reclaims it.
//!
//! The lruvec's lock is held to isolate and to put back, and not in between. What the
//! batch tells about the device becomes zone flags and, for those who may wait, a stall.

use super::{BatchStat, ReclaimKind, SWAP_CLUSTER_MAX, ScanProgress, ScanRequest};
use crate::env::{Env, TaskFlags, Tasks, WaitEnd, WaitMode};
use crate::gfp::Gfp;
use crate::lru::{IsolateMode, IsolatedList, Lruvec};
use crate::mm::{ISOLATION_WAIT, Mm};
use crate::page::{LruList, PageType};
use crate::stat::VmEvent;
use crate::sync::Ordering;
use crate::units::Nanos;
use crate::zone::{Zone, ZoneFlags};

/// How long a reclaimer waits at most for others to return what they isolated.
const ISOLATION_STALL: Nanos = Nanos::from_millis(100);

impl<'m, E: Env> Mm<'m, E> {
    /// Looks at up to `want` pages of an inactive list; the base pages freed.
    pub(super) fn shrink_inactive_list(
        &self,
        want: u32,
        list: LruList,
        zone: &Zone<'m, E::Cpu>,
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> u32 {
        let kind = list.page_type().unwrap_or(PageType::Anon);
        let lruvec = self.lru.in_zone(zone.id());
        if let Some(answer) = self.stall_while_isolated(kind, lruvec, request) {
            progress.reclaimed += u64::from(answer);
            return answer;
        }
        self.lru_add_drain();
        let mode = self.isolate_mode(kind, request, progress);
        let mut batch = lruvec.isolate(self.map, list, want, mode);
        self.count_scan(request.kind, kind, batch.scanned);
        if batch.taken == 0 {
            zone.note_reclaim(batch.scanned, 0);
            return 0;
        }
        let stat = self.shrink_page_list(&mut batch.pages, zone, request, progress);
        lruvec.putback(&mut batch.pages, kind, batch.taken, |page| {
            self.free_cold_after_last_put(page);
        });
        self.note_putback();
        lruvec.note_cost(kind, stat.pageout);
        self.count_steal(request.kind, kind, stat.reclaimed);
        zone.note_reclaim(batch.scanned, stat.reclaimed);
        progress.reclaimed += u64::from(stat.reclaimed);
        progress.last_batch = stat;
        self.draw_conclusions(zone, request, progress, batch.taken);
        stat.reclaimed
    }

    /// SHRZ-07: too many pages isolated at once would starve the allocator of what they
    /// hold: wait once, until they are back or the time is up, then give up. The dying do not
    /// wait: their own memory is about to come, and is counted as if it had.
    fn stall_while_isolated(
        &self,
        kind: PageType,
        lruvec: &Lruvec<'m, E::Cpu>,
        request: &ScanRequest,
    ) -> Option<u32> {
        if !self.too_many_isolated(kind, lruvec, request) {
            return None;
        }
        if self.env.tasks().flags().contains(TaskFlags::DYING) {
            return Some(SWAP_CLUSTER_MAX);
        }
        let stalled = &self.reclaim.isolation_stalled;
        stalled.fetch_add(1, Ordering::Relaxed);
        let mode = WaitMode { timeout: Some(ISOLATION_STALL), killable: true };
        let end = self.env.tasks().wait_until(ISOLATION_WAIT, mode, &mut || {
            !self.too_many_isolated(kind, lruvec, request)
        });
        stalled.fetch_sub(1, Ordering::Relaxed);
        match end {
            WaitEnd::Ready => None,
            WaitEnd::TimedOut => Some(0),
            WaitEnd::Killed => Some(SWAP_CLUSTER_MAX),
        }
    }

    /// Isolated pages were put back: whoever waits for that looks again. A task that begins
    /// to wait just now may be missed; its wait ends by itself.
    fn note_putback(&self) {
        if self.reclaim.isolation_stalled.load(Ordering::Relaxed) != 0 {
            self.env.tasks().wake(ISOLATION_WAIT);
        }
    }

    /// Which pages of a list are not worth taking off it now. Without a free slot these are
    /// all that have none: nothing could be done with them.
    pub(super) fn isolate_mode(
        &self,
        kind: PageType,
        request: &ScanRequest,
        progress: &ScanProgress,
    ) -> IsolateMode {
        let mut mode = progress.isolate_mode(request);
        mode.set(IsolateMode::WITH_SLOT, kind == PageType::Anon && !self.has_free_swap());
        mode
    }

    fn too_many_isolated(
        &self,
        kind: PageType,
        lruvec: &Lruvec<'m, E::Cpu>,
        request: &ScanRequest,
    ) -> bool {
        request.kind != ReclaimKind::Kswapd
            && too_many_isolated(
                lruvec.isolated(kind),
                lruvec.size(kind.inactive()),
                request.gfp.contains(Gfp::IO | Gfp::FS),
            )
    }

    /// SHRZ-11: what a whole batch has in common becomes a flag of the zone.
    fn draw_conclusions(
        &self,
        zone: &Zone<'m, E::Cpu>,
        request: &ScanRequest,
        progress: &ScanProgress,
        taken: u32,
    ) {
        let stat = progress.last_batch;
        let may_stall = request.kind != ReclaimKind::Proactive;
        let flags = zone_flags(&stat, taken, request.is_global());
        if !flags.is_empty() {
            zone.set_flags(flags);
        }
        if request.is_global() && stat.immediate > 0 && may_stall {
            let _: WaitEnd = self.congestion_wait();
        }
        if request.is_global() && request.kind == ReclaimKind::Direct {
            self.wait_iff_congested(zone);
        }
    }

    fn count_scan(&self, who: ReclaimKind, kind: PageType, pages: u32) {
        let by_caller = match who {
            ReclaimKind::Kswapd => VmEvent::PgScanKswapd,
            ReclaimKind::Direct => VmEvent::PgScanDirect,
            ReclaimKind::Proactive => VmEvent::PgScanProactive,
        };
        let by_type =
            if kind == PageType::Anon { VmEvent::PgScanAnon } else { VmEvent::PgScanFile };
        self.count(by_caller, u64::from(pages));
        self.count(by_type, u64::from(pages));
    }

    fn count_steal(&self, who: ReclaimKind, kind: PageType, pages: u32) {
        let by_caller = match who {
            ReclaimKind::Kswapd => VmEvent::PgStealKswapd,
            ReclaimKind::Direct => VmEvent::PgStealDirect,
            ReclaimKind::Proactive => VmEvent::PgStealProactive,
        };
        let by_type =
            if kind == PageType::Anon { VmEvent::PgStealAnon } else { VmEvent::PgStealFile };
        self.count(by_caller, u64::from(pages));
        self.count(by_type, u64::from(pages));
    }

    /// Reclaims just the given pages of one zone and type, whatever their references, and
    /// puts the others back (`reclaim_pages`).
    pub(crate) fn reclaim_pages(
        &self,
        pages: &mut IsolatedList<'m>,
        zone: &Zone<'m, E::Cpu>,
    ) -> u32 {
        let mut progress = ScanProgress::default();
        self.reclaim_isolated(pages, zone, &ScanRequest::proactive(), &mut progress).reclaimed
    }

    /// Judges anonymous pages that were isolated one by one, and puts the others back.
    pub(super) fn reclaim_isolated(
        &self,
        pages: &mut IsolatedList<'m>,
        zone: &Zone<'m, E::Cpu>,
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> BatchStat {
        let taken = pages.len();
        self.count_scan(request.kind, PageType::Anon, taken);
        let stat = self.shrink_page_list(pages, zone, request, progress);
        let lruvec = self.lru.in_zone(zone.id());
        lruvec.putback(pages, PageType::Anon, taken, |page| self.free_cold_after_last_put(page));
        self.note_putback();
        self.count_steal(request.kind, PageType::Anon, stat.reclaimed);
        zone.note_reclaim(taken, stat.reclaimed);
        stat
    }
}

/// SHRZ-07 on bare numbers: more isolated than inactive, or than an eighth of it for those
/// who may do everything, so that they let the restricted go first.
fn too_many_isolated(isolated: u32, inactive: u32, io_and_fs: bool) -> bool {
    isolated > if io_and_fs { inactive / 8 } else { inactive }
}

/// SHRZ-11 on bare numbers.
fn zone_flags(stat: &BatchStat, taken: u32, global: bool) -> ZoneFlags {
    let mut flags = ZoneFlags::empty();
    flags.set(ZoneFlags::WRITEBACK, stat.writeback > 0 && stat.writeback == taken);
    flags.set(ZoneFlags::CONGESTED, global && stat.dirty > 0 && stat.dirty == stat.congested);
    flags.set(ZoneFlags::DIRTY, global && stat.unqueued == taken);
    flags
}

impl ScanProgress {
    /// What may be done now: the request's rights, widened once writing is forced.
    pub(super) fn may(&self, request: &ScanRequest) -> super::May {
        let forced = if self.force_writepage { super::May::WRITEPAGE } else { super::May::empty() };
        request.may | forced
    }

    pub(super) fn isolate_mode(&self, request: &ScanRequest) -> IsolateMode {
        let may = self.may(request);
        let mut mode = IsolateMode::empty();
        mode.set(IsolateMode::UNMAPPED, !may.contains(super::May::UNMAP));
        mode.set(IsolateMode::CLEAN, !may.contains(super::May::WRITEPAGE));
        mode
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHRZ-07: those who may do IO and FS yield at an eighth.
    #[test]
    fn the_unrestricted_yield_to_the_restricted() {
        assert!(!too_many_isolated(100, 800, true));
        assert!(too_many_isolated(101, 800, true));
        assert!(!too_many_isolated(800, 800, false));
        assert!(too_many_isolated(801, 800, false));
    }

    /// SHRZ-11: each flag needs the whole batch.
    #[test]
    fn a_whole_batch_of_one_kind_flags_the_zone() {
        let stat = |dirty, unqueued, congested, writeback| BatchStat {
            dirty,
            unqueued,
            congested,
            writeback,
            ..BatchStat::default()
        };
        let table = [
            (stat(0, 0, 0, 0), true, ZoneFlags::empty()),
            (stat(32, 0, 0, 32), true, ZoneFlags::WRITEBACK),
            (stat(32, 0, 0, 32), false, ZoneFlags::WRITEBACK),
            (stat(32, 0, 0, 31), true, ZoneFlags::empty()),
            (stat(8, 0, 8, 0), true, ZoneFlags::CONGESTED),
            (stat(8, 0, 8, 0), false, ZoneFlags::empty()),
            (stat(8, 0, 7, 0), true, ZoneFlags::empty()),
            (stat(32, 32, 0, 0), true, ZoneFlags::DIRTY),
            (stat(32, 31, 0, 0), true, ZoneFlags::empty()),
            (stat(32, 32, 0, 0), false, ZoneFlags::empty()),
        ];
        for (stat, global, want) in table {
            assert_eq!(zone_flags(&stat, 32, global), want, "{stat:?} global {global}");
        }
    }
}
