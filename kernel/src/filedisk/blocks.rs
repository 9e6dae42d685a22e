//! Which blocks are in use.

use core::iter;

/// Words that one search for a run looks at, at most.
const SEARCHED: u32 = 1024;
/// Words with a bit for each of so many blocks.
pub const fn words_for(blocks: u32) -> usize {
    blocks.div_ceil(64) as usize
}

/// A bit for each block, set if it is in use.
#[derive(Debug)]
pub struct Blocks {
    words: &'static mut [u64],
    len: u32,
    used: u32,
    /// Where the last run that was begun ends.
    run_end: u32,
}

impl Blocks {
    /// No blocks.
    pub const fn none() -> Self {
        Self { words: &mut [], len: 0, used: 0, run_end: 0 }
    }

    /// So many free blocks, with zeroes for their bits.
    ///
    /// # Panics
    /// If there are too few bits.
    pub fn new(len: u32, words: &'static mut [u64]) -> Self {
        assert!(words.len() >= words_for(len), "{} words for {len} blocks", words.len());
        Self { words, len, used: 0, run_end: 0 }
    }

    /// Blocks that are free.
    pub fn free(&self) -> u32 {
        self.len - self.used
    }

    fn is_used(&self, block: u32) -> bool {
        self.words[(block / 64) as usize] >> (block % 64) & 1 != 0
    }

    /// Takes a free block: the one at `goal`; or the first of a run of `run()` free ones, or of half as
    /// many, and so on; or any. A file whose runs grow as it does is in few pieces, also if several
    /// grow at once.
    pub fn take(&mut self, goal: u32, run: impl FnOnce() -> u32) -> Option<u32> {
        let goal = goal.min(self.len);
        let at_goal = self.next_free(goal, self.len.min(goal + 1));
        let found = at_goal
            .or_else(|| self.begin_run(run()))
            .or_else(|| self.next_free(goal, self.len))
            .or_else(|| self.next_free(0, goal))?;
        self.words[(found / 64) as usize] |= 1 << (found % 64);
        self.used += 1;
        Some(found)
    }

    /// The first of a run of free blocks, as long as there is up to `run`, behind the run before. The
    /// rest of it is left to whoever asked, as long as there are others.
    fn begin_run(&mut self, run: u32) -> Option<u32> {
        let lengths = iter::successors(Some(run / 64), |words| Some(words / 2));
        let (first, words) = lengths.take_while(|words| *words > 0).find_map(|words| {
            let first = self.next_run(self.run_end, words).or_else(|| self.next_run(0, words))?;
            Some((first, words))
        })?;
        self.run_end = first + words * 64;
        Some(first)
    }

    /// The first of so many free words among the next ones from a block on.
    fn next_run(&self, from: u32, words: u32) -> Option<u32> {
        let first = from / 64;
        let mut len = 0;
        for at in first..(self.len / 64).min(first + SEARCHED) {
            len = if self.words[at as usize] == 0 { len + 1 } else { 0 };
            if len == words {
                return Some((at + 1 - words) * 64);
            }
        }
        None
    }

    fn next_free(&self, from: u32, end: u32) -> Option<u32> {
        let mut at = from;
        while at < end {
            let word = !self.words[(at / 64) as usize] >> (at % 64);
            if word != 0 {
                let found = at + word.trailing_zeros();
                return (found < end).then_some(found);
            }
            at = (at / 64 + 1) * 64;
        }
        None
    }

    /// Frees blocks that are in use.
    ///
    /// # Panics
    /// If one is free already.
    pub fn give(&mut self, first: u32, count: u32) {
        for block in first..first + count {
            assert!(self.is_used(block), "block {block} is free already");
            self.words[(block / 64) as usize] &= !(1 << (block % 64));
        }
        self.used -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks_of(len: u32) -> Blocks {
        Blocks::new(len, vec![0; words_for(len)].leak())
    }

    /// A block near the goal is taken, each once, until none is left; what is given is taken again.
    #[test]
    fn blocks_are_taken_once_near_their_goal() {
        let mut blocks = blocks_of(200);
        assert_eq!(blocks.take(70, || 0), Some(70));
        assert_eq!(blocks.take(70, || 0), Some(71));
        assert_eq!(blocks.take(199, || 0), Some(199));
        assert_eq!(blocks.take(199, || 0), Some(0), "from the start again");
        let rest: Vec<_> = std::iter::from_fn(|| blocks.take(0, || 0)).collect();
        assert_eq!((rest.len(), blocks.free(), blocks.take(5, || 0)), (196, 0, None));
        blocks.give(70, 2);
        assert_eq!(
            (blocks.take(0, || 0), blocks.take(0, || 0), blocks.take(0, || 0)),
            (Some(70), Some(71), None)
        );
    }

    /// Two files that grow at once get a run each, as long as there are runs.
    #[test]
    fn files_that_grow_at_once_get_runs() {
        let mut blocks = blocks_of(5 * 64);
        assert_eq!((blocks.take(0, || 64), blocks.take(0, || 64)), (Some(0), Some(64)));
        assert_eq!((blocks.take(1, || 64), blocks.take(65, || 64)), (Some(1), Some(65)));
        assert_eq!(blocks.take(64, || 500), Some(128), "as long as there is");
        assert_eq!(blocks.take(129, || 64), Some(129));
        assert_eq!(blocks.take(128, || 64), Some(192), "nothing behind that run, so within it");
        assert_eq!(blocks.free(), 5 * 64 - 7);
    }

    #[test]
    #[should_panic(expected = "block 3 is free already")]
    fn a_block_is_not_freed_twice() {
        let mut blocks = blocks_of(10);
        blocks.give(3, 1);
    }
}
