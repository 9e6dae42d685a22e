//! What changes names. Each function is one call, and checks in Linux's order.

use treeops::op::{Exchange, Flags};

use super::errno::{
    EBUSY, EEXIST, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY, EPERM,
};
use super::walk::{End, Last, Links};
use super::{Errno, Model, Node, Number, OUTER};
use std::collections::BTreeMap;

impl Model {
    /// A name that can be made (`filename_create`).
    fn new_name(&self, path: &[u8], is_dir: bool) -> Result<(Number, Vec<u8>), Errno> {
        let End { dir, last, slash } = self.parent(path)?;
        let Last::Name(name) = last else { return Err(EEXIST) };
        if self.find(dir, &name)?.is_some() {
            return Err(EEXIST);
        }
        if slash && !is_dir { Err(ENOENT) } else { Ok((dir, name)) }
    }

    pub(super) fn make_dir(&mut self, path: &[u8], is_full: bool) -> Result<(), Errno> {
        let (dir, name) = self.new_name(path, true)?;
        has_room(is_full)?;
        self.add(dir, &name, Node::Dir(BTreeMap::new(), dir));
        Ok(())
    }

    pub(super) fn symlink(
        &mut self,
        target: &[u8],
        path: &[u8],
        is_full: bool,
    ) -> Result<(), Errno> {
        if target.is_empty() {
            return Err(ENOENT);
        }
        let (dir, name) = self.new_name(path, false)?;
        if target.len() >= self.block {
            return Err(ENAMETOOLONG);
        }
        has_room(is_full)?;
        self.add(dir, &name, Node::Link(target.to_vec()));
        Ok(())
    }

    /// The old path is looked up before the new one.
    pub(super) fn link(
        &mut self,
        old: &[u8],
        follow: bool,
        new: &[u8],
        is_full: bool,
    ) -> Result<(), Errno> {
        let number = self.lookup(old, follow)?;
        self.link_inode(number, new, is_full)
    }

    pub(super) fn link_inode(
        &mut self,
        number: Number,
        new: &[u8],
        is_full: bool,
    ) -> Result<(), Errno> {
        let (dir, name) = self.new_name(new, false)?;
        if self.is_dir(number) {
            return Err(EPERM);
        }
        has_room(is_full)?;
        self.give_name(dir, &name, number);
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &[u8]) -> Result<(), Errno> {
        let End { dir, last, slash } = self.parent(path)?;
        let Last::Name(name) = last else { return Err(EISDIR) };
        let number = self.find(dir, &name)?.ok_or(ENOENT)?;
        if self.is_dir(number) {
            return Err(EISDIR);
        }
        if slash {
            return Err(ENOTDIR);
        }
        self.take_name(dir, &name);
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &[u8]) -> Result<(), Errno> {
        let End { dir, last, .. } = self.parent(path)?;
        let name = match last {
            Last::Dot => return Err(EINVAL),
            Last::DotDot => return Err(ENOTEMPTY),
            Last::Name(name) => name,
        };
        let number = self.find(dir, &name)?.ok_or(ENOENT)?;
        if !self.is_dir(number) {
            return Err(ENOTDIR);
        }
        if !self.names(number).is_empty() {
            return Err(ENOTEMPTY);
        }
        self.take_name(dir, &name);
        Ok(())
    }

    /// Opens a file to be written; returns it.
    pub(super) fn open(
        &mut self,
        path: &[u8],
        flags: Flags,
        is_full: bool,
    ) -> Result<Number, Errno> {
        let number = if flags.create {
            self.create(OUTER, path, flags, is_full, &mut Links::default())?
        } else {
            self.lookup(path, !flags.no_follow)?
        };
        match self.inode(number).node {
            Node::Dir(..) => Err(EISDIR),
            Node::Link(_) => Err(ELOOP),
            Node::File(_) => {
                if flags.truncate {
                    self.contents_mut(number).clear();
                }
                Ok(number)
            }
        }
    }

    /// The file at a path, made if there is none; dangling symbolic links at its end are followed.
    fn create(
        &mut self,
        from: Number,
        path: &[u8],
        flags: Flags,
        is_full: bool,
        links: &mut Links,
    ) -> Result<Number, Errno> {
        let End { dir, last, slash } = self.walk(from, path, links)?;
        let Last::Name(name) = last else {
            return Err(if flags.exclusive { EEXIST } else { EISDIR });
        };
        if slash {
            return Err(EISDIR);
        }
        let Some(number) = self.find(dir, &name)? else {
            has_room(is_full)?;
            return Ok(self.add(dir, &name, Node::File(Vec::new())));
        };
        if flags.exclusive {
            return Err(EEXIST);
        }
        match self.inode(number).node.clone() {
            Node::Link(target) if !flags.no_follow => {
                links.follow()?;
                self.create(dir, &target, flags, is_full, links)
            }
            _ => Ok(number),
        }
    }

    /// `renameat2`, up to `vfs_rename`.
    pub(super) fn rename(
        &mut self,
        old: &[u8],
        new: &[u8],
        exchange: Exchange,
        is_full: bool,
    ) -> Result<(), Errno> {
        if exchange == Exchange::NeverBoth {
            return Err(EINVAL);
        }
        let (from, to) = (self.parent(old)?, self.parent(new)?);
        let Last::Name(old_name) = &from.last else { return Err(EBUSY) };
        let Last::Name(new_name) = &to.last else {
            return Err(if exchange == Exchange::Never { EEXIST } else { EBUSY });
        };
        let source = self.find(from.dir, old_name)?.ok_or(ENOENT)?;
        let there = self.find(to.dir, new_name)?;
        self.may_rename((&from, source), (&to, there), exchange)?;
        if there == Some(source) {
            return Ok(());
        }
        self.may_replace(source, there, exchange)?;
        match (exchange, there) {
            (Exchange::Both, Some(there)) => {
                self.take_name(from.dir, old_name);
                self.take_name(to.dir, new_name);
                self.give_name(from.dir, old_name, there);
                self.give_name(to.dir, new_name, source);
            }
            (_, there) => {
                has_room(is_full && there.is_none())?;
                if there.is_some() {
                    self.take_name(to.dir, new_name);
                }
                self.take_name(from.dir, old_name);
                self.give_name(to.dir, new_name, source);
            }
        }
        Ok(())
    }

    /// The checks of `do_renameat2`, which come before those of the file system.
    fn may_rename(
        &self,
        (from, source): (&End, Number),
        (to, there): (&End, Option<Number>),
        exchange: Exchange,
    ) -> Result<(), Errno> {
        let is_both = exchange == Exchange::Both;
        match there {
            Some(_) if exchange == Exchange::Never => return Err(EEXIST),
            None if is_both => return Err(ENOENT),
            Some(there) if is_both && !self.is_dir(there) && to.slash => return Err(ENOTDIR),
            _ => {}
        }
        if !self.is_dir(source) && (from.slash || !is_both && to.slash) {
            return Err(ENOTDIR);
        }
        if from.dir == to.dir {
            return Ok(());
        }
        if self.is_in(to.dir, source) {
            return Err(EINVAL);
        }
        match there {
            Some(there) if self.is_in(from.dir, there) => {
                Err(if is_both { EINVAL } else { ENOTEMPTY })
            }
            _ => Ok(()),
        }
    }

    /// The checks of `vfs_rename` and of the file system.
    fn may_replace(
        &self,
        source: Number,
        there: Option<Number>,
        exchange: Exchange,
    ) -> Result<(), Errno> {
        let Some(there) = there.filter(|_| exchange != Exchange::Both) else { return Ok(()) };
        match (self.is_dir(source), self.is_dir(there)) {
            (true, false) => Err(ENOTDIR),
            (false, true) => Err(EISDIR),
            (true, true) if !self.names(there).is_empty() => Err(ENOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Whether a directory is another, or lies in it.
    fn is_in(&self, dir: Number, above: Number) -> bool {
        dir == above || dir != OUTER && self.is_in(self.above(dir), above)
    }
}

fn has_room(is_full: bool) -> Result<(), Errno> {
    if is_full { Err(ENOSPC) } else { Ok(()) }
}
