//! Error numbers, as in Linux.

/// Why a system call failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub u16);

impl Errno {
    /// The value of `x0`: the negative number.
    pub const fn as_return_value(self) -> u64 {
        (self.0 as u64).wrapping_neg()
    }
}

/// Not permitted.
pub const EPERM: Errno = Errno(1);
/// No such file.
pub const ENOENT: Errno = Errno(2);
/// No such process.
pub const ESRCH: Errno = Errno(3);
/// Interrupted: the caller was killed.
pub const EINTR: Errno = Errno(4);
/// A transfer failed.
pub const EIO: Errno = Errno(5);
/// There is nothing at that place.
pub const ENXIO: Errno = Errno(6);
/// No such open file.
pub const EBADF: Errno = Errno(9);
/// No child.
pub const ECHILD: Errno = Errno(10);
/// Try again: too many processes.
pub const EAGAIN: Errno = Errno(11);
/// No memory, or no such range of it.
pub const ENOMEM: Errno = Errno(12);
/// Not allowed by the way in which the file was opened.
pub const EACCES: Errno = Errno(13);
/// A pointer to memory that is not there.
pub const EFAULT: Errno = Errno(14);
/// In use.
pub const EBUSY: Errno = Errno(16);
/// Exists already.
pub const EEXIST: Errno = Errno(17);
/// The two are on different devices.
pub const EXDEV: Errno = Errno(18);
/// No directory.
pub const ENOTDIR: Errno = Errno(20);
/// A directory.
pub const EISDIR: Errno = Errno(21);
/// An invalid argument.
pub const EINVAL: Errno = Errno(22);
/// There are as many files open as there can be.
pub const ENFILE: Errno = Errno(23);
/// The process has as many files open as it may have.
pub const EMFILE: Errno = Errno(24);
/// The file would be too large.
pub const EFBIG: Errno = Errno(27);
/// There is no room on the device.
pub const ENOSPC: Errno = Errno(28);
/// Cannot be written.
pub const EROFS: Errno = Errno(30);
/// The file has as many names as it can have.
pub const EMLINK: Errno = Errno(31);
/// The name is too long.
pub const ENAMETOOLONG: Errno = Errno(36);
/// No such system call, or not this way.
pub const ENOSYS: Errno = Errno(38);
/// The directory is not empty.
pub const ENOTEMPTY: Errno = Errno(39);
/// Too many symbolic links.
pub const ELOOP: Errno = Errno(40);
/// A value is too large for its type.
pub const EOVERFLOW: Errno = Errno(75);
/// The file does not support this.
pub const EOPNOTSUPP: Errno = Errno(95);
/// The file system is damaged.
pub const EUCLEAN: Errno = Errno(117);
