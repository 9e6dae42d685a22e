//! How the other CPUs start.
//!
//! **Data.** A record for each CPU that is to start: its affinity, its stack, the function that it
//! calls. **Owner.** The boot CPU writes a record before it starts that CPU, which reads it with
//! its caches on. **Lock.** None: the start of a CPU orders the two.

#![expect(unsafe_code, reason = "a table that the entry code reads, and one of its symbols")]

use core::sync::atomic::{AtomicU64, Ordering};

/// CPUs that can be started besides the boot CPU.
pub const MAX_SECONDARIES: usize = 7;

/// What the entry code reads, in this order.
#[repr(C)]
struct Record {
    affinity: AtomicU64,
    /// 0 for an empty record.
    stack_top: AtomicU64,
    entry: AtomicU64,
    argument: AtomicU64,
}

impl Record {
    const fn empty() -> Self {
        Self {
            affinity: AtomicU64::new(0),
            stack_top: AtomicU64::new(0),
            entry: AtomicU64::new(0),
            argument: AtomicU64::new(0),
        }
    }
}

// SAFETY: the entry code declares the same layout; no other item has that name.
#[unsafe(export_name = "_secondary_records")]
static RECORDS: [Record; MAX_SECONDARIES] = [const { Record::empty() }; MAX_SECONDARIES];

/// How a CPU starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Its `MPIDR_EL1`, affinity bits only.
    pub affinity: u64,
    /// The end of its stack, 16-byte aligned, never unmapped.
    pub stack_top: u64,
    /// The function that it calls, exceptions masked and the early vectors in place.
    pub entry: extern "C" fn(u64) -> !,
    /// The argument of that function.
    pub argument: u64,
}

/// Writes the record of the `nth` CPU to be started.
///
/// # Panics
/// If there is no room for it.
pub fn prepare(nth: usize, start: &Start) {
    let record = &RECORDS[nth];
    record.affinity.store(start.affinity, Ordering::Relaxed);
    record.entry.store(start.entry as usize as u64, Ordering::Relaxed);
    record.argument.store(start.argument, Ordering::Relaxed);
    record.stack_top.store(start.stack_top, Ordering::Release);
}

/// Where a CPU enters, as an offset into the image.
#[cfg(target_os = "none")]
pub fn entry_offset() -> u64 {
    unsafe extern "C" {
        static _secondary_start: u8;
    }
    (&raw const _secondary_start).addr() as u64 - crate::layout::KIMAGE_BASE
}
