//! The block devices: the RAM disk, virtio disks, and the partitions of these.
//!
//! | file | what |
//! | --- | --- |
//! | [`mod@name`] | names: pure |
//! | [`part`] | parts of a page in different places: pure, tested on the host |
//! | [`partitions`] | tables of partitions, MBR and GPT: pure, tested on the host |
//! | [`virtio`] | virtio disks |
//! | `devices` | which number is which device |
//! | `scan` | the partitions of a disk as devices |
//! | `requests` | requests by these numbers |
//! | `interface` | what other layers use |
//!
//! **Data.** The table of devices, which only grows, at boot. **Owner.** This module. **Lock.** None.

pub mod name;
pub mod part;
pub mod partitions;
pub mod virtio;

#[cfg(target_os = "none")]
mod devices;
#[cfg(target_os = "none")]
mod interface;
#[cfg(target_os = "none")]
mod requests;
#[cfg(target_os = "none")]
mod scan;

pub use part::Part;

/// The unit in which disks count.
pub const SECTOR: usize = 512;
/// Sectors of a page, which is a block of swap.
pub const SECTORS_PER_PAGE: u64 = (mm_reclaim::units::PAGE_SIZE / SECTOR) as u64;

#[cfg(target_os = "none")]
pub use interface::*;
