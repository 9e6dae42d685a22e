//! How the watched program ended, in words. Pure.

use core::fmt;

use crate::task::signal;

/// The end of a program.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// The status as `wait4` reports it.
    pub status: i32,
    /// Whether it was killed because memory ran out.
    pub for_memory: bool,
}

impl Ended {
    /// The program's own status, or 128 and the signal that killed it.
    pub const fn own(self) -> u8 {
        match self.status & 0x7f {
            0 => (self.status >> 8) as u8,
            signal => 128 + signal as u8,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.status & 0x7f) as u8 {
            0 => match meaning(self.own()) {
                "" => write!(f, "program ended with status {}", self.own()),
                what => write!(f, "program ended with status {}: {what}", self.own()),
            },
            signal::SIGKILL if self.for_memory => {
                write!(f, "program was killed: out of memory (128+{})", signal::SIGKILL)
            }
            number => write!(f, "program was killed: {} (128+{number})", cause(number)),
        }
    }
}

/// The meaning of the statuses of this project's programs.
const fn meaning(status: u8) -> &'static str {
    match status {
        3 => "a page did not hold what was written to it",
        4 => "an expectation failed, see above",
        101 => "it panicked, see above",
        127 => "it could not be loaded",
        _ => "",
    }
}

const fn cause(number: u8) -> &'static str {
    match number {
        signal::SIGILL => "SIGILL, an instruction that does not exist",
        signal::SIGTRAP => "SIGTRAP, a breakpoint",
        signal::SIGBUS => "SIGBUS, a page that could not be read back",
        signal::SIGFPE => "SIGFPE, a floating-point exception",
        signal::SIGKILL => "SIGKILL, by another program",
        signal::SIGSEGV => "SIGSEGV, an access to what is not its memory",
        _ => "a signal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{exited_with, killed_by};

    fn say(status: i32, for_memory: bool) -> (u8, String) {
        let ended = Ended { status, for_memory };
        (ended.own(), ended.to_string())
    }

    #[test]
    fn a_program_that_ends_by_itself_says_its_status() {
        assert_eq!(say(exited_with(0), false), (0, "program ended with status 0".to_owned()));
        assert_eq!(say(exited_with(7), false), (7, "program ended with status 7".to_owned()));
        let (status, said) = say(exited_with(3), false);
        assert_eq!(status, 3);
        assert!(said.starts_with("program ended with status 3: a page did not"), "{said}");
    }

    /// OOM-02: a bare 137 means nothing to a person.
    #[test]
    fn a_program_killed_for_memory_says_so() {
        let wanted = "program was killed: out of memory (128+9)";
        assert_eq!(say(killed_by(signal::SIGKILL), true), (137, wanted.to_owned()));
        let (status, said) = say(killed_by(signal::SIGKILL), false);
        assert_eq!((status, said.contains("memory")), (137, false), "{said}");
    }

    #[test]
    fn another_signal_is_named() {
        let (status, said) = say(killed_by(signal::SIGSEGV), true);
        assert_eq!(status, 139);
        assert!(said.contains("SIGSEGV") && said.ends_with("(128+11)"), "{said}");
    }
}
