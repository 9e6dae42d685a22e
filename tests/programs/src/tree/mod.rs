//! A tree of files: operations on it, and a walk through all of it.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`mod@execute`] | each operation of [`treeops`], as system calls |
//! | [`mod@walk`] | the digest of a whole tree |

pub mod execute;
pub mod walk;

use core::ffi::CStr;

use treeops::hash::{Hash, PIECE};
use treeops::{op, path};

use crate::sys::Errno;
use crate::sys::files::Fd;

/// The text of a path, with the zero that the kernel wants.
pub struct Text<const N: usize>([u8; N]);

impl Text<{ path::BYTES }> {
    /// Of a path.
    #[must_use]
    pub fn path(path: path::Path) -> Self {
        let mut text = Self([0; path::BYTES]);
        path.put(&mut text.0);
        text
    }
}

impl Text<{ op::MOST_TARGET }> {
    /// Of a symbolic link.
    #[must_use]
    pub fn target(target: op::Target) -> Self {
        let mut text = Self([0; op::MOST_TARGET]);
        target.put(&mut text.0);
        text
    }
}

impl<const N: usize> Text<N> {
    /// The text.
    #[must_use]
    pub fn get(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("a zero at its end")
    }
}

/// The length and the hash of all that a file holds.
///
/// # Errors
/// Linux's.
pub fn contents(fd: &Fd) -> Result<(u64, u64), Errno> {
    let (mut hash, mut piece, mut at) = (Hash::NEW, [0; PIECE], 0);
    loop {
        let len = fd.read_at(&mut piece, at)?;
        if len == 0 {
            return Ok((at, hash.value()));
        }
        hash = hash.contents(&piece[..len]);
        at += len as u64;
    }
}
