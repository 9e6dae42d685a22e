//! Zones, descriptors and watermarks, compared with the device tree and the formulas of the
//! specification, which are repeated here.

use mm_reclaim::page::PageFlags;
use mm_reclaim::units::Order;
use mm_reclaim::zone::{Mark, ZoneId};
use suite::Test;

use crate::support::{books, mm};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("zones::managed_and_reserved_pages_make_up_the_present_ones", arithmetic),
    Test::new("zones::no_zone_has_a_page_of_another", disjoint),
    Test::new("zones::a_hole_has_reserved_descriptors_only", holes),
    Test::new("zones::watermarks_follow_the_formula", watermarks),
    Test::new("zones::a_zone_holds_back_a_256th_of_those_above", reserves),
    Test::new("zones::free_memory_lies_in_the_largest_blocks", large_blocks),
];

/// ZONE-04: to the page.
fn arithmetic() {
    let census = books();
    let (mut present, mut managed) = (0, 0);
    for zone in mm().zones() {
        let span = zone.span();
        let usable = mm()
            .memmap()
            .iter()
            .filter(|(pfn, page)| span.contains(*pfn) && !page.has(PageFlags::RESERVED))
            .count();
        assert_eq!(usable, zone.managed() as usize, "zone {}", zone.id().name());
        assert!(zone.managed() <= zone.present() && zone.present() <= span.pages());
        present += zone.present();
        managed += zone.managed();
    }
    let in_use: u32 = census.lru.iter().sum::<u32>() + census.kernel;
    assert_eq!(census.free + in_use, managed, "every managed page is somewhere");
    // The kernel image, the descriptors and the initrd are present and not managed.
    assert!(present - managed > 200, "{present} present, {managed} managed");
}

/// ZONE-01.
fn disjoint() {
    for (pfn, page) in mm().memmap().iter() {
        let holding = ZoneId::ALL.iter().filter(|id| mm().zone(**id).span().contains(pfn)).count();
        assert!(holding <= 1, "{pfn:?} lies in {holding} zones");
        if !page.has(PageFlags::RESERVED) {
            let zone = mm().zone(ZoneId::ALL[page.zone_index()]);
            assert!(zone.span().contains(pfn), "{pfn:?} is not where it says");
        }
    }
}

/// ZONE-01: spanned less present is the holes, and nothing in a hole is ever allocated.
fn holes() {
    let memory = &crate::support::machine().tree.memory;
    for (pfn, page) in mm().memmap().iter() {
        let at = pfn.addr().0;
        let is_memory = memory.iter().any(|span| span.base <= at && at < span.end());
        assert!(is_memory || page.has(PageFlags::RESERVED), "{pfn:?} is no memory");
    }
}

/// BUDY-03: min_free_kbytes = sqrt(16 × lowmem KiB) within 128 and 262,144, shared by size;
/// the gap is a quarter of MIN or a thousandth of the zone.
fn watermarks() {
    let lowmem: u64 = mm().zones().map(|zone| u64::from(zone.managed())).sum();
    let kbytes = (16 * lowmem * 4).isqrt().clamp(128, 262_144);
    for zone in mm().zones() {
        let managed = u64::from(zone.managed());
        let min = kbytes / 4 * managed / lowmem;
        let gap = (min / 4).max(managed / 1000);
        let found = [Mark::Min, Mark::Low, Mark::High].map(|mark| u64::from(zone.mark(mark)));
        assert_eq!(found, [min, min + gap, min + 2 * gap], "zone {}", zone.id().name());
    }
}

/// ZONE-03.
fn reserves() {
    for zone in mm().zones() {
        for class in ZoneId::ALL {
            let above = |other: &ZoneId| *other > zone.id() && *other <= class;
            let managed =
                ZoneId::ALL.iter().filter(|id| above(id)).map(|id| mm().zone(*id).managed());
            let expected = managed.sum::<u32>() / 256;
            assert_eq!(
                zone.lowmem_reserve(class),
                expected,
                "{} {}",
                zone.id().name(),
                class.name()
            );
        }
    }
}

/// BUDY-01: the pages that memblock handed over one by one were merged again.
fn large_blocks() {
    let free: u32 = mm().zones().map(|zone| zone.free()).sum();
    let large: u32 = mm().zones().map(|zone| zone.free_blocks(Order::MAX)).sum();
    assert!(large * Order::MAX.pages() > free / 4 * 3, "{large} blocks of {free} free pages");
}
