//! Pages that a file system keeps its own records in: those of the file that is its device.
//!
//! They are pages like any other, read when they are wanted, written back by the flusher, evicted when
//! they are clean. But who changes records must finish what was begun: neither being killed nor a lack
//! of memory ends a wait here. Both who reads and who changes a record holds the page's lock, so that
//! each sees all of a change or nothing; and a page is not changed while it is being written, so that
//! the device does not get half of a change.
//!
//! Counterpart in Linux: `sb_bread`, `mark_buffer_dirty`, `sb_getblk`.

use super::{FileError, Filemap, Of};
use crate::base::stat::VmEvent;
use crate::base::units::{FilePage, Nanos, Pfn};
use crate::base::wait::nap;
use crate::block::Direction;
use crate::env::Env;
use crate::file::transfer::Batch;
use crate::page::{PageFlags, PageLock, PageRef};

/// How long somebody waits who gets no memory.
const PATIENCE: Nanos = Nanos::from_millis(10);

/// What is done with a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Record {
    /// It is read.
    Look,
    /// It is changed.
    Change,
    /// The whole page is made anew, whatever was in it.
    Begin,
}

impl<'m, E: Env> Filemap<'m, E> {
    /// Lends a page to `act`, which must not wait.
    ///
    /// # Errors
    /// If it could not be read, or lies behind the end.
    pub(crate) fn with_record(
        &self,
        file: Of<'_, 'm, E>,
        index: u32,
        what: Record,
        act: &mut dyn FnMut(Pfn),
    ) -> Result<(), FileError> {
        let at = file.page(index);
        loop {
            let held = self.record_page(file, at, what)?;
            let is_change = what != Record::Look;
            if is_change {
                self.zones.wait_for_writeback_surely(held.page());
            }
            let lock = self.zones.lock_page_surely(&held);
            let page = held.page();
            let is_it = page.file_page() == Some(at);
            if is_it && !(is_change && page.has(PageFlags::WRITEBACK)) {
                let done = self.act_on(file, at, &lock, is_change, act);
                self.zones.unlock(lock);
                self.lru.mark_page_accessed(&held);
                self.lru.put(held);
                return done;
            }
            self.zones.unlock(lock);
            self.lru.put(held);
        }
    }

    fn act_on(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        lock: &PageLock<'m>,
        is_change: bool,
        act: &mut dyn FnMut(Pfn),
    ) -> Result<(), FileError> {
        let page = lock.page();
        if !page.is_uptodate() {
            self.files.remove(file, at, lock);
            return Err(FileError::Io);
        }
        act(self.map.pfn(page));
        if is_change {
            self.files.set_page_dirty(page);
        }
        Ok(())
    }

    /// The page, which may still be on its way from the device.
    fn record_page(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        what: Record,
    ) -> Result<PageRef<'m>, FileError> {
        loop {
            if let Some(held) = self.files.lookup(file, at) {
                self.events.count(VmEvent::FileCacheHit, 1);
                return Ok(held);
            }
            if at.index >= file.pages() {
                return Err(FileError::Io);
            }
            self.events.count(VmEvent::FileCacheMiss, 1);
            let made = match what {
                Record::Begin => self.fresh_page(file, at, true),
                _ => self.read_range(file, at.index, 1, None, Some(at.index)).map(|_| None),
            };
            match made {
                Ok(Some(held)) => return Ok(held),
                Ok(None) => {}
                Err(_) => _ = nap(self.env.tasks(), PATIENCE, false),
            }
        }
    }

    /// Waits until a page is not being written, killed or not.
    pub(crate) fn wait_for_record(&self, file: Of<'_, 'm, E>, index: u32) {
        // A page does not leave its file while it is being written.
        if let Some(held) = self.files.lookup(file, file.page(index)) {
            self.zones.wait_for_writeback_surely(held.page());
            self.lru.put(held);
        }
    }

    /// Writes a page, if it is dirty, and waits, killed or not.
    ///
    /// # Errors
    /// If it could not be written.
    #[doc(alias = "sync_dirty_buffer")]
    pub(crate) fn write_record(&self, file: Of<'_, 'm, E>, index: u32) -> Result<(), FileError> {
        let at = file.page(index);
        let Some(held) = self.files.lookup(file, at) else { return Ok(()) };
        let mut done = Ok(());
        loop {
            self.zones.wait_for_writeback_surely(held.page());
            let lock = self.zones.lock_page_surely(&held);
            let page = held.page();
            let is_busy = page.has(PageFlags::WRITEBACK);
            if is_busy || page.file_page() != Some(at) || !page.has(PageFlags::DIRTY) {
                self.zones.unlock(lock);
                if is_busy {
                    continue;
                }
                break;
            }
            page.clear_error();
            let mut batch = Batch::new();
            batch.add(index, self.map.pfn(self.files.begin_write(file, at, lock, false)));
            self.files.start(Direction::Write, file, &mut batch);
            self.zones.wait_for_writeback_surely(page);
            if page.has(PageFlags::ERROR) {
                done = Err(FileError::Io);
            }
            break;
        }
        self.lru.put(held);
        done
    }
}
