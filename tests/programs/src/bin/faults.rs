//! What a program may not do: each bad system call is refused with Linux's error, each bad
//! access ends a child by a signal, and the machine continues.
#![no_std]
#![no_main]

use core::arch::asm;

use programs::args::Args;
use programs::pages::{PAGE_SIZE, Pages};
use programs::sys::{EBADF, ECHILD, EFAULT, EINVAL, ENOMEM, ENOSYS, Errno, call, number};
use programs::task::{self, End};
use programs::{FAILED, println, sys};

/// An address that no user mapping has.
const NOWHERE: usize = 0x10;
/// An address of the kernel's half.
const KERNEL: usize = 0xffff_ffc0_0000_0000;
/// The first page of this program's code, which is not writable.
const TEXT: usize = 0x40_0000;

programs::entry!(faults);

fn faults(_: &Args) -> i32 {
    let calls = refused_calls();
    let accesses = fatal_accesses();
    println!("faults: {calls} calls and {accesses} accesses answered wrongly");
    if calls + accesses == 0 { 0 } else { FAILED }
}

/// Makes every bad call; returns how many were answered wrongly.
fn refused_calls() -> usize {
    let own = Pages::map(2);
    let at = own.span().0 as usize;
    let bad: [(&str, usize, [usize; 6], Errno); 20] = [
        ("an unknown call", 9999, [0; 6], ENOSYS),
        ("a huge call number", usize::MAX, [0; 6], ENOSYS),
        ("write from nowhere", number::WRITE, [1, NOWHERE, 8, 0, 0, 0], EFAULT),
        ("write from the kernel", number::WRITE, [1, KERNEL, 8, 0, 0, 0], EFAULT),
        ("write that wraps around", number::WRITE, [1, usize::MAX - 7, 16, 0, 0, 0], EFAULT),
        ("write to a file that is not open", number::WRITE, [77, at, 8, 0, 0, 0], EBADF),
        ("clock_gettime to nowhere", number::CLOCK_GETTIME, [1, NOWHERE, 0, 0, 0, 0], EFAULT),
        ("clock_gettime to the kernel", number::CLOCK_GETTIME, [1, KERNEL, 0, 0, 0, 0], EFAULT),
        ("clock_gettime of no clock", number::CLOCK_GETTIME, [999, at, 0, 0, 0, 0], EINVAL),
        ("sysinfo into code", number::SYSINFO, [TEXT, 0, 0, 0, 0, 0], EFAULT),
        ("getrusage of an unknown target", number::GETRUSAGE, [77, at, 0, 0, 0, 0], EINVAL),
        ("mmap of nothing", number::MMAP, [0, 0, 3, 0x22, usize::MAX, 0], EINVAL),
        ("mmap of everything", number::MMAP, [0, 1 << 62, 3, 0x22, usize::MAX, 0], ENOMEM),
        ("munmap inside a page", number::MUNMAP, [at + 1, PAGE_SIZE, 0, 0, 0, 0], EINVAL),
        ("madvise inside a page", number::MADVISE, [at + 1, PAGE_SIZE, 21, 0, 0, 0], EINVAL),
        ("mincore inside a page", number::MINCORE, [at + 1, PAGE_SIZE, at, 0, 0, 0], EINVAL),
        ("mincore of nothing", number::MINCORE, [0, PAGE_SIZE, at, 0, 0, 0], ENOMEM),
        ("mincore into code", number::MINCORE, [at, PAGE_SIZE, TEXT, 0, 0, 0], EFAULT),
        ("unknown advice", number::MADVISE, [at, PAGE_SIZE, 9999, 0, 0, 0], EINVAL),
        ("wait without a child", number::WAIT4, [usize::MAX, 0, 0, 0, 0, 0], ECHILD),
    ];
    bad.iter()
        .filter(|(name, number, args, error)| !is_refused(name, *number, *args, *error))
        .count()
}

fn is_refused(name: &str, number: usize, args: [usize; 6], error: Errno) -> bool {
    // SAFETY: each of the calls must fail, and if one does not, it touches only the pages
    // that `refused_calls` mapped for this.
    let answer = unsafe { call(number, args) };
    if answer != Err(error) {
        println!("faults: {name}: {answer:x?} instead of {error:?}");
    }
    answer == Err(error)
}

/// Makes every bad access in a child of its own; returns how many ended wrongly.
fn fatal_accesses() -> usize {
    let bad: [(&str, fn(), u32); 6] = [
        ("a write to address 0", || store(0), task::SIGSEGV),
        ("a read of the kernel", || load(KERNEL), task::SIGSEGV),
        ("a write to code", || store(TEXT), task::SIGSEGV),
        ("a read of what was unmapped", load_unmapped, task::SIGSEGV),
        ("a jump into data", jump_to_data, task::SIGSEGV),
        ("an undefined instruction", undefined, task::SIGILL),
    ];
    bad.iter().filter(|(name, access, signal)| !is_fatal(name, *access, *signal)).count()
}

fn is_fatal(name: &str, access: fn(), signal: u32) -> bool {
    let end = task::join(task::start(|| {
        access();
        0
    }));
    if end != End::Signal(signal) {
        println!("faults: {name}: {end:?} instead of signal {signal}");
    }
    end == End::Signal(signal)
}

fn store(at: usize) {
    // SAFETY: a store that the hardware refuses changes nothing; if it is not refused, the
    // child that made it exits and fails the check.
    unsafe { asm!("str xzr, [{}]", in(reg) at, options(nostack)) };
}

fn load(at: usize) {
    // SAFETY: a load into a register changes no memory.
    unsafe { asm!("ldr {0}, [{0}]", inout(reg) at => _, options(nostack, readonly)) };
}

fn load_unmapped() {
    let mut pages = Pages::map(1);
    pages.write(0, 1);
    let at = pages.span().0 as usize;
    drop(pages);
    load(at);
}

fn jump_to_data() {
    /// `ret`, in memory that is not executable.
    const RETURN: u64 = 0xd65f_03c0;
    let mut pages = Pages::map(1);
    pages.page_mut(0)[0] = RETURN;
    let at = pages.span().0 as usize;
    // SAFETY: were it executed, the one instruction there would return at once.
    unsafe { asm!("blr {}", in(reg) at, out("x30") _, options(nostack)) };
}

fn undefined() {
    // SAFETY: the instruction is defined to be undefined; it changes nothing.
    unsafe { asm!("udf #0", options(nostack)) };
    // Only a kernel that skips the instruction comes here.
    sys::exit(FAILED);
}
