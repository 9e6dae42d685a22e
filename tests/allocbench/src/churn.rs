//! Random allocation: who holds which frames, and what is done next.
//!
//! What is done depends on a seed and on how many frames are held, never on which: both
//! allocators meet the same requests, and free the frames that they returned for the same requests.

use crate::frames::{BLOCKS, FRAMES, Frames};

/// Marsaglia's xorshift64*.
pub struct Random(u64);

impl Random {
    /// The same numbers for every allocator.
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high * end as u64) >> 32) as usize
    }
}

/// One request.
#[derive(Clone, Copy)]
pub enum Op {
    /// Allocates a frame.
    Take,
    /// Frees the held frame at this index; the last one moves there.
    Give(u32),
}

/// Frames held, and the source of chance.
pub struct Churn {
    /// The frames that are held.
    pub held: Vec<usize>,
    random: Random,
}

impl Churn {
    /// Takes every frame, then frees random ones until `level` are held.
    pub fn filled(frames: &mut impl Frames, level: usize) -> Self {
        let mut churn = Self { held: Vec::with_capacity(FRAMES), random: Random::new() };
        for _ in 0..FRAMES {
            churn.step(frames, Op::Take);
        }
        while churn.held.len() > level {
            let op = Op::Give(churn.random.below(churn.held.len()) as u32);
            churn.step(frames, op);
        }
        churn
    }

    /// Carries out one request.
    #[inline(always)]
    pub fn step(&mut self, frames: &mut impl Frames, op: Op) {
        match op {
            Op::Take => self.held.push(frames.take_one().expect("a frame is free")),
            Op::Give(place) => frames.give_one(self.held.swap_remove(place as usize)),
        }
    }

    /// The next request when `held` frames are held and about `level` should be: which way
    /// it goes is a toss, except far from the level.
    pub fn next(&mut self, held: usize, level: usize) -> Op {
        let slack = FRAMES / 256;
        let take = match held {
            _ if held + slack < level => true,
            _ if held > level + slack => false,
            _ => self.random.below(2) == 0,
        };
        if take { Op::Take } else { Op::Give(self.random.below(held) as u32) }
    }

    /// `steps` requests while the level moves evenly from one to the other.
    pub fn run(&mut self, frames: &mut impl Frames, steps: usize, from: usize, to: usize) {
        for i in 0..steps {
            let level = from - (from - to) * i / steps;
            let op = self.next(self.held.len(), level);
            self.step(frames, op);
        }
    }
}

/// How many pageblocks can be had as wholes.
pub fn whole_blocks(frames: &mut impl Frames) -> usize {
    frames.settle();
    let mut blocks = Vec::with_capacity(BLOCKS);
    while let Some(block) = frames.take_block() {
        blocks.push(block);
    }
    blocks.iter().for_each(|block| frames.give_block(*block));
    blocks.len()
}
