//! Files: what is cached of them, who maps them, and what is still to be written back.
//!
//! Data: a [`File`] lives in a pool, and its handle is what its pages carry as their owner. It has the
//! file's size, the index of its pages (`index.rs`), the root of the areas that map it
//! (`space/file_areas.rs`), and its place among the dirty files (`dirty.rs`). The contents are the
//! environment's business ([`FileStore`](crate::env::FileStore)); shared memory (SHM-01) has none there, and its pages are
//! backed by swap.
//!
//! Owner: whoever has a reference ([`FileRef`]): the kernel, for its table of files and for open
//! descriptions, and each area that maps the file. With the last one the file is listed as gone, since
//! that may happen under locks; whoever put it, or the flusher, drops its pages, dirty or not, and
//! tells the store (`filemap/truncate.rs`).
//!
//! Locks, outermost first:
//!
//! | lock | guards |
//! | --- | --- |
//! | `inode`, sleeping | the size; exclusive for `write`, truncation and holes |
//! | the area lock of a space, sleeping | |
//! | `invalidate`, sleeping | shared by whoever reads pages in, exclusive while some are removed together with what the store has of them |
//! | a page's lock | that the page is the file's page of that index |
//! | `areas`, spinning | the areas that map the file, and their bounds |
//! | a page-table lock | |
//! | `index`, spinning | the index, with its marks; the dirty flags of the pages in it; the size when it shrinks |
//! | the lists of files | |
//!
//! Whoever has found a page looks again at its file, its index and the file's size under the page
//! lock.
//!
//! Counterpart in Linux: `struct address_space` and the part of `struct inode` that it needs.

pub(crate) mod dirty;
pub(crate) mod index;
pub(crate) mod list;
mod node;
mod pages;
mod retain;
pub(crate) mod shadow;
pub(crate) mod transfer;

use core::fmt;

use crate::base::errseq::ErrorSeq;
use crate::base::lock_order::{FILE_AREAS, FILE_INDEX};
use crate::base::sync::{AtomicU8, AtomicU32, AtomicU64, Lock, Ordering};
use crate::base::units::{FileId, FilePage, PAGE_SHIFT};
use crate::base::wait::SleepLock;
use crate::cache::Cache;
use crate::env::{Cpu, Env};
use crate::page::pool::kind::{AREA, FILE};
use crate::page::pool::{Handle, HandleCell, Pool, Window};
use dirty::DirtyFiles;
use index::Index;
use list::FileList;
pub(crate) use node::{Entry, Mark};
use node::{Nodes, ShadowNodes};

/// The name of a file.
pub(crate) type FileHandle = Handle<FILE>;

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// Its contents are in the environment's store, under this number.
    Stored(u64),
    /// Shared memory: its contents are nowhere else (`memfd_create`, tmpfs).
    #[doc(alias = "shmem")]
    Shared,
}

/// [`FileKind`], and other properties, as flags of a file.
const SHARED: u8 = 1;
const UNEVICTABLE: u8 = 2;

/// The most bytes that a file can have: its pages are counted in 32 bits.
pub const MOST_BYTES: u64 = (u32::MAX as u64) << PAGE_SHIFT;

/// A file, as far as memory is concerned.
pub struct File<C: Cpu> {
    /// The store's number.
    store: AtomicU64,
    flags: AtomicU8,
    /// The number of the store's device.
    device: AtomicU8,
    /// Bytes.
    size: AtomicU64,
    /// References.
    users: AtomicU32,
    pub(crate) inode: SleepLock<()>,
    pub(crate) invalidate: SleepLock<()>,
    pub(crate) index: Lock<C, Index, FILE_INDEX>,
    /// The root of the areas that map the file.
    pub(crate) areas: Lock<C, HandleCell<AREA>, FILE_AREAS>,
    /// Errors of write-back (DIRT-03).
    pub(crate) errors: ErrorSeq,
    /// Pages dirty, and being written. Changed under the index's lock.
    pub(crate) nr_dirty: AtomicU32,
    pub(crate) nr_writeback: AtomicU32,
    /// Places on the lists of all files and of the dirty ones; guarded by the lists' locks.
    pub(crate) all: list::Place,
    pub(crate) dirty: list::Place,
    gone: list::Place,
    /// When it became dirty.
    pub(crate) dirtied_when: AtomicU64,
}

impl<C: Cpu> File<C> {
    pub(crate) fn blank() -> Self {
        Self {
            store: AtomicU64::new(0),
            flags: AtomicU8::new(0),
            device: AtomicU8::new(0),
            size: AtomicU64::new(0),
            users: AtomicU32::new(0),
            inode: SleepLock::new(()),
            invalidate: SleepLock::new(()),
            index: Lock::new(Index::default()),
            areas: Lock::new(HandleCell::none()),
            errors: ErrorSeq::new(),
            nr_dirty: AtomicU32::new(0),
            nr_writeback: AtomicU32::new(0),
            all: list::Place::none(),
            dirty: list::Place::none(),
            gone: list::Place::none(),
            dirtied_when: AtomicU64::new(0),
        }
    }

    fn init(&self, kind: FileKind, device: u8, size: u64) {
        let (flags, store) = match kind {
            FileKind::Stored(store) => (0, store),
            FileKind::Shared => (SHARED, 0),
        };
        self.store.store(store, Ordering::Relaxed);
        self.flags.store(flags, Ordering::Relaxed);
        self.device.store(device, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        self.errors.reset();
    }

    /// What it is.
    pub fn kind(&self) -> FileKind {
        match self.is_shared_memory() {
            true => FileKind::Shared,
            false => FileKind::Stored(self.store()),
        }
    }

    #[inline(always)]
    pub(crate) fn is_shared_memory(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & SHARED != 0
    }

    /// Whether reclaim must leave its pages alone (SPL-02).
    #[doc(alias = "mapping_unevictable")]
    pub(crate) fn is_unevictable(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & UNEVICTABLE != 0
    }

    fn mark_unevictable(&self, on: bool) {
        match on {
            true => self.flags.fetch_or(UNEVICTABLE, Ordering::Relaxed),
            false => self.flags.fetch_and(!UNEVICTABLE, Ordering::Relaxed),
        };
    }

    /// The number of the file at its store.
    #[inline(always)]
    pub(crate) fn store(&self) -> u64 {
        debug_assert!(!self.is_shared_memory(), "shared memory has no store");
        self.store.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(crate) fn device(&self) -> usize {
        usize::from(self.device.load(Ordering::Relaxed))
    }

    /// Bytes.
    #[inline(always)]
    #[doc(alias = "i_size_read")]
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }

    /// Pages, the last of which may be partial.
    #[inline(always)]
    pub(crate) fn pages(&self) -> u32 {
        self.size().div_ceil(1 << PAGE_SHIFT) as u32
    }

    /// Pages that are cached.
    pub fn cached_pages(&self) -> u32 {
        self.index.lock().pages
    }

    /// The holder of the inode lock sets the size. Under the index's lock, so that no page behind
    /// the end is entered later.
    #[doc(alias = "i_size_write")]
    pub(crate) fn set_size(&self, size: u64) {
        let _index = self.index.lock();
        self.size.store(size, Ordering::Relaxed);
    }

    /// One more reference, unless the file is going.
    pub(crate) fn try_get(&self) -> bool {
        let up = |n: u32| if n == 0 { None } else { Some(n + 1) };
        self.users.fetch_update(Ordering::Acquire, Ordering::Relaxed, up).is_ok()
    }

    /// One more reference, for the holder of one.
    pub(crate) fn get(&self) {
        let was = self.users.fetch_add(1, Ordering::Relaxed);
        debug_assert!(was != 0, "a reference to a file that is gone");
    }

    /// Drops a reference; true if it was the last.
    pub(crate) fn put(&self) -> bool {
        // Release pairs with the Acquire: what the holders did happens before the file goes.
        let was = self.users.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(was != 0, "a reference too many was dropped");
        was == 1
    }
}

/// A reference to a file. To be dropped by [`Mm::put_file`](crate::Mm::put_file).
#[must_use = "a reference must be put"]
pub struct FileRef<'m, C: Cpu> {
    file: &'m File<C>,
    id: FileId,
}

impl<'m, C: Cpu> FileRef<'m, C> {
    /// Takes over a reference that was counted.
    pub(crate) fn adopt(file: &'m File<C>, id: FileId) -> Self {
        Self { file, id }
    }

    /// The name of the file, which its pages carry. It may be another file's once this is gone.
    pub fn id(&self) -> FileId {
        self.id
    }

    /// The file.
    pub fn file(&self) -> &'m File<C> {
        self.file
    }

    /// How many there are, those of areas that map the file included. It is worth something only if the
    /// caller keeps others from getting more.
    #[doc(alias = "i_count")]
    pub fn refs(&self) -> u32 {
        self.file.users.load(Ordering::Acquire)
    }

    /// Whether a page is being written.
    pub fn is_being_written(&self) -> bool {
        self.file.nr_writeback.load(Ordering::Acquire) != 0
    }

    /// Whether no page is dirty or being written.
    pub fn is_clean(&self) -> bool {
        let none = |count: &AtomicU32| count.load(Ordering::Acquire) == 0;
        none(&self.file.nr_dirty) && none(&self.file.nr_writeback)
    }

    /// One more reference.
    #[allow(
        clippy::should_implement_trait,
        reason = "a reference that must be put is not cloned unseen"
    )]
    pub fn get(&self) -> Self {
        self.file.get();
        Self { ..*self }
    }

    /// Gives the reference up, for whoever counts it elsewhere.
    pub(crate) fn leak(self) -> (&'m File<C>, FileId) {
        let both = (self.file, self.id);
        core::mem::forget(self);
        both
    }

    /// A page of the file.
    pub fn page(&self, index: u32) -> FilePage {
        FilePage { file: self.id, index }
    }
}

impl<C: Cpu> core::ops::Deref for FileRef<'_, C> {
    type Target = File<C>;
    fn deref(&self) -> &File<C> {
        self.file
    }
}

impl<C: Cpu> fmt::Debug for FileRef<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.id, self.file.size())
    }
}

impl<C: Cpu> Drop for FileRef<'_, C> {
    fn drop(&mut self) {
        #[cfg(any(test, feature = "std"))]
        if std::thread::panicking() {
            return;
        }
        panic!("a reference to {self:?} was dropped, and is never put");
    }
}

/// The files of the machine, and the pages of them that are cached.
pub(crate) struct Files<'m, E: Env> {
    pub(crate) env: E,
    pub(crate) cache: &'m Cache<'m, E>,
    pub(crate) pool: Pool<'m, E::Cpu, File<E::Cpu>, FILE>,
    nodes: Nodes<'m, E::Cpu>,
    shadow_nodes: ShadowNodes<E::Cpu>,
    pub(crate) all: FileList<E::Cpu>,
    pub(crate) dirty: DirtyFiles<E>,
    /// Files without references, whose pages are still to be dropped.
    gone: FileList<E::Cpu>,
}

impl<'m, E: Env> Files<'m, E> {
    pub(crate) fn new(cache: &'m Cache<'m, E>, window: Window<'m>) -> Self {
        let map = cache.map;
        Self {
            env: cache.env,
            cache,
            pool: Pool::new(map, window),
            nodes: Pool::new(map, window),
            shadow_nodes: ShadowNodes::new(),
            all: FileList::new(|file| &file.all),
            dirty: DirtyFiles::new(cache.env),
            gone: FileList::new(|file| &file.gone),
        }
    }

    /// The file of a page in its cache, whose lock the caller holds; or of an area.
    #[inline(always)]
    pub(crate) fn at(&self, id: FileId) -> &'m File<E::Cpu> {
        self.pool.at(Handle::new(id.0).expect("the name of a file"))
    }
}
