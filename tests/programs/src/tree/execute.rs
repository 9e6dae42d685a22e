//! Each operation of [`treeops`], as system calls.

use core::ffi::CStr;

use treeops::fill;
use treeops::hash::{Hash, name_hash, stat_hash};
use treeops::op::{Flags, KEPT, Kept, MOST_BYTES, MOST_TARGET, Op};
use treeops::path::Path;
use treeops::record::{Record, SIGBUS};

use super::walk::kind_of;
use super::{Text, contents};
use crate::pages::PAGE_SIZE;
use crate::sys::files::{Fd, How, flags, open, unlink};
use crate::sys::names::{
    entries, link, make_dir, read_link, remove_dir, rename, stat, statx, symlink,
};
use crate::sys::{self, Errno};
use crate::task::{self, End, join, start};

/// Executes operations one after the other.
pub struct Executor {
    /// What is written comes from here.
    buffer: &'static mut [u8],
    kept: [Option<Fd>; KEPT],
    /// The operation's number, which decides the bytes that it writes.
    number: u32,
    /// Calls of the operation that have succeeded.
    calls: u64,
    /// No other task changes the tree.
    is_alone: bool,
}

impl Executor {
    /// An executor that has done nothing yet.
    ///
    /// # Panics
    /// Without memory.
    #[must_use]
    pub fn new() -> Self {
        let bytes = MOST_BYTES as usize;
        let first = sys::mmap(bytes).expect("memory for a buffer");
        // SAFETY: the mapping was just made, is never removed, and is used by nothing else.
        let buffer = unsafe { core::slice::from_raw_parts_mut(first, bytes) };
        Self { buffer, kept: [const { None }; KEPT], number: 0, calls: 0, is_alone: true }
    }

    /// The same in a tree that others change, too.
    #[must_use]
    pub fn among_others() -> Self {
        Self { is_alone: false, ..Self::new() }
    }

    /// Closes what is kept open.
    pub fn close_all(&mut self) {
        self.kept = [const { None }; KEPT];
    }

    /// Executes the next operation.
    pub fn execute(&mut self, op: Op) -> Record {
        self.calls = 0;
        let done = self.try_execute(op);
        self.number += 1;
        done.unwrap_or_else(|Errno(errno)| Record::error(errno, self.calls))
    }

    fn try_execute(&mut self, op: Op) -> Result<Record, Errno> {
        match op {
            Op::MakeDir(path) => done(make_dir(Text::path(path).get())),
            Op::RemoveDir(path) => done(remove_dir(Text::path(path).get())),
            Op::Unlink(path) => done(unlink(Text::path(path).get())),
            Op::Write { path, flags, at, len } => {
                let fd = self.open(path, flags::RDWR | flags_of(flags))?;
                self.write(&fd, at, len)
            }
            Op::Truncate { path, size } => {
                done(self.open(path, flags::RDWR)?.truncate(size.into()))
            }
            Op::Punch { path, start, len } => {
                done(self.open(path, flags::RDWR)?.punch_hole(start.into(), len.into()))
            }
            Op::Store { path, at, len } => {
                let fd = self.open(path, flags::RDWR)?;
                self.store(&fd, at, len)
            }
            Op::Read(path) => read(&self.open(path, flags::RDONLY)?),
            Op::List(path) => list(&self.open(path, flags::RDONLY | flags::DIRECTORY)?),
            Op::Stat { path, follow } => self.look(Text::path(path).get(), follow),
            Op::ReadLink(path) => target(path),
            Op::Link { old, new, follow } => {
                done(link(Text::path(old).get(), Text::path(new).get(), follow))
            }
            Op::Symlink { target, path } => {
                done(symlink(Text::target(target).get(), Text::path(path).get()))
            }
            Op::Rename { old, new, exchange } => {
                done(rename(Text::path(old).get(), Text::path(new).get(), exchange as usize))
            }
            Op::Sync(path) => done(self.open(path, flags::RDONLY)?.sync()),
            Op::Temporary { dir, len, sync, name } => self.temporary(dir, len, sync, name),
            Op::Keep { slot, path } => {
                self.kept[usize::from(slot)] = None;
                self.kept[usize::from(slot)] = Some(self.open(path, flags::RDWR)?);
                Ok(Record::DONE)
            }
            Op::Use { slot, what } => self.use_kept(slot.into(), what),
        }
    }

    /// Opens a file, as the first call of an operation.
    fn open(&mut self, path: Path, flags: usize) -> Result<Fd, Errno> {
        let fd = open(Text::path(path).get(), flags)?;
        self.calls += 1;
        Ok(fd)
    }

    fn write(&mut self, fd: &Fd, at: u32, len: u32) -> Result<Record, Errno> {
        let bytes = &mut self.buffer[..len as usize];
        fill(bytes, self.number);
        Ok(Record::count(fd.write_at(bytes, at.into())?))
    }

    /// In a child, which a bus error may end.
    fn store(&self, fd: &Fd, at: u32, len: u16) -> Result<Record, Errno> {
        let (at, size) = (at as usize, fd.size()? as usize);
        let within = at % PAGE_SIZE;
        let most = size.saturating_sub(at).min(PAGE_SIZE - within);
        let is_behind = at / PAGE_SIZE >= size.div_ceil(PAGE_SIZE);
        let len = if is_behind { 1 } else { most.min(len.into()) };
        let page = fd.map(How::Shared, PAGE_SIZE, (at - within) as u64)?;
        let child = start(|| {
            for byte in within..within + len {
                let byte = page.wrapping_add(byte);
                // SAFETY: the byte is in the page that was just mapped, which nothing else uses.
                unsafe { byte.write_volatile(self.number as u8) };
            }
            0
        });
        let end = join(child);
        // SAFETY: the page is not used any more.
        unsafe { sys::munmap(page, PAGE_SIZE) }?;
        Ok(match end {
            End::Signal(task::SIGBUS) => Record { status: SIGBUS, hash: 0 },
            End::Status(0) => Record::count(len),
            other => panic!("a store ended with {other:?}"),
        })
    }

    fn temporary(
        &mut self,
        dir: Path,
        len: u32,
        sync: bool,
        name: Option<Path>,
    ) -> Result<Record, Errno> {
        let fd = self.open(dir, flags::RDWR | flags::TMPFILE)?;
        let written = self.write(&fd, 0, len)?;
        self.calls += 1;
        if sync {
            fd.sync()?;
        }
        if let Some(name) = name {
            fd.link_to(Text::path(name).get())?;
        }
        Ok(written)
    }

    fn look(&self, path: &CStr, follow: bool) -> Result<Record, Errno> {
        let known = stat(None, path, follow);
        assert!(!self.is_alone || statx(None, path, follow) == known);
        let known = known?;
        Ok(Record { status: 0, hash: stat_hash(kind_of(&known), known.size, known.links) })
    }

    fn use_kept(&mut self, slot: usize, what: Kept) -> Result<Record, Errno> {
        let fd = self.kept[slot].take().ok_or(sys::EBADF)?;
        let record = match what {
            Kept::Close => return Ok(Record::DONE),
            Kept::Write(at, len) => self.write(&fd, at, len),
            Kept::Read => read(&fd),
            Kept::Truncate(size) => done(fd.truncate(size.into())),
            Kept::Sync => done(fd.sync()),
        };
        self.kept[slot] = Some(fd);
        record
    }
}

impl Default for Executor {
    fn default() -> Self {
        Self::new()
    }
}

fn done(result: Result<(), Errno>) -> Result<Record, Errno> {
    result.map(|()| Record::DONE)
}

fn flags_of(of: Flags) -> usize {
    let all = [
        (of.create, flags::CREAT),
        (of.exclusive, flags::EXCL),
        (of.truncate, flags::TRUNC),
        (of.append, flags::APPEND),
        (of.no_follow, flags::NOFOLLOW),
    ];
    all.into_iter().filter(|(is, _)| *is).map(|(_, flag)| flag).sum()
}

fn read(fd: &Fd) -> Result<Record, Errno> {
    let (len, hash) = contents(fd)?;
    Ok(Record { status: len as i64, hash })
}

fn list(fd: &Fd) -> Result<Record, Errno> {
    let (mut list, mut record) = ([0; 512], Record::DONE);
    loop {
        let len = fd.list(&mut list)?;
        if len == 0 {
            return Ok(record);
        }
        for entry in entries(&list[..len]) {
            let kind = kind_of(&sys::names::Stat { inode: 0, kind: entry.kind, links: 0, size: 0 });
            record.status += 1;
            record.hash = record.hash.wrapping_add(name_hash(entry.name.to_bytes(), kind));
        }
    }
}

fn target(path: Path) -> Result<Record, Errno> {
    let mut target = [0; MOST_TARGET];
    let len = read_link(None, Text::path(path).get(), &mut target)?;
    Ok(Record { status: len as i64, hash: Hash::NEW.bytes(&target[..len]).value() })
}
