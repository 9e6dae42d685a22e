//! Device trees, good and bad (BOOT-02, MEMB-01, MEMB-02).

use std::collections::BTreeSet;

use boot::dtb::{Conduit, DtbError, Gic, MAX_RANGES, Reserved, Span, Summary};
use boot::dtb::{check_address, total_size};
use trees::boards::{PI_8_GIB, raspberry_pi_4};
use trees::builder::Tree;

#[allow(dead_code, reason = "each test program uses its part of what they share")]
mod trees;

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
    assert_eq!(summary.gic, Some(Gic::V2 { distributor, cpu_interface }));
    assert_eq!((summary.physical_timer, summary.virtual_timer), (Some(30), Some(27)));
    assert_eq!(summary.psci, Some(Conduit::Hvc));
    assert_eq!(summary.cpus.len(), 2);
}

#[test]
fn a_gicv3_is_not_taken_for_a_gicv2() {
    let summary = Summary::read(VIRT_GICV3).unwrap();
    let (distributor, redistributors) = (span(0x0800_0000, 0x1_0000), span(0x080a_0000, 0xf6_0000));
    assert_eq!(summary.gic, Some(Gic::V3 { distributor, redistributors }));
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
    assert_eq!(
        summary.gic,
        Some(Gic::V2 { distributor, cpu_interface: span(0xff84_2000, 0x2000) })
    );
    assert_eq!((summary.psci, summary.cpus.len()), (Some(Conduit::Smc), 3));
}

/// MEMB-01, MEMB-02: what the firmware of a Raspberry Pi 4 describes is found.
#[test]
fn the_tree_of_a_raspberry_pi_4_is_read() {
    let blob = raspberry_pi_4(PI_8_GIB);
    let summary = Summary::read(&blob).unwrap();
    assert_eq!(summary.model, "Raspberry Pi 4 Model B");
    assert!(summary.memory.iter().map(|span| (span.base, span.size)).eq(PI_8_GIB.iter().copied()));
    assert_eq!(*summary.memreserve, [span(0, 0x1000)], "the page of the spin table");
    let secure = Reserved { span: span(0x0100_0000, 0x20_0000), no_map: true };
    assert_eq!(*summary.reserved, [secure], "a wish for a CMA area reserves nothing");
    assert_eq!(summary.initrd, Some(span(0x2eff_0000, 0x8000)));
    assert_eq!(summary.stdout_path, Some("serial1:115200n8"));
    assert_eq!(summary.pl011, Some(span(0xfe20_1000, 0x200)), "the console named is no PL011");
    let distributor = span(0xff84_1000, 0x1000);
    assert_eq!(
        summary.gic,
        Some(Gic::V2 { distributor, cpu_interface: span(0xff84_2000, 0x2000) })
    );
    assert_eq!((summary.psci, summary.cpus.len()), (None, 4));
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

/// BOOT-02: the kernel would write into its own memory, or past the middle of a register.
#[test]
fn registers_that_are_memory_or_misaligned_are_refused() {
    let with_uart = |base: u32| {
        let blob = tree(|root| {
            root.node("serial@1", |uart| {
                uart.text("compatible", "arm,pl011");
                uart.cells("reg", &[0, base, 0x1000]);
            });
        });
        Summary::read(&blob).map(|summary| summary.pl011).map_err(|error| error.to_string())
    };
    assert_eq!(with_uart(0x3fff_f000), Ok(Some(span(0x3fff_f000, 0x1000))), "just below RAM");
    assert_eq!(with_uart(0x5000_0000), Ok(Some(span(0x5000_0000, 0x1000))), "just above RAM");
    for base in [0x3fff_f004, 0x4000_0000, 0x4fff_fffc, 0x0900_006d, 2] {
        let said = with_uart(base).unwrap_err();
        assert!(said.contains("the console's registers at"), "{base:#x}: {said}");
    }
    let gic = |distributor: u32, interface: u32| {
        let blob = tree(|root| {
            root.node("intc@1", |gic| {
                gic.text("compatible", "arm,gic-400");
                gic.cells("reg", &[0, distributor, 0x1000, 0, interface, 0x2000]);
            });
        });
        Summary::read(&blob).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(gic(0x0800_0000, 0x0801_0000), Ok(()));
    assert!(gic(0x4800_0000, 0x0801_0000).unwrap_err().contains("distributor"));
    assert!(gic(0x0800_0000, 0x4800_0000).unwrap_err().contains("CPU interface"));
}

/// BOOT-02: a bus that moves a device beyond the last address, or to where it would end
/// there, does not make it reachable somewhere else.
#[test]
fn a_device_moved_beyond_the_last_address_is_not_reached() {
    let behind_bus = |place: u64, register: u32| {
        let blob = tree(|root| {
            root.node("soc", |soc| {
                soc.cell_counts(1, 1);
                let [high, low] = [(place >> 32) as u32, place as u32];
                soc.cells("ranges", &[0, high, low, 0x1_0000]);
                soc.node("serial@0", |uart| {
                    uart.text("compatible", "arm,pl011");
                    uart.cells("reg", &[register, 0x1000]);
                });
            });
        });
        Summary::read(&blob).unwrap().pl011
    };
    assert_eq!(behind_bus(0x9000_0000, 0x2000), Some(span(0x9000_2000, 0x1000)));
    let last = u64::MAX - 0xfff;
    assert_eq!(behind_bus(last - 0x3000, 0x2000), Some(span(last - 0x1000, 0x1000)));
    assert_eq!(behind_bus(last - 0x1000, 0x2000), None, "moved around the end");
    assert_eq!(behind_bus(last - 0x1000, 0x1004), None, "ends around the end");
    assert_eq!(behind_bus(0x9000_0000, 0xf004), None, "sticks out of the bus");
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

/// Nesting far beyond what any machine has neither overflows the stack nor is refused.
#[test]
fn a_deeply_nested_tree_is_read() {
    let blob = tree(|root| {
        (0..20_000).for_each(|_| root.begin("x"));
        (0..20_000).for_each(|_| root.end());
    });
    assert!(Summary::read(&blob).is_ok());
}

/// BOOT-02: a list that is full is an error, never a dropped entry.
#[test]
fn more_ranges_than_fit_are_refused() {
    let many = |count: usize| (0..count as u64).map(|n| (n << 24, 0x1000)).collect::<Vec<_>>();
    let memory =
        |count| tree(|root| root.node("memory@1", |node| node.pairs("reg", 2, 1, &many(count))));
    let memreserve =
        |count| tree(|root| many(count).iter().for_each(|&(base, size)| root.reserve(base, size)));
    let reserved = |count| {
        tree(|root| {
            root.node("reserved-memory", |parent| {
                parent.node("all", |node| node.pairs("reg", 2, 1, &many(count)));
            });
        })
    };
    let refused = |blob: Vec<u8>, what| {
        let expected = DtbError::TooMany { what, capacity: MAX_RANGES };
        assert_eq!(Summary::read(&blob), Err(expected));
    };
    assert_eq!(Summary::read(&memory(MAX_RANGES - 1)).unwrap().memory.len(), MAX_RANGES);
    assert_eq!(Summary::read(&memreserve(MAX_RANGES)).unwrap().memreserve.len(), MAX_RANGES);
    assert_eq!(Summary::read(&reserved(MAX_RANGES)).unwrap().reserved.len(), MAX_RANGES);
    refused(memory(MAX_RANGES), "memory ranges");
    refused(memreserve(MAX_RANGES + 1), "/memreserve/ entries");
    refused(reserved(MAX_RANGES + 1), "/reserved-memory ranges");
}

/// A tree with one memory range (two address cells, one size cell: the defaults) and what
/// `more` adds below the root.
fn tree(more: impl FnOnce(&mut Tree)) -> Vec<u8> {
    Tree::build(|root| {
        root.node("memory@0", |node| node.pairs("reg", 2, 1, &[(0x4000_0000, 0x1000_0000)]));
        more(root);
    })
}
