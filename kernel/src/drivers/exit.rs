//! How a run ends.
//!
//! Data: the available methods, and what the command line requests. Owner: [`init`], once the
//! device tree and the command line are known. Lock: none, atomics; the first CPU that ends the run
//! wins, and every later one stops.
//!
//! **With `semihosting`** the status goes to the program that started the machine. The call is an
//! undefined instruction if there is no host, so it is made only if the command line says so.
//!
//! **Without it** the status is the last line on the console, [`LAST_LINE`] and the number,
//! and then `end=` decides:
//!
//! | word | what happens |
//! | --- | --- |
//! | `end=off` | PSCI's SYSTEM_OFF; on a Raspberry Pi a reset that its firmware treats as a halt |
//! | `end=reset` | PSCI's SYSTEM_RESET; on a Raspberry Pi the watchdog expires at once |
//! | `end=halt` | the CPU halts with interrupts masked |
//! | none | `off` if there is PSCI, else `halt` |
//!
//! If the machine has no means for that, this is reported before the last line, and it halts.
//!
//! **Before the command line is known** semihosting and PSCI are tried, in that order: the early
//! vectors turn a call without a host into the result -1. But not if the image lies below the RAM
//! of QEMU's `virt`: such a machine is a board, and only halts.

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use boot::dtb::Conduit;
use semihosting::sys::arm_compat as host;

use super::guess::{host_answers, may_be_virt};
use super::watchdog::Watchdog;
use super::{console, psci};
use crate::arch::cpu;
use crate::bootargs::End;

/// The status of a run that failed in the kernel itself (panic, exception).
pub const STATUS_PANIC: u8 = 1;
/// The status of a run that got no usable device tree or command line.
pub const STATUS_CANNOT_BOOT: u8 = 2;

/// The last line of a run without semihosting, before the number.
pub const LAST_LINE: &str = "mm-reclaim: end status=";

/// The ways of ending a machine: the values of [`WAY`].
const UNKNOWN: u8 = 0;
const HALT: u8 = 1;
const RESET: u8 = 2;
const OFF: u8 = 3;

/// The chosen way; `UNKNOWN` until the command line was read.
static WAY: AtomicU8 = AtomicU8::new(UNKNOWN);
static SEMIHOSTING: AtomicBool = AtomicBool::new(false);
/// 0 for no PSCI, else the value that [`conduit`] decodes.
static PSCI: AtomicU8 = AtomicU8::new(0);
/// The affinity of the CPU that ends the run, plus 1.
static ENDING: AtomicU64 = AtomicU64::new(0);

/// Sets the available and the requested way.
pub fn init(semihosting: bool, wanted: Option<End>, psci: Option<Conduit>) {
    let (psci, otherwise) = match psci {
        None => (0, HALT),
        Some(Conduit::Hvc) => (1, OFF),
        Some(Conduit::Smc) => (2, OFF),
    };
    PSCI.store(psci, Relaxed);
    SEMIHOSTING.store(semihosting, Relaxed);
    let way = match wanted {
        None => otherwise,
        Some(End::Halt) => HALT,
        Some(End::Reset) => RESET,
        Some(End::Off) => OFF,
    };
    WAY.store(way, Relaxed);
}

fn conduit() -> Option<Conduit> {
    match PSCI.load(Relaxed) {
        0 => None,
        1 => Some(Conduit::Hvc),
        _ => Some(Conduit::Smc),
    }
}

/// Ends the run with `status`; 0 means success.
pub fn exit(status: u8) -> ! {
    let own = cpu::affinity() + 1;
    match ENDING.compare_exchange(0, own, Relaxed, Relaxed) {
        Ok(_) => end(status),
        // Ending the run failed itself: still leave the machine.
        Err(first) if first == own => leave(),
        Err(_) => stop(),
    }
}

fn end(status: u8) -> ! {
    let known = WAY.load(Relaxed) != UNKNOWN;
    if if known { SEMIHOSTING.load(Relaxed) } else { host_answers() } {
        leave_to_host(status);
    }
    let way = WAY.load(Relaxed);
    let has_means = conduit().is_some() || Watchdog::known().is_some();
    if matches!(way, RESET | OFF) && !has_means {
        let what = if way == RESET { "reset it" } else { "switch it off" };
        console::print_urgently(format_args!("no means to {what}: the machine halts\n"));
    }
    console::close(format_args!("\n{LAST_LINE}{status}\n"));
    leave()
}

/// Leaves the machine, after all output.
fn leave() -> ! {
    match WAY.load(Relaxed) {
        UNKNOWN if may_be_virt() => {
            psci::system_off(Conduit::Hvc);
            psci::system_off(Conduit::Smc);
        }
        RESET => match (conduit(), Watchdog::known()) {
            (Some(conduit), _) => psci::system_reset(conduit),
            (None, Some(watchdog)) => watchdog.reset(),
            (None, None) => {}
        },
        OFF => match (conduit(), Watchdog::known()) {
            (Some(conduit), _) => psci::system_off(conduit),
            (None, Some(watchdog)) => watchdog.halt(),
            (None, None) => {}
        },
        _ => {}
    }
    stop()
}

fn leave_to_host(status: u8) {
    host::sys_exit_extended(host::ExitReason::ADP_Stopped_ApplicationExit, usize::from(status));
}

/// Halts the calling CPU.
pub fn stop() -> ! {
    // SAFETY: masking interrupts delays handlers and does nothing else.
    unsafe { asm!("msr daifset, #0xf", options(nostack)) };
    loop {
        aarch64_cpu::asm::wfi();
    }
}
