//! Swap: entries, the table of slots, devices, and requests to them.
//!
//! Data: a device's slots live in one fixed table of 64-bit words, handed over with the
//! device. A word holds the use count (page-table entries that name the slot), the memory
//! control group, and either the frame of the page in the swap cache or the shadow that an
//! eviction left. The swap cache thus needs no tree and no allocation.
//!
//! Locks: a slot's word changes by compare-and-swap; the lock of a device guards the
//! search for free slots. It nests inside everything but the zone's.

pub mod entry;
pub mod header;
pub mod io;
pub mod map;

pub use entry::SwapEntry;
pub use header::HeaderError;
pub use map::{Slot, SwapDevice};
