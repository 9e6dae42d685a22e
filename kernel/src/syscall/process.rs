//! Processes: `fork`, `wait4`, `kill`, `exit`, names and numbers.

use mm_reclaim::space::SpaceError;

use super::errno::{EAGAIN, ECHILD, EFAULT, EINTR, EINVAL, ENOMEM, ESRCH, Errno};
use super::{hooks, mem};
use crate::arch::trap::TrapFrame;
use crate::arch::usercopy::{copy_to_user, put_words, string_from_user};
use crate::monitor;
use crate::task::family::{NAME_BYTES, NoChild, Which};
use crate::task::{self, SpawnError, signal};

/// `wait4`: do not wait.
const WNOHANG: u64 = 1;
/// `wait4`: flags about stopped children, of which there are none.
const WAIT_IGNORED: u64 = 2 | 8;
/// `prctl`: set the caller's name.
const PR_SET_NAME: u64 = 15;
/// `prctl`: set the caller's `oom_score_adj`. This kernel's own: there is no `/proc` yet.
const PR_SET_OOM_SCORE_ADJ: u64 = 0x4f4f_4d00;
/// `prctl`: time the page allocator. This kernel's own, for tests.
const PR_TIME_PAIRS: u64 = 0x7470_7000;
/// `prctl`: set the caller's progress, for the live line. This kernel's own.
const PR_SHOW_PROGRESS: u64 = 0x7072_6f00;
/// `prctl`: make swap slow or failing. This kernel's own, for tests.
const PR_TURN_RAMDISK_KNOB: u64 = 0x7264_6b00;
/// How many instructions this CPU has executed.
const PR_EXECUTED: u64 = 0x6578_6500;

impl From<SpawnError> for Errno {
    fn from(error: SpawnError) -> Self {
        match error {
            SpawnError::TooManyTasks => EAGAIN,
            SpawnError::Space(SpaceError::Killed) => EINTR,
            SpawnError::NoStack | SpawnError::Space(_) => ENOMEM,
        }
    }
}

#[inline(never)]
pub(super) fn exit(code: u64) -> ! {
    task::exit(task::exited_with(code as i32))
}

#[expect(clippy::unnecessary_wraps, reason = "the table of calls needs one type")]
pub(super) fn getpid() -> Result<u64, Errno> {
    Ok(u64::from(task::pids().0))
}

#[expect(clippy::unnecessary_wraps, reason = "the table of calls needs one type")]
pub(super) fn getppid() -> Result<u64, Errno> {
    Ok(u64::from(task::pids().1))
}

#[expect(clippy::unnecessary_wraps, reason = "the table of calls needs one type")]
pub(super) fn sched_yield() -> Result<u64, Errno> {
    task::yield_cpu();
    Ok(0)
}

/// `clone` as `fork`: a child that shares nothing and sends `SIGCHLD`.
#[inline(never)]
pub(super) fn clone(flags: u64, stack: u64, frame: &TrapFrame) -> Result<u64, Errno> {
    if flags != u64::from(signal::SIGCHLD) || stack != 0 {
        return Err(EINVAL);
    }
    Ok(u64::from(task::fork(frame)?))
}

#[inline(never)]
pub(super) fn wait4(pid: u64, status: u64, options: u64, usage: u64) -> Result<u64, Errno> {
    if options & !(WNOHANG | WAIT_IGNORED) != 0 {
        return Err(EINVAL);
    }
    let which = match pid as i32 {
        -1 | 0 => Which::Any,
        n if n > 0 => Which::Pid(n as u32),
        // There are no process groups, so no child is in one.
        _ => return Err(ECHILD),
    };
    let block = options & WNOHANG == 0;
    let (pid, code) = match task::wait_child(which, block) {
        Err(NoChild) => return Err(ECHILD),
        Ok(None) if block => return Err(EINTR),
        Ok(None) => return Ok(0),
        Ok(Some(found)) => found,
    };
    if status != 0 {
        copy_to_user(status, &code.to_le_bytes())?;
    }
    if usage != 0 {
        put_words(usage, &[0; 18])?;
    }
    Ok(u64::from(pid))
}

#[inline(never)]
pub(super) fn kill(pid: u64, number: u64) -> Result<u64, Errno> {
    let pid = u32::try_from(pid as i32).map_err(|_| EINVAL)?;
    if pid == 0 || (number != 0 && number != u64::from(signal::SIGKILL)) {
        return Err(EINVAL);
    }
    let found = if number == 0 { task::exists(pid) } else { task::kill_process(pid) };
    if found { Ok(0) } else { Err(ESRCH) }
}

#[inline(never)]
pub(super) fn prctl(option: u64, argument: u64) -> Result<u64, Errno> {
    match option {
        PR_SET_NAME => set_name(argument),
        PR_SHOW_PROGRESS => show_progress(argument),
        PR_SET_OOM_SCORE_ADJ => mem::set_oom_score_adj(argument),
        PR_TIME_PAIRS => hooks::time_pairs(argument),
        PR_TURN_RAMDISK_KNOB => hooks::turn_knob(argument),
        PR_EXECUTED => hooks::executed(argument),
        _ => Err(EINVAL),
    }
}

fn set_name(argument: u64) -> Result<u64, Errno> {
    let (name, len) = short_text(argument)?;
    task::rename_current(&name[..len]);
    Ok(0)
}

/// The progress is shown in addition to the program's name.
fn show_progress(argument: u64) -> Result<u64, Errno> {
    monitor::show_progress(short_text(argument)?.0);
    Ok(0)
}

/// Reads up to fifteen bytes from the program, padded with zeroes; returns them and their number.
fn short_text(argument: u64) -> Result<([u8; NAME_BYTES], usize), Errno> {
    let mut text = [0; NAME_BYTES];
    let len = string_from_user(&mut text[..NAME_BYTES - 1], argument).map_err(|_| EFAULT)?;
    Ok((text, len))
}
