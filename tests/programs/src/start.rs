//! From the kernel's first instruction in user mode to a program's `main`.

use core::panic::PanicInfo;

use crate::args::Args;
use crate::{println, sys};

// The kernel enters with `sp` at `argc` and nothing else defined. Frame pointer and link
// register are cleared so that a backtrace ends here.
core::arch::global_asm!(
    ".section .text.start, \"ax\"",
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "and sp, x0, #-16",
    "bl {enter}",
    "brk #1",
    enter = sym enter,
);

unsafe extern "Rust" {
    /// The program, as [`entry!`](crate::entry) names it.
    safe fn program_main(args: &Args) -> i32;
}

/// Declares the function `fn(&Args) -> i32` that is the program; its value is the exit
/// status.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // SAFETY: the name is this crate's alone, and the signature is checked right here
        // against the one that `start` declares.
        #[unsafe(no_mangle)]
        fn program_main(args: &$crate::args::Args) -> i32 {
            $main(args)
        }
    };
}

extern "C" fn enter(stack: *const usize) -> ! {
    // SAFETY: `_start` hands over the stack pointer as the kernel left it: `argc`, then
    // `argc` pointers to strings that end in zero and live as long as the process.
    let args = unsafe { Args::from_stack(stack) };
    sys::exit(program_main(&args))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{info}");
    sys::exit(101)
}
