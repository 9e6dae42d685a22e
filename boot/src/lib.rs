//! From reset to Rust on AArch64.
//!
//! Data: the image header, the early translation tables in the image's own BSS, and the firmware's
//! handover ([`Handover`]). Owner: the one CPU that the firmware started; nothing here is shared,
//! so there are no locks.
//!
//! The path of a boot:
//!
//! 1. `entry.s` is entered with the MMU and the data cache off, at EL2 or EL1, at any
//!    2 MiB-aligned physical address. It drops to EL1, clears the BSS, builds two sets of
//!    tables and turns the MMU on: an identity map of the single page with that code (TTBR0), and
//!    the kernel image at its link address (TTBR1) with its final permissions, so that no live
//!    entry has to change later.
//! 2. [`entry!`] names the Rust function that runs next, at its high address, with
//!    exceptions masked and the early vectors in place.
//! 3. The kernel maps the device tree and passes its bytes to [`dtb::Summary`].
//!
//! Everything that is not an instruction also compiles on a host and is tested there.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod descriptor;
pub mod dtb;
mod handover;
#[cfg(target_os = "none")]
pub mod image;
pub mod layout;
pub mod secondary;

#[cfg(target_os = "none")]
mod entry;

pub use handover::{Handover, Trap};
