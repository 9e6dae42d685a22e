//! Which type steals from which, and which blocks no type may steal.

use std::vec::Vec;

use super::{Buddy, FrameRange, Pageblock, pageblock_index, tag_type};
use crate::base::sync::{AtomicU8, Ordering};
use crate::base::units::{Order, Pfn};
use crate::page::memmap::MemMap;
use crate::tests::{descriptors, frames};
use crate::zone::MigrateType::{self, HighAtomic, Isolate, Movable, Reclaimable, Unmovable};

/// Pageblocks of the zone.
const BLOCKS: usize = 4;
const SPAN: FrameRange = FrameRange { start: Pfn(0), end: Pfn(BLOCKS as u32 * 512) };

impl Buddy<'_> {
    /// Holds the books about partly free pageblocks against the free lists.
    pub(in crate::zone) fn check_partial(&self) {
        let small = Order::all().take_while(|order| *order < Order::PAGEBLOCK);
        let lists = small.flat_map(|order| MigrateType::ALL.map(|kind| (order, kind)));
        let blocks = lists.flat_map(|(order, kind)| {
            self.iter(order, kind).map(move |page| (self.map.pfn(page), order))
        });
        let base = Pfn(self.span.start.0 & !(Order::PAGEBLOCK.pages() - 1));
        self.partial.check(&blocks.collect::<Vec<_>>(), base);
    }
}

fn order(order: u8) -> Order {
    Order::new(order).expect("an order")
}

/// An allocator whose pageblocks have the given types, with nothing free yet.
fn with_buddy(types: [MigrateType; BLOCKS], body: impl for<'m> FnOnce(Buddy<'m>, MemMap<'m>)) {
    let pages = descriptors(SPAN.pages(), |_| 0);
    pages.iter().for_each(|page| _ = page.unreserve());
    let map = MemMap::new(&pages, Pfn(0));
    let blocks = types.map(|kind| AtomicU8::new(kind as u8));
    let partial = [const { Pageblock::new() }; BLOCKS];
    body(Buddy::new(map, SPAN, &blocks, &partial), map);
}

fn type_at(buddy: &Buddy<'_>, pfn: u32) -> MigrateType {
    tag_type(&buddy.tags[pageblock_index(buddy.span, Pfn(pfn))])
}

/// Frees a block to the zone and returns the list that has it then.
fn give(buddy: &mut Buddy<'_>, pfn: u32, of: u8) -> MigrateType {
    let before = MigrateType::ALL.map(|kind| buddy.blocks_of_type(order(of), kind));
    buddy.give(Pfn(pfn), order(of));
    let changed =
        |kind: &MigrateType| buddy.blocks_of_type(order(of), *kind) != before[*kind as usize];
    MigrateType::ALL.into_iter().find(changed).expect("a list that has grown")
}

/// BUDY-01: a block goes to the list of its pageblock's type.
#[test]
fn a_freed_block_joins_the_list_of_its_pageblock() {
    with_buddy([Unmovable, Reclaimable, HighAtomic, Isolate], |mut buddy, _| {
        for (pfn, kind) in [(8, Unmovable), (520, Reclaimable), (1032, HighAtomic), (1544, Isolate)]
        {
            assert_eq!(give(&mut buddy, pfn, 3), kind);
        }
    });
}

/// BUDY-02: the larger of two foreign blocks is stolen, whichever type it is of.
#[test]
fn the_largest_foreign_block_is_stolen() {
    for (small, large) in [(Movable, Reclaimable), (Reclaimable, Movable)] {
        with_buddy([small, large, Unmovable, Unmovable], |mut buddy, map| {
            give(&mut buddy, 0, 2);
            give(&mut buddy, 512, 5);
            let taken = buddy.take(order(1), Unmovable).expect("a block");
            assert_eq!((map.pfn(taken.page), taken.fell_back), (Pfn(512), true));
            // The rest stays with its own type.
            assert_eq!(buddy.blocks_of_type(order(4), large), 1);
            assert_eq!(type_at(&buddy, 512), large);
        });
    }
}

/// BUDY-02: among blocks of one size, the first type in the table is stolen from.
#[test]
fn among_equals_the_preferred_type_gives() {
    let table = [
        (Unmovable, Reclaimable, Movable),
        (Movable, Reclaimable, Unmovable),
        (Reclaimable, Unmovable, Movable),
    ];
    for (kind, first, second) in table {
        with_buddy([second, first, kind, kind], |mut buddy, map| {
            give(&mut buddy, 512, 4);
            give(&mut buddy, 0, 4);
            let taken = buddy.take(order(4), kind).expect("a block");
            assert_eq!(map.pfn(taken.page), Pfn(512), "{kind:?} steals from {first:?}");
            let taken = buddy.take(order(4), kind).expect("another block");
            assert_eq!(map.pfn(taken.page), Pfn(0), "then from {second:?}");
        });
    }
}

/// BUDY-02: half a pageblock is enough to take the pageblock over, less is not.
#[test]
fn half_a_pageblock_changes_its_type_and_less_does_not() {
    for (stolen, kind, fell_back) in
        [(7, Movable, true), (8, Unmovable, true), (9, Unmovable, false)]
    {
        with_buddy([Movable; BLOCKS], |mut buddy, _| {
            give(&mut buddy, 512, stolen);
            let taken = buddy.take(order(0), Unmovable).expect("a page");
            assert_eq!(taken.fell_back, fell_back, "order {stolen}");
            assert_eq!(type_at(&buddy, 512), kind, "order {stolen}");
            assert_eq!(buddy.blocks_of_type(order(0), kind), 1, "the rest, order {stolen}");
            assert_eq!(type_at(&buddy, 0), Movable);
            assert_eq!(type_at(&buddy, 1024), Movable);
        });
    }
}

/// BUDY-02: a block of two pageblocks takes both of them over.
#[test]
fn the_largest_order_changes_two_pageblocks() {
    with_buddy([Movable; BLOCKS], |mut buddy, _| {
        give(&mut buddy, 1024, 10);
        assert!(!buddy.take(order(10), Reclaimable).expect("a block").fell_back);
        let types = [0, 512, 1024, 1536].map(|pfn| type_at(&buddy, pfn));
        assert_eq!(types, [Movable, Movable, Reclaimable, Reclaimable]);
    });
}

/// BUDY-07: several pages at once come in one block of at most so many; a larger one is split only
/// if the caller allows it, and stays whole otherwise.
#[test]
fn packed_pages_come_whole_unless_a_split_is_wanted() {
    let [none, single] = [None, Some(0)];
    // The free block's order, the pages wanted, whether it may be split, the order taken.
    let table = [
        (3, 16, false, Some(3)),
        (3, 16, true, Some(3)),
        (3, 8, false, Some(3)),
        (3, 8, true, Some(3)),
        (3, 7, false, none),
        (3, 7, true, Some(2)),
        (3, 1, false, none),
        (3, 1, true, single),
        (0, 1, false, single),
        (10, 16, false, none),
        (10, 16, true, Some(4)),
    ];
    for (have, most, split, want) in table {
        with_buddy([Movable; BLOCKS], |mut buddy, map| {
            give(&mut buddy, 1024, have);
            let taken = buddy.take_packed(most, split, Movable);
            let place = taken.map(|(page, order)| (map.pfn(page), order));
            let case = (have, most, split);
            assert_eq!(place, want.map(|of| (Pfn(1024), order(of))), "{case:?}");
            let lists = Order::all().map(|o| buddy.blocks_of(o) << o.get());
            let left = (1 << have) - want.map_or(0, |of| 1 << of);
            assert_eq!(lists.sum::<u32>(), left, "{case:?}");
            assert_eq!(buddy.blocks_of(order(have)), u32::from(want.is_none()), "{case:?}");
            buddy.check_partial();
        });
    }
}

/// BUDY-01: the high-atomic reserve and isolated blocks serve no ordinary request, and do
/// not count as free blocks for one.
#[test]
fn the_reserve_and_isolated_blocks_are_not_stolen() {
    with_buddy([HighAtomic, HighAtomic, Isolate, Isolate], |mut buddy, _| {
        give(&mut buddy, 0, 9);
        give(&mut buddy, 1024, 9);
        for kind in [Unmovable, Movable, Reclaimable] {
            assert!(buddy.take(order(0), kind).is_none(), "{kind:?}");
        }
        assert_eq!(buddy.blocks_of(order(9)), 0);
        assert!(buddy.take(order(0), HighAtomic).is_some(), "the type itself can");
        assert!(buddy.take(order(9), HighAtomic).is_none(), "and steals from no other type");
    });
}

/// BUDY-01: buddies merge although their pageblocks are of different types, and a block
/// that was listed under an older type of its pageblock is still found.
#[test]
fn blocks_of_different_types_merge() {
    with_buddy([Movable, Unmovable, Movable, Movable], |mut buddy, map| {
        give(&mut buddy, 0, 9);
        buddy.tags[0].store(Reclaimable as u8, Ordering::Relaxed);
        buddy.give(Pfn(512), order(9));
        let all = Order::all().flat_map(|o| MigrateType::ALL.map(|kind| (o, kind)));
        let listed = all.filter(|(o, kind)| buddy.blocks_of_type(*o, *kind) > 0);
        assert!(listed.eq([(order(10), Unmovable)]));
        let merged = buddy.iter(order(10), Unmovable).map(|page| map.pfn(page));
        assert!(merged.eq([frames(0, 1024).start]));
        assert!(buddy.take(order(9), Movable).is_some(), "nothing is left under the old types");
    });
}
