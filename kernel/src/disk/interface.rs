//! What the other layers use.

use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use mm_reclaim::env::DeviceId;

use super::devices::{self, Device};
use super::name::Name;
use super::virtio::device;
use super::{SECTORS_PER_PAGE, requests};
use crate::ramdisk;

pub use super::scan::scan;
pub use crate::ramdisk::{is_synchronous, read_now, write_now};
pub use device::{AttachError, init, interrupt, is_any, serve};
pub use requests::{
    discard, flush, is_congested, plug, read_sectors, send_off, submit, submit_parts, trim, unplug,
    write_sectors,
};

/// Takes the disk into use whose registers are at `registers`, as a device: `None` if there is no
/// disk. For the boot.
///
/// # Errors
/// [`AttachError`].
///
/// # Safety
/// They are `bytes` bytes of registers of virtio, mapped permanently as device memory, with no other
/// user.
pub unsafe fn attach(
    registers: core::ptr::NonNull<u8>,
    bytes: usize,
    interrupt: u32,
) -> Result<Option<DeviceId>, AttachError> {
    // SAFETY: the caller's.
    let disk = unsafe { device::attach(registers, bytes, interrupt) }?;
    let Some(disk) = disk else { return Ok(None) };
    let (sectors, name) = (disk.traits().sectors, Name::disk(disk.letter()));
    devices::add(Device { disk, first: 0, sectors, name }).map(Some).ok_or(AttachError::TooMany)
}

/// All devices.
pub fn devices() -> impl Iterator<Item = DeviceId> {
    (0..=devices::MOST as u8).map(DeviceId).filter(|device| name(*device).is_some())
}

/// The name of a device.
#[inline(never)]
pub fn name(device: DeviceId) -> Option<Name> {
    match ramdisk::disk(device) {
        Some(_) => Some(Name::RAM),
        None => devices::get(device).map(|device| device.name),
    }
}

/// The device of this name.
pub fn by_name(wanted: &[u8]) -> Option<DeviceId> {
    devices().find(|device| name(*device).is_some_and(|name| name.bytes() == wanted))
}

/// The sectors of 512 bytes of a device.
pub fn sectors(device: DeviceId) -> Option<u64> {
    match ramdisk::disk(device) {
        Some(ram) => Some(u64::from(ram.all_blocks()) * SECTORS_PER_PAGE),
        None => devices::get(device).map(|device| device.sectors),
    }
}

/// Whether a device will never answer again.
pub fn is_gone(device: DeviceId) -> bool {
    devices::get(device).is_some_and(|device| device.disk.is_gone())
}

/// Whether a device cannot be written.
pub fn is_read_only(device: DeviceId) -> bool {
    devices::get(device).is_some_and(|device| device.disk.traits().is_read_only)
}

/// The device with the file system that is mounted, and one; 0 for none.
static MOUNTED: AtomicU8 = AtomicU8::new(0);

/// A file system on the device is mounted, for good.
pub fn set_mounted(device: DeviceId) {
    MOUNTED.store(device.0 + 1, Relaxed);
}

/// Whether a device shares sectors with one that is in use: that is mounted, or `is_used`, which is asked
/// for the others only.
pub fn is_shared(device: DeviceId, is_used: impl Fn(DeviceId) -> bool) -> bool {
    let mounted = MOUNTED.load(Relaxed).checked_sub(1).map(DeviceId);
    mounted.is_some_and(|mounted| devices::overlap(mounted, device))
        || devices()
            .any(|other| other != device && devices::overlap(other, device) && is_used(other))
}
