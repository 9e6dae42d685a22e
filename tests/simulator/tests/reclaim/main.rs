//! The reclaim core on whole machines: what each row of the specification promises, seen on
//! pages that got into their state as pages do.
//!
//! Every test proves the machine's invariants after each phase ([`bench::prove`]).

mod alloc_faults;
mod bench;
mod campaign;
mod campaigns;
mod choices;
mod crew;
mod faults;
mod file_balance;
mod file_blocks;
mod file_cache;
mod file_edges;
mod file_ladder;
mod file_maps;
mod file_rmap;
mod file_sync;
mod file_trouble;
mod io_faults;
mod kswapd;
mod ladder;
mod ladder_io;
mod lazy_free;
mod life;
mod long_lives;
mod lru;
mod mlock;
mod oom;
mod patience;
mod pressure;
mod private_data;
mod quiet;
mod relatives;
mod rmap;
mod scenarios;
mod shortage;
mod swap;
mod swapoff;
mod threads;
mod validate;
mod verdicts;
mod verdicts_of_files;
mod zero_page;
