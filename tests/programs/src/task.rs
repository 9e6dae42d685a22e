//! Children: start them, await them, judge how they ended.

use crate::sys::{self, Errno};
use crate::{FAILED, println};

/// The signal of an access to memory that is not the program's.
pub const SIGSEGV: u32 = 11;
/// The signal of an access that memory could not serve.
pub const SIGBUS: u32 = 7;
/// The signal that cannot be caught.
pub const SIGKILL: u32 = 9;
/// The signal of an undefined instruction.
pub const SIGILL: u32 = 4;

/// How a child ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It exited with a status.
    Status(u32),
    /// A signal ended it.
    Signal(u32),
}

impl End {
    /// What Linux's status word says.
    fn from_word(word: u32) -> Self {
        match word & 0x7f {
            0 => Self::Status((word >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }
}

/// A child that was started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Child(pub usize);

/// Starts a child that runs `work` and exits with its value.
///
/// # Errors
/// The kernel's, if there is no room for another process.
pub fn spawn(work: impl FnOnce() -> i32) -> Result<Child, Errno> {
    match sys::fork()? {
        0 => sys::exit(work()),
        child => Ok(Child(child)),
    }
}

/// Starts a child that must be startable.
///
/// # Panics
/// If the kernel refuses.
pub fn start(work: impl FnOnce() -> i32) -> Child {
    match spawn(work) {
        Ok(child) => child,
        Err(error) => panic!("fork: {error:?}"),
    }
}

/// Waits for any child.
///
/// # Errors
/// `ECHILD` when there is none.
pub fn wait() -> Result<(Child, End), Errno> {
    let (child, word) = sys::wait()?;
    Ok((Child(child), End::from_word(word)))
}

/// A child that has ended, if there is one by now.
///
/// # Errors
/// `ECHILD` when there is no child.
pub fn try_wait() -> Result<Option<(Child, End)>, Errno> {
    let (child, word) = sys::try_wait()?;
    Ok((child != 0).then(|| (Child(child), End::from_word(word))))
}

/// Waits for one child.
///
/// # Panics
/// If it is no child of this process.
#[must_use]
pub fn join(child: Child) -> End {
    End::from_word(sys::wait_for(child.0).expect("a child of this process"))
}

/// Waits for these children, in the order in which they end.
///
/// # Panics
/// If another one ends, or there are fewer.
#[must_use]
pub fn join_each<const N: usize>(children: [Child; N]) -> [End; N] {
    let mut ends = [None; N];
    for _ in 0..N {
        let (ended, end) = wait().expect("a child runs");
        let at = children.iter().position(|child| *child == ended);
        ends[at.expect("one of these children ended")] = Some(end);
    }
    ends.map(|end| end.expect("each child ends once"))
}

/// Waits for `count` children; the status of the first that did not end with 0, as an
/// exit status for the parent.
///
/// # Panics
/// If there are fewer children.
#[must_use]
pub fn join_all(count: usize) -> i32 {
    let mut worst = 0;
    for _ in 0..count {
        let (Child(child), end) = wait().expect("a child runs");
        if end != End::Status(0) && worst == 0 {
            println!("child {child} ended with {end:?}");
            worst = match end {
                End::Status(status) => status as i32,
                End::Signal(_) => FAILED,
            };
        }
    }
    worst
}
