//! Per-CPU lists: nothing is lost between them and the buddy lists.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::{BATCH, CpuLists, HIGH};
use crate::base::sync::AtomicU8;
use crate::base::units::{Order, Pfn};
use crate::env::MAX_CPUS;
use crate::page::memmap::MemMap;
use crate::page::{FrozenPage, NewPage, Page};
use crate::tests::{TestCpu, cases, descriptors, frames, panic_of};
use crate::zone::{MigrateType, Pageblock, Zone, ZoneId};

/// Pages of the zone: two pageblocks.
const PAGES: u32 = 1024;
const KINDS: [MigrateType; 3] =
    [MigrateType::Unmovable, MigrateType::Movable, MigrateType::Reclaimable];

type TestZone<'m> = Zone<'m, TestCpu>;

fn with_zone(body: impl for<'m> FnOnce(&TestZone<'m>, MemMap<'m>)) {
    let pages = descriptors(PAGES, |_| 0);
    let map = MemMap::new(&pages, Pfn(0));
    let blocks = [const { AtomicU8::new(0) }; 2];
    let pcp = [const { CpuLists::new() }; MAX_CPUS];
    let partial = [const { Pageblock::new() }; 2];
    let zone = Zone::new(ZoneId::Dma, frames(0, PAGES), PAGES, map, (&blocks, &partial), &pcp);
    zone.free_bootmem(frames(0, PAGES));
    TestCpu::move_to(0);
    body(&zone, map);
    TestCpu::move_to(0);
}

fn give<'m>(zone: &TestZone<'m>, page: &'m Page) {
    assert!(page.put(), "{page:?} was held once");
    zone.give_page(FrozenPage::after_last_put(page));
}

fn take<'m>(zone: &TestZone<'m>) -> &'m Page {
    zone.take_page(MigrateType::Movable).expect("a page").held()
}

/// BUDY-07: pages move between a list and the zone in batches, and a list is never longer than its
/// high mark.
#[test]
fn pages_move_by_the_batch_and_not_beyond_the_high_mark() {
    let (batch, high) = (BATCH as u32, HIGH as u32);
    with_zone(|zone, _| {
        let first = take(zone);
        assert_eq!((zone.free(), zone.pcp_pages()), (PAGES - batch, batch - 1));
        let mut held: Vec<&Page> = (1..3 * batch).map(|_| take(zone)).collect();
        held.push(first);
        assert_eq!((zone.free(), zone.pcp_pages()), (PAGES - 3 * batch, 0));
        for page in held.drain(..high as usize) {
            give(zone, page);
        }
        assert_eq!((zone.free(), zone.pcp_pages()), (PAGES - 3 * batch, high));
        give(zone, held.remove(0));
        assert_eq!((zone.free(), zone.pcp_pages()), (PAGES - 2 * batch, high - batch + 1));
    });
}

/// BUDY-07: the page freed last is cache-warm and is handed out first; the oldest are returned.
#[test]
fn the_page_freed_last_is_taken_first() {
    with_zone(|zone, map| {
        let held: Vec<&Page> = (0..=HIGH).map(|_| take(zone)).collect();
        assert!(zone.drain_pcp());
        held.iter().for_each(|page| give(zone, page));
        let again: Vec<Pfn> = (0..=HIGH - BATCH).map(|_| map.pfn(take(zone))).collect();
        assert!(again.into_iter().eq(held.iter().rev().take(HIGH - BATCH + 1).map(|p| map.pfn(p))));
        assert_eq!(zone.pcp_pages(), 0);
        // The oldest ones are in the buddy lists.
        assert_eq!(zone.free() + held.len() as u32 - BATCH as u32, PAGES);
    });
}

/// BUDY-07: draining empties every CPU's lists, and everything merges again.
#[test]
fn draining_brings_every_page_back() {
    with_zone(|zone, _| {
        for cpu in [0, 3, 7] {
            TestCpu::move_to(cpu);
            for kind in KINDS {
                let page = zone.take_page(kind).expect("a page").held();
                give(zone, page);
            }
        }
        assert!(zone.pcp_pages() > 3 * BATCH as u32, "every CPU has some");
        assert!(zone.drain_pcp());
        assert_eq!((zone.free(), zone.pcp_pages()), (PAGES, 0));
        assert_eq!(zone.free_blocks(Order::MAX), 1);
    });
}

/// BUDY-07: each CPU has lists of its own.
#[test]
fn a_cpu_does_not_see_the_lists_of_another() {
    with_zone(|zone, map| {
        let page = take(zone);
        give(zone, page);
        TestCpu::move_to(1);
        let free = zone.free();
        assert_ne!(map.pfn(take(zone)), map.pfn(page));
        assert_eq!(zone.free(), free - BATCH as u32, "its own batch");
        TestCpu::move_to(0);
        assert_eq!(map.pfn(take(zone)), map.pfn(page));
    });
}

/// BUDY-01, BUDY-07: what is on a CPU's list is free, and is not freed again.
#[test]
fn a_listed_page_is_not_freed_again() {
    with_zone(|zone, _| {
        let page = take(zone);
        give(zone, page);
        let said = panic_of(|| zone.give_page(FrozenPage::after_last_put(page)));
        assert!(said.contains("freed twice"), "{said}");
    });
}

/// BUDY-07: a cache-cold page goes to the bottom: it is taken last and returned first.
#[test]
fn a_cold_page_is_taken_last() {
    with_zone(|zone, map| {
        let held: Vec<&Page> = (0..BATCH).map(|_| take(zone)).collect();
        let (cold, warm) = (held[0], &held[1..]);
        warm.iter().for_each(|page| give(zone, page));
        assert!(cold.put());
        zone.give_cold_page(FrozenPage::after_last_put(cold));
        let again: Vec<Pfn> = (0..BATCH).map(|_| map.pfn(take(zone))).collect();
        let wanted = warm.iter().rev().chain([&cold]).map(|page| map.pfn(page));
        assert!(again.into_iter().eq(wanted));
    });
}

/// BUDY-07: orders up to three have their own lists, higher orders have none.
#[test]
fn small_blocks_are_kept_at_hand_too() {
    for (order, kept) in [(1, 16), (2, 16), (3, 16), (4, 0)] {
        with_zone(|zone, map| {
            let order = Order::new(order).expect("an order");
            let blocks = |n: usize| -> Vec<&Page> {
                let block = || {
                    let new = zone.take_block(order, MigrateType::Movable);
                    new.expect("a block").held()
                };
                (0..n).map(|_| block()).collect()
            };
            let held = blocks(12);
            for block in &held {
                assert!(map.pfn(block).0.is_multiple_of(order.pages()) && block.refs() == 1);
            }
            assert_eq!(zone.free() + zone.pcp_pages(), PAGES - 12 * order.pages());
            assert!(zone.drain_pcp());
            for block in held.iter().take(9) {
                assert!(block.put());
                zone.give_block(FrozenPage::after_last_put(block), order);
                assert!(zone.pcp_pages() <= kept, "{order:?}");
            }
            assert_eq!(zone.pcp_pages() > 0, kept > 0);
            let again = blocks(1)[0];
            assert!(kept == 0 || core::ptr::eq(again, held[8]), "the warm one first");
            let (taken, given) = zone.traffic();
            assert_eq!((taken - given) as u32, 4 * order.pages());
            for block in held[9..].iter().chain([&again]) {
                assert!(block.put());
                zone.give_block(FrozenPage::after_last_put(block), order);
            }
            assert!(zone.drain_pcp());
            assert_eq!((zone.free(), zone.free_blocks(Order::MAX)), (PAGES, 1));
        });
    }
}

/// BUDY-07: a refill takes blocks as they come, a batch at most, and splits one only as long
/// as it has less than half a batch: the rest is for the next refill.
#[test]
fn a_refill_splits_a_block_only_for_more_than_half_a_batch() {
    // Free blocks, the smallest first in a pageblock; the pages that a refill brings of them.
    for (orders, brought) in [
        (&[4][..], 16),
        (&[2, 4], 4 + 8),
        (&[3, 4], 8),
        (&[3, 3, 4], 8 + 8),
        (&[2, 2, 2, 4], 4 + 4 + 4),
        (&[0, 5], 1 + 8),
        (&[6], 16),
    ] {
        with_zone(|zone, map| {
            while zone.take(Order::ZERO, MigrateType::Movable).map(NewPage::held).is_some() {}
            // Each in a range of its own, so that none of them merge.
            for (number, order) in orders.iter().enumerate() {
                for frame in 0..1 << order {
                    let page = map.page(Pfn(128 * number as u32 + frame));
                    assert!(page.put());
                    zone.give(FrozenPage::after_last_put(page), Order::ZERO);
                }
            }
            take(zone);
            assert_eq!(zone.pcp_pages() + 1, brought, "of {orders:?}");
        });
    }
}

/// BUDY-07: a task that finds a list in use, because it preempted the user or drains another CPU's
/// list, goes to the zone, and no page is lost.
#[test]
fn a_list_in_use_is_passed_by() {
    with_zone(|zone, map| {
        let (first, second) = (take(zone), take(zone));
        let (free, kept) = (zone.free(), zone.pcp_pages());
        let used = zone.this_cpu().singles[MigrateType::Movable as usize].try_hold();
        let third = take(zone);
        assert_eq!((zone.free(), zone.pcp_pages()), (free - 1, kept));
        give(zone, first);
        assert!(second.put());
        zone.give_cold_page(FrozenPage::after_last_put(second));
        assert_eq!((zone.free(), zone.pcp_pages()), (free + 1, kept));
        assert!(!zone.drain_pcp(), "one list stayed as it was");
        assert_eq!(zone.pcp_pages(), kept);
        drop(used);
        assert_ne!(map.pfn(take(zone)), map.pfn(third));
        assert!(zone.drain_pcp());
        assert_eq!(zone.free(), PAGES - 2);
    });
}

/// BUDY-01, BUDY-07: reserved and isolated pageblocks keep their pages to themselves.
#[test]
fn pages_of_special_blocks_pass_the_lists_by() {
    for kind in [MigrateType::HighAtomic, MigrateType::Isolate] {
        with_zone(|zone, _| {
            let page = take(zone);
            zone.tags.iter().for_each(|tag| {
                tag.store(kind as u8, crate::base::sync::Ordering::Relaxed);
            });
            let before = zone.pcp_pages();
            give(zone, page);
            assert_eq!(zone.pcp_pages(), before);
            assert_eq!(zone.free_blocks_of_type(Order::ZERO, kind), 1);
            assert!(zone.take_page(kind).is_none());
        });
    }
}

proptest! {
    #![proptest_config(cases(64))]

    /// BUDY-01, BUDY-07: whatever CPUs allocate and free, each page has one owner, is counted once,
    /// and is returned.
    #[test]
    fn no_page_is_lost_or_given_twice(
        ops in prop::collection::vec(
            (0..3usize, any::<Option<prop::sample::Index>>(), prop::sample::select(&KINDS[..])),
            0..300,
        ),
        greedy: bool,
    ) {
        with_zone(|zone, map| {
            let mut held: Vec<&Page> = Vec::new();
            if greedy {
                while zone.free() > 40 {
                    held.push(take(zone));
                }
            }
            for (cpu, op, kind) in ops {
                TestCpu::move_to(cpu);
                match op {
                    Some(which) if !held.is_empty() => {
                        give(zone, held.swap_remove(which.index(held.len())));
                    }
                    _ => match zone.take_page(kind).map(NewPage::held) {
                        Some(page) => {
                            assert!(page.refs() == 1 && page.flags().is_empty(), "{page:?}");
                            held.push(page);
                        }
                        None => assert_eq!(zone.free(), 0),
                    },
                }
                let owned: BTreeSet<Pfn> = held.iter().map(|page| map.pfn(page)).collect();
                assert_eq!(owned.len(), held.len(), "a page has two owners");
                assert_eq!(zone.free() + zone.pcp_pages() + held.len() as u32, PAGES);
            }
            let (taken, given) = zone.traffic();
            assert_eq!(taken - given, held.len() as u64);
            held.into_iter().for_each(|page| give(zone, page));
            assert!(zone.drain_pcp());
            assert_eq!((zone.free(), zone.free_blocks(Order::MAX)), (PAGES, 1));
        });
    }
}
