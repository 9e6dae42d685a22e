//! A whole machine for `mm-reclaim`, on a host.
//!
//! The environment that the crate asks for, with the consequences that real hardware has: a
//! forgotten TLB flush lets a program reach a frame that is no longer its own, a page that
//! is changed under write-back reaches the disk changed, a lock held across a wait stops
//! the machine. Everything that is left to chance comes from one seed, and one task runs at
//! a time: the same seed gives the same run, to the last access.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`arena`], `frames` | the frames, and whether freed ones are left alone |
//! | [`mmu`], [`tables`] | TLBs, translation tables in frames, what a CPU does with an address |
//! | [`sched`] | tasks, the baton, virtual time, deadlocks; all threads of a machine on one core |
//! | [`disk`] | swap devices: latency, bandwidth, failures, congestion |
//! | [`files`] | a store of files on such a device, and what a program does with a file |
//! | [`faults`] | what may fail, what is promised then, and what makes it fail |
//! | [`world`] | these together, as an [`mm_reclaim::env::Env`] |
//! | [`machine`], [`program`] | the crate running on it, and user programs that know their bytes |
#![deny(unsafe_code)]

pub mod arena;
mod blocks;
mod cores;
mod current;
pub mod disk;
pub mod faults;
pub mod files;
mod frames;
pub mod machine;
pub mod mmu;
pub mod program;
pub mod rng;
pub mod sched;
pub mod tables;
mod tasks;
pub mod world;

pub use current::SimCpu;
pub use disk::{DiskConfig, DiskStat, Pace};
pub use faults::When;
pub use files::{Files, OpenFile};
pub use machine::{Config, FIRST_DISK, Machine};
pub use program::{Death, Program};
pub use sched::{Sched, TaskSpec};
pub use world::{Hardware, World};
