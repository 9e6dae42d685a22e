//! The devices by their numbers: the RAM disk is 0, virtio disks and their partitions follow.
//!
//! **Data.** A table, to which the boot adds and from which nothing is removed. **Lock.** None.

use core::ops::Range;

use mm_reclaim::block::IoError;
use mm_reclaim::env::DeviceId;
use spin::once::Once;

use super::SECTOR;
use super::name::Name;
use super::virtio::device::Disk;
use super::virtio::pool::{Op, Transfer};
use crate::arch::lock::Yield;

/// Devices besides the RAM disk: as many as the memory management can have swap on.
pub const MOST: usize = 7;

static DEVICES: [Once<Device, Yield>; MOST] = [const { Once::new() }; MOST];

/// A virtio disk, or a partition of one.
pub struct Device {
    /// The disk.
    pub disk: &'static Disk,
    /// The sector of the disk that it begins with.
    pub first: u64,
    /// Its sectors of 512 bytes.
    pub sectors: u64,
    /// Its name.
    pub name: Name,
}

/// Adds a device; `None` if the table is full.
pub fn add(device: Device) -> Option<DeviceId> {
    let free = DEVICES.iter().position(|place| place.get().is_none())?;
    DEVICES[free].call_once(|| device);
    Some(DeviceId(free as u8 + 1))
}

/// The device of this number, unless it is the RAM disk.
#[inline(never)]
pub fn get(id: DeviceId) -> Option<&'static Device> {
    DEVICES.get(usize::from(id.0).checked_sub(1)?)?.get()
}

impl Device {
    /// The sectors of the disk that sectors of the device are.
    ///
    /// # Errors
    /// If they are not all on the device.
    pub fn range(&self, first: u64, sectors: u64) -> Result<Range<u64>, IoError> {
        let end = first.checked_add(sectors).filter(|end| *end <= self.sectors).ok_or(IoError)?;
        Ok(self.first + first..self.first + end)
    }

    /// A transfer between sectors of the device, from `sector` on, and memory at `address`.
    ///
    /// # Errors
    /// If they are not all on the device, or it cannot be written.
    pub fn transfer(
        &self,
        op: Op,
        sector: u64,
        address: usize,
        bytes: usize,
    ) -> Result<Transfer, IoError> {
        let range = self.range(sector, (bytes / SECTOR) as u64)?;
        let is_allowed = op != Op::Write || !self.disk.traits().is_read_only;
        if bytes == 0 || !bytes.is_multiple_of(SECTOR) || !is_allowed {
            return Err(IoError);
        }
        Ok(Transfer { op, sector: range.start, address, bytes: bytes as u32 })
    }
}

/// Whether two devices share sectors.
pub fn overlap(one: DeviceId, other: DeviceId) -> bool {
    let (Some(one), Some(other)) = (get(one), get(other)) else { return one == other };
    core::ptr::eq(one.disk, other.disk)
        && one.first < other.first + other.sectors
        && other.first < one.first + one.sectors
}
