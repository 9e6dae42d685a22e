//! What the crate needs of its caller: the blocks of the file system's metadata.

/// A block could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoError;

/// The blocks of a device, as its user caches them. A block is as large as the file system says; its
/// number counts from the start of the device.
pub trait Disk {
    /// Lends the bytes of a block to `look`.
    ///
    /// # Errors
    /// If it could not be read.
    fn look<R>(&self, block: u32, look: impl FnOnce(&[u8]) -> R) -> Result<R, IoError>;

    /// Lends the bytes of a block to be changed. It is written some time later, and not while it is lent.
    ///
    /// # Errors
    /// If it could not be read; nothing was changed then.
    fn change<R>(&self, block: u32, change: impl FnOnce(&mut [u8]) -> R) -> Result<R, IoError>;

    /// A block that becomes metadata has these contents from now on, whatever it had before.
    ///
    /// # Errors
    /// If that is not possible.
    fn begin(&self, block: u32, fill: impl FnOnce(&mut [u8])) -> Result<(), IoError>;

    /// Writes a block, and returns when it is stable.
    ///
    /// # Errors
    /// If it could not be written.
    fn settle(&self, block: u32) -> Result<(), IoError>;

    /// Blocks are free from now on: what was changed in them and is not written yet never is. Returns
    /// when no write of them is under way, as somebody else may use them right after.
    fn forget(&self, first: u32, count: u32);

    /// Seconds since 1970, or the best guess at them.
    fn now(&self) -> u32;
}
