//! Output: one `write` for each piece of text, and the progress that the live line shows.

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

/// Progress through a phase, as the live line shows it: `write       45%`.
///
/// What is shown changes at most a hundred times a phase, so that watching costs nothing.
pub struct Progress {
    phase: &'static str,
    total: usize,
    next: usize,
}

impl Progress {
    /// A phase of `total` steps, the first of which is about to begin. Its name has at most
    /// eleven bytes.
    #[must_use]
    pub fn new(phase: &'static str, total: usize) -> Self {
        let mut progress = Self { phase, total, next: 0 };
        progress.show(0);
        progress
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
        let mut text = Line { bytes: [0; 256], used: 0 };
        let _ = write!(text, "{:<11}{percent:>3}%", self.phase);
        let mut bytes = [0; 16];
        let used = text.used.min(15);
        bytes[..used].copy_from_slice(&text.bytes[..used]);
        sys::show_progress(&bytes);
        self.next = (percent + 1) * self.total / 100 + 1;
    }
}

/// How long work usually takes on an emulated machine, where `units` are done each second of
/// an ordinary day: half as long on a quick host, and twice as long on a busy one.
pub fn usual_time(work: usize, units: usize) -> impl fmt::Display {
    let seconds = (work / units).max(1);
    fmt::from_fn(move |f| {
        write!(f, "usually takes {} to {} seconds", seconds.div_ceil(2), seconds * 2)
    })
}
