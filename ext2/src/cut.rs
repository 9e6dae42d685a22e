//! A file loses blocks: its end, or a part in the middle.
//!
//! The number is taken away before the block is free, also if the call fails half-way: at worst a block
//! belongs to nobody. Each number is visited once and is zero then, so that a damaged tree that leads to
//! itself ends.

use core::ops::Range;

use crate::disk::Disk;
use crate::error::Error;
use crate::inode::InodeAt;
use crate::layout::inode::{DIRECT, Inode};
use crate::layout::{put_u32, u32_at};
use crate::mount::{Ext2, Writer};

/// Numbers that are read from a block at once.
const CHUNK: u32 = 32;

/// Blocks that follow each other and are freed together.
struct Freed {
    first: u32,
    count: u32,
    /// Blocks that the file has lost so far.
    all: u32,
    /// The first error; what can be freed is, nevertheless.
    error: Option<Error>,
}

impl Freed {
    fn note(&mut self, done: Result<(), Error>) {
        if let Err(error) = done {
            self.error.get_or_insert(error);
        }
    }
}

impl<D: Disk> Ext2<D> {
    /// Takes blocks `range` away from a file, and those of the tree that lead to nothing then. Its size
    /// stays.
    ///
    /// # Errors
    /// What went wrong first; what could be freed is.
    pub fn cut(&self, writer: &mut Writer, at: InodeAt, range: Range<u32>) -> Result<(), Error> {
        self.writable()?;
        let mut inode = self.load(at)?;
        let mut freed = Freed { first: 0, count: 0, all: 0, error: None };
        self.cut_direct(writer, at, &mut inode, &range, &mut freed)?;
        let range = u64::from(range.start)..u64::from(range.end);
        let mut base = u64::from(DIRECT);
        for depth in 1..=3 {
            let span = u64::from(self.geometry.pointers()).pow(depth);
            let slot = (DIRECT + depth - 1) as usize;
            let part = clip(&range, base, span);
            if inode.block[slot] != 0 && !part.is_empty() {
                let top = inode.block[slot];
                if part == (0..span) {
                    inode.block[slot] = 0;
                    self.store(at, &inode)?;
                }
                if self.cut_tree(writer, top, depth, &part, &mut freed) {
                    inode.block[slot] = 0;
                    self.store(at, &inode)?;
                    self.free_one(writer, top, &mut freed);
                }
            }
            base += span;
        }
        self.free_run(writer, &mut freed);
        if freed.all > 0 {
            inode.sectors =
                inode.sectors.saturating_sub(freed.all.saturating_mul(self.geometry.sectors()));
            self.store(at, &inode)?;
        }
        freed.error.map_or(Ok(()), Err)
    }

    /// The last block of a file, or the first behind it that part of the tree is there for. Where a
    /// number leads nowhere, it is the first of those that it should lead to.
    pub(crate) fn last_block(&self, inode: &Inode) -> u32 {
        let slot = inode.block.iter().rposition(|number| *number != 0).unwrap_or(0) as u32;
        if slot < DIRECT {
            return slot;
        }
        let (depth, each) = (slot - DIRECT + 1, self.geometry.pointers());
        let mut first = DIRECT + (1..depth).map(|below| each.pow(below)).sum::<u32>();
        let mut block = inode.block[slot as usize];
        for below in (0..depth).rev() {
            let last = |bytes: &[u8]| {
                let steps = (0..each).rev().map(|step| (step, u32_at(bytes, 4 * step as usize)));
                steps.into_iter().find(|(_, number)| *number != 0)
            };
            let found = self.checked(block).map(|block| self.disk.look(block, last));
            let Ok(Ok(Some((step, number)))) = found else { break };
            first += step * each.pow(below);
            block = number;
        }
        first
    }

    fn cut_direct(
        &self,
        writer: &mut Writer,
        at: InodeAt,
        inode: &mut Inode,
        range: &Range<u32>,
        freed: &mut Freed,
    ) -> Result<(), Error> {
        let slots = range.start.min(DIRECT) as usize..range.end.min(DIRECT) as usize;
        if slots.is_empty() || inode.block[slots.clone()].iter().all(|number| *number == 0) {
            return Ok(());
        }
        let was = inode.block;
        inode.block[slots.clone()].fill(0);
        self.store(at, inode)?;
        for number in &was[slots] {
            self.free_one(writer, *number, freed);
        }
        Ok(())
    }

    /// Takes blocks `part` away from a tree of `depth` levels; true if nothing is left in it.
    fn cut_tree(
        &self,
        writer: &mut Writer,
        block: u32,
        depth: u32,
        part: &Range<u64>,
        freed: &mut Freed,
    ) -> bool {
        let Ok(block) = self.checked(block) else {
            // It leads nowhere, and goes.
            freed.note(Err(Error::Corrupt { what: "a block that does not exist", at: block }));
            return true;
        };
        let span = u64::from(self.geometry.pointers()).pow(depth - 1);
        let (first, end) = ((part.start / span) as u32, part.end.div_ceil(span) as u32);
        let done = match depth {
            1 => self.cut_leaves(writer, block, first..end, freed),
            _ => (first..end).try_for_each(|step| {
                let below = clip(part, u64::from(step) * span, span);
                self.cut_below(writer, (block, step), depth - 1, &below, span, freed)
            }),
        };
        freed.note(done);
        let is_empty = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        done.is_ok() && self.disk.look(block, is_empty).unwrap_or(false)
    }

    fn cut_leaves(
        &self,
        writer: &mut Writer,
        block: u32,
        steps: Range<u32>,
        freed: &mut Freed,
    ) -> Result<(), Error> {
        let mut from = steps.start;
        while from < steps.end {
            let count = CHUNK.min(steps.end - from);
            let numbers = self.disk.look(block, |bytes| -> [u32; CHUNK as usize] {
                core::array::from_fn(|i| u32_at(bytes, 4 * (from as usize + i)))
            })?;
            let numbers = &numbers[..count as usize];
            if numbers.iter().any(|number| *number != 0) {
                self.disk.change(block, |bytes| {
                    (from..from + count).for_each(|at| put_u32(bytes, 4 * at as usize, 0));
                })?;
                numbers.iter().for_each(|number| self.free_one(writer, *number, freed));
            }
            from += count;
        }
        Ok(())
    }

    /// The same for the tree at one number of a block.
    fn cut_below(
        &self,
        writer: &mut Writer,
        (block, step): (u32, u32),
        depth: u32,
        part: &Range<u64>,
        span: u64,
        freed: &mut Freed,
    ) -> Result<(), Error> {
        let number = self.pointer(block, step)?;
        if number == 0 {
            return Ok(());
        }
        let clear = || self.disk.change(block, |bytes| put_u32(bytes, 4 * step as usize, 0));
        if *part == (0..span) {
            clear()?;
        }
        if self.cut_tree(writer, number, depth, part, freed) {
            clear()?;
            self.free_one(writer, number, freed);
        }
        Ok(())
    }

    /// Frees a block, or keeps it for a run.
    fn free_one(&self, writer: &mut Writer, number: u32, freed: &mut Freed) {
        if number == 0 {
            return;
        }
        freed.all += 1;
        if freed.count > 0 && freed.first.checked_add(freed.count) == Some(number) {
            freed.count += 1;
            return;
        }
        self.free_run(writer, freed);
        (freed.first, freed.count) = (number, 1);
    }

    fn free_run(&self, writer: &mut Writer, freed: &mut Freed) {
        let count = core::mem::take(&mut freed.count);
        if count > 0 {
            let done = self.give_blocks(writer, freed.first, count);
            freed.note(done);
        }
    }
}

/// The part of a range that lies in a tree which begins at `base`, counted from there.
fn clip(range: &Range<u64>, base: u64, span: u64) -> Range<u64> {
    let at = |place: u64| place.saturating_sub(base).min(span);
    at(range.start)..at(range.end)
}
