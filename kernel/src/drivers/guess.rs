//! What can be guessed about the machine before its device tree is read, for reporting that the
//! tree cannot be read.
//!
//! **Data.** Whether the image lies where QEMU's `virt` has no RAM. **Owner.** [`begin`].
//! **Lock.** None: one CPU, once.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use semihosting::sys::arm_compat as host;

/// Where the RAM of QEMU's `virt` starts.
const VIRT_RAM: u64 = 0x4000_0000;

static BELOW_VIRT: AtomicBool = AtomicBool::new(false);

/// Sets the address of the image. Must come before everything that can fail.
pub fn begin(image_base: u64) {
    BELOW_VIRT.store(image_base < VIRT_RAM, Relaxed);
}

/// Whether the machine may be QEMU's `virt`, judging by the address of the image.
pub(super) fn may_be_virt() -> bool {
    !BELOW_VIRT.load(Relaxed)
}

/// Whether a host answers semihosting calls. Only while the early vectors are in place.
pub(super) fn host_answers() -> bool {
    cfg!(feature = "fallback-semihosting") && may_be_virt() && !host::sys_iserror(0)
}
