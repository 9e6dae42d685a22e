//! Transfers of pages of files, and what their ends mean (SPL-20, DIRT-03).
//!
//! Pages are read and written in runs, which the store takes from the crate page by page. A page that
//! is written is clean and marked as under write-back from the moment at which it is chosen; a write
//! that fails leaves it clean, and the file's error sequence says so.
//!
//! Counterpart in Linux: `read_pages`, `write_cache_pages`, `mapping_set_error`.

use core::ops::Range;

use super::{File, Files, Mark};
use crate::base::errseq::WriteError;
use crate::base::gfp::Gfp;
use crate::base::sync::Ordering;
use crate::base::units::{FilePage, PAGE_SHIFT, PAGE_SIZE, Pfn};
use crate::block::{Completion, Direction};
use crate::env::{Env, FileStore, FrameMemory, Run};
use crate::page::{Page, PageFlags, PageLock};
use crate::zone::Zone;

/// Fills the bytes `part` of a frame with zeroes.
pub(crate) fn zero_part(frames: &impl FrameMemory, frame: Pfn, part: Range<usize>) {
    static ZEROES: [u8; 256] = [0; 256];
    for at in part.clone().step_by(ZEROES.len()) {
        frames.write(frame, at, &ZEROES[..ZEROES.len().min(part.end - at)]);
    }
}

/// The most pages of a run.
pub(crate) const MOST_OF_RUN: usize = 32;

/// SHRZ-06 on plain numbers: more than a tenth of so many pages.
fn is_too_much(bytes: u64, pages: u32) -> bool {
    bytes > u64::from(pages) * PAGE_SIZE as u64 / 10
}

/// Pages of one file, one after the other, which wait to be submitted together.
pub(crate) struct Batch {
    frames: [Pfn; MOST_OF_RUN],
    len: usize,
    first: u32,
}

impl Batch {
    pub(crate) const fn new() -> Self {
        Self { frames: [Pfn(0); MOST_OF_RUN], len: 0, first: 0 }
    }

    /// Whether the page `index` can join.
    pub(crate) fn takes(&self, index: u32) -> bool {
        self.len == 0 || self.len < MOST_OF_RUN && index == self.first + self.len as u32
    }

    /// Adds a page that it takes.
    pub(crate) fn add(&mut self, index: u32, frame: Pfn) {
        debug_assert!(self.takes(index), "page {index} is not the next one");
        if self.len == 0 {
            self.first = index;
        }
        self.frames[self.len] = frame;
        self.len += 1;
    }
}

impl<'m, E: Env> Files<'m, E> {
    /// Submits the pages of a batch, which are locked to be read or under write-back.
    pub(crate) fn start(&self, direction: Direction, file: &File<E::Cpu>, batch: &mut Batch) {
        let len = core::mem::take(&mut batch.len);
        if len == 0 {
            return;
        }
        let mut ended = |end: Completion| self.ended_now(file, &end);
        let frames = &batch.frames[..len];
        let of = (file.store(), file.size());
        let mut run = Run::new(direction, of, batch.first, frames, &mut ended);
        if !self.env.files().is_gone(file.store()) {
            self.env.files().start(&mut run);
        }
        run.finish();
    }

    /// A transfer has ended before its run was submitted as a whole.
    fn ended_now(&self, file: &File<E::Cpu>, end: &Completion) {
        debug_assert!(end.is_real(), "{end:?} is a test's");
        let page = self.cache.map.page(end.frame);
        let Some(at) = page.file_page() else { unreachable!("{page:?} is no file's") };
        let held = page.get();
        self.ended_of(file, end, page, at);
        self.cache.lru.put(held);
    }

    /// A transfer has ended. The caller holds a reference, as [`Cache::end_write`] requires.
    ///
    /// [`Cache::end_write`]: crate::cache::Cache::end_write
    pub(crate) fn ended(&self, end: &Completion, page: &'m Page, at: FilePage) {
        self.ended_of(self.at(at.file), end, page, at);
    }

    fn ended_of(&self, file: &File<E::Cpu>, end: &Completion, page: &'m Page, at: FilePage) {
        let ok = end.result.is_ok();
        match end.direction {
            Direction::Read => {
                self.zero_behind_end(file, at, page);
                if end.private && ok {
                    // The lock is held, and nobody can have stored to a page that is being read.
                    page.mark_private();
                }
                self.cache.end_read(page, ok);
            }
            Direction::Write => self.end_write(file, page, at, ok),
        }
    }

    /// What lies behind the end of the file in its last page reads as zeroes, and is not written.
    fn zero_behind_end(&self, file: &File<E::Cpu>, at: FilePage, page: &Page) {
        let (size, start) = (file.size(), u64::from(at.index) << PAGE_SHIFT);
        let used = size.saturating_sub(start).min(PAGE_SIZE as u64) as usize;
        if used < PAGE_SIZE {
            let frame = self.cache.map.pfn(page);
            zero_part(self.env.frames(), frame, used..PAGE_SIZE);
        }
    }

    // ---- what a store knows ----

    /// Whether the device that a page lies on is congested. Shared memory lies on none.
    pub(crate) fn is_congested(&self, at: FilePage) -> bool {
        let file = self.at(at.file);
        !file.is_shared_memory() && self.env.files().is_congested(file.store())
    }

    /// What the store says of a page with private data: dirty, under write-back.
    pub(crate) fn dirty_writeback(&self, at: FilePage) -> Option<(bool, bool)> {
        self.env.files().dirty_writeback(self.at(at.file).store(), at.index)
    }

    /// Whether the store would write the page now (SPL-14).
    pub(crate) fn may_write(&self, at: FilePage) -> bool {
        self.env.files().may_write(self.at(at.file).store(), at.index)
    }

    /// Whether private data takes more than a tenth of memory (SHRZ-06).
    pub(crate) fn has_too_much_private(&self) -> bool {
        let bytes = self.env.files().private_memory();
        bytes > 0 && is_too_much(bytes, self.cache.zones.iter().map(Zone::managed).sum())
    }

    /// Releases the private data of a locked page that is not being written (SPL-15).
    pub(crate) fn release_private(&self, lock: &PageLock<'m>, gfp: Gfp) -> bool {
        let (page, store) = (lock.page(), self.env.files());
        let is_released = match page.file_page() {
            Some(at) => store.release_private(self.at(at.file).store(), at.index, gfp),
            None => store.release_orphan(self.cache.map.pfn(page), gfp),
        };
        if is_released {
            page.clear_private();
        }
        is_released
    }

    /// The page is about to leave its file. If the store still uses it, it becomes an orphan: its
    /// private data has a reference from now on, which goes when that is released (SPL-15).
    pub(crate) fn drop_private(&self, at: FilePage, lock: &PageLock<'m>) {
        let page = lock.page();
        if !page.has(PageFlags::PRIVATE) {
            return;
        }
        let frame = self.cache.map.pfn(page);
        if self.env.files().drop_private(self.at(at.file).store(), at.index, frame) {
            page.clear_private();
        } else {
            page.get().leak();
        }
    }

    /// Writes one page, for reclaim: nothing maps it.
    pub(crate) fn writepage(&self, at: FilePage, lock: PageLock<'m>) {
        let file = self.at(at.file);
        let page = self.begin_write(file, at, lock, true);
        let mut batch = Batch::new();
        batch.add(at.index, self.cache.map.pfn(page));
        self.start(Direction::Write, file, &mut batch);
    }

    /// The page of `lock` is about to be written: marks it clean and under write-back.
    #[doc(alias = "folio_start_writeback")]
    pub(crate) fn begin_write(
        &self,
        file: &File<E::Cpu>,
        at: FilePage,
        lock: PageLock<'m>,
        for_reclaim: bool,
    ) -> &'m Page {
        let (page, device) = (lock.page(), self.dirty.device(file));
        self.zero_behind_end(file, at, page);
        let was = self.with_tree(file, at.file, |tree| {
            let was = page.clear_dirty();
            if was {
                file.nr_dirty.fetch_sub(1, Ordering::Relaxed);
            }
            tree.set_mark(at.index, Mark::Dirty, false);
            tree.set_mark(at.index, Mark::Writeback, true);
            file.nr_writeback.fetch_add(1, Ordering::Relaxed);
            page.begin_writeback(for_reclaim);
            was
        });
        if was {
            device.note_clean();
        }
        device.note_write_begun();
        self.cache.writeback.begin(1);
        self.cache.zones.unlock(lock);
        page
    }

    fn end_write(&self, file: &File<E::Cpu>, page: &'m Page, at: FilePage, ok: bool) {
        if !ok {
            file.errors.record(WriteError::Io);
            page.note_failed_write();
        }
        self.with_tree(file, at.file, |tree| {
            tree.set_mark(at.index, Mark::Writeback, false);
            file.nr_writeback.fetch_sub(1, Ordering::Relaxed);
        });
        self.dirty.device(file).note_write_ended();
        // The page is the last that keeps the file: nothing of it is used from here on, and the page may
        // leave it at any moment.
        self.cache.end_write(page, ok);
    }
}
