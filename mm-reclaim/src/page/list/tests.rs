//! Lists of pages against `VecDeque`s.

use std::collections::VecDeque;
use std::vec::Vec;

use proptest::prelude::*;

use super::PageList;
use crate::base::units::Pfn;
use crate::page::Page;
use crate::page::memmap::MemMap;
use crate::tests::{cases, descriptors, nth, owned, panic_of, place};

/// Pages that the lists share.
const PAGES: u32 = 12;

#[derive(Clone, Copy, Debug)]
enum Op {
    PushFront(u32),
    PushBack(u32),
    PopFront,
    PopBack,
    Remove(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let page = 0..PAGES;
    prop_oneof![
        2 => page.clone().prop_map(Op::PushFront),
        2 => page.clone().prop_map(Op::PushBack),
        1 => Just(Op::PopFront),
        1 => Just(Op::PopBack),
        2 => page.prop_map(Op::Remove),
    ]
}

fn numbers<'m>(map: MemMap<'m>, pages: impl Iterator<Item = &'m Page>) -> Vec<u32> {
    pages.map(|page| place(map, page)).collect()
}

/// Two lists over the same pages, and what should be on them.
struct Pair<'m> {
    map: MemMap<'m>,
    lists: [PageList<'m>; 2],
    models: [VecDeque<u32>; 2],
}

impl<'m> Pair<'m> {
    fn apply(&mut self, which: usize, op: Op) {
        let linked = |n: u32| self.models.iter().any(|model| model.contains(&n));
        let (list, map) = (&mut self.lists[which], self.map);
        match op {
            Op::PushFront(n) if !linked(n) => {
                list.push_front(nth(map, n));
                self.models[which].push_front(n);
            }
            Op::PushBack(n) if !linked(n) => {
                list.push_back(nth(map, n));
                self.models[which].push_back(n);
            }
            Op::PushFront(_) | Op::PushBack(_) => {}
            Op::PopFront => {
                let got = list.pop_front().map(|page| place(map, page));
                assert_eq!(got, self.models[which].pop_front());
            }
            Op::PopBack => {
                let got = list.pop_back().map(|page| place(map, page));
                assert_eq!(got, self.models[which].pop_back());
            }
            Op::Remove(n) => {
                if let Some(at) = self.models[which].iter().position(|m| *m == n) {
                    list.remove(nth(map, n));
                    self.models[which].remove(at);
                }
            }
        }
    }

    fn check(&self) {
        for (list, model) in self.lists.iter().zip(&self.models) {
            assert!(numbers(self.map, list.iter()).iter().eq(model));
            assert_eq!(list.len() as usize, model.len());
            assert_eq!(list.is_empty(), model.is_empty());
            assert_eq!(list.iter().last().map(|page| place(self.map, page)), model.back().copied());
        }
        for n in 0..PAGES {
            let listed = self.models.iter().any(|model| model.contains(&n));
            assert_eq!(nth(self.map, n).is_linked(), listed, "page {n}");
        }
    }
}

proptest! {
    #![proptest_config(cases(256))]

    /// LRU-01: a list of pages behaves like any list, wherever a page is unlinked.
    #[test]
    fn lists_hold_what_was_put_on_them_in_order(
        ops in prop::collection::vec((0..2usize, op()), 0..if cfg!(miri) { 30 } else { 120 }),
    ) {
        let pages = descriptors(PAGES, |_| 0);
        let map = owned(&pages);
        let lists = [PageList::new(map), PageList::new(map)];
        let mut pair = Pair { map, lists, models: Default::default() };
        for (which, op) in ops {
            pair.apply(which, op);
            pair.check();
        }
    }
}

/// Three pages on a list and a fourth on another.
fn two_lists(map: MemMap<'_>) -> (PageList<'_>, PageList<'_>) {
    let (mut first, mut second) = (PageList::new(map), PageList::new(map));
    (0..3).for_each(|n| first.push_back(nth(map, n)));
    second.push_back(nth(map, 3));
    (first, second)
}

#[test]
fn a_second_insertion_panics_and_leaves_both_lists_intact() {
    let pages = descriptors(PAGES, |_| 0);
    let map = owned(&pages);
    let (mut first, mut second) = two_lists(map);
    for page in [0, 1, 2] {
        for list in [&mut first, &mut second] {
            let said = panic_of(|| list.push_front(nth(map, page)));
            assert!(said.starts_with("on two lists: Page {"), "{said}");
            panic_of(|| list.push_back(nth(map, page)));
        }
    }
    assert_eq!(numbers(map, first.iter()), [0, 1, 2]);
    assert_eq!(numbers(map, second.iter()), [3]);
    assert_eq!((first.len(), second.len()), (3, 1));
}

#[test]
fn removing_what_is_on_no_list_panics() {
    let pages = descriptors(PAGES, |_| 0);
    let map = owned(&pages);
    let (mut first, _second) = two_lists(map);
    let said = panic_of(|| first.remove(nth(map, 5)));
    assert!(said.starts_with("on no list: Page {"), "{said}");
    assert_eq!(numbers(map, first.iter()), [0, 1, 2]);
}

/// The first page of the map has link 1 and the last one the map's length: neither of them is
/// mistaken for the end of a list.
#[test]
fn the_first_and_the_last_page_of_a_map_can_be_listed() {
    let pages = descriptors(PAGES, |_| 0);
    let map = MemMap::new(&pages, Pfn(u32::MAX - PAGES));
    let mut list = PageList::new(map);
    list.push_front(nth(map, PAGES - 1));
    list.push_front(nth(map, 0));
    list.push_front(nth(map, 5));
    assert_eq!(numbers(map, list.iter()), [5, 0, PAGES - 1]);
    list.remove(nth(map, 0));
    assert_eq!(list.pop_back().map(|page| map.pfn(page)), Some(Pfn(u32::MAX - 1)));
    assert_eq!(numbers(map, list.iter()), [5]);
}
