//! Swap devices.

use core::ffi::CStr;

use super::{Errno, call, number};

/// [`swapon`]: the device is told what it need not keep.
pub const SWAP_FLAG_DISCARD: usize = 0x1_0000;
/// With [`SWAP_FLAG_DISCARD`]: once, before the first slot is used.
pub const SWAP_FLAG_DISCARD_ONCE: usize = 0x2_0000;
/// With [`SWAP_FLAG_DISCARD`]: slots, as they are freed.
pub const SWAP_FLAG_DISCARD_PAGES: usize = 0x4_0000;

/// Takes a swap device into use again, with flags such as [`SWAP_FLAG_DISCARD`].
///
/// # Errors
/// `ENOENT` for no device, `EBUSY` for one in use, `EINVAL` for a wrong header or unknown flags.
pub fn swapon(path: &CStr, flags: usize) -> Result<(), Errno> {
    // SAFETY: the kernel only reads the path.
    unsafe { call(number::SWAPON, [path.as_ptr() as usize, flags, 0, 0, 0, 0]) }.map(drop)
}

/// Takes a swap device out of use: every page of it comes back.
///
/// # Errors
/// `ENOENT` for no device, `EINVAL` for one not in use, `ENOMEM` without room for its pages,
/// `EIO` for a page that cannot be read.
pub fn swapoff(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel only reads the path.
    unsafe { call(number::SWAPOFF, [path.as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(drop)
}
