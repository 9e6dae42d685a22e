//! Shadows of evicted pages need nodes, which need memory: how many of them may stay (LRU-09).
//!
//! A node that holds nothing but shadows serves refault detection alone. One for each eight pages of
//! memory is enough to remember as many evicted pages as there are pages, at one shadow in eight
//! slots; above that the oldest are dropped by a shrinker.
//!
//! Counterpart in Linux: `count_shadow_nodes`, `scan_shadow_nodes`.

use super::Files;
use crate::base::units::FileId;
use crate::env::Env;

/// Pages for each node that may hold shadows alone.
const PAGES_A_NODE: u32 = 8;

/// Nodes too many, where there are `nodes` of them in a memory of so many pages.
pub(crate) const fn surplus_nodes(nodes: u32, pages: u32) -> u32 {
    nodes.saturating_sub(pages / PAGES_A_NODE)
}

impl<E: Env> Files<'_, E> {
    /// Nodes that hold shadows alone.
    pub(crate) fn shadow_nodes(&self) -> u32 {
        self.shadow_nodes.len()
    }

    /// Frees the nodes that have held nothing but shadows longest, at most `nodes`; returns how many
    /// shadows that were.
    pub(crate) fn drop_shadow_nodes(&self, nodes: u32) -> u32 {
        let mut dropped = 0;
        for _ in 0..nodes {
            let Some((handle, first)) = self.shadow_nodes.oldest(&self.nodes) else { break };
            dropped += self.drop_shadow_node(handle, first);
        }
        dropped
    }

    /// The node may be gone by now, or its file: its place is then another file's at worst, of which
    /// a node of shadows is no loss either.
    fn drop_shadow_node(&self, handle: super::FileHandle, first: u32) -> u32 {
        let frame = match self.pool.hold(handle) {
            Ok(frame) => frame,
            Err(other) => {
                if let Some(other) = other {
                    self.cache.lru.put(other);
                }
                return 0;
            }
        };
        let file = self.pool.at_held(handle);
        let id = FileId(handle.raw());
        let dropped = self.with_tree(file, id, |tree| tree.drop_shadow_node(first));
        self.cache.lru.put(frame);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LRU-09: one node for each eight pages of memory.
    #[test]
    fn nodes_beyond_an_eighth_of_memory_are_too_many() {
        for (nodes, pages, want) in [(0, 0, 0), (100, 800, 0), (101, 800, 1), (7, 0, 7)] {
            assert_eq!(surplus_nodes(nodes, pages), want, "{nodes} nodes, {pages} pages");
        }
    }
}
