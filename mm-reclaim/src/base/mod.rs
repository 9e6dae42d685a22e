//! The common base: units, locks, waits, counters, and memory handed over at boot.

pub(crate) mod errseq;
pub(crate) mod gfp;
pub mod lock_order;
pub mod stat;
pub(crate) mod storage;
pub(crate) mod sync;
pub(crate) mod tlb;
pub mod units;
pub(crate) mod wait;
