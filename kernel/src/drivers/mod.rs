//! The devices of a machine, and its firmware.
//!
//! | module | what |
//! | --- | --- |
//! | `guess` | which machine it may be, before the device tree is read |
//! | `console`, [`baud`] | text out and bytes in: UARTs, or the debugger's semihosting |
//! | `gic` | the interrupt controller |
//! | `timer` | the generic timer: time, and the next interrupt |
//! | `psci` | calls to the firmware: CPUs on, the machine off |
//! | `watchdog` | a Raspberry Pi's way to a reset |
//! | `exit` | how a run ends, by whatever of these there is |
//!
//! Where a device is says the device tree, which the boot reads; each module says what it
//! keeps of that. The RAM disk is no device of the machine: see [`crate::ramdisk`].

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
