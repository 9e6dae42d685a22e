//! A zone against a plain array of frames: what is free, in which blocks, of which type.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::{FrameRange, Mark, Pageblock, Reach, Watermarks, Zone, ZoneId, ZoneLimits};
use crate::base::sync::AtomicU8;
use crate::base::units::{Order, Pfn, PhysAddr};
use crate::env::MAX_CPUS;
use crate::page::memmap::MemMap;
use crate::page::{FrozenPage, NewPage, Page, PageFlags};
use crate::tests::{TestCpu, cases, descriptors, frames, panic_of};
use crate::zone::MigrateType;

const KINDS: [MigrateType; 3] =
    [MigrateType::Unmovable, MigrateType::Movable, MigrateType::Reclaimable];
/// Descriptors below and above the zone's: its neighbours.
const MARGIN: u32 = 1024;

type TestZone<'m> = Zone<'m, TestCpu>;
/// The free blocks by their first frame.
type Lists = BTreeMap<u32, (Order, MigrateType)>;

/// Builds a zone over `ranges`, in ascending order, all of them free.
fn with_zone(ranges: &[FrameRange], body: impl for<'m> FnOnce(&TestZone<'m>, MemMap<'m>)) {
    let span = FrameRange { start: ranges[0].start, end: ranges[ranges.len() - 1].end };
    let pages = descriptors(span.pages() + 2 * MARGIN, |_| 1);
    let map = MemMap::new(&pages, Pfn(span.start.0 - MARGIN));
    let touched = (span.end.0 - 1) / 512 - span.start.0 / 512 + 1;
    let blocks: Vec<AtomicU8> = (0..touched).map(|_| AtomicU8::new(9)).collect();
    let present = ranges.iter().map(|range| range.pages()).sum();
    let pcp = [const { super::CpuLists::new() }; MAX_CPUS];
    let partial: Vec<Pageblock> = (0..touched).map(|_| Pageblock::new()).collect();
    let zone = Zone::new(ZoneId::Dma32, span, present, map, (&blocks, &partial), &pcp);
    ranges.iter().for_each(|range| zone.free_bootmem(*range));
    body(&zone, map);
}

fn lists(zone: &TestZone<'_>, map: MemMap<'_>) -> Lists {
    let mut lists = Lists::new();
    zone.for_each_free(|page, order, kind| {
        let pfn = map.pfn(page).0;
        assert!(page.has(PageFlags::BUDDY) && page.refs() == 0, "{page:?}");
        assert_eq!((page.private(), page.index()), (order.get().into(), kind as u32));
        assert!(pfn.is_multiple_of(order.pages()), "{pfn:#x} is not aligned to {order:?}");
        assert_eq!(lists.insert(pfn, (order, kind)), None, "listed twice");
    });
    lists
}

fn free_one<'m>(zone: &TestZone<'m>, page: &'m Page, order: Order) {
    assert!(page.put(), "{page:?} was held once");
    zone.give(FrozenPage::after_last_put(page), order);
}

/// A zone that is worked on, and which of its frames should be free.
struct Driver<'a, 'm> {
    zone: &'a TestZone<'m>,
    map: MemMap<'m>,
    free: Vec<bool>,
    held: Vec<(&'m Page, Order)>,
}

impl<'a, 'm> Driver<'a, 'm> {
    fn new(zone: &'a TestZone<'m>, map: MemMap<'m>, ranges: &[FrameRange]) -> Self {
        let span = zone.span();
        let is_free = |pfn| ranges.iter().any(|range| range.contains(Pfn(pfn)));
        let free = (span.start.0..span.end.0).map(is_free).collect();
        Self { zone, map, free, held: Vec::new() }
    }

    fn set(&mut self, pfn: Pfn, order: Order, free: bool) {
        let first = (pfn - self.zone.span().start) as usize;
        for frame in &mut self.free[first..first + order.pages() as usize] {
            assert_ne!(*frame, free, "two owners of a frame of the block at {pfn:?}");
            *frame = free;
        }
    }

    /// The free frames as blocks, each as large as alignment and its neighbours allow.
    fn largest_blocks(&self) -> Vec<(u32, Order)> {
        let base = self.zone.span().start.0;
        let mut runs = std::vec![0u32; self.free.len() + 1];
        for i in (0..self.free.len()).rev() {
            runs[i] = if self.free[i] { runs[i + 1] + 1 } else { 0 };
        }
        let mut blocks = Vec::new();
        let mut at = 0;
        while at < self.free.len() {
            let pfn = base + at as u32;
            let Some(fits) = runs[at].checked_ilog2() else {
                at += 1;
                continue;
            };
            let order = fits.min(pfn.trailing_zeros()).min(Order::MAX.get().into());
            let order = Order::new(order as u8).expect("an order");
            blocks.push((pfn, order));
            at += order.pages() as usize;
        }
        blocks
    }

    fn types(&self) -> BTreeMap<u32, MigrateType> {
        let span = self.zone.span();
        let blocks = span.start.0 / 512..=(span.end.0 - 1) / 512;
        let inside = |block: u32| Pfn((block * 512).max(span.start.0));
        blocks.map(|block| (block, self.zone.pageblock_type(inside(block)))).collect()
    }

    /// Takes a block; the effect on the lists follows from the lists before.
    fn take(&mut self, want: Order, kind: MigrateType) {
        let (before, mut types) = (lists(self.zone, self.map), self.types());
        let fitting = || before.values().filter(|(order, _)| *order >= want);
        let Some(page) = self.zone.take(want, kind).map(NewPage::held) else {
            assert_eq!(fitting().count(), 0, "refused {want:?}");
            return;
        };
        let pfn = self.map.pfn(page);
        assert!(page.refs() == 1 && page.flags().is_empty(), "{page:?}");
        assert!(pfn.0.is_multiple_of(want.pages()), "{pfn:?} is not aligned to {want:?}");
        let (start, (found, from)) = before.range(..=pfn.0).next_back().expect("it was free");
        let own = fitting().filter(|(_, k)| *k == kind).map(|(order, _)| *order).min();
        let takes_over = own.is_none() && found.get() >= 8;
        match own {
            Some(smallest) => assert_eq!((*found, *from), (smallest, kind)),
            None => assert_eq!(Some(*found), fitting().map(|(order, _)| *order).max()),
        }
        if takes_over {
            let covered = start / 512..=(start + found.pages() - 1) / 512;
            types.extend(covered.map(|block| (block, kind)));
        }
        let mut after = before.clone();
        after.remove(start);
        for order in (want.get()..found.get()).filter_map(Order::new) {
            let rest = (pfn.0 & !(order.pages() - 1)) ^ order.pages();
            after.insert(rest, (order, if takes_over { kind } else { *from }));
        }
        assert_eq!(lists(self.zone, self.map), after);
        assert_eq!(self.types(), types);
        self.set(pfn, want, false);
        self.held.push((page, want));
    }

    /// Frees a block; it joins the list of the pageblock that it lies in.
    fn give(&mut self, which: usize) {
        let (page, order) = self.held.swap_remove(which);
        let pfn = self.map.pfn(page);
        let (before, types) = (lists(self.zone, self.map), self.types());
        free_one(self.zone, page, order);
        self.set(pfn, order, true);
        let after = lists(self.zone, self.map);
        let (start, (merged, kind)) = after.range(..=pfn.0).next_back().expect("it is free");
        assert_eq!(*kind, types[&(pfn.0 / 512)]);
        let swallowed = *start..start + merged.pages();
        assert!(swallowed.contains(&pfn.0));
        let untouched = |lists: &Lists| -> Lists {
            let outside = lists.iter().filter(|(pfn, _)| !swallowed.contains(pfn));
            outside.map(|(pfn, block)| (*pfn, *block)).collect()
        };
        assert_eq!(untouched(&after), untouched(&before));
        assert_eq!(self.types(), types);
    }

    fn check(&self) {
        self.zone.buddy.lock().check_partial();
        let listed = lists(self.zone, self.map);
        let blocks: Vec<_> = listed.iter().map(|(pfn, (order, _))| (*pfn, *order)).collect();
        assert_eq!(blocks, self.largest_blocks());
        assert_eq!(self.zone.free() as usize, self.free.iter().filter(|free| **free).count());
        for order in Order::all() {
            let count = blocks.iter().filter(|(_, o)| *o == order).count();
            assert_eq!(self.zone.free_blocks(order) as usize, count);
        }
    }
}

/// Ranges of memory with holes between them, at odd places.
fn memory() -> impl Strategy<Value = Vec<FrameRange>> {
    let pieces = prop::collection::vec((1..700u32, 1..1500u32), 1..4);
    (MARGIN..MARGIN + 2000, pieces).prop_map(|(mut at, pieces)| {
        let mut range = |(gap, pages)| {
            at += gap + pages;
            frames(at - pages, at)
        };
        pieces.into_iter().map(&mut range).collect()
    })
}

#[derive(Clone, Debug)]
enum Op {
    Take(Order, MigrateType),
    Give(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let order = prop_oneof![6 => 0..4u8, 2 => 4..9u8, 2 => 9..=10u8];
    let order = order.prop_map(|order| Order::new(order).expect("an order"));
    prop_oneof![
        3 => (order, prop::sample::select(&KINDS[..])).prop_map(|(o, k)| Op::Take(o, k)),
        2 => any::<prop::sample::Index>().prop_map(Op::Give),
    ]
}

proptest! {
    #![proptest_config(cases(64))]

    /// BUDY-01, BUDY-02: every block is taken from where the rules say, split and merged
    /// as far as can be; no frame has two owners; all of it is freed again.
    #[test]
    fn blocks_split_merge_and_change_type_as_an_array_of_frames_says(
        ranges in memory(),
        ops in prop::collection::vec(op(), 0..if cfg!(miri) { 6 } else { 150 }),
    ) {
        with_zone(&ranges, |zone, map| {
            let mut driver = Driver::new(zone, map, &ranges);
            driver.check();
            for op in ops {
                match op {
                    Op::Take(order, kind) => driver.take(order, kind),
                    Op::Give(which) if !driver.held.is_empty() => {
                        driver.give(which.index(driver.held.len()));
                    }
                    Op::Give(_) => {}
                }
                driver.check();
            }
            while !driver.held.is_empty() {
                driver.give(0);
            }
            driver.check();
            assert_eq!(zone.free(), zone.managed());
        });
    }
}

/// ZONE-01, ZONE-04: spanned, present and managed pages of a zone with holes.
#[test]
fn a_zone_counts_what_it_spans_has_and_manages() {
    let ranges = [frames(1500, 2100), frames(2300, 2301), frames(4000, 6047)];
    with_zone(&ranges, |zone, _| {
        assert_eq!((zone.span(), zone.present()), (frames(1500, 6047), 600 + 1 + 2047));
        assert_eq!((zone.managed(), zone.free()), (2648, 2648));
    });
}

/// ZONE-01, BUDY-01: a block never crosses into another zone, although the buddy there is
/// free too.
#[test]
fn blocks_do_not_merge_across_zones() {
    let pages = descriptors(2048, |i| u8::from(i >= 1536));
    let map = MemMap::new(&pages, Pfn(0));
    let blocks = [const { AtomicU8::new(0) }; 4];
    let partial = [const { Pageblock::new() }; 4];
    let pcp = [const { super::CpuLists::new() }; MAX_CPUS];
    let below = (&blocks[..3], &partial[..3]);
    let above = (&blocks[3..], &partial[3..]);
    let low = Zone::<TestCpu>::new(ZoneId::Dma, frames(0, 1536), 1536, map, below, &pcp);
    let high = Zone::<TestCpu>::new(ZoneId::Dma32, frames(1536, 2048), 512, map, above, &pcp);
    low.free_bootmem(frames(0, 1536));
    high.free_bootmem(frames(1536, 2048));
    let largest = |zone: &TestZone<'_>| lists(zone, map).into_iter().map(|(p, (o, _))| (p, o));
    assert!(largest(&low).eq([(0, Order::MAX), (1024, Order::PAGEBLOCK)]));
    assert!(largest(&high).eq([(1536, Order::PAGEBLOCK)]));
}

/// BUDY-01: freeing a page that must not be freed panics and shows its descriptor.
#[test]
fn a_bad_page_is_reported_with_its_descriptor() {
    with_zone(&[frames(1024, 2048)], |zone, map| {
        type Damage = fn(&Page);
        let damages: [(&str, Damage); 5] = [
            ("LRU", Page::enter_lru),
            ("WRITEBACK", |page| page.begin_writeback(true)),
            ("LOCKED", |page| page.try_lock().expect("free").pass_on()),
            ("mapcount: 1", |page| page.corrupt_counts(1, 0)),
            ("SWAPCACHE", |page| page.enter_swap_cache(7)),
        ];
        for (sign, damage) in damages {
            let page =
                zone.take(Order::ZERO, MigrateType::Movable).map(NewPage::held).expect("a page");
            damage(page);
            let free = zone.free();
            let said = panic_of(|| free_one(zone, page, Order::ZERO));
            let place = std::format!("bad page at free, {:?}: Page {{", map.pfn(page));
            assert!(said.starts_with(&place) && said.contains(sign), "{said}");
            assert_eq!(zone.free(), free);
        }
    });
}

/// BUDY-01: a block that is free already is not freed again.
#[test]
fn a_double_free_is_reported_with_its_descriptor() {
    with_zone(&[frames(1024, 2048)], |zone, _| {
        let order = Order::COSTLY;
        // Its buddy stays in use, so that the block is not merged.
        let [page, _buddy] =
            [(); 2].map(|()| zone.take(order, MigrateType::Movable).map(NewPage::held));
        let page = page.expect("a block");
        free_one(zone, page, order);
        let said = panic_of(|| zone.give(FrozenPage::after_last_put(page), order));
        assert!(said.contains("bad page at free") && said.contains("BUDDY"), "{said}");
    });
}

/// SPL-18: a batch of frozen pages is freed in one critical section and is counted.
#[test]
fn a_batch_comes_back_whole() {
    with_zone(&[frames(1024, 2048)], |zone, map| {
        let pages: Vec<&Page> = (0..40)
            .filter_map(|_| zone.take(Order::ZERO, MigrateType::Movable).map(NewPage::held))
            .collect();
        assert_eq!(zone.free(), 1024 - 40);
        let last = |page: &&Page| assert!(page.put());
        zone.give_batch(pages.into_iter().inspect(last).map(FrozenPage::after_last_put));
        assert_eq!((zone.free(), lists(zone, map).len()), (1024, 1));
    });
}

/// BUDY-03: stealing less than a pageblock raises the marks until kswapd has freed as much.
#[test]
fn a_fallback_within_a_pageblock_boosts_the_marks() {
    with_zone(&[frames(2048, 2048 + 4096)], |zone, _| {
        zone.set_watermarks(Watermarks { min: 64, low: 80, high: 96 });
        let unmovable = || zone.take(Order::ZERO, MigrateType::Unmovable).map(NewPage::held);
        assert!(unmovable().is_some(), "a whole block is taken over");
        assert_eq!(zone.mark(Mark::High), 96);
        while zone.take(Order::MAX, MigrateType::Movable).map(NewPage::held).is_some() {}
        let movable: Vec<&Page> = (0..).map_while(|_| unmovable()).collect();
        assert_eq!((movable.len(), zone.free(), zone.mark(Mark::Low)), (1023, 0, 80));
        let page = movable[500];
        free_one(zone, page, Order::ZERO);
        assert!(zone.take(Order::ZERO, MigrateType::Movable).map(NewPage::held).is_some());
        let boosted = [Mark::Min, Mark::Low, Mark::High].map(|mark| zone.mark(mark));
        assert_eq!(boosted, [64 + 512, 80 + 512, 96 + 512]);
        assert_eq!(zone.watermarks().high, 96, "without the boost");
        zone.clear_boost();
        assert_eq!(zone.mark(Mark::High), 96);
    });
}

/// BUDY-03, BUDY-07: the same where a CPU's list is filled, with single pages or with blocks.
#[test]
fn a_fallback_for_a_cpus_list_boosts_the_marks_too() {
    for order in [0, 2] {
        let order = Order::new(order).expect("an order");
        with_zone(&[frames(2048, 2048 + 4096)], |zone, map| {
            zone.set_watermarks(Watermarks { min: 64, low: 80, high: 96 });
            let take = |kind| zone.take_block(order, kind).map(NewPage::held);
            assert!(take(MigrateType::Unmovable).is_some(), "a whole block is taken over");
            assert_eq!(zone.mark(Mark::High), 96);
            while zone.take(Order::MAX, MigrateType::Movable).map(NewPage::held).is_some() {}
            let unmovable = || zone.take(Order::ZERO, MigrateType::Unmovable).map(NewPage::held);
            let held: Vec<&Page> = std::iter::from_fn(unmovable).collect();
            let of_one_block = |page: &&&Page| map.pfn(page).0 >> 2 == map.pfn(held[500]).0 >> 2;
            held.iter().filter(of_one_block).for_each(|page| free_one(zone, page, Order::ZERO));
            assert_eq!((zone.free(), zone.mark(Mark::High)), (4, 96));
            assert!(take(MigrateType::Movable).is_some());
            assert_eq!(zone.mark(Mark::High), 96 + 512, "{order:?}");
        });
    }
}

/// BUDY-03, ZONE-03: for single pages the shortcut gives the same answer as the full rule.
#[test]
fn the_short_cut_for_single_pages_agrees_with_the_rule() {
    with_zone(&[frames(1024, 1024 + 700)], |zone, _| {
        zone.set_lowmem_reserve(ZoneId::Normal, 256 * 100);
        assert_eq!(zone.lowmem_reserve(ZoneId::Normal), 100);
        assert_eq!(zone.lowmem_reserve(ZoneId::Dma32), 0);
        let ok = |mark, class, reach| zone.watermark_ok(Order::ZERO, mark, class, reach);
        assert!(ok(699, ZoneId::Dma32, Reach::empty()) && !ok(700, ZoneId::Dma32, Reach::empty()));
        assert!(ok(599, ZoneId::Normal, Reach::empty()));
        assert!(!ok(600, ZoneId::Normal, Reach::empty()));
        assert!(ok(1198, ZoneId::Normal, Reach::HIGH) && !ok(1199, ZoneId::Normal, Reach::HIGH));
        assert!(ok(u32::MAX / 2, ZoneId::Normal, Reach::NO_WATERMARKS));
    });
}

/// ZONE-01: every frame belongs to exactly one zone.
#[test]
fn the_zones_share_all_frames() {
    let custom = ZoneLimits { dma_end: PhysAddr(64 << 20), dma32_end: PhysAddr(128 << 20) };
    let no_dma32 = ZoneLimits { dma32_end: custom.dma_end, ..custom };
    for limits in [ZoneLimits::default(), custom, no_dma32] {
        let edges = [limits.dma_end, limits.dma32_end].map(|end| Pfn::of(end).expect("a frame").0);
        for pfn in edges.into_iter().flat_map(|e| [e - 1, e, e + 1]).chain([0, u32::MAX - 1]) {
            let homes = ZoneId::ALL.iter().filter(|id| limits.range(**id).contains(Pfn(pfn)));
            assert_eq!(homes.count(), 1, "frame {pfn:#x} of {limits:?}");
        }
    }
    let default = ZoneLimits::default();
    assert_eq!(default.range(ZoneId::Dma), frames(0, 0x4_0000));
    assert_eq!(default.range(ZoneId::Dma32), frames(0x4_0000, 0x10_0000));
    assert_eq!(no_dma32.range(ZoneId::Dma32).pages(), 0);
}

/// PAGE-01: sleepers for pages of two zones never share a bucket, those of one zone may.
#[test]
fn wait_keys_tell_zones_apart_and_spread_pages() {
    let pages = descriptors(8192, |_| 0);
    let map = MemMap::new(&pages, Pfn(0));
    let pcp = [const { super::CpuLists::new() }; MAX_CPUS];
    let zone = |id| Zone::<TestCpu>::new(id, frames(0, 8192), 0, map, (&[], &[]), &pcp);
    let (dma, normal) = (zone(ZoneId::Dma), zone(ZoneId::Normal));
    let keys = |zone: &TestZone<'_>| -> Vec<u64> {
        let mut keys: Vec<u64> = pages.iter().map(|page| zone.wait_key(page).0).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    let (low, high) = (keys(&dma), keys(&normal));
    assert_eq!((low.len(), high.len()), (32, 32));
    assert!(low.iter().all(|key| !high.contains(key)));
    assert_eq!(dma.wait_key(&pages[77]), dma.wait_key(&pages[77]));
}

#[test]
fn ranges_intersect_as_sets_do() {
    let table = [
        (frames(0, 10), frames(5, 20), frames(5, 10)),
        (frames(5, 20), frames(0, 10), frames(5, 10)),
        (frames(0, 10), frames(2, 3), frames(2, 3)),
        (frames(0, 10), frames(10, 20), frames(10, 10)),
        (frames(0, 10), frames(15, 20), frames(15, 15)),
    ];
    for (a, b, both) in table {
        assert_eq!(a.intersection(b), both);
        assert_eq!(a.contains(Pfn(5)) && b.contains(Pfn(5)), both.contains(Pfn(5)));
    }
}
