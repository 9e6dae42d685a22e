//! A look at chosen pages with a chosen request: how tests fill their verdict tables.
//!
//! Reclaim itself chooses its pages by their place on a list, and the isolation already
//! leaves some of those that a rung of the ladder would refuse. Here a test names the
//! frames, so that each rung meets the state that it is there for, and sees what the batch
//! came to and the scan pressure. Nothing in the crate calls this.

use super::{BatchStat, ScanProgress, ScanRequest};
use crate::env::Env;
use crate::lru::IsolatedList;
use crate::mm::Mm;
use crate::units::Pfn;

impl<'m, E: Env> Mm<'m, E> {
    /// Isolates those of `frames` that are on a list, judges them in their order, and puts
    /// back what is not freed. The frames lie in one zone and hold anonymous pages.
    #[doc(hidden)]
    pub fn probe_pages(
        &self,
        frames: &[Pfn],
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> BatchStat {
        self.lru_add_drain_all();
        let mut pages = IsolatedList::new(self.map);
        let on_lists = frames.iter().map(|pfn| self.map.page(*pfn));
        on_lists
            .filter_map(|page| self.lru.of(page).isolate_page(page))
            .for_each(|p| pages.push(p));
        let Some(zone) = frames.first().map(|pfn| &self.zones[self.map.page(*pfn).zone_index()])
        else {
            return BatchStat::default();
        };
        self.reclaim_isolated(&mut pages, zone, request, progress)
    }
}
