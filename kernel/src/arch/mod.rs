//! What is AArch64's: the processor, translation tables, exceptions, the switch between tasks.
//!
//! Mechanism only; each module says what is portable in it and tested on a host.

pub mod lock;
pub mod mmu;
pub mod paging;
pub mod trap;

#[cfg(target_os = "none")]
pub mod context;
#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
pub mod frames;
#[cfg(target_os = "none")]
pub mod usercopy;
