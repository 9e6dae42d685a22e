//! Memory that a kernel must not use (MEMB-01, MEMB-02): nodes that are not memory despite their
//! name, what `linux,usable-memory` leaves out of a node, and what lies outside the ranges of
//! `linux,usable-memory-range`.

use std::collections::BTreeSet;

use boot::dtb::{MAX_RANGES, Summary};
use second::Ranges;
use trees::builder::Tree;
use trees::random::Random;

mod second;
#[allow(dead_code, reason = "each test program uses its part of what they share")]
mod trees;

const NODE: &str = "linux,usable-memory";
const CHOSEN: &str = "linux,usable-memory-range";

/// The usable memory of a tree whose root has two cells for each number, or the error.
fn usable(more: impl FnOnce(&mut Tree)) -> Result<Ranges, String> {
    let blob = Tree::build(|root| {
        root.cell_counts(2, 2);
        more(root);
    });
    let summary = Summary::read(&blob).map_err(|error| error.to_string())?;
    let memory: Ranges = summary.memory.iter().map(|span| (span.base, span.size)).collect();
    assert_eq!(memory, second::memory(&fdt::Fdt::new(&blob).unwrap()), "the second reader");
    Ok(memory)
}

/// A memory node with these properties of ranges.
fn memory(root: &mut Tree, name: &str, properties: &[(&str, &[(u64, u64)])]) {
    root.node(name, |node| {
        node.text("device_type", "memory");
        properties.iter().for_each(|(property, pairs)| node.pairs(property, 2, 2, pairs));
    });
}

fn chosen(root: &mut Tree, ranges: &[(u64, u64)]) {
    root.node("chosen", |chosen| chosen.pairs(CHOSEN, 2, 2, ranges));
}

/// MEMB-02: what `device_type` calls memory is memory; the name does not matter.
#[test]
fn memory_is_what_is_said_to_be_memory_whatever_its_name() {
    let found = usable(|root| {
        memory(root, "ram@80000000", &[("reg", &[(0x8000_0000, 0x1000)])]);
        root.node("memory@40000000", |node| node.pairs("reg", 2, 2, &[(0x4000_0000, 0x1000)]));
        root.node("memory@50000000", |node| {
            node.text("device_type", "cache");
            node.pairs("reg", 2, 2, &[(0x5000_0000, 0x1000)]);
        });
        memory(root, "dram", &[("reg", &[(0x9000_0000, 0x2000)])]);
        root.node("soc", |soc| memory(soc, "memory@1", &[("reg", &[(0x1000, 0x1000)])]));
    });
    assert_eq!(found, Ok(vec![(0x8000_0000, 0x1000), (0x9000_0000, 0x2000)]));
    let nameless = usable(|root| {
        root.node("memory@0", |node| node.pairs("reg", 2, 2, &[(0, 0x1000)]));
    });
    assert_eq!(nameless, Err("device tree describes no memory".into()));
}

/// MEMB-02: a node's usable ranges replace its own; the other nodes keep theirs.
#[test]
fn usable_memory_of_a_node_takes_the_place_of_its_ranges() {
    let found = usable(|root| {
        memory(root, "memory@0", &[("reg", &[(0, 0x10_0000), (0x20_0000, 0x10_0000)])]);
        let parts = [(0x4001_0000, 0x1000), (0x4003_0000, 0), (0x4008_0000, 0x2000)];
        memory(root, "memory@40000000", &[("reg", &[(0x4000_0000, 0x10_0000)]), (NODE, &parts)]);
        memory(root, "memory@50000000", &[("reg", &[(0x5000_0000, 0x10_0000)]), (NODE, &[])]);
        memory(root, "memory@60000000", &[(NODE, &[(0x6000_0000, 0x1000)])]);
    });
    let expected = [
        (0, 0x10_0000),
        (0x20_0000, 0x10_0000),
        (0x4001_0000, 0x1000),
        (0x4008_0000, 0x2000),
        (0x6000_0000, 0x1000),
    ];
    assert_eq!(found, Ok(expected.to_vec()));
    let disabled = usable(|root| {
        memory(root, "memory@0", &[("reg", &[(0, 0x1000)])]);
        root.node("memory@1000", |node| {
            node.text("device_type", "memory");
            node.text("status", "disabled");
            node.pairs(NODE, 2, 2, &[(0x1000, 0x1000)]);
        });
    });
    assert_eq!(disabled, Ok(vec![(0, 0x1000)]));
}

/// MEMB-02: every node is cut to the ranges of chosen, whose order does not matter; they do not add
/// memory.
#[test]
fn outside_the_ranges_of_chosen_nothing_is_usable() {
    let cut = |ranges: &[(u64, u64)]| {
        usable(|root| {
            memory(root, "memory@0", &[("reg", &[(0, 0x8000), (0x1_0000, 0x8000)])]);
            memory(root, "memory@20000", &[("reg", &[]), (NODE, &[(0x2_0000, 0x4000)])]);
            chosen(root, ranges);
        })
    };
    assert_eq!(cut(&[(0x2000, 0x1000)]), Ok(vec![(0x2000, 0x1000)]));
    let all = [(0, 0x8000), (0x1_0000, 0x8000), (0x2_0000, 0x4000)];
    assert_eq!(cut(&[(0, 1 << 40)]), Ok(all.to_vec()));
    let found = cut(&[(0x2_3000, 0x8000), (0x6000, 0xb000), (0x1_2000, 0)]);
    assert_eq!(found, Ok(vec![(0x6000, 0x2000), (0x1_0000, 0x1000), (0x2_3000, 0x1000)]));
}

/// BOOT-02, MEMB-02: malformed values are refused, and so is a tree without usable memory.
#[test]
fn usable_memory_that_cannot_be_understood_is_refused() {
    let node = |property: &str, value: &[u8]| {
        usable(|root| {
            root.node("memory@0", |node| {
                node.text("device_type", "memory");
                node.pairs("reg", 2, 2, &[(0, 0x1000)]);
                node.bytes(property, value);
            });
        })
        .unwrap_err()
    };
    let range = |value: &[u8]| {
        usable(|root| {
            memory(root, "memory@0", &[("reg", &[(0, 0x1000)])]);
            root.node("chosen", |chosen| chosen.bytes(CHOSEN, value));
        })
        .unwrap_err()
    };
    let ragged = "property was 12 bytes, but should have been a multiple of 4 cells";
    assert!(node(NODE, &[0; 12]).contains(&format!("\"memory@0\", property \"{NODE}\"")));
    assert!(node(NODE, &[0; 12]).contains(ragged) && range(&[0; 12]).contains(ragged));
    assert!(range(&[0; 12]).contains(&format!("\"chosen\", property \"{CHOSEN}\"")));
    assert!(
        node(NODE, &[0xff; 16]).contains("overflow") && range(&[0xff; 16]).contains("overflow")
    );
    let untold = usable(|root| root.node("ram", |node| node.bytes("device_type", b"memory")));
    assert!(untold.unwrap_err().contains("\"ram\", property \"device_type\": property is not"));
    let nothing = "device tree lets no memory be used";
    assert_eq!(node(NODE, &[]), nothing);
    for empty in [&[][..], &[0; 32]] {
        assert_eq!(range(empty), nothing, "{empty:?}");
    }
    let elsewhere = [1u64 << 40, 0x1000].map(u64::to_be_bytes).concat();
    assert_eq!(range(&elsewhere), nothing);
}

/// BOOT-02: as many ranges as there is room for are read, and one more is an error.
#[test]
fn no_usable_range_is_dropped() {
    let many = |count: usize| (0..count as u64).map(|n| (n << 16, 0x1000)).collect::<Vec<_>>();
    let in_node = |count: usize| {
        usable(|root| memory(root, "memory@0", &[("reg", &[(0, 1 << 32)]), (NODE, &many(count))]))
    };
    let in_chosen = |count: usize| {
        usable(|root| {
            memory(root, "memory@0", &[("reg", &[(0, 1 << 32)])]);
            chosen(root, &many(count));
        })
    };
    assert_eq!(in_node(MAX_RANGES), Ok(many(MAX_RANGES)));
    assert_eq!(in_chosen(MAX_RANGES), Ok(many(MAX_RANGES)));
    let more = in_node(MAX_RANGES + 1).unwrap_err();
    assert_eq!(more, "device tree has more than 64 memory ranges");
    let more = in_chosen(MAX_RANGES + 1).unwrap_err();
    assert_eq!(more, "device tree has more than 64 usable memory ranges");
}

/// BOOT-02: unusable memory is no place for a device, since the kernel writes its registers.
#[test]
fn registers_in_memory_that_is_not_usable_are_refused() {
    let with_uart = |base: u64, limited: bool| {
        usable(|root| {
            let parts: &[(u64, u64)] = &[(0x4000_0000, 0x1000)];
            let reg: &[(u64, u64)] = &[(0x4000_0000, 0x1000_0000)];
            let properties = [("reg", reg), (NODE, parts)];
            memory(root, "memory@40000000", &properties[..2 - usize::from(limited)]);
            if limited {
                chosen(root, parts);
            }
            root.node("serial@1", |uart| {
                uart.text("compatible", "arm,pl011");
                uart.pairs("reg", 2, 2, &[(base, 0x1000)]);
            });
        })
    };
    for limited in [false, true] {
        assert_eq!(with_uart(0x3000_0000, limited), Ok(vec![(0x4000_0000, 0x1000)]));
        let said = with_uart(0x4800_0000, limited).unwrap_err();
        assert!(said.contains("the console's registers at"), "{said}");
    }
}

/// A page of the random trees, and the number of pages.
const PAGE: u64 = 0x1000;
const PAGES: usize = 64;

/// Random ranges of whole pages, and the pages in them.
fn some(random: &mut Random) -> (Ranges, BTreeSet<u64>) {
    let range = |random: &mut Random| (random.below(PAGES) as u64, random.below(PAGES / 4) as u64);
    let ranges: Vec<_> = (0..random.below(4)).map(|_| range(random)).collect();
    let held = ranges.iter().flat_map(|&(first, count)| first..first + count).collect();
    (ranges.iter().map(|&(first, count)| (first * PAGE, count * PAGE)).collect(), held)
}

/// Writes a node that may be memory; returns its usable pages.
fn bank(root: &mut Tree, number: usize, random: &mut Random) -> BTreeSet<u64> {
    let ((reg, whole), (parts, left)) = (some(random), some(random));
    let (is_memory, limited) = (random.below(5) > 0, random.below(2) == 0);
    root.node(&format!("bank@{number}"), |node| {
        node.text("device_type", if is_memory { "memory" } else { "other" });
        node.pairs("reg", 2, 2, &reg);
        if limited {
            node.pairs(NODE, 2, 2, &parts);
        }
    });
    match (is_memory, limited) {
        (false, _) => BTreeSet::new(),
        (_, true) => left,
        _ => whole,
    }
}

/// MEMB-01, MEMB-02: whatever nodes there are and whatever limits them, the usable pages are those
/// that the three properties leave, page by page.
#[test]
fn every_page_that_is_left_is_found_and_no_other() {
    let mut random = Random::new(23);
    for _ in 0..3_000 {
        let mut expected = BTreeSet::new();
        let found = usable(|root| {
            for number in 0..1 + random.below(3) {
                expected.extend(bank(root, number, &mut random));
            }
            if random.below(2) == 0 {
                let (ranges, left) = some(&mut random);
                chosen(root, &ranges);
                expected.retain(|page| left.contains(page));
            }
        });
        let pages = |&(base, size): &(u64, u64)| base / PAGE..(base + size) / PAGE;
        match found {
            Ok(ranges) => {
                assert_eq!(ranges.iter().flat_map(pages).collect::<BTreeSet<_>>(), expected);
            }
            Err(said) => assert!(expected.is_empty() && said.contains(" no memory"), "{said}"),
        }
    }
}
