//! System calls under Linux's arm64 numbers.
//!
//! Only the calls that the kernel offers. Each wrapper is safe where no argument of it can
//! break memory that Rust believes in; the raw [`call`] is not.

use core::arch::asm;
use core::mem::MaybeUninit;

use crate::pages::PAGE_SIZE;

pub mod files;
pub mod names;
mod swap;

pub use swap::*;

/// A system call's error: the positive `errno` number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub usize);

/// No such file.
pub const ENOENT: Errno = Errno(2);
/// The call was interrupted or the caller is about to die.
pub const ECHILD: Errno = Errno(10);
/// No memory, or no room in the address space.
pub const ENOMEM: Errno = Errno(12);
/// In use.
pub const EBUSY: Errno = Errno(16);
/// A device failed.
pub const EIO: Errno = Errno(5);
/// A pointer into memory that the program may not use so.
pub const EFAULT: Errno = Errno(14);
/// An argument out of its range.
pub const EINVAL: Errno = Errno(22);
/// No such file descriptor.
pub const EBADF: Errno = Errno(9);
/// Not allowed by the way in which the file was opened.
pub const EACCES: Errno = Errno(13);
/// Exists already.
pub const EEXIST: Errno = Errno(17);
/// There is nothing at that place.
pub const ENXIO: Errno = Errno(6);
/// The process has as many files open as it may have.
pub const EMFILE: Errno = Errno(24);
/// No directory.
pub const ENOTDIR: Errno = Errno(20);
/// No room on the device.
pub const ENOSPC: Errno = Errno(28);
/// No such system call.
pub const ENOSYS: Errno = Errno(38);

/// Linux's arm64 system call numbers.
pub mod number {
    #![expect(missing_docs, reason = "the names are Linux's and say everything")]
    pub const MKDIRAT: usize = 34;
    pub const UNLINKAT: usize = 35;
    pub const SYMLINKAT: usize = 36;
    pub const LINKAT: usize = 37;
    pub const FSTATFS: usize = 44;
    pub const FTRUNCATE: usize = 46;
    pub const FALLOCATE: usize = 47;
    pub const OPENAT: usize = 56;
    pub const CLOSE: usize = 57;
    pub const GETDENTS64: usize = 61;
    pub const LSEEK: usize = 62;
    pub const READ: usize = 63;
    pub const WRITE: usize = 64;
    pub const PREAD64: usize = 67;
    pub const PWRITE64: usize = 68;
    pub const READLINKAT: usize = 78;
    pub const NEWFSTATAT: usize = 79;
    pub const FSTAT: usize = 80;
    pub const SYNC: usize = 81;
    pub const FSYNC: usize = 82;
    pub const SYNC_FILE_RANGE: usize = 84;
    pub const EXIT: usize = 93;
    pub const EXIT_GROUP: usize = 94;
    pub const NANOSLEEP: usize = 101;
    pub const CLOCK_GETTIME: usize = 113;
    pub const SCHED_YIELD: usize = 124;
    pub const KILL: usize = 129;
    pub const GETRUSAGE: usize = 165;
    pub const PRCTL: usize = 167;
    pub const GETPPID: usize = 173;
    pub const SYSINFO: usize = 179;
    pub const READAHEAD: usize = 213;
    pub const MUNMAP: usize = 215;
    pub const CLONE: usize = 220;
    pub const MMAP: usize = 222;
    pub const FADVISE64: usize = 223;
    pub const SWAPON: usize = 224;
    pub const SWAPOFF: usize = 225;
    pub const MPROTECT: usize = 226;
    pub const MSYNC: usize = 227;
    pub const MLOCK: usize = 228;
    pub const MUNLOCK: usize = 229;
    pub const MINCORE: usize = 232;
    pub const MADVISE: usize = 233;
    pub const WAIT4: usize = 260;
    pub const RENAMEAT2: usize = 276;
    pub const MEMFD_CREATE: usize = 279;
    pub const STATX: usize = 291;
}

const MADV_FREE: usize = 8;
const MADV_PAGEOUT: usize = 21;
const PROT_READ_WRITE: usize = 1 | 2;
const MAP_PRIVATE_ANONYMOUS: usize = 2 | 0x20;
const MAP_SHARED_ANONYMOUS: usize = 1 | 0x20;
const CLOCK_MONOTONIC: usize = 1;
/// This kernel's own.
const PR_SHOW_PROGRESS: usize = 0x7072_6f00;
/// This kernel's own.
const PR_SET_OOM_SCORE_ADJ: usize = 0x4f4f_4d00;
/// This kernel's own.
const PR_TIME_PAIRS: usize = 0x7470_7000;
/// This kernel's own.
const PR_TURN_RAMDISK_KNOB: usize = 0x7264_6b00;
/// An option of `prctl` of this kernel alone: how many instructions the CPU has executed.
const PR_EXECUTED: usize = 0x6578_6500;
const SIGCHLD: usize = 17;
const SIGKILL: usize = 9;
const WNOHANG: usize = 1;

/// Any system call with any arguments.
///
/// # Safety
/// The call must not change memory or mappings that live Rust values rely on.
///
/// # Errors
/// Whatever the kernel answers between -4095 and -1.
#[inline]
pub unsafe fn call(number: usize, args: [usize; 6]) -> Result<usize, Errno> {
    let answer: isize;
    // SAFETY: the kernel preserves every register but x0, and reads and writes only the
    // memory that the arguments name, for which the caller vouches.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") args[0] as isize => answer,
            in("x1") args[1],
            in("x2") args[2],
            in("x3") args[3],
            in("x4") args[4],
            in("x5") args[5],
            options(nostack),
        );
    }
    if (-4095..0).contains(&answer) {
        Err(Errno(answer.unsigned_abs()))
    } else {
        Ok(answer as usize)
    }
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: nothing of the process is left that could rely on memory.
        let _ = unsafe { call(number::EXIT_GROUP, [status as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Writes bytes to a file descriptor; returns how many were taken.
///
/// # Errors
/// Linux's.
pub fn write(fd: usize, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the kernel only reads the slice.
    unsafe { call(number::WRITE, [fd, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) }
}

/// New private anonymous memory, zeroed, readable and writable.
///
/// # Errors
/// `ENOMEM` without room, `EINVAL` for no bytes.
pub fn mmap(bytes: usize) -> Result<*mut u8, Errno> {
    let args = [0, bytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, usize::MAX, 0];
    // SAFETY: without a fixed address a new mapping takes no memory that is in use.
    unsafe { call(number::MMAP, args) }.map(core::ptr::with_exposed_provenance_mut)
}

/// New anonymous memory that children share, zeroed.
///
/// # Errors
/// `ENOMEM` without room, `EINVAL` for no bytes.
pub fn mmap_shared(bytes: usize) -> Result<*mut u8, Errno> {
    let args = [0, bytes, PROT_READ_WRITE, MAP_SHARED_ANONYMOUS, usize::MAX, 0];
    // SAFETY: without a fixed address a new mapping takes no memory that is in use.
    unsafe { call(number::MMAP, args) }.map(core::ptr::with_exposed_provenance_mut)
}

/// Removes mappings.
///
/// # Safety
/// Nothing uses the memory any more.
///
/// # Errors
/// `EINVAL` for addresses that start no page.
pub unsafe fn munmap(at: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's.
    unsafe { call(number::MUNMAP, [at as usize, bytes, 0, 0, 0, 0]) }.map(drop)
}

/// Asks the kernel to page memory out now (`MADV_PAGEOUT`). Its contents stay.
///
/// # Errors
/// `EINVAL` for an address that starts no page, `ENOMEM` where nothing is mapped.
pub fn page_out(at: *const u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the advice changes no byte that the program can see.
    unsafe { call(number::MADVISE, [at as usize, bytes, MADV_PAGEOUT, 0, 0, 0]) }.map(drop)
}

/// Gives up the contents of memory (`MADV_FREE`): until it is stored to, each page may turn into
/// zeroes at any moment.
///
/// # Safety
/// Nothing relies on what the memory holds.
///
/// # Errors
/// `EINVAL` for an address that starts no page and for locked memory, `ENOMEM` where nothing is
/// mapped.
pub unsafe fn give_up(at: *mut u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: the caller's.
    unsafe { call(number::MADVISE, [at as usize, bytes, MADV_FREE, 0, 0, 0]) }.map(drop)
}

/// Sets a byte for each page from `at` on: 1 if it is in memory.
///
/// # Errors
/// `EINVAL` for an address that starts no page, `ENOMEM` where nothing is mapped.
pub fn mincore(at: *const u8, residence: &mut [u8]) -> Result<(), Errno> {
    let (bytes, out) = (residence.len() * PAGE_SIZE, residence.as_mut_ptr() as usize);
    // SAFETY: the kernel writes a byte for each page, which are as many as the slice has.
    unsafe { call(number::MINCORE, [at as usize, bytes, out, 0, 0, 0]) }.map(drop)
}

/// Brings memory in and keeps it there.
///
/// # Errors
/// `ENOMEM` where nothing is mapped or memory is short.
pub fn mlock(at: *const u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: no byte changes.
    unsafe { call(number::MLOCK, [at as usize, bytes, 0, 0, 0, 0]) }.map(drop)
}

/// Undoes [`mlock`].
///
/// # Errors
/// `ENOMEM` where nothing is mapped.
pub fn munlock(at: *const u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: no byte changes.
    unsafe { call(number::MUNLOCK, [at as usize, bytes, 0, 0, 0, 0]) }.map(drop)
}

/// Starts a child that is a copy of this process; returns 0 in the child, its number in
/// the parent.
///
/// # Errors
/// `ENOMEM` or `EAGAIN` where there is no room for another process.
pub fn fork() -> Result<usize, Errno> {
    // SAFETY: without CLONE_VM the child has memory of its own.
    unsafe { call(number::CLONE, [SIGCHLD, 0, 0, 0, 0, 0]) }
}

/// Waits until any child ends; returns its number and Linux's status word.
///
/// # Errors
/// `ECHILD` without children.
pub fn wait() -> Result<(usize, u32), Errno> {
    wait_with(usize::MAX, 0)
}

/// Like [`wait`], but child number 0 if none has ended yet.
///
/// # Errors
/// `ECHILD` without children.
pub fn try_wait() -> Result<(usize, u32), Errno> {
    wait_with(usize::MAX, WNOHANG)
}

/// Waits until one child ends; Linux's status word.
///
/// # Errors
/// `ECHILD` if it is no child of this process.
pub fn wait_for(child: usize) -> Result<u32, Errno> {
    Ok(wait_with(child, 0)?.1)
}

fn wait_with(which: usize, options: usize) -> Result<(usize, u32), Errno> {
    let mut status = 0_u32;
    let place = &raw mut status;
    // SAFETY: the kernel writes the status word to `place`, which lives in this frame.
    let child = unsafe { call(number::WAIT4, [which, place as usize, options, 0, 0, 0]) }?;
    Ok((child, status))
}

/// Kills a process.
///
/// # Errors
/// `ESRCH` if there is none of this number.
pub fn kill(process: usize) -> Result<(), Errno> {
    // SAFETY: no memory of this process changes; if it kills itself, nothing is left.
    unsafe { call(number::KILL, [process, SIGKILL, 0, 0, 0, 0]) }.map(drop)
}

/// Whether a process of this number runs.
#[must_use]
pub fn is_running(process: usize) -> bool {
    // SAFETY: signal 0 only asks.
    unsafe { call(number::KILL, [process, 0, 0, 0, 0, 0]) }.is_ok()
}

/// Sleeps.
pub fn sleep(nanos: u64) {
    let time = [nanos / 1_000_000_000, nanos % 1_000_000_000];
    let place = time.as_ptr() as usize;
    // SAFETY: the kernel only reads the time, which lives in this frame.
    let _ = unsafe { call(number::NANOSLEEP, [place, 0, 0, 0, 0, 0]) };
}

/// Says what the machine is at; the text ends at the first zero byte.
pub fn show_progress(text: &[u8; 16]) {
    let at = text.as_ptr() as usize;
    // SAFETY: the kernel only reads the text. A refusal costs nothing but the display.
    let _ = unsafe { call(number::PRCTL, [PR_SHOW_PROGRESS, at, 0, 0, 0, 0]) };
}

/// Linux's `struct sysinfo` as far as it is read here.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are Linux's")]
pub struct SysInfo {
    pub uptime: u64,
    pub loads: [u64; 3],
    pub totalram: u64,
    pub freeram: u64,
    pub sharedram: u64,
    pub bufferram: u64,
    pub totalswap: u64,
    pub freeswap: u64,
    pub procs: u16,
    pub pad: u16,
    pub totalhigh: u64,
    pub freehigh: u64,
    pub mem_unit: u32,
}

/// Linux's `struct rusage` as far as it is read here.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names are Linux's")]
pub struct RUsage {
    pub utime: [u64; 2],
    pub stime: [u64; 2],
    pub maxrss: u64,
    pub ixrss: u64,
    pub idrss: u64,
    pub isrss: u64,
    pub minflt: u64,
    pub majflt: u64,
    pub rest: [u64; 8],
}

/// Calls with the address of an uninitialised `T` as argument `slot`, which the kernel
/// fills when it answers without an error.
///
/// # Safety
/// The call writes exactly a `T` there, and every bit pattern is a `T`.
unsafe fn filled<T>(number: usize, first: Option<usize>) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::uninit();
    let place = value.as_mut_ptr() as usize;
    let args = first.map_or([place, 0, 0, 0, 0, 0], |first| [first, place, 0, 0, 0, 0]);
    // SAFETY: the kernel writes only the value in this frame.
    unsafe { call(number, args) }?;
    // SAFETY: the call succeeded, so the kernel filled the value, says the caller.
    Ok(unsafe { value.assume_init() })
}

/// Memory and swap of the machine.
///
/// # Errors
/// None that a working kernel gives.
pub fn sysinfo() -> Result<SysInfo, Errno> {
    // SAFETY: `sysinfo` writes a `struct sysinfo`, which is all integers.
    unsafe { filled(number::SYSINFO, None) }
}

/// What this process has used.
///
/// # Errors
/// None that a working kernel gives.
pub fn getrusage() -> Result<RUsage, Errno> {
    // SAFETY: `getrusage` writes a `struct rusage`, which is all integers.
    unsafe { filled(number::GETRUSAGE, Some(0)) }
}

/// Monotonic time in nanoseconds.
///
/// # Panics
/// If the kernel has no clock.
#[must_use]
pub fn now() -> u64 {
    // SAFETY: `clock_gettime` writes a `struct timespec`, which is two integers.
    let time = unsafe { filled::<[u64; 2]>(number::CLOCK_GETTIME, Some(CLOCK_MONOTONIC)) };
    let [seconds, nanos] = time.expect("a monotonic clock exists");
    seconds * 1_000_000_000 + nanos
}

/// How much the out-of-memory killer prefers (1000) or spares (-1000) the caller.
///
/// # Errors
/// `EINVAL` for a number outside -1000 to 1000.
pub fn set_oom_score_adj(adj: i16) -> Result<(), Errno> {
    // SAFETY: no memory is involved.
    unsafe { call(number::PRCTL, [PR_SET_OOM_SCORE_ADJ, adj as usize, 0, 0, 0, 0]) }.map(drop)
}

/// How the RAM disk misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Knob {
    /// Microseconds that every request takes.
    DelayUs = 0,
    /// One in this many reads fails at random; 0 for none.
    FailRead = 1,
    /// One in this many writes fails at random; 0 for none.
    FailWrite = 2,
}

/// Makes swap slow or failing, where the command line lets programs do that.
///
/// # Errors
/// `EPERM` where it does not, `ENOENT` without swap.
pub fn turn_knob(knob: Knob, value: u32) -> Result<(), Errno> {
    let argument = (knob as usize) << 32 | value as usize;
    // SAFETY: no memory of this program is involved.
    unsafe { call(number::PRCTL, [PR_TURN_RAMDISK_KNOB, argument, 0, 0, 0, 0]) }.map(drop)
}

/// A door of the page allocator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// What a kernel calls.
    Allocator = 0,
    /// The list of this CPU alone.
    List = 1,
}

/// Has the kernel allocate and free a page this many times; the ticks that it took.
///
/// # Errors
/// `EPERM` where the command line does not let programs ask for that.
pub fn time_pairs(door: Door, pairs: u32) -> Result<usize, Errno> {
    let argument = (door as usize) << 32 | pairs as usize;
    // SAFETY: no memory of this program is involved.
    unsafe { call(number::PRCTL, [PR_TIME_PAIRS, argument, 0, 0, 0, 0]) }
}

/// How many instructions the CPU has executed, without those that it did not while it waited: the low
/// 32 bits.
///
/// # Errors
/// `EPERM` unless the kernel's command line has `test.hooks`, `EOPNOTSUPP` if nothing counts them.
pub fn executed() -> Result<u32, Errno> {
    let mut count = 0_u64;
    // SAFETY: the kernel writes a word, and there is one.
    unsafe { call(number::PRCTL, [PR_EXECUTED, (&raw mut count).addr(), 0, 0, 0, 0]) }?;
    // SAFETY: the kernel may have written it.
    Ok(unsafe { (&raw const count).read_volatile() } as u32)
}
