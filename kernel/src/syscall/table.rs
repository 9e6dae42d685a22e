//! The dispatch of system calls by number.

use super::errno::{ENOSYS, Errno};
use super::{file, io, mem, process, swap};
use crate::arch::trap::TrapFrame;

/// Executes the call in the registers and leaves the result in `x0`.
pub fn dispatch(frame: &mut TrapFrame) {
    let answer = call(frame);
    frame.x[0] = answer.unwrap_or_else(Errno::as_return_value);
}

fn call(frame: &TrapFrame) -> Result<u64, Errno> {
    let [a0, a1, a2, a3, ..] = frame.x;
    match frame.x[8] {
        35 => file::unlinkat(a0, a1, a2),
        46 => file::ftruncate(a0, a1),
        47 => file::fallocate(a0, a1, a2, a3),
        56 => file::openat(a0, a1, a2),
        57 => file::close(a0),
        62 => file::lseek(a0, a1, a2),
        63 => file::read(a0, a1, a2, None),
        64 if a0 < 3 => io::write(a0, a1, a2),
        64 => file::write(a0, a1, a2, None),
        67 => file::read(a0, a1, a2, Some(a3)),
        68 => file::write(a0, a1, a2, Some(a3)),
        80 => file::fstat(a0, a1),
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
        279 => file::memfd_create(a0, a1),
        _ => Err(ENOSYS),
    }
}
