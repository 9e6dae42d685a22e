//! A small AArch64 kernel around `mm-reclaim`.
//!
//! `main.rs` tells the boot as a story; this library holds its parts, so that the image of
//! the test suite links the same ones. What is not an instruction or a register also
//! compiles on a host and is tested there.
//!
//! # Layers
//!
//! Each module imports only modules of rows above its own (the test in `tests/tidy` reads
//! this table):
//!
//! <!-- layers -->
//!
//! | layer | modules | what it knows |
//! | --- | --- | --- |
//! | words | `bootargs` | the command line |
//! | architecture | `arch` | the processor: tables, locks, exceptions, the switch between tasks |
//! | devices | `print`, `println`, `try_print`, `drivers` | what a machine has beside it, and its firmware |
//! | last words | `panic` | how a kernel ends that cannot go on |
//! | tasks | `task` | who runs, who waits, who is whose child |
//! | swap device | `ramdisk` | where pages go |
//! | memory | `glue` | the memory management, and what it and the tasks ask of each other |
//! | machine | `early`, `smp` | this machine's memory and CPUs |
//! | programs | `exec` | how a program begins |
//! | people | `monitor` | what a person sees |
//! | calls | `syscall` | what a program may ask for |
//! | traps | `traps` | what an exception means |
//! | boot | `start`, `main` | the order of everything |
//!
//! <!-- /layers -->
//!
//! Four times a layer has to call one that stands above it. Each time it says itself what it
//! calls:
//!
//! | who | calls | which is |
//! | --- | --- | --- |
//! | the vectors | what an exception means | symbols of [`traps`], listed in `arch/trap/vectors.rs` |
//! | the context switch, preemption | the scheduler | the symbols `finish_switch` and `reschedule` of [`task`] |
//! | tasks | memory for stacks and address spaces, and the disk before a sleep | [`task::Services`], which [`glue`] implements and [`start`] hands over |
//! | the RAM disk's task | whoever gets what is complete | a function that [`start`] passes |
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
