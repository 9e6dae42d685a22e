//! The file system on a disk: ext2, mounted at `/mnt`.
//!
//! The crate `ext2` knows the format. Here its files and its records get their pages:
//!
//! | file | what |
//! | --- | --- |
//! | [`bits`] | a bit for each block: pure, tested on the host |
//! | `records` | blocks of records, which are pages of the file that is the device |
//! | [`runs`] | where the blocks of files in use are: pure |
//! | `places` | where the blocks of files are |
//! | `store` | pages of files, as [`mm_reclaim::env::FileStore`] has it |
//! | `inodes` | which inodes are in memory, and their files |
//! | `mounted` | the file system, and the right to change it |
//! | `life` | mounting and unmounting |
//!
//! **Data.** The device is a file of the memory management, whose pages hold records. A bit for each
//! block says that a record in it is not written yet, for blocks that are smaller than pages; another
//! that a block of a file was never written, and reads as zeroes. A table names the inodes that are in
//! memory. **Owner.** The mount, of which there is one, from the boot to the end of the run.
//!
//! **Locks**, outermost first:
//!
//! | lock | guards |
//! | --- | --- |
//! | those of a file, up to its write-back | see `file/mod.rs` of the crate |
//! | the writer, sleeping | everything that changes the file system, and its names |
//! | the lock of a record's page | the record |
//! | the table of inodes, the runs, spinning | these tables; leaves |
//!
//! So a record is written without the writer, and whoever holds the writer waits for no page of a file.
//! Reclaim writes none of these pages: the flusher does. A reference to a file is put without the
//! writer, since an inode that ends needs it.

pub mod bits;
pub mod runs;

#[cfg(target_os = "none")]
mod inodes;
#[cfg(target_os = "none")]
mod life;
#[cfg(target_os = "none")]
mod mounted;
#[cfg(target_os = "none")]
mod places;
#[cfg(target_os = "none")]
mod records;
#[cfg(target_os = "none")]
mod store;

#[cfg(target_os = "none")]
pub use inodes::{
    is_linkable, live_size, make_room, mark_linkable, named_again, open_inode, unlinked,
};
#[cfg(target_os = "none")]
pub use life::{Refused, mount, sync, unmount};
#[cfg(target_os = "none")]
pub use mounted::{Fs, Mounted, mounted, note};

/// The kinds of file numbers, in their upper half; the RAM disk's are small.
const INODE: u64 = 1 << 32;
const DEVICE: u64 = 2 << 32;

/// What a file's number stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// An inode.
    Inode(u32),
    /// The device, with the records.
    Device,
    /// A file that is not of this file system.
    Other,
}

impl Number {
    /// What a number stands for.
    pub const fn of(file: u64) -> Self {
        match file & !(u32::MAX as u64) {
            INODE => Self::Inode(file as u32),
            DEVICE => Self::Device,
            _ => Self::Other,
        }
    }

    /// The number.
    pub const fn as_u64(self) -> u64 {
        match self {
            Self::Inode(number) => INODE | number as u64,
            Self::Device => DEVICE,
            Self::Other => 0,
        }
    }
}
