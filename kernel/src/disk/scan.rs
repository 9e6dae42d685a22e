//! The partitions of a disk as devices.

use mm_reclaim::env::{DeviceId, FrameMemory};
use mm_reclaim::units::Pfn;

use super::devices::{self, Device};
use super::name::Name;
use super::partitions::{self, Finding, Partition};
use super::{SECTOR, requests};
use crate::arch::frames::LinearFrames;
use crate::println;

/// Adds the partitions of a disk as devices, and reports them and what is wrong with its table. `frame`
/// is the caller's, for what is read.
pub fn scan(id: DeviceId, frame: Pfn) {
    let Some(device) = devices::get(id) else { return };
    let mut read = |sector, bytes: &mut partitions::Sector| {
        requests::read_sectors(id, sector, frame, SECTOR)?;
        LinearFrames::new().read(frame, 0, bytes);
        Ok(())
    };
    let block = device.disk.traits().block;
    partitions::find(device.sectors, block, &mut read, &mut |finding| match finding {
        Finding::Partition(partition) => add(device, partition),
        Finding::Complaint(complaint) => println!("{}: partitions: {complaint}", device.name),
    });
}

#[inline(never)]
fn add(disk: &Device, Partition { number, first, sectors }: Partition) {
    let name = Name::partition(disk.disk.letter(), number);
    match devices::add(Device { disk: disk.disk, first, sectors, name }) {
        Some(_) => println!("{name}: {} KiB from sector {first} on", sectors / 2),
        None => println!("{name}: not used: there are {} devices already", devices::MOST),
    }
}
