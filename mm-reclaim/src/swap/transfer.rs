//! Transfers of pages of the swap cache, and what their ends mean (SPL-20, SWAP-07).
//!
//! A write clears dirty and sets write-back under the page lock, and gives the lock back before
//! the device has the page. A read keeps the lock: the end of the transfer gives it back. An
//! end runs in task context and takes the lruvec's lock at most.
//!
//! Counterpart in Linux: `mm/page_io.c`.

use super::{Swap, SwapEntry};
use crate::base::stat::VmEvent;
use crate::block::{Bio, Completion, Direction};
use crate::env::{BlockDevice, Env};
use crate::lru::Relocation;
use crate::page::{Page, PageFlags, PageLock};

impl<'m, E: Env> Swap<'m, E> {
    /// Starts writing a page of the cache: clears dirty, sets write-back, drops the page
    /// lock (SPL-20).
    pub(crate) fn writepage(&self, lock: PageLock<'m>) {
        let page = lock.page();
        let entry = SwapEntry::from_raw(page.private());
        page.clear_dirty();
        page.begin_writeback();
        self.writeback.begin(page.nr_pages());
        self.zones.unlock(lock);
        self.submit(Direction::Write, entry, page);
        self.events.count(VmEvent::PswpOut, 1);
    }

    /// Starts reading a page of the cache; the end of the transfer gives the lock back.
    pub(crate) fn readpage(&self, lock: PageLock<'m>) {
        let page = lock.page();
        let entry = SwapEntry::from_raw(page.private());
        lock.pass_on();
        self.submit(Direction::Read, entry, page);
        self.events.count(VmEvent::PswpIn, 1);
    }

    #[inline]
    fn submit(&self, direction: Direction, entry: SwapEntry, page: &'m Page) {
        let device = self.device(entry).id;
        let bio = Bio::new(direction, device, entry, self.map.pfn(page));
        if let Some(completion) = self.env.blocks().submit(bio) {
            self.complete(completion);
        }
    }

    /// Ends a transfer. Called by the device's task, or inline for a synchronous device.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a completion is proof of a transfer's end: it must be used up"
    )]
    pub fn complete(&self, end: Completion) {
        let Completion { direction, entry, frame, result } = end;
        let page = self.map.page(frame);
        match direction {
            Direction::Read => self.end_swap_read(page, result.is_ok()),
            Direction::Write => self.end_swap_write(page, entry, result.is_ok()),
        }
    }

    fn end_swap_read(&self, page: &'m Page, ok: bool) {
        if !ok {
            self.events.count(VmEvent::SwapReadError, 1);
        }
        page.end_read(ok);
        let held = page.get();
        self.zones.unlock(PageLock::adopt(page));
        self.drop_if_last_user_went(page);
        self.lru.put(held);
    }

    /// The last user of a page's slot may have gone while the device had the page.
    fn drop_if_last_user_went(&self, page: &'m Page) {
        if page.has(PageFlags::SWAPCACHE) && self.slot_uses(page) == 0 {
            self.drop_unwanted(page);
        }
    }

    /// A write that failed leaves the page dirty and active, its slot never to be used
    /// again; one that succeeded moves a page that reclaim waits for to the tail (LRU-07).
    fn end_swap_write(&self, page: &'m Page, entry: SwapEntry, ok: bool) {
        // The cache's reference lasts until write-back ends; this one a little longer.
        let held = page.get();
        if !ok {
            self.write_failed(page, entry);
        }
        let was = page.end_writeback();
        self.writeback.end(page.nr_pages());
        if ok && was.contains(PageFlags::RECLAIM) && was.contains(PageFlags::LRU) {
            let moved = self.lru.of(page).relocate(page, Relocation::InactiveTail);
            self.events.count(VmEvent::PgRotated, u64::from(moved));
            // What reclaim has looked at was not in vain: this page can be freed now.
            self.zones.of(page).forget_vain_looks();
        }
        if page.take_waiters() {
            self.zones.wake_waiters(page);
        }
        self.drop_if_last_user_went(page);
        self.lru.put(held);
    }

    /// SWAP-07: the page stays, dirty and active. One that is off its list at the moment is
    /// marked, and becomes active when it is put back.
    #[cold]
    fn write_failed(&self, page: &'m Page, entry: SwapEntry) {
        self.device(entry).mark_broken(entry.slot());
        self.events.count(VmEvent::SwapWriteError, 1);
        page.note_write_error();
        let lruvec = self.lru.of(page);
        if lruvec.relocate(page, Relocation::Activate) || page.has(PageFlags::LRU) {
            page.take_write_error();
        }
    }
}
