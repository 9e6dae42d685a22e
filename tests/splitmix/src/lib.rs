//! SplitMix64: numbers that look random and that one seed decides.
//!
//! Programs, simulator and models draw from it. A seed that once failed is repeated by its
//! number, and the bench's traces are known by their hashes, so that a seed must give the same
//! numbers forever. That is why this is own code of a few lines, and in one place.
//!
//! The algorithm is that of Steele, Lea and Flood, "Fast splittable pseudorandom number
//! generators" (OOPSLA 2014), with the constants that Vigna's `splitmix64.c` has: a counter
//! that advances by 2^64 over the golden ratio, and [`mix`] over it.
#![no_std]
#![forbid(unsafe_code)]

/// A source of numbers of 64 bits. Users derive smaller ones in their own ways, which are part of
/// what a seed means.
#[derive(Clone, Copy, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[inline]
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

/// Scatters the bits of `n`, one to one.
#[inline]
#[must_use]
pub const fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::{SplitMix64, mix};

    fn first<const N: usize>(seed: u64) -> [u64; N] {
        let mut numbers = SplitMix64::new(seed);
        core::array::from_fn(|_| numbers.next())
    }

    /// The output of `splitmix64.c` for the usual test seed.
    #[test]
    fn numbers_are_those_of_the_reference() {
        let published = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(first(1_234_567), published);
    }

    /// A seed of zero is as good as any, though all its bits are zero.
    #[test]
    fn zero_is_a_seed_too() {
        let published = [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f];
        assert_eq!(first(0), published);
        assert_eq!(mix(0), 0);
    }
}
