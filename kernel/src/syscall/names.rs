//! Paths: opening, making, linking, removing, renaming, and what is known of what is there.
//!
//! No policy here: arguments are looked up and checked, and [`crate::files`] is called.

use ext2::Exchange;
use mm_reclaim::units::PAGE_SIZE;

use super::errno::{
    EBADF, EBUSY, EEXIST, EFAULT, EFBIG, EINTR, EINVAL, EIO, EISDIR, ELOOP, EMFILE, EMLINK,
    ENAMETOOLONG, ENFILE, ENOENT, ENOMEM, ENOSPC, ENOTDIR, ENOTEMPTY, ENXIO, EOPNOTSUPP, EPERM,
    EROFS, EUCLEAN, EXDEV, Errno,
};
use super::file::truncate;
use crate::arch::usercopy::{copy_to_user, string_from_user};
use crate::files::{self, Bytes, How, Open, OpenError, Opened, Rights, Source, Start};
use crate::glue;

/// Relative to the working directory, which is the root.
const AT_FDCWD: i32 = -100;
const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
const AT_REMOVEDIR: u32 = 0x200;
const AT_SYMLINK_FOLLOW: u32 = 0x400;
const AT_EMPTY_PATH: u32 = 0x1000;

/// The flags of `openat`.
const O_ACCMODE: u32 = 3;
const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_TRUNC: u32 = 0o1000;
const O_APPEND: u32 = 0o2000;
const O_DIRECTORY: u32 = 0o4_0000;
const O_NOFOLLOW: u32 = 0o10_0000;
/// Without [`O_DIRECTORY`], which is always given with it.
const O_TMPFILE: u32 = 0o2000_0000;

/// What nobody but the owner may do with what is made (`umask`).
const UMASK: u16 = 0o022;

impl From<ext2::Error> for Errno {
    fn from(error: ext2::Error) -> Self {
        match error {
            ext2::Error::Io => EIO,
            ext2::Error::Corrupt { .. } => EUCLEAN,
            ext2::Error::NoSpace => ENOSPC,
            ext2::Error::NotFound => ENOENT,
            ext2::Error::Exists => EEXIST,
            ext2::Error::NotDirectory => ENOTDIR,
            ext2::Error::IsDirectory => EISDIR,
            ext2::Error::NotEmpty => ENOTEMPTY,
            ext2::Error::NameTooLong => ENAMETOOLONG,
            ext2::Error::TooManyLinks => EMLINK,
            ext2::Error::TooLarge => EFBIG,
            ext2::Error::ReadOnly => EROFS,
            ext2::Error::NotPermitted => EPERM,
            ext2::Error::Invalid => EINVAL,
        }
    }
}

impl From<OpenError> for Errno {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotFound => ENOENT,
            OpenError::Exists => EEXIST,
            OpenError::NameTooLong => ENAMETOOLONG,
            OpenError::TooMany => ENFILE,
            OpenError::TooManyFds => EMFILE,
            OpenError::TooManyNames => ENOSPC,
            OpenError::NoMemory => ENOMEM,
            OpenError::Loop => ELOOP,
            OpenError::OtherDevice => EXDEV,
            OpenError::Busy => EBUSY,
            OpenError::NoDevice => ENXIO,
            OpenError::NotSupported => EOPNOTSUPP,
            OpenError::Killed => EINTR,
            OpenError::Fs(error) => error.into(),
        }
    }
}

/// A path of a program.
fn path_from(at: u64) -> Result<Bytes, Errno> {
    let mut path = Bytes::new()?;
    let len = string_from_user(path.room(), at)?;
    if len == PAGE_SIZE {
        return Err(ENAMETOOLONG);
    }
    path.set_len(len);
    Ok(path)
}

/// Where a path begins: at a directory that is open, or at the root.
fn start_of(dir: u64, path: &Bytes) -> Result<Start, Errno> {
    if dir as i32 == AT_FDCWD || path.get().first() == Some(&b'/') {
        return Ok(Start::Root);
    }
    let of_open = |open: &Open| (open.rights, files::inode_of(&open.file));
    match files::view(dir, of_open).ok_or(EBADF)? {
        (rights, Some(number)) if rights.contains(Rights::DIRECTORY) => Ok(Start::Dir(number)),
        _ => Err(ENOTDIR),
    }
}

fn path_at(dir: u64, at: u64) -> Result<(Start, Bytes), Errno> {
    let path = path_from(at)?;
    Ok((start_of(dir, &path)?, path))
}

/// The mode of what is made.
const fn made_mode(mode: u64) -> u16 {
    mode as u16 & 0o7777 & !UMASK
}

#[inline(never)]
pub(super) fn openat(dir: u64, path: u64, flags: u64, mode: u64) -> Result<u64, Errno> {
    let flags = flags as u32;
    let (start, mut path) = path_at(dir, path)?;
    let mut rights = match flags & O_ACCMODE {
        0 => Rights::READ,
        1 => Rights::WRITE,
        2 => Rights::READ | Rights::WRITE,
        _ => return Err(EINVAL),
    };
    rights.set(Rights::APPEND, flags & O_APPEND != 0);
    let has = |flag: u32| flags & flag != 0;
    if has(O_CREAT) && has(O_DIRECTORY) || has(O_TMPFILE) && !rights.contains(Rights::WRITE) {
        return Err(EINVAL);
    }
    // Nothing is made or cut for who gets no descriptor.
    files::check_room()?;
    let how = How {
        create: has(O_CREAT),
        exclusive: has(O_EXCL),
        no_follow: has(O_NOFOLLOW),
        directory: has(O_DIRECTORY),
        write: rights.contains(Rights::WRITE) || has(O_TRUNC),
        mode: made_mode(mode),
    };
    let Opened { file, is_dir } = match has(O_TMPFILE) {
        true => files::open_unnamed(start, &mut path, how.mode, how.exclusive)?,
        false => files::open(start, &mut path, how)?,
    };
    rights.set(Rights::DIRECTORY, is_dir);
    let seen = glue::mm().file_errors(&file);
    let fd = files::install(Open::new(file, rights, seen))?;
    // As in Linux, whatever the rights of the description are.
    if has(O_TRUNC)
        && let Err(error) = super::file::with_file(fd, Rights::empty(), |file| truncate(file, 0))
    {
        files::close(fd);
        return Err(error);
    }
    Ok(fd)
}

#[inline(never)]
pub(super) fn memfd_create(name: u64, flags: u64) -> Result<u64, Errno> {
    /// With the prefix that Linux gives it, a name has at most 255 bytes.
    const MOST: usize = 249;
    // Close-on-exec has no effect: there is no `execve`.
    if flags & !1 != 0 {
        return Err(EINVAL);
    }
    if path_from(name)?.get().len() > MOST {
        return Err(EINVAL);
    }
    let file = files::create_unnamed()?;
    let seen = glue::mm().file_errors(&file);
    Ok(files::install(Open::new(file, Rights::READ | Rights::WRITE, seen))?)
}

#[inline(never)]
pub(super) fn unlinkat(dir: u64, path: u64, flags: u64) -> Result<u64, Errno> {
    if flags as u32 & !AT_REMOVEDIR != 0 {
        return Err(EINVAL);
    }
    let (start, mut path) = path_at(dir, path)?;
    files::unlink(start, &mut path, flags as u32 == AT_REMOVEDIR)?;
    Ok(0)
}

#[inline(never)]
pub(super) fn mkdirat(dir: u64, path: u64, mode: u64) -> Result<u64, Errno> {
    let (start, mut path) = path_at(dir, path)?;
    files::make_dir(start, &mut path, made_mode(mode))?;
    Ok(0)
}

#[inline(never)]
pub(super) fn symlinkat(target: u64, dir: u64, path: u64) -> Result<u64, Errno> {
    let target = path_from(target)?;
    let (start, mut path) = path_at(dir, path)?;
    files::make_symlink(&target, start, &mut path)?;
    Ok(0)
}

#[inline(never)]
pub(super) fn readlinkat(dir: u64, path: u64, out: u64, len: u64) -> Result<u64, Errno> {
    if len as i32 <= 0 {
        return Err(EINVAL);
    }
    let (start, mut path) = path_at(dir, path)?;
    let target = files::read_link(start, &mut path)?;
    let bytes = target.get();
    let bytes = &bytes[..bytes.len().min(len as i32 as usize)];
    copy_to_user(out, bytes)?;
    Ok(bytes.len() as u64)
}

#[inline(never)]
pub(super) fn linkat(old_dir: u64, old: u64, dir: u64, new: u64, flags: u64) -> Result<u64, Errno> {
    let flags = flags as u32;
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Err(EINVAL);
    }
    let mut old = path_from(old)?;
    let (start, mut path) = path_at(dir, new)?;
    if old.get().is_empty() && flags & AT_EMPTY_PATH != 0 {
        super::file::with_file(old_dir, Rights::empty(), |file| {
            Ok(files::link(Source::File(file), start, &mut path)?)
        })?;
        return Ok(0);
    }
    let follow = flags & AT_SYMLINK_FOLLOW != 0;
    let old_start = start_of(old_dir, &old)?;
    files::link(Source::Path(old_start, &mut old, follow), start, &mut path)?;
    Ok(0)
}

#[inline(never)]
pub(super) fn renameat2(
    old_dir: u64,
    old: u64,
    new_dir: u64,
    new: u64,
    flags: u64,
) -> Result<u64, Errno> {
    let exchange = match flags as u32 {
        0 => Exchange::Replace,
        1 => Exchange::Never,
        2 => Exchange::Both,
        _ => return Err(EINVAL),
    };
    let (old_start, mut old) = path_at(old_dir, old)?;
    let (new_start, mut new) = path_at(new_dir, new)?;
    files::rename((old_start, &mut old), (new_start, &mut new), exchange)?;
    Ok(0)
}

/// Reads names of a directory that is open.
#[inline(never)]
pub(super) fn getdents64(fd: u64, out: u64, len: u64) -> Result<u64, Errno> {
    let _held = files::hold_position(fd);
    let of_open = |open: &Open| (open.rights, open.position, files::inode_of(&open.file));
    let (rights, position, number) = files::view(fd, of_open).ok_or(EBADF)?;
    let number = number.filter(|_| rights.contains(Rights::DIRECTORY)).ok_or(ENOTDIR)?;
    let mut list = Bytes::new()?;
    let most = (len as u32 as usize).min(PAGE_SIZE);
    let (used, next) = files::list(number, position, &mut list.room()[..most])?;
    list.set_len(used);
    copy_to_user(out, list.get())?;
    files::update(fd, |open| open.position = next);
    Ok(used as u64)
}

/// What is known of what is at a path, or of an open file.
fn stat_at(dir: u64, path: u64, flags: u32) -> Result<files::Stat, Errno> {
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | 0x800 | 0x6000) != 0 {
        return Err(EINVAL);
    }
    let mut name = match path {
        0 if flags & AT_EMPTY_PATH != 0 => Bytes::new()?,
        _ => path_from(path)?,
    };
    if name.get().is_empty() && flags & AT_EMPTY_PATH != 0 {
        return stat_of(dir);
    }
    let start = start_of(dir, &name)?;
    Ok(files::stat(start, &mut name, flags & AT_SYMLINK_NOFOLLOW == 0)?)
}

fn stat_of(fd: u64) -> Result<files::Stat, Errno> {
    super::file::with_file(fd, Rights::empty(), |file| Ok(files::stat_file(file)?))
}

/// Puts numbers of four or eight bytes into a structure.
struct Fields<const N: usize>([u8; N]);

impl<const N: usize> Fields<N> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn long(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    fn int(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }
}

/// `struct stat`.
fn put_stat(out: u64, stat: &files::Stat) -> Result<u64, Errno> {
    let mut fields = Fields([0; 128]);
    fields.long(0, stat.device);
    fields.long(8, stat.number);
    for (at, value) in (16..).step_by(4).zip([stat.mode, stat.links, stat.owner[0], stat.owner[1]])
    {
        fields.int(at, value);
    }
    fields.long(48, stat.size);
    fields.int(56, stat.block_bytes);
    fields.long(64, stat.sectors);
    for (at, time) in (72..).step_by(16).zip(stat.times) {
        fields.long(at, time);
    }
    copy_to_user(out, &fields.0)?;
    Ok(0)
}

#[inline(never)]
pub(super) fn fstat(fd: u64, out: u64) -> Result<u64, Errno> {
    put_stat(out, &stat_of(fd)?)
}

#[inline(never)]
pub(super) fn newfstatat(dir: u64, path: u64, out: u64, flags: u64) -> Result<u64, Errno> {
    put_stat(out, &stat_at(dir, path, flags as u32)?)
}

/// `struct statx`: what is known is said to be, whatever was asked for.
#[inline(never)]
pub(super) fn statx(dir: u64, path: u64, flags: u64, mask: u64, out: u64) -> Result<u64, Errno> {
    const BASIC_STATS: u32 = 0x7ff;
    const RESERVED: u32 = 1 << 31;
    if mask as u32 & RESERVED != 0 {
        return Err(EINVAL);
    }
    let stat = stat_at(dir, path, flags as u32)?;
    let mut fields = Fields([0; 256]);
    fields.int(0, BASIC_STATS);
    fields.int(4, stat.block_bytes);
    for (at, value) in (16..).step_by(4).zip([stat.links, stat.owner[0], stat.owner[1], stat.mode])
    {
        fields.int(at, value);
    }
    for (at, value) in (32..).step_by(8).zip([stat.number, stat.size, stat.sectors]) {
        fields.long(at, value);
    }
    // Access, change, modification; the time at which it was made is not known.
    for (at, time) in [64, 96, 112].into_iter().zip([stat.times[0], stat.times[2], stat.times[1]]) {
        fields.long(at, time);
    }
    fields.int(136, (stat.device >> 8) as u32);
    fields.int(140, stat.device as u32 & 0xff);
    copy_to_user(out, &fields.0)?;
    Ok(0)
}

/// `struct statfs` of the file system that a file is in.
#[inline(never)]
pub(super) fn fstatfs(fd: u64, out: u64) -> Result<u64, Errno> {
    const EXT2_SUPER_MAGIC: u64 = 0xef53;
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    let inode = files::view(fd, |open| files::inode_of(&open.file)).ok_or(EBADF)?;
    let space = inode.and_then(|_| files::space());
    let words = match space {
        None => [TMPFS_MAGIC, PAGE_SIZE as u64, 0, 0, 0, 0, 0, 0, 255, PAGE_SIZE as u64, 0, 0],
        Some(space) => {
            let [blocks, free] = space.blocks.map(u64::from);
            let [inodes, free_inodes] = space.inodes.map(u64::from);
            let bytes = u64::from(space.block_bytes);
            [EXT2_SUPER_MAGIC, bytes, blocks, free, free, inodes, free_inodes, 0, 255, bytes, 0, 0]
        }
    };
    if out == 0 {
        return Err(EFAULT);
    }
    crate::arch::usercopy::put_words(out, &words)?;
    Ok(0)
}
