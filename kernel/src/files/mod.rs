//! Files as programs see them: names, open descriptions, and each task's descriptors.
//!
//! | file | what |
//! | --- | --- |
//! | `names` | `/tmp` and `/dev/shm`, in memory alone, and `/disk`, on the RAM disk: flat, without directories |
//! | `open` | open descriptions, and the descriptors of tasks |
//!
//! **Data.** Fixed tables. A name has a reference to its file, and so has an open description; the file
//! goes with its last reference, or with its last mapping. **Owner.** The kernel; a task's descriptors
//! belong to the task, and to its parent before it runs. **Lock.** One around the names, one for each
//! description: leaves, held only to copy what is in the table. Calls of the memory management are made
//! without them, with a reference to the file. Who reads or writes at the position of a description that
//! several tasks share has that position to himself meanwhile, and the others sleep.

mod names;
mod open;
mod services;

pub use names::{create_unnamed, open as open_name, unlink};
pub use open::{Open, Rights, check_room, close, hold_position, install, update, view};
pub use services::ForTasks;

use core::fmt;

use mm_reclaim::file::FileRef;

use crate::glue::{self, ThisCpu};

/// A reference to a file.
pub type File = FileRef<'static, ThisCpu>;

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
        })
    }
}

impl core::error::Error for OpenError {}

/// Drops a reference to a file.
pub fn put(file: File) {
    glue::mm().put_file(file);
}
