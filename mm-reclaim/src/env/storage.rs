//! What pages are read from and written to: block devices, and files that lie on them.

use core::ops::Range;

use super::DeviceId;
use crate::base::gfp::Gfp;
use crate::base::units::{PAGE_SIZE, Pfn};
use crate::block::bio::{Bio, Completion, Direction, IoError, PageIo};

/// The block devices that swap is on. A block has the size of a page.
///
/// A device may complete a request inline, by returning the [`Completion`] from
/// [`BlockDevice::submit`], or later, by handing it to `Mm::complete` from a task of its
/// own (never from an interrupt handler, and not from within `submit`).
///
/// [`Bio::for_test`] makes requests for testing a driver on its own.
pub trait BlockDevice: Sync {
    /// Starts a transfer between a frame and a block of a device.
    ///
    /// The request is consumed in either case; a synchronous device returns its completion.
    fn submit(&self, bio: Bio) -> Option<Completion>;

    /// The caller is about to submit several requests: they may be held back.
    fn plug(&self);

    /// Submits what was held back since [`BlockDevice::plug`].
    fn unplug(&self);

    /// Whether the device completes inline: read-ahead from it is of no use, and
    /// [`BlockDevice::read_now`] and [`BlockDevice::write_now`] are worth a try. The answer may
    /// change at any time.
    fn is_synchronous(&self, _device: DeviceId) -> bool {
        false
    }

    /// Reads a block into a frame, which the caller owns, before it returns; `None` if the device
    /// cannot, and nothing was done. A fault reads a page so that no other can want. No spin lock is
    /// held, but the caller may be [`Pinned`](super::Pinned): this must not sleep.
    ///
    /// Unlike a [`Bio`], this may overlap with other transfers of the same block and with its
    /// discard: the caller notices later, and does not use what was read. Any contents will do
    /// then, or an error.
    fn read_now(&self, _device: DeviceId, _block: u32, _frame: Pfn) -> Option<Result<(), IoError>> {
        None
    }

    /// Writes a frame, which the caller lends, to a block before it returns; `None` if the device
    /// cannot, and nothing was done. No other transfer of the block or the frame is under way, but
    /// for a [`BlockDevice::read_now`] whose contents are not used. The page is locked. As there, it
    /// must not sleep.
    fn write_now(
        &self,
        _device: DeviceId,
        _block: u32,
        _frame: Pfn,
    ) -> Option<Result<(), IoError>> {
        None
    }

    /// Whether the device has too many requests.
    fn is_congested(&self, device: DeviceId) -> bool;

    /// The contents of the blocks are no longer needed.
    fn discard(&self, device: DeviceId, first: u32, blocks: u32);
}

/// Why a store cannot do what it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// There is no room for the page (`ENOSPC`).
    NoSpace,
    /// The store could not be read or written (`EIO`).
    Io,
    /// No file of the store can have such a page (`EFBIG`).
    TooLarge,
}

/// Where the contents of files are, when they are not in memory.
///
/// The crate caches pages and decides when they are read and written; a store moves them. It names a
/// file by a number of its own, which it was created with ([`Mm::create_file`]). A file in memory
/// alone, such as one of tmpfs, needs no store.
///
/// # A store in an afternoon
/// One that keeps the pages of a file one after the other on a block device:
///
/// ```
/// use core::ops::Range;
/// use mm_reclaim::block::{Bio, Completion, DeviceId, IoError};
/// use mm_reclaim::env::{FileStore, Run, StoreError};
///
/// struct Flat {
///     /// For each file: its first block, and how many pages it may have.
///     files: [(u32, u32); 8],
/// }
///
/// fn submit(bio: Bio) -> Option<Completion> {
///     // The block device's: now, or later by `Mm::complete`.
///     Some(bio.complete(Ok(())))
/// }
///
/// impl FileStore for Flat {
///     fn start(&self, run: &mut Run<'_>) {
///         let (first, pages) = self.files[run.file() as usize];
///         while let Some(page) = run.next() {
///             let at = page.index();
///             if at >= pages {
///                 run.end(page.complete(Err(IoError)));
///             } else if let Some(end) = submit(page.on(DeviceId(1), first + at)) {
///                 run.end(end);
///             }
///         }
///     }
///
///     fn reserve(&self, file: u64, index: u32, _: Range<usize>) -> Result<(), StoreError> {
///         let fits = index < self.files[file as usize].1;
///         if fits { Ok(()) } else { Err(StoreError::NoSpace) }
///     }
/// }
/// ```
///
/// [`Mm::create_file`]: crate::Mm::create_file
#[doc(alias = "address_space_operations")]
pub trait FileStore: Sync {
    /// Starts the transfers of a run of pages, which it takes from `run` one by one. The end of each
    /// is given to [`Run::end`] before this returns, or to `Mm::complete` later, from another
    /// context. What is left in the run fails. It may sleep for room in a queue, and for transfers of
    /// other files, but must not wait for the end of a transfer of this one. A store that says so by
    /// [`FileStore::may_write`] is never called from reclaim.
    ///
    /// A page that was never written reads as zeroes ([`Env::frames`](super::Env::frames) fills it).
    #[doc(alias = "readahead")]
    #[doc(alias = "writepages")]
    fn start(&self, run: &mut Run<'_>);

    /// Makes sure that bytes `part` of the page can be written later: called before each first store to
    /// a page that is clean, and for one that is dirty already to no effect. It may sleep. No page is
    /// locked.
    ///
    /// # Errors
    /// If there is no room, or the store is broken: the page is not dirtied.
    #[doc(alias = "page_mkwrite")]
    fn reserve(&self, file: u64, index: u32, part: Range<usize>) -> Result<(), StoreError>;

    /// So many whole pages will be written by one call, and each be reserved before: the store may
    /// reserve them together. What of them lies behind the end and is not written is discarded. It may
    /// sleep. No page is locked.
    fn expect(&self, _file: u64, _first: u32, _pages: u32) {}

    /// Whether the store has a place for any of the bytes `part` of a page: if not, they are zeroes, and
    /// a page that shall have zeroes there need not be written. By default it makes sure that there is
    /// one.
    ///
    /// # Errors
    /// If the store is broken.
    fn is_stored(&self, file: u64, index: u32, part: Range<usize>) -> Result<bool, StoreError> {
        match self.reserve(file, index, part) {
            Err(StoreError::NoSpace) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// The bytes that a place for a page consists of, each with or without contents on the device: a
    /// page, or a power of two that is less.
    #[doc(alias = "i_blocksize")]
    fn block_bytes(&self, _file: u64) -> usize {
        PAGE_SIZE
    }

    /// The file was made shorter or longer, but not by a write; or a write that would have made it
    /// longer has failed. It has `size` bytes, and what the store has behind them, in its last page too,
    /// is no longer needed. It may sleep.
    #[doc(alias = "truncate")]
    fn resized(&self, _file: u64, _size: u64) {}

    /// The pages `from..` of the file are no longer needed: it was truncated, or a hole was punched.
    /// Read again, they are zeroes. None of them is cached, and none becomes so before this returns. It
    /// may sleep.
    fn discard(&self, _file: u64, _from: u32, _pages: u32) {}

    /// The last reference to the file is gone, and none of its pages is cached. It may sleep.
    #[doc(alias = "evict_inode")]
    fn evict(&self, _file: u64) {}

    /// Whether reclaim may have the page written now: it activates a page of which this is refused.
    /// Only reclaim asks. The page is locked.
    #[doc(alias = "AOP_WRITEPAGE_ACTIVATE")]
    fn may_write(&self, _file: u64, _index: u32) -> bool {
        true
    }

    /// A page that carries private data was stored to: all its blocks are dirty, as far as the crate
    /// knows. Under spin locks, perhaps of a page that is dirty already, and again when a mapping
    /// that stored to it goes.
    #[doc(alias = "dirty_folio")]
    fn dirtied(&self, _file: u64, _index: u32) {}

    /// Releases the private data of a page, such as the state of its blocks, if it can: it does not
    /// wait for more than `gfp` allows, and refuses while a block is dirty or in use. The page is
    /// locked and not being written; nothing maps it, unless `gfp` is empty.
    #[doc(alias = "release_folio")]
    fn release_private(&self, _file: u64, _index: u32, _gfp: Gfp) -> bool {
        true
    }

    /// The page leaves its file for good, and its private data with it, whatever is dirty. Refused if
    /// the store still uses the frame: then the page stays in memory, of no file, until reclaim meets
    /// it and the store agrees to [`FileStore::release_orphan`]. The page is locked.
    #[doc(alias = "invalidate_folio")]
    fn drop_private(&self, _file: u64, _index: u32, _frame: Pfn) -> bool {
        true
    }

    /// Releases the frame of a page that has lost its file, as for
    /// [`FileStore::release_private`].
    fn release_orphan(&self, _frame: Pfn, _gfp: Gfp) -> bool {
        true
    }

    /// Bytes of memory that the private data of all pages takes: above a tenth of memory reclaim has
    /// that of pages released which it does not evict.
    #[doc(alias = "buffer_heads_over_limit")]
    fn private_memory(&self) -> u64 {
        0
    }

    /// Whether a page that carries private data is dirty, and is being written, where the store knows
    /// better than the page's flags: all its blocks may be clean.
    #[doc(alias = "is_dirty_writeback")]
    fn dirty_writeback(&self, _file: u64, _index: u32) -> Option<(bool, bool)> {
        None
    }

    /// The device of the file: dirty pages are counted, and their writers paced, for each of the
    /// first eight.
    fn device(&self, _file: u64) -> DeviceId {
        DeviceId(0)
    }

    /// Whether the device of the file has too many requests.
    fn is_congested(&self, _file: u64) -> bool {
        false
    }

    /// Whether the device of any file has too many requests.
    fn is_any_congested(&self) -> bool {
        false
    }

    /// Whether the device of the file will never answer again: nobody waits for it then.
    fn is_gone(&self, _file: u64) -> bool {
        false
    }
}

/// Pages of a file, one after the other, to be read or written.
pub struct Run<'a> {
    direction: Direction,
    file: u64,
    file_size: u64,
    first: u32,
    frames: &'a [Pfn],
    end: &'a mut dyn FnMut(Completion),
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        direction: Direction,
        (file, file_size): (u64, u64),
        first: u32,
        frames: &'a [Pfn],
        end: &'a mut dyn FnMut(Completion),
    ) -> Self {
        Self { direction, file, file_size, first, frames, end }
    }

    /// The direction of the transfers.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// The file, by its store's number.
    pub fn file(&self) -> u64 {
        self.file
    }

    /// Bytes of the file. When pages are written it is at least what it was when the last of them was
    /// marked as being written: who makes the file shorter waits for them.
    pub fn file_size(&self) -> u64 {
        self.file_size
    }

    /// The first page that is left in the run.
    pub fn first(&self) -> u32 {
        self.first
    }

    /// Pages that are left in it.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes the next page.
    #[allow(
        clippy::should_implement_trait,
        reason = "a run is used up by its borrower, and by name"
    )]
    pub fn next(&mut self) -> Option<PageIo> {
        let (frame, rest) = self.frames.split_first()?;
        let page = PageIo::new(self.direction, self.first, *frame);
        self.frames = rest;
        self.first += 1;
        Some(page)
    }

    /// A transfer of the run has ended.
    pub fn end(&mut self, end: Completion) {
        (self.end)(end);
    }

    /// Fails what is left.
    pub(crate) fn finish(mut self) {
        while let Some(page) = self.next() {
            self.end(page.complete(Err(IoError)));
        }
    }
}

/// A machine whose files, if it has any, are in memory alone.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl FileStore for NoFiles {
    fn start(&self, _run: &mut Run<'_>) {}

    fn reserve(&self, _file: u64, _index: u32, _part: Range<usize>) -> Result<(), StoreError> {
        Err(StoreError::NoSpace)
    }
}
