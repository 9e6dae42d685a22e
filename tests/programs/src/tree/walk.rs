//! The digest of a whole tree: every name, kind, size, count of names, contents and target.
//!
//! A directory is left by `..`, so that only two are open at a time, however deep the tree is. On the
//! way it is checked that what `getdents64` says of an inode is what `stat` and `statx` say.

use treeops::hash::{Hash, Kind, entry_hash, path_hash, stat_hash};
use treeops::op::MOST_TARGET;

use super::contents;
use crate::sys::files::{Fd, flags};
use crate::sys::names::{Entry, Stat, entries, open_in, read_link, stat, statx};

/// The deepest directory.
const MOST_DEPTH: usize = 256;
const DIR: usize = flags::RDONLY | flags::DIRECTORY;

/// A directory on the way: the hash of its path, and where the names go on.
#[derive(Clone, Copy)]
struct Level {
    path: u64,
    next: u64,
}

/// What a walk finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// Names.
    pub names: u64,
    /// The sum of their hashes.
    pub hash: u64,
}

/// What one look into a directory leads to.
enum Step {
    /// A directory, of the name in the buffer; the names go on at the number.
    Down(Fd, u64, u64),
    /// All names were seen.
    Up,
}

/// Walks through everything below `top`, except for the name `but` in it.
///
/// # Panics
/// If the file system contradicts itself, or a call fails.
#[must_use]
pub fn walk(top: Fd, but: &[u8]) -> Digest {
    let mut levels = [Level { path: 0, next: 0 }; MOST_DEPTH];
    let (mut depth, mut dir, mut digest) = (0, top, Digest::default());
    loop {
        let skipped = if depth == 0 { but } else { b"" };
        match look(&dir, &levels[depth], skipped, &mut digest) {
            Step::Down(below, path, next) => {
                levels[depth].next = next;
                depth += 1;
                levels[depth] = Level { path, next: 0 };
                dir = below;
            }
            Step::Up if depth == 0 => return digest,
            Step::Up => {
                depth -= 1;
                dir = open_in(&dir, c"..", DIR).expect("the directory above");
            }
        }
    }
}

/// Takes in names of a directory up to the next directory in it.
fn look(dir: &Fd, level: &Level, but: &[u8], digest: &mut Digest) -> Step {
    let mut list = [0; 1024];
    dir.seek(level.next).expect("a place in a directory");
    loop {
        let len = dir.list(&mut list).expect("names");
        if len == 0 {
            return Step::Up;
        }
        for entry in entries(&list[..len]) {
            let name = entry.name.to_bytes();
            if [b"." as &[u8], b"..", but].contains(&name) {
                continue;
            }
            let path = path_hash(level.path, name);
            let (found, below) = inode(dir, &entry, path);
            digest.names += 1;
            digest.hash = digest.hash.wrapping_add(found);
            if let Some(below) = below {
                return Step::Down(below, path, entry.next);
            }
        }
    }
}

/// The hash of what is at a name; a directory is opened.
fn inode(dir: &Fd, entry: &Entry<'_>, path: u64) -> (u64, Option<Fd>) {
    let known = stat(Some(dir), entry.name, false).expect("what is known of a name");
    assert_eq!(statx(Some(dir), entry.name, false), Ok(known));
    assert_eq!((known.inode, known.kind), (entry.inode, entry.kind), "{:?}", entry.name);
    let (contents, below) = match kind_of(&known) {
        Kind::Dir => (0, Some(open_in(dir, entry.name, DIR).expect("a directory"))),
        Kind::File => (file(dir, entry, &known), None),
        Kind::Link => (link(dir, entry, &known), None),
    };
    (entry_hash(path, stat_hash(kind_of(&known), known.size, known.links), contents), below)
}

/// The kind of an inode.
///
/// # Panics
/// If it is none that this project's programs make.
#[must_use]
pub fn kind_of(stat: &Stat) -> Kind {
    [Kind::Dir, Kind::File, Kind::Link]
        .into_iter()
        .find(|kind| *kind as u8 == stat.kind)
        .expect("a directory, a file or a symbolic link")
}

fn file(dir: &Fd, entry: &Entry<'_>, known: &Stat) -> u64 {
    let file = open_in(dir, entry.name, flags::RDONLY).expect("a file");
    let (len, hash) = contents(&file).expect("its contents");
    assert_eq!(len, known.size, "bytes of {:?}", entry.name);
    hash
}

fn link(dir: &Fd, entry: &Entry<'_>, known: &Stat) -> u64 {
    let mut target = [0; MOST_TARGET];
    let len = read_link(Some(dir), entry.name, &mut target).expect("a target");
    assert_eq!(len as u64, known.size, "bytes of the target of {:?}", entry.name);
    Hash::NEW.bytes(&target[..len]).value()
}
