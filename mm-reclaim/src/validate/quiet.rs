//! Whether a moment is quiet, as far as it shows in descriptors, address spaces and zones.

use super::Books;
use crate::base::sync::Ordering;
use crate::env::Env;
use crate::page::PageFlags;

/// A task or a device is using the page: a read holds the page's lock.
const BUSY: PageFlags = PageFlags::LOCKED.union(PageFlags::WRITEBACK).union(PageFlags::ISOLATED);

impl<E: Env> Books<'_, '_, E> {
    /// No address space is being used, made or destroyed, or waits for the reaper, no CPU's list of
    /// free pages is in use, and no page is being worked on.
    pub(crate) fn is_quiet(&self) -> bool {
        let tasks = self.env.tasks();
        let mut at_rest = 0;
        for held in self.spaces.iter() {
            let space = held.space;
            if space.victim.load(Ordering::Relaxed) || space.areas.try_lock(tasks).is_none() {
                return false;
            }
            at_rest += u32::from(space.live.load(Ordering::Relaxed));
        }
        at_rest == self.spaces.pool.usage().0
            && self.zones.iter().all(|zone| zone.is_pcp_free())
            && self.map.iter().all(|(_, page)| !page.flags().intersects(BUSY))
    }
}
