//! Transfers of pages of the swap cache, and what their ends mean (SPL-20, SWAP-07).
//!
//! What they have in common with those of files is in [`crate::cache`]; this module has what
//! concerns slots: the block, the counters, and a page whose last user went away during the
//! transfer.
//!
//! Counterpart in Linux: `mm/page_io.c`.

use super::{Swap, SwapDevice, SwapEntry};
use crate::base::stat::VmEvent;
use crate::block::Direction;
use crate::env::{BlockDevice, Env};
use crate::lru::Relocation;
use crate::page::{Page, PageFlags, PageLock};

impl<'m, E: Env> Swap<'m, E> {
    /// Starts writing a page of the cache: clears dirty, sets write-back, drops the page
    /// lock (SPL-20).
    #[doc(alias = "swap_writepage")]
    pub(crate) fn writepage(&self, lock: PageLock<'m>) {
        let entry = SwapEntry::from_raw(lock.page().private());
        let page = self.cache.begin_write(lock);
        self.submit(Direction::Write, entry, page);
        self.events.count(VmEvent::PswpOut, 1);
    }

    /// Writes a page of the cache at once, with its lock held, if the device of its `entry` can:
    /// whether that succeeded. After a failure the page is dirty again and its slot broken. The
    /// caller counts `pswpout`.
    #[inline]
    pub(crate) fn write_now(
        &self,
        lock: &PageLock<'m>,
        device: &SwapDevice<'m, E::Cpu>,
        entry: SwapEntry,
    ) -> Option<bool> {
        let page = lock.page();
        if !self.env.blocks().is_synchronous(device.id) {
            return None;
        }
        page.clear_dirty();
        let result = self.env.blocks().write_now(device.id, entry.slot(), self.map.pfn(page));
        let Some(result) = result else {
            page.set_dirty();
            return None;
        };
        if result.is_err() {
            self.write_failed(page);
        }
        Some(result.is_ok())
    }

    /// Starts reading a page of the cache; the end of the transfer releases the lock.
    #[doc(alias = "swap_readpage")]
    pub(crate) fn readpage(&self, lock: PageLock<'m>) {
        let page = lock.page();
        let entry = SwapEntry::from_raw(page.private());
        lock.pass_on();
        self.submit(Direction::Read, entry, page);
        self.events.count(VmEvent::PswpIn, 1);
    }

    #[inline]
    fn submit(&self, direction: Direction, entry: SwapEntry, page: &'m Page) {
        let place = (self.device(entry).id, entry.slot());
        if let Some(end) = self.cache.submit(direction, place, page) {
            self.ended(direction, page, end.result.is_ok());
        }
    }

    /// A transfer has ended. The caller holds a reference: the cache's may be dropped as soon as
    /// the page is unlocked or written.
    #[inline]
    pub(crate) fn ended(&self, direction: Direction, page: &'m Page, ok: bool) {
        match direction {
            Direction::Read => self.end_read(page, ok),
            Direction::Write => self.end_write(page, ok),
        }
        self.drop_if_last_user_went(page);
    }

    fn end_read(&self, page: &'m Page, ok: bool) {
        if !ok {
            self.events.count(VmEvent::SwapReadError, 1);
        }
        self.cache.end_read(page, ok);
    }

    /// A failed write leaves the page dirty and active, and its slot is never used again.
    fn end_write(&self, page: &'m Page, ok: bool) {
        if !ok {
            self.write_failed(page);
        }
        self.cache.end_write(page, ok);
    }

    /// Frees the slot of a page whose last user went away during the transfer.
    #[inline]
    pub(crate) fn drop_if_unused(&self, page: &'m Page) {
        self.drop_if_last_user_went(page);
    }

    fn drop_if_last_user_went(&self, page: &'m Page) {
        if page.has(PageFlags::SWAPCACHE) && self.slot_uses(page) == 0 {
            self.drop_unwanted(page);
        }
    }

    /// SWAP-07: the page stays, dirty and active. If it is isolated at the moment, it is marked,
    /// and becomes active when it is put back.
    #[cold]
    fn write_failed(&self, page: &'m Page) {
        let entry = SwapEntry::from_raw(page.private());
        self.device(entry).mark_broken(entry.slot());
        self.events.count(VmEvent::SwapWriteError, 1);
        page.note_write_error();
        let lruvec = self.lru.of(page);
        if lruvec.relocate(page, Relocation::Activate) || page.has(PageFlags::LRU) {
            page.take_write_error();
        }
    }
}
