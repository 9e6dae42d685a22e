//! Floating-point registers across switches: several programs fill all of them with numbers
//! of their own and check repeatedly that these are still there, with and without system calls in
//! between. A child begins with its parent's.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `children=` | 0 or more | how many programs in addition to the first (2) |
//! | `ms=` | 1 or more | for how long (300) |
#![no_std]
#![no_main]

use core::arch::global_asm;

use programs::args::Args;
use programs::{DAMAGED, println, sys, task};

programs::entry!(fpu);

unsafe extern "C" {
    /// Fills v0 to v31, both halves, with `seed`, `seed + 1`, and so on; FPCR with a rounding
    /// mode, FPSR with a flag, both by `seed`.
    safe fn fp_fill(seed: u64);
    /// How many of all these are not as `fp_fill` left them.
    safe fn fp_differences(seed: u64) -> u64;
}

// The target has no floating point, so that no compiled code touches the registers.
global_asm!(
    ".arch_extension fp",
    ".arch_extension simd",
    ".text",
    ".globl fp_fill",
    "fp_fill:",
    "mov x1, x0",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "fmov d\\n, x1",
    "ins v\\n\\().d[1], x1",
    "add x1, x1, #1",
    ".endr",
    "and x1, x0, #3",
    "lsl x2, x1, #22",
    "msr fpcr, x2",
    "msr fpsr, x1",
    "ret",
    ".globl fp_differences",
    "fp_differences:",
    "mov x1, x0",
    "mov x2, #0",
    ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31",
    "fmov x3, d\\n",
    "cmp x3, x1",
    "cinc x2, x2, ne",
    "umov x3, v\\n\\().d[1]",
    "cmp x3, x1",
    "cinc x2, x2, ne",
    "add x1, x1, #1",
    ".endr",
    "and x1, x0, #3",
    "mrs x3, fpcr",
    "cmp x3, x1, lsl #22",
    "cinc x2, x2, ne",
    "mrs x3, fpsr",
    "cmp x3, x1",
    "cinc x2, x2, ne",
    "mov x0, x2",
    "ret",
);

fn fpu(args: &Args) -> i32 {
    let children = args.number("children", 2);
    let end = sys::now() + args.number("ms", 300) as u64 * 1_000_000;
    // The time differs from program to program, so that no two have the same numbers.
    let seed = sys::now();
    fp_fill(seed);
    for child in 1..=children as u64 {
        task::start(|| inherit(seed, seed ^ (child << 32), end));
    }
    let own = watch(seed, end);
    let theirs = task::join_all(children);
    if own == 0 && theirs == 0 {
        println!("fpu: every register kept its value");
    }
    if own != 0 { own } else { theirs }
}

/// A child finds its parent's numbers and replaces them by its own.
fn inherit(parent: u64, seed: u64, end: u64) -> i32 {
    let differences = fp_differences(parent);
    if differences != 0 {
        println!("fpu: fork lost {differences} values");
        return DAMAGED;
    }
    fp_fill(seed + 1);
    watch(seed + 1, end)
}

fn watch(seed: u64, end: u64) -> i32 {
    let mut looks = 0_u64;
    while sys::now() < end {
        // Most checks happen without a system call, so that switches come from the timer.
        for _ in 0..1000 {
            let differences = fp_differences(seed);
            if differences != 0 {
                println!("fpu: {differences} values differ after {looks} looks");
                return DAMAGED;
            }
            looks += 1;
        }
    }
    0
}
