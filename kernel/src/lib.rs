//! A small AArch64 kernel around `mm-reclaim`.
//!
//! `main.rs` tells the boot as a story; this library holds its parts, so that the image of
//! the test suite links the same ones. What is not an instruction or a register also
//! compiles on a host and is tested there.
#![cfg_attr(not(test), no_std)]

pub mod arch;
pub mod bootargs;
pub mod drivers;
pub mod early;
pub mod exec;
#[cfg(target_os = "none")]
pub mod glue;
pub mod monitor;
pub mod panic;
pub mod ramdisk;
pub mod syscall;
pub mod task;

#[cfg(target_os = "none")]
pub mod smp;
#[cfg(target_os = "none")]
pub mod start;
#[cfg(target_os = "none")]
pub mod traps;
