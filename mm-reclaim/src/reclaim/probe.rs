//! Reclaims given pages with a given request: how tests fill their verdict tables.
//!
//! Reclaim itself chooses its pages by their place on a list, and the isolation already skips some
//! of those that a rung of the ladder would refuse. Here a test names the frames, so that each rung
//! gets the state that it is meant for, and sees the result of the batch and the scan pressure.
//! Nothing in the crate calls this.

use super::{BatchStat, Reclaim, ScanProgress, ScanRequest};
use crate::base::units::Pfn;
use crate::env::Env;
use crate::page::{IsolatedPages, MOST_ISOLATED, PageType};

impl<'m, E: Env> Reclaim<'m, E> {
    /// Isolates those of `frames` that are on a list, judges them in their order, 32 at a time and
    /// each type by itself, and puts back what is not freed. The frames are of one lruvec.
    pub(crate) fn probe_pages(
        &self,
        frames: &[Pfn],
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> BatchStat {
        self.lru.drain_all();
        let batches = PageType::ALL.map(|kind| {
            let batch = |frames| self.probe_batch(frames, kind, request, progress);
            frames.chunks(MOST_ISOLATED).map(batch).fold(BatchStat::default(), |a, b| a.plus(&b))
        });
        batches[0].plus(&batches[1])
    }

    fn probe_batch(
        &self,
        frames: &[Pfn],
        kind: PageType,
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> BatchStat {
        let of_kind = || {
            let pages = frames.iter().map(|pfn| self.map.page(*pfn));
            pages.filter(|page| page.flags().page_type() == kind)
        };
        let Some(first) = of_kind().next() else { return BatchStat::default() };
        let (lruvec, mut pages) = (self.lru.of(first), IsolatedPages::new());
        of_kind().filter_map(|page| lruvec.isolate_page(page)).for_each(|page| pages.push(page));
        self.shrink_isolated(&mut pages, lruvec, kind, request, progress)
    }
}
