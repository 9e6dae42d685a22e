//! Partly free pageblocks, the fullest first: where single pages come from.
//!
//! Data: for each pageblock which of its frames head a free block smaller than itself, how
//! many frames those blocks have together (its *loose* pages), and links. A pageblock with
//! loose pages is on one of [`CLASSES`] lists of its migrate type, by how many it has; a
//! mask for each type says which lists have members. All of it is guarded by the zone's lock.
//!
//! Why: single pages that come from the fullest pageblock leave the emptier ones alone, and
//! those become whole as their last pages are freed. If they came from whatever block was freed
//! last, every pageblock would keep a few pages forever.
//!
//! ```text
//!   loose pages    1..=32   33..=64   ...   481..=511
//!   class             0        1               15
//!                 fullest: taken from        emptiest: left to become whole
//! ```

use super::MigrateType;
use crate::base::sync::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use crate::base::units::{Order, Pfn};

/// Lists of pageblocks for each migrate type.
pub(super) const CLASSES: usize = 16;
/// Frames of a pageblock.
const FRAMES: u32 = Order::PAGEBLOCK.pages();
const WORDS: usize = FRAMES as usize / 64;
/// The list of a pageblock without loose pages, or of a wholly free one: it is on none.
const NOWHERE: u8 = u8::MAX;

/// The state of one pageblock.
pub(crate) struct Pageblock {
    /// Frames that head a free block smaller than the pageblock.
    heads: [AtomicU64; WORDS],
    /// Neighbours on the list, as position + 1; 0 at an end.
    next: AtomicU32,
    prev: AtomicU32,
    /// Frames of all those blocks.
    loose: AtomicU16,
    /// The list that the pageblock is on: type × [`CLASSES`] + class.
    list: AtomicU8,
}

impl Pageblock {
    /// A pageblock without free pages.
    pub(crate) const fn new() -> Self {
        Self {
            heads: [const { AtomicU64::new(0) }; WORDS],
            next: AtomicU32::new(0),
            prev: AtomicU32::new(0),
            loose: AtomicU16::new(0),
            list: AtomicU8::new(NOWHERE),
        }
    }

    #[inline(always)]
    fn word(&self, pfn: Pfn) -> (&AtomicU64, u64) {
        let frame = pfn.0 % FRAMES;
        (&self.heads[(frame / 64) as usize], 1 << (frame % 64))
    }

    /// Notes that `pfn` heads a free block.
    #[inline(always)]
    pub(super) fn set_head(&self, pfn: Pfn) {
        let (word, bit) = self.word(pfn);
        word.store(word.load(Relaxed) | bit, Relaxed);
    }

    /// Notes that `pfn` no longer heads a free block.
    #[inline(always)]
    pub(super) fn clear_head(&self, pfn: Pfn) {
        let (word, bit) = self.word(pfn);
        word.store(word.load(Relaxed) & !bit, Relaxed);
    }

    /// The position within the pageblock of the first frame that heads a free block.
    fn first_head(&self) -> Option<u32> {
        for (at, word) in self.heads.iter().enumerate() {
            let word = word.load(Relaxed);
            if word != 0 {
                return Some(at as u32 * 64 + word.trailing_zeros());
            }
        }
        None
    }

    /// Free frames in blocks smaller than the pageblock.
    #[inline(always)]
    pub(super) fn loose(&self) -> u32 {
        self.loose.load(Relaxed).into()
    }
}

/// The class of a pageblock with `loose` loose pages, at least one.
#[inline(always)]
pub(super) fn class_of(loose: u32) -> usize {
    (loose as usize - 1) / (FRAMES as usize / CLASSES)
}

/// The lists of a zone's partly free pageblocks.
pub(super) struct Partial<'m> {
    blocks: &'m [Pageblock],
    /// First members, as position + 1.
    first: [[u32; CLASSES]; MigrateType::COUNT],
    /// Bit `c` of a type's mask is set while its list of class `c` has members.
    nonempty: [u16; MigrateType::COUNT],
}

impl<'m> Partial<'m> {
    pub(super) fn new(blocks: &'m [Pageblock]) -> Self {
        let first = [[0; CLASSES]; MigrateType::COUNT];
        Self { blocks, first, nonempty: [0; MigrateType::COUNT] }
    }

    /// The pageblock at a position.
    #[inline(always)]
    pub(super) fn at(&self, at: usize) -> &'m Pageblock {
        &self.blocks[at]
    }

    /// The fullest pageblock of a type that has loose pages: its position, its class, and
    /// the first of its frames that heads a free block, counted within it.
    #[inline]
    pub(super) fn fullest(&self, kind: MigrateType) -> Option<(usize, usize, u32)> {
        let class = self.nonempty[kind as usize].trailing_zeros() as usize;
        let at = self.first[kind as usize].get(class)?.checked_sub(1)? as usize;
        Some((at, class, self.blocks[at].first_head()?))
    }

    /// The number of loose pages of `block`, at `at` and of type `kind`, has changed.
    #[inline]
    pub(super) fn set_loose(
        &mut self,
        at: usize,
        block: &Pageblock,
        loose: u32,
        kind: MigrateType,
    ) {
        block.loose.store(loose as u16, Relaxed);
        let list = match loose {
            0 => NOWHERE,
            _ => (kind as usize * CLASSES + class_of(loose)) as u8,
        };
        if block.list.load(Relaxed) != list {
            self.relist(at, block, list);
        }
    }

    /// Moves a pageblock to the head of another list, or off all of them.
    fn relist(&mut self, at: usize, block: &Pageblock, to: u8) {
        let from = block.list.load(Relaxed);
        block.list.store(to, Relaxed);
        if from != NOWHERE {
            self.unlink(block, from as usize);
        }
        if to == NOWHERE {
            return;
        }
        let (kind, class) = (to as usize / CLASSES, to as usize % CLASSES);
        let second = core::mem::replace(&mut self.first[kind][class], at as u32 + 1);
        block.prev.store(0, Relaxed);
        block.next.store(second, Relaxed);
        if let Some(second) = self.neighbour(second) {
            second.prev.store(at as u32 + 1, Relaxed);
        }
        self.nonempty[kind] |= 1 << class;
    }

    fn unlink(&mut self, block: &Pageblock, list: usize) {
        let (prev, next) = (block.prev.load(Relaxed), block.next.load(Relaxed));
        if let Some(next) = self.neighbour(next) {
            next.prev.store(prev, Relaxed);
        }
        if let Some(prev) = self.neighbour(prev) {
            prev.next.store(next, Relaxed);
            return;
        }
        let (kind, class) = (list / CLASSES, list % CLASSES);
        self.first[kind][class] = next;
        if next == 0 {
            self.nonempty[kind] &= !(1 << class);
        }
    }

    fn neighbour(&self, link: u32) -> Option<&'m Pageblock> {
        Some(&self.blocks[link.checked_sub(1)? as usize])
    }
}

#[cfg(test)]
mod tests;
