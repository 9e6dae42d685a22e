//! A file system and its model, side by side: each call is made on both, and they must agree.

use std::collections::BTreeMap;

use ext2::layout::inode::Kind;
use ext2::{Error, Exchange, Ext2, Gone, InodeAt, New, Space, Writer};

use super::content::Content;
use super::disk::Cache;
use super::files::{self, Fs};
use super::model::{Body, Id, Model, Renamed};
use super::verify;

/// The most blocks that a call takes for a name: a directory, its parent's block, and the way to that.
const MOST_BLOCKS: u32 = 6;

/// A mounted file system, and what must be in it.
pub struct Session<'a> {
    pub fs: Fs<'a>,
    pub writer: Writer,
    pub model: Model,
    pub numbers: BTreeMap<Id, u32>,
    /// Files without a name that somebody uses.
    pub open: Vec<Id>,
    /// How often there was no room.
    pub full: u32,
}

impl<'a> Session<'a> {
    /// Mounts a device on which the model must be.
    pub fn start(cache: &'a Cache, model: Model) -> Self {
        let superblock = cache.superblock().expect("a superblock");
        let (fs, writer) = Ext2::mount(cache, &superblock, false).expect("it can be mounted");
        let numbers = verify::assert_same(&fs, &model);
        Self { fs, writer, model, numbers, open: Vec::new(), full: 0 }
    }

    /// Ends the files without a name, checks everything, and unmounts.
    pub fn finish(mut self) -> Model {
        while let Some(id) = self.open.pop() {
            self.end(id);
        }
        verify::assert_same(&self.fs, &self.model);
        self.fs.unmount(&self.writer).expect("it can be unmounted");
        self.model
    }

    pub fn at(&self, id: Id) -> InodeAt {
        self.fs.locate(self.numbers[&id]).expect("an inode")
    }

    fn space(&self) -> Space {
        self.fs.space(&self.writer)
    }

    /// Whether a call that takes room has answered what it must. It may have found no room, if there was
    /// next to none.
    fn agree<T: Copy + PartialEq + std::fmt::Debug>(
        &mut self,
        want: Result<(), Error>,
        got: Result<T, Error>,
        before: Space,
        takes_inode: bool,
    ) -> Option<T> {
        let after = self.space();
        if got == Err(Error::NoSpace) && want.is_ok() {
            let no_inode = takes_inode && before.inodes[1] == 0;
            assert!(no_inode || before.blocks[1] < MOST_BLOCKS, "there was room: {before:?}");
            assert_eq!(after.inodes, before.inodes, "an inode is lost");
            assert!(
                after.blocks[1] + 3 >= before.blocks[1],
                "blocks are lost: {before:?} {after:?}"
            );
            self.full += 1;
            return None;
        }
        assert_eq!(got.map(drop), want);
        if want.is_err() {
            assert_eq!(after, before, "a call that fails takes nothing");
        }
        got.ok()
    }

    fn new_of(kind: Kind, mode: u16) -> New {
        New { mode: kind.mode_bits() | mode, owner: [0; 2] }
    }

    fn note(&mut self, id: Id, number: u32) {
        self.numbers.insert(id, number);
    }

    pub fn make(&mut self, dir: Id, name: &[u8], mode: u16) {
        let (want, before) = (self.model.may_make(dir, name), self.space());
        let new = Self::new_of(Kind::File, mode);
        let got = self.fs.make(&mut self.writer, self.numbers[&dir], name, new);
        if let Some(number) = self.agree(want, got, before, true) {
            let id = self.model.make(dir, name, Body::File(Content::default()), mode);
            self.note(id, number);
        }
    }

    pub fn make_unnamed(&mut self, dir: Id) {
        let want = self.model.names(dir).map(drop);
        let before = self.space();
        let new = Self::new_of(Kind::File, 0o600);
        let got = self.fs.make_unnamed(&mut self.writer, self.numbers[&dir], new);
        if let Some(number) = self.agree(want, got, before, true) {
            let id = self.model.unnamed(Body::File(Content::default()), 0o600);
            self.note(id, number);
            self.open.push(id);
        }
    }

    pub fn make_dir(&mut self, dir: Id, name: &[u8]) {
        let (want, before) = (self.model.may_make(dir, name), self.space());
        let new = Self::new_of(Kind::Directory, 0o755);
        let got = self.fs.make_dir(&mut self.writer, self.numbers[&dir], name, new);
        if let Some(number) = self.agree(want, got, before, true) {
            let id = self.model.make_dir(dir, name);
            self.note(id, number);
        }
    }

    pub fn make_symlink(&mut self, dir: Id, name: &[u8], target: &[u8]) {
        let before = self.space();
        let want = self.model.may_make(dir, name).and_then(|()| match target.len() {
            0 => Err(Error::NotFound),
            len if len >= self.fs.geometry().block_bytes() => Err(Error::NameTooLong),
            _ => Ok(()),
        });
        let dir_number = self.numbers[&dir];
        let got = self.fs.make_symlink(&mut self.writer, dir_number, name, target, [0; 2]);
        if let Some(number) = self.agree(want, got, before, true) {
            let id = self.model.make(dir, name, Body::Link(target.to_vec()), 0o777);
            self.note(id, number);
        }
    }

    pub fn link(&mut self, id: Id, dir: Id, name: &[u8]) {
        let (want, before) = (self.model.may_link(id, dir, name), self.space());
        let got = self.fs.link(&mut self.writer, self.numbers[&id], self.numbers[&dir], name);
        if self.agree(want, got, before, false).is_some() {
            self.model.link(id, dir, name);
            self.open.retain(|open| *open != id);
        }
    }

    /// A node has lost a name; what nobody uses any more ends, unless it stays open.
    fn lost(&mut self, id: Id, gone: Gone, stays_open: bool) {
        let least = u32::from(self.model.is_dir(id));
        let is_last = self.model.node(id).links == least;
        assert_eq!(gone, Gone { number: self.numbers[&id], is_last });
        if is_last && stays_open && self.model.is_file(id) {
            self.open.push(id);
        } else if is_last {
            self.end(id);
        }
    }

    /// The last user of something without a name goes.
    pub fn end(&mut self, id: Id) {
        let at = self.at(id);
        files::end(&self.fs, &mut self.writer, at).expect("it ends");
        self.model.nodes.remove(&id);
        self.numbers.remove(&id);
        self.open.retain(|open| *open != id);
    }

    pub fn unlink(&mut self, dir: Id, name: &[u8], stays_open: bool) {
        let want = self.model.may_unlink(dir, name);
        let got = self.fs.unlink(&mut self.writer, self.numbers[&dir], name);
        assert_eq!(got.map(drop), want.map(drop));
        if let Ok(gone) = got {
            let id = self.model.unlink(dir, name);
            self.lost(id, gone, stays_open);
        }
    }

    pub fn remove_dir(&mut self, dir: Id, name: &[u8]) {
        let want = self.model.may_remove_dir(dir, name);
        let got = self.fs.remove_dir(&mut self.writer, self.numbers[&dir], name);
        assert_eq!(got.map(drop), want.map(drop));
        if let Ok(gone) = got {
            let id = self.model.unlink(dir, name);
            self.lost(id, gone, false);
        }
    }

    pub fn rename(&mut self, from: (Id, &[u8]), to: (Id, &[u8]), exchange: Exchange) {
        let (want, before) = (self.model.may_rename(from, to, exchange), self.space());
        let source = (self.numbers[&from.0], from.1);
        let target = (self.numbers[&to.0], to.1);
        let got = self.fs.rename(&mut self.writer, source, target, exchange);
        let Some(gone) = self.agree(want.map(drop), got, before, false) else { return };
        let what = want.expect("they agree");
        self.model.rename(from, to, what);
        match (what, gone) {
            (Renamed::Replaced(id), Some(gone)) => self.lost(id, gone, false),
            (Renamed::Replaced(_), None) => panic!("something has lost its name"),
            (_, gone) => assert_eq!(gone, None),
        }
    }

    pub fn write(&mut self, id: Id, offset: u64, bytes: &[u8]) {
        let at = self.at(id);
        let (done, error) = files::write(&self.fs, &mut self.writer, at, offset, bytes);
        if done > 0 {
            self.model.content(id).write(offset, &bytes[..done]);
        }
        match error {
            None => assert_eq!(done, bytes.len()),
            Some(error) => {
                let (left, most) = (self.space().blocks[1], self.fs.most_bytes());
                let is_far = offset + bytes.len() as u64 > most;
                let want = if is_far { Error::TooLarge } else { Error::NoSpace };
                assert_eq!(error, want, "at {offset} of {most}");
                assert!(is_far || left == 0, "there is room: {left}");
                self.full += 1;
            }
        }
    }

    pub fn truncate(&mut self, id: Id, size: u64) {
        let at = self.at(id);
        files::truncate(&self.fs, &mut self.writer, at, size).expect("it can be cut");
        self.model.content(id).resize(size);
    }

    /// Makes a hole of whole blocks.
    pub fn punch(&mut self, id: Id, blocks: std::ops::Range<u32>) {
        let at = self.at(id);
        self.fs.cut(&mut self.writer, at, blocks.clone()).expect("it can be cut");
        let block_bytes = self.fs.geometry().block_bytes() as u64;
        let bytes = |at: u32| u64::from(at) * block_bytes;
        self.model.content(id).clear(bytes(blocks.start), bytes(blocks.end));
    }

    /// Changes the mode and the owner.
    pub fn set_attributes(&mut self, id: Id, mode: u16, owner: [u32; 2]) {
        let at = self.at(id);
        let mut inode = self.fs.load(at).expect("it is there");
        (inode.mode, inode.owner) = (inode.mode & 0xf000 | mode, owner);
        self.fs.store(at, &inode).expect("it can be stored");
        let node = self.model.node_mut(id);
        (node.mode, node.owner) = (mode, owner);
    }
}
