//! A file's index against a plain map, with its marks, its nodes and its counts.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::{Entry, Index, Mark, NodeHandle, Nodes, ShadowNodes, Spare, Tree, Want};
use crate::base::units::Pfn;
use crate::file::node::Node;
use crate::page::PageRef;
use crate::page::pool::Handle;
use crate::page::pool::tests::{Grounds, grow};
use crate::tests::{TestCpu, cases};

/// An index, and what it should hold.
struct Driver<'m> {
    grounds: &'m Grounds,
    nodes: Nodes<'m, TestCpu>,
    shadows: ShadowNodes<TestCpu>,
    index: Index,
    model: BTreeMap<u32, (Entry, [bool; 2])>,
}

impl<'m> Driver<'m> {
    fn new(grounds: &'m Grounds) -> Self {
        Self {
            grounds,
            nodes: grounds.pool(),
            shadows: ShadowNodes::new(),
            index: Index::default(),
            model: BTreeMap::new(),
        }
    }

    fn with<R>(&mut self, act: impl FnOnce(&mut Tree<'_, 'm, TestCpu>) -> R) -> R {
        let grounds = self.grounds;
        let put = |surplus: PageRef<'m>| grounds.take_back(Some(surplus));
        act(&mut Tree {
            nodes: &self.nodes,
            shadows: &self.shadows,
            file: Handle::new(1).expect("a handle"),
            index: &mut self.index,
            put: &put,
        })
    }

    fn node(&self) -> NodeHandle {
        self.nodes.handle_of(grow(self.grounds, &self.nodes, Node::blank))
    }

    fn insert(&mut self, at: u32, entry: Entry) {
        let needed = self.with(|tree| tree.needed(at));
        let mut spare = Spare::NONE;
        for _ in 0..needed.saturating_sub(1) {
            let node = self.node();
            spare.add(&self.nodes, node);
        }
        if needed > 0 {
            let short = self.with(|tree| tree.insert(at, entry, &mut spare));
            assert_eq!(short.map_err(|n| n.0), Err(1), "page {at} needs {needed} nodes");
            let node = self.node();
            spare.add(&self.nodes, node);
        }
        let old = self.with(|tree| tree.insert(at, entry, &mut spare)).expect("enough nodes");
        assert_eq!(spare.len(), 0, "page {at} was said to need {needed} nodes");
        let marks = self.model.get(&at).map_or([false; 2], |(_, marks)| *marks);
        let was = self.model.insert(at, (entry, marks));
        assert_eq!(old, was.map_or(Entry::Empty, |(entry, _)| entry));
    }

    fn replace(&mut self, at: u32, entry: Entry) {
        let old = self.with(|tree| tree.replace(at, entry));
        let (was, marks) = self.model.remove(&at).expect("an entry");
        assert_eq!(old, was);
        if entry != Entry::Empty {
            let keeps = matches!(entry, Entry::Page(_));
            self.model.insert(at, (entry, if keeps { marks } else { [false; 2] }));
        }
    }

    fn mark(&mut self, at: u32, mark: Mark, on: bool) {
        self.with(|tree| tree.set_mark(at, mark, on));
        self.model.get_mut(&at).expect("an entry").1[mark as usize] = on;
    }

    /// Everything that can be asked.
    fn check(&mut self) {
        let model = self.model.clone();
        let wanted = |want: Want| -> Vec<u32> {
            let is_wanted = |(entry, marks): &(Entry, [bool; 2])| match want {
                Want::Any => true,
                Want::Page => matches!(entry, Entry::Page(_)),
                Want::Swap => matches!(entry, Entry::Swap(_)),
                Want::Marked(mark) => marks[mark as usize],
            };
            model.iter().filter(|(_, kept)| is_wanted(kept)).map(|(at, _)| *at).collect()
        };
        let all = [
            Want::Any,
            Want::Page,
            Want::Swap,
            Want::Marked(Mark::Dirty),
            Want::Marked(Mark::Writeback),
        ];
        for want in all {
            let (mut found, mut from) = (Vec::new(), 0);
            while let Some((at, entry)) = self.with(|tree| tree.next(from, 1 << 32, want)) {
                assert_eq!(entry, model[&at].0);
                found.push(at);
                let Some(next) = at.checked_add(1) else { break };
                from = next;
            }
            assert_eq!(found, wanted(want), "{want:?}");
        }
        let mut nodes = 0;
        let mut before = None;
        for (at, (entry, marks)) in &model {
            assert_eq!(self.with(|tree| tree.get(*at)), *entry);
            assert_eq!(Mark::ALL.map(|mark| self.with(|tree| tree.is_marked(*at, mark))), *marks);
            nodes += self.with(|tree| tree.nodes_entered(before, *at));
            before = Some(*at);
        }
        assert_eq!(self.nodes.usage().0, nodes, "nodes that are in no tree, or empty");
        let count = |want| wanted(want).len() as u32;
        assert_eq!((self.index.pages, self.index.swapped), (count(Want::Page), count(Want::Swap)));
        for mark in Mark::ALL {
            let any = self.with(|tree| tree.is_any_marked(mark));
            assert_eq!(any, count(Want::Marked(mark)) > 0);
        }
        self.check_shadow_nodes(&model);
    }

    /// The nodes that hold shadows alone are listed.
    fn check_shadow_nodes(&self, model: &BTreeMap<u32, (Entry, [bool; 2])>) {
        let mut lowest: BTreeMap<u32, bool> = BTreeMap::new();
        for (at, (entry, _)) in model {
            *lowest.entry(at / 64).or_insert(true) &= matches!(entry, Entry::Shadow(_));
        }
        // A file that keeps something of its first page alone has no node.
        let has_node = model.len() > 1 || model.keys().next().is_some_and(|at| *at > 0);
        let alone = lowest.values().filter(|shadows| **shadows).count();
        assert_eq!(self.shadows.len() as usize, if has_node { alone } else { 0 });
    }
}

fn page(n: u32) -> Entry {
    Entry::Page(Pfn(n))
}

proptest! {
    #![proptest_config(cases(192))]

    /// FILE-01: pages, shadows and marks are found where they were put, at every height of the
    /// tree; nodes are as many as said before, and go back with their last entry.
    #[test]
    fn an_index_is_a_map_with_marks(
        ops in prop::collection::vec((0..7u8, 0..12usize, any::<u32>()), 1..160),
        scale in 0..32u32,
    ) {
        let grounds = Grounds::new(64);
        let mut driver = Driver::new(&grounds);
        let places: Vec<u32> =
            (0..12u32).map(|n| n.wrapping_mul(0x9e37_79b9).wrapping_add(n) >> scale).collect();
        for (op, place, value) in ops {
            let at = places[place];
            let is_page = matches!(driver.model.get(&at), Some((Entry::Page(_), _)));
            match op {
                0 | 1 => driver.insert(at, page(value >> 8)),
                2 if driver.model.contains_key(&at) => driver.replace(at, Entry::Shadow(value)),
                3 if driver.model.contains_key(&at) => driver.replace(at, Entry::Empty),
                4 if is_page => driver.mark(at, Mark::Dirty, value % 2 == 0),
                5 if is_page => driver.mark(at, Mark::Writeback, value % 2 == 0),
                6 if driver.model.contains_key(&at) => driver.replace(at, page(value >> 8)),
                _ => {}
            }
            driver.check();
        }
        for at in driver.model.keys().copied().collect::<Vec<_>>() {
            driver.replace(at, Entry::Empty);
        }
        driver.check();
        prop_assert_eq!(driver.nodes.usage().0, 0);
    }
}

/// FILE-01: a file of one page takes no node, one of 64 pages one, one of 65 three.
#[test]
fn small_files_take_few_nodes() {
    let grounds = Grounds::new(8);
    let mut driver = Driver::new(&grounds);
    for (at, nodes) in [(0, 0), (1, 1), (63, 1), (64, 3), (4095, 4), (4096, 7)] {
        driver.insert(at, page(at));
        assert_eq!(driver.nodes.usage().0, nodes, "page {at}");
        driver.check();
    }
}

/// LRU-09: a node that holds shadows alone is freed with all of them, the one that has been so
/// longest first; one that got a page again is not.
#[test]
fn nodes_of_shadows_alone_are_freed_oldest_first() {
    let grounds = Grounds::new(8);
    let mut driver = Driver::new(&grounds);
    (0..640).for_each(|at| driver.insert(at, page(at)));
    for at in (64..128).chain(320..384).chain(0..64) {
        driver.replace(at, Entry::Shadow(at));
    }
    driver.insert(330, page(330));
    driver.check();
    for first in [64, 0] {
        let (_, oldest) = driver.shadows.oldest(&driver.nodes).expect("a node of shadows");
        assert_eq!(oldest, first);
        assert_eq!(driver.with(|tree| tree.drop_shadow_node(oldest)), 64);
        driver.model.retain(|at, _| at / 64 != first / 64);
        driver.check();
    }
    assert!(driver.shadows.oldest(&driver.nodes).is_none());
    assert_eq!(driver.with(|tree| tree.drop_shadow_node(320)), 0, "it has a page");
}

/// FILE-01: a search for marks does not look at pages without; one over a hole costs nothing.
#[test]
fn cached_pages_beside_a_page_are_counted() {
    let grounds = Grounds::new(8);
    let mut driver = Driver::new(&grounds);
    for at in [0, 1, 2, 10, 11, 12, 13] {
        driver.insert(at, page(at));
    }
    driver.replace(11, Entry::Shadow(1));
    for (at, most, before) in [(3, 8, 3), (3, 2, 2), (14, 8, 2), (12, 8, 0), (0, 8, 0)] {
        assert_eq!(driver.with(|tree| tree.cached_before(at, most)), before, "before {at}");
    }
    for (at, most, from) in [(0, 8, 3), (0, 2, 2), (11, 8, 0), (12, 8, 2), (u32::MAX, 8, 0)] {
        assert_eq!(driver.with(|tree| tree.cached_from(at, most)), from, "from {at}");
    }
}
