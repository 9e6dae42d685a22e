//! Reclaims given pages with a given request: how tests fill their verdict tables.
//!
//! Reclaim itself chooses its pages by their place on a list, and the isolation already skips some
//! of those that a rung of the ladder would refuse. Here a test names the frames, so that each rung
//! gets the state that it is meant for, and sees the result of the batch and the scan pressure.
//! Nothing in the crate calls this.

use super::{BatchStat, Reclaim, ScanProgress, ScanRequest};
use crate::base::units::Pfn;
use crate::env::Env;
use crate::page::{IsolatedPages, MOST_ISOLATED};

impl<'m, E: Env> Reclaim<'m, E> {
    /// Isolates those of `frames` that are on a list, judges them in their order, 32 at a
    /// time, and puts back what is not freed. The frames hold pages of one type and one lruvec.
    pub(crate) fn probe_pages(
        &self,
        frames: &[Pfn],
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> BatchStat {
        self.lru.drain_all();
        let Some(first) = frames.first() else { return BatchStat::default() };
        let first = self.map.page(*first);
        let (lruvec, kind) = (self.lru.of(first), first.flags().page_type());
        let batches = frames.chunks(MOST_ISOLATED).map(|batch| {
            let mut pages = IsolatedPages::new();
            let on_lists = batch.iter().map(|pfn| self.map.page(*pfn));
            on_lists
                .filter_map(|page| self.lru.of(page).isolate_page(page))
                .for_each(|p| pages.push(p));
            self.shrink_isolated(&mut pages, kind, lruvec, request, progress)
        });
        batches.fold(BatchStat::default(), |sum, stat| sum.plus(&stat))
    }
}
