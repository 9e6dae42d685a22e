//! The work of the program `keeper`, which a cut of power interrupts: files that are kept, each step
//! followed by `fsync`, and others that come and go without.
//!
//! Behind each step on a kept file a mark is written and synced, with the number of the step. So whoever
//! finds mark n on the disk knows that the steps up to n are stable, and that only those up to the next
//! marked one may have begun.

use crate::Random;

/// Files that are kept.
pub const SLOTS: u32 = 12;
/// Files that come and go.
pub const OTHERS: u32 = 6;
/// The most bytes of one write.
pub const MOST_BYTES: u32 = 40_000;
/// What a mark begins with.
pub const MAGIC: [u8; 8] = *b"MARK:fs:";
/// Bytes of a mark.
pub const MARK: usize = 16;

/// A step. Files are known by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the fields are what their names say")]
pub enum Step {
    /// A kept file is written, and made if need be.
    Write { slot: u32, at: u32, len: u32, truncate: bool },
    /// A kept file is written at its end.
    Append { slot: u32, len: u32 },
    /// A kept file takes the place of another; nothing if it is not there.
    Rename { from: u32, to: u32 },
    /// A kept file goes, if it is there.
    Remove { slot: u32 },
    /// Another file is written, and synced or not: what it leaves behind are blocks with old contents.
    Other { number: u32, len: u32, sync: bool },
    /// Another file goes.
    RemoveOther { number: u32 },
}

impl Step {
    /// Whether a mark follows.
    #[must_use]
    pub const fn is_marked(self) -> bool {
        !matches!(self, Self::Other { .. } | Self::RemoveOther { .. })
    }

    /// The kept files that it touches.
    pub fn slots(self) -> impl Iterator<Item = u32> {
        let [one, other] = match self {
            Self::Write { slot, .. } | Self::Append { slot, .. } | Self::Remove { slot } => {
                [Some(slot), None]
            }
            Self::Rename { from, to } => [Some(from), Some(to)],
            Self::Other { .. } | Self::RemoveOther { .. } => [None, None],
        };
        one.into_iter().chain(other)
    }
}

/// The steps of a seed.
pub fn steps(seed: u32, count: u32) -> impl Iterator<Item = Step> {
    let mut random = Random::new(u64::from(seed) ^ 0x6b65_6570);
    (0..count).map(move |_| draw(&mut random))
}

const fn draw(random: &mut Random) -> Step {
    let slot = random.below(SLOTS);
    let limit = if random.once_in(3) { MOST_BYTES } else { 3000 };
    let len = 1 + random.below(limit - 1);
    match random.below(16) {
        0..5 => Step::Write { slot, at: random.below(20_000), len, truncate: random.once_in(2) },
        5..8 => Step::Append { slot, len },
        8..10 => Step::Rename { from: slot, to: random.below(SLOTS) },
        10 => Step::Remove { slot },
        11..14 => {
            let number = random.below(OTHERS);
            Step::Other { number, len: len * 4, sync: random.once_in(2) }
        }
        _ => Step::RemoveOther { number: random.below(OTHERS) },
    }
}

/// The mark of a step.
#[must_use]
pub fn mark(step: u32) -> [u8; MARK] {
    let mut bytes = [0; MARK];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&step.to_le_bytes());
    bytes[12..].copy_from_slice(&(!step).to_le_bytes());
    bytes
}

/// The step of a mark, if these bytes begin with one.
#[must_use]
pub fn step_of(bytes: &[u8]) -> Option<u32> {
    let number = |at: usize| u32::from_le_bytes(core::array::from_fn(|i| bytes[at + i]));
    let is_mark = bytes.len() >= MARK && bytes[..8] == MAGIC && number(8) == !number(12);
    is_mark.then(|| number(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_known_again() {
        assert_eq!(step_of(&mark(77)), Some(77));
        assert_eq!(step_of(&[0; 16]), None);
        assert_eq!(step_of(&mark(77)[..15]), None);
    }
}
