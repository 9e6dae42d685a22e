//! The ext2 file system, revision 1, for a kernel with a page cache.
//!
//! The crate knows the format and nothing else: it does no I/O, holds no block, and allocates nothing.
//! Blocks of metadata are lent to it by a [`Disk`], which is the caller's cache of the block device; the
//! contents of files it never sees, but says in which blocks they are ([`Ext2::map`]), and gives them
//! blocks ([`Ext2::reserve`]).
//!
//! | module | what |
//! | --- | --- |
//! | [`layout`] | the structures on the disk, and the features: pure |
//! | `mount` | whether a file system can be used, and how; its clean end |
//! | `bitmap` | which blocks and inodes are in use |
//! | `map` | in which blocks the contents of a file are |
//! | `extend` | a file gets several blocks at once |
//! | `cut` | a file loses blocks |
//! | `inode` | inodes are read, written, made and freed |
//! | `dir` | the names in a directory |
//! | `names` | what is done with names: make, link, unlink, rename |
//!
//! **Data.** The geometry, read once. Everything else is read from the disk's blocks each time, so that
//! nothing has to be kept in step with them; the exceptions are in [`Writer`]. **Owner.** The caller,
//! who mounted it. **Locks.** None here: what changes the file system takes a `&mut` [`Writer`], of
//! which there is one, and what reads names must not run beside it. [`Ext2::map`] may, for blocks of a
//! file that nobody takes away meanwhile.
//!
//! **Damage.** Each number that comes from the disk is checked where it is used. What cannot be right
//! is [`Error::Corrupt`], which says what and where; no input makes a call panic, or loop without end.
//!
//! **Order.** A block is marked as used before anything points to it, and free after nothing does. A new
//! block of pointers or names is stable ([`Disk::settle`]) before anything points to it, so that a cut
//! of power never shows what was in it before. Nothing else is ordered: `e2fsck` repairs the rest.
//!
//! Source of the format: "The Second Extended File System" (D. Poirier), and what `mke2fs` and `e2fsck`
//! make and accept.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod bitmap;
mod cut;
mod dir;
mod disk;
mod error;
mod extend;
mod inode;
pub mod layout;
mod map;
mod mount;
mod names;

pub use dir::Name;
pub use disk::{Disk, IoError};
pub use error::{Error, MountError};
pub use inode::{InodeAt, New};
pub use map::{Fresh, Mapped};
pub use mount::{Ext2, Mode, Space, Writer};
pub use names::{Exchange, Gone};

/// The inode of the root directory.
pub const ROOT: u32 = 2;
