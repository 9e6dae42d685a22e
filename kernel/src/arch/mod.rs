//! What is AArch64's: translation tables, console, the end of a run.
//!
//! Mechanism only; each module says what is portable in it and tested on a host.

pub mod baud;
pub mod lock;
pub mod mmu;
pub mod paging;
pub mod trap;

#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod context;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod exit;
#[cfg(target_os = "none")]
pub mod frames;
#[cfg(target_os = "none")]
pub mod gic;
#[cfg(target_os = "none")]
pub mod guess;
#[cfg(target_os = "none")]
pub mod psci;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod usercopy;
#[cfg(target_os = "none")]
pub mod watchdog;
