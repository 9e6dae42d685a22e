//! The first moment of an exception from user mode.
//!
//! **Data.** ELR_EL1 and SPSR_EL1, which no other exception overwrites while interrupts are masked
//! and the kernel itself does not fault. **Owner.** The exception handler, until it releases the
//! arrival; then the trap frame has them.

use core::arch::asm;
use core::cell::Cell;
use core::sync::atomic::Ordering::Relaxed;

use mm_reclaim::env::Pinned;

use super::TrapFrame;
use crate::arch::cpu;

/// Interrupts are masked, as the exception left them, and where to return to is in the registers.
#[must_use = "the vectors must know whether it was released"]
pub struct Arrival<'a> {
    frame: &'a mut TrapFrame,
    released: &'a Cell<bool>,
}

/// What keeps the vectors from returning to user mode as they came, and 0 for nothing. Bit 0: the
/// arrival was released, and the frame says where to return to. The other bits: there is work.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotYet(u32);

impl<'a> Arrival<'a> {
    /// For the function that the vectors call; `released` is not set yet.
    #[inline(always)]
    pub fn new(frame: &'a mut TrapFrame, released: &'a Cell<bool>) -> Self {
        debug_assert!(cpu::irqs_masked());
        Self { frame, released }
    }
}

impl NotYet {
    /// For the end of that function.
    #[inline(always)]
    pub fn after(released: &Cell<bool>) -> Self {
        if released.get() { Self(1) } else { Self(cpu::this().work.load(Relaxed) << 1) }
    }
}

impl Pinned for Arrival<'_> {
    #[inline(always)]
    fn release(self) {
        // SAFETY: it only reads registers. Not `nomem`: it stays before the interrupts.
        unsafe {
            asm!("mrs {}, elr_el1", "mrs {}, spsr_el1", out(reg) self.frame.elr,
                 out(reg) self.frame.spsr, options(nostack, preserves_flags));
        }
        self.released.set(true);
        cpu::irqs_on();
    }
}
