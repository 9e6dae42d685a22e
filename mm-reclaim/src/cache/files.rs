//! The second store: files, whose index the environment keeps ([`FileStore`]).
//!
//! A page of a file carries `FILE`, and in `place` its file and index. Its contents lie on a
//! device where [`FileStore::locate`] says. A dirty page is written by the caller of
//! [`Files::writepage`]; a failed write leaves it clean, and the file is to report it.
//!
//! Locks: the page lock for all changes; the environment's locks nest inside it.
//!
//! This is the part that allocates no memory. Reading a page in does, and is in the layer above the
//! allocator ([`crate::filemap`]).

use core::fmt;

use super::{Busy, Cache, NotEntered, Store};
use crate::base::units::{FilePage, Pfn};
use crate::block::Direction;
use crate::env::{BlockDevice, Env, FileStore};
use crate::page::{FrozenPage, LockedPage, NewPage, Page, PageLock, PageRef, PageType};

/// Why there is no page for a file offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CacheError {
    /// The file has no such page.
    NoSuchPage(FilePage),
    /// The page could not be read.
    Read(FilePage),
    /// There is no memory, or the caller was killed.
    Killed,
}

impl fmt::Display for CacheError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchPage(at) => write!(out, "{at}: the file has no such page"),
            Self::Read(at) => write!(out, "{at} could not be read"),
            Self::Killed => write!(out, "no memory, or the caller was killed"),
        }
    }
}

impl core::error::Error for CacheError {}

/// Pages of files in the cache.
pub(crate) struct Files<'m, E: Env> {
    cache: &'m Cache<'m, E>,
}

/// The files of an environment, as a store.
struct Index<E>(E);

impl<E: Env> Store for Index<E> {
    type Key = FilePage;

    fn cached(&self, at: FilePage) -> Option<Pfn> {
        self.0.files().cached(at)
    }

    fn enter(&self, at: FilePage, frame: Pfn) -> Result<Option<u32>, NotEntered> {
        self.0.files().enter(at, frame).map_err(|_| NotEntered)
    }

    fn leave(&self, at: FilePage, frame: Pfn, shadow: Option<u32>) {
        self.0.files().leave(at, frame, shadow);
    }
}

impl<'m, E: Env> Files<'m, E> {
    pub(crate) fn new(cache: &'m Cache<'m, E>) -> Self {
        Self { cache }
    }

    fn index(&self) -> Index<E> {
        Index(self.cache.env)
    }

    /// The page, if it is cached.
    pub(crate) fn lookup(&self, at: FilePage) -> Option<PageRef<'m>> {
        self.cache.lookup(&self.index(), at)
    }

    /// Enters a fresh page and starts reading it; `can_swap` as for the swap cache's refaults.
    ///
    /// # Errors
    /// The page was not entered, and is freed.
    pub(crate) fn read_into(
        &self,
        at: FilePage,
        new: NewPage<'m>,
        can_swap: bool,
    ) -> Result<PageRef<'m>, NotEntered> {
        let begin = |page: &'m Page| page.begin_in_file(at);
        let (lock, held, shadow) = self.cache.enter(&self.index(), at, new, begin)?;
        if let Some(shadow) = shadow {
            self.cache.workingset_refault(held.page(), PageType::File, shadow, can_swap);
        }
        self.cache.lru.add(held.page());
        lock.pass_on();
        self.submit(Direction::Read, held.page(), at);
        Ok(held)
    }

    /// Starts writing a page: clears dirty, sets write-back, releases the page lock.
    pub(crate) fn writepage(&self, lock: PageLock<'m>, at: FilePage) {
        let page = self.cache.begin_write(lock);
        self.submit(Direction::Write, page, at);
    }

    fn submit(&self, direction: Direction, page: &'m Page, at: FilePage) {
        let Some(place) = self.cache.env.files().locate(at) else {
            return self.ended(direction, page, at, false);
        };
        if let Some(end) = self.cache.submit(direction, place, page) {
            self.ended(end.direction, page, at, end.result.is_ok());
        }
    }

    /// A transfer has ended. The caller holds a reference, as [`Cache::end_write`] requires.
    pub(crate) fn ended(&self, direction: Direction, page: &'m Page, at: FilePage, ok: bool) {
        match direction {
            Direction::Read => self.cache.end_read(page, ok),
            Direction::Write => {
                if !ok {
                    self.cache.env.files().write_failed(at);
                }
                self.cache.end_write(page, ok);
            }
        }
    }

    /// Removes a page from the cache: the file was truncated, or the page could not be read.
    pub(crate) fn remove(&self, at: FilePage, lock: &PageLock<'m>) {
        self.cache.remove(&self.index(), at, lock);
    }

    /// Evicts a clean page, as [`Cache::freeze_and_remove`] does.
    ///
    /// # Errors
    /// Returns the page, with the reason.
    pub(crate) fn freeze_and_remove(
        &self,
        at: FilePage,
        page: LockedPage<'m>,
    ) -> Result<FrozenPage<'m>, (LockedPage<'m>, Busy)> {
        self.cache.freeze_and_remove(&self.index(), at, page)
    }

    /// Whether the device that a page lies on is congested.
    pub(crate) fn is_congested(&self, at: FilePage) -> bool {
        let place = self.cache.env.files().locate(at);
        place.is_some_and(|(device, _)| self.cache.env.blocks().is_congested(device))
    }
}
