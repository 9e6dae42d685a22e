//! The harness of the in-kernel tests: a table of functions, of which a boot runs one.
//!
//! An image of tests boots like the kernel and then reads its command line over semihosting. The
//! output is that of libtest as far as `cargo nextest` uses it:
//!
//! | words | what happens |
//! | --- | --- |
//! | `--list --format terse` | a line `name: test` for each test |
//! | `--list --format terse --ignored` | the same for the long tests only |
//! | `NAME --nocapture --exact` | the test runs; status 0 if it returns |
//!
//! A test that panics or faults ends the machine with the kernel's status for that, and one
//! that hangs is ended by `scripts/runner`: each is one failed test and no more.
//!
//! Some tests prove that the kernel refuses to continue: such a test announces the last words that
//! it expects. `scripts/runner` counts it as passed if the run fails, with the kernel's status for
//! that, and these words follow the announcement.
#![no_std]

mod request;

pub use request::{Request, Which, Wrong};

use core::fmt::{self, Write};

/// The status of a boot with an invalid request.
pub const MISUSED: i32 = 2;
/// The status of a test that returned although it must not.
pub const CAME_BACK: i32 = 3;

/// A test: a sentence of behaviour, and the function that proves it by returning, or by ending the
/// run with the right last words.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// The name, `group::sentence_of_behaviour`.
    pub name: &'static str,
    /// Panics if the behaviour is wrong.
    pub run: fn(),
    /// Too long for every day: runs only on request.
    pub long: bool,
    /// The run must end with a failing status and print this, in one line.
    pub last_words: Option<&'static str>,
    /// Whether this machine has what the test is about; one that has not does not list it.
    pub applies: fn() -> bool,
}

impl Test {
    /// A test that runs whenever tests run.
    pub const fn new(name: &'static str, run: fn()) -> Self {
        Self { name, run, long: false, last_words: None, applies: || true }
    }

    /// A test that runs only with the long ones.
    pub const fn long(name: &'static str, run: fn()) -> Self {
        Self { long: true, ..Self::new(name, run) }
    }

    /// A test that must not return but end the run, printing `last_words`.
    pub const fn fatal(name: &'static str, last_words: &'static str, run: fn()) -> Self {
        Self { last_words: Some(last_words), ..Self::new(name, run) }
    }

    /// The same test, only for machines of which `applies` is true.
    pub const fn only_if(self, applies: fn() -> bool) -> Self {
        Self { applies, ..self }
    }
}

/// Does what `words` ask for with the tests of all `groups`; returns the exit status.
pub fn main(words: &str, groups: &[&[Test]], out: &mut dyn Write) -> i32 {
    let tests = || groups.iter().flat_map(|group| group.iter());
    let done = match Request::parse(words) {
        Ok(Request::List(which)) => list(tests(), which, out).map(|()| 0),
        Ok(Request::Run(name)) => match tests().find(|test| test.name == name) {
            Some(test) => run(test, out),
            None => return misused(out, format_args!("no test is called {name}")),
        },
        Err(wrong) => return misused(out, format_args!("{wrong}")),
    };
    // The console is the only place to report to; if it refuses, the status says so.
    done.unwrap_or(MISUSED)
}

fn list<'a>(
    tests: impl Iterator<Item = &'a Test>,
    which: Which,
    out: &mut dyn Write,
) -> fmt::Result {
    for test in tests.filter(|test| which.includes(test.long) && (test.applies)()) {
        writeln!(out, "{}: test", test.name)?;
    }
    Ok(())
}

/// Runs a test; the status of the run, if it returns.
fn run(test: &Test, out: &mut dyn Write) -> Result<i32, fmt::Error> {
    match test.last_words {
        Some(words) => writeln!(out, "test {} ... must end the run with: {words}", test.name)?,
        None => writeln!(out, "test {} ...", test.name)?,
    }
    (test.run)();
    match test.last_words {
        Some(_) => writeln!(out, "test {} ... came back", test.name).map(|()| CAME_BACK),
        None => writeln!(out, "test {} ... ok", test.name).map(|()| 0),
    }
}

fn misused(out: &mut dyn Write, what: fmt::Arguments<'_>) -> i32 {
    // As in `main`: the status shows it too.
    let _ = writeln!(out, "suite: {what}");
    MISUSED
}

/// The words that semihosting hands over, without the program's name; empty if it has none.
#[cfg(target_os = "none")]
pub fn words(buffer: &mut [u8; 512]) -> &str {
    use core::mem::MaybeUninit;
    use semihosting::sys::arm_compat::sys_get_cmdline_uninit;

    let mut line = [MaybeUninit::uninit(); 512];
    let Ok(bytes) = sys_get_cmdline_uninit(&mut line) else { return "" };
    let text = &mut buffer[..bytes.len()];
    text.copy_from_slice(bytes);
    let text = core::str::from_utf8(text).unwrap_or_default();
    text.split_once(' ').map_or("", |(_, words)| words)
}
