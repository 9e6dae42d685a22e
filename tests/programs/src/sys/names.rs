//! System calls on names: directories, links, and what is known of what is there.

use core::ffi::CStr;

use super::files::{AT_FDCWD, Fd};
use super::{Errno, call, number};

const AT_SYMLINK_NOFOLLOW: usize = 0x100;
const AT_REMOVEDIR: usize = 0x200;
const AT_SYMLINK_FOLLOW: usize = 0x400;
const AT_EMPTY_PATH: usize = 0x1000;
const STATX_BASIC_STATS: usize = 0x7ff;

fn address(path: &CStr) -> usize {
    path.as_ptr() as usize
}

/// A call whose arguments are numbers and paths, which the kernel only reads.
fn on_paths(number: usize, args: [usize; 5]) -> Result<usize, Errno> {
    let [a, b, c, d, e] = args;
    // SAFETY: the callers are in this module, and pass only what the kernel reads.
    unsafe { call(number, [a, b, c, d, e, 0]) }
}

/// Makes a directory.
///
/// # Errors
/// Linux's.
pub fn make_dir(path: &CStr) -> Result<(), Errno> {
    on_paths(number::MKDIRAT, [AT_FDCWD, address(path), 0o755, 0, 0]).map(drop)
}

/// Removes an empty directory.
///
/// # Errors
/// Linux's.
pub fn remove_dir(path: &CStr) -> Result<(), Errno> {
    on_paths(number::UNLINKAT, [AT_FDCWD, address(path), AT_REMOVEDIR, 0, 0]).map(drop)
}

/// Gives what is at a path another name; a symbolic link at its end is followed, or not.
///
/// # Errors
/// Linux's.
pub fn link(old: &CStr, new: &CStr, follow: bool) -> Result<(), Errno> {
    let flags = if follow { AT_SYMLINK_FOLLOW } else { 0 };
    let args = [AT_FDCWD, address(old), AT_FDCWD, address(new), flags];
    on_paths(number::LINKAT, args).map(drop)
}

/// Makes a symbolic link.
///
/// # Errors
/// Linux's.
pub fn symlink(target: &CStr, path: &CStr) -> Result<(), Errno> {
    on_paths(number::SYMLINKAT, [address(target), AT_FDCWD, address(path), 0, 0]).map(drop)
}

/// Copies the target of a symbolic link, as far as it fits; `dir` is where a relative path begins.
///
/// # Errors
/// Linux's.
pub fn read_link(dir: Option<&Fd>, path: &CStr, out: &mut [u8]) -> Result<usize, Errno> {
    let (at, len) = (out.as_mut_ptr() as usize, out.len());
    // SAFETY: the kernel reads the path, and writes into the slice alone.
    unsafe { call(number::READLINKAT, [number_of(dir), address(path), at, len, 0, 0]) }
}

/// Gives what is at one path another, with Linux's flags.
///
/// # Errors
/// Linux's.
pub fn rename(old: &CStr, new: &CStr, flags: usize) -> Result<(), Errno> {
    let args = [AT_FDCWD, address(old), AT_FDCWD, address(new), flags];
    on_paths(number::RENAMEAT2, args).map(drop)
}

fn number_of(dir: Option<&Fd>) -> usize {
    dir.map_or(AT_FDCWD, |dir| dir.0)
}

/// Opens what is in a directory.
///
/// # Errors
/// Linux's.
pub fn open_in(dir: &Fd, path: &CStr, flags: usize) -> Result<Fd, Errno> {
    on_paths(number::OPENAT, [dir.0, address(path), flags, 0o600, 0]).map(Fd)
}

/// What is known of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Its number.
    pub inode: u64,
    /// Its kind: the upper four bits of the mode, as `getdents64` gives them.
    pub kind: u8,
    /// Its names.
    pub links: u32,
    /// Its bytes.
    pub size: u64,
}

/// Linux's `struct stat`, by `newfstatat`; `dir` is where a relative path begins.
///
/// # Errors
/// Linux's.
pub fn stat(dir: Option<&Fd>, path: &CStr, follow: bool) -> Result<Stat, Errno> {
    let mut words = [0_u64; 16];
    let flags = if follow { 0 } else { AT_SYMLINK_NOFOLLOW };
    let out = words.as_mut_ptr() as usize;
    // SAFETY: the kernel reads the path; `struct stat` has 128 bytes, all of them integers.
    unsafe { call(number::NEWFSTATAT, [number_of(dir), address(path), out, flags, 0, 0]) }?;
    let [inode, mode_and_links, size] = [words[1], words[2], words[6]];
    let kind = (mode_and_links as u32 >> 12 & 15) as u8;
    Ok(Stat { inode, kind, links: (mode_and_links >> 32) as u32, size })
}

/// The same by `statx`.
///
/// # Errors
/// Linux's.
pub fn statx(dir: Option<&Fd>, path: &CStr, follow: bool) -> Result<Stat, Errno> {
    let mut words = [0_u64; 32];
    let flags = if follow { 0 } else { AT_SYMLINK_NOFOLLOW };
    let out = words.as_mut_ptr() as usize;
    let args = [number_of(dir), address(path), flags, STATX_BASIC_STATS, out, 0];
    // SAFETY: the kernel reads the path; `struct statx` has 256 bytes, all of them integers.
    unsafe { call(number::STATX, args) }?;
    let kind = (words[3] >> 44 & 15) as u8;
    Ok(Stat { inode: words[4], kind, links: words[2] as u32, size: words[5] })
}

impl Fd {
    /// Gives an open file another name.
    ///
    /// # Errors
    /// Linux's.
    pub fn link_to(&self, path: &CStr) -> Result<(), Errno> {
        let args = [self.0, address(c""), AT_FDCWD, address(path), AT_EMPTY_PATH];
        on_paths(number::LINKAT, args).map(drop)
    }

    /// Reads names of a directory, as many as fit; returns the bytes that they take.
    ///
    /// # Errors
    /// Linux's.
    pub fn list(&self, out: &mut [u8]) -> Result<usize, Errno> {
        let args = [self.0, out.as_mut_ptr() as usize, out.len(), 0, 0, 0];
        // SAFETY: the kernel writes into the slice alone.
        unsafe { call(number::GETDENTS64, args) }
    }

    /// The free blocks and inodes of the file system.
    ///
    /// # Errors
    /// Linux's.
    pub fn free(&self) -> Result<(u64, u64), Errno> {
        let mut words = [0_u64; 16];
        let args = [self.0, words.as_mut_ptr() as usize, 0, 0, 0, 0];
        // SAFETY: `struct statfs` has 120 bytes, all of them integers.
        unsafe { call(number::FSTATFS, args) }?;
        Ok((words[3], words[6]))
    }
}

/// A name of a directory.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The inode.
    pub inode: u64,
    /// Where the next name is.
    pub next: u64,
    /// The kind.
    pub kind: u8,
    /// The name.
    pub name: &'a CStr,
}

/// The names that [`Fd::list`] has put into a buffer.
pub fn entries(mut list: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    core::iter::from_fn(move || {
        let number = |at: usize| u64::from_le_bytes(core::array::from_fn(|i| list[at + i]));
        let len = usize::from(*list.get(16)?) | usize::from(list[17]) << 8;
        let name = CStr::from_bytes_until_nul(&list[19..len]).ok()?;
        let entry = Entry { inode: number(0), next: number(8), kind: list[18], name };
        list = &list[len..];
        Some(entry)
    })
}
