//! A bit for each block of a disk.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words for so many blocks.
pub const fn words_for(blocks: u32) -> usize {
    blocks.div_ceil(64) as usize
}

/// A bit for each block. Whoever sets or clears one holds what the block belongs to: the order of two
/// changes is theirs.
#[derive(Debug)]
pub struct Bits<'a>(&'a [AtomicU64]);

impl<'a> Bits<'a> {
    /// Bits that are all clear, in words that are zero.
    pub const fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    fn word(&self, block: u32) -> (&AtomicU64, u64) {
        (&self.0[(block / 64) as usize], 1 << (block % 64))
    }

    /// Sets the bit of a block.
    pub fn set(&self, block: u32) {
        let (word, bit) = self.word(block);
        word.fetch_or(bit, Relaxed);
    }

    /// Whether it is set.
    pub fn get(&self, block: u32) -> bool {
        let (word, bit) = self.word(block);
        word.load(Relaxed) & bit != 0
    }

    /// Clears it; returns whether it was set.
    pub fn take(&self, block: u32) -> bool {
        let (word, bit) = self.word(block);
        // Most are clear, and a look is cheaper than a change.
        word.load(Relaxed) & bit != 0 && word.fetch_and(!bit, Relaxed) & bit != 0
    }

    /// The blocks whose bits are set.
    pub fn all(&self) -> impl Iterator<Item = u32> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(at, word)| {
            let word = word.load(Relaxed);
            (0..64).filter(move |bit| word >> bit & 1 != 0).map(move |bit| at as u32 * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_and_taken_once() {
        let words = [const { AtomicU64::new(0) }; 3];
        let bits = Bits::new(&words);
        [0, 63, 64, 150].into_iter().for_each(|block| bits.set(block));
        assert_eq!(bits.all().collect::<Vec<_>>(), [0, 63, 64, 150]);
        assert!(bits.get(63) && bits.take(63) && !bits.take(63) && !bits.get(63));
        assert_eq!(bits.all().collect::<Vec<_>>(), [0, 64, 150]);
        assert_eq!([1, 64, 65].map(words_for), [1, 1, 2]);
    }
}
