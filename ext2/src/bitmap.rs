//! Which blocks and inodes are in use: a bit for each, in a block of their group.
//!
//! A block is taken at its goal, which is behind the one before it in its file; else at the start of 64
//! free ones, of 8, or anywhere. So a file whose neighbour is taken by another goes on in a place of its
//! own, and files that grow at once do not interleave. Inodes of directories are spread over the groups;
//! those of files are in the group of their directory.

use core::ops::Range;

use crate::disk::Disk;
use crate::error::Error;
use crate::layout::group::Group;
use crate::mount::{Ext2, Writer};

/// A free bit of those before `end`: `from`, or the first of many free ones behind it, or any behind it,
/// or the same from the start on.
fn free_bit(bits: &[u8], from: u32, end: u32) -> Option<u32> {
    let is_free =
        |bit: u32| bits.get(bit as usize / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 0);
    if from < end && is_free(from) {
        return Some(from);
    }
    let zeroes = |bytes: usize, range: Range<u32>| {
        let first = (range.start as usize).div_ceil(8).next_multiple_of(bytes);
        let places = (first..(range.end as usize / 8).min(bits.len())).step_by(bytes);
        let mut runs = places.filter(|at| {
            let run = bits.get(*at..*at + bytes);
            run.is_some_and(|run| run.iter().all(|byte| *byte == 0))
                && (at + bytes) * 8 <= end as usize
        });
        runs.next().map(|at| at as u32 * 8)
    };
    let any = |range: Range<u32>| {
        let mut at = range.start;
        while at < range.end {
            let byte = *bits.get(at as usize / 8)?;
            let free = (!byte >> (at % 8)).trailing_zeros();
            // The byte has no more than `8 - at % 8` bits left.
            if free < 8 - at % 8 {
                return Some(at + free).filter(|bit| *bit < range.end);
            }
            at = (at / 8 + 1) * 8;
        }
        None
    };
    [from..end, 0..end].into_iter().find_map(|range| {
        zeroes(8, range.clone()).or_else(|| zeroes(1, range.clone())).or_else(|| any(range))
    })
}

/// Sets a bit; false if it was set.
fn set_bit(bits: &mut [u8], bit: u32) -> bool {
    let Some(byte) = bits.get_mut(bit as usize / 8) else { return false };
    let was = *byte >> (bit % 8) & 1 != 0;
    *byte |= 1 << (bit % 8);
    !was
}

/// Clears bits; returns how many were set.
fn clear_bits(bits: &mut [u8], range: Range<u32>) -> u32 {
    let mut cleared = 0;
    for bit in range {
        if let Some(byte) = bits.get_mut(bit as usize / 8) {
            cleared += u32::from(*byte >> (bit % 8) & 1);
            *byte &= !(1 << (bit % 8));
        }
    }
    cleared
}

impl<D: Disk> Ext2<D> {
    /// Changes the counts of a group.
    fn count(&self, at: u32, change: impl FnOnce(&mut Group)) -> Result<(), Error> {
        let (block, place) = self.group_place(at);
        Ok(self.disk.change(block, |bytes| {
            if let Some(bytes) = bytes.get_mut(place..) {
                let mut group = Group::parse(bytes);
                change(&mut group);
                group.put_counts(bytes);
            }
        })?)
    }

    /// Whether a block belongs to the bookkeeping of its group, or is the superblock or of the descriptors.
    fn is_system(&self, group: &Group, block: u32) -> bool {
        let (last_descriptor, _) = self.group_place(self.geometry.groups - 1);
        let table = group.inode_table..group.inode_table + self.geometry.table_blocks();
        block <= last_descriptor
            || block == group.block_bitmap
            || block == group.inode_bitmap
            || table.contains(&block)
    }

    /// Takes a free block, as near behind `goal` as there is one.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what went wrong.
    pub(crate) fn take_block(&self, writer: &mut Writer, goal: u32) -> Result<u32, Error> {
        self.writable()?;
        let geometry = &self.geometry;
        let goal = if geometry.has_block(goal) { goal } else { geometry.first_block };
        let home = geometry.group_of(goal);
        for step in 0..geometry.groups {
            let at = (home + step) % geometry.groups;
            let group = self.group(at)?;
            if group.free_blocks == 0 {
                continue;
            }
            let (first, count) = geometry.group_blocks(at);
            let from = if step == 0 { goal - first } else { 0 };
            let found = self.disk.look(group.block_bitmap, |bits| free_bit(bits, from, count))?;
            let Some(bit) = found else { continue };
            if self.is_system(&group, first + bit) {
                return Err(Error::Corrupt {
                    what: "bookkeeping is marked as free",
                    at: first + bit,
                });
            }
            self.disk.change(group.block_bitmap, |bits| set_bit(bits, bit))?;
            self.count(at, |group| group.free_blocks = group.free_blocks.saturating_sub(1))?;
            writer.free_blocks = writer.free_blocks.saturating_sub(1);
            return Ok(first + bit);
        }
        Err(Error::NoSpace)
    }

    /// Takes free blocks right behind one in use, `most` at most and of the same group; returns how many.
    pub(crate) fn take_behind(
        &self,
        writer: &mut Writer,
        block: u32,
        most: u32,
    ) -> Result<u32, Error> {
        let at = self.geometry.group_of(block);
        let group = self.group(at)?;
        let (first, count) = self.geometry.group_blocks(at);
        let bit = block - first + 1;
        let most = most.min(count - bit).min(group.free_blocks.into());
        let most =
            (0..most).take_while(|n| !self.is_system(&group, first + bit + n)).count() as u32;
        if most == 0 {
            return Ok(0);
        }
        let taken = self.disk.change(group.block_bitmap, |bits| {
            (bit..bit + most).take_while(|bit| set_bit(bits, *bit)).count() as u16
        })?;
        self.count(at, |group| group.free_blocks = group.free_blocks.saturating_sub(taken))?;
        writer.free_blocks = writer.free_blocks.saturating_sub(taken.into());
        Ok(taken.into())
    }

    /// Frees blocks that nothing points to any more.
    ///
    /// # Errors
    /// If one cannot have been in use; the others are freed.
    pub(crate) fn give_blocks(
        &self,
        writer: &mut Writer,
        first: u32,
        count: u32,
    ) -> Result<(), Error> {
        let geometry = &self.geometry;
        let end = first.checked_add(count).filter(|end| *end <= geometry.blocks);
        let end = end.filter(|_| first >= geometry.first_block);
        let end = end.ok_or(Error::Corrupt { what: "a block that does not exist", at: first })?;
        let (mut from, mut done) = (first, Ok(()));
        while from < end {
            let at = geometry.group_of(from);
            let (start, len) = geometry.group_blocks(at);
            let to = end.min(start + len);
            done = self.give_in_group(writer, at, from..to).and(done);
            from = to;
        }
        done
    }

    fn give_in_group(&self, writer: &mut Writer, at: u32, blocks: Range<u32>) -> Result<(), Error> {
        let group = self.group(at)?;
        if blocks.clone().any(|block| self.is_system(&group, block)) {
            return Err(Error::Corrupt { what: "bookkeeping in a file", at: blocks.start });
        }
        let count = blocks.end - blocks.start;
        self.disk.forget(blocks.start, count);
        let first = self.geometry.group_blocks(at).0;
        let bits = blocks.start - first..blocks.end - first;
        let cleared = self.disk.change(group.block_bitmap, |map| clear_bits(map, bits))?;
        self.count(at, |group| {
            group.free_blocks = group.free_blocks.saturating_add(cleared as u16);
        })?;
        writer.free_blocks = writer.free_blocks.saturating_add(cleared);
        match cleared == count {
            true => Ok(()),
            false => Err(Error::Corrupt { what: "a block was free already", at: blocks.start }),
        }
    }

    /// Takes a free inode, for something in a directory of the group `home`.
    ///
    /// # Errors
    /// [`Error::NoSpace`], or what went wrong.
    pub(crate) fn take_inode(
        &self,
        writer: &mut Writer,
        home: u32,
        is_dir: bool,
    ) -> Result<u32, Error> {
        self.writable()?;
        let geometry = &self.geometry;
        let home = if is_dir { self.roomy_group(home)? } else { home };
        for step in 0..geometry.groups {
            let at = (home + step) % geometry.groups;
            let group = self.group(at)?;
            if group.free_inodes == 0 {
                continue;
            }
            let end = geometry.inodes_per_group;
            // Inodes are numbered from one on, and the first ones are reserved.
            let from = (geometry.first_inode - 1).saturating_sub(at.saturating_mul(end));
            let found = self.disk.look(group.inode_bitmap, |bits| free_bit(bits, from, end))?;
            let Some(bit) = found.filter(|bit| *bit >= from) else { continue };
            self.disk.change(group.inode_bitmap, |bits| set_bit(bits, bit))?;
            self.count(at, |group| {
                group.free_inodes = group.free_inodes.saturating_sub(1);
                group.dirs = group.dirs.saturating_add(is_dir.into());
            })?;
            writer.free_inodes = writer.free_inodes.saturating_sub(1);
            return Ok(at * end + bit + 1);
        }
        Err(Error::NoSpace)
    }

    /// The group with the most free blocks of those with free inodes above the average: the next one
    /// behind `home`.
    fn roomy_group(&self, home: u32) -> Result<u32, Error> {
        let mut best = (0, home);
        for step in 0..self.geometry.groups {
            let at = (home + step) % self.geometry.groups;
            let group = self.group(at)?;
            if group.free_inodes > 0 && group.free_blocks > best.0 {
                best = (group.free_blocks, at);
            }
        }
        Ok(best.1)
    }

    /// Frees an inode.
    ///
    /// # Errors
    /// If it was free already.
    pub(crate) fn give_inode(
        &self,
        writer: &mut Writer,
        number: u32,
        is_dir: bool,
    ) -> Result<(), Error> {
        let (at, bit) = self.inode_bit(number);
        let group = self.group(at)?;
        let was = self.disk.change(group.inode_bitmap, |bits| clear_bits(bits, bit..bit + 1))?;
        if was == 0 {
            return Err(Error::Corrupt { what: "an inode was free already", at: number });
        }
        self.count(at, |group| {
            group.free_inodes = group.free_inodes.saturating_add(1);
            group.dirs = group.dirs.saturating_sub(is_dir.into());
        })?;
        writer.free_inodes = writer.free_inodes.saturating_add(1);
        Ok(())
    }

    /// The group of an inode, and its place there.
    pub(crate) fn inode_bit(&self, number: u32) -> (u32, u32) {
        let from_zero = number.saturating_sub(1);
        (from_zero / self.geometry.inodes_per_group, from_zero % self.geometry.inodes_per_group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The goal, then runs of 64, of 8, then any; behind the goal before before it.
    #[test]
    fn bits_are_found_in_their_order() {
        let mut bits = [0_u8; 32];
        assert_eq!(free_bit(&bits, 70, 256), Some(70));
        bits[8] = 1 << 6;
        assert_eq!(free_bit(&bits, 70, 256), Some(128), "the next word that is free");
        bits[16..32].fill(1);
        bits[20] = 0;
        assert_eq!(free_bit(&bits, 70, 256), Some(72), "no word behind: the next free byte");
        bits[9..16].fill(1);
        assert_eq!(free_bit(&bits, 70, 256), Some(160));
        bits[20] = 1;
        assert_eq!(free_bit(&bits, 70, 256), Some(71), "any behind it");
        bits[8..32].fill(0xff);
        assert_eq!(free_bit(&bits, 70, 256), Some(0), "from the start");
        bits.fill(0xff);
        assert_eq!(free_bit(&bits, 70, 256), None);
        bits[31] = 0x7f;
        assert_eq!((free_bit(&bits, 0, 255), free_bit(&bits, 0, 256)), (None, Some(255)));
    }

    #[test]
    fn bits_are_counted_when_they_change() {
        let mut bits = [0_u8; 2];
        assert!(set_bit(&mut bits, 9) && !set_bit(&mut bits, 9) && !set_bit(&mut bits, 16));
        assert_eq!((clear_bits(&mut bits, 7..12), bits), (1, [0, 0]));
    }
}
