//! Hashes of contents and of trees.
//!
//! Contents are added in pieces of [`PIECE`] bytes, so that program and model agree. Names of a
//! directory come in any order: the hashes of its entries are added up.

use splitmix::mix;

/// Bytes of contents that are added at once, except for the last.
pub const PIECE: usize = 4096;

/// A hash that grows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hash(u64);

impl Hash {
    /// The hash of nothing.
    pub const NEW: Self = Self(0x7472_6565);

    /// With a number more.
    #[must_use]
    pub const fn number(self, value: u64) -> Self {
        Self(mix(self.0 ^ mix(value)))
    }

    /// With bytes more, all at once.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let start = self.number(bytes.len() as u64);
        bytes.chunks(8).fold(start, |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            Self(mix(hash.0 ^ u64::from_le_bytes(word)).wrapping_add(hash.0.rotate_left(17)))
        })
    }

    /// With contents more, a piece at a time.
    #[must_use]
    pub fn contents(self, bytes: &[u8]) -> Self {
        bytes.chunks(PIECE).fold(self, Self::bytes)
    }

    /// The value.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0
    }
}

/// What something in the tree is. The numbers are those of `getdents64`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say everything")]
pub enum Kind {
    Dir = 4,
    File = 8,
    Link = 10,
}

/// The hash of a path: of its last name and that of its directory.
#[must_use]
pub fn path_hash(dir: u64, name: &[u8]) -> u64 {
    Hash::NEW.number(dir).bytes(name).value()
}

/// The hash of a name in a directory, for a list.
#[must_use]
pub fn name_hash(name: &[u8], kind: Kind) -> u64 {
    Hash::NEW.bytes(name).number(kind as u64).value()
}

/// The hash of what an inode says of itself. The size of a directory depends on the disk.
#[must_use]
pub const fn stat_hash(kind: Kind, size: u64, links: u32) -> u64 {
    let size = if matches!(kind, Kind::Dir) { 0 } else { size };
    Hash::NEW.number(kind as u64).number(size).number(links as u64).value()
}

/// The hash of an entry in a walk: the inode, and its contents or target.
#[must_use]
pub const fn entry_hash(path: u64, stat: u64, contents: u64) -> u64 {
    Hash::NEW.number(path).number(stat).number(contents).value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_cut_into_pieces() {
        let bytes = [7; PIECE + 9];
        let by_hand = Hash::NEW.bytes(&bytes[..PIECE]).bytes(&bytes[PIECE..]);
        assert_eq!(Hash::NEW.contents(&bytes), by_hand);
        assert_ne!(Hash::NEW.contents(&bytes), Hash::NEW.contents(&bytes[..PIECE + 8]));
    }

    #[test]
    fn zeroes_count() {
        assert_ne!(Hash::NEW.bytes(&[0; 8]), Hash::NEW.bytes(&[0; 7]));
        assert_ne!(Hash::NEW.bytes(&[0; 16]), Hash::NEW.bytes(&[0; 8]).bytes(&[0; 8]));
    }
}
