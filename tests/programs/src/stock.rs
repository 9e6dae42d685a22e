//! What the machine has to give, before a program's work and after it: nothing may leak.

use crate::{println, sys};

/// Pages that may be short afterwards: what the program itself came to use.
const SLACK: u64 = 64;
/// How long, in nanoseconds, the kernel may take to get everything back, and between two
/// looks.
const PATIENCE: u64 = 2_000_000_000;
const GLANCE: u64 = 5_000_000;

/// Free memory, free swap and processes at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stock {
    memory: u64,
    swap: u64,
    processes: u16,
}

impl Stock {
    /// What there is now.
    ///
    /// # Panics
    /// If the kernel refuses the call.
    #[must_use]
    pub fn now() -> Self {
        let info = sys::sysinfo().expect("sysinfo works");
        Self { memory: info.freeram, swap: info.freeswap, processes: info.procs }
    }

    /// Whether everything is back soon after the last child has ended; says what is not.
    /// Swap counts if `with_swap`: slots that a write error retired do not come back.
    #[must_use]
    pub fn is_back_soon(self, with_swap: bool) -> bool {
        let until = sys::now() + PATIENCE;
        loop {
            let now = Self::now();
            if now.memory + SLACK >= self.memory
                && (!with_swap || now.swap + SLACK >= self.swap)
                && now.processes == self.processes
            {
                return true;
            }
            if sys::now() > until {
                println!("NOT GIVEN BACK: {now:?} of {self:?}");
                return false;
            }
            sys::sleep(GLANCE);
        }
    }
}
