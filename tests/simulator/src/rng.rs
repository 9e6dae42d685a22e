//! Seeded numbers: [`SplitMix64`], in ranges.

use std::ops::Range;

use splitmix::SplitMix64;
pub use splitmix::mix;

/// A generator of the numbers that a seed stands for.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix64);

impl Rng {
    /// The generator of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `end`, which is not zero. (The bias of the remainder is far below
    /// what a test could see.)
    pub const fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A number in the range; its start if it is empty.
    pub fn within(&mut self, range: &Range<u64>) -> u64 {
        range.start + if range.is_empty() { 0 } else { self.below(range.end - range.start) }
    }
}
