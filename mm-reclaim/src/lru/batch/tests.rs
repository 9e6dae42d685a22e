//! Batches in front of the lists: what they hold, and when they are emptied.

use core::cell::RefCell;
use std::vec::Vec;

use super::super::LruSet;
use super::{BATCH, LruBatches, Move};
use crate::base::stat::{VmEvent, VmEvents};
use crate::page::memmap::MemMap;
use crate::page::{ListChoice, LruList, Page, PageFlags};
use crate::tests::{TestCpu, descriptors, nth, owned, place};
use crate::zone::ZoneId;

/// Lists, their batches, and the pages that were freed when a batch was emptied.
struct World<'m> {
    map: MemMap<'m>,
    lru: LruSet<'m, TestCpu>,
    batches: LruBatches<'m, TestCpu>,
    events: &'m VmEvents<TestCpu>,
    freed: RefCell<Vec<u32>>,
}

/// Half of the pages lie in zone DMA, half in NORMAL.
fn with_world(body: impl for<'m> FnOnce(World<'m>)) {
    let pages = descriptors(40, |i| if i < 20 { 0 } else { 2 });
    let (map, events) = (owned(&pages), VmEvents::new());
    TestCpu::move_to(0);
    body(World {
        map,
        lru: LruSet::new(map),
        batches: LruBatches::new(&events),
        events: &events,
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

    /// Puts a page on its list at once.
    fn list(&self, number: u32) {
        let page = self.page(number);
        self.lru.of(page).add_new(core::iter::once(page));
    }

    fn relocate(&self, number: u32, to: Move) -> bool {
        let page = self.page(number);
        self.batches.relocate(&self.lru, page, to, |page| self.note_freed(page))
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

/// An anonymous page that is marked as referenced, on its active or its inactive list.
fn anon(world: &World<'_>, number: u32, list: ListChoice) {
    let page = world.page(number);
    page.set_swapbacked();
    page.mark_referenced();
    page.choose_list(list);
    world.list(number);
}

/// LRU-02: a page that is to move stays on its list, held by the batch, until the fifteenth one
/// moves all; what was moved is counted then.
#[test]
fn the_fifteenth_page_moves_all_of_its_batch() {
    let table = [
        (Move::Activate, ListChoice::Inactive, LruList::ActiveAnon, VmEvent::PgActivate),
        (Move::Deactivate, ListChoice::Active, LruList::InactiveAnon, VmEvent::PgDeactivate),
        (Move::LazyFree, ListChoice::Active, LruList::InactiveFile, VmEvent::PgLazyFree),
        (Move::Rotate, ListChoice::Active, LruList::InactiveAnon, VmEvent::PgRotated),
    ];
    for (to, from, list, event) in table {
        with_world(|world| {
            let last = BATCH as u32 - 1;
            (0..=last).for_each(|number| anon(&world, number, from));
            let before = world.page(0).lru_list();
            for number in 0..last {
                assert!(world.relocate(number, to), "{to:?}");
                assert_eq!((world.page(number).refs(), world.page(number).lru_list()), (2, before));
            }
            assert_eq!(
                (world.events.read(event as usize), world.on(ZoneId::Dma, list)),
                (0, [].to_vec())
            );
            assert!(world.relocate(last, to));
            assert_eq!(world.events.read(event as usize), BATCH as u64, "{to:?}");
            let mut want: Vec<u32> = (0..=last).collect();
            if to != Move::Rotate {
                want.reverse();
            }
            assert_eq!(world.on(ZoneId::Dma, list), want, "{to:?}");
            assert!(want.iter().all(|number| world.page(*number).refs() == 1));
        });
    }
}

/// LRU-02: cold and lazily freed pages lose their mark, others keep it.
#[test]
fn a_page_that_is_cold_counts_as_unused() {
    for (to, keeps) in [(Move::Deactivate, false), (Move::LazyFree, false), (Move::Rotate, true)] {
        with_world(|world| {
            anon(&world, 0, ListChoice::Active);
            assert!(world.relocate(0, to));
            world.drain();
            assert_eq!(world.page(0).has(PageFlags::REFERENCED), keeps, "{to:?}");
            assert_eq!(world.page(0).has(PageFlags::SWAPBACKED), to != Move::LazyFree);
            assert!(!world.page(0).has(PageFlags::ACTIVE));
        });
    }
}

/// LRU-02, LRU-07: what a page is when it enters a batch decides whether it does, and what it is
/// when the batch is drained decides whether it is moved.
#[test]
fn a_page_is_looked_at_again_when_the_batch_is_drained() {
    let table = [
        (Move::Activate, ListChoice::Inactive, PageFlags::ACTIVE),
        (Move::Deactivate, ListChoice::Active, PageFlags::ACTIVE),
        (Move::LazyFree, ListChoice::Inactive, PageFlags::SWAPCACHE),
        (Move::LazyFree, ListChoice::Inactive, PageFlags::SWAPBACKED),
        (Move::Rotate, ListChoice::Inactive, PageFlags::LOCKED),
        (Move::Rotate, ListChoice::Inactive, PageFlags::DIRTY),
        (Move::Activate, ListChoice::Inactive, PageFlags::UNEVICTABLE),
        (Move::LazyFree, ListChoice::Inactive, PageFlags::UNEVICTABLE),
        (Move::Rotate, ListChoice::Inactive, PageFlags::UNEVICTABLE),
    ];
    for (to, list, flip) in table {
        with_world(|world| {
            // One that is described before it is listed, so that it is on the list of its flags.
            let as_flipped = |number: u32, flip| {
                world.page(number).set_swapbacked();
                world.page(number).choose_list(list);
                world.page(number).corrupt_flags(flip);
                if world.page(number).has(PageFlags::UNEVICTABLE) {
                    world.page(number).set_mlocked(true);
                }
                world.list(number);
            };
            as_flipped(0, flip);
            assert!(!world.relocate(0, to), "{to:?} {flip:?}");
            as_flipped(1, PageFlags::empty());
            assert!(world.relocate(1, to), "{to:?} {flip:?}");
            let page = world.page(1);
            let token = world.lru.of(page).isolate_page(page).expect("it stays isolatable");
            page.corrupt_flags(flip);
            if page.has(PageFlags::UNEVICTABLE) {
                page.set_mlocked(true);
            }
            let mut pages = crate::page::IsolatedPages::new();
            let kind = crate::page::PageType::Anon;
            pages.push(token);
            world.lru.of(page).putback(&mut pages, kind, 1, |_| panic!("it is held"));
            let before = page.lru_list();
            world.drain();
            assert_eq!(page.lru_list(), before, "{to:?} {flip:?}");
            assert_eq!(page.refs(), 1);
            assert_eq!(world.listed(), 2);
        });
    }
}

/// LRU-02: a page that is on no list enters no batch of those that move.
#[test]
fn only_pages_of_lists_are_to_move() {
    with_world(|world| {
        world.page(0).set_swapbacked();
        for to in Move::ALL {
            assert!(!world.relocate(0, to));
        }
        assert_eq!(world.page(0).refs(), 1);
    });
}

/// LRU-02: an isolated page is left alone, and one that lost all other references is freed when
/// the batch is drained, and is on no list then.
#[test]
fn a_page_that_went_while_it_was_to_move_is_handed_over() {
    with_world(|world| {
        (0..3).for_each(|number| anon(&world, number, ListChoice::Inactive));
        (0..3).for_each(|number| assert!(world.relocate(number, Move::Activate)));
        assert!(!world.page(1).put(), "the batch holds the last reference");
        let token = world.lru.of(world.page(2)).isolate_page(world.page(2)).expect("listed");
        world.drain();
        assert_eq!(*world.freed.borrow(), [1]);
        assert!(world.page(1).prepare_free(), "{:?}", world.page(1));
        assert_eq!(world.on(ZoneId::Dma, LruList::ActiveAnon), [0]);
        assert!(!world.page(2).has(PageFlags::ACTIVE), "it was isolated");
        token.leak().leave_isolation();
    });
}

/// LRU-02: pages of two zones in one batch each move within their own.
#[test]
fn a_batch_of_moves_spreads_over_zones() {
    with_world(|world| {
        [0, 20, 1, 21].into_iter().for_each(|n| anon(&world, n, ListChoice::Inactive));
        [0, 20, 1, 21].into_iter().for_each(|n| assert!(world.relocate(n, Move::Activate)));
        world.batches.drain_all(&world.lru, |page| world.note_freed(page));
        assert_eq!(world.on(ZoneId::Dma, LruList::ActiveAnon), [1, 0]);
        assert_eq!(world.on(ZoneId::Normal, LruList::ActiveAnon), [21, 20]);
        assert_eq!(world.events.read(VmEvent::PgActivate as usize), 4);
    });
}

/// LRU-02, LRU-03: a page that is still on its way to the lists is activated there, if it waits in
/// the batch of this CPU and is evictable.
#[test]
fn a_new_page_is_activated_in_its_batch() {
    with_world(|world| {
        world.page(1).set_mlocked(true);
        world.page(1).choose_list(ListChoice::Unevictable);
        (0..2).for_each(|number| world.add(number));
        assert!(world.batches.activate_new(world.page(0)));
        assert!(!world.batches.activate_new(world.page(1)), "it is unevictable");
        assert!(!world.batches.activate_new(world.page(2)), "it is in no batch");
        TestCpu::move_to(1);
        assert!(!world.batches.activate_new(world.page(0)), "it is in another CPU's");
        TestCpu::move_to(0);
        world.drain();
        assert_eq!(world.on(ZoneId::Dma, LruList::ActiveFile), [0]);
        assert_eq!(world.on(ZoneId::Dma, LruList::Unevictable), [1]);
        assert!(!world.batches.activate_new(world.page(0)), "it has left the batch");
    });
}
