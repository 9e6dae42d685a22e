//! `write` through the cache (FILE-04).
//!
//! For each page, with the inode lock held exclusively:
//!
//! ```text
//!   the source is made present -> the store reserves -> the page, locked, up to date if it is not
//!   written as a whole -> copied with faults off -> dirty, size, unlocked -> paced (DIRT-02)
//! ```
//!
//! The source may be a mapping of the very page: a fault would wait for the page lock that the writer
//! holds. So nothing is faulted in while the page is locked; if the source is no longer present then,
//! fewer bytes are copied, and it is made present again.
//!
//! Counterpart in Linux: `generic_perform_write`.

use super::window::{Pattern, ReadAhead};
use super::{FileError, Filemap, Of, split};
use crate::base::units::{FilePage, PAGE_SIZE, Pfn};
use crate::env::{Env, FileStore, FrameMemory, TaskFlags, Tasks};
use crate::file::MOST_BYTES;
use crate::file::transfer::{MOST_OF_RUN, zero_part};
use crate::page::{PageLock, PageRef};
use crate::zone::gfp::Gfp;

/// Bytes for pages, such as those of a program's buffer.
pub trait PageSource {
    /// Makes `len` bytes from the one at `from` on present, as far as it can; returns how many of them,
    /// from the first on, are. It may sleep, and take faults.
    #[doc(alias = "fault_in_readable")]
    fn fault_in(&mut self, from: usize, len: usize) -> usize;

    /// Copies `len` bytes from the one at `from` on into a frame, without taking a fault and without
    /// sleeping; returns how many could be.
    #[doc(alias = "copy_page_from_iter_atomic")]
    fn copy(&mut self, from: usize, frame: Pfn, offset: usize, len: usize) -> usize;
}

/// What goes into one page.
#[derive(Clone, Copy)]
struct Part {
    /// Where in the file.
    position: u64,
    /// Where in the source.
    from: usize,
    /// Bytes.
    len: usize,
}

/// Attempts to copy from a source that is present and yet is not, in a row.
const MOST_ATTEMPTS: u32 = 64;

impl<'m, E: Env> Filemap<'m, E> {
    /// Writes `len` bytes of the source from `position` on, or behind the end if there is none; returns
    /// how many, and from where on.
    ///
    /// # Errors
    /// If nothing could be written.
    #[doc(alias = "generic_file_write_iter")]
    pub(crate) fn write(
        &self,
        file: Of<'_, 'm, E>,
        position: Option<u64>,
        len: usize,
        source: &mut dyn PageSource,
    ) -> Result<(usize, u64), FileError> {
        let whole = file.inode.lock(self.env.tasks());
        let position = position.unwrap_or_else(|| file.size());
        if len > 0 && position >= MOST_BYTES {
            return Err(FileError::TooLarge);
        }
        // What would be behind the last byte that there can be is not written.
        let len =
            len.min(usize::try_from(MOST_BYTES.saturating_sub(position)).unwrap_or(usize::MAX));
        if position > file.size() {
            self.zero_tail(file, file.size())?;
        }
        let (mut done, mut attempts) = (0, 0);
        let mut failed = None;
        let mut expected = 0;
        while done < len && failed.is_none() {
            let (index, offset) = split(position + done as u64);
            if offset == 0 && index >= expected {
                expected = self.expect_pages(file, index, len - done);
            }
            let most = (PAGE_SIZE - offset).min(len - done);
            let part = Part { position: position + done as u64, from: done, len: most };
            match self.write_part(file, part, source) {
                Ok(0) if attempts == MOST_ATTEMPTS => failed = Some(FileError::BadBuffer),
                Ok(0) => attempts += 1,
                Ok(copied) => (done, attempts) = (done + copied, 0),
                Err(error) => failed = Some(error),
            }
            self.balance_dirty_pages(file);
            if self.env.tasks().flags().contains(TaskFlags::DYING) {
                failed = Some(FileError::Killed);
            }
        }
        if failed.is_some() {
            let first = split(position + done as u64).0;
            self.drop_behind_end(file, first..expected.max(first.saturating_add(1)));
        }
        drop(whole);
        match failed {
            Some(error) if done == 0 => Err(error),
            _ => Ok((done, position)),
        }
    }

    /// Tells the store of the whole pages that come next, as many as one run has; returns the first page
    /// behind them.
    fn expect_pages(&self, file: Of<'_, 'm, E>, index: u32, bytes: usize) -> u32 {
        let pages = (bytes / PAGE_SIZE).min(MOST_OF_RUN) as u32;
        if pages > 1 && !file.is_shared_memory() {
            self.env.files().expect(file.store(), index, pages);
        }
        index.saturating_add(pages.max(1))
    }

    /// Writes a part of one page; 0 if the source was not present any more.
    fn write_part(
        &self,
        file: Of<'_, 'm, E>,
        part: Part,
        source: &mut dyn PageSource,
    ) -> Result<usize, FileError> {
        let present = source.fault_in(part.from, part.len).min(part.len);
        if present == 0 {
            return Err(FileError::BadBuffer);
        }
        let part = Part { len: present, ..part };
        let (index, offset) = split(part.position);
        let at = file.page(index);
        if !file.is_shared_memory() {
            self.env.files().reserve(file.store(), index, offset..offset + part.len)?;
        }
        let (lock, held) = self.write_begin(file, at, offset == 0 && part.len == PAGE_SIZE)?;
        let copied = self.write_end(file, at, &lock, part, source);
        self.zones.unlock(lock);
        if copied > 0 {
            self.lru.mark_page_accessed(&held);
        }
        self.lru.put(held);
        Ok(copied)
    }

    /// The page, locked, and up to date unless all of it is about to be written.
    fn write_begin(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        is_whole: bool,
    ) -> Result<(PageLock<'m>, PageRef<'m>), FileError> {
        loop {
            let held = if file.is_shared_memory() {
                self.make_shared(file, at, false)?
            } else {
                self.write_page(file, at, is_whole)?
            };
            let Ok(lock) = self.zones.lock_page(&held) else {
                self.lru.put(held);
                return Err(FileError::Killed);
            };
            let is_there = held.page().file_page() == Some(at);
            if is_there && (is_whole || held.page().is_uptodate()) {
                return Ok((lock, held));
            }
            self.zones.unlock(lock);
            self.lru.put(held);
        }
    }

    /// The page of a stored file: cached, made of zeroes behind the end, or read. One that is
    /// overwritten as a whole need not be up to date.
    fn write_page(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        is_whole: bool,
    ) -> Result<PageRef<'m>, FileError> {
        loop {
            if let Some(held) = self.files.lookup_inline(file, at) {
                if is_whole || held.page().is_uptodate() {
                    return Ok(held);
                }
                self.lru.put(held);
            } else if is_whole || at.index >= file.pages() {
                match self.fresh_page(file, at, !is_whole)? {
                    Some(held) => return Ok(held),
                    None => continue,
                }
            }
            return self.get_page(file, at.index, 1, &mut ReadAhead::new(), Pattern::Random);
        }
    }

    /// A page that is not read: of zeroes and up to date, or with undefined contents and not. `None`
    /// if another task was first.
    pub(super) fn fresh_page(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        zeroed: bool,
    ) -> Result<Option<PageRef<'m>>, FileError> {
        let (new, spare) = self.new_page(file, at, Gfp::HIGHUSER_MOVABLE)?;
        if zeroed {
            self.env.frames().zero(self.map.pfn(new.page()));
        }
        // The inode lock is held exclusively: the end of the file stays where it is.
        let can_swap = self.swap.has_free();
        let Ok((lock, held)) = self.files.enter(file, at, new, spare, false, can_swap) else {
            return Ok(None);
        };
        if zeroed {
            held.page().set_uptodate();
        }
        self.zones.unlock(lock);
        Ok(Some(held))
    }

    /// Copies into a locked page, which is dirty then; returns how many bytes. A page that is not up
    /// to date is written as a whole or not at all.
    fn write_end(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        lock: &PageLock<'m>,
        part: Part,
        source: &mut dyn PageSource,
    ) -> usize {
        let (page, (_, offset)) = (lock.page(), split(part.position));
        let frame = self.map.pfn(page);
        let copied = source.copy(part.from, frame, offset, part.len);
        if copied < part.len && !page.is_uptodate() {
            // The rest was never read: as if nothing had been copied.
            self.files.remove(file, at, lock);
            return 0;
        }
        if copied == 0 {
            return 0;
        }
        page.set_uptodate();
        self.files.set_page_dirty(page);
        let end = part.position + copied as u64;
        if end > file.size() {
            file.set_size(end);
        }
        copied
    }

    /// Fills the last page of a file of `size` bytes with zeroes behind its end, if it is cached: a
    /// mapping may have stored there.
    #[doc(alias = "pagecache_isize_extended")]
    pub(crate) fn zero_tail(&self, file: Of<'_, 'm, E>, size: u64) -> Result<(), FileError> {
        let (index, offset) = split(size);
        if offset == 0 {
            return Ok(());
        }
        if file.is_shared_memory() {
            // It may be in swap.
            return self.clear_bytes(file, size, PAGE_SIZE);
        }
        let Some(held) = self.files.lookup(file, file.page(index)) else { return Ok(()) };
        let locked = self.zones.lock_page(&held);
        if let Ok(lock) = locked {
            if held.page().file_page() == Some(file.page(index)) {
                let frame = self.map.pfn(held.page());
                zero_part(self.env.frames(), frame, offset..PAGE_SIZE);
                // What lies behind the end has no place at the store yet, and gets it at the next store.
                if self.env.files().block_bytes(file.store()) < PAGE_SIZE {
                    self.make_clean(&lock);
                }
            }
            self.zones.unlock(lock);
            self.lru.put(held);
            return Ok(());
        }
        self.lru.put(held);
        Err(FileError::Killed)
    }
}
