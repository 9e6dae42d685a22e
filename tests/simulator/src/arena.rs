//! The frames: words in memory, reached by frame number.
//!
//! **Data.** One box of words a memory range, and for each frame whether it is poisoned.
//! Everything is atomic and relaxed: only the running task touches it, and the atomics are
//! there to need no `unsafe` for saying so.
//!
//! **Freed memory.** [`FrameMemory::poison`] fills a frame with [`POISON`]. Only the
//! environment's own calls (zero, copy, write, a disk's read) bring a frame to life again,
//! and each first looks whether the poison is still there: if not, somebody wrote through a
//! stale translation or a stale frame number after the frame was freed. Stores of user
//! programs go to the words as a CPU's would, poison or not.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use mm_reclaim::env::FrameMemory;
use mm_reclaim::units::{PAGE_SIZE, Pfn};

/// Words in a frame.
pub const WORDS: usize = PAGE_SIZE / 8;
/// What a freed frame is filled with.
pub const POISON: u64 = 0x6b6b_6b6b_6b6b_6b6b;

/// All the memory of a machine.
#[derive(Debug)]
pub struct Arena {
    spans: Vec<Span>,
    check_poison: bool,
}

#[derive(Debug)]
struct Span {
    frames: Range<u32>,
    words: Box<[AtomicU64]>,
    poisoned: Box<[AtomicBool]>,
}

impl Arena {
    /// Memory in these ranges of frames, zeroed.
    pub fn new(ranges: &[Range<u32>], check_poison: bool) -> Self {
        let span = |frames: &Range<u32>| Span {
            words: (0..frames.len() * WORDS).map(|_| AtomicU64::new(0)).collect(),
            poisoned: frames.clone().map(|_| AtomicBool::new(false)).collect(),
            frames: frames.clone(),
        };
        Self { spans: ranges.iter().map(span).collect(), check_poison }
    }

    fn place(&self, frame: Pfn) -> (&Span, usize) {
        let span = self.spans.iter().find(|s| s.frames.contains(&frame.0));
        let span = span.unwrap_or_else(|| panic!("{frame:?} is no memory"));
        (span, (frame.0 - span.frames.start) as usize)
    }

    /// The words of a frame.
    pub fn words(&self, frame: Pfn) -> &[AtomicU64] {
        let (span, index) = self.place(frame);
        &span.words[index * WORDS..][..WORDS]
    }

    /// Whether the frame is poisoned.
    pub fn is_poisoned(&self, frame: Pfn) -> bool {
        let (span, index) = self.place(frame);
        span.poisoned[index].load(Relaxed)
    }

    /// Whether every word of the frame is zero.
    pub fn is_zero(&self, frame: Pfn) -> bool {
        self.words(frame).iter().all(|word| word.load(Relaxed) == 0)
    }

    /// Overwrites a frame.
    pub fn load_frame(&self, frame: Pfn, content: &[u64; WORDS]) {
        self.revive(frame);
        for (word, &value) in self.words(frame).iter().zip(content) {
            word.store(value, Relaxed);
        }
    }

    /// The content of a frame.
    pub fn save_frame(&self, frame: Pfn) -> Box<[u64; WORDS]> {
        let words = self.words(frame);
        Box::new(std::array::from_fn(|i| words[i].load(Relaxed)))
    }

    /// The first poisoned frame, if any, that no longer holds its poison.
    pub fn spoilt_poison(&self) -> Option<Pfn> {
        let mut all = self.spans.iter().flat_map(|s| s.frames.clone()).map(Pfn);
        all.find(|&frame| self.is_poisoned(frame) && self.spoilt_word(frame).is_some())
    }

    fn spoilt_word(&self, frame: Pfn) -> Option<usize> {
        self.words(frame).iter().position(|word| word.load(Relaxed) != POISON)
    }

    /// The frame is about to be given content: it is poisoned no longer.
    fn revive(&self, frame: Pfn) {
        let (span, index) = self.place(frame);
        if !span.poisoned[index].swap(false, Relaxed) || !self.check_poison {
            return;
        }
        if let Some(word) = self.spoilt_word(frame) {
            let value = self.words(frame)[word].load(Relaxed);
            panic!("{frame:?} was written after it was freed: word {word} is {value:#x}");
        }
    }
}

impl FrameMemory for Arena {
    fn zero(&self, frame: Pfn) {
        self.load_frame(frame, &[0; WORDS]);
    }

    fn copy(&self, to: Pfn, from: Pfn) {
        assert_ne!(to, from, "a frame copied onto itself");
        self.load_frame(to, &self.save_frame(from));
    }

    fn poison(&self, frame: Pfn) {
        let (span, index) = self.place(frame);
        for word in self.words(frame) {
            word.store(POISON, Relaxed);
        }
        span.poisoned[index].store(true, Relaxed);
    }

    fn read(&self, frame: Pfn, offset: usize, out: &mut [u8]) {
        assert!(offset + out.len() <= PAGE_SIZE, "a read beyond {frame:?}");
        let words = self.words(frame);
        for (at, byte) in (offset..).zip(out) {
            *byte = words[at / 8].load(Relaxed).to_le_bytes()[at % 8];
        }
    }

    fn write(&self, frame: Pfn, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= PAGE_SIZE, "a write beyond {frame:?}");
        self.revive(frame);
        let words = self.words(frame);
        for (at, &byte) in (offset..).zip(bytes) {
            let mut word = words[at / 8].load(Relaxed).to_le_bytes();
            word[at % 8] = byte;
            words[at / 8].store(u64::from_le_bytes(word), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store into a freed frame is noticed when the frame is next used.
    #[test]
    #[should_panic(expected = "was written after it was freed: word 3")]
    fn a_write_after_free_is_noticed() {
        let arena = Arena::new(&[4..6, 6..8], true);
        arena.poison(Pfn(5));
        arena.words(Pfn(5))[3].store(1, Relaxed);
        assert_eq!(arena.spoilt_poison(), Some(Pfn(5)));
        arena.zero(Pfn(5));
    }

    /// A hole between two ranges is no memory.
    #[test]
    #[should_panic(expected = "is no memory")]
    fn a_hole_cannot_be_reached() {
        Arena::new(&[0..4, 8..12], true).zero(Pfn(5));
    }
}
