//! The paths: up to three directories of a few names, and a name of ten.
//!
//! A name of the directories is also one of the ten, so that files stand where directories are
//! wanted and the other way round.

use crate::Random;

/// The names. The fourth has as many bytes as a name can have, and the last one more.
pub const NAMES: [&[u8]; 11] = [
    b"a",
    b"b",
    b"dir with spaces",
    &[b'n'; 255],
    b".hidden",
    b"file.1",
    b"file.2",
    "Gr\u{fc}\u{df}e \u{2211}".as_bytes(),
    b"link",
    b"x",
    &[b't'; 256],
];
/// The name that is too long.
const TOO_LONG: u8 = 10;
/// Names that paths lead through.
const DIRS: [u8; 4] = [0, 1, 2, 3];
/// Where paths begin: at the whole tree, or at the part of one of several tasks.
pub const ROOTS: [&[u8]; 5] = [b"/mnt", b"/mnt/task0", b"/mnt/task1", b"/mnt/task2", b"/mnt/task3"];
/// Bytes of a path, at most, with the zero at its end.
pub const BYTES: usize = 1112;

/// What follows the last name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say everything")]
pub enum Tail {
    None,
    Slash,
    Dot,
    DotDot,
}

/// A path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Path {
    root: u8,
    /// Numbers of names; the first `depth` are directories.
    dirs: [u8; 3],
    depth: u8,
    name: u8,
    tail: Tail,
}

impl Path {
    /// Some path.
    pub fn draw(random: &mut Random) -> Self {
        let dirs = core::array::from_fn(|_| {
            let common = random.of(&[1, 2, 4]);
            random.of(&DIRS[..common])
        });
        let depth = random.of(&[0, 0, 1, 1, 1, 2, 2, 3]);
        let name = if random.once_in(60) { TOO_LONG } else { random.below(10) as u8 };
        let tail = match random.below(40) {
            0 | 1 => Tail::Slash,
            2 => Tail::Dot,
            3 => Tail::DotDot,
            _ => Tail::None,
        };
        Self { root: 0, dirs, depth, name, tail }
    }

    /// The path of a directory, as far as names can say.
    pub fn draw_dir(random: &mut Random) -> Self {
        let path = Self::draw(random);
        Self { name: random.of(&DIRS), ..path }
    }

    /// The same without `..` at its end.
    #[must_use]
    pub fn downwards(self) -> Self {
        if self.tail == Tail::DotDot { Self { tail: Tail::None, ..self } } else { self }
    }

    /// The same from another root, by its number.
    #[must_use]
    pub const fn below(self, root: u8) -> Self {
        Self { root, ..self }
    }

    /// The bytes of the last name.
    #[must_use]
    pub const fn name(self) -> &'static [u8] {
        NAMES[self.name as usize]
    }

    /// The text, in a buffer that is cut off behind it.
    pub fn put(self, out: &mut [u8; BYTES]) -> &[u8] {
        let mut len = 0;
        let mut push = |bytes: &[u8]| {
            out[len..len + bytes.len()].copy_from_slice(bytes);
            len += bytes.len();
        };
        push(ROOTS[usize::from(self.root)]);
        let dirs = &self.dirs[..self.depth.into()];
        for name in dirs.iter().chain([&self.name]) {
            push(b"/");
            push(NAMES[usize::from(*name)]);
        }
        push(match self.tail {
            Tail::None => b"",
            Tail::Slash => b"/",
            Tail::Dot => b"/.",
            Tail::DotDot => b"/..",
        });
        &out[..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_room() {
        let mut out = [0; BYTES];
        let longest = Path { root: 4, dirs: [3; 3], depth: 3, name: TOO_LONG, tail: Tail::DotDot };
        assert!(longest.put(&mut out).len() < BYTES, "and for a zero");
        let path = Path { root: 0, dirs: [0, 1, 0], depth: 2, name: 9, tail: Tail::Slash };
        assert_eq!(path.put(&mut out), b"/mnt/a/b/x/");
    }
}
