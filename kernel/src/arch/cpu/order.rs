//! Records the spin locks that a CPU holds, in debug builds.
//!
//! **Data.** One [`HeldLocks`] in each CPU's data. **Owner.** The CPU. **Lock.** None: it
//! changes with preemption off or interrupts masked, and an interrupt handler releases the locks
//! that it took before it returns, so that the counts do not change.

use core::arch::asm;
use core::sync::atomic::Ordering::Relaxed;

use mm_reclaim::lock_order::HeldLocks;

use super::{PER_CPU, PerCpu};

/// The spin locks that a CPU holds.
pub(super) struct Held(HeldLocks);

// SAFETY: only its own CPU accesses it, by `here`, and a task stays on its CPU.
unsafe impl Sync for Held {}

impl Held {
    pub(super) const fn new() -> Self {
        Self(HeldLocks::new())
    }
}

/// This CPU's data; `None` before it has any.
fn here() -> Option<&'static PerCpu> {
    let cpu: *const PerCpu;
    // Not assumed to be constant, as elsewhere: a lock may be taken before `init` too.
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, tpidr_el1", out(reg) cpu, options(nostack, preserves_flags)) };
    PER_CPU.iter().find(|known| core::ptr::eq(*known, cpu))
}

/// A lock of this rank is about to be taken.
///
/// # Panics
/// If the order forbids it with the locks that are held.
pub fn lock_taken(rank: u8) {
    if let Some(cpu) = here() {
        cpu.held.0.taken(rank);
    }
}

/// A lock of this rank was released.
///
/// # Panics
/// If none was held.
pub fn lock_released(rank: u8) {
    if let Some(cpu) = here() {
        cpu.held.0.released(rank);
    }
}

/// The caller may sleep from here on.
///
/// # Panics
/// If a lock is held, preemption is off, or interrupts are masked: a task that must not be preempted
/// must not sleep.
pub(super) fn assert_may_sleep(what: &str) {
    if let Some(cpu) = here() {
        cpu.held.0.assert_none(what);
        assert!(cpu.preempt.load(Relaxed) == 0, "{what} while preemption is off");
        assert!(!super::irqs_masked(), "{what} while interrupts are masked");
    }
}
