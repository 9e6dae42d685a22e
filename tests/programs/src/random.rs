//! Numbers that look random and that one seed decides ([`splitmix`]).

use splitmix::SplitMix64;

/// A source of numbers.
#[derive(Clone, Copy, Debug)]
pub struct Random(SplitMix64);

impl Random {
    /// The numbers of one seed; `stream` distinguishes the users of that seed.
    #[must_use]
    pub fn new(seed: usize, stream: usize) -> Self {
        let mixed = SplitMix64::new(seed as u64).next();
        Self(SplitMix64::new(mixed ^ (stream as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next()
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % limit as u64) as usize
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`, of which there is at least one.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}
