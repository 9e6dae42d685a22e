//! Where the pages of files are: the part of the RAM disk behind swap.
//!
//! The plainest store that works: it forgets everything at the end of a run, and has no directories.
//! A real file system will take its place.
//!
//! | file | what |
//! | --- | --- |
//! | [`blocks`] | which blocks are in use: pure, tested on the host |
//! | [`place`] | which block a page of a file is in, by extents: pure, tested on the host |
//! | `store` | the files, and their transfers |
//!
//! **Data.** A bit for each block; for each file a frame full of extents. **Owner.** The store; the
//! frame of a place in its table stays with it for the next file. **Lock.** One around all of it, a
//! leaf, held for the search among a file's extents at most.
//!
//! A page gets its block when it is reserved, which is before it is dirty, so that a full disk is found
//! by `write`. One that has none, or was never written, reads as zeroes.

pub mod blocks;
pub mod place;

#[cfg(target_os = "none")]
mod store;

#[cfg(target_os = "none")]
pub use store::{NoRoom, create, discard, evict, free_blocks, has_block, init, reserve, start};
