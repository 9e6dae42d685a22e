//! Exceptions: entry to the kernel and return.
//!
//! | file | what |
//! | --- | --- |
//! | [`decode`] | the meaning of ESR_EL1; pure, tested on the host |
//! | `vectors` | the vector table, saving and restoring, in assembly |
//!
//! The functions that the vectors call, in a layer above, handle the exceptions: see
//! [`crate::traps`].
//!
//! **Data.** A [`TrapFrame`] on the kernel stack of the interrupted task; no other task accesses
//! it. **Lock.** None.
//!
//! **Arrival.** A data abort of user mode begins with interrupts masked, and ELR_EL1 and SPSR_EL1
//! unsaved: an [`Arrival`]. Most faults are resolved and return so. One that must wait releases it
//! first, which saves both registers and unmasks.
//!
//! **What is saved.** The compiler keeps `x19` to `x28` across calls and the context switch
//! keeps them across tasks, so that a fault from user mode neither saves nor restores them;
//! a system call stores them (fork hands them to the child) and does not load them. `SP_EL0`
//! and floating point stay in their registers until another user task runs.
//!
//! **Return to user mode.** With interrupts masked, [`crate::arch::cpu::PerCpu::work`] is checked
//! for the last time: work that is set before that is acted upon, and work that is set later comes
//! with an interrupt, which is pending until user mode has been entered.

pub mod decode;

#[cfg(target_os = "none")]
mod arrival;
#[cfg(target_os = "none")]
mod vectors;

#[cfg(target_os = "none")]
pub use arrival::{Arrival, NotYet};
#[cfg(target_os = "none")]
pub use vectors::{enter_user, install};

/// The registers of the interrupted code, as the vectors lay them out on the stack.
///
/// From user mode, `x19` to `x28` are filled in by system calls only; `sp` is filled in by
/// exceptions of the kernel only.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrapFrame {
    /// `x0` to `x30`.
    pub x: [u64; 31],
    /// The stack pointer of the interrupted kernel code.
    pub sp: u64,
    /// Where the interrupted code resumes.
    pub elr: u64,
    /// The interrupted code's processor state.
    pub spsr: u64,
}

impl TrapFrame {
    /// The frame of a program that starts at `entry` in user mode, interrupts unmasked.
    pub const fn user(entry: u64) -> Self {
        Self { x: [0; 31], sp: 0, elr: entry, spsr: 0 }
    }
}
