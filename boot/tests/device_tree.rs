//! Device trees, good and bad (BOOT-02, MEMB-01, MEMB-02).

use std::collections::BTreeSet;

use boot::dtb::{Conduit, DtbError, GicV2, MAX_RANGES, Reserved, Span, Summary};
use boot::dtb::{check_address, total_size};

const VIRT_GICV2: &[u8] = include_bytes!("fixtures/virt-gicv2.dtb");
const VIRT_GICV3: &[u8] = include_bytes!("fixtures/virt-gicv3.dtb");
const BOARD: &[u8] = include_bytes!("fixtures/board.dtb");
const GOOD: [&[u8]; 3] = [VIRT_GICV2, VIRT_GICV3, BOARD];

const fn span(base: u64, size: u64) -> Span {
    Span { base, size }
}

/// MEMB-01: what QEMU's `virt` board describes is found.
#[test]
fn the_virt_tree_is_read() {
    let summary = Summary::read(VIRT_GICV2).unwrap();
    assert_eq!(summary.model, "linux,dummy-virt");
    assert_eq!(*summary.memory, [span(0x4000_0000, 256 << 20)]);
    assert!(summary.memreserve.is_empty() && summary.reserved.is_empty());
    assert_eq!(summary.bootargs, "semihosting init=hello");
    assert_eq!(summary.stdout_path, Some("/pl011@9000000"));
    assert_eq!(summary.pl011, Some(span(0x0900_0000, 0x1000)));
    let (distributor, cpu_interface) = (span(0x0800_0000, 0x10000), span(0x0801_0000, 0x10000));
    assert_eq!(summary.gic, Some(GicV2 { distributor, cpu_interface }));
    assert_eq!((summary.physical_timer, summary.virtual_timer), (Some(30), Some(27)));
    assert_eq!(summary.psci, Some(Conduit::Hvc));
    assert_eq!(summary.cpus, 2);
}

#[test]
fn a_gicv3_is_not_taken_for_a_gicv2() {
    let summary = Summary::read(VIRT_GICV3).unwrap();
    assert_eq!(summary.gic, None);
    assert_eq!(summary.pl011, Some(span(0x0900_0000, 0x1000)));
}

/// MEMB-01: several nodes in descending order, several ranges a node, unequal cells.
#[test]
fn every_range_of_every_memory_node_is_found() {
    let summary = Summary::read(BOARD).unwrap();
    let expected = [
        span(0x1_0000_0000, 0x4000_0000),
        span(0x4000_0000, 0x8000_0000),
        span(0xc000_0000, 0x3c00_0000),
        span(0, 0x3b40_0000),
    ];
    assert_eq!(*summary.memory, expected);
}

/// MEMB-02: reservations of each kind; a wish without a place is nobody's.
#[test]
fn every_fixed_reservation_is_found() {
    let summary = Summary::read(BOARD).unwrap();
    assert_eq!(*summary.memreserve, [span(0, 0x1000), span(0x3b40_0000, 0x04c0_0000)]);
    let expected = [
        Reserved { span: span(0x2000_0000, 0x20_0000), no_map: true },
        Reserved { span: span(0x3000_0000, 0x80_0000), no_map: false },
    ];
    assert_eq!(*summary.reserved, expected);
    assert_eq!(summary.initrd, Some(span(0x0800_0000, 0x10_0000)));
}

#[test]
fn devices_behind_a_bus_are_found_where_the_cpu_sees_them() {
    let summary = Summary::read(BOARD).unwrap();
    assert_eq!(summary.pl011, Some(span(0xfe20_1400, 0x200)), "the one that stdout-path names");
    let distributor = span(0xff84_1000, 0x1000);
    assert_eq!(summary.gic, Some(GicV2 { distributor, cpu_interface: span(0xff84_2000, 0x2000) }));
    assert_eq!((summary.psci, summary.cpus), (Some(Conduit::Smc), 3));
}

/// An independent reader finds the same memory and reservations on well-formed trees.
#[test]
fn a_second_reader_agrees() {
    for blob in GOOD {
        let (ours, theirs) = (Summary::read(blob).unwrap(), fdt::Fdt::new(blob).unwrap());
        let other: BTreeSet<(u64, u64)> = theirs
            .find_node("/")
            .unwrap()
            .children()
            .filter(|node| node.name.starts_with("memory@"))
            .filter(|node| node.property("status").is_none())
            .flat_map(|node| node.reg().unwrap())
            .map(|range| (range.starting_address as u64, range.size.unwrap() as u64))
            .collect();
        assert_eq!(pairs(ours.memory.iter().copied()), other);
        let other: BTreeSet<(u64, u64)> = theirs
            .memory_reservations()
            .map(|entry| (entry.address() as u64, entry.size() as u64))
            .collect();
        assert_eq!(pairs(ours.memreserve.iter().copied()), other);
        let other: BTreeSet<(u64, u64)> = theirs
            .find_node("/reserved-memory")
            .into_iter()
            .flat_map(|node| node.children().collect::<Vec<_>>())
            .filter_map(|node| node.reg().map(Iterator::collect::<Vec<_>>))
            .flatten()
            .map(|range| (range.starting_address as u64, range.size.unwrap() as u64))
            .collect();
        assert_eq!(pairs(ours.reserved.iter().map(|entry| entry.span)), other);
    }
}

fn pairs(spans: impl Iterator<Item = Span>) -> BTreeSet<(u64, u64)> {
    spans.map(|span| (span.base, span.size)).collect()
}

/// BOOT-02: each way of passing no tree at all has its own error.
#[test]
fn what_is_no_tree_is_refused_with_its_evidence() {
    assert_eq!(check_address(0), Err(DtbError::Missing));
    assert_eq!(check_address(0x4000_0004), Err(DtbError::Misaligned { address: 0x4000_0004 }));
    assert_eq!(check_address(1 << 63), Err(DtbError::OutOfReach { address: 1 << 63 }));
    assert_eq!(check_address(0x4000_0008), Ok(()));
    let start = |bytes: [u8; 8]| total_size(bytes);
    let found = 0x0102_0304;
    assert_eq!(start([1, 2, 3, 4, 0, 0, 1, 0]), Err(DtbError::BadMagic { found }));
    assert_eq!(start([0xd0, 0x0d, 0xfe, 0xed, 0, 0, 0, 39]), Err(DtbError::BadSize { size: 39 }));
    let size = (2 << 20) + 1;
    let huge = [0xd0, 0x0d, 0xfe, 0xed, 0, 0x20, 0, 1];
    assert_eq!(start(huge), Err(DtbError::BadSize { size }));
    assert_eq!(start(VIRT_GICV2[..8].try_into().unwrap()), Ok(VIRT_GICV2.len()));
}

/// BOOT-02: a tree cut off anywhere is refused, and so is one whose header claims the rest.
#[test]
fn a_truncated_tree_is_refused() {
    for blob in GOOD {
        for length in (0..blob.len()).step_by(7) {
            assert!(matches!(Summary::read(&blob[..length]), Err(DtbError::Malformed(_))));
            let mut short = blob[..length].to_vec();
            if length >= 8 {
                short[4..8].copy_from_slice(&(length as u32).to_be_bytes());
                assert!(Summary::read(&short).is_err(), "cut to {length} bytes");
            }
        }
    }
}

/// BOOT-02: whatever the bytes are, reading ends with a summary or an error.
#[test]
fn mutated_trees_never_panic() {
    let mut random = Random(0x5eed);
    let (mut read, mut refused) = (0, 0);
    for round in 0..20_000 {
        let mut blob = GOOD[round % GOOD.len()].to_vec();
        for _ in 0..=random.below(8) {
            mutate(&mut blob, &mut random);
        }
        match Summary::read(&blob) {
            Ok(_) => read += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(read > 1000 && refused > 1000, "{read} read, {refused} refused: a dull mutator");
}

/// Changes one place of the blob: a bit, a byte, or an aligned word that looks like a
/// token, a length or an offset.
fn mutate(blob: &mut [u8], random: &mut Random) {
    const WORDS: [u32; 10] = [0, 1, 2, 3, 4, 9, 0x7fff_ffff, 0x8000_0000, u32::MAX - 3, u32::MAX];
    let at = random.below(blob.len());
    match random.below(4) {
        0 => blob[at] ^= 1 << random.below(8),
        1 => blob[at] = random.below(256) as u8,
        kind => {
            let at = if kind == 2 { random.below(10) } else { at / 4 } * 4;
            let word = WORDS[random.below(WORDS.len())];
            let end = blob.len().min(at + 4);
            blob[at..end].copy_from_slice(&word.to_be_bytes()[..end - at]);
        }
    }
}

/// A xorshift generator: the same trees in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Nesting far beyond what any machine has neither overflows the stack nor is refused.
#[test]
fn a_deeply_nested_tree_is_read() {
    let summary = tree(|structure| {
        for _ in 0..20_000 {
            structure.extend(node("x"));
        }
        (0..20_000).for_each(|_| structure.extend(END_NODE));
    });
    assert!(Summary::read(&summary).is_ok());
}

/// A list that is full is an error, never a dropped entry.
#[test]
fn more_ranges_than_fit_are_refused() {
    let with_ranges = |count: u32| {
        tree(|structure| {
            structure.extend(node("memory@1"));
            let ranges = (0..count).flat_map(|n| [0, n << 24, 0x1000]);
            structure.extend(property(0, &ranges.flat_map(u32::to_be_bytes).collect::<Vec<_>>()));
            structure.extend(END_NODE);
        })
    };
    let full = with_ranges(MAX_RANGES as u32 - 1);
    assert_eq!(Summary::read(&full).unwrap().memory.len(), MAX_RANGES);
    let beyond = with_ranges(MAX_RANGES as u32);
    let expected = DtbError::TooMany { what: "memory ranges", capacity: MAX_RANGES };
    assert_eq!(Summary::read(&beyond), Err(expected));
}

const BEGIN_NODE: [u8; 4] = 1u32.to_be_bytes();
const END_NODE: [u8; 4] = 2u32.to_be_bytes();

fn node(name: &str) -> Vec<u8> {
    let mut bytes = BEGIN_NODE.to_vec();
    bytes.extend(name.bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn property(name: u32, value: &[u8]) -> Vec<u8> {
    let head = [3, value.len() as u32, name];
    let mut bytes: Vec<u8> = head.into_iter().flat_map(u32::to_be_bytes).collect();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A tree with one memory range (two address cells, one size cell: the defaults) and what
/// `more` adds below the root. The strings block holds only "reg", at 0.
fn tree(more: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut structure = node("");
    structure.extend(node("memory@0"));
    let reg = [0, 0x4000_0000, 0x1000_0000u32];
    structure.extend(property(0, &reg.map(u32::to_be_bytes).concat()));
    structure.extend(END_NODE);
    more(&mut structure);
    structure.extend(END_NODE);
    structure.extend(9u32.to_be_bytes());
    let (length, strings) = (structure.len() as u32, b"reg\0");
    let total = 56 + length + strings.len() as u32;
    let header = [0xd00d_feed, total, 56, 56 + length, 40, 17, 16, 0, strings.len() as u32, length];
    let mut blob: Vec<u8> = header.into_iter().flat_map(u32::to_be_bytes).collect();
    blob.extend([0; 16]);
    blob.extend(structure);
    blob.extend(strings);
    blob
}
