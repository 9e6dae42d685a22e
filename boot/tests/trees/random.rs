//! Random numbers that are the same in every run, and mutations of a blob.

use std::ops::Range;

/// A xorshift generator.
pub struct Random(u64);

impl Random {
    /// The sequence of a seed, which must not be 0.
    pub fn new(seed: u64) -> Self {
        // Small seeds differ in few bits; the multiplication (a Weyl constant) spreads them.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// One of `choices`.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// `blob` after one to `most` changes.
pub fn mutated(blob: &[u8], most: usize, random: &mut Random) -> Vec<u8> {
    let mut blob = blob.to_vec();
    for _ in 0..=random.below(most) {
        mutate(&mut blob, random);
    }
    blob
}

/// Changes one place: a bit, a byte, an aligned word that looks like a token, a length or an
/// offset, a piece that is overwritten with another; or, rarely, truncates the blob.
fn mutate(blob: &mut Vec<u8>, random: &mut Random) {
    const WORDS: [u32; 12] =
        [0, 1, 2, 3, 4, 8, 9, 0x10, 0x7fff_ffff, 0x8000_0000, u32::MAX - 3, u32::MAX];
    if blob.is_empty() {
        return;
    }
    let at = random.below(blob.len());
    match random.below(20) {
        0..4 => blob[at] ^= 1 << random.below(8),
        4..8 => blob[at] = random.below(256) as u8,
        8..10 => put(blob, random.below(10) * 4, random.pick(&WORDS)),
        10..15 => put(blob, at / 4 * 4, random.pick(&WORDS)),
        15..19 => {
            let length = (random.below(16) * 4).min(blob.len() - at / 4 * 4);
            let from = random.below(blob.len() - length + 1) / 4 * 4;
            blob.copy_within(from..from + length, at / 4 * 4);
        }
        _ => blob.truncate(at),
    }
}

/// The well-formed `blob` with one to `most` of its values changed and its structure kept, so that
/// reading gets further than with one that is broken anywhere.
pub fn revalued(blob: &[u8], most: usize, random: &mut Random) -> Vec<u8> {
    let (mut changed, values) = (blob.to_vec(), values(blob));
    for _ in 0..=random.below(most) {
        let value = &mut changed[values[random.below(values.len())].clone()];
        mutate_value(value, random);
    }
    changed
}

fn mutate_value(value: &mut [u8], random: &mut Random) {
    let at = random.below(value.len());
    match random.below(4) {
        0 => value[at] ^= 1 << random.below(8),
        1 => value[at] = random.below(256) as u8,
        2 => put(value, at / 4 * 4, random.next() as u32),
        _ => put(value, at / 4 * 4, random.pick(&[0, 1, 2, 3, 0x1000, 0x4000_0000, u32::MAX])),
    }
}

/// The positions of the property values of a well-formed blob, without empty ones.
fn values(blob: &[u8]) -> Vec<Range<usize>> {
    let word = |at: usize| u32::from_be_bytes(blob[at..at + 4].try_into().unwrap()) as usize;
    let (mut at, mut values) = (word(8), Vec::new());
    loop {
        match word(at) {
            // A node's name, up to its zero.
            1 => at += 4 + blob[at + 4..].iter().position(|&byte| byte == 0).unwrap() / 4 * 4 + 4,
            3 => {
                let value = at + 12..at + 12 + word(at + 4);
                at = value.end.next_multiple_of(4);
                values.extend(Some(value).filter(|value| !value.is_empty()));
            }
            9 => return values,
            _ => at += 4,
        }
    }
}

fn put(blob: &mut [u8], at: usize, word: u32) {
    let end = blob.len().min(at + 4);
    if at < end {
        blob[at..end].copy_from_slice(&word.to_be_bytes()[..end - at]);
    }
}
