//! What every program under the kernel stands on: entry, arguments, system calls, output
//! and verified memory.
//!
//! A program is a static ELF file for EL0 without relocations. It starts as Linux starts
//! one (`sp` points at `argc`, then at `argv`), speaks Linux's arm64 system call numbers,
//! and therefore runs under an arm64 Linux as well, which is how its expectations were
//! checked against a kernel that is not ours.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`start`] | entry from the kernel, the panic handler |
//! | [`args`] | the words after `--` on the kernel's command line |
//! | [`sys`] | the system calls |
//! | [`out`] | `print!` and the progress that the kernel's live line shows |
//! | [`pages`] | anonymous memory in which every word is predictable |
//! | [`task`] | children: start them, await them, judge how they ended |
//! | [`stock`] | free memory before and after: nothing leaks |
//! | [`random`] | numbers that one seed decides |
//! | [`tree`] | operations on a tree of files, and a walk through it |
//! | [`hostile`] | system calls, accesses and code made up at random |
//! | [`mod@bench`] | the workloads that this kernel and Linux are compared by |
//!
//! Exit statuses are the same for all programs:
//!
//! | status | meaning |
//! | --- | --- |
//! | 0 | everything was as it must be |
//! | 3 | a page did not hold what was written to it |
//! | 4 | another expectation failed; the last line says which |
//! | 101 | a panic |
#![no_std]

pub mod args;
pub mod bench;
pub mod hostile;
pub mod out;
pub mod pages;
pub mod random;
pub mod start;
pub mod stock;
pub mod sys;
pub mod task;
pub mod tree;

/// A page did not hold what was written to it.
pub const DAMAGED: i32 = 3;
/// An expectation other than a page's contents failed.
pub const FAILED: i32 = 4;

/// The sizes that programs choose their work by, in pages.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// RAM that the kernel manages.
    pub ram: usize,
    /// Swap, used or not.
    pub swap: usize,
}

impl Machine {
    /// What `sysinfo` says.
    ///
    /// # Panics
    /// If the kernel refuses the call.
    #[must_use]
    pub fn new() -> Self {
        let info = sys::sysinfo().expect("sysinfo works");
        let pages = |units: u64| (units * u64::from(info.mem_unit)) as usize / pages::PAGE_SIZE;
        Self { ram: pages(info.totalram), swap: pages(info.totalswap) }
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}
