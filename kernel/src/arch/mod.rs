//! Everything specific to AArch64: the processor, translation tables, exceptions, task switching.
//!
//! Mechanism only; each module says which part is portable and tested on a host.

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
pub mod growing;
#[cfg(target_os = "none")]
pub mod usercopy;
