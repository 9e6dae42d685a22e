//! `swapon` and `swapoff`. The devices are named like files: `/dev/ram0`, `/dev/vda1`.

use mm_reclaim::env::DeviceId;
use mm_reclaim::{SwapOffError, SwapOnError};

use super::errno::{EBUSY, EINTR, EINVAL, EIO, ENOENT, ENOMEM, EROFS, Errno};
use crate::arch::usercopy::string_from_user;
use crate::swap::{self, SwapError, Trim};
use crate::{disk, glue};

/// `swapon`: the priority is given.
const SWAP_FLAG_PREFER: u64 = 0x8000;
/// `swapon`: the priority.
const SWAP_FLAG_PRIO_MASK: u64 = 0x7fff;
/// `swapon`: the device is told what it need not keep.
const SWAP_FLAG_DISCARD: u64 = 0x1_0000;
/// With [`SWAP_FLAG_DISCARD`]: only once, before the first slot is used.
const SWAP_FLAG_DISCARD_ONCE: u64 = 0x2_0000;
/// With [`SWAP_FLAG_DISCARD`]: only slots as they are freed, which has no effect here: see
/// [`disk::discard`].
const SWAP_FLAG_DISCARD_PAGES: u64 = 0x4_0000;
/// All that there are.
const SWAP_FLAGS: u64 = SWAP_FLAG_PREFER
    | SWAP_FLAG_PRIO_MASK
    | SWAP_FLAG_DISCARD
    | SWAP_FLAG_DISCARD_ONCE
    | SWAP_FLAG_DISCARD_PAGES;
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
            SwapError::Shared => EBUSY,
            SwapError::Refused(error) => error.into(),
        }
    }
}

/// Takes a device into use.
#[inline(never)]
pub(super) fn swapon(path: u64, flags: u64) -> Result<u64, Errno> {
    if flags & !SWAP_FLAGS != 0 {
        return Err(EINVAL);
    }
    let priority = if flags & SWAP_FLAG_PREFER != 0 { flags & SWAP_FLAG_PRIO_MASK } else { 0 };
    // Without a word on when, it is both.
    let is_once = flags & SWAP_FLAG_DISCARD_ONCE != 0 || flags & SWAP_FLAG_DISCARD_PAGES == 0;
    let is_trimmed = flags & SWAP_FLAG_DISCARD != 0 && is_once;
    let trim = if is_trimmed { Trim::All } else { Trim::Nothing };
    swap::on(device_at(path)?, priority as i16, trim)?;
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
