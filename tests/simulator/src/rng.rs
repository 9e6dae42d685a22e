//! Seeded numbers: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
//!
//! Own code of a few lines, so that a seed means the same run for ever.

use std::ops::Range;

/// A generator of the numbers that a seed stands for.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The generator of a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
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

/// Scatters the bits of `n`, one to one.
pub const fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}
