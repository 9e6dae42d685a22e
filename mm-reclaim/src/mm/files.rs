//! Files: made and put, read and written, mapped, made shorter, written back.

use core::ops::Range;

use super::Mm;
use crate::base::errseq::Seen;
use crate::base::units::{Pfn, Vpn};
use crate::env::{Env, Prot};
use crate::file::{FileKind, FileRef};
use crate::filemap::{
    DirtyState, FileError, PageSink, PageSource, Pattern, ReadAhead, Record, SyncMode,
};
use crate::mmap::Place;
use crate::page::PageRef;
use crate::space::{AreaFlags, SpaceError, SpaceId};

impl<'m, E: Env> Mm<'m, E> {
    // ---- life ----

    /// A file of `size` bytes, with one reference.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn create_file(
        &self,
        kind: FileKind,
        size: u64,
    ) -> Result<FileRef<'m, E::Cpu>, SpaceError> {
        self.filemap.create(kind, size)
    }

    /// Drops a reference. With the last one, of callers and of areas that map it, the file goes: its
    /// pages are dropped, dirty or not, and the store is told
    /// ([`FileStore::evict`](crate::env::FileStore::evict)).
    #[doc(alias = "iput")]
    pub fn put_file(&self, file: FileRef<'m, E::Cpu>) {
        self.filemap.put_file(file);
    }

    // ---- contents ----

    /// Reads up to `len` bytes from `position` on, which the sink takes; returns how many that were.
    /// `ahead` is the reader's window, such as that of an open description.
    ///
    /// # Errors
    /// If nothing could be read. At the end of the file 0 is returned.
    #[doc(alias = "filemap_read")]
    pub fn read_file(
        &self,
        file: &FileRef<'m, E::Cpu>,
        position: u64,
        len: usize,
        ahead: &mut ReadAhead,
        pattern: Pattern,
        sink: &mut dyn PageSink,
    ) -> Result<usize, FileError> {
        self.filemap.read(file, position, len, ahead, pattern, sink)
    }

    /// Writes `len` bytes of the source from `position` on; returns how many that were. A file becomes
    /// longer where it must.
    ///
    /// # Errors
    /// If nothing could be written.
    #[doc(alias = "generic_file_write_iter")]
    pub fn write_file(
        &self,
        file: &FileRef<'m, E::Cpu>,
        position: u64,
        len: usize,
        source: &mut dyn PageSource,
    ) -> Result<usize, FileError> {
        self.filemap.write(file, Some(position), len, source).map(|(done, _)| done)
    }

    /// Like [`Mm::write_file`], behind the end, wherever that is when nobody else writes any more; returns
    /// also where that was.
    ///
    /// # Errors
    /// If nothing could be written.
    #[doc(alias = "O_APPEND")]
    pub fn append_file(
        &self,
        file: &FileRef<'m, E::Cpu>,
        len: usize,
        source: &mut dyn PageSource,
    ) -> Result<(usize, u64), FileError> {
        self.filemap.write(file, None, len, source)
    }

    /// Maps pages `part` of a file, shared ([`AreaFlags::SHARED`]) or private. They may lie behind its
    /// end, where an access is a bus error.
    ///
    /// # Errors
    /// As for [`Mm::mmap`].
    pub fn mmap_file(
        &self,
        id: SpaceId,
        place: Place,
        prot: Prot,
        flags: AreaFlags,
        file: &FileRef<'m, E::Cpu>,
        part: Range<u32>,
    ) -> Result<Vpn, SpaceError> {
        self.mmap.mmap_file(id, place, prot, flags, file, part)
    }

    /// Makes a file shorter or longer.
    ///
    /// # Errors
    /// If it would be too large, or its new last page could not be read; nothing has changed then.
    #[doc(alias = "ftruncate")]
    pub fn truncate_file(&self, file: &FileRef<'m, E::Cpu>, size: u64) -> Result<(), FileError> {
        self.filemap.truncate(file, size)
    }

    /// Makes a hole of bytes `start..end`, which read as zeroes from then on; the size stays.
    ///
    /// # Errors
    /// If a page that it covers in part could not be read.
    #[doc(alias = "fallocate")]
    pub fn punch_hole(
        &self,
        file: &FileRef<'m, E::Cpu>,
        start: u64,
        end: u64,
    ) -> Result<(), FileError> {
        self.filemap.punch_hole(file, start, end)
    }

    // ---- a file system's records ----

    /// Lends a page of a file to `look`, which must not wait; nobody changes it meanwhile. The file is a
    /// file system's device, and who works on that must finish: this ends only when the page is there,
    /// killed or not, and waits for memory as long as it takes.
    ///
    /// # Errors
    /// If it could not be read, or lies behind the end.
    #[doc(alias = "sb_bread")]
    pub fn look_at_page(
        &self,
        file: &FileRef<'m, E::Cpu>,
        index: u32,
        look: &mut dyn FnMut(Pfn),
    ) -> Result<(), FileError> {
        self.filemap.with_record(file, index, Record::Look, look)
    }

    /// Lends a page to be changed, as [`Mm::look_at_page`]: nobody looks at it meanwhile, and no write of
    /// it is under way. It is dirty then.
    ///
    /// # Errors
    /// As there.
    #[doc(alias = "mark_buffer_dirty")]
    pub fn change_page(
        &self,
        file: &FileRef<'m, E::Cpu>,
        index: u32,
        change: &mut dyn FnMut(Pfn),
    ) -> Result<(), FileError> {
        self.filemap.with_record(file, index, Record::Change, change)
    }

    /// As [`Mm::change_page`], but nobody needs what the page had before: it is not read. It has either
    /// that, or zeroes.
    ///
    /// # Errors
    /// If it lies behind the end.
    #[doc(alias = "sb_getblk")]
    pub fn begin_page(
        &self,
        file: &FileRef<'m, E::Cpu>,
        index: u32,
        fill: &mut dyn FnMut(Pfn),
    ) -> Result<(), FileError> {
        self.filemap.with_record(file, index, Record::Begin, fill)
    }

    /// Writes a page if it is dirty, and waits, killed or not.
    ///
    /// # Errors
    /// If it could not be written.
    #[doc(alias = "sync_dirty_buffer")]
    pub fn write_page(&self, file: &FileRef<'m, E::Cpu>, index: u32) -> Result<(), FileError> {
        self.filemap.write_record(file, index)
    }

    /// Waits until a page is not being written, killed or not.
    #[doc(alias = "wait_on_buffer")]
    pub fn wait_for_page_write(&self, file: &FileRef<'m, E::Cpu>, index: u32) {
        self.filemap.wait_for_record(file, index);
    }

    /// The caller has dirtied pages of a file by [`Mm::change_page`], and holds no lock: it pauses if too
    /// many are dirty, as a writer does.
    pub fn balance_dirty_pages(&self, file: &FileRef<'m, E::Cpu>) {
        self.filemap.balance_dirty_pages(file);
    }

    // ---- write-back ----

    /// Writes what a range of a space has of files that it maps shared, and waits, unless `later`.
    ///
    /// # Errors
    /// The space's: the range has a hole; everything else of it was written. Within: a write of a file
    /// has failed, and this mapping had not reported it.
    pub fn msync(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        later: bool,
    ) -> Result<Result<(), FileError>, SpaceError> {
        self.mmap.msync(id, range, later)
    }

    /// The caller has changed the contents of a page by its frame. Waits for the page's lock.
    #[doc(alias = "set_page_dirty_lock")]
    pub fn set_page_dirty(&self, held: &PageRef<'m>) {
        let lock = self.zones.lock_page_surely(held);
        self.files.set_page_dirty(held.page());
        self.zones.unlock(lock);
    }

    /// What an opener of the file knows of its write errors: one that nobody was told is for it.
    pub fn file_errors(&self, file: &FileRef<'m, E::Cpu>) -> Seen {
        file.errors.sample()
    }

    /// Writes the dirty pages `range` and waits; then reports an error that `since` has not reported
    /// yet, once (`fsync`, `msync`).
    ///
    /// # Errors
    /// If the caller was killed, or a write of the file has failed.
    #[doc(alias = "fsync")]
    pub fn sync_file(
        &self,
        file: &FileRef<'m, E::Cpu>,
        range: Range<u32>,
        since: &mut Seen,
    ) -> Result<(), FileError> {
        self.filemap.sync(file, range, since)
    }

    /// Starts writing the dirty pages `range`, at most `most`; returns how many.
    ///
    /// # Errors
    /// If the caller was killed.
    pub fn write_dirty_pages(
        &self,
        file: &FileRef<'m, E::Cpu>,
        range: Range<u32>,
        most: u32,
        mode: SyncMode,
    ) -> Result<u32, FileError> {
        self.filemap.write_dirty(file, range, most, mode)
    }

    /// Writes the dirty pages of all files, and waits.
    ///
    /// # Errors
    /// If the caller was killed.
    #[doc(alias = "sync")]
    pub fn sync_files(&self) -> Result<(), FileError> {
        self.filemap.sync_all()
    }

    /// The body of the flusher task; its [`crate::env::TaskFlags`] is `KERNEL`. A kernel without it
    /// writes dirty pages at `fsync`, and when reclaim must.
    #[doc(alias = "wb_workfn")]
    pub fn flusher(&self) -> ! {
        self.filemap.flusher()
    }

    /// The dirty pages, and their limits.
    pub fn dirty_state(&self) -> DirtyState {
        self.filemap.dirty_state()
    }

    /// Sets what percentage of the dirtyable pages may be dirty before the flusher writes, and before
    /// writers wait (10 and 20).
    #[doc(alias("dirty_background_ratio", "dirty_ratio"))]
    pub fn set_dirty_ratios(&self, background: u8, hard: u8) {
        self.filemap.set_dirty_ratios(background, hard);
    }

    // ---- advice ----

    /// A program will use a range of its mappings in this order.
    ///
    /// # Errors
    /// If the range has holes.
    #[doc(alias("MADV_NORMAL", "MADV_RANDOM", "MADV_SEQUENTIAL"))]
    pub fn advise_pattern(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        pattern: Pattern,
    ) -> Result<(), SpaceError> {
        self.mmap.advise_pattern(id, range, pattern)
    }

    /// Starts reading what a range of a space maps of files.
    ///
    /// # Errors
    /// If there is no such space.
    #[doc(alias = "MADV_WILLNEED")]
    pub fn will_need(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        self.mmap.will_need(id, range)
    }

    /// Starts reading the pages at the start of `range` that are not cached, 32 at most.
    #[doc(alias("readahead", "POSIX_FADV_WILLNEED"))]
    pub fn read_file_ahead(&self, file: &FileRef<'m, E::Cpu>, range: Range<u32>) {
        self.filemap.read_on_advice(file, range);
    }

    /// Drops the pages `range` that nobody uses: clean, not mapped, not locked. Returns how many.
    #[doc(alias = "POSIX_FADV_DONTNEED")]
    pub fn drop_file_pages(&self, file: &FileRef<'m, E::Cpu>, range: Range<u32>) -> u32 {
        self.filemap.invalidate(file, range)
    }

    /// Drops the clean pages of every file that nobody uses; returns how many.
    #[doc(alias = "drop_caches")]
    pub fn drop_page_cache(&self) -> u32 {
        self.filemap.drop_page_cache()
    }

    /// Sets whether reclaim must leave the pages of a file alone. One caller at a time for each file.
    #[doc(alias = "SHM_LOCK")]
    #[doc(alias = "mapping_set_unevictable")]
    pub fn set_file_unevictable(&self, file: &FileRef<'m, E::Cpu>, on: bool) {
        self.files.set_unevictable(file, file.id(), on);
    }

    /// Whether a page is cached and up to date.
    pub fn is_cached(&self, file: &FileRef<'m, E::Cpu>, index: u32) -> bool {
        self.filemap.is_cached(file, index)
    }

    /// The frame of a page that is cached. For tests, which know that it stays.
    #[doc(hidden)]
    pub fn file_frame(&self, file: &FileRef<'m, E::Cpu>, index: u32) -> Option<Pfn> {
        self.filemap.frame(file, index)
    }
}
