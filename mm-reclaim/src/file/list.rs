//! Lists of files, linked by handle.
//!
//! Data: a [`Place`] in each file for each list; the ends of the list under its lock. A file on a list
//! exists; whoever leaves the lock with one takes a reference, which fails if the file is going.

use super::{File, FileHandle, FileRef};
use crate::base::lock_order::FILE_LIST;
use crate::base::sync::{AtomicBool, AtomicU32, Lock, Ordering, fence};
use crate::base::units::FileId;
use crate::env::Cpu;
use crate::page::pool::kind::FILE;
use crate::page::pool::{HandleCell, Pool};

/// Where a file is on a list.
pub(crate) struct Place {
    next: HandleCell<FILE>,
    prev: HandleCell<FILE>,
    listed: AtomicBool,
}

impl Place {
    pub(crate) const fn none() -> Self {
        Self { next: HandleCell::none(), prev: HandleCell::none(), listed: AtomicBool::new(false) }
    }

    /// Whether the file is on the list, for a task that has just counted something for which it must
    /// be. The fence pairs with that of [`is_still_due`].
    pub(crate) fn is_listed(&self) -> bool {
        fence(Ordering::SeqCst);
        self.listed.load(Ordering::Relaxed)
    }

    /// Says whether the file is on the list; returns what was said before. Under the list's lock.
    pub(crate) fn say_listed(&self, on: bool) -> bool {
        self.listed.swap(on, Ordering::Relaxed)
    }
}

/// Whether `count` says that a file must be listed, for a task that has just taken it off the list.
/// Either what is counted now is seen here, or whoever counts it sees the file off the list.
pub(crate) fn is_still_due(count: &AtomicU32) -> bool {
    fence(Ordering::SeqCst);
    count.load(Ordering::Relaxed) > 0
}

struct Ends {
    first: HandleCell<FILE>,
    last: HandleCell<FILE>,
}

/// Every file of a machine.
type FilePool<'m, C> = Pool<'m, C, File<C>, FILE>;

/// A list of files.
pub(crate) struct FileList<C: Cpu> {
    ends: Lock<C, Ends, FILE_LIST>,
    place: fn(&File<C>) -> &Place,
}

impl<C: Cpu> FileList<C> {
    pub(crate) fn new(place: fn(&File<C>) -> &Place) -> Self {
        let ends = Ends { first: HandleCell::none(), last: HandleCell::none() };
        Self { ends: Lock::new(ends), place }
    }

    /// Appends a file, unless it is on the list.
    pub(crate) fn append(&self, pool: &FilePool<'_, C>, file: FileHandle) {
        let ends = self.ends.lock();
        let place = (self.place)(pool.at(file));
        if place.say_listed(true) {
            return;
        }
        let last = ends.last.get();
        place.next.put(None);
        place.prev.put(last);
        match last {
            Some(last) => (self.place)(pool.at(last)).next.put(Some(file)),
            None => ends.first.put(Some(file)),
        }
        ends.last.put(Some(file));
    }

    /// Removes a file, if it is on the list and `is_due`, under the list's lock.
    pub(crate) fn remove_if(
        &self,
        pool: &FilePool<'_, C>,
        file: FileHandle,
        is_due: impl FnOnce() -> bool,
    ) {
        let ends = self.ends.lock();
        let place = (self.place)(pool.at(file));
        if place.listed.load(Ordering::Relaxed) && is_due() {
            self.unlink(pool, &ends, file);
        }
    }

    fn unlink(&self, pool: &FilePool<'_, C>, ends: &Ends, file: FileHandle) {
        let place = (self.place)(pool.at(file));
        place.say_listed(false);
        let (next, prev) = (place.next.get(), place.prev.get());
        match prev {
            Some(prev) => (self.place)(pool.at(prev)).next.put(next),
            None => ends.first.put(next),
        }
        match next {
            Some(next) => (self.place)(pool.at(next)).prev.put(prev),
            None => ends.last.put(prev),
        }
    }

    /// Takes the first file off the list.
    pub(crate) fn pop(&self, pool: &FilePool<'_, C>) -> Option<FileHandle> {
        let ends = self.ends.lock();
        let first = ends.first.get()?;
        self.unlink(pool, &ends, first);
        Some(first)
    }

    /// The first file that is not going, with a reference.
    pub(crate) fn first<'m>(&self, pool: &FilePool<'m, C>) -> Option<FileRef<'m, C>> {
        let ends = self.ends.lock();
        self.from(pool, ends.first.get())
    }

    /// The one after `file`, if that is still on the list.
    pub(crate) fn after<'m>(
        &self,
        pool: &FilePool<'m, C>,
        file: &FileRef<'m, C>,
    ) -> Option<FileRef<'m, C>> {
        let _ends = self.ends.lock();
        self.from(pool, (self.place)(file).next.get())
    }

    fn from<'m>(
        &self,
        pool: &FilePool<'m, C>,
        mut at: Option<FileHandle>,
    ) -> Option<FileRef<'m, C>> {
        while let Some(handle) = at {
            let file = pool.at(handle);
            if file.try_get() {
                return Some(FileRef::adopt(file, FileId(handle.raw())));
            }
            at = (self.place)(file).next.get();
        }
        None
    }
}
