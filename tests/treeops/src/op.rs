//! The operations, and how they are drawn.
//!
//! They are drawn without regard to what is there, so that many of them fail: the error is part of
//! what is compared. Numbers in them are limits, which whoever executes them applies as is said here.

use crate::Random;
use crate::path::Path;

/// The most bytes of one write.
pub const MOST_BYTES: u32 = 300 << 10;
/// Files that are kept open at the same time.
pub const KEPT: usize = 4;
/// The most bytes of the target of a symbolic link.
pub const MOST_TARGET: usize = 2048;

/// How a file is opened to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names are Linux's")]
pub struct Flags {
    pub create: bool,
    pub exclusive: bool,
    pub truncate: bool,
    pub append: bool,
    pub no_follow: bool,
}

/// What a symbolic link leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// A path, which need not exist.
    Path(Path),
    /// The last name of a path, in the link's own directory.
    Near(Path),
    /// The same behind as many `./` as make so many bytes.
    Far(Path, u16),
    /// A single name of so many bytes.
    Junk(u16),
}

/// What is done with a file that is kept open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// Bytes are written at a place.
    Write(u32, u32),
    /// All of it is read.
    Read,
    /// It is cut, or made longer.
    Truncate(u32),
    /// It is written to the disk.
    Sync,
    /// It is closed.
    Close,
}

/// How a name is given away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the values are those of `renameat2`")]
pub enum Exchange {
    Replace = 0,
    Never = 1,
    Both = 2,
    /// `EINVAL`.
    NeverBoth = 3,
}

/// An operation. A file that is written is opened for both reading and writing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are what their types and names say")]
pub enum Op {
    MakeDir(Path),
    RemoveDir(Path),
    Unlink(Path),
    /// Opens, and writes `len` bytes at a place in one call.
    Write {
        path: Path,
        flags: Flags,
        at: u32,
        len: u32,
    },
    Truncate {
        path: Path,
        size: u32,
    },
    Punch {
        path: Path,
        start: u32,
        len: u32,
    },
    /// Stores at most `len` bytes to a shared mapping of the page at a place, up to the end of the
    /// file and of the page. A bus error if the page lies behind the file.
    Store {
        path: Path,
        at: u32,
        len: u16,
    },
    Read(Path),
    List(Path),
    Stat {
        path: Path,
        follow: bool,
    },
    ReadLink(Path),
    Link {
        old: Path,
        new: Path,
        follow: bool,
    },
    Symlink {
        target: Target,
        path: Path,
    },
    Rename {
        old: Path,
        new: Path,
        exchange: Exchange,
    },
    Sync(Path),
    /// A file without a name in a directory is written, synced or not, and given one.
    Temporary {
        dir: Path,
        len: u32,
        sync: bool,
        name: Option<Path>,
    },
    /// Opens a file, and keeps it open.
    Keep {
        slot: u8,
        path: Path,
    },
    Use {
        slot: u8,
        what: Kept,
    },
}

/// Operations in a row.
#[derive(Clone, Debug)]
pub struct Ops {
    source: Source,
    left: u32,
}

/// What operations are drawn from.
#[derive(Clone, Debug)]
struct Source {
    random: Random,
    /// Where paths begin.
    root: u8,
}

impl Source {
    fn path(&mut self) -> Path {
        Path::draw(&mut self.random).below(self.root)
    }

    fn dir(&mut self) -> Path {
        Path::draw_dir(&mut self.random).below(self.root)
    }
}

impl Ops {
    /// The first `count` operations of a seed.
    #[must_use]
    pub const fn new(seed: u32, count: u32) -> Self {
        Self::below(0, seed, count)
    }

    /// The same with paths that begin elsewhere ([`crate::path::ROOTS`]).
    #[must_use]
    pub const fn below(root: u8, seed: u32, count: u32) -> Self {
        Self { source: Source { random: Random::new(seed as u64), root }, left: count }
    }
}

impl Iterator for Ops {
    type Item = Op;

    fn next(&mut self) -> Option<Op> {
        self.left = self.left.checked_sub(1)?;
        Some(draw(&mut self.source))
    }
}

fn draw(source: &mut Source) -> Op {
    let (path, other, dir) = (source.path(), source.path(), source.dir());
    let random = &mut source.random;
    match random.below(100) {
        0..15 => Op::MakeDir(if random.once_in(4) { path } else { dir }),
        15..18 => Op::RemoveDir(dir),
        18..25 => Op::Unlink(path),
        25..49 => Op::Write { path, flags: flags(random), at: place(random), len: length(random) },
        49..53 => Op::Truncate { path, size: place(random) },
        53..56 => Op::Punch { path, start: place(random), len: 1 + length(random) },
        56..60 => Op::Store { path, at: place(random), len: 1 + random.below(5000) as u16 },
        60..64 => Op::Read(path),
        64..67 => Op::List(if random.once_in(3) { path } else { dir }),
        67..70 => Op::Stat { path, follow: random.once_in(2) },
        70..73 => Op::ReadLink(path),
        73..77 => Op::Link { old: path, new: other, follow: random.once_in(3) },
        77..83 => Op::Symlink { target: target(source), path },
        83..91 => {
            let exchange = match random.below(8) {
                0 => Exchange::Never,
                1 | 2 => Exchange::Both,
                3 if random.once_in(4) => Exchange::NeverBoth,
                _ => Exchange::Replace,
            };
            Op::Rename { old: path, new: other, exchange }
        }
        91..92 => Op::Sync(path),
        92..94 => {
            let name = (!random.once_in(4)).then_some(path);
            Op::Temporary { dir, len: length(random), sync: random.once_in(2), name }
        }
        94..96 => Op::Keep { slot: random.below(KEPT as u32) as u8, path },
        _ => Op::Use { slot: random.below(KEPT as u32) as u8, what: kept(random) },
    }
}

const fn flags(random: &mut Random) -> Flags {
    Flags {
        create: !random.once_in(5),
        exclusive: random.once_in(8),
        truncate: random.once_in(6),
        append: random.once_in(5),
        no_follow: random.once_in(8),
    }
}

/// Where something begins: near the start as a rule, and sometimes behind all direct blocks.
fn place(random: &mut Random) -> u32 {
    let limit = random.of(&[1, 100, 5000, 20_000, 100_000, 100_000, 400_000, 1_500_000]);
    let at = random.below(limit);
    if random.once_in(3) { at & !1023 } else { at }
}

fn length(random: &mut Random) -> u32 {
    let limit = random.of(&[1, 20, 1025, 4097, 20_000, 20_000, 70_000, MOST_BYTES]);
    random.below(limit)
}

fn target(source: &mut Source) -> Target {
    // None leads upwards: a link to the root would lead out of the file system.
    let path = source.path().downwards();
    let random = &mut source.random;
    match random.below(8) {
        0..3 => Target::Path(path),
        3..6 => Target::Near(path),
        6 => Target::Far(path, random.below(1200) as u16),
        _ => Target::Junk(random.of(&[0, 1, 59, 60, 61, 256, 1023, 1024, 2047])),
    }
}

fn kept(random: &mut Random) -> Kept {
    match random.below(8) {
        0..3 => Kept::Write(place(random), length(random)),
        3..5 => Kept::Read,
        5 => Kept::Truncate(place(random)),
        6 => Kept::Sync,
        _ => Kept::Close,
    }
}

impl Target {
    /// The text, in a buffer that is cut off behind it.
    pub fn put(self, out: &mut [u8; MOST_TARGET]) -> &[u8] {
        let name = match self {
            Self::Path(path) => {
                let mut buffer = [0; crate::path::BYTES];
                let text = path.put(&mut buffer);
                out[..text.len()].copy_from_slice(text);
                return &out[..text.len()];
            }
            Self::Junk(len) => {
                out[..len.into()].fill(b'j');
                return &out[..len.into()];
            }
            Self::Near(path) | Self::Far(path, _) => path.name(),
        };
        let dots = if let Self::Far(_, len) = self { usize::from(len) & !1 } else { 0 };
        for pair in out[..dots].chunks_mut(2) {
            pair.copy_from_slice(b"./");
        }
        out[dots..dots + name.len()].copy_from_slice(name);
        &out[..dots + name.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A seed that failed must stand for the same operations in any later build.
    #[test]
    fn a_seed_decides_the_operations() {
        assert!(Ops::new(7, 500).eq(Ops::new(7, 500)));
        assert!(Ops::new(7, 500).ne(Ops::new(8, 500)));
        assert!(Ops::new(7, 20).eq(Ops::new(7, 500).take(20)), "the count only cuts them off");
    }

    #[test]
    fn targets_have_the_length_that_they_say() {
        let path = Path::draw(&mut Random::new(1));
        let mut out = [0; MOST_TARGET];
        assert_eq!(Target::Junk(60).put(&mut out).len(), 60);
        assert_eq!(Target::Far(path, 101).put(&mut out).len(), 100 + path.name().len());
        assert_eq!(Target::Near(path).put(&mut out), path.name());
    }
}
