//! What is done with paths: opened, made, removed, renamed, looked at.
//!
//! Each call takes the writer of the file system for as long as it walks and acts, so that nothing
//! changes between. References to files that it loses are put afterwards.

use ext2::layout::inode::{Inode, Kind, time};
use ext2::{Error, Exchange, Gone, New};
use mm_reclaim::file::FileKind;
use mm_reclaim::units::PAGE_SIZE;

use super::checks::{Place, may_make, may_rename, not_a_file};
use super::path::{Bytes, End, Last, Start, walk};
use super::{File, OpenError, names, put};
use crate::mount::{self, Mounted, Number, make_room, mounted, named_again, open_inode, unlinked};

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

/// What is known of an inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// The device.
    pub device: u64,
    /// The number.
    pub number: u64,
    /// Kind and permissions.
    pub mode: u32,
    /// Names.
    pub links: u32,
    /// Owner and group.
    pub owner: [u32; 2],
    /// Bytes.
    pub size: u64,
    /// Bytes that are best transferred at once.
    pub block_bytes: u32,
    /// Sectors of 512 bytes.
    pub sectors: u64,
    /// Seconds: access, modification, change.
    pub times: [u64; 3],
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

/// Runs `act` on the directory and the name at the end of a path, with the writer held; or `flat` on a
/// path outside of the file system.
fn at_name<R>(
    start: Start,
    path: &mut Bytes,
    flat: impl FnOnce(&[u8]) -> Result<R, OpenError>,
    act: impl FnOnce(&Mounted, &mut ext2::Writer, Place<'_>) -> Result<R, OpenError>,
) -> Result<R, OpenError> {
    let mounted = mounted();
    let mut writer = mounted.map(Mounted::lock);
    let end = walk(mounted.map(Mounted::fs), start, path, Last::Name)?;
    match (end, mounted, writer.as_deref_mut()) {
        (End::Name { dir, name, slash }, Some(mounted), Some(writer)) => {
            let done = act(mounted, writer, Place { dir, name: &path.get()[name], slash });
            done.inspect_err(|error| note(mounted, error))
        }
        (End::Flat(name), ..) => {
            drop(writer);
            flat(&path.get()[name])
        }
        // The root, or the mount point.
        _ => Err(OpenError::Fs(Error::Exists)),
    }
}

fn note(mounted: &Mounted, error: &OpenError) {
    if let OpenError::Fs(error) = error {
        _ = mounted.check::<()>(Err(*error));
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
    let (Some(mounted), Some(writer)) = (mounted, writer.as_deref_mut()) else {
        return open_flat(&found, path, how);
    };
    let is_dir = matches!(found, End::Inode(_, Kind::Directory));
    let number = match found {
        End::Inode(..) if how.create && how.exclusive => return Err(OpenError::Exists),
        End::Inode(number, kind) => {
            may_open(mounted, kind, how)?;
            number
        }
        End::Name { dir, name, .. } if how.create => {
            if how.directory {
                return Err(OpenError::Fs(Error::IsDirectory));
            }
            let new = new_inode(Kind::File, how.mode);
            mounted.check(mounted.fs().make(writer, dir, &path.get()[name], new))?
        }
        End::Name { .. } => return Err(OpenError::NotFound),
        End::Root | End::Flat(_) => return open_flat(&found, path, how),
    };
    let file = mounted.check(open_inode(mounted, number))?;
    Ok(Opened { file, is_dir })
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

/// Makes a file without a name in the directory at a path (`O_TMPFILE`).
///
/// # Errors
/// [`OpenError`].
pub fn open_unnamed(start: Start, path: &mut Bytes, mode: u16) -> Result<Opened, OpenError> {
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
    let file = mounted.check(open_inode(mounted, number))?;
    Ok(Opened { file, is_dir: false })
}

/// Removes a name: of a directory, or of anything else.
///
/// # Errors
/// [`OpenError`].
pub fn unlink(start: Start, path: &mut Bytes, is_dir: bool) -> Result<(), OpenError> {
    let flat = |name: &[u8]| match is_dir {
        true => Err(OpenError::Fs(Error::NotDirectory)),
        false => names::unlink(name).map(|()| None),
    };
    let gone = at_name(start, path, flat, |mounted, _, place| {
        let done = match is_dir {
            true => mounted.fs().remove_dir(place.dir, place.name),
            false if place.slash => Err(not_a_file(mounted, place)),
            false => mounted.fs().unlink(place.dir, place.name),
        };
        Ok(Some(done?))
    })?;
    end(gone)
}

/// Outside of the file system there are no directories and no links.
fn flat_has_none<R>(_: &[u8]) -> Result<R, OpenError> {
    Err(OpenError::Fs(Error::NotPermitted))
}

/// Makes a directory.
///
/// # Errors
/// [`OpenError`].
pub fn make_dir(start: Start, path: &mut Bytes, mode: u16) -> Result<(), OpenError> {
    at_name(start, path, flat_has_none, |mounted, writer, place| {
        let new = new_inode(Kind::Directory, mode);
        mounted.fs().make_dir(writer, place.dir, place.name, new)?;
        Ok(())
    })
}

/// Makes a symbolic link.
///
/// # Errors
/// [`OpenError`].
pub fn make_symlink(target: &Bytes, start: Start, path: &mut Bytes) -> Result<(), OpenError> {
    if target.get().is_empty() {
        return Err(OpenError::NotFound);
    }
    at_name(start, path, flat_has_none, |mounted, writer, place| {
        may_make(mounted, place)?;
        mounted.fs().make_symlink(writer, place.dir, place.name, target.get(), [0; 2])?;
        Ok(())
    })
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
        (End::Name { dir, name, slash }, Some(number), Some(mounted), Some(writer)) => {
            let name = &path.get()[name];
            mounted.check(may_make(mounted, Place { dir, name, slash }))?;
            if let Some(file) = file {
                mounted.check(note_size_of_unnamed(mounted, writer, number, file.size()))?;
            }
            mounted.check(mounted.fs().link(writer, number, dir, name))?;
            if let Some(file) = file {
                named_again(number, file);
            }
            Ok(())
        }
        (End::Name { .. } | End::Flat(_), ..) => Err(OpenError::OtherDevice),
        _ => Err(OpenError::Fs(Error::Exists)),
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
    let len = mounted.fs().read_link(number, target.room())?;
    drop(writer);
    target.set_len(len);
    Ok(target)
}

/// What is known of what is at a path.
///
/// # Errors
/// [`OpenError`].
pub fn stat(start: Start, path: &mut Bytes, follow: bool) -> Result<Stat, OpenError> {
    let mounted = mounted();
    let writer = mounted.map(Mounted::lock);
    let last = if follow { Last::Follow } else { Last::Stay };
    match (walk(mounted.map(Mounted::fs), start, path, last)?, mounted) {
        (End::Inode(number, _), Some(mounted)) => {
            let (_, inode) = mounted.fs().inode(number)?;
            let size = mount::live_size(number).filter(|_| inode.kind() == Some(Kind::File));
            Ok(of_inode(mounted, number, &inode, size.unwrap_or(inode.size)))
        }
        (End::Flat(name), _) => {
            drop(writer);
            let file = names::open(&path.get()[name], false, false)?;
            let stat = stat_file(&file);
            put(file);
            stat
        }
        _ => Err(OpenError::NotFound),
    }
}

/// What is known of an open file.
///
/// # Errors
/// If its inode could not be read.
pub fn stat_file(file: &File) -> Result<Stat, OpenError> {
    const REGULAR: u32 = 0o100_666;
    if let (Some(number), Some(mounted)) = (inode_of(file), mounted()) {
        let inode = mounted.fs().load(mounted.fs().locate(number)?)?;
        let is_file = inode.kind() == Some(Kind::File);
        let size = if is_file { file.size() } else { inode.size };
        return Ok(of_inode(mounted, number, &inode, size));
    }
    let size = file.size();
    Ok(Stat {
        device: u64::from(matches!(file.kind(), FileKind::Stored(_))),
        number: u64::from(file.id().0),
        mode: REGULAR,
        links: 1,
        size,
        block_bytes: PAGE_SIZE as u32,
        sectors: size.div_ceil(512),
        ..Stat::default()
    })
}

fn of_inode(mounted: &Mounted, number: u32, inode: &Inode, size: u64) -> Stat {
    /// After the devices of memory and of the RAM disk.
    const DEVICE: u64 = 2;
    Stat {
        device: DEVICE,
        number: number.into(),
        mode: inode.mode.into(),
        links: inode.links.into(),
        owner: inode.owner,
        size,
        block_bytes: mounted.fs().geometry().block_bytes() as u32,
        sectors: inode.sectors.into(),
        times: [time::ACCESS, time::MODIFY, time::CHANGE].map(|at| inode.times[at].into()),
    }
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

/// How much room the file system has.
pub fn space() -> Option<ext2::Space> {
    let mounted = mounted()?;
    let writer = mounted.lock();
    Some(mounted.fs().space(&writer))
}
