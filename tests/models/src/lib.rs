//! The crate's concurrency protocols on a small whole machine, under shuttle.
//!
//! The real `Mm` runs over an environment of a few frames: user tasks, kswapd and a disk
//! are tasks of shuttle's, which may switch at every atomic operation, every lock and every unlock.
//! A schedule is a number, and the same number is the same schedule. Each model in
//! `tests` is one protocol of `docs/concurrency.md`; for each there is a patch in
//! `tests/races` that breaks it, and `scripts/races` shows that the model notices.
//!
//! What the simulator covers is left out here: TLBs, time, latency, failing writes.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`explore`] | schedules by number, and how many |
//! | [`machine`] | the machine that runs |
//! | [`program`] | what user programs do on it |
//! | [`files`] | files: a store on the disk, and what programs do with them |
//! | [`world`] | frames, tables and tasks, as an [`mm_reclaim::env::Env`] |
//! | [`disk`] | the device of swap and files, and what it refuses |
//! | `killer` | which task may be killed when memory runs out, and what the reaper meets |
//! | [`task`] | the state of a task: its CPU, its locks |
//!
//! The crate is empty unless it is built with `--cfg shuttle`; `scripts/test` does so.
#![deny(unsafe_code)]
#![cfg(shuttle)]

pub mod disk;
pub mod explore;
pub mod files;
mod killer;
pub mod machine;
mod objects;
pub mod program;
pub mod task;
pub mod world;
