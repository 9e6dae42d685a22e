//! Pages of files: read, written, mapped, written back, dropped.
//!
//! What a file keeps of its pages is in [`crate::file`]; what becomes of a page in the cache is as for
//! any other: it is on a list, ages there, and is evicted when it is clean and unused. Here is what
//! needs memory, or waits:
//!
//! | file | what |
//! | --- | --- |
//! | `read.rs` | a page is found or read in, with those behind it (FILE-02, FILE-04) |
//! | `write.rs` | `write` through the cache (FILE-04) |
//! | `truncate.rs` | truncation, holes, and the end of a file (FILE-05) |
//! | `writeback.rs` | dirty pages are written; `fsync` (DIRT-03) |
//! | `flusher.rs` | the task that does so, and who must wait for it (DIRT-01, DIRT-02) |
//! | `record.rs` | pages that a file system keeps its own records in |
//! | `shared.rs` | shared memory: pages that swap backs (SHM-01) |
//! | `window.rs`, `limits.rs` | the policies, pure |
//!
//! Locks: as `file/mod.rs` says. Counterpart in Linux: `mm/filemap.c`, `mm/page-writeback.c`,
//! `fs/fs-writeback.c`, `mm/shmem.c`.

mod flusher;
mod limits;
mod read;
mod record;
mod shared;
mod truncate;
mod window;
mod write;
mod writeback;

pub use flusher::DirtyState;
pub(crate) use read::Contents;
pub use read::PageSink;
pub(crate) use record::Record;
pub(crate) use window::Cause;
pub use window::{Pattern, ReadAhead};
pub use write::PageSource;
pub use writeback::SyncMode;

use core::fmt;

use crate::alloc::Alloc;
use crate::base::stat::VmEvents;
use crate::base::units::{FilePage, Order, PAGE_SHIFT, PAGE_SIZE};
use crate::env::{Env, StoreError};
use crate::file::index::Spare;
use crate::file::{File, FileKind, FileRef, Files};
use crate::lru::Lru;
use crate::page::NewPage;
use crate::page::memmap::MemMap;
use crate::rmap::Rmap;
use crate::space::SpaceError;
use crate::swap::Swap;
use crate::zone::Zones;
use crate::zone::gfp::Gfp;
use flusher::Flusher;

/// Why a call about a file failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileError {
    /// A page could not be read or written (`EIO`).
    Io,
    /// There is no room for a page (`ENOSPC`).
    NoSpace,
    /// The file would be too large (`EFBIG`).
    TooLarge,
    /// The caller's buffer is not memory that it may use (`EFAULT`).
    BadBuffer,
    /// There is no memory.
    NoMemory,
    /// The caller was killed.
    Killed,
}

impl From<StoreError> for FileError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace => Self::NoSpace,
            StoreError::Io => Self::Io,
            StoreError::TooLarge => Self::TooLarge,
        }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Io => "a page could not be read or written",
            Self::NoSpace => "there is no room for a page",
            Self::TooLarge => "the file would be too large",
            Self::BadBuffer => "the buffer is not memory that the caller may use",
            Self::NoMemory => "there is no memory",
            Self::Killed => "the caller was killed",
        })
    }
}

impl core::error::Error for FileError {}

/// Access to the pages of files.
pub(crate) struct Filemap<'m, E: Env> {
    env: E,
    map: MemMap<'m>,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    pub(crate) files: &'m Files<'m, E>,
    swap: &'m Swap<'m, E>,
    rmap: &'m Rmap<'m, E>,
    alloc: &'m Alloc<'m, E>,
    events: &'m VmEvents<E::Cpu>,
    flusher: Flusher<E>,
}

/// A file, with its name: what a call works on. The caller holds a reference.
pub(crate) type Of<'a, 'm, E> = &'a FileRef<'m, <E as Env>::Cpu>;

impl<'m, E: Env> Filemap<'m, E> {
    pub(crate) fn new(
        files: &'m Files<'m, E>,
        swap: &'m Swap<'m, E>,
        rmap: &'m Rmap<'m, E>,
        alloc: &'m Alloc<'m, E>,
    ) -> Self {
        let (lru, env) = (files.cache.lru, files.env);
        let (zones, events) = (lru.zones, lru.events);
        let (map, flusher) = (zones.map, Flusher::new());
        Self { env, map, zones, lru, files, swap, rmap, alloc, events, flusher }
    }

    /// A file of `size` bytes, with one reference.
    pub(crate) fn create(
        &self,
        kind: FileKind,
        size: u64,
    ) -> Result<FileRef<'m, E::Cpu>, SpaceError> {
        if !self.rmap.has_zero_page() {
            // What a hole is read from.
            let (pfn, page) = self.alloc.table_frame()?;
            self.rmap.enter_zero_page(pfn, page);
        }
        let (handle, file) = self.alloc.object(&self.files.pool, File::blank)?;
        Ok(self.files.begin(handle, file, kind, size))
    }

    /// Drops a reference; the file goes with the last one.
    pub(crate) fn put_file(&self, file: FileRef<'m, E::Cpu>) {
        self.files.put(file);
        self.end_gone_files();
    }

    /// A fresh page for the file, and the nodes that its index needs for it.
    fn new_page(
        &self,
        file: &File<E::Cpu>,
        at: FilePage,
        gfp: Gfp,
    ) -> Result<(NewPage<'m>, Spare), FileError> {
        let spare = self.spare_nodes(file, at)?;
        match self.alloc.alloc_page(gfp, Order::ZERO) {
            Some(new) => Ok((new, spare)),
            None => {
                self.files.give_spare(spare);
                Err(FileError::NoMemory)
            }
        }
    }

    /// As many nodes as the index needs for a page, at this moment.
    fn spare_nodes(&self, file: &File<E::Cpu>, at: FilePage) -> Result<Spare, FileError> {
        let mut spare = Spare::NONE;
        for _ in 0..self.files.prepare(file, at, &Spare::NONE) {
            match self.alloc.object(self.files.nodes(), Files::<E>::blank_node) {
                Ok((node, _)) => self.files.add_spare(&mut spare, node),
                Err(_) => {
                    self.files.give_spare(spare);
                    return Err(FileError::NoMemory);
                }
            }
        }
        Ok(spare)
    }
}

/// The page that a byte of a file lies in, and its place there.
const fn split(position: u64) -> (u32, usize) {
    ((position >> PAGE_SHIFT) as u32, position as usize % PAGE_SIZE)
}
