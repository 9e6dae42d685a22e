//! How a run ends.
//!
//! Data: which means exist. Owner: [`init`], once the device tree and the command line are
//! known. Lock: none, two atomics.
//!
//! Semihosting carries the status to whoever started the machine, but asking for it where
//! nobody listens is an undefined instruction, so it is used only if the command line says
//! so. The way out without it is PSCI's SYSTEM_OFF, which carries no status; the last
//! resort is to wait for ever with interrupts masked.
//!
//! Before the command line is known (`Means::Unknown`) every means is tried in that
//! order: the early vectors turn a call that nobody answers into the result -1.

use core::arch::asm;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};

use boot::dtb::Conduit;
use semihosting::sys::arm_compat as host;

use super::psci;

/// The status of a run that failed in the kernel itself (panic, exception).
pub const STATUS_PANIC: u8 = 1;
/// The status of a run that got no usable device tree or command line.
pub const STATUS_CANNOT_BOOT: u8 = 2;

/// The ways of leaving that a machine offers.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Means {
    /// The command line was not read yet.
    Unknown = 0,
    None = 1,
    Semihosting = 2,
    PsciHvc = 3,
    PsciSmc = 4,
}

static FIRST: AtomicU8 = AtomicU8::new(Means::Unknown as u8);
static SECOND: AtomicU8 = AtomicU8::new(Means::None as u8);

/// Learns what there is.
pub fn init(semihosting: bool, psci: Option<Conduit>) {
    let psci = match psci {
        None => Means::None,
        Some(Conduit::Hvc) => Means::PsciHvc,
        Some(Conduit::Smc) => Means::PsciSmc,
    };
    let (first, second) =
        if semihosting { (Means::Semihosting, psci) } else { (psci, Means::None) };
    SECOND.store(second as u8, Relaxed);
    FIRST.store(first as u8, Relaxed);
}

/// Ends the run with `status`; 0 means success.
pub fn exit(status: u8) -> ! {
    let first = FIRST.load(Relaxed);
    if first == Means::Unknown as u8 {
        leave_early(status);
    }
    for means in [first, SECOND.load(Relaxed)] {
        leave(means, status);
    }
    stop()
}

fn leave(means: u8, status: u8) {
    if means == Means::Semihosting as u8 {
        leave_to_host(status);
    } else if means == Means::PsciHvc as u8 {
        psci::system_off(Conduit::Hvc);
    } else if means == Means::PsciSmc as u8 {
        psci::system_off(Conduit::Smc);
    }
}

/// Whether something answers semihosting calls. Only while the early vectors are in place.
pub(super) fn host_answers() -> bool {
    cfg!(feature = "fallback-semihosting") && !host::sys_iserror(0)
}

fn leave_early(status: u8) -> ! {
    if host_answers() {
        leave_to_host(status);
    }
    psci::system_off(Conduit::Hvc);
    psci::system_off(Conduit::Smc);
    stop()
}

fn leave_to_host(status: u8) {
    host::sys_exit_extended(host::ExitReason::ADP_Stopped_ApplicationExit, usize::from(status));
}

fn stop() -> ! {
    // SAFETY: masking interrupts delays handlers and does nothing else.
    unsafe { asm!("msr daifset, #0xf", options(nostack)) };
    loop {
        aarch64_cpu::asm::wfi();
    }
}
