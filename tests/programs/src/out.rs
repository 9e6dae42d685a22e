//! Output: one `write` for each piece of text, and the name that shows progress.

use core::fmt::{self, Write};

use crate::sys;

/// Text that is collected and written in one call.
struct Line {
    bytes: [u8; 256],
    used: usize,
}

impl Line {
    fn flush(&mut self) {
        // Output that the kernel refuses has no other place to go.
        let _ = sys::write(1, &self.bytes[..self.used]);
        self.used = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.as_bytes().chunks(self.bytes.len()) {
            if self.used + piece.len() > self.bytes.len() {
                self.flush();
            }
            self.bytes[self.used..self.used + piece.len()].copy_from_slice(piece);
            self.used += piece.len();
        }
        Ok(())
    }
}

/// Writes formatted text to standard output.
pub fn print(text: fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 256], used: 0 };
    // A `Line` accepts everything; an error could only come from a broken `Display`.
    let _ = line.write_fmt(text);
    line.flush();
}

/// Prints like `std`'s macro of the same name.
#[macro_export]
macro_rules! print {
    ($($arg:tt)*) => { $crate::out::print(format_args!($($arg)*)) };
}

/// Prints like `std`'s macro of the same name.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($arg:tt)*) => { $crate::out::print(format_args!("{}\n", format_args!($($arg)*))) };
}

/// Progress through a phase, shown as the task's name: `write 45%`.
///
/// The name changes at most a hundred times a phase, so that watching costs nothing.
pub struct Progress {
    phase: &'static str,
    total: usize,
    next: usize,
}

impl Progress {
    /// A phase of `total` steps.
    #[must_use]
    pub fn new(phase: &'static str, total: usize) -> Self {
        Self { phase, total, next: 0 }
    }

    /// The steps before step `done` are behind us.
    #[inline]
    pub fn step(&mut self, done: usize) {
        if done >= self.next {
            self.show(done);
        }
    }

    #[cold]
    fn show(&mut self, done: usize) {
        let percent = done * 100 / self.total.max(1);
        let mut name = Line { bytes: [0; 256], used: 0 };
        let _ = write!(name, "{} {percent}%", self.phase);
        let mut bytes = [0; 16];
        let used = name.used.min(15);
        bytes[..used].copy_from_slice(&name.bytes[..used]);
        sys::set_name(&bytes);
        self.next = (percent + 1) * self.total / 100 + 1;
    }
}
