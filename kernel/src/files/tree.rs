//! What is done with paths: opened, made, removed, renamed, looked at.
//!
//! Each call takes the writer of the file system for as long as it walks and acts, so that nothing
//! changes between. References to files that it loses are put afterwards.

use core::ops::Range;

use ext2::layout::inode::Kind;
use ext2::{Error, Exchange, Gone, New};
use mm_reclaim::SleepGuard;
use mm_reclaim::file::FileKind;
use mm_reclaim::units::Nanos;

use super::checks::{Place, may_make, may_rename, not_a_file};
use super::path::{Bytes, End, Last, Start, walk};
use super::{File, OpenError, names, put};
use crate::glue::Scheduler;
use crate::mount::{
    Mounted, Number, is_linkable, make_room, mark_linkable, mounted, named_again, open_inode,
    unlinked,
};
use crate::task;

/// How something is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct How {
    /// It is made if it is not there.
    pub create: bool,
    /// It must not be there.
    pub exclusive: bool,
    /// A symbolic link is not followed, and not opened.
    pub no_follow: bool,
    /// It must be a directory.
    pub directory: bool,
    /// It will be written.
    pub write: bool,
    /// The permissions of what is made.
    pub mode: u16,
}

/// What was opened.
pub struct Opened {
    /// The file.
    pub file: File,
    /// It is a directory.
    pub is_dir: bool,
}

/// Walks to the inode at the end of a path.
fn find(
    mounted: Option<&Mounted>,
    start: Start,
    path: &mut Bytes,
    last: Last,
) -> Result<(u32, Kind), OpenError> {
    match walk(mounted.map(Mounted::fs), start, path, last)? {
        End::Inode(number, kind) => Ok((number, kind)),
        _ => Err(OpenError::NotFound),
    }
}

/// A name in a directory, with the right to change that.
struct At {
    mounted: &'static Mounted,
    writer: SleepGuard<'static, ext2::Writer, Scheduler>,
    dir: u32,
    name: Range<usize>,
    /// It must be a directory.
    slash: bool,
}

/// Where a name is.
enum Where {
    /// In the file system.
    Inside(At),
    /// Outside of it: the path as a whole.
    Outside(Range<usize>),
}

/// Walks to the directory and the name at the end of a path.
fn at_name(start: Start, path: &mut Bytes) -> Result<Where, OpenError> {
    let mounted = mounted();
    let writer = mounted.map(Mounted::lock);
    let end = walk(mounted.map(Mounted::fs), start, path, Last::Name)?;
    match (end, mounted, writer) {
        (End::Name { dir, name, slash }, Some(mounted), Some(writer)) => {
            Ok(Where::Inside(At { mounted, writer, dir, name, slash }))
        }
        (End::Flat(name), ..) => Ok(Where::Outside(name)),
        // The root, or the mount point.
        _ => Err(OpenError::Busy),
    }
}

/// The name at the end of a path in the file system; outside of it there are neither directories nor
/// links.
fn inside(start: Start, path: &mut Bytes) -> Result<At, OpenError> {
    match at_name(start, path) {
        Ok(Where::Inside(at)) => Ok(at),
        Ok(Where::Outside(_)) => Err(OpenError::Fs(Error::NotPermitted)),
        Err(OpenError::Busy) => Err(OpenError::Exists),
        Err(error) => Err(error),
    }
}

/// What has lost a name ends, if nobody uses it.
fn end(gone: Option<Gone>) -> Result<(), OpenError> {
    let Some(gone) = gone.filter(|gone| gone.is_last) else { return Ok(()) };
    match unlinked(gone.number) {
        Some(Some(file)) => put(file),
        Some(None) => {}
        None => {
            if let Some(mounted) = mounted() {
                mounted.check(mounted.end_if_unlinked(gone.number))?;
            }
        }
    }
    Ok(())
}

const fn new_inode(kind: Kind, mode: u16) -> New {
    New { mode: kind.mode_bits() | mode & 0o7777, owner: [0; 2] }
}

/// Opens what is at a path.
///
/// # Errors
/// [`OpenError`].
pub fn open(start: Start, path: &mut Bytes, how: How) -> Result<Opened, OpenError> {
    make_room()?;
    let mounted = mounted();
    let mut writer = mounted.map(Mounted::lock);
    let stays = how.no_follow || how.create && how.exclusive;
    let last = match stays {
        follow if how.create => Last::Make { follow: !follow },
        true => Last::Stay,
        false => Last::Follow,
    };
    let found = walk(mounted.map(Mounted::fs), start, path, last)?;
    let (Some(mounted), Some(right)) = (mounted, writer.as_deref_mut()) else {
        return open_flat(&found, path, how);
    };
    let (number, is_dir) = match found {
        End::Inode(..) if how.create && how.exclusive => return Err(OpenError::Exists),
        End::Inode(number, kind) => {
            may_open(mounted, kind, how)?;
            (number, kind == Kind::Directory)
        }
        End::Name { dir, name, .. } if how.create => {
            if how.directory {
                return Err(OpenError::Fs(Error::IsDirectory));
            }
            let new = new_inode(Kind::File, how.mode);
            (mounted.check(mounted.fs().make(right, dir, &path.get()[name], new))?, false)
        }
        End::Name { .. } => return Err(OpenError::NotFound),
        End::Root | End::Flat(_) => return open_flat(&found, path, how),
    };
    let Some(writer) = writer else { return Err(OpenError::NotFound) };
    let file = mounted.check(file_of(mounted, writer, number))?;
    if how.create {
        mounted.pace();
    }
    Ok(Opened { file, is_dir })
}

/// The file of an inode that was found or made while the writer was held.
fn file_of(
    mounted: &'static Mounted,
    writer: SleepGuard<'static, ext2::Writer, Scheduler>,
    number: u32,
) -> Result<File, Error> {
    /// An earlier file of the inode, which is clean and unused, goes in less.
    const PAUSE: Nanos = Nanos::from_millis(1);
    let mut writer = Some(writer);
    let look = || mounted.fs().load(mounted.fs().locate(number)?);
    let before = look()?;
    loop {
        if let Some(file) = open_inode(mounted, number)? {
            return Ok(file);
        }
        drop(writer.take());
        task::sleep(PAUSE);
        writer = Some(mounted.lock());
        // It may have lost its name meanwhile, and be another by now.
        let now = look()?;
        if now.generation != before.generation || now.links == 0 && before.links > 0 {
            return Err(Error::NotFound);
        }
    }
}

fn open_flat(found: &End, path: &Bytes, how: How) -> Result<Opened, OpenError> {
    let End::Flat(name) = found else { return Err(OpenError::NotFound) };
    if how.directory {
        return Err(OpenError::Fs(Error::NotDirectory));
    }
    let file = names::open(&path.get()[name.clone()], how.create, how.exclusive)?;
    Ok(Opened { file, is_dir: false })
}

fn may_open(mounted: &Mounted, kind: Kind, how: How) -> Result<(), OpenError> {
    match kind {
        Kind::Directory if how.write || how.create => Err(OpenError::Fs(Error::IsDirectory)),
        Kind::Symlink => Err(OpenError::Loop),
        Kind::Special => Err(OpenError::NoDevice),
        Kind::File if how.directory => Err(OpenError::Fs(Error::NotDirectory)),
        Kind::File if how.write && mounted.fs().mode() != ext2::Mode::Writable => {
            Err(OpenError::Fs(Error::ReadOnly))
        }
        _ => Ok(()),
    }
}

/// Makes a file without a name in the directory at a path (`O_TMPFILE`); `exclusive`: it never gets one.
///
/// # Errors
/// [`OpenError`].
pub fn open_unnamed(
    start: Start,
    path: &mut Bytes,
    mode: u16,
    exclusive: bool,
) -> Result<Opened, OpenError> {
    make_room()?;
    let Some(mounted) = mounted() else { return Err(OpenError::NotSupported) };
    let mut writer = mounted.lock();
    let (dir, _) = match walk(Some(mounted.fs()), start, path, Last::Follow)? {
        End::Inode(number, kind) => (number, kind),
        End::Name { .. } => return Err(OpenError::NotFound),
        End::Root | End::Flat(_) => return Err(OpenError::NotSupported),
    };
    let new = new_inode(Kind::File, mode);
    let number = mounted.check(mounted.fs().make_unnamed(&mut writer, dir, new))?;
    let file = mounted.check(file_of(mounted, writer, number))?;
    if !exclusive {
        mark_linkable(number);
    }
    Ok(Opened { file, is_dir: false })
}

/// Removes a name: of a directory, or of anything else.
///
/// # Errors
/// [`OpenError`].
pub fn unlink(start: Start, path: &mut Bytes, is_dir: bool) -> Result<(), OpenError> {
    let mut at = match at_name(start, path)? {
        Where::Inside(at) => at,
        Where::Outside(_) if is_dir => return Err(OpenError::Fs(Error::NotDirectory)),
        Where::Outside(name) => return names::unlink(&path.get()[name]),
    };
    let (fs, name) = (at.mounted.fs(), &path.get()[at.name]);
    let place = Place { dir: at.dir, name, slash: at.slash };
    let done = match is_dir {
        true => fs.remove_dir(&mut at.writer, at.dir, name),
        false if at.slash => Err(not_a_file(at.mounted, place)),
        false => fs.unlink(&mut at.writer, at.dir, name),
    };
    let gone = at.mounted.check(done)?;
    drop(at.writer);
    at.mounted.pace();
    end(Some(gone))
}

/// Makes a directory.
///
/// # Errors
/// [`OpenError`].
pub fn make_dir(start: Start, path: &mut Bytes, mode: u16) -> Result<(), OpenError> {
    let mut at = inside(start, path)?;
    let new = new_inode(Kind::Directory, mode);
    let fs = at.mounted.fs();
    at.mounted.check(fs.make_dir(&mut at.writer, at.dir, &path.get()[at.name], new))?;
    drop(at.writer);
    at.mounted.pace();
    Ok(())
}

/// Makes a symbolic link.
///
/// # Errors
/// [`OpenError`].
pub fn make_symlink(target: &Bytes, start: Start, path: &mut Bytes) -> Result<(), OpenError> {
    if target.get().is_empty() {
        return Err(OpenError::NotFound);
    }
    let mut at = inside(start, path)?;
    let (fs, name) = (at.mounted.fs(), &path.get()[at.name]);
    may_make(at.mounted, Place { dir: at.dir, name, slash: at.slash })?;
    at.mounted.check(fs.make_symlink(&mut at.writer, at.dir, name, target.get(), [0; 2]))?;
    drop(at.writer);
    at.mounted.pace();
    Ok(())
}

/// What gets another name.
pub enum Source<'a> {
    /// What is at a path; a symbolic link at its end is followed, or not.
    Path(Start, &'a mut Bytes, bool),
    /// An open file.
    File(&'a File),
}

/// Gives a file another name. As in Linux, what it has already is looked up first.
///
/// # Errors
/// [`OpenError`].
pub fn link(source: Source<'_>, start: Start, path: &mut Bytes) -> Result<(), OpenError> {
    let mounted = mounted();
    let mut writer = mounted.map(Mounted::lock);
    let fs = mounted.map(Mounted::fs);
    let (number, file) = match source {
        Source::File(file) => (inode_of(file), Some(file)),
        Source::Path(from, old, follow) => {
            let last = if follow { Last::Follow } else { Last::Stay };
            match walk(fs, from, old, last)? {
                End::Inode(number, _) => (Some(number), None),
                End::Flat(_) => (None, None),
                _ => return Err(OpenError::NotFound),
            }
        }
    };
    let end = walk(fs, start, path, Last::Name)?;
    match (end, number, mounted, writer.as_deref_mut()) {
        (End::Name { dir, name, slash }, Some(number), Some(mounted), Some(right)) => {
            let (fs, name) = (mounted.fs(), &path.get()[name]);
            mounted.check(may_make(mounted, Place { dir, name, slash }))?;
            if fs.load(fs.locate(number)?)?.links == 0 && !is_linkable(number) {
                return Err(OpenError::NotFound);
            }
            if let Some(file) = file {
                mounted.check(note_size_of_unnamed(mounted, right, number, file.size()))?;
            }
            mounted.check(fs.link(right, number, dir, name))?;
            if let Some(file) = file {
                named_again(number, file);
            }
            drop(writer);
            mounted.pace();
            Ok(())
        }
        (End::Name { .. } | End::Flat(_), ..) => Err(OpenError::OtherDevice),
        _ => Err(OpenError::Exists),
    }
}

/// The size of a file without a name is not written with its contents, but when it gets one.
fn note_size_of_unnamed(
    mounted: &Mounted,
    writer: &mut ext2::Writer,
    number: u32,
    size: u64,
) -> Result<(), Error> {
    let at = mounted.fs().locate(number)?;
    let inode = mounted.fs().load(at)?;
    match inode.links == 0 && inode.size != size {
        true => mounted.fs().set_size(writer, at, size),
        false => Ok(()),
    }
}

/// The inode of a file, if it is one of the file system.
pub fn inode_of(file: &File) -> Option<u32> {
    match file.kind() {
        FileKind::Stored(number) => match Number::of(number) {
            Number::Inode(number) => Some(number),
            _ => None,
        },
        FileKind::Shared => None,
    }
}

/// Gives what is at one path another.
///
/// # Errors
/// [`OpenError`].
pub fn rename(
    (from, old): (Start, &mut Bytes),
    (to, new): (Start, &mut Bytes),
    exchange: Exchange,
) -> Result<(), OpenError> {
    let mounted = mounted();
    let mut writer = mounted.map(Mounted::lock);
    let fs = mounted.map(Mounted::fs);
    let ends = (walk(fs, from, old, Last::Name)?, walk(fs, to, new, Last::Name)?);
    let gone = match (ends, mounted, writer.as_deref_mut()) {
        (
            (
                End::Name { dir: from, name: old_name, slash },
                End::Name { dir: to, name: new_name, slash: new_slash },
            ),
            Some(mounted),
            Some(writer),
        ) => {
            let old = Place { dir: from, name: &old.get()[old_name], slash };
            let new = Place { dir: to, name: &new.get()[new_name], slash: new_slash };
            may_rename(mounted, old, new, exchange)?;
            let (old, new) = (old.name, new.name);
            mounted.check(mounted.fs().rename(writer, (from, old), (to, new), exchange))?
        }
        ((End::Flat(old_name), End::Flat(new_name)), ..) => {
            drop(writer);
            return names::rename(&old.get()[old_name], &new.get()[new_name], exchange);
        }
        ((End::Name { .. } | End::Flat(_), End::Name { .. } | End::Flat(_)), ..) => {
            return Err(OpenError::OtherDevice);
        }
        _ => return Err(OpenError::Busy),
    };
    drop(writer);
    if let Some(mounted) = mounted {
        mounted.pace();
    }
    end(gone)
}

/// The target of the symbolic link at a path.
///
/// # Errors
/// [`OpenError`].
pub fn read_link(start: Start, path: &mut Bytes) -> Result<Bytes, OpenError> {
    let mut target = Bytes::new()?;
    let mounted = mounted();
    let writer = mounted.map(Mounted::lock);
    let (number, _) = find(mounted, start, path, Last::Stay)?;
    let Some(mounted) = mounted else { return Err(OpenError::NotFound) };
    let len = mounted.check(mounted.fs().read_link(number, target.room()))?;
    drop(writer);
    target.set_len(len);
    Ok(target)
}

/// Names of a directory from a position on, as `struct linux_dirent64`, as many as fit; returns the bytes
/// that they take, and the position behind them.
///
/// # Errors
/// [`Error::Invalid`] if not even one fits.
#[doc(alias = "iterate_shared")]
pub fn list(number: u32, from: u64, out: &mut [u8]) -> Result<(usize, u64), OpenError> {
    let Some(mounted) = mounted() else { return Err(OpenError::NotFound) };
    let _writer = mounted.lock();
    if mounted.fs().load(mounted.fs().locate(number)?)?.links == 0 {
        return Err(OpenError::NotFound);
    }
    let (mut used, mut is_full) = (0, false);
    let listed = mounted.fs().list(number, from, |name| {
        let len = (DIRENT + name.bytes.len() + 1).next_multiple_of(8);
        let Some(entry) = out.get_mut(used..used + len) else {
            is_full = true;
            return false;
        };
        entry.fill(0);
        entry[..8].copy_from_slice(&u64::from(name.inode).to_le_bytes());
        entry[8..16].copy_from_slice(&name.next.to_le_bytes());
        entry[16..18].copy_from_slice(&(len as u16).to_le_bytes());
        entry[18] = name.kind;
        entry[DIRENT..DIRENT + name.bytes.len()].copy_from_slice(name.bytes);
        used += len;
        true
    });
    let next = mounted.check(listed)?;
    if is_full && used == 0 { Err(OpenError::Fs(Error::Invalid)) } else { Ok((used, next)) }
}

/// Bytes of `struct linux_dirent64` before its name.
const DIRENT: usize = 19;
