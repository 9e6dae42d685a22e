//! What a file system must do: an independent one, in memory, with Linux's order of errors.
//!
//! It shares nothing with the crate `ext2` nor with the kernel. It knows no blocks, so that it cannot
//! say when a disk is full: where that may happen, `ENOSPC` is taken from what the kernel returned
//! ([`Room`]), and everything else is predicted.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `walk` | paths, as in Linux's `fs/namei.c` |
//! | `names` | what changes names |
//! | `execute` | the operations of [`treeops`] |
//! | `digest` | what a walk through the tree finds |

mod digest;
mod execute;
mod names;
mod walk;

use std::collections::BTreeMap;

use treeops::hash::Kind;
use treeops::op::KEPT;

pub use execute::Room;

/// The number of an inode: its place in the model.
pub type Number = usize;
/// The directory that is above the file system.
const OUTER: Number = 0;
/// The root of the file system.
pub const ROOT: Number = 1;

/// An error: Linux's number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub usize);

/// Linux's errors.
#[expect(missing_docs, reason = "the names are Linux's")]
pub mod errno {
    use super::Errno;

    pub const EPERM: Errno = Errno(1);
    pub const ENOENT: Errno = Errno(2);
    pub const EBADF: Errno = Errno(9);
    pub const EBUSY: Errno = Errno(16);
    pub const EEXIST: Errno = Errno(17);
    pub const ENOTDIR: Errno = Errno(20);
    pub const EISDIR: Errno = Errno(21);
    pub const EINVAL: Errno = Errno(22);
    pub const ENOSPC: Errno = Errno(28);
    pub const ENAMETOOLONG: Errno = Errno(36);
    pub const ENOTEMPTY: Errno = Errno(39);
    pub const ELOOP: Errno = Errno(40);
}

/// What an inode is.
#[derive(Clone, Debug)]
pub enum Node {
    /// A file, and its contents.
    File(Vec<u8>),
    /// A directory: what is in it, and the directory above.
    Dir(BTreeMap<Vec<u8>, Number>, Number),
    /// A symbolic link, and its target.
    Link(Vec<u8>),
}

/// An inode.
#[derive(Clone, Debug)]
pub struct Inode {
    /// What it is.
    pub node: Node,
    /// Names, counted as ext2 counts them.
    pub links: u32,
}

/// A file system.
#[derive(Clone, Debug)]
pub struct Model {
    inodes: Vec<Inode>,
    kept: [Option<Number>; KEPT],
    /// Bytes of a block, which limit the target of a symbolic link.
    block: usize,
    /// The number of the next operation.
    operation: u32,
}

impl Model {
    /// A file system as mke2fs makes it, with blocks of so many bytes.
    #[must_use]
    pub fn new(block: usize) -> Self {
        let dir = |above| Inode { node: Node::Dir(BTreeMap::new(), above), links: 2 };
        let inodes = vec![dir(OUTER), dir(OUTER)];
        let mut model = Self { inodes, kept: [None; KEPT], block, operation: 0 };
        model.names_mut(OUTER).insert(b"mnt".to_vec(), ROOT);
        model.add(ROOT, b"lost+found", Node::Dir(BTreeMap::new(), ROOT));
        model
    }

    /// An inode.
    #[must_use]
    pub fn inode(&self, number: Number) -> &Inode {
        &self.inodes[number]
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self, number: Number) -> Kind {
        match self.inodes[number].node {
            Node::File(_) => Kind::File,
            Node::Dir(..) => Kind::Dir,
            Node::Link(_) => Kind::Link,
        }
    }

    fn is_dir(&self, number: Number) -> bool {
        self.kind(number) == Kind::Dir
    }

    /// The names of a directory.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn names(&self, dir: Number) -> &BTreeMap<Vec<u8>, Number> {
        let Node::Dir(names, _) = &self.inodes[dir].node else { panic!("{dir} is no directory") };
        names
    }

    fn names_mut(&mut self, dir: Number) -> &mut BTreeMap<Vec<u8>, Number> {
        let Node::Dir(names, _) = &mut self.inodes[dir].node else { panic!("no directory") };
        names
    }

    fn above(&self, dir: Number) -> Number {
        let Node::Dir(_, above) = self.inodes[dir].node else { panic!("{dir} is no directory") };
        above
    }

    fn contents(&self, file: Number) -> &Vec<u8> {
        let Node::File(contents) = &self.inodes[file].node else { panic!("{file} is no file") };
        contents
    }

    fn contents_mut(&mut self, file: Number) -> &mut Vec<u8> {
        let Node::File(contents) = &mut self.inodes[file].node else { panic!("no file") };
        contents
    }

    /// Makes an inode without a name.
    fn make(&mut self, node: Node) -> Number {
        let links = if matches!(node, Node::Dir(..)) { 2 } else { 0 };
        self.inodes.push(Inode { node, links });
        self.inodes.len() - 1
    }

    /// Makes something with a name.
    pub fn add(&mut self, dir: Number, name: &[u8], node: Node) -> Number {
        let number = self.make(node);
        self.give_name(dir, name, number);
        number
    }

    /// Gives an inode a name in a directory.
    fn give_name(&mut self, dir: Number, name: &[u8], number: Number) {
        self.names_mut(dir).insert(name.to_vec(), number);
        if let Node::Dir(_, above) = &mut self.inodes[number].node {
            *above = dir;
            self.inodes[dir].links += 1;
        } else {
            self.inodes[number].links += 1;
        }
    }

    /// Takes a name out of a directory; returns what it led to.
    fn take_name(&mut self, dir: Number, name: &[u8]) -> Number {
        let number = self.names_mut(dir).remove(name).expect("the name was looked up");
        if self.is_dir(number) {
            self.inodes[dir].links -= 1;
        } else {
            self.inodes[number].links -= 1;
        }
        number
    }
}
