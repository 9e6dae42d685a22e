//! Requests to devices by their numbers.
//!
//! The RAM disk is asked first, and its functions are inlined: its figures are measured.

use core::sync::atomic::Ordering::Relaxed;

use mm_reclaim::block::{Bio, Completion, Direction, IoError, PageIo};
use mm_reclaim::env::DeviceId;
use mm_reclaim::units::{PAGE_SIZE, Pfn};

use super::SECTORS_PER_PAGE;
use super::devices::{self, Device};
use super::part::{MOST_PARTS, Part, joined};
use super::virtio::device;
use super::virtio::pool::{Op, Transfer};
use crate::arch::frames;
use crate::{ramdisk, task};

/// The number of the RAM disk.
const RAM_DISK: DeviceId = DeviceId(0);

/// Starts a transfer: see [`mm_reclaim::env::BlockDevice::submit`].
#[inline(always)]
pub fn submit(bio: Bio) -> Option<Completion> {
    if bio.device() == RAM_DISK { ramdisk::submit(bio) } else { submit_to_virtio(bio) }
}

#[inline(never)]
fn submit_to_virtio(bio: Bio) -> Option<Completion> {
    let Some(device) = devices::get(bio.device()) else { return Some(bio.complete(Err(IoError))) };
    let (op, address) = (device::op_of(&bio), frames::frame_address(bio.frame()).addr());
    let sector = u64::from(bio.block()) * SECTORS_PER_PAGE;
    match device.transfer(op, sector, address, PAGE_SIZE) {
        Ok(transfer) => device.disk.submit(bio, &[transfer]),
        Err(error) => Some(bio.complete(Err(error))),
    }
}

/// Transfers parts of a page of a file, one to four of them. The page ends when all of them have, as a
/// failure if one of them failed; nothing was transferred if they are refused.
pub fn submit_parts(page: PageIo, device: DeviceId, parts: &[Part]) -> Option<Completion> {
    let Some((parts, len)) = joined(parts) else { return Some(page.complete(Err(IoError))) };
    let parts = &parts[..len];
    if device == RAM_DISK {
        let (direction, frame) = (page.direction(), page.frame());
        let result = parts.iter().try_for_each(|part| {
            ramdisk::transfer_part(direction, part.sector, frame, part.offset, part.bytes)
        });
        return Some(page.complete(result));
    }
    // The block is not used: the transfers say where the parts are.
    let bio = page.on(device, 0);
    let Some(device) = devices::get(device) else { return Some(bio.complete(Err(IoError))) };
    match transfers(device, &bio, parts) {
        Ok(transfers) => device.disk.submit(bio, &transfers[..len]),
        Err(error) => Some(bio.complete(Err(error))),
    }
}

fn transfers(
    device: &Device,
    bio: &Bio,
    parts: &[Part],
) -> Result<[Transfer; MOST_PARTS], IoError> {
    let (op, page) = (device::op_of(bio), frames::frame_address(bio.frame()).addr());
    let mut list = [Transfer::NOTHING; MOST_PARTS];
    for (place, part) in list.iter_mut().zip(parts) {
        let address = page + usize::from(part.offset);
        *place = device.transfer(op, part.sector, address, part.bytes.into())?;
    }
    Ok(list)
}

/// The running task is about to submit several requests.
#[inline]
pub fn plug() {
    ramdisk::plug();
}

/// Submits what was held back since the [`plug`] that this undoes.
#[inline]
pub fn unplug() {
    ramdisk::unplug();
    if device::is_any() && task::current().plugs.load(Relaxed) == 0 {
        device::send_off();
    }
}

/// Submits what was held back, when a task with plugs is about to sleep; the plugs stay.
pub fn send_off() {
    ramdisk::send_off();
    if device::is_any() {
        device::send_off();
    }
}

/// Whether the queue or table of a device is more than seven eighths full.
pub fn is_congested(device: DeviceId) -> bool {
    if device == RAM_DISK {
        return ramdisk::is_congested(device);
    }
    devices::get(device).is_some_and(|device| device.disk.is_congested())
}

/// The contents of the blocks are no longer needed. A virtio disk is not told: this is called under
/// spin locks, for one page at a time, and a block may be written again at once, while the device is
/// free to do a discard after a write that came later. [`trim`] is for what can wait.
pub fn discard(device: DeviceId, first: u32, blocks: u32) {
    ramdisk::discard(device, first, blocks);
}

/// Sleeps until what was written before is stable. What has no cache is stable at once.
///
/// # Errors
/// If the device failed, or is gone.
pub fn flush(device: DeviceId) -> Result<(), IoError> {
    if device == RAM_DISK {
        return Ok(());
    }
    let disk = devices::get(device).ok_or(IoError)?.disk;
    match disk.traits().has_cache {
        // SAFETY: a flush has no memory.
        true => unsafe { disk.perform(Transfer::FLUSH) },
        false if disk.is_gone() => Err(IoError),
        false => Ok(()),
    }
}

/// The contents of sectors are no longer needed: the device may forget them. Sleeps until it has been told
/// of all, and cannot be killed. No other transfer of these sectors may be under way: the device is free
/// to do it before this or after. There is no effect where the device has no discard, and none on parts
/// of what it can discard at least.
///
/// # Errors
/// If the device failed, is gone, cannot be written, or does not have them all.
#[inline(never)]
pub fn trim(device: DeviceId, first: u64, sectors: u64) -> Result<(), IoError> {
    if device == RAM_DISK {
        return Ok(());
    }
    let device = devices::get(device).ok_or(IoError)?;
    let (disk, range) = (device.disk, device.range(first, sectors)?);
    if disk.traits().is_read_only || disk.is_gone() {
        return Err(IoError);
    }
    let Some(discard) = disk.traits().discard else { return Ok(()) };
    discard.requests(range).try_for_each(|(sector, sectors)| {
        // SAFETY: a discard has no memory.
        unsafe { disk.perform(Transfer::discard(sector, sectors)) }
    })
}

/// Reads sectors of 512 bytes of a device into a frame of the caller's, and sleeps until they are there.
///
/// # Errors
/// If they cannot be read, are not all on the device, or are more than a page.
pub fn read_sectors(
    device: DeviceId,
    sector: u64,
    frame: Pfn,
    bytes: usize,
) -> Result<(), IoError> {
    transfer_sectors(Op::Read, device, sector, frame, bytes)
}

/// Writes sectors of 512 bytes of a device from a frame of the caller's, and sleeps until that has ended.
///
/// # Errors
/// If they cannot be written, are not all on the device, or are more than a page.
pub fn write_sectors(
    device: DeviceId,
    sector: u64,
    frame: Pfn,
    bytes: usize,
) -> Result<(), IoError> {
    transfer_sectors(Op::Write, device, sector, frame, bytes)
}

#[inline(never)]
fn transfer_sectors(
    op: Op,
    device: DeviceId,
    sector: u64,
    frame: Pfn,
    bytes: usize,
) -> Result<(), IoError> {
    if bytes > PAGE_SIZE {
        return Err(IoError);
    }
    if device == RAM_DISK {
        let direction = if op == Op::Read { Direction::Read } else { Direction::Write };
        return ramdisk::transfer_part(direction, sector, frame, 0, bytes as u16);
    }
    let device = devices::get(device).ok_or(IoError)?;
    let address = frames::frame_address(frame).addr();
    let transfer = device.transfer(op, sector, address, bytes)?;
    // SAFETY: the caller's frame is lent until this returns.
    unsafe { device.disk.perform(transfer) }
}
