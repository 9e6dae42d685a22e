//! The reclaim core on whole machines: what each row of the specification promises, seen on
//! pages that got into their state as pages do.
//!
//! Every test proves the machine's invariants after each phase ([`bench::prove`]).

mod bench;
mod campaign;
mod faults;
mod kswapd;
mod ladder;
mod ladder_io;
mod lru;
mod oom;
mod rmap;
mod swap;
mod validate;
mod verdicts;
