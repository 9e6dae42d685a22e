//! The generic timer: monotonic time and the next timer interrupt.
//!
//! **Data.** The counter's rate as a factor, written once. **Owner.** This module; the
//! compare register of a CPU belongs to the scheduler of that CPU. **Lock.** None.
//!
//! The virtual timer is used, since user mode may read its counter. Time is `ticks × factor >> 32`
//! with `factor = 2^32 × 10^9 / rate` rounded down: exact for a rate of 1 GHz, and for 54 MHz off
//! by 3 parts in 10^10, 0.3 ms in twelve days.

use core::arch::asm;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use mm_reclaim::units::Nanos;

use crate::drivers::gic;

/// Nanoseconds in a tick, times 2^32; 1 ns until [`init`].
static NANOS_PER_TICK: AtomicU64 = AtomicU64::new(1 << 32);
/// Ticks in a nanosecond, times 2^32.
static TICKS_PER_NANO: AtomicU64 = AtomicU64::new(1 << 32);
static INTERRUPT: AtomicU32 = AtomicU32::new(27);

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The counter's rate in Hz from the register: 0 if the firmware did not set it.
pub fn rate_register() -> u32 {
    let rate: u64;
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, cntfrq_el0", out(reg) rate, options(nomem, nostack)) };
    rate as u32
}

/// Uses `rate` as that of the counter, lets user mode read the counter, and enables the virtual
/// timer's interrupt, whose number `interrupt` is 27 on every known board.
pub fn init(interrupt: u32, rate: u32) {
    let rate = u64::from(rate.max(1));
    NANOS_PER_TICK.store((NANOS_PER_SECOND << 32) / rate, Relaxed);
    TICKS_PER_NANO.store(((u128::from(rate) << 32) / u128::from(NANOS_PER_SECOND)) as u64, Relaxed);
    INTERRUPT.store(interrupt, Relaxed);
    init_cpu();
}

/// The part of [`init`] for each CPU.
pub fn init_cpu() {
    // CNTKCTL_EL1.EL0VCTEN: user mode may read CNTVCT_EL0 and CNTFRQ_EL0.
    // SAFETY: it changes what user mode may do and nothing else.
    unsafe { asm!("msr cntkctl_el1, {}", in(reg) 1u64 << 1, options(nomem, nostack)) };
    set_deadline(u64::MAX);
    gic::enable(interrupt());
}

/// The timer's interrupt.
pub fn interrupt() -> u32 {
    INTERRUPT.load(Relaxed)
}

/// The counter. The barrier keeps it from being read early.
#[inline]
pub fn ticks() -> u64 {
    let ticks: u64;
    // SAFETY: it only reads a register.
    unsafe {
        asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack, preserves_flags));
    }
    ticks
}

/// The time since the counter was at zero.
#[inline]
pub fn now() -> Nanos {
    Nanos(scale(ticks(), NANOS_PER_TICK.load(Relaxed)))
}

/// A number of ticks that takes at least `time`.
pub fn ticks_in(time: Nanos) -> u64 {
    scale(time.0, TICKS_PER_NANO.load(Relaxed)).saturating_add(1)
}

fn scale(value: u64, factor: u64) -> u64 {
    let product = u128::from(value) * u128::from(factor);
    u64::try_from(product >> 32).unwrap_or(u64::MAX)
}

/// Interrupts this CPU when the counter reaches `ticks`; `u64::MAX` for never.
pub fn set_deadline(ticks: u64) {
    // CNTV_CTL_EL0: bit 0 enables, bit 1 masks.
    let control: u64 = if ticks == u64::MAX { 2 } else { 1 };
    // SAFETY: the compare register is this CPU's own.
    unsafe { asm!("msr cntv_cval_el0, {}", in(reg) ticks, options(nomem, nostack)) };
    // SAFETY: so is the control register.
    unsafe { asm!("msr cntv_ctl_el0, {}", "isb", in(reg) control, options(nomem, nostack)) };
}
