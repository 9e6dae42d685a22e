//! User page tables: three levels for 39 bits of address, 4 KiB pages.
//!
//! | file | what |
//! | --- | --- |
//! | [`pte`] | the bits of an entry; pure, tested on the host |
//! | [`asid`] | the numbers by which the TLB distinguishes address spaces; pure |
//! | `tables` | the tables: [`mm_reclaim::env::PageTables`] |
//! | `tlb` | invalidation, and which tables the CPU walks |
//!
//! **Data.** Table frames, reached through the linear map. **Owner.** The address space
//! whose root leads to them. **Lock.** The crate's page-table lock of that space; hardware may
//! still set the flags of an entry, so entries change by compare-and-swap.
//!
//! **Accessed and dirty.** If the CPU can maintain the flags (ID_AA64MMFR1_EL1.HAFDBS), it does.
//! Otherwise (Cortex-A72) an entry with a clear access flag faults, and a clean writable page is
//! mapped read-only with its right to be written kept in a bit of its own; the fault sets the flag.
//! The entries are the same in both cases.

pub mod asid;
pub mod pte;

#[cfg(target_os = "none")]
mod tables;
#[cfg(target_os = "none")]
mod tlb;

#[cfg(target_os = "none")]
pub use tables::Tables;
#[cfg(target_os = "none")]
pub use tlb::{empty_tables, flush, flush_space, init, init_cpu, use_tables};

/// User addresses end here.
pub const USER_END: u64 = 1 << 39;
