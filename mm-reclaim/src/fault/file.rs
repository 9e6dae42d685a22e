//! Faults in areas that map a file (FILE-02, FILE-03).
//!
//! ```text
//!   entry              access            what happens
//!   none               any, not cached   read in, with a window; waited for without the area lock
//!   none               read              mapped read-only, with up to 15 resident neighbours
//!   none, read-only    store, shared     reserved -> page locked -> looked at again -> dirty -> writable
//!   none               store, private    copied into an anonymous page
//!   read-only          store, private    `copy.rs`
//! ```
//!
//! A page is mapped under its lock, after a look at its file, its index and the file's size: so it is
//! never one that was truncated, and no mapping of it escapes who removes it. A page of a stored file
//! is mapped writable only while it is dirty, so that the next store after write-back is a fault
//! again. Shared memory is not written back, and is mapped writable at once.
//!
//! Locks: the area lock, shared; `invalidate`, shared, while the store reserves; the page lock; the
//! page-table lock. The store reserves before the page is locked.
//!
//! Counterpart in Linux: `filemap_fault`, `do_fault`, `filemap_map_pages`, `do_page_mkwrite`.

use super::{Detour, FaultEnd, Faults, Patience, Site};
use crate::base::stat::VmEvent;
use crate::base::units::{FileId, FilePage, PAGE_SHIFT, PAGE_SIZE, Vpn};
use crate::env::{Env, FileStore, FrameMemory, Mapping, PageTables, Prot, Pte};
use crate::file::FileRef;
use crate::filemap::{Cause, Contents, FileError, Pattern, ReadAhead};
use crate::page::{PageFlags, PageLock, PageRef};
use crate::space::AreaFlags;

/// Pages around a fault that are mapped if they are resident (`fault_around_bytes`).
const AROUND: u32 = 16;

/// A page of a file that is being read.
pub(super) struct FileWait<'m, E: Env> {
    file: FileRef<'m, E::Cpu>,
    at: FilePage,
    page: PageRef<'m>,
    /// This fault has started the read.
    is_own: bool,
}

impl From<FileError> for FaultEnd {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io | FileError::NoSpace | FileError::TooLarge | FileError::BadBuffer => {
                Self::BusError
            }
            FileError::NoMemory | FileError::Killed => Self::Killed,
        }
    }
}

impl<E: Env> Site<'_, E> {
    /// Whether a store goes to the file.
    fn is_shared(&self) -> bool {
        self.area.flags.contains(AreaFlags::SHARED)
    }

    fn pattern(&self) -> Pattern {
        let flags = self.area.flags;
        if flags.contains(AreaFlags::RAND_READ) {
            Pattern::Random
        } else if flags.contains(AreaFlags::SEQ_READ) {
            Pattern::Sequential
        } else {
            Pattern::Normal
        }
    }
}

impl<'m, E: Env> Faults<'m, E> {
    /// The file of an area, with a reference.
    fn file_of(&self, id: FileId) -> FileRef<'m, E::Cpu> {
        let file = self.files.at(id);
        file.get();
        FileRef::adopt(file, id)
    }

    /// A fault at an empty entry of an area that maps file `id`.
    #[doc(alias = "do_fault")]
    pub(super) fn file_fault(
        &self,
        site: Site<'m, E>,
        id: FileId,
        patience: Patience,
    ) -> Result<FaultEnd, Detour<'m, E>> {
        let copies = site.access.is_write() && !site.is_shared();
        if copies && site.area.family.is_none() {
            return Err(Detour::Family);
        }
        let file = self.file_of(id);
        let at = file.page(site.area.index_of(site.vpn));
        let (page, end) = match self.page_for_fault(&site, &file, at, patience) {
            Ok(found) => found,
            Err(Waits::End(end)) => {
                self.files.put(file);
                return Ok(end);
            }
            Err(Waits::For(page, is_own)) => {
                return Err(Detour::File(FileWait { file, at, page, is_own }));
            }
        };
        let done = self.map_for_fault(&site, &file, at, &page, end);
        self.lru.put(page);
        let wrote = site.access.is_write() && site.is_shared();
        if wrote && matches!(done, FaultEnd::Minor | FaultEnd::Major) {
            return Err(Detour::Dirtied(file, done));
        }
        self.files.put(file);
        Ok(done)
    }

    /// The page, up to date, and how a fault ends that gets it.
    fn page_for_fault(
        &self,
        site: &Site<'m, E>,
        file: &FileRef<'m, E::Cpu>,
        at: FilePage,
        patience: Patience,
    ) -> Result<(PageRef<'m>, FaultEnd), Waits<'m>> {
        let bus_error = Err(Waits::End(FaultEnd::BusError));
        if at.index >= file.pages() {
            return bus_error;
        }
        let mut end = if patience == Patience::Read { FaultEnd::Major } else { FaultEnd::Minor };
        if file.is_shared_memory() {
            let made = self.filemap.make_shared(file, at, true);
            return made.map(|page| (page, end)).map_err(|error| Waits::End(error.into()));
        }
        let (page, is_own) = match self.files.lookup(file, at) {
            Some(page) => {
                if page.page().take_readahead() {
                    let _read = self.read_around(site, file, at, Cause::Marked);
                }
                (page, false)
            }
            None => {
                let read = self.read_around(site, file, at, Cause::Missed);
                let is_own = read.map_err(|error| Waits::End(error.into()))?;
                match self.files.lookup(file, at) {
                    Some(page) => (page, is_own),
                    // Evicted again, cut off, or not entered since the index has changed: the access
                    // is repeated. A page whose read has failed is still there.
                    None => return Err(Waits::End(FaultEnd::Minor)),
                }
            }
        };
        if is_own {
            end = FaultEnd::Major;
        }
        if !page.page().is_uptodate() {
            return Err(Waits::For(page, is_own));
        }
        Ok((page, end))
    }

    fn read_around(
        &self,
        site: &Site<'m, E>,
        file: &FileRef<'m, E::Cpu>,
        at: FilePage,
        cause: Cause,
    ) -> Result<bool, FileError> {
        let mut ahead = ReadAhead::of_words(site.place.file_ahead());
        let read = self.filemap.read_ahead(file, at.index, 1, &mut ahead, cause, site.pattern());
        ahead.note_use(at.index);
        site.place.set_file_ahead(ahead.words());
        read
    }

    /// Waits for a page of a file without the area lock. The page is up to date then, or the fault
    /// looks again.
    ///
    /// # Errors
    /// How the fault ends: it was this one's read that failed, or the caller was killed.
    pub(super) fn wait_for_file(
        &self,
        wait: FileWait<'m, E>,
    ) -> Result<(PageRef<'m>, Patience), FaultEnd> {
        let FileWait { file, at, page, is_own } = wait;
        let contents = self.filemap.wait_for_contents(&file, at, &page);
        let end = match contents {
            Ok(Contents::There(lock)) => {
                self.zones.unlock(lock);
                Ok(if is_own { Patience::Read } else { Patience::Waited })
            }
            Ok(Contents::Failed) if is_own => Err(FaultEnd::BusError),
            Ok(Contents::Failed | Contents::Gone) => Ok(Patience::None),
            Err(error) => Err(error.into()),
        };
        self.filemap.put_file(file);
        match end {
            Ok(patience) => Ok((page, patience)),
            Err(end) => {
                self.lru.put(page);
                Err(end)
            }
        }
    }

    /// The resolved fault has dirtied a page of the file: the task may have to pause.
    pub(super) fn after_dirtying(&self, file: FileRef<'m, E::Cpu>) {
        self.filemap.balance_dirty_pages(&file);
        self.filemap.put_file(file);
    }

    /// Maps a page that is up to date, or a copy of it.
    fn map_for_fault(
        &self,
        site: &Site<'m, E>,
        file: &FileRef<'m, E::Cpu>,
        at: FilePage,
        held: &PageRef<'m>,
        end: FaultEnd,
    ) -> FaultEnd {
        let write = site.access.is_write();
        if write && !site.is_shared() {
            return self.copy_of_file(site, file, at, held, end);
        }
        if write && let Err(error) = self.reserve(file, at) {
            return error.into();
        }
        let lock = match self.lock_of_file(file, at, held) {
            Ok(lock) => lock,
            Err(end) => return end,
        };
        let prot = match write || file.is_shared_memory() && site.is_shared() {
            true => site.area.prot,
            false => site.area.prot - Prot::WRITE,
        };
        if write {
            self.files.set_page_dirty(held.page());
        }
        let mapping = Mapping { pfn: self.map.pfn(held.page()), prot, young: true, dirty: write };
        let done = self.map_of_file(site, held, mapping, end);
        if site.area.flags.contains(AreaFlags::LOCKED) && is_resolved(done) {
            self.rmap.mlock_page(held.page());
        }
        self.zones.unlock(lock);
        if !write && is_resolved(done) {
            self.fault_around(site, file);
        }
        done
    }

    /// The store gets ready for all of the page that is in the file. Who makes the file shorter waits for
    /// that, and then takes the place away: there is none behind the end.
    fn reserve(&self, file: &FileRef<'m, E::Cpu>, at: FilePage) -> Result<(), FileError> {
        if file.is_shared_memory() {
            return Ok(());
        }
        let same_size = file.invalidate.lock_shared(self.env.tasks());
        let start = u64::from(at.index) << PAGE_SHIFT;
        let done = match file.size().saturating_sub(start).min(PAGE_SIZE as u64) as usize {
            0 => Err(FileError::Io),
            bytes => Ok(self.env.files().reserve(file.store(), at.index, 0..bytes)?),
        };
        drop(same_size);
        done
    }

    /// The lock of a page that is the file's still, and not behind its end.
    ///
    /// # Errors
    /// How the fault ends: the access is repeated, or the caller was killed.
    fn lock_of_file(
        &self,
        file: &FileRef<'m, E::Cpu>,
        at: FilePage,
        held: &PageRef<'m>,
    ) -> Result<PageLock<'m>, FaultEnd> {
        let lock = self.zones.lock_page(held).map_err(|_| FaultEnd::Killed)?;
        let page = held.page();
        if page.file_page() == Some(at) && page.is_uptodate() && at.index < file.pages() {
            return Ok(lock);
        }
        self.zones.unlock(lock);
        Err(FaultEnd::Minor)
    }

    /// Maps a locked page where the entry is empty, or maps it read-only already.
    fn map_of_file(
        &self,
        site: &Site<'m, E>,
        held: &PageRef<'m>,
        new: Mapping,
        end: FaultEnd,
    ) -> FaultEnd {
        loop {
            {
                let mut tables = site.space.tables.lock();
                let Some(tables) = tables.as_mut() else { return FaultEnd::Killed };
                match tables.get(site.vpn) {
                    Pte::Present(now) if now.pfn == new.pfn => {
                        let prot = now.prot | new.prot;
                        let dirty = now.dirty || new.dirty;
                        tables.replace(site.vpn, Pte::Present(Mapping { prot, dirty, ..new }));
                        return super::count_fault(site.space, end);
                    }
                    Pte::Present(_) | Pte::NotPresent(_) => return FaultEnd::Minor,
                    Pte::None => {}
                }
                if held.page().add_mapping().is_err() {
                    return FaultEnd::BusError;
                }
                if tables.set(site.vpn, Pte::Present(new)).is_ok() {
                    held.page().get().leak();
                    site.space.add_resident(1);
                    return super::count_fault(site.space, end);
                }
                held.page().remove_mapping();
            }
            if !self.grow_tables(site.space, site.vpn) {
                return FaultEnd::Killed;
            }
        }
    }

    /// A store to a private mapping: the page is copied into anonymous memory at once.
    #[doc(alias = "do_cow_fault")]
    fn copy_of_file(
        &self,
        site: &Site<'m, E>,
        file: &FileRef<'m, E::Cpu>,
        at: FilePage,
        held: &PageRef<'m>,
        end: FaultEnd,
    ) -> FaultEnd {
        let Some(new) = self.alloc_user_page() else { return FaultEnd::Killed };
        let lock = match self.lock_of_file(file, at, held) {
            Ok(lock) => lock,
            Err(end) => {
                self.lru.put(new.into_ref());
                return end;
            }
        };
        let pfn = self.map.pfn(new.page());
        self.env.frames().copy_shared(pfn, self.map.pfn(held.page()));
        let pte = Pte::Present(Mapping { pfn, prot: site.area.prot, young: true, dirty: true });
        let (mut new, mut mapped) = (Some(new), None);
        let done = self.set_untouched(*site, |tables| {
            tables.set(site.vpn, pte)?;
            mapped = new.take().map(|new| self.mapped(site, new));
            Ok(())
        });
        self.zones.unlock(lock);
        if let Some(unused) = new {
            self.lru.put(unused.into_ref());
        }
        match mapped {
            Some(page) => self.enter_lists(*site, page),
            None => return done,
        }
        let _tables = site.space.tables.lock();
        super::count_fault(site.space, end)
    }

    /// A store to a page of a file that is mapped read-only in a shared area.
    #[doc(alias = "wp_page_shared")]
    pub(super) fn store_to_shared(
        &self,
        site: Site<'m, E>,
        id: FileId,
        held: PageRef<'m>,
    ) -> Result<FaultEnd, Detour<'m, E>> {
        let file = self.file_of(id);
        let at = file.page(site.area.index_of(site.vpn));
        let done = self.map_for_fault(&site, &file, at, &held, FaultEnd::Minor);
        self.lru.put(held);
        if is_resolved(done) {
            return Err(Detour::Dirtied(file, done));
        }
        self.files.put(file);
        Ok(done)
    }

    /// Maps resident neighbours of a page that was just mapped, read-only.
    #[doc(alias = "filemap_map_pages")]
    #[inline(never)] // Its frame is not for the whole fault, which may reclaim.
    fn fault_around(&self, site: &Site<'m, E>, file: &FileRef<'m, E::Cpu>) {
        let first = Vpn(site.vpn.0 / AROUND * AROUND).max(site.area.start);
        let end = Vpn(site.vpn.0 / AROUND * AROUND + AROUND).min(site.area.end);
        if site.area.flags.contains(AreaFlags::LOCKED) {
            return;
        }
        let from = file.page(site.area.index_of(first));
        let last = site.area.index_of(Vpn(end.0 - 1));
        let mut found = [const { None }; AROUND as usize];
        self.files.lookup_range(file, from, file.pages().min(last + 1), |index, held| {
            let place = (first.0 + (index - from.index)) % AROUND;
            found[place as usize] = Some((index, held));
        });
        let locks = found.map(|found| {
            let (index, held) = found?;
            self.lock_neighbour(file.page(index), held)
        });
        self.map_neighbours(site, &locks);
        for lock in locks.into_iter().flatten() {
            let page = lock.page();
            self.zones.unlock(lock);
            self.lru.put(PageRef::adopt(page));
        }
    }

    fn map_neighbours(&self, site: &Site<'m, E>, locks: &[Option<PageLock<'m>>]) {
        let mut tables = site.space.tables.lock();
        let Some(tables) = tables.as_mut() else { return };
        let (prot, young) = (site.area.prot - Prot::WRITE, !tables.sets_young());
        let mut mapped = 0;
        for (lock, vpn) in locks.iter().zip(site.vpn.0 / AROUND * AROUND..) {
            let Some(page) = lock.as_ref().map(PageLock::page) else { continue };
            let new = Mapping { pfn: self.map.pfn(page), prot, young, dirty: false };
            if tables.get(Vpn(vpn)) != Pte::None || page.add_mapping().is_err() {
                continue;
            }
            if tables.set(Vpn(vpn), Pte::Present(new)).is_err() {
                page.remove_mapping();
                continue;
            }
            page.get().leak();
            mapped += 1;
        }
        site.space.add_resident(mapped);
        self.events.count(VmEvent::FaultAround, mapped as u64);
    }

    /// Locks a neighbour, if it can be mapped; the lock's holder must put the reference.
    fn lock_neighbour(&self, at: FilePage, held: PageRef<'m>) -> Option<PageLock<'m>> {
        let page = held.page();
        // A marked page is to be missed, so that the next window is read.
        let wants = page.is_uptodate() && !page.has(PageFlags::READAHEAD);
        let lock = if wants { page.try_lock() } else { None };
        let Some(lock) = lock else {
            self.lru.put(held);
            return None;
        };
        if page.file_page() != Some(at) {
            self.zones.unlock(lock);
            self.lru.put(held);
            return None;
        }
        held.leak();
        Some(lock)
    }
}

/// Why there is no page yet.
enum Waits<'m> {
    /// The fault ends.
    End(FaultEnd),
    /// It is being read; true if this fault has started that.
    For(PageRef<'m>, bool),
}

const fn is_resolved(end: FaultEnd) -> bool {
    matches!(end, FaultEnd::Minor | FaultEnd::Major)
}
