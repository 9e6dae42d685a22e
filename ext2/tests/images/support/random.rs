//! Choices that one seed decides, and how seeds are run.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use splitmix::SplitMix64;

/// Numbers of a seed.
#[derive(Clone, Debug)]
pub struct Rng(SplitMix64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// A source of its own, for what must not depend on how much is drawn elsewhere.
    pub fn fork(&mut self) -> Self {
        Self::new(self.0.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0.next()
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0.next() % end.max(1)
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True in so many cases of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }

    /// Bytes that are noise, or numbers below `numbers`, which look like those of blocks.
    pub fn bytes(&mut self, len: usize, numbers: u32) -> Vec<u8> {
        let is_noise = self.percent(50);
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            let value = match is_noise {
                true => self.next(),
                false => self.below(numbers.into()) << 32 | self.below(numbers.into()),
            };
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Whether the tests that are too long for every day run.
pub fn is_long() -> bool {
    std::env::var("TEST_LONG").is_ok_and(|value| value != "0")
}

/// A number from the environment.
pub fn from_env(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs `body` for so many seeds, or for the one in `EXT2_SEED`. If one fails, prints how to repeat it.
pub fn for_seeds(test: &str, seeds: std::ops::Range<u64>, mut body: impl FnMut(u64)) {
    let seeds = from_env("EXT2_SEED").map_or(seeds, |seed| seed..seed + 1);
    let (start, mut said) = (Instant::now(), Instant::now());
    for seed in seeds.clone() {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(seed))) {
            let command = "cargo test --target host-tuple -p ext2 --test images";
            let long = if is_long() { "TEST_LONG=1 " } else { "" };
            println!("{test}: {seed} failed; replay: {long}EXT2_SEED={seed} {command} {test}");
            resume_unwind(payload);
        }
        if said.elapsed() > Duration::from_secs(60) {
            said = Instant::now();
            println!("{test}: seed {seed} of {seeds:?} after {:?}", start.elapsed());
        }
    }
    println!("{test}: seeds {seeds:?} in {:?}", start.elapsed());
}
