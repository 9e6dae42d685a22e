//! What is AArch64's: translation tables, console, the end of a run.
//!
//! Mechanism only; each module says what is portable in it and tested on a host.

pub mod lock;
pub mod mmu;

#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod exit;
