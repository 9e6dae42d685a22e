//! Where single pages are taken from, and how many pageblocks stay whole as a result.

use std::collections::BTreeMap;
use std::vec::Vec;

use super::{FRAMES, Partial, Relaxed, class_of};
use crate::base::sync::AtomicU8;
use crate::base::units::{Order, Pfn};
use crate::env::MAX_CPUS;
use crate::page::memmap::MemMap;
use crate::page::{FrozenPage, NewPage, Page};
use crate::tests::{TestCpu, descriptors, frames};
use crate::zone::{CpuLists, MigrateType, Pageblock, Zone, ZoneId};

type TestZone<'m> = Zone<'m, TestCpu>;

impl Partial<'_> {
    /// Compares the records with the free blocks smaller than a pageblock, as the free lists have
    /// them: first frame and order. Positions count from frame `base`.
    pub(in crate::zone) fn check(&self, free: &[(Pfn, Order)], base: Pfn) {
        let mut want: BTreeMap<usize, (u32, Vec<u32>)> = BTreeMap::new();
        for (pfn, order) in free {
            let (pages, heads) = want.entry(((*pfn - base) / FRAMES) as usize).or_default();
            *pages += order.pages();
            heads.push(pfn.0 % FRAMES);
        }
        let mut listed = 0;
        for (at, block) in self.blocks.iter().enumerate() {
            let (pages, mut heads) = want.remove(&at).unwrap_or_default();
            heads.sort_unstable();
            let bit =
                |frame: &u32| block.heads[(frame / 64) as usize].load(Relaxed) >> (frame % 64);
            let marked: Vec<u32> = (0..FRAMES).filter(|frame| bit(frame) & 1 == 1).collect();
            assert_eq!((block.loose(), marked), (pages, heads), "pageblock {at}");
            listed += usize::from(pages > 0);
        }
        assert_eq!(self.members(), listed);
    }

    /// Pageblocks on all lists; each is on the list of its class.
    fn members(&self) -> usize {
        let mut count = 0;
        for (kind, classes) in self.first.iter().enumerate() {
            for (class, mut link) in classes.iter().copied().enumerate() {
                assert_eq!(self.nonempty[kind] >> class & 1 == 1, link != 0);
                while let Some(block) = self.neighbour(link) {
                    assert_eq!(class_of(block.loose()), class);
                    link = block.next.load(Relaxed);
                    count += 1;
                }
            }
        }
        count
    }
}

/// Builds a zone of `blocks` pageblocks, all of them free.
fn with_zone(blocks: usize, body: impl for<'m> FnOnce(&TestZone<'m>, MemMap<'m>)) {
    let count = blocks as u32 * FRAMES;
    let pages = descriptors(count, |_| 0);
    let map = MemMap::new(&pages, Pfn(0));
    let tags: Vec<AtomicU8> = (0..blocks).map(|_| AtomicU8::new(0)).collect();
    let partial: Vec<Pageblock> = (0..blocks).map(|_| Pageblock::new()).collect();
    let pcp = [const { CpuLists::new() }; MAX_CPUS];
    let zone = Zone::new(ZoneId::Dma, frames(0, count), count, map, (&tags, &partial), &pcp);
    zone.free_bootmem(frames(0, count));
    TestCpu::move_to(0);
    body(&zone, map);
}

fn take<'m>(zone: &TestZone<'m>) -> &'m Page {
    zone.take_page(MigrateType::Movable).expect("a page").held()
}

fn give<'m>(zone: &TestZone<'m>, page: &'m Page) {
    assert!(page.put(), "{page:?} was held once");
    zone.give_page(FrozenPage::after_last_put(page));
}

/// Takes every page, then frees those that `is_free` selects, bypassing the per-CPU lists.
fn free_some<'m>(zone: &TestZone<'m>, map: MemMap<'m>, is_free: impl Fn(u32) -> bool) {
    let held: Vec<&Page> = (0..zone.managed()).map(|_| take(zone)).collect();
    for page in held.into_iter().filter(|page| is_free(map.pfn(page).0)) {
        assert!(page.put());
        zone.give(FrozenPage::after_last_put(page), Order::ZERO);
    }
}

/// BUDY-01: single pages come from the fullest pageblock, and from the next one when that
/// has none left.
#[test]
fn single_pages_come_from_the_fullest_pageblock() {
    with_zone(4, |zone, map| {
        // Free: every second page of pageblocks 0 and 3, 32 pages of 1, 64 pages of 2.
        let spare = [256, 32, 64, 256];
        let is_free =
            |pfn: u32| pfn % 512 / 2 < spare[(pfn / 512) as usize] && pfn.is_multiple_of(2);
        free_some(zone, map, is_free);
        let from: Vec<u32> = (0..96).map(|_| map.pfn(take(zone)).0 / 512).collect();
        assert!(from[..32].iter().all(|block| *block == 1), "{from:?}");
        assert!(from[32..].iter().all(|block| *block == 2), "{from:?}");
    });
}

/// BUDY-07: a page of a pageblock that is emptier than those that pages come from is not
/// handed out again: it is returned, and the pageblock becomes whole.
#[test]
fn pages_of_a_sparse_pageblock_go_back() {
    with_zone(2, |zone, map| {
        let held: Vec<&Page> = (0..1024).map(|_| take(zone)).collect();
        let (dense, sparse): (Vec<&Page>, Vec<&Page>) =
            held.into_iter().partition(|page| map.pfn(page).0 < 512);
        dense.iter().step_by(20).for_each(|page| give(zone, page));
        assert!(zone.drain_pcp());
        let pause = take(zone);
        assert!(map.pfn(pause).0 < 512);
        let (first, rest) = sparse.split_at(100);
        first.iter().for_each(|page| give(zone, page));
        // By now the pageblock is known as sparse: pages freed there are not handed out again.
        for page in rest {
            give(zone, page);
            let other = take(zone);
            assert!(map.pfn(other).0 < 512 || first.iter().any(|page| core::ptr::eq(*page, other)));
            give(zone, other);
        }
        assert!(zone.drain_pcp());
        assert_eq!(zone.free_blocks(Order::PAGEBLOCK), 1);
    });
}

/// BUDY-01, BUDY-07: after random churn from nine tenths full down to half full, and as much again
/// at that level, nearly all of the free half is whole pageblocks. 256 would be all of it; plain
/// LIFO reuse leaves none. `scripts/bench-allocator` measures the same churn.
#[test]
#[cfg_attr(miri, ignore = "millions of steps")]
fn random_churn_down_to_half_full_leaves_pageblocks_whole() {
    const BLOCKS: usize = 512;
    const TOTAL: usize = BLOCKS * FRAMES as usize;
    const STEPS: usize = 16 * TOTAL;
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = move |end: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (((random >> 32) * end as u64) >> 32) as usize
    };
    with_zone(BLOCKS, |zone, _| {
        let mut held: Vec<&Page> = (0..TOTAL).map(|_| take(zone)).collect();
        while held.len() > TOTAL / 10 * 9 {
            give(zone, held.swap_remove(below(held.len())));
        }
        for step in 0..2 * STEPS {
            let level = TOTAL / 10 * 9 - TOTAL / 10 * 4 * step.min(STEPS) / STEPS;
            let nearby = held.len().abs_diff(level) < TOTAL / 256;
            let takes = if nearby { below(2) == 0 } else { held.len() < level };
            if takes {
                held.push(take(zone));
            } else {
                give(zone, held.swap_remove(below(held.len())));
            }
        }
        assert!(zone.drain_pcp());
        let blocks = (0..)
            .map_while(|_| zone.take(Order::PAGEBLOCK, MigrateType::Movable).map(NewPage::held));
        let whole = blocks.count();
        assert!(whole >= 240, "{whole} pageblocks of {BLOCKS} are whole at half full");
    });
}
