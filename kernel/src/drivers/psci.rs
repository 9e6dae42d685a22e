//! Calls to the firmware: the Power State Coordination Interface (Arm DEN 0022).
//!
//! **Data.** None. The conduit comes from the device tree; a call through the wrong one may be an
//! undefined instruction.

use core::arch::asm;

use boot::dtb::Conduit;

/// `SYSTEM_OFF` of PSCI 0.2.
const SYSTEM_OFF: u64 = 0x8400_0008;
/// `SYSTEM_RESET` of PSCI 0.2.
const SYSTEM_RESET: u64 = 0x8400_0009;
/// `CPU_ON` of PSCI 0.2, with 64-bit arguments.
const CPU_ON: u64 = 0xc400_0003;

/// The firmware's error: a negative number of the specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PsciError(pub i32);

/// Powers the machine off; returns only if the firmware did not.
pub fn system_off(conduit: Conduit) {
    let _refused = call(conduit, [SYSTEM_OFF, 0, 0, 0]);
}

/// Resets the machine; returns only if the firmware did not.
pub fn system_reset(conduit: Conduit) {
    let _refused = call(conduit, [SYSTEM_RESET, 0, 0, 0]);
}

/// Starts the CPU with this affinity at the physical address `entry`.
///
/// # Errors
/// The firmware's error.
pub fn cpu_on(conduit: Conduit, affinity: u64, entry: u64) -> Result<(), PsciError> {
    call(conduit, [CPU_ON, affinity, entry, 0])
}

fn call(conduit: Conduit, arguments: [u64; 4]) -> Result<(), PsciError> {
    let [mut x0, x1, x2, x3] = arguments;
    match conduit {
        // SAFETY: the firmware follows the calling convention, and the calls made here have no
        // effect visible to compiled code.
        Conduit::Hvc => unsafe {
            asm!("hvc #0", inout("x0") x0, in("x1") x1, in("x2") x2, in("x3") x3,
                 clobber_abi("C"), options(nostack));
        },
        // SAFETY: as above.
        Conduit::Smc => unsafe {
            asm!("smc #0", inout("x0") x0, in("x1") x1, in("x2") x2, in("x3") x3,
                 clobber_abi("C"), options(nostack));
        },
    }
    match x0 as i32 {
        0.. => Ok(()),
        error => Err(PsciError(error)),
    }
}
