//! What pages are read from and written to: block devices, and files that lie on them.

use super::DeviceId;
use crate::base::units::{FilePage, Pfn};
use crate::block::bio::{Bio, Completion, IoError};

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

/// A page was not inserted into a file's cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotEntered;

/// Files: which of their pages are cached, and where the contents lie.
///
/// For each page of a file the environment keeps one word: the frame that holds the page, or
/// the *shadow* of one that was evicted, or nothing. It changes atomically, and a lookup that finds
/// a page sees it initialised: a lock of the environment is enough, held only within each of these
/// calls.
///
/// A kernel without files uses [`NoFiles`].
#[doc(alias = "address_space_operations")]
pub trait FileStore: Sync {
    /// The frame that holds the page, if it is cached.
    fn cached(&self, at: FilePage) -> Option<Pfn>;

    /// Inserts the frame of a page that is not cached; returns the shadow that it replaces.
    ///
    /// # Errors
    /// The page is cached by now, or the file has no such page (any more).
    fn enter(&self, at: FilePage, frame: Pfn) -> Result<Option<u32>, NotEntered>;

    /// Removes the frame of a page that was inserted, and leaves the shadow in its place.
    fn leave(&self, at: FilePage, frame: Pfn, shadow: Option<u32>);

    /// The device and the block on it where the page's contents lie; `None` if the file has no
    /// such page.
    #[doc(alias = "bmap")]
    fn locate(&self, at: FilePage) -> Option<(DeviceId, u32)>;

    /// The page could not be written: it is clean nevertheless, and changes since the last
    /// write-back are lost when it is evicted.
    fn write_failed(&self, at: FilePage);
}

/// A machine without files.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl FileStore for NoFiles {
    fn cached(&self, _at: FilePage) -> Option<Pfn> {
        None
    }

    fn enter(&self, _at: FilePage, _frame: Pfn) -> Result<Option<u32>, NotEntered> {
        Err(NotEntered)
    }

    fn leave(&self, _at: FilePage, _frame: Pfn, _shadow: Option<u32>) {}

    fn locate(&self, _at: FilePage) -> Option<(DeviceId, u32)> {
        None
    }

    fn write_failed(&self, _at: FilePage) {}
}
