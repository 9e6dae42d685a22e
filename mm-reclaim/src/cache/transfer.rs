//! What the transfers of all stores have in common (SPL-20, LRU-07).
//!
//! A write clears dirty and sets write-back under the page lock, and releases the lock before the
//! device gets the page. A read keeps the lock until its end. An end runs in task context and takes
//! the lock of a batch at most, and the lruvec's in it.
//!
//! Counterpart in Linux: `folio_start_writeback`, `folio_end_writeback`, `folio_end_read`.

use super::Cache;
use crate::block::{Bio, Completion, Direction};
use crate::env::{BlockDevice, DeviceId, Env};
use crate::lru::Move;
use crate::page::{Page, PageFlags, PageLock};

impl<'m, E: Env> Cache<'m, E> {
    /// The page of `lock` is about to be written: marks it clean and under write-back.
    #[doc(alias = "folio_start_writeback")]
    #[inline]
    pub(crate) fn begin_write(&self, lock: PageLock<'m>) -> &'m Page {
        let page = lock.page();
        page.clear_dirty();
        page.begin_writeback(true);
        self.writeback.begin(self.map.nr_pages(page));
        self.zones.unlock(lock);
        page
    }

    /// Submits a request; returns its completion if the device is synchronous.
    #[inline]
    pub(crate) fn submit(
        &self,
        direction: Direction,
        (device, block): (DeviceId, u32),
        page: &'m Page,
    ) -> Option<Completion> {
        let bio = Bio::new(direction, device, block, self.map.pfn(page));
        let end = self.env.blocks().submit(bio);
        debug_assert!(end.as_ref().is_none_or(Completion::is_real), "{end:?} is a test's");
        end
    }

    /// A read has ended: the contents are valid or not, and the lock is released. The caller holds
    /// a reference.
    #[doc(alias = "folio_end_read")]
    #[inline]
    pub(crate) fn end_read(&self, page: &'m Page, ok: bool) {
        page.end_read(ok);
        self.zones.unlock(PageLock::adopt(page));
    }

    /// A write has ended. A page that reclaim waits for goes to the tail, if the write
    /// succeeded. The caller holds a reference of its own: the cache's may be dropped from now on.
    #[doc(alias = "folio_end_writeback")]
    pub(crate) fn end_write(&self, page: &'m Page, ok: bool) {
        let was = page.end_writeback();
        self.writeback.end(self.map.nr_pages(page));
        if ok && was.contains(PageFlags::RECLAIM) && was.contains(PageFlags::LRU) {
            self.lru.relocate(page, Move::Rotate);
            // Reclaim's scan was of use: this page can be freed now.
            self.zones.of(page).forget_vain_looks();
        }
        if page.take_waiters() {
            self.zones.wake_waiters(page);
        }
    }
}
