//! File systems that `mke2fs` makes are read and changed by the crate, and `e2fsck` and `debugfs` look at
//! what it leaves.
//!
//! Needs e2fsprogs. `TEST_LONG=1` runs many more seeds; `EXT2_SEED=n` replays one.

mod choices;
mod damage;
mod features;
mod power;
mod round_trip;
mod special;
mod support;
mod trouble;
