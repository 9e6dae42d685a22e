//! The dispatch of system calls by number.

use super::errno::{ENOSYS, Errno};
use super::{file, io, mem, names, process, swap};
use crate::arch::trap::TrapFrame;

/// Executes the call in the registers and leaves the result in `x0`.
pub fn dispatch(frame: &mut TrapFrame) {
    let answer = call(frame);
    frame.x[0] = answer.unwrap_or_else(Errno::as_return_value);
}

fn call(frame: &TrapFrame) -> Result<u64, Errno> {
    let [a0, a1, a2, a3, ..] = frame.x;
    match frame.x[8] {
        34 => names::mkdirat(a0, a1, a2),
        35 => names::unlinkat(a0, a1, a2),
        36 => names::symlinkat(a0, a1, a2),
        37 => names::linkat(a0, a1, a2, a3, frame.x[4]),
        38 => names::renameat2(a0, a1, a2, a3, 0),
        44 => names::fstatfs(a0, a1),
        46 => file::ftruncate(a0, a1),
        47 => file::fallocate(a0, a1, a2, a3),
        56 => names::openat(a0, a1, a2, a3),
        57 => file::close(a0),
        61 => names::getdents64(a0, a1, a2),
        62 => file::lseek(a0, a1, a2),
        63 => file::read(a0, a1, a2, None),
        64 if a0 < 3 => io::write(a0, a1, a2),
        64 => file::write(a0, a1, a2, None),
        67 => file::read(a0, a1, a2, Some(a3)),
        68 => file::write(a0, a1, a2, Some(a3)),
        78 => names::readlinkat(a0, a1, a2, a3),
        79 => names::newfstatat(a0, a1, a2, a3),
        80 => names::fstat(a0, a1),
        81 => file::sync(),
        82 | 83 => file::fsync(a0),
        84 => file::sync_file_range(a0, a1, a2, a3),
        93 | 94 => process::exit(a0),
        96 | 172 | 178 => process::getpid(),
        101 => io::nanosleep(a0),
        113 => io::clock_gettime(a0, a1),
        124 => process::sched_yield(),
        129 => process::kill(a0, a1),
        165 => mem::getrusage(a0, a1),
        167 => process::prctl(a0, a1),
        173 => process::getppid(),
        179 => mem::sysinfo(a0),
        213 => file::readahead(a0, a1, a2),
        215 => mem::munmap(a0, a1),
        220 => process::clone(a0, a1, frame),
        222 => mem::mmap(a0, a1, a2, a3, frame.x[4], frame.x[5]),
        223 => file::fadvise(a0, a1, a2, a3),
        224 => swap::swapon(a0, a1),
        225 => swap::swapoff(a0),
        226 => mem::mprotect(a0, a1, a2),
        227 => mem::msync(a0, a1, a2),
        228 => mem::mlock(a0, a1),
        229 => mem::munlock(a0, a1),
        232 => mem::mincore(a0, a1, a2),
        233 => mem::madvise(a0, a1, a2),
        260 => process::wait4(a0, a1, a2, a3),
        276 => names::renameat2(a0, a1, a2, a3, frame.x[4]),
        279 => names::memfd_create(a0, a1),
        291 => names::statx(a0, a1, a2, a3, frame.x[4]),
        _ => Err(ENOSYS),
    }
}
