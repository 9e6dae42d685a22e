//! Operations on a tree of files, which one seed decides.
//!
//! A program under the kernel executes them, and a model on the host predicts what each of them
//! returns and what the tree is at the end. Both take the operations from here, and the hashes by
//! which they compare; neither knows what the other does with them.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`path`] | the paths, of a universe so small that operations meet |
//! | [`op`] | the operations, and how they are drawn |
//! | [`hash`] | hashes of contents and of trees |
//! | [`keeper`] | what is done to files that must survive a cut of power |
//! | [`poison`] | contents that a disk of a test cannot transfer |
//! | [`record`] | what an operation returned, as it is written to the file of results |
#![no_std]
#![forbid(unsafe_code)]

pub mod hash;
pub mod keeper;
pub mod op;
pub mod path;
pub mod poison;
pub mod record;

use splitmix::SplitMix64;

/// Numbers that one seed decides.
#[derive(Clone, Copy, Debug)]
pub struct Random(SplitMix64);

impl Random {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// A number below `limit`, which is not 0.
    pub const fn below(&mut self, limit: u32) -> u32 {
        (self.0.next() % limit as u64) as u32
    }

    /// True once in `n` times.
    pub const fn once_in(&mut self, n: u32) -> bool {
        self.below(n) == 0
    }

    /// One of `choices`, of which there is at least one.
    pub const fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }
}

/// The contents that one write gives a file: each byte depends on its place and the write's number.
pub fn fill(bytes: &mut [u8], number: u32) {
    for (at, word) in bytes.chunks_mut(8).enumerate() {
        let value = splitmix::mix(u64::from(number) << 32 | at as u64).to_le_bytes();
        word.copy_from_slice(&value[..word.len()]);
    }
}
