//! `swapon` and `swapoff`. The devices are named like files: `/dev/ram0`, `/dev/vda1`.

use mm_reclaim::env::DeviceId;
use mm_reclaim::{SwapOffError, SwapOnError};

use super::errno::{EBUSY, EINTR, EINVAL, EIO, ENOENT, ENOMEM, EROFS, Errno};
use crate::arch::usercopy::string_from_user;
use crate::swap::{self, SwapError};
use crate::{disk, glue};

/// `swapon`: the priority is given.
const SWAP_FLAG_PREFER: u64 = 0x8000;
/// `swapon`: the priority.
const SWAP_FLAG_PRIO_MASK: u64 = 0x7fff;
/// How every device's name begins.
const PREFIX: &[u8] = b"/dev/";

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

impl From<SwapError> for Errno {
    fn from(error: SwapError) -> Self {
        match error {
            SwapError::NoMemory | SwapError::NoSlots { .. } => ENOMEM,
            SwapError::Read(_) => EIO,
            SwapError::ReadOnly => EROFS,
            SwapError::Refused(error) => error.into(),
        }
    }
}

/// Takes a device into use.
#[inline(never)]
pub(super) fn swapon(path: u64, flags: u64) -> Result<u64, Errno> {
    if flags & !(SWAP_FLAG_PREFER | SWAP_FLAG_PRIO_MASK) != 0 {
        return Err(EINVAL);
    }
    let priority = if flags & SWAP_FLAG_PREFER != 0 { flags & SWAP_FLAG_PRIO_MASK } else { 0 };
    swap::on(device_at(path)?, priority as i16)?;
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
    let mut name = [0; PREFIX.len() + 8];
    let len = string_from_user(&mut name, path)?;
    let name = name[..len].strip_prefix(PREFIX).ok_or(ENOENT)?;
    disk::by_name(name).ok_or(ENOENT)
}
