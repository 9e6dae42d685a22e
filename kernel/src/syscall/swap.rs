//! `swapon` and `swapoff`. The devices are named like files: `/dev/ram0`.

use mm_reclaim::env::DeviceId;
use mm_reclaim::{SwapOffError, SwapOnError};

use super::errno::{EBUSY, EINTR, EINVAL, EIO, ENOENT, ENOMEM, Errno};
use crate::arch::usercopy::string_from_user;
use crate::{glue, ramdisk};

/// `swapon`: the priority is given.
const SWAP_FLAG_PREFER: u64 = 0x8000;
/// `swapon`: the priority.
const SWAP_FLAG_PRIO_MASK: u64 = 0x7fff;
/// How every device's name begins; a digit follows.
const PREFIX: &[u8] = b"/dev/ram";

impl From<SwapOnError> for Errno {
    fn from(error: SwapOnError) -> Self {
        match error {
            SwapOnError::Header(_) => EINVAL,
            SwapOnError::Read => EIO,
            SwapOnError::Known | SwapOnError::NotOff => EBUSY,
            SwapOnError::TooManyDevices | SwapOnError::TooLittleMemory { .. } => ENOMEM,
        }
    }
}

impl From<SwapOffError> for Errno {
    fn from(error: SwapOffError) -> Self {
        match error {
            SwapOffError::NotOn => EINVAL,
            SwapOffError::NoMemory { .. } => ENOMEM,
            SwapOffError::Read { .. } => EIO,
            SwapOffError::Killed => EINTR,
        }
    }
}

/// Takes a device that was taken out of use into use again.
#[inline(never)] // Its frame holds a page, and must not be part of `dispatch`'s.
pub(super) fn swapon(path: u64, flags: u64) -> Result<u64, Errno> {
    if flags & !(SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK) != 0 {
        return Err(EINVAL);
    }
    let priority = if flags & SWAP_FLAG_PREFER != 0 { flags & SWAP_FLAG_PRIO_MASK } else { 0 };
    let device = device_at(path)?;
    let header = ramdisk::disk(device).ok_or(ENOENT)?.header();
    glue::mm().swapon_again(device, &header, priority as i16)?;
    Ok(0)
}

/// Reads every page of a device back into memory.
#[inline(never)]
pub(super) fn swapoff(path: u64) -> Result<u64, Errno> {
    glue::mm().swapoff(device_at(path)?)?;
    Ok(0)
}

/// The device that the program names.
fn device_at(path: u64) -> Result<DeviceId, Errno> {
    let mut name = [0; PREFIX.len() + 2];
    let len = string_from_user(&mut name, path)?;
    let number = name[..len].strip_prefix(PREFIX).ok_or(ENOENT)?;
    match number {
        [digit @ b'0'..=b'9'] => {
            let device = DeviceId(digit - b'0');
            ramdisk::disk(device).map(|_| device).ok_or(ENOENT)
        }
        _ => Err(ENOENT),
    }
}
