//! The output of a kernel that cannot continue: a message and the backtrace. The panic handler.

use core::arch::asm;
use core::fmt;
use core::ops::Range;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use boot::{Trap, image};

use super::walk;
use crate::arch::cpu;
use crate::arch::mmu::slots;
use crate::drivers::console::print_urgently;
use crate::drivers::exit::{STATUS_PANIC, exit, stop};

/// The affinity of the CPU that is printing its message, plus 1.
static PANICKING: AtomicU64 = AtomicU64::new(0);

/// Prints a message and the backtrace from frame pointer `frame` on, and ends the run
/// with a failing status.
pub fn last_words(message: fmt::Arguments<'_>, frame: u64) -> ! {
    let own = cpu::affinity() + 1;
    match PANICKING.compare_exchange(0, own, Relaxed, Relaxed) {
        Ok(_) => {}
        // A panic while printing has nothing to add.
        Err(first) if first == own => exit(STATUS_PANIC),
        // Nor has another CPU; the first one ends the run when its message is complete.
        Err(_) => stop(),
    }
    print_urgently(format_args!("{message}\n"));
    let stack = stack_of(frame).unwrap_or_default();
    for address in walk(frame, stack, read_frame) {
        print_urgently(format_args!("  returns to {address:#x}\n"));
    }
    exit(STATUS_PANIC)
}

/// The stack that `frame` lies in: a task's, or one of those inside the image.
fn stack_of(frame: u64) -> Option<Range<u64>> {
    let (boot, trap) = (image::boot_stack(), image::trap_stack());
    let known = [boot, trap].into_iter().find(|stack| stack.contains(&frame));
    known.or_else(|| slots::stack_around(frame).map(|(start, end)| start..end))
}

fn read_frame(at: u64) -> [u64; 2] {
    // SAFETY: `walk` reads two aligned words inside the stack that some code ran on.
    unsafe { (at as *const [u64; 2]).read_volatile() }
}

#[inline(always)]
fn frame_pointer() -> u64 {
    let frame: u64;
    // SAFETY: it only reads a register.
    unsafe { asm!("mov {}, x29", out(reg) frame, options(nomem, nostack, preserves_flags)) };
    frame
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    last_words(format_args!("{info}"), frame_pointer())
}

/// An exception before the kernel has vectors of its own.
pub fn early_trap(trap: Trap) -> ! {
    let Trap { syndrome, pc, address, frame } = trap;
    let message = format_args!(
        "exception during early boot: ESR {syndrome:#x}, at {pc:#x}, address {address:#x}"
    );
    last_words(message, frame)
}
