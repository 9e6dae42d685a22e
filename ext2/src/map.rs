//! In which blocks the contents of a file are: twelve numbers in the inode, and behind them trees of
//! one, two and three levels.

use crate::disk::Disk;
use crate::error::Error;
use crate::inode::InodeAt;
use crate::layout::entry::empty_block;
use crate::layout::inode::{BLOCKS_AT, DIRECT, Inode, POINTERS};
use crate::layout::{put_u32, u32_at};
use crate::mount::{Ext2, Writer};

/// Blocks of a file, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// The first of so many blocks on the disk; `None` for so many that are not there, and read as zeroes.
    pub block: Option<u32>,
    /// How many, at least one.
    pub len: u32,
}

/// A block of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fresh {
    /// The file had it.
    Old(u32),
    /// The file has it from now on: what is in it is somebody else's.
    New(u32),
}

/// The way from an inode to a block number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Path {
    /// The place among the inode's block numbers.
    pub slot: usize,
    /// Levels below.
    pub depth: usize,
    /// The place in each block on the way, from the top.
    pub steps: [u32; 3],
}

/// What a new block of a tree is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leaf {
    /// Contents, which the crate does not see.
    Contents,
    /// Names: an empty entry fills it.
    Names,
}

/// The way to a block of a file; `None` for one that no file can have.
pub(crate) fn path(pointers: u32, block: u32) -> Option<Path> {
    let mut left = u64::from(block);
    if left < u64::from(DIRECT) {
        return Some(Path { slot: block as usize, depth: 0, steps: [0; 3] });
    }
    left -= u64::from(DIRECT);
    let each = u64::from(pointers);
    let mut span = each;
    for depth in 1..=3 {
        if left < span {
            let mut steps = [0; 3];
            for step in steps[..depth].iter_mut().rev() {
                *step = (left % each) as u32;
                left /= each;
            }
            return Some(Path { slot: DIRECT as usize + depth - 1, depth, steps });
        }
        left -= span;
        span *= each;
    }
    None
}

/// Blocks of a hole that are counted at a time: nobody gains by a longer count.
const MOST_OF_HOLE: u32 = 16;

/// The first of some block numbers, and how many go on like it, up to `most`.
fn run(numbers: impl Iterator<Item = u32>, most: u32) -> Mapped {
    let mut first = None;
    let mut len = 0;
    for number in numbers.take(most as usize) {
        let first = *first.get_or_insert(number);
        let next = if first == 0 { 0 } else { first.saturating_add(len) };
        if number != next || first == 0 && len == MOST_OF_HOLE {
            break;
        }
        len += 1;
    }
    Mapped { block: first.filter(|number| *number != 0), len: len.max(1) }
}

impl<D: Disk> Ext2<D> {
    /// A block number from the disk, checked.
    pub(crate) fn checked(&self, block: u32) -> Result<u32, Error> {
        match self.geometry.has_block(block) {
            true => Ok(block),
            false => Err(Error::Corrupt { what: "a block that does not exist", at: block }),
        }
    }

    pub(crate) fn pointer(&self, block: u32, at: u32) -> Result<u32, Error> {
        Ok(self.disk.look(block, |bytes| u32_at(bytes, 4 * at as usize))?)
    }

    /// Where the blocks of a file from `from` on are: as many as follow each other, `most` at most.
    ///
    /// Nothing else may take these blocks away from the file meanwhile; others may be changed.
    ///
    /// # Errors
    /// If a block on the way could not be read, or a number is wrong; [`Error::TooLarge`] for a block
    /// that no file has.
    pub fn map(&self, at: InodeAt, from: u32, most: u32) -> Result<Mapped, Error> {
        let way = path(self.geometry.pointers(), from).ok_or(Error::TooLarge)?;
        let numbers = self.disk.look(at.block, |bytes| -> [u32; POINTERS] {
            let bytes = bytes.get(at.at + BLOCKS_AT..).unwrap_or(&[]);
            core::array::from_fn(|slot| u32_at(bytes, 4 * slot))
        })?;
        let mapped = if way.depth == 0 {
            run(numbers[way.slot..DIRECT as usize].iter().copied(), most)
        } else {
            self.map_below(numbers[way.slot], &way, most)?
        };
        if let Some(first) = mapped.block {
            self.checked(first)?;
            self.checked(first.saturating_add(mapped.len - 1))?;
        }
        Ok(mapped)
    }

    fn map_below(&self, top: u32, way: &Path, most: u32) -> Result<Mapped, Error> {
        let mut block = top;
        let pointers = self.geometry.pointers();
        for level in 0..way.depth {
            if block == 0 {
                // Nothing up to the end of the tree below.
                let inner = &way.steps[level..way.depth];
                let index = inner
                    .iter()
                    .fold(0_u64, |sum, step| sum * u64::from(pointers) + u64::from(*step));
                let span = u64::from(pointers).pow(inner.len() as u32);
                let len = (span - index).min(u64::from(most)).max(1) as u32;
                return Ok(Mapped { block: None, len });
            }
            let here = self.checked(block)?;
            let step = way.steps[level];
            if level + 1 == way.depth {
                return Ok(self.disk.look(here, |bytes| {
                    let numbers = (step..pointers).map(|at| u32_at(bytes, 4 * at as usize));
                    run(numbers, most)
                })?);
            }
            block = self.pointer(here, step)?;
        }
        // The loop returns at its last level.
        Ok(Mapped { block: None, len: 1 })
    }

    /// Gives a file a block, if it has none at that place. What is in a new one is somebody else's.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what went wrong; the file has no block there then.
    pub fn reserve(&self, writer: &mut Writer, at: InodeAt, block: u32) -> Result<Fresh, Error> {
        self.reserve_leaf(writer, at, block, Leaf::Contents)
    }

    pub(crate) fn reserve_leaf(
        &self,
        writer: &mut Writer,
        at: InodeAt,
        block: u32,
        leaf: Leaf,
    ) -> Result<Fresh, Error> {
        let way = path(self.geometry.pointers(), block).ok_or(Error::TooLarge)?;
        let mut inode = self.load(at)?;
        let home = self.home(at.number);
        let mut goal = inode.block[..way.slot]
            .iter()
            .rev()
            .find(|number| **number != 0)
            .map_or(home, |n| n.saturating_add(1));
        let is_leaf = |level| level == way.depth;
        let mut number = inode.block[way.slot];
        if number == 0 {
            number = self.new_block(writer, goal, is_leaf(0).then_some(leaf))?;
            inode.block[way.slot] = number;
            self.note_block(writer, at, &mut inode, number)?;
            if is_leaf(0) {
                return Ok(Fresh::New(number));
            }
        }
        for level in 1..=way.depth {
            let (parent, step) = (self.checked(number)?, way.steps[level - 1]);
            let (before, here) = self.disk.look(parent, |bytes| {
                let before = if step > 0 { u32_at(bytes, 4 * step as usize - 4) } else { 0 };
                (before, u32_at(bytes, 4 * step as usize))
            })?;
            number = here;
            if number == 0 {
                goal = if before == 0 { parent + 1 } else { before.saturating_add(1) };
                number = self.new_block(writer, goal, is_leaf(level).then_some(leaf))?;
                let set =
                    self.disk.change(parent, |bytes| put_u32(bytes, 4 * step as usize, number));
                if set.is_err() {
                    self.give_blocks(writer, number, 1)?;
                    return Err(Error::Io);
                }
                inode.sectors = inode.sectors.saturating_add(self.geometry.sectors());
                self.store(at, &inode)?;
                if is_leaf(level) {
                    return Ok(Fresh::New(number));
                }
            }
        }
        self.checked(number).map(Fresh::Old)
    }

    /// The first block of the part of a group that an inode's blocks begin in: neighbours begin apart.
    fn home(&self, inode: u32) -> u32 {
        let (first, count) = self.geometry.group_blocks(self.inode_bit(inode).0);
        first + count / 16 * (inode % 16)
    }

    /// A new block for a tree: of pointers, unless it is a leaf.
    fn new_block(&self, writer: &mut Writer, goal: u32, leaf: Option<Leaf>) -> Result<u32, Error> {
        let number = self.take_block(writer, goal)?;
        let made = match leaf {
            Some(Leaf::Contents) => Ok(()),
            Some(Leaf::Names) => self.disk.begin(number, |bytes| {
                bytes.fill(0);
                empty_block(bytes);
            }),
            None => self.disk.begin(number, |bytes| bytes.fill(0)),
        };
        let made = match leaf {
            Some(Leaf::Contents) => made,
            _ => made.and_then(|()| self.disk.settle(number)),
        };
        if made.is_err() {
            self.give_blocks(writer, number, 1)?;
            return Err(Error::Io);
        }
        Ok(number)
    }

    /// The inode has a block more, which it names itself.
    fn note_block(
        &self,
        writer: &mut Writer,
        at: InodeAt,
        inode: &mut Inode,
        number: u32,
    ) -> Result<(), Error> {
        inode.sectors = inode.sectors.saturating_add(self.geometry.sectors());
        if self.store(at, inode).is_err() {
            self.give_blocks(writer, number, 1)?;
            return Err(Error::Io);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each block has a way of its own, up to the last of the third tree.
    #[test]
    fn ways_are_found() {
        let way = |block| path(256, block).map(|way| (way.slot, way.depth, way.steps));
        assert_eq!(way(11), Some((11, 0, [0, 0, 0])));
        assert_eq!(way(12), Some((12, 1, [0, 0, 0])));
        assert_eq!(way(12 + 255), Some((12, 1, [255, 0, 0])));
        assert_eq!(way(12 + 256), Some((13, 2, [0, 0, 0])));
        assert_eq!(way(12 + 256 + 256 * 3 + 7), Some((13, 2, [3, 7, 0])));
        let third = 12 + 256 + 256 * 256;
        assert_eq!(way(third + 65536 * 255 + 256 * 255 + 255), Some((14, 3, [255, 255, 255])));
        assert_eq!(way(third + 65536 * 256), None);
    }

    #[test]
    fn runs_end_where_numbers_do_not_follow() {
        let of = |numbers: &[u32], most| run(numbers.iter().copied(), most);
        assert_eq!(of(&[5, 6, 7, 9], 9), Mapped { block: Some(5), len: 3 });
        assert_eq!(of(&[5, 6, 7, 9], 2), Mapped { block: Some(5), len: 2 });
        assert_eq!(of(&[0, 0, 1], 9), Mapped { block: None, len: 2 });
        assert_eq!(of(&[u32::MAX, u32::MAX], 9).len, 2, "checked later");
    }
}
