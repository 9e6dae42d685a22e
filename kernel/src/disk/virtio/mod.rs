//! Disks of virtio: `virtio-blk` over registers in memory.
//!
//! | file | what |
//! | --- | --- |
//! | [`pool`] | the requests that wait or have ended, and which are one: pure, tested on the host |
//! | [`engine`] | the ring and the requests in flight: tested on the host with a hostile device |
//! | [`trouble`] | why a device is given up |
//! | [`open`] | taking a disk into use |
//! | [`discard`] | which requests a discard is: pure, tested on the host |
//! | `hal` | memory that a device reads and writes |
//! | `device` | the disks of this machine: submission, interrupts, the task that ends requests |
//!
//! The crate `virtio-drivers` has the registers and the ring. Its own driver for disks is not used: it
//! takes one buffer a request, and trusts the device.

pub mod discard;
pub mod engine;
pub mod open;
pub mod pool;
pub mod trouble;

#[cfg(target_os = "none")]
pub(super) mod device;
#[cfg(target_os = "none")]
mod hal;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
