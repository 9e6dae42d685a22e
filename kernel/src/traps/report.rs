//! The last words of a kernel that took an exception it cannot handle (BOOT-05), and one
//! line for a program that dies of one.
//!
//! **Data.** The trap frame. **Lock.** None: the console is written to without its lock, as its
//! holder may have been interrupted.

use crate::arch::cpu;
use crate::arch::trap::TrapFrame;
use crate::arch::trap::decode::Syndrome;
use crate::drivers::console::print_urgently;
use crate::panic::last_words;
use crate::{println, task};

/// Reports an exception of the kernel and ends the run with a failing status.
pub(super) fn kernel(what: &str, syndrome: Syndrome, far: u64, frame: &TrapFrame) -> ! {
    let cpu = cpu::this().id.load(core::sync::atomic::Ordering::Relaxed);
    print_urgently(format_args!("\nkernel {what} on CPU {cpu}: {syndrome}\n"));
    print_urgently(format_args!("  ESR {:#010x}  ELR {:#018x}", syndrome.0, frame.elr));
    if syndrome.has_address() {
        print_urgently(format_args!("  FAR {far:#018x}"));
    }
    print_urgently(format_args!("\n  SP  {:#018x}  SPSR {:#x}\n", frame.sp, frame.spsr));
    registers(frame);
    last_words(format_args!("  at {:#x}", frame.elr), frame.x[29])
}

fn registers(frame: &TrapFrame) {
    for (n, value) in frame.x.iter().enumerate() {
        let end = if n % 4 == 3 || n == 30 { "\n" } else { "" };
        print_urgently(format_args!("  x{n:<2} {value:#018x}{end}"));
    }
}

/// Reports the cause of a program's death.
pub(super) fn user(number: u8, syndrome: Syndrome, far: u64, frame: &TrapFrame) {
    let name = task::name_of(task::current_id());
    let name = name.split(|b| *b == 0).next().unwrap_or(&[]);
    println!(
        "{} ({}): signal {number} at {:#x}, address {far:#x}:\n  {syndrome}",
        name.escape_ascii(),
        task::pids().0,
        frame.elr,
    );
}
