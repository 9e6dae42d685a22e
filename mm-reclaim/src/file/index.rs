//! A file's index: from the number of a page to what is kept of it.
//!
//! A tree of [`Node`]s of 64 slots, as high as the highest page needs, so that a file of up to 64
//! pages has one node, of 4096 pages two levels, of 16 TiB six. What is kept of page 0 of a file
//! that has no other lies in the root's word, and takes no node at all.
//!
//! ```text
//!   root --> [ . | . | . ... ]       level 2: slot = index >> 6
//!              |       |
//!              v       v
//!          [ 64 pages ] [ 64 pages ]     level 1: slot = index & 63
//! ```
//!
//! **Marks** ([`Mark`]) reach the root: a slot of an inner node is marked while one of the slots
//! below it is. So a search for dirty pages visits no node without one, and what a search over a
//! range costs is what it finds.
//!
//! **Nodes** are taken from their pool before the lock, as [`Spare`] ones: [`Tree::insert`] takes from
//! these, and says how many it needs if they do not suffice. Nodes that become empty go back at
//! once; nodes that hold shadows alone are left to a shrinker.
//!
//! Locks: that of the index. Inside it: the list of shadow nodes, the free lists of the pool and of
//! the zones.
//!
//! Counterpart in Linux: `lib/xarray.c`, with `i_pages` and its marks.

use super::node::{EMPTY, Entry, Mark, Node, NodeHandle, Nodes, SLOT_BITS, SLOTS, ShadowNodes};
use super::node::{as_inner, inner};
use crate::env::Cpu;
use crate::page::PageRef;
use crate::page::pool::Handle;
use crate::page::pool::kind::FILE;

/// Levels that 32 bits of index need.
const MOST_LEVELS: usize = 32_usize.div_ceil(SLOT_BITS as usize);

/// A file's index, inside its lock.
#[derive(Default)]
pub(crate) struct Index {
    /// An entry, or a node.
    root: u64,
    levels: u32,
    /// The marks of an entry in `root`.
    marks: [bool; Mark::ALL.len()],
    /// Pages, shadows and swap entries.
    pub(crate) pages: u32,
    pub(crate) shadows: u32,
    pub(crate) swapped: u32,
}

/// What a search looks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Want {
    /// Anything.
    Any,
    /// Pages.
    Page,
    /// Swap entries.
    Swap,
    /// Pages with a mark.
    Marked(Mark),
}

impl Want {
    fn is_met_by(self, entry: Entry) -> bool {
        match self {
            Self::Any => true,
            Self::Page | Self::Marked(_) => matches!(entry, Entry::Page(_)),
            Self::Swap => matches!(entry, Entry::Swap(_)),
        }
    }
}

/// Nodes that are in no tree. To be returned by [`Spare::give`].
#[must_use = "nodes that are not returned are lost"]
#[derive(Default)]
pub(crate) struct Spare {
    first: Option<NodeHandle>,
    len: u32,
}

impl Spare {
    pub(crate) const NONE: Self = Self { first: None, len: 0 };

    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// One more.
    pub(crate) fn add<C: Cpu>(&mut self, nodes: &Nodes<'_, C>, node: NodeHandle) {
        nodes.at(node).set_next_spare(self.first);
        self.first = Some(node);
        self.len += 1;
    }

    fn take<C: Cpu>(&mut self, nodes: &Nodes<'_, C>) -> NodeHandle {
        let node = self.first.expect("as many nodes as are needed");
        self.first = nodes.at(node).next_spare();
        self.len -= 1;
        node
    }

    /// Returns the nodes to their pool; frames that it no longer needs go to `put`.
    pub(crate) fn give<'m, C: Cpu>(
        mut self,
        nodes: &Nodes<'m, C>,
        mut put: impl FnMut(PageRef<'m>),
    ) {
        while self.first.is_some() {
            let node = self.take(nodes);
            if let Some(surplus) = nodes.give(node) {
                put(surplus);
            }
        }
    }
}

/// So many nodes more are needed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NeedsNodes(pub(crate) u32);

/// The index of a file whose lock is held.
pub(crate) struct Tree<'a, 'm, C: Cpu> {
    pub(super) nodes: &'a Nodes<'m, C>,
    pub(super) shadows: &'a ShadowNodes<C>,
    pub(super) file: Handle<FILE>,
    pub(super) index: &'a mut Index,
    /// Takes frames that the pool of nodes no longer needs.
    pub(super) put: &'a dyn Fn(PageRef<'m>),
}

/// Pages that a tree of so many levels covers.
const fn span(levels: u32) -> u64 {
    1 << (levels * SLOT_BITS)
}

/// The levels that a tree needs for a page.
const fn levels_for(at: u32) -> u32 {
    let mut levels = 0;
    while at as u64 >= span(levels) {
        levels += 1;
    }
    levels
}

/// The slot of a page in a node of `level`, which is 1 for the lowest.
const fn slot_of(at: u32, level: u32) -> u32 {
    (at >> ((level - 1) * SLOT_BITS)) % SLOTS
}

/// The nodes from the root down to the entry of a page.
struct Path {
    nodes: [Option<NodeHandle>; MOST_LEVELS],
    len: usize,
}

impl<'m, C: Cpu> Tree<'_, 'm, C> {
    fn node(&self, node: NodeHandle) -> &'m Node {
        self.nodes.at(node)
    }

    /// What is kept of a page.
    #[inline]
    pub(crate) fn get(&self, at: u32) -> Entry {
        if u64::from(at) >= span(self.index.levels) {
            return Entry::Empty;
        }
        let (mut word, mut level) = (self.index.root, self.index.levels);
        while let Some(node) = as_inner(word) {
            word = self.node(node).slot(slot_of(at, level));
            level -= 1;
        }
        Entry::decode(word)
    }

    /// The nodes on the way to a page, as far as there are any.
    fn path(&self, at: u32) -> Path {
        let mut path = Path { nodes: [None; MOST_LEVELS], len: 0 };
        if u64::from(at) >= span(self.index.levels) {
            return path;
        }
        let mut word = self.index.root;
        while let Some(node) = as_inner(word) {
            path.nodes[path.len] = Some(node);
            path.len += 1;
            word = self.node(node).slot(slot_of(at, self.index.levels + 1 - path.len as u32));
        }
        path
    }

    /// How many nodes [`Tree::insert`] would need for a page.
    pub(crate) fn needed(&self, at: u32) -> u32 {
        let (levels, root) = (self.index.levels, self.index.root);
        if root == EMPTY {
            return levels_for(at).max(levels);
        }
        if u64::from(at) < span(levels) {
            return levels - self.path(at).len as u32;
        }
        // The root moves down until the tree is high enough, and from there a new branch leads to
        // the page.
        let wanted = levels_for(at);
        (wanted - levels) + (wanted - 1)
    }

    /// Keeps `entry`, which is not empty, of a page of which nothing or something else is kept;
    /// returns what that was.
    ///
    /// # Errors
    /// `spare` has not enough nodes; nothing was changed.
    pub(crate) fn insert(
        &mut self,
        at: u32,
        entry: Entry,
        spare: &mut Spare,
    ) -> Result<Entry, NeedsNodes> {
        let needed = self.needed(at);
        if needed > spare.len() {
            return Err(NeedsNodes(needed - spare.len()));
        }
        self.grow(levels_for(at), spare);
        let mut level = self.index.levels;
        if level == 0 {
            let old = core::mem::replace(&mut self.index.root, entry.encode());
            return Ok(self.counted(Entry::decode(old), entry));
        }
        let mut node = self.inner_or_new(self.index.root, at, level, spare);
        self.index.root = inner(node);
        while level > 1 {
            let slot = slot_of(at, level);
            let below = self.inner_or_new(self.node(node).slot(slot), at, level - 1, spare);
            self.node(node).put(slot, inner(below));
            (node, level) = (below, level - 1);
        }
        let slot = slot_of(at, 1);
        let old = self.node(node).slot(slot);
        self.node(node).put(slot, entry.encode());
        self.shadows.settle(self.nodes, node);
        Ok(self.counted(Entry::decode(old), entry))
    }

    /// The node that `word` leads to, or a new one for the pages around `at`.
    fn inner_or_new(&self, word: u64, at: u32, level: u32, spare: &mut Spare) -> NodeHandle {
        as_inner(word).unwrap_or_else(|| self.new_node(at, level, spare))
    }

    fn new_node(&self, at: u32, level: u32, spare: &mut Spare) -> NodeHandle {
        let node = spare.take(self.nodes);
        let first = u64::from(at) / span(level) * span(level);
        self.node(node).init(self.file, first as u32);
        node
    }

    /// Makes the tree at least so high.
    fn grow(&mut self, levels: u32, spare: &mut Spare) {
        if self.index.root == EMPTY {
            self.index.levels = self.index.levels.max(levels);
        }
        while self.index.levels < levels {
            let level = self.index.levels + 1;
            let top = self.new_node(0, level, spare);
            let marks = Mark::ALL.map(|mark| self.is_any_marked(mark));
            self.node(top).put(0, self.index.root);
            for (mark, on) in Mark::ALL.into_iter().zip(marks) {
                self.node(top).set_mark(0, mark, on);
            }
            if level == 1 {
                self.shadows.settle(self.nodes, top);
            }
            self.index.marks = [false; Mark::ALL.len()];
            (self.index.root, self.index.levels) = (inner(top), level);
        }
    }

    /// Counts a replaced entry, and returns it.
    fn counted(&mut self, old: Entry, new: Entry) -> Entry {
        for (entry, by) in [(old, u32::MAX), (new, 1)] {
            let count = match entry {
                Entry::Empty => continue,
                Entry::Page(_) => &mut self.index.pages,
                Entry::Shadow(_) => &mut self.index.shadows,
                Entry::Swap(_) => &mut self.index.swapped,
            };
            *count = count.wrapping_add(by);
        }
        old
    }

    /// Keeps something else, or nothing, of a page of which something is kept; returns what that
    /// was.
    ///
    /// # Panics
    /// If nothing was kept of it.
    pub(crate) fn replace(&mut self, at: u32, entry: Entry) -> Entry {
        let path = self.path(at);
        let old = match path.last() {
            None => core::mem::replace(&mut self.index.root, entry.encode()),
            Some(node) => {
                let (node, slot) = (self.node(node), slot_of(at, 1));
                let old = node.slot(slot);
                node.put(slot, entry.encode());
                old
            }
        };
        assert!(old != EMPTY, "nothing is kept of page {at}");
        if let Some(node) = path.last() {
            self.shadows.settle(self.nodes, node);
        }
        if !matches!(entry, Entry::Page(_)) {
            Mark::ALL.into_iter().for_each(|mark| self.clear_mark(at, mark, &path));
        }
        if entry == Entry::Empty {
            self.prune(at, &path);
        }
        self.counted(Entry::decode(old), entry)
    }

    /// Returns nodes that became empty, the lowest first, and makes the tree as low as it can be.
    fn prune(&mut self, at: u32, path: &Path) {
        for depth in (0..path.len).rev() {
            let Some(node) = path.nodes[depth] else { break };
            if self.node(node).used() > 0 {
                break;
            }
            self.give(node);
            match depth.checked_sub(1).and_then(|above| path.nodes[above]) {
                Some(above) => {
                    self.node(above).put(slot_of(at, self.index.levels - depth as u32 + 1), EMPTY);
                }
                None => self.index.root = EMPTY,
            }
        }
        if self.index.root == EMPTY {
            self.index.levels = 0;
        }
        while let Some(top) = as_inner(self.index.root) {
            let node = self.node(top);
            if node.used() != 1 || node.slot(0) == EMPTY {
                break;
            }
            self.index.marks =
                Mark::ALL.map(|mark| self.index.levels == 1 && node.marked(mark) != 0);
            self.index.root = node.slot(0);
            self.index.levels -= 1;
            node.put(0, EMPTY);
            Mark::ALL.into_iter().for_each(|mark| node.set_mark(0, mark, false));
            self.give(top);
        }
    }

    fn give(&mut self, node: NodeHandle) {
        self.shadows.settle(self.nodes, node);
        if let Some(surplus) = self.nodes.give(node) {
            (self.put)(surplus);
        }
    }

    // ---- marks ----

    /// Whether a page of the file carries a mark.
    pub(crate) fn is_any_marked(&self, mark: Mark) -> bool {
        match as_inner(self.index.root) {
            Some(node) => self.node(node).marked(mark) != 0,
            None => self.index.marks[mark as usize],
        }
    }

    /// Whether a page carries a mark.
    pub(crate) fn is_marked(&self, at: u32, mark: Mark) -> bool {
        let path = self.path(at);
        match path.last() {
            Some(node) => self.node(node).marked(mark) & 1 << slot_of(at, 1) != 0,
            None => at == 0 && self.index.marks[mark as usize],
        }
    }

    /// Sets or clears the mark of a page that is in the tree.
    pub(crate) fn set_mark(&mut self, at: u32, mark: Mark, on: bool) {
        let path = self.path(at);
        if !on {
            return self.clear_mark(at, mark, &path);
        }
        if path.len == 0 {
            self.index.marks[mark as usize] = true;
        }
        for (depth, node) in path.nodes[..path.len].iter().flatten().enumerate() {
            self.node(*node).set_mark(slot_of(at, self.index.levels - depth as u32), mark, true);
        }
    }

    fn clear_mark(&mut self, at: u32, mark: Mark, path: &Path) {
        if path.len == 0 {
            self.index.marks[mark as usize] = false;
        }
        for depth in (0..path.len).rev() {
            let Some(node) = path.nodes[depth].map(|node| self.node(node)) else { return };
            node.set_mark(slot_of(at, self.index.levels - depth as u32), mark, false);
            if node.marked(mark) != 0 {
                return;
            }
        }
    }
}

impl Path {
    fn last(&self) -> Option<NodeHandle> {
        self.nodes[..self.len].last().copied().flatten()
    }

    /// The node of the lowest of `levels`, if the path gets there.
    fn lowest(&self, levels: u32) -> Option<NodeHandle> {
        if self.len as u32 == levels { self.last() } else { None }
    }
}

mod search;
#[cfg(test)]
mod tests;
