//! Block devices as the crate sees them: requests, completions, and waiting for writes.

pub(crate) mod bio;
pub(crate) mod writeback;

pub use bio::{Bio, Completion, DeviceId, Direction, IoError, PageIo};
