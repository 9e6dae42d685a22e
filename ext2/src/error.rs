//! Why a call failed.

use core::fmt;

use crate::disk::IoError;
use crate::layout::features::Unknown;

/// Why a call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// A block could not be read or written (`EIO`).
    Io,
    /// The file system is damaged (`EUCLEAN`).
    Corrupt {
        /// What is not as it must be.
        what: &'static str,
        /// The number of the block or inode where that was found.
        at: u32,
    },
    /// There is no free block or inode (`ENOSPC`).
    NoSpace,
    /// There is no such name (`ENOENT`).
    NotFound,
    /// The name is taken (`EEXIST`).
    Exists,
    /// It is not a directory (`ENOTDIR`).
    NotDirectory,
    /// It is a directory (`EISDIR`).
    IsDirectory,
    /// The directory has names (`ENOTEMPTY`).
    NotEmpty,
    /// The name, or the target of a link, is too long (`ENAMETOOLONG`).
    NameTooLong,
    /// The inode has as many names as it can have (`EMLINK`).
    TooManyLinks,
    /// The file would be too large (`EFBIG`).
    TooLarge,
    /// The file system may only be read (`EROFS`).
    ReadOnly,
    /// The inode must not be changed (`EPERM`).
    NotPermitted,
    /// What was asked for makes no sense (`EINVAL`).
    Invalid,
}

impl From<IoError> for Error {
    fn from(_: IoError) -> Self {
        Self::Io
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io => "a block could not be read or written",
            Self::Corrupt { what, at } => return write!(f, "damaged: {what} ({at})"),
            Self::NoSpace => "there is no free block or inode",
            Self::NotFound => "there is no such name",
            Self::Exists => "the name is taken",
            Self::NotDirectory => "it is not a directory",
            Self::IsDirectory => "it is a directory",
            Self::NotEmpty => "the directory is not empty",
            Self::NameTooLong => "the name is too long",
            Self::TooManyLinks => "it has as many names as it can have",
            Self::TooLarge => "the file would be too large",
            Self::ReadOnly => "the file system may only be read",
            Self::NotPermitted => "it must not be changed",
            Self::Invalid => "that makes no sense",
        })
    }
}

impl core::error::Error for Error {}

/// Why a file system cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MountError {
    /// Its superblock could not be read.
    Io,
    /// There is none: the magic number is another.
    NoMagic(u16),
    /// It has features that are not known here.
    Features(Unknown),
    /// A number in the superblock cannot be right, or is not supported.
    Field {
        /// The field, by its name in the format.
        name: &'static str,
        /// Its value.
        value: u32,
    },
    /// A group descriptor cannot be right.
    Group {
        /// The group.
        group: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The root is not a directory.
    NoRoot,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io => f.write_str("the superblock could not be read"),
            Self::NoMagic(magic) => write!(f, "no ext2: the magic number is {magic:#06x}"),
            Self::Features(unknown) => write!(f, "it has features that are not known: {unknown}"),
            Self::Field { name, value } => write!(f, "{name} is {value}, which cannot be used"),
            Self::Group { group, what } => write!(f, "group {group}: {what}"),
            Self::NoRoot => f.write_str("inode 2, the root, is not a directory"),
        }
    }
}

impl core::error::Error for MountError {}
