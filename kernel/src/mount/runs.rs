//! Where the blocks of files that are in use are: the last run of each of a few inodes, so that the next
//! page needs no look at the records. Pure.
//!
//! A run is put here only while nobody can take its blocks away, and whoever takes blocks away drops
//! the runs of that inode afterwards, before the blocks can be another file's.

use ext2::{InodeAt, Mapped};

/// Inodes whose runs are kept.
const PLACES: usize = 16;

/// A run of an inode, and where the inode is.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The inode.
    pub at: InodeAt,
    /// The first block of the file.
    pub first: u32,
    /// Where that and those behind it are.
    pub mapped: Mapped,
}

/// The runs.
#[derive(Debug)]
pub struct Runs([Option<Run>; PLACES]);

impl Runs {
    /// None.
    pub const fn new() -> Self {
        Self([None; PLACES])
    }

    /// The run of an inode.
    pub fn get(&self, number: u32) -> Option<Run> {
        self.0[number as usize % PLACES].filter(|run| run.at.number == number)
    }

    /// A run of blocks that the file has; one that joins the run that is here makes it longer.
    pub fn put(&mut self, new: Run) {
        let place = &mut self.0[new.at.number as usize % PLACES];
        if let Some(old) = place
            && old.at == new.at
            && let (Some(old_block), Some(block)) = (old.mapped.block, new.mapped.block)
            && old.first.wrapping_add(old.mapped.len) == new.first
            && old_block.wrapping_add(old.mapped.len) == block
        {
            old.mapped.len += new.mapped.len;
            return;
        }
        *place = Some(new);
    }

    /// Blocks of an inode are gone, or it is.
    pub fn forget(&mut self, number: u32) {
        let place = &mut self.0[number as usize % PLACES];
        *place = place.filter(|run| run.at.number != number);
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32, first: u32, block: u32, len: u32) -> Run {
        let mut at = InodeAt::default();
        at.number = number;
        Run { at, first, mapped: Mapped { block: Some(block), len } }
    }

    fn seen(runs: &Runs, number: u32) -> Option<(u32, Option<u32>, u32)> {
        runs.get(number).map(|run| (run.first, run.mapped.block, run.mapped.len))
    }

    #[test]
    fn a_run_grows_at_its_end() {
        let mut runs = Runs::new();
        runs.put(run(12, 4, 100, 2));
        runs.put(run(12, 6, 102, 1));
        assert_eq!(seen(&runs, 12), Some((4, Some(100), 3)));
        runs.put(run(12, 7, 200, 1));
        assert_eq!(seen(&runs, 12), Some((7, Some(200), 1)), "elsewhere on the disk");
        runs.put(run(12, 9, 201, 1));
        assert_eq!(seen(&runs, 12), Some((9, Some(201), 1)), "behind a hole");
    }

    #[test]
    fn inodes_share_places_and_are_told_apart() {
        let mut runs = Runs::new();
        runs.put(run(12, 0, 100, 1));
        runs.put(run(12 + PLACES as u32, 1, 101, 1));
        assert_eq!(seen(&runs, 12), None);
        runs.forget(12);
        assert_eq!(seen(&runs, 12 + PLACES as u32), Some((1, Some(101), 1)));
        runs.forget(12 + PLACES as u32);
        assert_eq!(seen(&runs, 12 + PLACES as u32), None);
    }
}
