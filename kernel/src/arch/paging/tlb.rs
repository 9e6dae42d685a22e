//! TLB invalidation, and the tables that the CPU walks for user addresses.
//!
//! **Data.** TTBR0_EL1 of each CPU; the pool of ASIDs. **Lock.** The pool's, a leaf.
//! **Order of events.** A table entry is changed by a store; `DSB ISHST` makes it visible to
//! every table walk; `TLBI` removes what was cached; `DSB ISH` waits until every CPU has done
//! so. The barriers are outside the loop: one pair per batch.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use mm_reclaim::env::{Asid, TlbEntry};
use mm_reclaim::units::PhysAddr;

use super::asid::AsidPool;
use crate::arch::lock::IrqLock;

/// From this many entries on, each space in a batch is invalidated as a whole: more single
/// invalidations cost more than the misses that they save.
const WHOLE_SPACE: usize = 512;

static POOL: IrqLock<AsidPool> = IrqLock::new(AsidPool::new());

/// Whether the CPUs keep the young flag, all of them alike.
static SETS_YOUNG: AtomicBool = AtomicBool::new(false);
/// TTBR0 for tasks without an address space: a table of 512 empty entries.
static EMPTY: AtomicU64 = AtomicU64::new(0);

/// Sets up translation of user addresses, on the boot CPU. `empty` is the physical address
/// of a zeroed page that stays so.
pub fn init(empty: PhysAddr) {
    EMPTY.store(empty.0, Relaxed);
    let sixteen = init_cpu();
    POOL.lock().set_bits(sixteen);
}

/// Sets up translation of user addresses on this CPU: 39 bits, write-back walks, as many
/// ASID bits as there are, hardware flags if available. Returns whether ASIDs have 16 bits; the
/// CPUs of a machine agree on that.
pub fn init_cpu() -> bool {
    use_tables(empty_tables());
    let (features0, features1, mut control): (u64, u64, u64);
    // SAFETY: it only reads registers.
    unsafe {
        asm!("mrs {}, id_aa64mmfr0_el1", "mrs {}, id_aa64mmfr1_el1", "mrs {}, tcr_el1",
             out(reg) features0, out(reg) features1, out(reg) control, options(nomem, nostack));
    }
    let sixteen = (features0 >> 4) & 0xf == 2;
    // T0SZ, EPD0, IRGN0, ORGN0, SH0, TG0 are bits 15:0; A1 bit 22, AS 36, HA 39, HD 40.
    control &= !(0xffff | 1 << 22 | 1 << 36 | 1 << 39 | 1 << 40);
    control |= (64 - 39) | 1 << 8 | 1 << 10 | 3 << 12;
    control |= u64::from(sixteen) << 36;
    let flags = features1 & 0xf;
    SETS_YOUNG.store(flags >= 1, Relaxed);
    control |= u64::from(flags >= 1) << 39 | u64::from(flags >= 2) << 40;
    // SAFETY: it concerns user addresses, which nothing uses yet, and flags that the
    // kernel's own entries have set.
    unsafe {
        asm!("msr tcr_el1, {}", "isb", "tlbi vmalle1", "dsb nsh", "isb", in(reg) control,
             options(nostack));
    }
    sixteen
}

/// Whether an access sets the young flag without a fault.
#[inline]
pub fn sets_young() -> bool {
    SETS_YOUNG.load(Relaxed)
}

/// The value of TTBR0 for a task without user memory.
#[inline]
pub fn empty_tables() -> u64 {
    EMPTY.load(Relaxed)
}

/// Makes this CPU walk the tables that `ttbr0` names: a root and its ASID.
#[inline(always)]
pub fn use_tables(ttbr0: u64) {
    // SAFETY: the value comes from living tables or is that of the empty ones, and the
    // kernel's own addresses are translated by TTBR1.
    unsafe { asm!("msr ttbr0_el1, {}", "isb", in(reg) ttbr0, options(nostack, preserves_flags)) };
}

/// An ASID for a new address space. A rollover flushes the TLB of every CPU.
///
/// # Panics
/// If every ASID belongs to a living space; with 16-bit ASIDs the task table is too small for that.
pub(super) fn take_asid() -> Asid {
    let grant = POOL.lock().take().expect("more address spaces than numbers for them");
    if grant.rollover {
        // SAFETY: it only invalidates cached translations.
        unsafe { asm!("dsb ishst", "tlbi vmalle1is", "dsb ish", "isb", options(nostack)) };
    }
    Asid(grant.asid)
}

pub(super) fn give_asid(asid: Asid) {
    POOL.lock().give_back(asid.0);
}

/// Invalidates one translation on every CPU.
#[inline(always)]
pub(super) fn flush_page(stale: TlbEntry) {
    table_barrier();
    invalidate_page(stale);
    completion_barrier();
}

/// Invalidates a batch of translations on every CPU.
pub fn flush(stale: &[TlbEntry]) {
    if stale.is_empty() {
        return;
    }
    table_barrier();
    if stale.len() < WHOLE_SPACE {
        for entry in stale {
            invalidate_page(*entry);
        }
    } else {
        for run in stale.chunk_by(|a, b| a.asid == b.asid) {
            invalidate_space(run[0].asid);
        }
    }
    completion_barrier();
}

/// Invalidates every translation of one address space on every CPU.
pub fn flush_space(asid: Asid) {
    table_barrier();
    invalidate_space(asid);
    completion_barrier();
}

/// Makes every table entry stored so far visible to every walk.
#[inline(always)]
pub(super) fn table_barrier() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
}

#[inline(always)]
fn completion_barrier() {
    // SAFETY: a barrier.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) };
}

#[inline(always)]
fn invalidate_page(entry: TlbEntry) {
    let operand = u64::from(entry.asid.0) << 48 | u64::from(entry.vpn.0);
    // SAFETY: it only invalidates a cached translation.
    unsafe { asm!("tlbi vae1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
}

fn invalidate_space(asid: Asid) {
    let operand = u64::from(asid.0) << 48;
    // SAFETY: it only invalidates cached translations.
    unsafe { asm!("tlbi aside1is, {}", in(reg) operand, options(nostack, preserves_flags)) };
}
