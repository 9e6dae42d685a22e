//! The console, clocks and sleep.

use mm_reclaim::env::WaitEnd;
use mm_reclaim::units::Nanos;

use super::args;
use super::errno::{EBADF, EFAULT, EINTR, EINVAL, Errno};
use crate::arch::usercopy::{copy_from_user, put_words};
use crate::drivers::{console, timer};
use crate::task;

/// Bytes that are copied from the program at a time.
const CHUNK: usize = 256;

/// Standard output and standard error are the console; no other file exists.
#[inline(never)]
pub(super) fn write(fd: u64, from: u64, len: u64) -> Result<u64, Errno> {
    if fd != 1 && fd != 2 {
        return Err(EBADF);
    }
    let mut buffer = [0; CHUNK];
    let mut done = 0;
    while done < len && !task::is_killed() {
        let part = &mut buffer[..(len - done).min(CHUNK as u64) as usize];
        let at = from.checked_add(done).ok_or(EFAULT)?;
        match copy_from_user(part, at) {
            Ok(()) => console::write_bytes(part),
            // Returns what was written; the next call reports the bad pointer.
            Err(_) if done > 0 => break,
            Err(fault) => return Err(fault.into()),
        }
        done += part.len() as u64;
        task::cond_resched();
    }
    Ok(done)
}

/// Every clock shows the time since the counter was at zero: there is no real-time clock.
#[inline(never)]
pub(super) fn clock_gettime(clock: u64, out: u64) -> Result<u64, Errno> {
    // Real time, monotonic, raw, coarse and boot time.
    if !matches!(clock, 0 | 1 | 4..=7) {
        return Err(EINVAL);
    }
    let now = timer::now().0;
    put_words(out, &[now / 1_000_000_000, now % 1_000_000_000])?;
    Ok(0)
}

#[inline(never)]
pub(super) fn nanosleep(request: u64) -> Result<u64, Errno> {
    let mut words = [0; 16];
    copy_from_user(&mut words, request)?;
    let word = |at: usize| words[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
    let time = args::nanos(word(0), word(8))?;
    match task::sleep_killable(Nanos(time)) {
        WaitEnd::Killed => Err(EINTR),
        _ => Ok(0),
    }
}
