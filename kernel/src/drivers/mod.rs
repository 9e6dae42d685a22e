//! The devices of a machine, and its firmware.
//!
//! | module | what |
//! | --- | --- |
//! | `guess` | which machine it may be, before the device tree is read |
//! | `console`, [`baud`] | text out and bytes in: UARTs, or the debugger's semihosting |
//! | `gic` | the interrupt controller |
//! | `timer` | the generic timer: time, and the next interrupt |
//! | `psci` | calls to the firmware: starting CPUs, power off |
//! | `watchdog` | resets a Raspberry Pi |
//! | `exit` | how a run ends, by one of these |
//!
//! The device tree, which the boot code reads, gives the addresses of devices; each module
//! describes what it keeps. The RAM disk is no device of the machine, see
//! [`crate::ramdisk`]; virtio disks are in [`crate::disk`].

pub mod baud;

#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
pub mod exit;
#[cfg(target_os = "none")]
pub mod gic;
#[cfg(target_os = "none")]
pub mod guess;
#[cfg(target_os = "none")]
pub mod psci;
#[cfg(target_os = "none")]
pub mod timer;
#[cfg(target_os = "none")]
pub mod watchdog;
