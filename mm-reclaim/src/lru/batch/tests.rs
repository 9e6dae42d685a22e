//! Batches in front of the lists: what they hold, and when they are emptied.

use core::cell::RefCell;
use std::vec::Vec;

use super::super::LruSet;
use super::{BATCH, LruBatches};
use crate::page::memmap::MemMap;
use crate::page::{ListChoice, LruList, Page, PageFlags};
use crate::tests::{TestCpu, descriptors, nth, owned, place};
use crate::zone::ZoneId;

/// Lists, their batches, and the pages that were freed when a batch was emptied.
struct World<'m> {
    map: MemMap<'m>,
    lru: LruSet<'m, TestCpu>,
    batches: LruBatches<'m, TestCpu>,
    freed: RefCell<Vec<u32>>,
}

/// Half of the pages lie in zone DMA, half in NORMAL.
fn with_world(body: impl for<'m> FnOnce(World<'m>)) {
    let pages = descriptors(40, |i| if i < 20 { 0 } else { 2 });
    let map = owned(&pages);
    TestCpu::move_to(0);
    body(World {
        map,
        lru: LruSet::new(map),
        batches: LruBatches::new(),
        freed: RefCell::default(),
    });
    assert_eq!(TestCpu::preempt_depth(), 0, "preemption is on again");
}

impl<'m> World<'m> {
    fn page(&self, number: u32) -> &'m Page {
        nth(self.map, number)
    }

    fn note_freed(&self, page: &Page) {
        assert_eq!(page.refs(), 0);
        self.freed.borrow_mut().push(place(self.map, page));
    }

    fn add(&self, number: u32) {
        self.batches.add(&self.lru, self.page(number).get(), |page| self.note_freed(page));
    }

    fn drain(&self) {
        self.batches.drain(&self.lru, |page| self.note_freed(page));
    }

    fn on(&self, zone: ZoneId, list: LruList) -> Vec<u32> {
        let mut numbers = Vec::new();
        self.lru.in_zone(zone).for_each(list, |page| numbers.push(place(self.map, page)));
        numbers
    }

    fn listed(&self) -> u32 {
        LruList::ALL.into_iter().map(|list| self.lru.total(list)).sum()
    }
}

/// LRU-02: a batch holds a reference to each page and none is on a list, until the fifteenth page
/// empties it.
#[test]
fn the_fifteenth_page_empties_the_batch() {
    with_world(|world| {
        let last = BATCH as u32 - 1;
        assert_eq!(BATCH, 15);
        (0..last).for_each(|number| world.add(number));
        assert_eq!(world.listed(), 0);
        for number in 0..last {
            assert_eq!(world.page(number).refs(), 2, "the owner and the batch");
            assert!(!world.page(number).has(PageFlags::LRU));
        }
        world.add(last);
        assert_eq!(
            world.on(ZoneId::Dma, LruList::InactiveFile),
            (0..=last).rev().collect::<Vec<_>>()
        );
        assert!((0..=last).all(|number| world.page(number).refs() == 1));
        world.add(last + 1);
        assert_eq!(world.listed(), BATCH as u32, "a new batch has begun");
        world.drain();
        assert_eq!(world.listed(), BATCH as u32 + 1);
        world.drain();
        assert_eq!(world.listed(), BATCH as u32 + 1, "nothing is left to drain");
    });
}

/// LRU-02, LRU-11: each page goes to the list that its flags name, in its own zone.
#[test]
fn a_batch_spreads_over_zones_and_lists() {
    with_world(|world| {
        world.page(1).set_swapbacked();
        world.page(21).set_swapbacked();
        world.page(21).choose_list(ListChoice::Active);
        world.page(3).set_mlocked(true);
        [0, 20, 1, 21, 2, 3].into_iter().for_each(|number| world.add(number));
        world.drain();
        assert_eq!(world.on(ZoneId::Dma, LruList::InactiveFile), [2, 0]);
        assert_eq!(world.on(ZoneId::Dma, LruList::InactiveAnon), [1]);
        assert_eq!(world.on(ZoneId::Dma, LruList::Unevictable), [3]);
        assert_eq!(world.on(ZoneId::Normal, LruList::InactiveFile), [20]);
        assert_eq!(world.on(ZoneId::Normal, LruList::ActiveAnon), [21]);
        assert_eq!(world.listed(), 6);
    });
}

/// LRU-02: draining empties this CPU's batch only, draining all empties every CPU's.
#[test]
fn each_cpu_has_a_batch_of_its_own() {
    with_world(|world| {
        for (cpu, number) in [(0, 0), (3, 1), (7, 2)] {
            TestCpu::move_to(cpu);
            world.add(number);
        }
        world.drain();
        assert_eq!(world.on(ZoneId::Dma, LruList::InactiveFile), [2]);
        TestCpu::move_to(1);
        world.drain();
        assert_eq!(world.listed(), 1);
        world.batches.drain_all(&world.lru, |page| world.note_freed(page));
        assert_eq!(world.on(ZoneId::Dma, LruList::InactiveFile), [1, 0, 2]);
        assert!((0..3).all(|number| world.page(number).refs() == 1));
    });
}

/// LRU-02, LRU-06: a page that lost all other references while it waited is freed when the batch is
/// emptied, and is on no list then.
#[test]
fn a_page_freed_while_it_waited_is_handed_over() {
    with_world(|world| {
        (0..3).for_each(|number| world.add(number));
        assert!(!world.page(1).put(), "the batch holds the last reference");
        world.drain();
        assert_eq!(*world.freed.borrow(), [1]);
        assert_eq!(world.on(ZoneId::Dma, LruList::InactiveFile), [2, 0]);
        assert!(world.page(1).prepare_free(), "{:?}", world.page(1));
        assert_eq!(world.listed(), 2);
    });
}
