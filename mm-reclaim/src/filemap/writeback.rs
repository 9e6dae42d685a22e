//! Dirty pages are written, in runs, in the order of the file; and `fsync`.
//!
//! For each dirty page: lock, look again, make its mappings read-only and clean (a later store is a
//! fault again: FILE-03), mark it as under write-back, unlock. Pages that follow each other are
//! submitted together; whatever was chosen is submitted before the caller waits for anything.
//!
//! A write that fails leaves its page clean: an error that is not transient would otherwise fill
//! memory with pages that cannot be written. The file's error sequence tells each open description
//! once (DIRT-03).
//!
//! Counterpart in Linux: `write_cache_pages`, `file_write_and_wait_range`.

use core::ops::Range;

use super::{FileError, Filemap, Of};
use crate::base::errseq::{Seen, WriteError};
use crate::base::tlb::TlbBatch;
use crate::block::Direction;
use crate::env::{Env, Tasks, WaitEnd};
use crate::file::Mark;
use crate::file::index::Want;
use crate::file::transfer::Batch;
use crate::page::{PageFlags, PageLock, PageRef};

/// Why pages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncMode {
    /// Every page that is dirty now must be written (`WB_SYNC_ALL`).
    All,
    /// As many as can be written without waiting (`WB_SYNC_NONE`).
    None,
}

impl<'m, E: Env> Filemap<'m, E> {
    /// Starts writing the dirty pages of a range, at most `most`; returns how many.
    ///
    /// # Errors
    /// The caller was killed.
    #[doc(alias = "write_cache_pages")]
    pub(crate) fn write_dirty(
        &self,
        file: Of<'_, 'm, E>,
        range: Range<u32>,
        most: u32,
        mode: SyncMode,
    ) -> Result<u32, FileError> {
        let (mut from, mut started, mut batch) = (range.start, 0, Batch::new());
        let mut end = Ok(());
        while started < most {
            let Some(index) = self.next_marked(file, from, range.end, Mark::Dirty) else { break };
            from = index + 1;
            match self.write_one(file, index, mode, &mut batch) {
                Ok(did) => started += u32::from(did),
                Err(error) => {
                    end = Err(error);
                    break;
                }
            }
        }
        self.files.start(Direction::Write, file, &mut batch);
        end.map(|()| started)
    }

    fn next_marked(&self, file: Of<'_, 'm, E>, from: u32, end: u32, mark: Mark) -> Option<u32> {
        let want = Want::Marked(mark);
        self.files
            .with_tree(file, file.id(), |tree| tree.next(from, u64::from(end), want))
            .map(|(index, _)| index)
    }

    /// Adds a page to the batch, if it is still dirty.
    fn write_one(
        &self,
        file: Of<'_, 'm, E>,
        index: u32,
        mode: SyncMode,
        batch: &mut Batch,
    ) -> Result<bool, FileError> {
        let at = file.page(index);
        let Some(held) = self.files.lookup_inline(file, at) else { return Ok(false) };
        let locked = self.lock_to_write(file, &held, mode, batch);
        let did = locked.map(|lock| {
            let Some(lock) = lock else { return false };
            if held.page().file_page() != Some(at) || !self.make_clean(&lock) {
                self.zones.unlock(lock);
                return false;
            }
            if !batch.takes(index) {
                self.files.start(Direction::Write, file, batch);
            }
            let page = self.files.begin_write(file, at, lock, false);
            batch.add(index, self.map.pfn(page));
            true
        });
        self.lru.put(held);
        did
    }

    /// The lock of a page that is not being written; `None` if it is, or is locked, and the caller
    /// does not wait.
    fn lock_to_write(
        &self,
        file: Of<'_, 'm, E>,
        held: &PageRef<'m>,
        mode: SyncMode,
        batch: &mut Batch,
    ) -> Result<Option<PageLock<'m>>, FileError> {
        loop {
            let lock = match held.page().try_lock() {
                Some(lock) => lock,
                None if mode == SyncMode::None => return Ok(None),
                None => {
                    // Whoever has the lock may wait for a page of the batch.
                    self.files.start(Direction::Write, file, batch);
                    self.zones.lock_page(held).map_err(|_| FileError::Killed)?
                }
            };
            if !held.page().has(PageFlags::WRITEBACK) {
                return Ok(Some(lock));
            }
            self.zones.unlock(lock);
            if mode == SyncMode::None {
                return Ok(None);
            }
            self.files.start(Direction::Write, file, batch);
            self.wait_for_write(held)?;
        }
    }

    fn wait_for_write(&self, held: &PageRef<'m>) -> Result<(), FileError> {
        match self.zones.wait_on_page_writeback(held.page()) {
            WaitEnd::Killed => Err(FileError::Killed),
            WaitEnd::Ready | WaitEnd::TimedOut => Ok(()),
        }
    }

    /// Takes the right to store from all mappings of a locked page; whether it is dirty.
    #[doc(alias = "clear_page_dirty_for_io")]
    pub(super) fn make_clean(&self, lock: &PageLock<'m>) -> bool {
        let page = lock.page();
        if page.is_mapped() {
            let mut stale = TlbBatch::new();
            if self.rmap.page_mkclean(lock, &mut stale) {
                self.files.set_page_dirty(page);
            }
            stale.flush(&self.env);
        }
        page.has(PageFlags::DIRTY)
    }

    /// Waits until no page of a range is being written.
    ///
    /// # Errors
    /// The caller was killed.
    #[doc(alias = "filemap_fdatawait_range")]
    pub(crate) fn wait_for_writes(
        &self,
        file: Of<'_, 'm, E>,
        range: Range<u32>,
    ) -> Result<(), FileError> {
        let mut from = range.start;
        while let Some(index) = self.next_marked(file, from, range.end, Mark::Writeback) {
            from = index + 1;
            let Some(held) = self.files.lookup(file, file.page(index)) else { continue };
            let waited = if held.page().has(PageFlags::WRITEBACK) {
                self.wait_for_write(&held)
            } else {
                Ok(())
            };
            self.lru.put(held);
            waited?;
        }
        Ok(())
    }

    /// Writes a range and waits; then reports what `since` has not reported yet.
    ///
    /// # Errors
    /// If the caller was killed, or a write of the file has failed.
    #[doc(alias = "file_write_and_wait_range")]
    pub(crate) fn sync(
        &self,
        file: Of<'_, 'm, E>,
        range: Range<u32>,
        since: &mut Seen,
    ) -> Result<(), FileError> {
        self.write_dirty(file, range.clone(), u32::MAX, SyncMode::All)?;
        self.wait_for_writes(file, range)?;
        self.report_errors(file, since)
    }

    /// Reports what `since` has not reported yet.
    ///
    /// # Errors
    /// If a write of the file has failed.
    #[doc(alias = "file_check_and_advance_wb_err")]
    pub(crate) fn report_errors(
        &self,
        file: Of<'_, 'm, E>,
        since: &mut Seen,
    ) -> Result<(), FileError> {
        match file.errors.check_and_advance(since) {
            None => Ok(()),
            Some(WriteError::Io) => Err(FileError::Io),
            Some(WriteError::NoSpace) => Err(FileError::NoSpace),
        }
    }

    /// Writes the dirty pages of all files, and waits.
    ///
    /// # Errors
    /// The caller was killed.
    #[doc(alias = "ksys_sync")]
    pub(crate) fn sync_all(&self) -> Result<(), FileError> {
        self.for_each_file(|file| {
            self.write_dirty(file, 0..u32::MAX, u32::MAX, SyncMode::None).map(drop)
        })?;
        self.for_each_file(|file| {
            self.write_dirty(file, 0..u32::MAX, u32::MAX, SyncMode::All)?;
            self.wait_for_writes(file, 0..u32::MAX)
        })
    }

    /// Visits every file, with a reference.
    ///
    /// # Errors
    /// The first of the visitor, which ends the walk.
    pub(super) fn for_each_file<R>(
        &self,
        mut visit: impl FnMut(Of<'_, 'm, E>) -> Result<(), R>,
    ) -> Result<(), R> {
        let mut next = self.files.all.first(&self.files.pool);
        let mut done = Ok(());
        while let Some(file) = next {
            done = done.and_then(|()| visit(&file));
            next = match done {
                Ok(()) => self.files.all.after(&self.files.pool, &file),
                Err(_) => None,
            };
            self.put_file(file);
            self.env.tasks().yield_now();
        }
        done
    }
}
