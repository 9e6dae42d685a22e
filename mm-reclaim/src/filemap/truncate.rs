//! Pages leave a file: it becomes shorter, gets a hole, or ends (FILE-05).
//!
//! The order, with the inode lock and `invalidate` held exclusively, so that nobody writes or reads in:
//!
//! ```text
//!   the size (under the index's lock: no page behind it is entered any more)
//!     -> mappings dropped, with private copies
//!     -> each page: write-back waited for, locked, mappings dropped again, removed
//!     -> mappings dropped again, until there are none: a fault had looked at the size before it
//!        changed, and a fork may copy from an area to one that was visited before
//!     -> the store forgets what it has
//! ```
//!
//! A fault maps a page under its lock, after a look at the file and its size: so it maps a page
//! before that is removed here, and is then unmapped, or finds that it is gone.
//!
//! Counterpart in Linux: `truncate_setsize`, `truncate_inode_pages_range`, `invalidate_mapping_pages`.

use core::ops::Range;

use super::window::{Pattern, ReadAhead};
use super::{FileError, Filemap, Of, split};
use crate::base::units::{FileId, FilePage, PAGE_SIZE};
use crate::env::{Env, FileStore, Tasks};
use crate::file::index::{Tree, Want};
use crate::file::transfer::zero_part;
use crate::file::{Entry, File, FileKind, MOST_BYTES};
use crate::page::{PageFlags, PageLock, PageRef};
use crate::zone::gfp::Gfp;

impl<'m, E: Env> Filemap<'m, E> {
    /// Makes a file shorter or longer.
    ///
    /// # Errors
    /// If it would be too large, or its new last page could not be read; nothing has changed then.
    #[doc(alias = "vmtruncate")]
    #[doc(alias = "truncate_setsize")]
    pub(crate) fn truncate(&self, file: Of<'_, 'm, E>, size: u64) -> Result<(), FileError> {
        if size > MOST_BYTES {
            return Err(FileError::TooLarge);
        }
        let whole = file.inode.lock(self.env.tasks());
        let old = file.size();
        if size >= old {
            self.zero_tail(file, old)?;
            file.set_size(size);
            if !file.is_shared_memory() {
                self.env.files().resized(file.store(), size);
            }
            return Ok(());
        }
        self.clear_bytes(file, size, PAGE_SIZE)?;
        let no_reads = file.invalidate.lock(self.env.tasks());
        let before = file.pages();
        file.set_size(size);
        self.drop_range(file.file(), file.id(), file.pages()..before, Copies::Dropped);
        self.tell_size(file);
        drop(no_reads);
        drop(whole);
        Ok(())
    }

    /// Makes a hole of bytes `start..end`, which read as zeroes from then on; the size stays.
    ///
    /// # Errors
    /// If a page that it covers in part could not be read; the pages that it covers whole are
    /// as they were.
    #[doc(alias = "FALLOC_FL_PUNCH_HOLE")]
    pub(crate) fn punch_hole(
        &self,
        file: Of<'_, 'm, E>,
        start: u64,
        end: u64,
    ) -> Result<(), FileError> {
        let whole = file.inode.lock(self.env.tasks());
        let end = end.min(file.size());
        if start >= end {
            return Ok(());
        }
        let (first, from) = split(start);
        let (last, to) = split(end);
        let is_one = first == last;
        if from > 0 || is_one {
            self.clear_bytes(file, start, if is_one { to } else { PAGE_SIZE })?;
        }
        if !is_one && to > 0 {
            self.clear_bytes(file, end - to as u64, to)?;
        }
        // A last page that ends with the file is covered as a whole.
        let pages = first + u32::from(from > 0)..last;
        if !pages.is_empty() {
            let no_reads = file.invalidate.lock(self.env.tasks());
            self.drop_range(file.file(), file.id(), pages, Copies::Kept);
            drop(no_reads);
        }
        drop(whole);
        Ok(())
    }

    /// Pages behind the end that were made or reserved to be written, and were not, go. The caller holds
    /// the inode lock.
    pub(super) fn drop_behind_end(&self, file: Of<'_, 'm, E>, range: Range<u32>) {
        let no_reads = file.invalidate.lock(self.env.tasks());
        let behind = range.start.max(file.pages())..range.end;
        self.drop_range(file.file(), file.id(), behind, Copies::Kept);
        self.tell_size(file);
        drop(no_reads);
    }

    /// The store learns where the file ends. It may be writing what it has behind that in the last page.
    fn tell_size(&self, file: Of<'_, 'm, E>) {
        if file.is_shared_memory() {
            return;
        }
        let (size, store) = (file.size(), self.env.files());
        if split(size).1 > 0
            && store.block_bytes(file.store()) < PAGE_SIZE
            && let Some(held) = self.files.lookup(file, file.page(split(size).0))
        {
            self.zones.wait_for_writeback_surely(held.page());
            self.lru.put(held);
        }
        store.resized(file.store(), size);
    }

    /// Fills the page at `position` with zeroes from there to byte `to` of the page.
    pub(super) fn clear_bytes(
        &self,
        file: Of<'_, 'm, E>,
        position: u64,
        to: usize,
    ) -> Result<(), FileError> {
        let (index, offset) = split(position);
        if offset == 0 && to == PAGE_SIZE || offset >= to {
            return Ok(());
        }
        let at = file.page(index);
        loop {
            let Some(held) = self.page_to_clear(file, at, offset..to)? else { return Ok(()) };
            let Ok(lock) = self.zones.lock_page(&held) else {
                self.lru.put(held);
                return Err(FileError::Killed);
            };
            let is_there = held.page().file_page() == Some(at) && held.page().is_uptodate();
            if is_there {
                let frame = self.map.pfn(held.page());
                zero_part(self.env.frames(), frame, offset..to);
                self.files.set_page_dirty(held.page());
            }
            self.zones.unlock(lock);
            self.lru.put(held);
            if is_there {
                return Ok(());
            }
        }
    }

    /// The page, which has a place at its store; `None` for a hole: what was never dirty is zeroes already.
    fn page_to_clear(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        part: Range<usize>,
    ) -> Result<Option<PageRef<'m>>, FileError> {
        if file.is_shared_memory() {
            return self.find_shared(file, at);
        }
        if !self.env.files().is_stored(file.store(), at.index, part)? {
            return Ok(None);
        }
        self.get_page(file, at.index, 1, &mut ReadAhead::new(), Pattern::Random).map(Some)
    }

    /// Drops the pages of a range, and what the store has of them.
    fn drop_range(&self, file: &'m File<E::Cpu>, id: FileId, range: Range<u32>, copies: Copies) {
        if range.is_empty() {
            return;
        }
        let all = range.start..=range.end - 1;
        self.rmap.unmap_file(file, id, &all, copies == Copies::Dropped);
        self.drop_pages(file, id, range.clone());
        if copies == Copies::Dropped {
            // What a walk has not found in the parent of a fork, the child did not get.
            while self.rmap.unmap_file(file, id, &all, true) {}
        }
        if !file.is_shared_memory() {
            self.env.files().discard(file.store(), range.start, range.end - range.start);
        }
    }

    /// Removes every page and swap entry of a range.
    #[doc(alias = "truncate_inode_pages_range")]
    fn drop_pages(&self, file: &'m File<E::Cpu>, id: FileId, range: Range<u32>) {
        let mut from = range.start;
        let next = |from| {
            let any =
                |tree: &mut Tree<'_, 'm, E::Cpu>| tree.next(from, u64::from(range.end), Want::Any);
            self.files.with_tree(file, id, any)
        };
        while let Some((index, entry)) = next(from) {
            let at = FilePage { file: id, index };
            match entry {
                Entry::Page(_) => self.drop_page(file, at),
                Entry::Swap(entry) => self.swap.forget_shared(file, at, entry),
                Entry::Shadow(_) => self.files.forget_shadow(file, at),
                Entry::Empty => {}
            }
            // The same again, unless it is gone: another task may have brought it back from swap.
            from = index;
        }
    }

    /// Removes one page, dirty or not.
    fn drop_page(&self, file: &'m File<E::Cpu>, at: FilePage) {
        let Some(held) = self.files.lookup(file, at) else { return };
        let lock = self.lock_for_removal(&held);
        if held.page().file_page() == Some(at) {
            if held.page().is_mapped() {
                self.rmap.unmap_file(file, at.file, &(at.index..=at.index), false);
            }
            self.files.drop_private(at, &lock);
            self.files.remove(file, at, &lock);
        }
        self.zones.unlock(lock);
        self.lru.put(held);
    }

    /// The lock of a page that is not being written.
    fn lock_for_removal(&self, held: &PageRef<'m>) -> PageLock<'m> {
        loop {
            self.zones.wait_for_writeback_surely(held.page());
            let lock = self.zones.lock_page_surely(held);
            if !held.page().has(PageFlags::WRITEBACK) {
                return lock;
            }
            self.zones.unlock(lock);
        }
    }

    /// Ends the files that lost their last reference: their pages go, and the store is told.
    pub(crate) fn end_gone_files(&self) {
        while let Some((file, id)) = self.files.next_gone() {
            self.drop_pages(file, id, 0..u32::MAX);
            let kind = file.kind();
            self.files.end(file);
            if let FileKind::Stored(number) = kind {
                self.env.files().evict(number);
            }
        }
    }

    /// Drops the pages of a range that nobody uses: clean, not mapped, not locked. Returns how many.
    #[doc(alias = "invalidate_mapping_pages")]
    pub(crate) fn invalidate(&self, file: Of<'_, 'm, E>, range: Range<u32>) -> u32 {
        let (mut from, mut dropped) = (range.start, 0);
        if file.is_shared_memory() {
            return 0;
        }
        // A batch holds a reference to each of its pages.
        self.lru.drain_all();
        loop {
            let next = self.files.with_tree(file, file.id(), |tree| {
                tree.next(from, u64::from(range.end), Want::Page)
            });
            let Some((index, _)) = next else { return dropped };
            dropped += u32::from(self.invalidate_page(file, file.page(index)));
            from = index + 1;
            self.env.tasks().yield_now();
        }
    }

    fn invalidate_page(&self, file: Of<'_, 'm, E>, at: FilePage) -> bool {
        let Some(held) = self.files.lookup_inline(file, at) else { return false };
        let mut done = false;
        if let Some(lock) = held.page().try_lock() {
            let busy = PageFlags::DIRTY | PageFlags::WRITEBACK;
            let page = held.page();
            done = page.file_page() == Some(at)
                && !page.flags().intersects(busy)
                && !page.is_mapped()
                // The cache's, and this one.
                && page.refs() == 2;
            let is_bare = |lock| {
                !page.has(PageFlags::PRIVATE) || self.files.release_private(lock, Gfp::KERNEL)
            };
            done = done && is_bare(&lock);
            if done {
                self.files.remove(file, at, &lock);
            }
            self.zones.unlock(lock);
        }
        self.lru.put(held);
        done
    }
}

/// What becomes of the private copies that areas have of the pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Copies {
    /// They go with the pages (truncation).
    Dropped,
    /// They stay (holes).
    Kept,
}
