//! The nodes of a file's index, and the list of those that hold shadows alone.
//!
//! Data: a [`Node`] has 64 slots, each of them a word that [`Entry`] decodes, and for each mark a bit
//! a slot. It lies in a pool, which takes its frames from the page allocator, seven nodes a frame.
//!
//! Owner: the tree of one file ([`super::index`]), whose lock guards all but the two links. A node of
//! the lowest level whose entries are all shadows is on the list of [`ShadowNodes`], by the order in
//! which it came to that; the list's lock guards the links, and nests inside that of the tree.
//!
//! A node goes back to its pool with its last entry.

use crate::base::lock_order::FILE_LIST;
use crate::base::sync::{AtomicU8, AtomicU32, AtomicU64, Lock, Ordering};
use crate::base::units::Pfn;
use crate::env::Cpu;
use crate::page::pool::kind::{FILE, NODE};
use crate::page::pool::{Handle, HandleCell, Pool};
use crate::swap::entry::SwapEntry;

/// The name of a node.
pub(crate) type NodeHandle = Handle<NODE>;

/// Every node of a machine.
pub(crate) type Nodes<'m, C> = Pool<'m, C, Node, NODE>;

/// The binary logarithm of [`SLOTS`].
pub(super) const SLOT_BITS: u32 = 6;
/// Slots of a node.
pub(super) const SLOTS: u32 = 1 << SLOT_BITS;

/// What a file keeps of one of its pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// Nothing.
    Empty,
    /// It is cached.
    Page(Pfn),
    /// It was evicted. Its word has room for the group that it was charged to.
    Shadow(u32),
    /// It is in swap (shared memory).
    Swap(SwapEntry),
}

/// In the low bits of an entry's word: what it is. A node is one only inside the tree.
const KIND_BITS: u32 = 3;
const PAGE: u64 = 1;
const SHADOW: u64 = 2;
const SWAP: u64 = 3;
const INNER: u64 = 4;

/// The word of a slot that is not used.
pub(super) const EMPTY: u64 = 0;

impl Entry {
    #[inline(always)]
    pub(super) const fn encode(self) -> u64 {
        match self {
            Self::Empty => EMPTY,
            Self::Page(pfn) => (pfn.0 as u64) << KIND_BITS | PAGE,
            Self::Shadow(shadow) => (shadow as u64) << KIND_BITS | SHADOW,
            Self::Swap(entry) => (entry.raw() as u64) << KIND_BITS | SWAP,
        }
    }

    #[inline(always)]
    pub(super) const fn decode(word: u64) -> Self {
        let value = (word >> KIND_BITS) as u32;
        match word & ((1 << KIND_BITS) - 1) {
            PAGE => Self::Page(Pfn(value)),
            SHADOW => Self::Shadow(value),
            SWAP => Self::Swap(SwapEntry::from_raw(value)),
            _ => Self::Empty,
        }
    }
}

/// The word of a slot that leads to a node.
pub(super) const fn inner(node: NodeHandle) -> u64 {
    (node.raw() as u64) << KIND_BITS | INNER
}

/// The node that a word leads to, if it does.
#[inline(always)]
pub(super) const fn as_inner(word: u64) -> Option<NodeHandle> {
    if word & ((1 << KIND_BITS) - 1) == INNER {
        Handle::new((word >> KIND_BITS) as u32)
    } else {
        None
    }
}

/// What is marked up to the root, so that it is found without a look at the other pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Mark {
    /// The page is dirty.
    Dirty,
    /// The page is being written.
    Writeback,
}

impl Mark {
    pub(crate) const ALL: [Self; 2] = [Self::Dirty, Self::Writeback];
}

/// A node of a file's index.
pub(crate) struct Node {
    slots: [AtomicU64; SLOTS as usize],
    marks: [AtomicU64; Mark::ALL.len()],
    /// The file, and the first page that the node covers: how the shrinker finds its way back.
    file: HandleCell<FILE>,
    first: AtomicU32,
    /// Slots in use, and those of them that hold shadows.
    used: AtomicU8,
    shadows: AtomicU8,
    /// It is on the list of nodes with shadows alone. Changes with both locks held, so that either is
    /// enough to read it.
    listed: AtomicU8,
    /// Neighbours on that list, or the next of a list of spare nodes.
    next: HandleCell<NODE>,
    prev: HandleCell<NODE>,
}

#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Node>() <= 572, "seven nodes and their links fill a frame");

fn bump(count: &AtomicU8, by: i8) {
    count.store(count.load(Ordering::Relaxed).wrapping_add_signed(by), Ordering::Relaxed);
}

impl Node {
    pub(crate) fn blank() -> Self {
        Self {
            slots: [const { AtomicU64::new(EMPTY) }; SLOTS as usize],
            marks: [const { AtomicU64::new(0) }; Mark::ALL.len()],
            file: HandleCell::none(),
            first: AtomicU32::new(0),
            used: AtomicU8::new(0),
            shadows: AtomicU8::new(0),
            listed: AtomicU8::new(0),
            next: HandleCell::none(),
            prev: HandleCell::none(),
        }
    }

    /// A node that came back to the pool is empty; it gets another place.
    pub(super) fn init(&self, file: Handle<FILE>, first: u32) {
        debug_assert!(self.used() == 0 && self.listed.load(Ordering::Relaxed) == 0);
        self.file.put(Some(file));
        self.first.store(first, Ordering::Relaxed);
        self.next.put(None);
    }

    #[inline(always)]
    pub(super) fn slot(&self, at: u32) -> u64 {
        self.slots[(at % SLOTS) as usize].load(Ordering::Relaxed)
    }

    /// Replaces the word of a slot, and keeps the counts.
    #[inline]
    pub(super) fn put(&self, at: u32, word: u64) {
        let is_shadow = |word| matches!(Entry::decode(word), Entry::Shadow(_));
        let slot = &self.slots[(at % SLOTS) as usize];
        let old = slot.load(Ordering::Relaxed);
        slot.store(word, Ordering::Relaxed);
        bump(&self.used, i8::from(word != EMPTY) - i8::from(old != EMPTY));
        bump(&self.shadows, i8::from(is_shadow(word)) - i8::from(is_shadow(old)));
    }

    /// Slots in use.
    #[inline(always)]
    pub(super) fn used(&self) -> u32 {
        u32::from(self.used.load(Ordering::Relaxed))
    }

    /// Whether the node holds shadows and nothing else.
    #[inline(always)]
    pub(super) fn is_all_shadows(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        used > 0 && used == self.shadows.load(Ordering::Relaxed)
    }

    /// The slots that carry a mark, a bit each.
    #[inline(always)]
    pub(super) fn marked(&self, mark: Mark) -> u64 {
        self.marks[mark as usize].load(Ordering::Relaxed)
    }

    /// Sets or clears the mark of a slot.
    #[inline]
    pub(super) fn set_mark(&self, at: u32, mark: Mark, on: bool) {
        let (bit, word) = (1 << (at % SLOTS), self.marked(mark));
        let new = if on { word | bit } else { word & !bit };
        self.marks[mark as usize].store(new, Ordering::Relaxed);
    }

    pub(super) fn set_next_spare(&self, next: Option<NodeHandle>) {
        self.next.put(next);
    }

    pub(super) fn next_spare(&self) -> Option<NodeHandle> {
        self.next.get()
    }
}

/// The ends of the list, and its length.
struct Ends {
    first: HandleCell<NODE>,
    last: HandleCell<NODE>,
    len: u32,
}

/// The nodes that hold shadows alone, the oldest first.
pub(crate) struct ShadowNodes<C: Cpu> {
    list: Lock<C, Ends, FILE_LIST>,
    /// The length, for readers without the lock.
    len: AtomicU32,
}

impl<C: Cpu> ShadowNodes<C> {
    pub(crate) const fn new() -> Self {
        let ends = Ends { first: HandleCell::none(), last: HandleCell::none(), len: 0 };
        Self { list: Lock::new(ends), len: AtomicU32::new(0) }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Ordering::Relaxed)
    }

    /// A node has changed: it belongs on the list or not. For the holder of its tree's lock.
    #[inline]
    pub(super) fn settle(&self, nodes: &Nodes<'_, C>, node: NodeHandle) {
        let found = nodes.at(node);
        let (is, was) = (found.is_all_shadows(), found.listed.load(Ordering::Relaxed) != 0);
        if is != was {
            let mut ends = self.list.lock();
            found.listed.store(u8::from(is), Ordering::Relaxed);
            if is {
                ends.append(nodes, node);
            } else {
                ends.remove(nodes, node);
            }
            self.len.store(ends.len, Ordering::Relaxed);
        }
    }

    /// The file and the first page of the node that has been here longest; that goes to the end of
    /// the list, so that the next call finds another one.
    pub(super) fn oldest(&self, nodes: &Nodes<'_, C>) -> Option<(Handle<FILE>, u32)> {
        let mut ends = self.list.lock();
        let node = ends.first.get()?;
        ends.remove(nodes, node);
        ends.append(nodes, node);
        let found = nodes.at(node);
        Some((found.file.get()?, found.first.load(Ordering::Relaxed)))
    }
}

impl Ends {
    fn append<C: Cpu>(&mut self, nodes: &Nodes<'_, C>, node: NodeHandle) {
        let (found, last) = (nodes.at(node), self.last.get());
        found.next.put(None);
        found.prev.put(last);
        match last {
            Some(last) => nodes.at(last).next.put(Some(node)),
            None => self.first.put(Some(node)),
        }
        self.last.put(Some(node));
        self.len += 1;
    }

    fn remove<C: Cpu>(&mut self, nodes: &Nodes<'_, C>, node: NodeHandle) {
        let found = nodes.at(node);
        let (next, prev) = (found.next.get(), found.prev.get());
        match prev {
            Some(prev) => nodes.at(prev).next.put(next),
            None => self.first.put(next),
        }
        match next {
            Some(next) => nodes.at(next).prev.put(prev),
            None => self.last.put(prev),
        }
        self.len -= 1;
    }
}
