//! Reading: a page is found in the cache, or read in together with those behind it.
//!
//! ```text
//!   cached, up to date ------------------------------> use it
//!      | marked: the next window is started
//!   cached, being read --> wait for its lock ---------> use it, or read it again if that failed
//!   missing --> window --> pages entered, locked --> one run for each gap --> wait --> use it
//! ```
//!
//! A page that could not be read leaves the cache: the access that asked for it gets the error, and
//! the next one reads again.
//!
//! Counterpart in Linux: `filemap_read`, `page_cache_ra_unbounded`.

use core::ops::Range;

use super::window::{Cause, MOST, Pattern, ReadAhead, Run};
use super::{FileError, Filemap, Of, split};
use crate::base::stat::VmEvent;
use crate::base::units::{FilePage, PAGE_SIZE, Pfn};
use crate::block::Direction;
use crate::env::{Env, TaskFlags, Tasks};
use crate::file::Entry;
use crate::file::transfer::Batch;
use crate::page::{PageLock, PageRef};
use crate::zone::gfp::Gfp;

/// Takes bytes of pages, such as into a program's buffer.
pub trait PageSink {
    /// Copies bytes of a frame to the place `to`, counted from the first byte that is read; returns
    /// how many could be. It may sleep, and take faults. No lock is held.
    fn copy(&mut self, to: usize, frame: Pfn, offset: usize, len: usize) -> usize;
}

/// What has become of a page that was waited for.
pub(crate) enum Contents<'m> {
    /// They are valid; the page is locked.
    There(PageLock<'m>),
    /// They could not be read; the page has left the cache.
    Failed,
    /// It is no longer in the cache.
    Gone,
}

impl<'m, E: Env> Filemap<'m, E> {
    /// Reads up to `len` bytes from `position` on, which the sink takes; returns how many that were:
    /// fewer at the end of the file.
    ///
    /// # Errors
    /// If nothing could be read.
    #[doc(alias = "filemap_read")]
    pub(crate) fn read(
        &self,
        file: Of<'_, 'm, E>,
        position: u64,
        len: usize,
        ahead: &mut ReadAhead,
        pattern: Pattern,
        sink: &mut dyn PageSink,
    ) -> Result<usize, FileError> {
        let (mut done, mut is_short) = (0, false);
        while done < len && !is_short {
            let (index, offset) = split(position + done as u64);
            let left = file.size().saturating_sub(position + done as u64);
            let most = (PAGE_SIZE - offset).min(len - done).min(left as usize);
            if most == 0 {
                break;
            }
            let rest = left.min((len - done) as u64);
            let wanted = (offset as u64 + rest).div_ceil(PAGE_SIZE as u64) as u32;
            let took = match self.read_page(file, index, wanted, ahead, pattern) {
                Ok(page) => self.copy_out(page, done, offset, most, sink),
                // The file has become shorter: that is its end.
                Err(FileError::Io) if index >= file.pages() => break,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            };
            ahead.note_use(index);
            done += took;
            is_short = took < most;
            if self.env.tasks().flags().contains(TaskFlags::DYING) {
                break;
            }
        }
        match done {
            0 if is_short => Err(FileError::BadBuffer),
            _ => Ok(done),
        }
    }

    /// Gives a part of a page, or of a hole, to the sink.
    fn copy_out(
        &self,
        page: Option<PageRef<'m>>,
        to: usize,
        offset: usize,
        len: usize,
        sink: &mut dyn PageSink,
    ) -> usize {
        let Some(held) = page else { return sink.copy(to, self.rmap.zero_pfn(), offset, len) };
        let took = sink.copy(to, self.map.pfn(held.page()), offset, len);
        self.lru.mark_page_accessed(&held);
        self.lru.put(held);
        took
    }

    /// A page, up to date; `None` for a hole of shared memory.
    fn read_page(
        &self,
        file: Of<'_, 'm, E>,
        index: u32,
        wanted: u32,
        ahead: &mut ReadAhead,
        pattern: Pattern,
    ) -> Result<Option<PageRef<'m>>, FileError> {
        if file.is_shared_memory() {
            return self.find_shared(file, file.page(index));
        }
        self.get_page(file, index, wanted, ahead, pattern).map(Some)
    }

    /// A page of a stored file, up to date.
    #[doc(alias = "read_mapping_page")]
    pub(crate) fn get_page(
        &self,
        file: Of<'_, 'm, E>,
        index: u32,
        wanted: u32,
        ahead: &mut ReadAhead,
        pattern: Pattern,
    ) -> Result<PageRef<'m>, FileError> {
        let (at, mut is_own) = (file.page(index), false);
        loop {
            let held = match self.files.lookup_inline(file, at) {
                Some(held) => self.found(file, held, wanted, ahead, pattern),
                None => {
                    let (held, entered) = self.miss(file, at, wanted, ahead, pattern)?;
                    is_own = entered;
                    held
                }
            };
            if held.page().is_uptodate() && held.page().file_page() == Some(at) {
                return Ok(held);
            }
            match self.wait_for_contents(file, at, &held) {
                Ok(Contents::There(lock)) => {
                    self.zones.unlock(lock);
                    return Ok(held);
                }
                Ok(Contents::Failed) if is_own => {
                    self.lru.put(held);
                    return Err(FileError::Io);
                }
                Ok(Contents::Failed | Contents::Gone) => self.lru.put(held),
                Err(killed) => {
                    self.lru.put(held);
                    return Err(killed);
                }
            }
        }
    }

    /// The page is cached. If its mark was reached, the next window is started.
    fn found(
        &self,
        file: Of<'_, 'm, E>,
        held: PageRef<'m>,
        wanted: u32,
        ahead: &mut ReadAhead,
        pattern: Pattern,
    ) -> PageRef<'m> {
        self.events.count(VmEvent::FileCacheHit, 1);
        if held.page().take_readahead() {
            let index = held.page().index();
            // Without memory for it, nothing is read ahead.
            let _read = self.read_ahead(file, index, wanted, ahead, Cause::Marked, pattern);
        }
        held
    }

    /// The page is not cached: reads it, and others behind it. Returns the page, and whether it was this
    /// task that entered it.
    fn miss(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        wanted: u32,
        ahead: &mut ReadAhead,
        pattern: Pattern,
    ) -> Result<(PageRef<'m>, bool), FileError> {
        self.events.count(VmEvent::FileCacheMiss, 1);
        loop {
            let entered = self.read_ahead(file, at.index, wanted, ahead, Cause::Missed, pattern)?;
            if let Some(held) = self.files.lookup(file, at) {
                return Ok((held, entered));
            }
            if at.index >= file.pages() {
                return Err(FileError::Io);
            }
        }
    }

    /// Reads what the reader's window says; true if the page itself was entered by this call.
    ///
    /// # Errors
    /// If there is no memory for the page itself.
    pub(crate) fn read_ahead(
        &self,
        file: Of<'_, 'm, E>,
        index: u32,
        wanted: u32,
        ahead: &mut ReadAhead,
        cause: Cause,
        pattern: Pattern,
    ) -> Result<bool, FileError> {
        let plan = ahead.plan(index, wanted, cause, pattern, |run, most| {
            self.files.with_tree(file, file.id(), |tree| match run {
                Run::Before => tree.cached_before(index, most),
                Run::From => tree.cached_from(index, most),
            })
        });
        let needed = (cause == Cause::Missed).then_some(index);
        self.read_range(file, plan.start, plan.pages, plan.mark, needed)
    }

    /// Starts reading what is not cached of the first pages of a range that somebody wants: as many as a
    /// window has at most, so that no call reads without end. Without memory it reads fewer. Shared
    /// memory has no store to read from.
    #[doc(alias = "force_page_cache_readahead")]
    pub(crate) fn read_on_advice(&self, file: Of<'_, 'm, E>, range: Range<u32>) {
        if file.is_shared_memory() {
            return;
        }
        let pages = range.end.saturating_sub(range.start).min(MOST);
        let _read = self.read_range(file, range.start, pages, None, None);
    }

    /// Starts reading the pages of a range that are not cached; `needed` is the one that the caller
    /// cannot do without. True if that was entered.
    pub(super) fn read_range(
        &self,
        file: Of<'_, 'm, E>,
        first: u32,
        pages: u32,
        mark: Option<u32>,
        needed: Option<u32>,
    ) -> Result<bool, FileError> {
        let end = first.saturating_add(pages).min(file.pages());
        let whole = file.invalidate.lock_shared(self.env.tasks());
        let (mut batch, mut done) = (Batch::new(), Ok(false));
        for index in first..end {
            let is_needed = needed == Some(index);
            match self.begin_read(file, index, mark == Some(index), is_needed) {
                Ok(None) => {}
                Ok(Some(frame)) => {
                    if is_needed {
                        done = Ok(true);
                    }
                    if !batch.takes(index) {
                        self.files.start(Direction::Read, file, &mut batch);
                    }
                    batch.add(index, frame);
                }
                Err(error) => {
                    if is_needed {
                        done = Err(error);
                    }
                    break;
                }
            }
        }
        self.files.start(Direction::Read, file, &mut batch);
        drop(whole);
        done
    }

    /// Enters a page that is to be read, locked; `None` if it is cached, or behind the end by now.
    fn begin_read(
        &self,
        file: Of<'_, 'm, E>,
        index: u32,
        is_marked: bool,
        is_needed: bool,
    ) -> Result<Option<Pfn>, FileError> {
        let at = file.page(index);
        if matches!(self.files.entry(file, at), Entry::Page(_)) {
            return Ok(None);
        }
        let easy = Gfp::NORETRY | Gfp::NOWARN;
        let gfp = Gfp::HIGHUSER_MOVABLE | if is_needed { Gfp::empty() } else { easy };
        let (new, spare) = self.new_page(file, at, gfp)?;
        let Ok((lock, held)) = self.files.enter(file, at, new, spare, true, self.swap.has_free())
        else {
            return Ok(None);
        };
        let frame = self.map.pfn(lock.page());
        if is_marked {
            lock.page().mark_readahead();
        }
        if !is_needed {
            self.events.count(VmEvent::FileRa, 1);
        }
        lock.pass_on();
        self.lru.put(held);
        Ok(Some(frame))
    }

    /// Waits for the end of a read; the page is locked then, if it is there.
    ///
    /// # Errors
    /// The caller was killed.
    pub(crate) fn wait_for_contents(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        held: &PageRef<'m>,
    ) -> Result<Contents<'m>, FileError> {
        let lock = self.zones.lock_page(held).map_err(|_| FileError::Killed)?;
        let page = held.page();
        if page.file_page() != Some(at) {
            self.zones.unlock(lock);
            return Ok(Contents::Gone);
        }
        if page.is_uptodate() {
            return Ok(Contents::There(lock));
        }
        self.files.remove(file, at, &lock);
        self.zones.unlock(lock);
        Ok(Contents::Failed)
    }
}

impl<'m, E: Env> Filemap<'m, E> {
    /// The frame of a page, if it is cached.
    pub(crate) fn frame(&self, file: Of<'_, 'm, E>, index: u32) -> Option<Pfn> {
        match self.files.entry(file, file.page(index)) {
            Entry::Page(pfn) => Some(pfn),
            _ => None,
        }
    }

    /// Whether a page is cached and up to date.
    pub(crate) fn is_cached(&self, file: Of<'_, 'm, E>, index: u32) -> bool {
        let Some(held) = self.files.lookup(file, file.page(index)) else { return false };
        let is_there = held.page().is_uptodate();
        self.lru.put(held);
        is_there
    }
}
