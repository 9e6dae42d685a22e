//! The operations of [`treeops`].

use treeops::fill;
use treeops::hash::{Hash, PIECE};
use treeops::op::{Flags, Kept, MOST_TARGET, Op};
use treeops::path::{self, Path};
use treeops::record::{Record, SIGBUS};

use super::errno::{EBADF, EINVAL, EISDIR, ENOSPC, ENOTDIR};
use super::{Errno, Model, Node, Number};

/// How much room the disk has for an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Enough.
    Enough,
    /// None, for the call behind so many others.
    None(u64),
    /// For so many bytes of a write.
    Bytes(usize),
}

impl Room {
    /// What the kernel's result says of a disk that may be full.
    #[must_use]
    pub fn of(op: Op, record: Record) -> Self {
        let len = match op {
            Op::Write { len, .. }
            | Op::Temporary { len, .. }
            | Op::Use { what: Kept::Write(_, len), .. } => len,
            Op::Store { .. } if record.status == SIGBUS => return Self::None(1),
            _ => 0,
        };
        match record.status {
            -28 => Self::None(record.hash),
            bytes @ 1.. if bytes < len.into() => Self::Bytes(bytes as usize),
            _ => Self::Enough,
        }
    }

    fn is_none_at(self, call: u64) -> bool {
        self == Self::None(call)
    }
}

/// A failure, and how many calls succeeded before.
type Failure = (Errno, u64);

fn first<T>(result: Result<T, Errno>) -> Result<T, Failure> {
    result.map_err(|error| (error, 0))
}

fn done(result: Result<(), Errno>) -> Result<Record, Failure> {
    first(result).map(|()| Record::DONE)
}

fn text(path: Path) -> Vec<u8> {
    path.put(&mut [0; path::BYTES]).to_vec()
}

const PLAIN: Flags =
    Flags { create: false, exclusive: false, truncate: false, append: false, no_follow: false };

impl Model {
    /// Closes what is kept open, and counts the operations from the first again.
    pub fn start_anew(&mut self) {
        self.kept.fill(None);
        self.operation = 0;
    }

    /// Executes the next operation; returns what it must return.
    pub fn execute(&mut self, op: Op, room: Room) -> Record {
        let done = self.try_execute(op, room);
        self.operation += 1;
        done.unwrap_or_else(|(Errno(errno), calls)| Record::error(errno, calls))
    }

    fn try_execute(&mut self, op: Op, room: Room) -> Result<Record, Failure> {
        let is_full = room.is_none_at(0);
        match op {
            Op::MakeDir(path) => done(self.make_dir(&text(path), is_full)),
            Op::RemoveDir(path) => done(self.remove_dir(&text(path))),
            Op::Unlink(path) => done(self.unlink(&text(path))),
            Op::Write { path, flags, at, len } => {
                let file = first(self.open(&text(path), flags, is_full))?;
                let at = if flags.append { self.contents(file).len() } else { at as usize };
                self.write(file, at, len, room)
            }
            Op::Truncate { path, size } => {
                let file = self.open_file(path)?;
                self.contents_mut(file).resize(size as usize, 0);
                Ok(Record::DONE)
            }
            Op::Punch { path, start, len } => {
                let file = self.open_file(path)?;
                let contents = self.contents_mut(file);
                let end = contents.len().min((start + len) as usize);
                contents[(start as usize).min(end)..end].fill(0);
                Ok(Record::DONE)
            }
            Op::Store { path, at, len } => {
                let file = self.open_file(path)?;
                Ok(self.store(file, at as usize, len.into(), room))
            }
            Op::Read(path) => self.read(first(self.look(path, true))?),
            Op::List(path) => first(self.list_at(path)),
            Op::Stat { path, follow } => {
                let number = first(self.look(path, follow))?;
                Ok(Record { status: 0, hash: self.stat(number) })
            }
            Op::ReadLink(path) => first(self.read_link(path)),
            Op::Link { old, new, follow } => {
                done(self.link(&text(old), follow, &text(new), is_full))
            }
            Op::Symlink { target, path } => {
                let mut buffer = [0; MOST_TARGET];
                done(self.symlink(target.put(&mut buffer), &text(path), is_full))
            }
            Op::Rename { old, new, exchange } => {
                done(self.rename(&text(old), &text(new), exchange, is_full))
            }
            Op::Sync(path) => done(self.look(path, true).map(drop)),
            Op::Temporary { dir, len, name, .. } => self.temporary(dir, len, name, room),
            Op::Keep { slot, path } => {
                self.kept[usize::from(slot)] = None;
                self.kept[usize::from(slot)] = Some(self.open_file(path)?);
                Ok(Record::DONE)
            }
            Op::Use { slot, what } => self.use_kept(slot.into(), what, room),
        }
    }

    fn look(&self, path: Path, follow: bool) -> Result<Number, Errno> {
        self.lookup(&text(path), follow)
    }

    /// Opens a file to be read and written.
    fn open_file(&mut self, path: Path) -> Result<Number, Failure> {
        first(self.open(&text(path), PLAIN, false))
    }

    fn write(&mut self, file: Number, at: usize, len: u32, room: Room) -> Result<Record, Failure> {
        let mut bytes = vec![0; len as usize];
        fill(&mut bytes, self.operation);
        match room {
            Room::None(calls) if len > 0 && calls < 2 => return Err((ENOSPC, calls)),
            Room::Bytes(most) => bytes.truncate(most),
            _ => {}
        }
        if !bytes.is_empty() {
            let contents = self.contents_mut(file);
            let end = at + bytes.len();
            contents.resize(contents.len().max(end), 0);
            contents[at..end].copy_from_slice(&bytes);
        }
        Ok(Record::count(bytes.len()))
    }

    fn store(&mut self, file: Number, at: usize, len: usize, room: Room) -> Record {
        let value = self.operation as u8;
        let contents = self.contents_mut(file);
        let size = contents.len();
        if at / PIECE >= size.div_ceil(PIECE) || room.is_none_at(1) {
            return Record { status: SIGBUS, hash: 0 };
        }
        let len = size.saturating_sub(at).min(PIECE - at % PIECE).min(len);
        if len > 0 {
            contents[at..at + len].fill(value);
        }
        Record::count(len)
    }

    fn read(&self, number: Number) -> Result<Record, Failure> {
        match &self.inode(number).node {
            Node::Dir(..) => Err((EISDIR, 1)),
            Node::File(bytes) | Node::Link(bytes) => {
                let hash = Hash::NEW.contents(bytes).value();
                Ok(Record { status: bytes.len() as i64, hash })
            }
        }
    }

    fn list_at(&self, path: Path) -> Result<Record, Errno> {
        let number = self.look(path, true)?;
        if self.is_dir(number) { Ok(self.list(number)) } else { Err(ENOTDIR) }
    }

    fn read_link(&self, path: Path) -> Result<Record, Errno> {
        match &self.inode(self.look(path, false)?).node {
            Node::Link(target) => {
                let hash = Hash::NEW.bytes(target).value();
                Ok(Record { status: target.len() as i64, hash })
            }
            _ => Err(EINVAL),
        }
    }

    fn temporary(
        &mut self,
        dir: Path,
        len: u32,
        name: Option<Path>,
        room: Room,
    ) -> Result<Record, Failure> {
        let number = first(self.look(dir, true))?;
        if !self.is_dir(number) {
            return Err((ENOTDIR, 0));
        }
        if room.is_none_at(0) {
            return Err((ENOSPC, 0));
        }
        let file = self.make(Node::File(Vec::new()));
        let written = self.write(file, 0, len, room)?;
        if let Some(name) = name {
            let linked = self.link_inode(file, &text(name), room.is_none_at(2));
            linked.map_err(|error| (error, 2))?;
        }
        Ok(written)
    }

    fn use_kept(&mut self, slot: usize, what: Kept, room: Room) -> Result<Record, Failure> {
        let file = self.kept[slot].ok_or((EBADF, 0))?;
        match what {
            Kept::Close => self.kept[slot] = None,
            Kept::Write(at, len) => return self.write(file, at as usize, len, room),
            Kept::Read => return self.read(file),
            Kept::Truncate(size) => self.contents_mut(file).resize(size as usize, 0),
            Kept::Sync => {}
        }
        Ok(Record::DONE)
    }
}
