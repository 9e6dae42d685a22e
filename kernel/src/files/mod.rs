//! Files as programs see them: names, open descriptions, and each task's descriptors.
//!
//! | file | what |
//! | --- | --- |
//! | `path` | the walk along a path |
//! | `checks` | what is checked of names before the file system is asked |
//! | `tree` | what is done with paths |
//! | `stat` | what is known of files |
//! | `names` | `/tmp` and `/dev/shm`, in memory alone, and `/disk`, on the RAM disk: flat, without directories |
//! | `open` | open descriptions, and the descriptors of tasks |
//!
//! **Data.** Fixed tables. A name has a reference to its file, and so has an open description; the file
//! goes with its last reference, or with its last mapping. **Owner.** The kernel; a task's descriptors
//! belong to the task, and to its parent before it runs. **Lock.** One around the names, one for each
//! description: leaves, held only to copy what is in the table. Calls of the memory management are made
//! without them, with a reference to the file. Who reads or writes at the position of a description that
//! several tasks share has that position to himself meanwhile, and the others sleep.

mod checks;
mod names;
mod open;
mod path;
mod services;
mod stat;
mod tree;

pub use names::{create_unnamed, open as open_flat, unlink as unlink_flat};
pub use open::{Open, Rights, check_room, close, hold_position, install, update, view};
pub use path::{Bytes, Start};
pub use services::ForTasks;
pub use stat::{Stat, note_written, space, stat, stat_file};
pub use tree::{
    How, Opened, Source, inode_of, link, list, make_dir, make_symlink, open, open_unnamed,
    read_link, rename, unlink,
};

use core::fmt;

use mm_reclaim::FileError;

use crate::glue;

pub use crate::glue::File;

/// Why a file could not be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// There is no file of that name.
    NotFound,
    /// There is one, and there must be none.
    Exists,
    /// The name is longer than the table's.
    NameTooLong,
    /// There are as many files, or open descriptions, as there can be.
    TooMany,
    /// The task has as many descriptors as it may have.
    TooManyFds,
    /// There are as many names as there can be.
    TooManyNames,
    /// There is no memory.
    NoMemory,
    /// There are too many symbolic links on the way, or one where none may be.
    Loop,
    /// The two names are not in one file system.
    OtherDevice,
    /// It is in use in a way that forbids this.
    Busy,
    /// It is a device, a pipe or a socket.
    NoDevice,
    /// That is not possible there.
    NotSupported,
    /// The caller was killed.
    Killed,
    /// The file system says so.
    Fs(ext2::Error),
}

impl From<ext2::Error> for OpenError {
    fn from(error: ext2::Error) -> Self {
        match error {
            ext2::Error::NotFound => Self::NotFound,
            ext2::Error::Exists => Self::Exists,
            other => Self::Fs(other),
        }
    }
}

impl From<FileError> for OpenError {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Killed => Self::Killed,
            _ => Self::TooMany,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no file of that name",
            Self::Exists => "the file is there already",
            Self::NameTooLong => "the name is too long",
            Self::TooMany => "there are as many files as there can be",
            Self::TooManyFds => "the task has as many files open as it may have",
            Self::TooManyNames => "there is no room for another name",
            Self::NoMemory => "there is no memory",
            Self::Loop => "there are too many symbolic links, or one where none may be",
            Self::OtherDevice => "the names are not in one file system",
            Self::Busy => "it is in use",
            Self::NoDevice => "it is a device, a pipe or a socket",
            Self::NotSupported => "that is not possible there",
            Self::Killed => "the caller was killed",
            Self::Fs(error) => return error.fmt(f),
        })
    }
}

impl core::error::Error for OpenError {}

/// Drops a reference to a file.
pub fn put(file: File) {
    glue::mm().put_file(file);
}
