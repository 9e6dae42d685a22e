//! Searches in a file's index, and the removal of the nodes that hold shadows alone.

use super::{Tree, Want, slot_of, span};
use crate::env::Cpu;
use crate::file::node::{EMPTY, Entry, NodeHandle, SLOT_BITS, SLOTS, as_inner};

impl<C: Cpu> Tree<'_, '_, C> {
    /// The first entry from page `from` to the one before `end` that is wanted.
    pub(crate) fn next(&self, from: u32, end: u64, want: Want) -> Option<(u32, Entry)> {
        let end = end.min(span(self.index.levels));
        let mut at = u64::from(from);
        while at < end {
            let (found, entry) = match self.look_from(at as u32, want) {
                Ok(found) => found,
                Err(next) => {
                    at = next;
                    continue;
                }
            };
            if u64::from(found) >= end {
                return None;
            }
            if want.is_met_by(entry) {
                return Some((found, entry));
            }
            at = u64::from(found) + 1;
        }
        None
    }

    /// The first entry from `at` on of the node on its way that has nothing before it, or the page
    /// to continue from.
    fn look_from(&self, mut at: u32, want: Want) -> Result<(u32, Entry), u64> {
        let (mut word, mut level) = (self.index.root, self.index.levels);
        while let Some(node) = as_inner(word) {
            let (first, below) = (slot_of(at, level), span(level - 1));
            let Some(slot) = self.next_slot(node, first, want) else {
                return Err((u64::from(at) / span(level) + 1) * span(level));
            };
            if slot > first {
                let base = u64::from(at) / span(level) * span(level);
                at = (base + u64::from(slot) * below) as u32;
            }
            word = self.node(node).slot(slot);
            level -= 1;
        }
        match (word, want) {
            (EMPTY, _) => Err(u64::from(at) + 1),
            // The root's own marks; those of a slot were looked at.
            (_, Want::Marked(mark))
                if self.index.levels == 0 && !self.index.marks[mark as usize] =>
            {
                Err(1)
            }
            _ => Ok((at, Entry::decode(word))),
        }
    }

    /// The first slot from `first` on that may lead to what is wanted.
    fn next_slot(&self, node: NodeHandle, first: u32, want: Want) -> Option<u32> {
        let node = self.node(node);
        if let Want::Marked(mark) = want {
            let left = node.marked(mark) & u64::MAX << first;
            return (left != 0).then(|| left.trailing_zeros());
        }
        (first..SLOTS).find(|slot| {
            let word = node.slot(*slot);
            word != EMPTY && (as_inner(word).is_some() || want.is_met_by(Entry::decode(word)))
        })
    }

    /// How many nodes lie on the way to `at` that do not lie on the way to `before`, the entry before
    /// it: what a walk over all entries finds of the tree.
    pub(crate) fn nodes_entered(&self, before: Option<u32>, at: u32) -> u32 {
        let prefix = |at: u32, level: u32| u64::from(at) >> (level * SLOT_BITS);
        let is_new = |level: &u32| before.is_none_or(|b| prefix(b, *level) != prefix(at, *level));
        (1..=self.index.levels).filter(is_new).count() as u32
    }

    /// How many pages just before `at` are cached, at most `most`.
    pub(crate) fn cached_before(&self, at: u32, most: u32) -> u32 {
        let is_cached = |n: &u32| matches!(self.get(at - *n), Entry::Page(_));
        (1..=most.min(at)).take_while(is_cached).count() as u32
    }

    /// How many pages from `at` on are cached, at most `most`.
    pub(crate) fn cached_from(&self, at: u32, most: u32) -> u32 {
        let is_cached = |n: &u32| {
            let index = at.checked_add(*n);
            index.is_some_and(|index| matches!(self.get(index), Entry::Page(_)))
        };
        (0..most).take_while(is_cached).count() as u32
    }

    /// Removes the shadows of the lowest node that covers page `first`, if it holds nothing else;
    /// returns how many that were.
    pub(crate) fn drop_shadow_node(&mut self, first: u32) -> u32 {
        let Some(node) = self.path(first).lowest(self.index.levels) else { return 0 };
        if !self.node(node).is_all_shadows() {
            return 0;
        }
        let (base, mut dropped) = (first / SLOTS * SLOTS, 0);
        let end = u64::from(base) + u64::from(SLOTS);
        while let Some((at, _)) = self.next(base, end, Want::Any) {
            self.replace(at, Entry::Empty);
            dropped += 1;
        }
        dropped
    }
}
