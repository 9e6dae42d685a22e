//! Memory as device trees may describe it (MEMB-01, MEMB-02): several ranges in any order,
//! holes, no memory, and impossible layouts.

use boot::dtb::{DtbError, Reserved, Span, Summary};
use dtoolkit::error::PropertyError;
use trees::boards::{PI_8_GIB, Ranges, raspberry_pi_4, virt};
use trees::builder::Tree;
use trees::random::Random;

mod second;
#[allow(dead_code, reason = "each test program uses its part of what they share")]
mod trees;

/// The memory of a `virt` board with these nodes.
fn memory_of(nodes: &[Ranges<'_>]) -> Result<Vec<(u64, u64)>, String> {
    let blob = virt("", nodes, |_| {});
    let summary = Summary::read(&blob).map_err(|error| error.to_string())?;
    Ok(pairs(&summary.memory))
}

fn pairs(spans: &[Span]) -> Vec<(u64, u64)> {
    spans.iter().map(|span| (span.base, span.size)).collect()
}

/// MEMB-01: the tree's order is kept, and nothing is merged, cut or checked here: memblock does
/// that.
#[test]
fn ranges_are_told_as_they_are_written() {
    let cases: [&[Ranges<'_>]; 6] = [
        &[&[(0x8000_0000, 0x1000)], &[(0x4000_0000, 0x1000)]],
        &[&[(0x4000_0000, 0x1000), (0x4000_1000, 0x1000)]],
        &[&[(0x4000_0000, 0x3000)], &[(0x4000_1000, 0x1000)], &[(0x4000_0000, 0x3000)]],
        &[&[(0x4000_0000, 0xbc00_0000), (0x1_0000_0000, 0x1_0000_0000), (0, 0x0800_0000)]],
        &[&[(0x40_0000_0000, 0x1000), (1 << 52, 0x1000)]],
        &[&[(0x4000_0001, 0x7ff), (u64::MAX - 0x1000, 0x1000)]],
    ];
    for nodes in cases {
        assert_eq!(memory_of(nodes), Ok(nodes.concat()));
    }
    let empty = memory_of(&[&[(0x5000_0000, 0), (0x4000_0000, 0x1000)], &[]]);
    assert_eq!(empty, Ok(vec![(0x4000_0000, 0x1000)]), "an empty range is dropped");
}

/// BOOT-02: no memory at all.
#[test]
fn a_tree_without_memory_is_refused() {
    let none: [&[Ranges<'_>]; 3] = [&[], &[&[]], &[&[], &[(0x4000_0000, 0)]]];
    for nodes in none {
        assert_eq!(memory_of(nodes), Err("device tree describes no memory".into()));
    }
    let disabled = Tree::build(|root| {
        root.node("memory@0", |node| {
            node.text("device_type", "memory");
            node.pairs("reg", 2, 1, &[(0, 0x1000)]);
            node.text("status", "disabled");
        });
        root.node("memory", |node| node.text("device_type", "memory"));
    });
    assert_eq!(Summary::read(&disabled), Err(DtbError::NoMemory));
}

/// BOOT-02: ranges that wrap around, in each property with ranges.
#[test]
fn a_range_that_ends_beyond_the_last_address_is_refused() {
    let (base, size) = (u64::MAX - 0xfff, 0x1001);
    assert_eq!(memory_of(&[&[(base, 0xfff)]]), Ok(vec![(base, 0xfff)]));
    let refused = |node: &str, base, size, add: &dyn Fn(&mut Tree)| {
        let blob = virt("", &[&[(0x4000_0000, 0x1000_0000)]], add);
        assert_eq!(Summary::read(&blob), Err(DtbError::BadSpan { node, base, size }));
    };
    refused("memory@1", base, size, &|root| {
        root.memory("memory@1", 2, 2, &[(0, 0x1000), (base, size)]);
    });
    refused("", base, u64::MAX, &|root| root.reserve(base, u64::MAX));
    refused("secure@1", base, size, &|root| {
        root.node("reserved-memory", |parent| {
            parent.cell_counts(2, 2);
            parent.node("secure@1", |node| node.pairs("reg", 2, 2, &[(base, size)]));
        });
    });
}

/// BOOT-02: an initrd that ends before it starts.
#[test]
fn an_initrd_that_ends_before_it_starts_is_refused() {
    let initrd = |start, end| {
        let blob = Tree::build(|root| {
            root.memory("memory@0", 2, 1, &[(0, 0x1000_0000)]);
            root.node("chosen", |chosen| {
                chosen.cells("linux,initrd-start", &[start]);
                chosen.cells("linux,initrd-end", &[0, end]);
            });
        });
        Summary::read(&blob).map(|summary| summary.initrd).map_err(|error| error.to_string())
    };
    assert_eq!(initrd(0x1000, 0x3000), Ok(Some(Span { base: 0x1000, size: 0x2000 })));
    assert_eq!(initrd(0x1000, 0x1000), Ok(None));
    let said = "device tree node \"chosen\": 0x3000..0x1000 ends before it starts";
    assert_eq!(initrd(0x3000, 0x1000), Err(said.into()));
}

/// BOOT-02: ranges that are not a whole number of cells, and too many cells.
#[test]
fn a_ragged_range_and_odd_cells_are_refused() {
    let read = |cells: [u32; 2], reg: &[u32]| {
        let blob = Tree::build(|root| {
            root.cell_counts(cells[0], cells[1]);
            root.node("memory@0", |node| {
                node.text("device_type", "memory");
                node.cells("reg", reg);
            });
        });
        Summary::read(&blob).map(|summary| pairs(&summary.memory)).map_err(|e| format!("{e:?}"))
    };
    assert_eq!(read([1, 1], &[0x1000, 0x2000]), Ok(vec![(0x1000, 0x2000)]));
    assert_eq!(read([1, 2], &[0x1000, 1, 0]), Ok(vec![(0x1000, 1 << 32)]));
    let why = PropertyError::PropEncodedArraySizeMismatch { size: 12, chunk: 4 };
    let ragged = DtbError::BadProperty { node: "memory@0", property: "reg", why };
    assert_eq!(read([2, 2], &[0, 0x1000, 1]), Err(format!("{ragged:?}")));
    for (cells, property, count) in [
        ([3, 1], "#address-cells", 3),
        ([0, 1], "#address-cells", 0),
        ([1, 0], "#size-cells", 0),
        ([1, u32::MAX], "#size-cells", u32::MAX),
    ] {
        let odd = DtbError::BadCells { node: "", property, cells: count };
        assert_eq!(read(cells, &[0, 0x1000]), Err(format!("{odd:?}")));
    }
}

/// The contents of a random tree.
#[derive(Default, PartialEq, Eq, Debug)]
struct Layout {
    memory: Vec<(u64, u64)>,
    memreserve: Vec<(u64, u64)>,
    reserved: Vec<(u64, u64, bool)>,
}

/// A random well-formed tree, and its contents.
fn made_up(random: &mut Random) -> (Vec<u8>, Layout) {
    let mut layout = Layout::default();
    let cells = [1 + random.below(2), 1 + random.below(2)];
    let blob = Tree::build(|root| {
        root.cell_counts(cells[0] as u32, cells[1] as u32);
        for _ in 0..random.below(4) {
            let (base, size) = range(random, [2, 2]);
            root.reserve(base, size);
            layout.memreserve.push((base, size));
        }
        for number in 0..1 + random.below(5) {
            let ranges: Vec<_> = (0..1 + random.below(4)).map(|_| range(random, cells)).collect();
            root.memory(&format!("memory@{number}"), cells[0], cells[1], &ranges);
            layout.memory.extend(ranges);
        }
        root.node("reserved-memory", |parent| {
            let cells = [1 + random.below(2), 1 + random.below(2)];
            parent.cell_counts(cells[0] as u32, cells[1] as u32);
            for number in 0..random.below(5) {
                let ((base, size), no_map) = (range(random, cells), random.below(2) == 0);
                parent.node(&format!("r@{number}"), |node| {
                    node.pairs("reg", cells[0], cells[1], &[(base, size)]);
                    node.flag("no-map", no_map);
                });
                layout.reserved.push((base, size, no_map));
            }
        });
    });
    (blob, layout)
}

/// A range that can be written in these cells; not empty.
fn range(random: &mut Random, cells: [usize; 2]) -> (u64, u64) {
    let number = |random: &mut Random, cells| match cells {
        1 => random.next() >> (32 + random.below(31)),
        _ => random.next() >> (1 + random.below(62)),
    };
    (number(random, cells[0]), number(random, cells[1]).max(1))
}

/// MEMB-01, MEMB-02: whatever the cells and the order, every range is read as it was written, and
/// an independent reader finds the same.
#[test]
fn two_readers_agree_on_whatever_is_well_formed() {
    let mut random = Random::new(7);
    for _ in 0..2_000 {
        let (blob, written) = made_up(&mut random);
        assert_eq!(ours(&blob), written);
        assert_eq!(theirs(&blob), written);
    }
    for blob in [raspberry_pi_4(PI_8_GIB), virt("x", &[&[(1 << 40, 5)], &[(1, 2)]], |_| {})] {
        assert_eq!(ours(&blob), theirs(&blob));
    }
}

fn ours(blob: &[u8]) -> Layout {
    let summary = Summary::read(blob).unwrap();
    let reserved = |entry: &Reserved| (entry.span.base, entry.span.size, entry.no_map);
    Layout {
        memory: pairs(&summary.memory),
        memreserve: pairs(&summary.memreserve),
        reserved: summary.reserved.iter().map(reserved).collect(),
    }
}

/// The same contents as read by the crate `fdt`.
fn theirs(blob: &[u8]) -> Layout {
    let tree = fdt::Fdt::new(blob).unwrap();
    let ranges = |node: fdt::node::FdtNode<'_, '_>| {
        let reg = node.reg().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
        let enabled = node.property("status").is_none();
        let range = |r: fdt::standard_nodes::MemoryRegion| {
            (r.starting_address as u64, r.size.unwrap() as u64, node.property("no-map").is_some())
        };
        reg.into_iter().filter(move |_| enabled).map(range).collect::<Vec<_>>()
    };
    let parent = tree.find_node("/reserved-memory");
    let entry = |entry: fdt::node::MemoryReservation| (entry.address() as u64, entry.size() as u64);
    Layout {
        memory: second::memory(&tree),
        memreserve: tree.memory_reservations().map(entry).collect(),
        reserved: parent.iter().flat_map(|node| node.children()).flat_map(ranges).collect(),
    }
}
