//! Pages of files: read in, dirtied, written back, dropped.
//!
//! The store of the pages is the environment's ([`crate::env::FileStore`]); what happens to a
//! page while it is cached is the same as for any other: it is on the file lists, ages there,
//! and is evicted when it is clean and unused.
//!
//! There are no mappings of files and no read-ahead yet, and a dirty page is written when the
//! kernel asks ([`Filemap::write_cache_page`]) or when reclaim finds it a second time in a zone
//! full of them (SPL-13).
//!
//! Locks: the page lock. Counterpart in Linux: `mm/filemap.c`.

mod limits;
mod window;

use crate::alloc::Alloc;
use crate::base::units::{FilePage, Order};
use crate::cache::{CacheError, Files};
use crate::env::{Env, FileStore, WaitEnd};
use crate::lru::Lru;
use crate::page::{PageFlags, PageRef};
use crate::swap::Swap;
use crate::zone::Zones;
use crate::zone::gfp::Gfp;

/// Access to the pages of files.
pub(crate) struct Filemap<'m, E: Env> {
    env: E,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    files: &'m Files<'m, E>,
    swap: &'m Swap<'m, E>,
    alloc: &'m Alloc<'m, E>,
}

impl<'m, E: Env> Filemap<'m, E> {
    pub(crate) fn new(
        lru: &'m Lru<'m, E>,
        files: &'m Files<'m, E>,
        swap: &'m Swap<'m, E>,
        alloc: &'m Alloc<'m, E>,
    ) -> Self {
        let zones = lru.zones;
        Self { env: zones.env, zones, lru, files, swap, alloc }
    }

    /// The page at `at`, up to date, marked as used.
    ///
    /// # Errors
    /// If there is no such page, or it could not be read, or memory ran out.
    #[doc(alias = "read_mapping_page")]
    pub(crate) fn read_cache_page(&self, at: FilePage) -> Result<PageRef<'m>, CacheError> {
        loop {
            let (held, is_own) = match self.files.lookup(at) {
                Some(held) => (held, false),
                None => (self.read_in(at)?, true),
            };
            match self.wait_for_contents(at, &held) {
                Contents::There => {
                    self.lru.mark_page_accessed(&held);
                    return Ok(held);
                }
                Contents::Failed if is_own => {
                    self.lru.put(held);
                    return Err(CacheError::Read(at));
                }
                // A task that only shared the wait reads again.
                Contents::Failed | Contents::Gone => self.lru.put(held),
                Contents::Killed => {
                    self.lru.put(held);
                    return Err(CacheError::Killed);
                }
            }
        }
    }

    /// Starts reading a page that is not cached, unless another task does so first.
    fn read_in(&self, at: FilePage) -> Result<PageRef<'m>, CacheError> {
        loop {
            if self.env.files().locate(at).is_none() {
                return Err(CacheError::NoSuchPage(at));
            }
            let gfp = Gfp::HIGHUSER_MOVABLE;
            let new = self.alloc.alloc_page(gfp, Order::ZERO).ok_or(CacheError::Killed)?;
            if let Ok(held) = self.files.read_into(at, new, self.swap.has_free()) {
                return Ok(held);
            }
            if let Some(held) = self.files.lookup(at) {
                return Ok(held);
            }
        }
    }

    /// Waits for the end of a read.
    fn wait_for_contents(&self, at: FilePage, held: &PageRef<'m>) -> Contents {
        let Ok(lock) = self.zones.lock_page(held) else { return Contents::Killed };
        let page = held.page();
        let found = match (page.file_page() == Some(at), page.has(PageFlags::UPTODATE)) {
            (true, true) => Contents::There,
            (true, false) => {
                self.files.remove(at, &lock);
                Contents::Failed
            }
            (false, true) => Contents::Gone,
            (false, false) => Contents::Failed,
        };
        self.zones.unlock(lock);
        found
    }

    /// The contents of a page of a file were changed.
    pub(crate) fn set_page_dirty(&self, held: &PageRef<'m>) {
        held.page().set_dirty();
    }

    /// Starts writing the page at `at` if it is cached and dirty; returns whether it did. Waits for
    /// a write that is under way.
    pub(crate) fn write_cache_page(&self, at: FilePage) -> Result<bool, CacheError> {
        self.with_cached(at, |lock| match lock.page().has(PageFlags::DIRTY) {
            true => {
                self.files.writepage(lock, at);
                true
            }
            false => {
                self.zones.unlock(lock);
                false
            }
        })
    }

    /// Drops the page at `at`, dirty or not; returns whether there was one. Waits for a write that
    /// is under way.
    #[doc(alias = "truncate_inode_pages")]
    pub(crate) fn drop_cache_page(&self, at: FilePage) -> Result<bool, CacheError> {
        self.with_cached(at, |lock| {
            lock.page().clear_dirty();
            self.files.remove(at, &lock);
            self.zones.unlock(lock);
            true
        })
    }

    /// Runs `act` with the lock of the page at `at`, if it is cached and not under write-back.
    fn with_cached(
        &self,
        at: FilePage,
        act: impl Fn(crate::page::PageLock<'m>) -> bool,
    ) -> Result<bool, CacheError> {
        loop {
            let Some(held) = self.files.lookup(at) else { return Ok(false) };
            let waited = self.zones.wait_on_page_writeback(held.page());
            let locked = self.zones.lock_page(&held);
            let page = held.page();
            let done = match locked {
                Ok(lock) if page.file_page() != Some(at) || page.has(PageFlags::WRITEBACK) => {
                    self.zones.unlock(lock);
                    None
                }
                Ok(lock) => Some(Ok(act(lock))),
                Err(_) => Some(Err(CacheError::Killed)),
            };
            self.lru.put(held);
            match done {
                Some(end) => return end,
                None if waited == WaitEnd::Killed => return Err(CacheError::Killed),
                None => {}
            }
        }
    }
}

/// The state of a page that was waited for.
enum Contents {
    There,
    /// They could not be read.
    Failed,
    /// It is no longer in the cache.
    Gone,
    Killed,
}
