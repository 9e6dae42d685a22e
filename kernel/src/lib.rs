//! A small AArch64 kernel around `mm-reclaim`.
//!
//! `main.rs` has the sequence of the boot; this library holds its parts, so that the image of the
//! test suite links the same ones. What is not an instruction or a register also compiles on a host
//! and is tested there.
//!
//! # Layers
//!
//! Each module imports only modules of rows above its own (the test in `tests/tidy` reads
//! this table):
//!
//! <!-- layers -->
//!
//! | layer | modules | contents |
//! | --- | --- | --- |
//! | words | `bootargs` | the command line |
//! | architecture | `arch` | the processor: tables, locks, exceptions, the switch between tasks |
//! | devices | `print`, `println`, `try_print`, `drivers` | the machine's devices and firmware |
//! | last words | `panic` | the end of a kernel that cannot continue |
//! | tasks | `task` | scheduling, waiting, parents and children |
//! | disk | `ramdisk`, `disk`, `filedisk` | where pages are swapped to, and where those of files are |
//! | memory | `glue`, `swap` | the memory management, its interface with the tasks, swap on disks |
//! | machine | `early`, `smp` | this machine's memory and CPUs |
//! | file system | `mount` | ext2 on a disk |
//! | files | `files` | names, open descriptions, and each task's descriptors |
//! | programs | `exec` | loading and starting programs |
//! | people | `monitor` | output for a person |
//! | calls | `syscall` | the system calls |
//! | traps | `traps` | handling of exceptions |
//! | boot | `start`, `main` | the sequence of the boot |
//!
//! <!-- /layers -->
//!
//! Five times a layer has to call one that is above it. Each time it declares what it calls:
//!
//! | caller | calls | which is |
//! | --- | --- | --- |
//! | the vectors | the exception handlers | symbols of [`traps`], listed in `arch/trap/vectors.rs` |
//! | the context switch, preemption | the scheduler | the symbols `finish_switch` and `reschedule` of [`task`] |
//! | tasks | memory for stacks and address spaces, and the disk before a sleep | [`task::Services`], which [`glue`] implements and [`start`] hands over |
//! | the tasks of the disks | the receiver of completions | functions that [`start`] passes |
//! | virtio disks | memory for their rings and tables, when they are found | a function that [`start`] passes |
#![cfg_attr(not(test), no_std)]

pub mod arch;
pub mod bootargs;
pub mod disk;
pub mod drivers;
pub mod early;
pub mod exec;
pub mod filedisk;
#[cfg(target_os = "none")]
pub mod files;
#[cfg(target_os = "none")]
pub mod glue;
pub mod monitor;
pub mod mount;
pub mod panic;
pub mod ramdisk;
pub mod syscall;
pub mod task;

#[cfg(target_os = "none")]
pub mod smp;
#[cfg(target_os = "none")]
pub mod start;
#[cfg(target_os = "none")]
pub mod swap;
#[cfg(target_os = "none")]
pub mod traps;
