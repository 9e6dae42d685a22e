//! The entries of a directory: each block is full of them, each leads to the next.

use super::{put_u16, put_u32, u16_at, u32_at};

/// Bytes of an entry without its name.
pub const HEAD: usize = 8;
/// Bytes of the longest name.
pub const MOST_NAME: usize = 255;

/// An entry, whose name stays where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its place in the block.
    pub at: usize,
    /// The inode; 0 if the entry is free.
    pub inode: u32,
    /// Bytes up to the next entry.
    pub len: usize,
    /// Bytes of the name.
    pub name_len: usize,
    /// The kind of file.
    pub kind: u8,
}

/// Bytes that an entry takes.
pub const fn bytes_for(name_len: usize) -> usize {
    (HEAD + name_len).next_multiple_of(4)
}

impl Entry {
    /// Reads the entry at `at` of a block. `None` if it cannot be right: not a multiple of four bytes
    /// long, shorter than its name, beyond the end of the block.
    pub fn parse(block: &[u8], at: usize, has_filetype: bool) -> Option<Self> {
        let head = block.get(at..at + HEAD)?;
        let len = usize::from(u16_at(head, 4));
        // Without the feature the last byte may be left from a time with it.
        let (name_len, kind) = (head[6], if has_filetype { head[7] } else { 0 });
        let entry = Self { at, inode: u32_at(head, 0), len, name_len: usize::from(name_len), kind };
        let is_right = len.is_multiple_of(4)
            && len >= bytes_for(1)
            && len >= bytes_for(entry.name_len)
            && at + len <= block.len();
        is_right.then_some(entry)
    }

    /// Its name.
    pub fn name<'a>(&self, block: &'a [u8]) -> &'a [u8] {
        block.get(self.at + HEAD..self.at + HEAD + self.name_len).unwrap_or(&[])
    }

    /// Bytes that it takes itself; what is behind them up to the next one is free.
    pub fn used(&self) -> usize {
        if self.inode == 0 { 0 } else { bytes_for(self.name_len) }
    }

    /// Stores its head; the name is stored by [`put_name`].
    pub fn put(&self, block: &mut [u8]) {
        put_u32(block, self.at, self.inode);
        put_u16(block, self.at + 4, self.len as u16);
        if let Some(both) = block.get_mut(self.at + 6..self.at + 8) {
            both.copy_from_slice(&[self.name_len as u8, self.kind]);
        }
    }
}

/// Fills a block with one free entry.
pub fn empty_block(block: &mut [u8]) {
    Entry { at: 0, inode: 0, len: block.len(), name_len: 0, kind: 0 }.put(block);
}

/// Stores the name of the entry at `at`.
pub fn put_name(block: &mut [u8], at: usize, name: &[u8]) {
    if let Some(place) = block.get_mut(at + HEAD..at + HEAD + name.len()) {
        place.copy_from_slice(name);
    }
}

/// The entries of a block. Ends with `None` behind one that cannot be right.
pub fn entries(block: &[u8], has_filetype: bool) -> impl Iterator<Item = Option<Entry>> + '_ {
    let mut at = Some(0);
    core::iter::from_fn(move || {
        let from = at.filter(|from| *from < block.len())?;
        let entry = Entry::parse(block, from, has_filetype);
        at = entry.map(|entry| from + entry.len);
        Some(entry)
    })
}
