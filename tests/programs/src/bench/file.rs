//! A file that is written and read in order, many pages by one call.

use crate::pages::{PAGE_SIZE, Pages};
use crate::sys::files::Fd;

/// Pages that are read or written by one call.
pub const CHUNK: usize = 32;
const POSIX_FADV_DONTNEED: usize = 4;

/// The file.
#[derive(Debug)]
pub struct Stream {
    /// It, open.
    pub fd: Fd,
    /// Its pages: a multiple of [`CHUNK`].
    pub count: usize,
}

impl Stream {
    /// Writes all of it.
    ///
    /// # Panics
    /// If a write is short.
    pub fn write(&self, buffer: &mut Pages) {
        for first in (0..self.count).step_by(CHUNK) {
            let written = self.fd.write_at(buffer.bytes_mut(0, CHUNK), (first * PAGE_SIZE) as u64);
            assert_eq!(written, Ok(CHUNK * PAGE_SIZE));
        }
    }

    /// Reads all of it.
    ///
    /// # Panics
    /// If a read is short.
    pub fn read(&self, buffer: &mut Pages) {
        for first in (0..self.count).step_by(CHUNK) {
            let read = self.fd.read_at(buffer.bytes_mut(0, CHUNK), (first * PAGE_SIZE) as u64);
            assert_eq!(read, Ok(CHUNK * PAGE_SIZE));
        }
    }

    /// Drops what is cached of the file.
    pub fn forget(&self) {
        self.advise(POSIX_FADV_DONTNEED);
    }

    /// Says how it will be used.
    ///
    /// # Panics
    /// If there is no such advice.
    pub fn advise(&self, advice: usize) {
        self.fd.advise(0, 0, advice).expect("advice that exists");
    }
}
