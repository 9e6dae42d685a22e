//! A file gets several blocks at once, which follow each other: one change of each record for all of
//! them.

use crate::disk::Disk;
use crate::error::Error;
use crate::inode::InodeAt;
use crate::layout::inode::DIRECT;
use crate::layout::{put_u32, u32_at};
use crate::map::{Fresh, Path, path};
use crate::mount::{Ext2, Writer};

impl<D: Disk> Ext2<D> {
    /// As [`Ext2::reserve`]; and if that block is new, so are those behind it, `most` in all, as far as
    /// the file has none there and the blocks on the disk behind it are free. Returns how many.
    ///
    /// # Errors
    /// As [`Ext2::reserve`].
    pub fn reserve_run(
        &self,
        writer: &mut Writer,
        at: InodeAt,
        first: u32,
        most: u32,
    ) -> Result<(Fresh, u32), Error> {
        let fresh = self.reserve(writer, at, first)?;
        let Fresh::New(block) = fresh else { return Ok((fresh, 1)) };
        if most < 2 {
            return Ok((fresh, 1));
        }
        // The first one is there whatever becomes of the others.
        Ok((fresh, 1 + self.extend_run(writer, at, first, block, most - 1).unwrap_or(0)))
    }

    /// Gives a file up to `most` blocks behind block `last` of the file, which is `block` of the disk.
    fn extend_run(
        &self,
        writer: &mut Writer,
        at: InodeAt,
        last: u32,
        block: u32,
        most: u32,
    ) -> Result<u32, Error> {
        let way = path(self.geometry.pointers(), last).ok_or(Error::TooLarge)?;
        let parent = self.above(at, &way)?;
        let holes = |numbers: &mut dyn Iterator<Item = u32>| {
            numbers.take(most as usize).take_while(|number| *number == 0).count() as u32
        };
        let (from, room) = match parent {
            None => {
                let inode = self.load(at)?;
                let rest = &inode.block[way.slot + 1..DIRECT as usize];
                (way.slot as u32 + 1, holes(&mut rest.iter().copied()))
            }
            Some(parent) => {
                let from = way.steps[way.depth - 1] + 1;
                let count = |bytes: &[u8]| {
                    let rest = from..self.geometry.pointers();
                    holes(&mut rest.map(|step| u32_at(bytes, 4 * step as usize)))
                };
                (from, self.disk.look(parent, count)?)
            }
        };
        let taken = self.take_behind(writer, block, room)?;
        if taken == 0 {
            return Ok(0);
        }
        let pointed = self.point(at, parent, from, block + 1..block + 1 + taken);
        if pointed.is_err() {
            self.give_blocks(writer, block + 1, taken)?;
        }
        pointed.map(|()| taken)
    }

    /// The block that has the number of the block at the end of a way; `None` if the inode has it.
    fn above(&self, at: InodeAt, way: &Path) -> Result<Option<u32>, Error> {
        if way.depth == 0 {
            return Ok(None);
        }
        let mut block = self.checked(self.load(at)?.block[way.slot])?;
        for step in &way.steps[..way.depth - 1] {
            block = self.checked(self.pointer(block, *step)?)?;
        }
        Ok(Some(block))
    }

    /// Stores the numbers of new blocks, from place `from` on.
    fn point(
        &self,
        at: InodeAt,
        parent: Option<u32>,
        from: u32,
        blocks: core::ops::Range<u32>,
    ) -> Result<(), Error> {
        let count = blocks.end - blocks.start;
        let mut inode = self.load(at)?;
        inode.sectors = inode.sectors.saturating_add(count * self.geometry.sectors());
        if parent.is_none() {
            let places = inode.block[from as usize..].iter_mut();
            places.zip(blocks.clone()).for_each(|(place, block)| *place = block);
        }
        self.store(at, &inode)?;
        // Nothing leads to the blocks if this fails, so that they can be freed.
        parent.map_or(Ok(()), |parent| {
            Ok(self.disk.change(parent, |bytes| {
                for (step, block) in (from..).zip(blocks) {
                    put_u32(bytes, 4 * step as usize, block);
                }
            })?)
        })
    }
}
