//! Linux's page reclaim as a `no_std` crate: zones, a buddy allocator, LRU lists, reverse
//! mapping, swap, kswapd and direct reclaim, for kernels that supply the rest.
//!
//! A kernel implements [`env::Env`] (frames, page tables, tasks, block devices, a clock),
//! makes a [`Plan`] from its memory map, and builds an [`Mm`]. From then on it calls
//! [`Mm::handle_fault`] when a program faults, runs [`Mm::kswapd`] in a task, and hands
//! device completions to [`Mm::complete`]. Tests do the same on a host, with as many
//! machines side by side as they like: there is no global state.
//!
//! `examples/host.rs` is such a user, whole and in one file, in about three hundred lines.
//!
//! # Layers
//!
//! Each module imports only modules of rows above its own (the test in `tests/tidy` reads
//! this table):
//!
//! <!-- layers -->
//!
//! | layer | modules |
//! | --- | --- |
//! | base | `base::units`, `base::gfp`, `base::lock_order`, `swap::entry`, `block::bio` |
//! | environment | `env` |
//! | locks and counters | `base::sync`, `base::storage`, `base::stat`, `base::wait`, `base::tlb`, `base` |
//! | block | `block` |
//! | page | `page` |
//! | boot | `boot` |
//! | zone | `zone` |
//! | lru | `lru` |
//! | cache | `cache` |
//! | file | `file` |
//! | swap | `swap` |
//! | space | `space` |
//! | rmap | `rmap` |
//! | reclaim | `reclaim` |
//! | oom | `oom` |
//! | alloc | `alloc` |
//! | files | `filemap` |
//! | fault | `fault` |
//! | mmap | `mmap` |
//! | validate | `validate` |
//! | mm | `mm`, `messages` |
//!
//! <!-- /layers -->

#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

mod alloc;
mod base;
pub mod block;
mod boot;
pub mod cache;
pub mod env;
pub mod fault;
pub mod file;
mod filemap;
pub mod lru;
mod messages;
mod mm;
pub mod mmap;
pub mod oom;
pub mod page;
pub mod reclaim;
pub mod rmap;
pub mod space;
pub mod swap;
#[cfg(test)]
mod tests;
pub mod validate;
pub mod zone;

pub use base::errseq::Seen;
#[cfg(shuttle)]
pub use base::sync::{pass, pass_acts, pass_points};
pub use base::wait::{SleepGuard, SleepLock};
pub use base::{lock_order, stat, units};
pub use boot::{memblock, plan};
pub use fault::SwapOffError;
pub use filemap::{DirtyState, FileError, PageSink, PageSource, Pattern, ReadAhead, SyncMode};
pub use lru::workingset;
pub use mm::Mm;
pub use mmap::Place;
pub use page::memmap;
pub use plan::{Config, Plan, PlanError};
pub use swap::SwapOnError;
pub use validate::{Census, Violation};
pub use zone::gfp;
