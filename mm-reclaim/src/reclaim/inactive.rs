//! `shrink_inactive_list`: isolates a batch from an inactive list and reclaims it.
//!
//! The lruvec's lock is held to isolate and to put back, and not in between. What the batch shows
//! about the device becomes zone flags and, for callers that may wait, a stall.

use super::{BatchStat, May, Reclaim, ReclaimKind, SWAP_CLUSTER_MAX, Scan};
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::base::units::Nanos;
use crate::base::wait::ISOLATION_WAIT;
use crate::env::{Env, TaskFlags, Tasks, WaitEnd, WaitMode};
use crate::lru::{IsolateMode, Taken};
use crate::page::{IsolatedPages, LruList, PageType};
use crate::zone::ZoneFlags;
use crate::zone::gfp::Gfp;

/// The longest that a reclaimer waits for others to put back isolated pages.
const ISOLATION_STALL: Nanos = Nanos::from_millis(100);

impl<'m, E: Env> Scan<'_, 'm, E> {
    /// Scans up to `want` pages of an inactive list; returns the base pages freed.
    pub(super) fn shrink_inactive_list(&mut self, want: u32, list: LruList) -> u32 {
        let kind = list.page_type().unwrap_or(PageType::Anon);
        if let Some(answer) = self.stall_while_isolated(kind) {
            self.progress.reclaimed += u64::from(answer);
            return answer;
        }
        self.reclaim.lru.drain();
        let mut batch = Taken::nothing();
        self.lruvec.isolate(list, want, self.isolate_mode(kind), &mut batch);
        self.count_scan(kind, batch.scanned);
        self.progress.looked_at += batch.scanned;
        if batch.taken == 0 {
            self.zone.note_reclaim(batch.scanned, 0);
            return 0;
        }
        let stat = self.shrink_page_list(&mut batch.pages);
        self.putback(&mut batch.pages, kind, batch.taken);
        self.lruvec.note_cost(kind, stat.pageout);
        self.count_steal(kind, stat.reclaimed);
        self.zone.note_reclaim(batch.scanned, stat.reclaimed);
        self.progress.reclaimed += u64::from(stat.reclaimed);
        self.progress.written += stat.pageout;
        self.draw_conclusions(&stat, batch.taken);
        stat.reclaimed
    }

    /// Reclaims pages of the lruvec, all of one type, that were isolated one by one, and puts the
    /// rest back.
    pub(super) fn shrink_isolated(
        &mut self,
        pages: &mut IsolatedPages<'m>,
        kind: PageType,
    ) -> BatchStat {
        let taken = pages.len() as u32;
        self.count_scan(kind, taken);
        let stat = self.shrink_page_list(pages);
        self.putback(pages, kind, taken);
        self.count_steal(kind, stat.reclaimed);
        self.zone.note_reclaim(taken, stat.reclaimed);
        stat
    }

    /// SHRZ-07: too many pages isolated at once would starve the allocator: wait once, until they
    /// are put back or a timeout, then give up. Dying tasks do not wait: their own memory is about
    /// to be freed, and is counted as if it had been.
    fn stall_while_isolated(&self, kind: PageType) -> Option<u32> {
        if !self.too_many_isolated(kind) {
            return None;
        }
        let Reclaim { env, isolation_stalled: stalled, .. } = self.reclaim;
        if env.tasks().flags().contains(TaskFlags::DYING) {
            return Some(SWAP_CLUSTER_MAX);
        }
        stalled.fetch_add(1, Ordering::Relaxed);
        let mode = WaitMode { timeout: Some(ISOLATION_STALL), killable: true };
        let ready = &mut || !self.too_many_isolated(kind);
        let end = env.tasks().wait_until(ISOLATION_WAIT, mode, ready);
        stalled.fetch_sub(1, Ordering::Relaxed);
        match end {
            WaitEnd::Ready => None,
            WaitEnd::TimedOut => Some(0),
            WaitEnd::Killed => Some(SWAP_CLUSTER_MAX),
        }
    }

    fn too_many_isolated(&self, kind: PageType) -> bool {
        self.request.kind != ReclaimKind::Kswapd
            && too_many_isolated(
                self.lruvec.isolated(kind),
                self.lruvec.size(kind.inactive()),
                self.request.gfp.contains(Gfp::IO | Gfp::FS),
            )
    }

    /// Puts back the rest of a batch, and wakes the tasks waiting for that. A task that begins to
    /// wait concurrently may be missed; its wait ends by timeout.
    pub(super) fn putback(&self, pages: &mut IsolatedPages<'m>, kind: PageType, taken: u32) {
        self.reclaim.lru.putback(self.lruvec, pages, kind, taken);
        if self.reclaim.isolation_stalled.load(Ordering::Relaxed) != 0 {
            self.reclaim.env.tasks().wake(ISOLATION_WAIT);
        }
    }

    /// Which pages of a list are not worth isolating now. Without a free slot these are all that
    /// have none, since they cannot be reclaimed.
    pub(super) fn isolate_mode(&self, kind: PageType) -> IsolateMode {
        let may = self.may();
        let mut mode = IsolateMode::empty();
        mode.set(IsolateMode::UNMAPPED, !may.contains(May::UNMAP));
        mode.set(IsolateMode::CLEAN, !may.contains(May::WRITEPAGE));
        let is_full = kind == PageType::Anon && !self.reclaim.swap.has_free();
        mode.set(IsolateMode::WITH_SLOT, is_full);
        mode
    }

    /// What may be done now: the request's rights, extended once writing is forced.
    pub(super) fn may(&self) -> May {
        let forced = if self.progress.force_writepage { May::WRITEPAGE } else { May::empty() };
        self.request.may | forced
    }

    /// SHRZ-11: what a whole batch has in common becomes a flag of the zone.
    fn draw_conclusions(&self, stat: &BatchStat, taken: u32) {
        let request = self.request;
        let flags = zone_flags(stat, taken, request.is_global());
        if !flags.is_empty() {
            self.zone.set_flags(flags);
        }
        if taken > 0 && stat.unqueued == taken {
            // Nobody writes these pages, and reclaim must not: the flusher is to.
            self.reclaim.files.dirty.call_flusher(taken);
        }
        if request.is_global() && stat.immediate > 0 && request.kind != ReclaimKind::Proactive {
            let _: WaitEnd = self.reclaim.writeback.wait();
        }
        if request.is_global() && request.kind == ReclaimKind::Direct {
            self.reclaim.wait_iff_congested(self.zone);
        }
    }

    fn count_scan(&self, kind: PageType, pages: u32) {
        let by_caller = match self.request.kind {
            ReclaimKind::Kswapd => VmEvent::PgScanKswapd,
            ReclaimKind::Direct => VmEvent::PgScanDirect,
            ReclaimKind::Proactive => VmEvent::PgScanProactive,
        };
        let by_type =
            if kind == PageType::Anon { VmEvent::PgScanAnon } else { VmEvent::PgScanFile };
        self.reclaim.events.count(by_caller, u64::from(pages));
        self.reclaim.events.count(by_type, u64::from(pages));
    }

    fn count_steal(&self, kind: PageType, pages: u32) {
        let by_caller = match self.request.kind {
            ReclaimKind::Kswapd => VmEvent::PgStealKswapd,
            ReclaimKind::Direct => VmEvent::PgStealDirect,
            ReclaimKind::Proactive => VmEvent::PgStealProactive,
        };
        let by_type =
            if kind == PageType::Anon { VmEvent::PgStealAnon } else { VmEvent::PgStealFile };
        self.reclaim.events.count(by_caller, u64::from(pages));
        self.reclaim.events.count(by_type, u64::from(pages));
    }
}

/// SHRZ-07 on plain numbers: more isolated than inactive, or than an eighth of it for callers
/// without restrictions, so that the restricted ones go first.
fn too_many_isolated(isolated: u32, inactive: u32, io_and_fs: bool) -> bool {
    isolated > if io_and_fs { inactive / 8 } else { inactive }
}

/// SHRZ-11 on plain numbers.
fn zone_flags(stat: &BatchStat, taken: u32, global: bool) -> ZoneFlags {
    let mut flags = ZoneFlags::empty();
    flags.set(ZoneFlags::WRITEBACK, stat.writeback > 0 && stat.writeback == taken);
    flags.set(ZoneFlags::CONGESTED, global && stat.dirty > 0 && stat.dirty == stat.congested);
    flags.set(ZoneFlags::DIRTY, global && stat.unqueued == taken);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHRZ-07: callers that may do IO and FS yield at an eighth.
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
