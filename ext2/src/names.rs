//! What is done with names: looked up, made, linked, unlinked, renamed.
//!
//! Each call is a whole: it succeeds, or leaves what was there. If a block cannot be read or written in
//! its middle, what is left is safe: an inode with more names counted than it has, never with fewer. So a
//! name is counted before it is there, and as long as it may be; one that moves counts twice meanwhile.

use crate::ROOT;
use crate::dir::Dir;
use crate::disk::Disk;
use crate::error::Error;
use crate::inode::{InodeAt, New};
use crate::layout::entry::MOST_NAME;
use crate::layout::inode::{APPEND_ONLY, IMMUTABLE, Inode, Kind, LINK_BYTES, time};
use crate::layout::{put_u32, u32_at};
use crate::map::Fresh;
use crate::mount::{Ext2, Writer};

/// The most names of an inode.
const MOST_LINKS: u16 = 32_000;

/// An inode that has lost a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gone {
    /// Its number.
    pub number: u32,
    /// That was the last: when nobody uses it any more, [`Ext2::end_step`] is due.
    pub is_last: bool,
}

/// What `rename` does with a name that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exchange {
    /// It is replaced.
    Replace,
    /// It must not be there (`RENAME_NOREPLACE`).
    Never,
    /// The two change places (`RENAME_EXCHANGE`).
    Both,
}

/// A name that can be made or removed.
fn proper(name: &[u8]) -> Result<(), Error> {
    match name {
        [] => Err(Error::NotFound),
        b"." | b".." => Err(Error::Invalid),
        _ if name.len() > MOST_NAME => Err(Error::NameTooLong),
        _ if name.contains(&b'/') || name.contains(&0) => Err(Error::Invalid),
        _ => Ok(()),
    }
}

fn changeable(inode: &Inode, but: u32) -> Result<(), Error> {
    if inode.flags & (IMMUTABLE | APPEND_ONLY) & !but == 0 {
        Ok(())
    } else {
        Err(Error::NotPermitted)
    }
}

fn is_dir(inode: &Inode) -> bool {
    inode.kind() == Some(Kind::Directory)
}

impl<D: Disk> Ext2<D> {
    /// The inode of a name in a directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], or what went wrong.
    pub fn lookup(&self, dir: u32, name: &[u8]) -> Result<u32, Error> {
        let found = self.find(&self.dir(dir)?, name)?;
        found.map(|(inode, _)| inode).ok_or(Error::NotFound)
    }

    /// A directory in which a name may be made, and that has none such.
    fn room_for(&self, dir: u32, name: &[u8]) -> Result<Dir, Error> {
        let dir = self.dir(dir)?;
        if self.find(&dir, name)?.is_some() {
            return Err(Error::Exists);
        }
        proper(name)?;
        self.writable()?;
        changeable(&dir.inode, APPEND_ONLY)?;
        Ok(dir)
    }

    /// Makes a file, or something special.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NoSpace`], or what else is wrong.
    pub fn make(&self, writer: &mut Writer, dir: u32, name: &[u8], new: New) -> Result<u32, Error> {
        let mut dir = self.room_for(dir, name)?;
        let home = self.inode_bit(dir.at.number).0;
        let (at, inode) = self.new_inode(writer, home, new, 1)?;
        let added = self.add(writer, &mut dir, name, at.number, inode.mode);
        self.or_end(writer, at, added)
    }

    /// What was made stays, or ends if that failed.
    fn or_end(
        &self,
        writer: &mut Writer,
        at: InodeAt,
        done: Result<(), Error>,
    ) -> Result<u32, Error> {
        match done {
            Ok(()) => Ok(at.number),
            Err(error) => {
                while !self.end_step(writer, at)? {}
                Err(error)
            }
        }
    }

    /// Makes a file without a name (`O_TMPFILE`), near a directory.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what else is wrong.
    pub fn make_unnamed(&self, writer: &mut Writer, dir: u32, new: New) -> Result<u32, Error> {
        self.writable()?;
        let home = self.inode_bit(self.dir(dir)?.at.number).0;
        Ok(self.new_inode(writer, home, new, 0)?.0.number)
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`Ext2::make`].
    pub fn make_dir(
        &self,
        writer: &mut Writer,
        parent: u32,
        name: &[u8],
        new: New,
    ) -> Result<u32, Error> {
        let mut dir = self.room_for(parent, name)?;
        if dir.inode.links >= MOST_LINKS {
            return Err(Error::TooManyLinks);
        }
        let home = self.inode_bit(dir.at.number).0;
        let (at, inode) = self.new_inode(writer, home, new, 2)?;
        let mut made = Dir { at, inode };
        let added = self
            .begin_dir(writer, &mut made, parent)
            .and_then(|()| self.count_links(dir.at, 1))
            .and_then(|links| {
                dir.inode.links = links;
                let added = self.add(writer, &mut dir, name, at.number, inode.mode);
                self.or_uncount(dir.at, added)
            });
        self.or_end(writer, at, added)
    }

    /// A name that was counted before it was made is there, or is not counted.
    fn or_uncount(&self, at: InodeAt, done: Result<(), Error>) -> Result<(), Error> {
        if done.is_err() {
            self.count_links(at, -1)?;
        }
        done
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`Ext2::make`]; [`Error::NameTooLong`] for a target that fills a block.
    pub fn make_symlink(
        &self,
        writer: &mut Writer,
        dir: u32,
        name: &[u8],
        target: &[u8],
        owner: [u32; 2],
    ) -> Result<u32, Error> {
        let mut dir = self.room_for(dir, name)?;
        match target {
            [] => return Err(Error::NotFound),
            _ if target.len() >= self.geometry.block_bytes() => return Err(Error::NameTooLong),
            _ => {}
        }
        let home = self.inode_bit(dir.at.number).0;
        let new = New { mode: Kind::Symlink.mode_bits() | 0o777, owner };
        let (at, inode) = self.new_inode(writer, home, new, 1)?;
        let added = self
            .put_target(writer, at, inode, target)
            .and_then(|()| self.add(writer, &mut dir, name, at.number, inode.mode));
        self.or_end(writer, at, added)
    }

    fn put_target(
        &self,
        writer: &mut Writer,
        at: InodeAt,
        mut inode: Inode,
        target: &[u8],
    ) -> Result<(), Error> {
        if target.len() < LINK_BYTES {
            let mut bytes = [0; LINK_BYTES];
            bytes[..target.len()].copy_from_slice(target);
            inode.block = core::array::from_fn(|slot| u32_at(&bytes, 4 * slot));
        } else {
            let (Fresh::New(block) | Fresh::Old(block)) = self.reserve(writer, at, 0)?;
            inode = self.load(at)?;
            self.disk.begin(block, |bytes| {
                bytes.fill(0);
                bytes[..target.len()].copy_from_slice(target);
            })?;
        }
        inode.size = target.len() as u64;
        self.store(at, &inode)
    }

    /// Copies the target of a symbolic link, as far as it fits; returns how much that was.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is none.
    #[doc(alias = "readlink")]
    pub fn read_link(&self, number: u32, out: &mut [u8]) -> Result<usize, Error> {
        let (at, inode) = self.inode(number)?;
        if inode.kind() != Some(Kind::Symlink) {
            return Err(Error::Invalid);
        }
        let damage = Error::Corrupt { what: "the target of a symbolic link", at: number };
        let size = usize::try_from(inode.size).map_err(|_| damage)?;
        let len = size.min(out.len());
        if inode.is_short_link(self.geometry.block_bytes()) {
            if size >= LINK_BYTES {
                return Err(damage);
            }
            let mut bytes = [0; LINK_BYTES];
            inode.block.iter().enumerate().for_each(|(slot, n)| put_u32(&mut bytes, 4 * slot, *n));
            out[..len].copy_from_slice(&bytes[..len]);
            return Ok(len);
        }
        let block = self.map(at, 0, 1)?.block.ok_or(damage)?;
        if size >= self.geometry.block_bytes() {
            return Err(damage);
        }
        self.disk.look(block, |bytes| out[..len].copy_from_slice(&bytes[..len]))?;
        Ok(len)
    }

    /// Gives an inode one more name. It may have none so far.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for a directory, or as [`Ext2::make`].
    pub fn link(
        &self,
        writer: &mut Writer,
        number: u32,
        dir: u32,
        name: &[u8],
    ) -> Result<(), Error> {
        let mut dir = self.room_for(dir, name)?;
        let at = self.locate(number)?;
        let inode = self.load(at)?;
        if is_dir(&inode) {
            return Err(Error::NotPermitted);
        }
        changeable(&inode, 0)?;
        if inode.links >= MOST_LINKS {
            return Err(Error::TooManyLinks);
        }
        self.count_links(at, 1)?;
        let added = self.add(writer, &mut dir, name, number, inode.mode);
        self.or_uncount(at, added)
    }

    /// Changes the count of an inode's names; returns what it is.
    fn count_links(&self, at: InodeAt, by: i16) -> Result<u16, Error> {
        let mut inode = self.load(at)?;
        inode.links = inode.links.saturating_add_signed(by);
        inode.times[time::CHANGE] = self.disk.now();
        self.store(at, &inode)?;
        Ok(inode.links)
    }

    /// Removes a name that is no directory's.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsDirectory`], or what else is wrong.
    pub fn unlink(&self, _writer: &mut Writer, dir: u32, name: &[u8]) -> Result<Gone, Error> {
        let mut dir = self.dir(dir)?;
        let (number, place) = self.find(&dir, name)?.ok_or(Error::NotFound)?;
        if matches!(name, b"." | b"..") {
            return Err(Error::IsDirectory);
        }
        let (at, inode) = self.inode(number)?;
        if is_dir(&inode) {
            return Err(Error::IsDirectory);
        }
        self.writable()?;
        changeable(&dir.inode, 0)?;
        changeable(&inode, 0)?;
        self.remove(&mut dir, place)?;
        Ok(Gone { number, is_last: self.count_links(at, -1)? == 0 })
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotDirectory`], [`Error::NotEmpty`], or what else is wrong.
    pub fn remove_dir(&self, _writer: &mut Writer, dir: u32, name: &[u8]) -> Result<Gone, Error> {
        match name {
            b"." => return Err(Error::Invalid),
            b".." => return Err(Error::NotEmpty),
            _ => {}
        }
        let mut dir = self.dir(dir)?;
        let (number, place) = self.find(&dir, name)?.ok_or(Error::NotFound)?;
        let gone = self.dir(number)?;
        if !self.is_empty(&gone)? {
            return Err(Error::NotEmpty);
        }
        self.writable()?;
        changeable(&dir.inode, 0)?;
        changeable(&gone.inode, 0)?;
        self.remove(&mut dir, place)?;
        self.end_dir(&gone, dir.at)
    }

    /// An empty directory has lost its name in `parent`.
    fn end_dir(&self, gone: &Dir, parent: InodeAt) -> Result<Gone, Error> {
        let mut inode = gone.inode;
        inode.links = 0;
        inode.times[time::CHANGE] = self.disk.now();
        self.store(gone.at, &inode)?;
        self.count_links(parent, -1)?;
        Ok(Gone { number: gone.at.number, is_last: true })
    }

    /// Whether a directory is another, or lies below it.
    fn is_below(&self, dir: u32, above: u32) -> Result<bool, Error> {
        let mut at = dir;
        // Whoever walks up further than there are inodes walks in a circle.
        for _ in 0..self.geometry.inodes {
            if at == above {
                return Ok(true);
            }
            if at == ROOT {
                return Ok(false);
            }
            at = self.parent(&self.dir(at)?)?;
        }
        Err(Error::Corrupt { what: "directories in a circle", at: dir })
    }

    /// Gives what has a name another; returns what has lost its name by that.
    ///
    /// # Errors
    /// As `rename(2)`; nothing has changed then.
    #[doc(alias = "renameat2")]
    pub fn rename(
        &self,
        writer: &mut Writer,
        (from, old): (u32, &[u8]),
        (to, new): (u32, &[u8]),
        exchange: Exchange,
    ) -> Result<Option<Gone>, Error> {
        let mut source = self.dir(from)?;
        let (number, _) = self.find(&source, old)?.ok_or(Error::NotFound)?;
        let target = self.dir(to)?;
        let there = self.find(&target, new)?;
        if matches!(old, b"." | b"..") || matches!(new, b"." | b"..") {
            return Err(Error::Invalid);
        }
        let (at, inode) = self.inode(number)?;
        match (exchange, there) {
            (Exchange::Never, Some(_)) => return Err(Error::Exists),
            (Exchange::Both, None) => return Err(Error::NotFound),
            (_, None) => proper(new)?,
            // Two names of one file: nothing to do.
            (_, Some((other, _))) if other == number => return Ok(None),
            _ => {}
        }
        self.writable()?;
        changeable(&source.inode, 0)?;
        changeable(&target.inode, 0)?;
        changeable(&inode, 0)?;
        if is_dir(&inode) && self.is_below(to, number)? {
            return Err(Error::Invalid);
        }
        if exchange == Exchange::Both {
            return self.exchange((from, old), (to, new)).map(|()| None);
        }
        let gone = match there {
            Some((other, _)) => self.replace((&inode, at, from), to, new, other)?,
            None => {
                let grows = is_dir(&inode) && from != to;
                if grows && target.inode.links >= MOST_LINKS {
                    return Err(Error::TooManyLinks);
                }
                self.count_links(at, 1)?;
                let added = self
                    .dir(to)
                    .and_then(|mut to| self.add(writer, &mut to, new, number, inode.mode));
                self.or_uncount(at, added)?;
                None
            }
        };
        // The directory may be the same, and have changed.
        source = self.dir(from)?;
        let (_, place) = self.find(&source, old)?.ok_or(Error::NotFound)?;
        self.remove(&mut source, place)?;
        if is_dir(&inode) && from != to {
            self.move_dir(at, from, to)?;
        }
        self.count_links(at, -1)?;
        Ok(gone)
    }

    /// The name of `other` leads to the inode `at` from now on, which comes from another directory.
    fn replace(
        &self,
        (inode, at, from): (&Inode, InodeAt, u32),
        dir: u32,
        name: &[u8],
        other: u32,
    ) -> Result<Option<Gone>, Error> {
        let (other_at, other_inode) = self.inode(other)?;
        changeable(&other_inode, 0)?;
        match (is_dir(inode), is_dir(&other_inode)) {
            (true, false) => return Err(Error::NotDirectory),
            // As in Linux, what is in the way of itself is not empty.
            (false, true) if from != dir && self.is_below(from, other)? => {
                return Err(Error::NotEmpty);
            }
            (false, true) => return Err(Error::IsDirectory),
            (true, true) if !self.is_empty(&Dir { at: other_at, inode: other_inode })? => {
                return Err(Error::NotEmpty);
            }
            _ => {}
        }
        let mut target = self.dir(dir)?;
        let (_, place) = self.find(&target, name)?.ok_or(Error::NotFound)?;
        self.count_links(at, 1)?;
        let led = self.lead_to(&mut target, place, at.number, inode.mode);
        self.or_uncount(at, led)?;
        if is_dir(&other_inode) {
            return self.end_dir(&Dir { at: other_at, inode: other_inode }, target.at).map(Some);
        }
        let left = self.count_links(other_at, -1)?;
        Ok(Some(Gone { number: other, is_last: left == 0 }))
    }

    /// A directory has moved: its parent is another.
    fn move_dir(&self, at: InodeAt, from: u32, to: u32) -> Result<(), Error> {
        self.count_links(self.locate(to)?, 1)?;
        let mut dir = Dir { at, inode: self.load(at)? };
        let (_, place) = self
            .find(&dir, b"..")?
            .ok_or(Error::Corrupt { what: "a directory without a parent", at: at.number })?;
        self.lead_to(&mut dir, place, to, Kind::Directory.mode_bits())?;
        self.count_links(self.locate(from)?, -1)?;
        Ok(())
    }

    /// Two names change places.
    fn exchange(&self, (from, old): (u32, &[u8]), (to, new): (u32, &[u8])) -> Result<(), Error> {
        let named = |dir: u32, name: &[u8]| {
            let (number, _) = self.find(&self.dir(dir)?, name)?.ok_or(Error::NotFound)?;
            self.inode(number)
        };
        let (one, other) = (named(from, old)?, named(to, new)?);
        changeable(&other.1, 0)?;
        if is_dir(&other.1) && self.is_below(from, other.0.number)? {
            return Err(Error::Invalid);
        }
        self.count_links(one.0, 1)?;
        let counted = self.count_links(other.0, 1).map(drop);
        self.or_uncount(one.0, counted)?;
        for (dir, name, (at, inode)) in [(from, old, other), (to, new, one)] {
            let mut dir = self.dir(dir)?;
            let (_, place) = self.find(&dir, name)?.ok_or(Error::NotFound)?;
            self.lead_to(&mut dir, place, at.number, inode.mode)?;
        }
        if from != to {
            for ((at, inode), from, to) in [(one, from, to), (other, to, from)] {
                if is_dir(&inode) {
                    self.move_dir(at, from, to)?;
                }
            }
        }
        self.count_links(one.0, -1)?;
        self.count_links(other.0, -1).map(drop)
    }
}
