//! The frames: words in memory, reached by frame number.
//!
//! **Data.** One block of words from the first frame to the last, holes included, and for each
//! frame whether it is poisoned. Programs' pages are atomic and relaxed: only the running task
//! touches them, and the atomics avoid `unsafe` for it. The crate keeps objects of its own in
//! frames that it has allocated; no other code accesses those.
//!
//! **Freed memory.** [`FrameMemory::poison`] fills a frame with [`POISON`]. Only the
//! environment's own calls (zero, copy, write, a disk's read) make a frame valid again, and each
//! first checks that the poison is still there: if not, there was a write through a stale
//! translation or a stale frame number after the frame was freed. Stores of user programs go to the
//! words as a CPU's would, poison or not.

#![allow(unsafe_code, reason = "the crate's objects lie in this memory")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::Range;
use std::ptr::NonNull;
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
    present: Vec<Range<u32>>,
    /// From the first frame to the last.
    span: Range<u32>,
    base: NonNull<u8>,
    poisoned: Box<[AtomicBool]>,
    check_poison: bool,
}

// SAFETY: the memory behind `base` is the arena's own, and is accessed by atomics or by those
// who own the frames.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// Memory in these ranges of frames, zeroed.
    ///
    /// # Panics
    /// If there are none, or they leave the address space.
    pub fn new(ranges: &[Range<u32>], check_poison: bool) -> Self {
        let first = ranges.iter().map(|r| r.start).min().expect("some memory");
        let span = first..ranges.iter().map(|r| r.end).max().expect("some memory");
        let layout = Self::layout(&span);
        // SAFETY: there is a frame at least.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) });
        Self {
            present: ranges.to_vec(),
            base: base.unwrap_or_else(|| handle_alloc_error(layout)),
            poisoned: span.clone().map(|_| AtomicBool::new(false)).collect(),
            span,
            check_poison,
        }
    }

    fn layout(span: &Range<u32>) -> Layout {
        Layout::from_size_align(span.len() * PAGE_SIZE, PAGE_SIZE).expect("a size that fits")
    }

    /// The position of a frame that exists.
    fn place(&self, frame: Pfn) -> usize {
        let exists = self.present.iter().any(|range| range.contains(&frame.0));
        assert!(exists, "{frame:?} is no memory");
        (frame.0 - self.span.start) as usize
    }

    /// The words of a frame.
    pub fn words(&self, frame: Pfn) -> &[AtomicU64] {
        let offset = self.place(frame) * PAGE_SIZE;
        // SAFETY: the frame lies in the block, which lives as long as the arena.
        let first = unsafe { self.base.add(offset) }.cast::<AtomicU64>();
        // SAFETY: a frame of initialised, aligned words, which are only accessed as atomics
        // while the frame is not the crate's own.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), WORDS) }
    }

    /// Whether the frame is poisoned.
    pub fn is_poisoned(&self, frame: Pfn) -> bool {
        self.poisoned[self.place(frame)].load(Relaxed)
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
        let mut all = self.present.iter().flat_map(Range::clone).map(Pfn);
        all.find(|&frame| self.is_poisoned(frame) && self.spoilt_word(frame).is_some())
    }

    fn spoilt_word(&self, frame: Pfn) -> Option<usize> {
        self.words(frame).iter().position(|word| word.load(Relaxed) != POISON)
    }

    /// The frame is about to be given content: it is poisoned no longer.
    fn revive(&self, frame: Pfn) {
        if !self.poisoned[self.place(frame)].swap(false, Relaxed) || !self.check_poison {
            return;
        }
        if let Some(word) = self.spoilt_word(frame) {
            let value = self.words(frame)[word].load(Relaxed);
            panic!("{frame:?} was written after it was freed: word {word} is {value:#x}");
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.base.as_ptr(), Self::layout(&self.span)) };
    }
}

// SAFETY: the frames lie one after the other in one aligned block, which lives as long as the
// arena; the crate's own frames are touched only when it asks.
unsafe impl FrameMemory for Arena {
    fn linear_map(&self, first: Pfn) -> NonNull<u8> {
        assert_eq!(first.0, self.span.start, "the memory map begins where memory does");
        self.base
    }

    fn zero(&self, frame: Pfn) {
        self.load_frame(frame, &[0; WORDS]);
    }

    fn copy(&self, to: Pfn, from: Pfn) {
        assert_ne!(to, from, "a frame copied onto itself");
        self.load_frame(to, &self.save_frame(from));
    }

    fn poison(&self, frame: Pfn) {
        for word in self.words(frame) {
            word.store(POISON, Relaxed);
        }
        self.poisoned[self.place(frame)].store(true, Relaxed);
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
