//! Linux's page reclaim as a `no_std` crate: zones, a buddy allocator, LRU lists, reverse
//! mapping, swap, kswapd and direct reclaim, for kernels that supply the rest.
//!
//! A kernel implements [`env::Env`] (frames, page tables, tasks, block devices, a clock),
//! makes a [`Plan`] from its memory map, and builds an [`Mm`]. From then on it calls
//! [`Mm::handle_fault`] when a program faults, runs [`Mm::kswapd`] in a task, and hands
//! device completions to [`Mm::complete`]. Tests do the same on a host, with as many
//! machines side by side as they like: there is no global state.
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
//! | units | `units`, `lock_order` |
//! | requests | `swap::entry`, `swap::io` |
//! | environment | `env` |
//! | sync | `sync` |
//! | pages | `page`, `workingset` |
//! | structures | `memmap`, `list`, `storage`, `pool`, `wait`, `stat`, `tlb`, `memblock` |
//! | zones | `zone`, `gfp` |
//! | lists | `lru`, `swap`, `aspace`, `turnover` |
//! | owner | `reclaim::verdict`, `plan`, `mm` |
//! | mappings | `zero_page`, `space_ops`, `anon_vma`, `rmap`, `swap_cache`, `swap_move` |
//! | reclaim | `reclaim` |
//! | drivers | `kswapd`, `direct`, `oom` |
//! | allocation | `alloc` |
//! | address spaces | `zap`, `fault`, `fault_swap`, `mlock`, `map_ops`, `fork`, `advice`, `oom_reaper`, `swapoff` |
//! | proof | `validate` |
//!
//! <!-- /layers -->

#![cfg_attr(not(any(test, feature = "std")), no_std)]
#![deny(unsafe_code)]

#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod advice;
pub mod alloc;
mod anon_vma;
pub mod aspace;
pub mod direct;
pub mod env;
pub mod fault;
mod fault_swap;
mod fork;
pub mod gfp;
mod kswapd;
mod list;
pub mod lock_order;
pub mod lru;
pub mod map_ops;
pub mod memblock;
pub mod memmap;
mod mlock;
mod mm;
pub mod oom;
mod oom_reaper;
pub mod page;
pub mod plan;
mod pool;
pub mod reclaim;
pub mod rmap;
mod space_ops;
pub mod stat;
mod storage;
pub mod swap;
mod swap_cache;
mod swap_move;
mod swapoff;
mod sync;
#[cfg(test)]
mod tests;
mod tlb;
mod turnover;
pub mod units;
pub mod validate;
mod wait;
pub mod workingset;
mod zap;
mod zero_page;
pub mod zone;

pub use map_ops::Place;
pub use mm::Mm;
pub use plan::{Config, Plan, PlanError};
pub use swap_cache::SwapOnError;
pub use swapoff::SwapOffError;
#[cfg(shuttle)]
pub use sync::{pass, pass_acts, pass_points};
pub use validate::{Census, Violation};
