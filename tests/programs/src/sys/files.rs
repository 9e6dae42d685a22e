//! System calls on files.

use core::ffi::CStr;

use super::{Errno, PROT_READ_WRITE, call, number};

pub(super) const AT_FDCWD: usize = -100_isize as usize;
const PROT_READ: usize = 1;
const MAP_SHARED: usize = 1;
const MAP_PRIVATE: usize = 2;
const MS_SYNC: usize = 4;
const PUNCH_HOLE_KEEP_SIZE: usize = 2 | 1;
const SEEK_SET: usize = 0;

/// The flags of [`open`].
pub mod flags {
    #![expect(missing_docs, reason = "the names are Linux's and say everything")]
    pub const RDONLY: usize = 0;
    pub const WRONLY: usize = 1;
    pub const RDWR: usize = 2;
    pub const CREAT: usize = 0o100;
    pub const EXCL: usize = 0o200;
    pub const TRUNC: usize = 0o1000;
    pub const APPEND: usize = 0o2000;
    pub const DIRECTORY: usize = 0o4_0000;
    pub const NOFOLLOW: usize = 0o10_0000;
    pub const TMPFILE: usize = 0o2000_0000 | DIRECTORY;
}

/// An open file, closed with the value.
#[derive(Debug)]
pub struct Fd(pub usize);

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: a descriptor is no memory.
        let _ = unsafe { call(number::CLOSE, [self.0, 0, 0, 0, 0, 0]) };
    }
}

/// Opens a file.
///
/// # Errors
/// Linux's.
pub fn open(path: &CStr, flags: usize) -> Result<Fd, Errno> {
    let args = [AT_FDCWD, path.as_ptr() as usize, flags, 0o600, 0, 0];
    // SAFETY: the kernel only reads the path.
    unsafe { call(number::OPENAT, args) }.map(Fd)
}

/// A file in memory without a name.
///
/// # Errors
/// Linux's.
pub fn memfd() -> Result<Fd, Errno> {
    // SAFETY: the kernel only reads the name.
    unsafe { call(number::MEMFD_CREATE, [c"memory".as_ptr() as usize, 0, 0, 0, 0, 0]) }.map(Fd)
}

/// Removes a name.
///
/// # Errors
/// `ENOENT` if there is none.
pub fn unlink(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the kernel only reads the path.
    unsafe { call(number::UNLINKAT, [AT_FDCWD, path.as_ptr() as usize, 0, 0, 0, 0]) }.map(drop)
}

impl Fd {
    /// Reads from where the description is.
    ///
    /// # Errors
    /// Linux's.
    pub fn read(&self, to: &mut [u8]) -> Result<usize, Errno> {
        let args = [self.0, to.as_mut_ptr() as usize, to.len(), 0, 0, 0];
        // SAFETY: the kernel writes into the slice alone.
        unsafe { call(number::READ, args) }
    }

    /// Reads from a place.
    ///
    /// # Errors
    /// Linux's.
    pub fn read_at(&self, to: &mut [u8], at: u64) -> Result<usize, Errno> {
        let args = [self.0, to.as_mut_ptr() as usize, to.len(), at as usize, 0, 0];
        // SAFETY: the kernel writes into the slice alone.
        unsafe { call(number::PREAD64, args) }
    }

    /// Writes to where the description is.
    ///
    /// # Errors
    /// Linux's.
    pub fn write(&self, from: &[u8]) -> Result<usize, Errno> {
        super::write(self.0, from)
    }

    /// Writes to a place.
    ///
    /// # Errors
    /// Linux's.
    pub fn write_at(&self, from: &[u8], at: u64) -> Result<usize, Errno> {
        let args = [self.0, from.as_ptr() as usize, from.len(), at as usize, 0, 0];
        // SAFETY: the kernel only reads the slice.
        unsafe { call(number::PWRITE64, args) }
    }

    /// Moves the description to a place.
    ///
    /// # Errors
    /// Linux's.
    pub fn seek(&self, at: u64) -> Result<usize, Errno> {
        self.on(number::LSEEK, [at as usize, SEEK_SET, 0])
    }

    /// Makes the file shorter or longer.
    ///
    /// # Errors
    /// Linux's.
    pub fn truncate(&self, size: u64) -> Result<(), Errno> {
        self.on(number::FTRUNCATE, [size as usize, 0, 0]).map(drop)
    }

    /// Makes a hole of `len` bytes from `start` on.
    ///
    /// # Errors
    /// Linux's.
    pub fn punch_hole(&self, start: u64, len: u64) -> Result<(), Errno> {
        let args = [PUNCH_HOLE_KEEP_SIZE, start as usize, len as usize];
        self.on(number::FALLOCATE, args).map(drop)
    }

    /// The size in bytes.
    ///
    /// # Errors
    /// Linux's.
    pub fn size(&self) -> Result<u64, Errno> {
        let mut stat = [0_u64; 16];
        let args = [self.0, stat.as_mut_ptr() as usize, 0, 0, 0, 0];
        // SAFETY: `struct stat` has 128 bytes, all of them integers.
        unsafe { call(number::FSTAT, args) }?;
        Ok(stat[6])
    }

    /// Writes what is dirty to the disk, and waits.
    ///
    /// # Errors
    /// `EIO` or `ENOSPC`, if a write has failed since the last call.
    pub fn sync(&self) -> Result<(), Errno> {
        self.on(number::FSYNC, [0, 0, 0]).map(drop)
    }

    /// The same for a part of the file.
    ///
    /// # Errors
    /// As [`Fd::sync`].
    pub fn sync_range(&self, start: u64, len: u64, how: usize) -> Result<(), Errno> {
        self.on(number::SYNC_FILE_RANGE, [start as usize, len as usize, how]).map(drop)
    }

    /// Says how the file will be used: Linux's numbers.
    ///
    /// # Errors
    /// `EINVAL` for another number.
    pub fn advise(&self, start: u64, len: u64, advice: usize) -> Result<(), Errno> {
        self.on(number::FADVISE64, [start as usize, len as usize, advice]).map(drop)
    }

    /// Starts reading.
    ///
    /// # Errors
    /// Linux's.
    pub fn read_ahead(&self, start: u64, len: u64) -> Result<(), Errno> {
        self.on(number::READAHEAD, [start as usize, len as usize, 0]).map(drop)
    }

    /// Maps `bytes` of the file from `offset` on.
    ///
    /// # Errors
    /// Linux's.
    pub fn map(&self, how: How, bytes: usize, offset: u64) -> Result<*mut u8, Errno> {
        let (prot, kind) = match how {
            How::Private => (PROT_READ_WRITE, MAP_PRIVATE),
            How::Shared => (PROT_READ_WRITE, MAP_SHARED),
            How::SharedToRead => (PROT_READ, MAP_SHARED),
        };
        let args = [0, bytes, prot, kind, self.0, offset as usize];
        // SAFETY: without a fixed address a new mapping takes no memory that is in use.
        unsafe { call(number::MMAP, args) }.map(core::ptr::with_exposed_provenance_mut)
    }

    /// A call with three numbers, none of which is memory.
    fn on(&self, number: usize, [a, b, c]: [usize; 3]) -> Result<usize, Errno> {
        // SAFETY: no memory of this program is involved.
        unsafe { call(number, [self.0, a, b, c, 0, 0]) }
    }
}

/// [`Fd::sync_range`] writes what is dirty, and waits for nothing.
pub const WRITE_RANGE: usize = 2;
/// [`Fd::sync_range`] waits for what is being written.
pub const WAIT_FOR_RANGE: usize = 4;

/// How a file is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum How {
    /// Stores stay in this process.
    Private,
    /// Stores go to the file.
    Shared,
    /// The file is only read.
    SharedToRead,
}

/// Writes to the disk what stores to shared mappings changed, and waits.
///
/// # Errors
/// `ENOMEM` where nothing is mapped, `EIO` if a write has failed.
pub fn msync(at: *const u8, bytes: usize) -> Result<(), Errno> {
    // SAFETY: no byte changes.
    unsafe { call(number::MSYNC, [at as usize, bytes, MS_SYNC, 0, 0, 0]) }.map(drop)
}

/// Writes everything that is dirty to the disk, and waits.
pub fn sync() {
    // SAFETY: no memory of this program is involved.
    let _ = unsafe { call(number::SYNC, [0; 6]) };
}
