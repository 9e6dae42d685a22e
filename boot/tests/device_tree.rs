//! Device trees, good and bad (BOOT-02, MEMB-01, MEMB-02).

use std::collections::BTreeSet;

use boot::dtb::{
    Conduit, DtbError, Gic, MAX_RANGES, MAX_VIRTIO, Reserved, Span, Summary, UartKind,
};
use boot::dtb::{check_address, total_size};
use trees::boards::{PI_8_GIB, Pi, raspberry_pi_4};
use trees::builder::Tree;

mod second;
#[allow(dead_code, reason = "each test program uses its part of what they share")]
mod trees;

const VIRT_GICV2: &[u8] = include_bytes!("fixtures/virt-gicv2.dtb");
const VIRT_GICV3: &[u8] = include_bytes!("fixtures/virt-gicv3.dtb");
const BOARD: &[u8] = include_bytes!("fixtures/board.dtb");
const GOOD: [&[u8]; 3] = [VIRT_GICV2, VIRT_GICV3, BOARD];

/// The consoles of a Raspberry Pi 4.
const MINI: (UartKind, u64) = (UartKind::Mini, 0xfe21_5040);
const FIRST_PL011: (UartKind, u64) = (UartKind::Pl011, 0xfe20_1000);

/// The UARTs in their order, with their addresses.
fn uarts(summary: &Summary<'_>) -> Vec<(UartKind, u64)> {
    summary.uarts.iter().map(|uart| (uart.kind, uart.registers.base)).collect()
}

const fn span(base: u64, size: u64) -> Span {
    Span { base, size }
}

/// MEMB-01: the tree of QEMU's `virt` board is read correctly.
#[test]
fn the_virt_tree_is_read() {
    let summary = Summary::read(VIRT_GICV2).unwrap();
    assert_eq!(summary.model, "linux,dummy-virt");
    assert_eq!(*summary.memory, [span(0x4000_0000, 256 << 20)]);
    assert!(summary.memreserve.is_empty() && summary.reserved.is_empty());
    assert_eq!(summary.bootargs, "semihosting init=hello");
    assert_eq!(summary.stdout_path, Some("/pl011@9000000"));
    assert_eq!(uarts(&summary), [(UartKind::Pl011, 0x0900_0000)]);
    let (distributor, cpu_interface) = (span(0x0800_0000, 0x10000), span(0x0801_0000, 0x10000));
    assert_eq!(summary.gic, Some(Gic::V2 { distributor, cpu_interface }));
    assert_eq!((summary.physical_timer, summary.virtual_timer), (Some(30), Some(27)));
    assert_eq!(summary.psci, Some(Conduit::Hvc));
    assert_eq!(summary.cpus.len(), 2);
}

/// `virt` has 32 places for virtio devices; the interrupt of each is a shared one, from INTID 48 on.
#[test]
fn the_places_for_virtio_devices_are_found() {
    for blob in [VIRT_GICV2, VIRT_GICV3] {
        let places = &Summary::read(blob).unwrap().virtio;
        assert_eq!(places.len(), MAX_VIRTIO);
        for (n, place) in (0..).zip(places.iter()) {
            assert_eq!(place.registers(), span(0x0a00_0000 + 0x200 * n, 0x200));
            assert_eq!(u64::from(place.interrupt), 48 + n);
        }
    }
    assert!(Summary::read(BOARD).unwrap().virtio.is_empty());
}

/// A place for a virtio device without a shared interrupt or without registers is left out, and so
/// are those beyond the capacity; one whose registers are memory is refused.
#[test]
fn a_place_for_a_virtio_device_needs_registers_and_a_shared_interrupt() {
    let found = |base: u32, interrupts: &[u32], count: u32| {
        let blob = tree(|root| {
            for n in 0..count {
                root.node(&format!("virtio_mmio@{n}"), |place| {
                    place.text("compatible", "virtio,mmio");
                    place.cells("reg", &[0, base + 0x200 * n, 0x200]);
                    place.cells("interrupts", interrupts);
                });
            }
        });
        let read = Summary::read(&blob).map(|summary| summary.virtio.len());
        read.map_err(|error| error.to_string())
    };
    assert_eq!(found(0x1000_0000, &[0, 987, 1], 1), Ok(1));
    for interrupts in [&[0, 988, 1][..], &[1, 3, 1], &[0, 3], &[]] {
        assert_eq!(found(0x1000_0000, interrupts, 1), Ok(0), "{interrupts:?}");
    }
    assert_eq!(found(0x1000_0000, &[0, 1, 1], 40), Ok(MAX_VIRTIO));
    let said = found(0x4800_0000, &[0, 1, 1], 1).unwrap_err();
    assert!(said.contains("virtio device"), "{said}");
}

#[test]
fn a_gicv3_is_not_taken_for_a_gicv2() {
    let summary = Summary::read(VIRT_GICV3).unwrap();
    let (distributor, redistributors) = (span(0x0800_0000, 0x1_0000), span(0x080a_0000, 0xf6_0000));
    assert_eq!(summary.gic, Some(Gic::V3 { distributor, redistributors }));
    assert_eq!(uarts(&summary), [(UartKind::Pl011, 0x0900_0000)]);
}

/// MEMB-02: what must stay of a tree ends with the last text that is used, not with the room behind
/// it; of a tree without texts nothing must stay.
#[test]
fn a_summary_refers_to_the_tree_up_to_its_last_text() {
    for blob in GOOD {
        let summary = Summary::read(blob).unwrap();
        let kept = &blob[..summary.extent(blob)];
        let texts = [Some(summary.model), Some(summary.bootargs), summary.stdout_path];
        let texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
        let within = |text: &&str| kept.as_ptr_range().end >= text.as_bytes().as_ptr_range().end;
        assert!(texts.clone().all(|text| within(&text)), "{summary:?}");
        assert!(texts.clone().any(|text| kept.ends_with(text.as_bytes())), "{summary:?}");
        assert!(kept.len() < blob.len());
    }
    let silent = tree(|_| {});
    assert_eq!(Summary::read(&silent).unwrap().extent(&silent), 0);
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

/// MEMB-02: reservations of each kind; a request without an address reserves nothing.
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
    let expected = [(UartKind::Pl011, 0xfe20_1400), (UartKind::Pl011, 0xfe20_1000)];
    assert_eq!(uarts(&summary), expected, "the one that stdout-path names comes first");
    let distributor = span(0xff84_1000, 0x1000);
    assert_eq!(
        summary.gic,
        Some(Gic::V2 { distributor, cpu_interface: span(0xff84_2000, 0x2000) })
    );
    assert_eq!((summary.psci, summary.cpus.len()), (Some(Conduit::Smc), 3));
}

/// MEMB-01, MEMB-02: the tree of a Raspberry Pi 4's firmware is read correctly.
#[test]
fn the_tree_of_a_raspberry_pi_4_is_read() {
    let blob = raspberry_pi_4(PI_8_GIB);
    let summary = Summary::read(&blob).unwrap();
    assert_eq!(summary.model, "Raspberry Pi 4 Model B");
    assert!(summary.memory.iter().map(|span| (span.base, span.size)).eq(PI_8_GIB.iter().copied()));
    assert_eq!(*summary.memreserve, [span(0, 0x1000)], "the page of the spin table");
    let secure = Reserved { span: span(0x0100_0000, 0x20_0000), no_map: true };
    assert_eq!(*summary.reserved, [secure], "a request for a CMA area reserves nothing");
    assert_eq!(summary.initrd, Some(span(0x2eff_0000, 0x8000)));
    assert_eq!(summary.stdout_path, Some("serial1:115200n8"));
    assert_eq!(uarts(&summary), [MINI, FIRST_PL011], "the one that stdout-path names comes first");
    assert_eq!(summary.bcm2711.gpio, Some(span(0xfe20_0000, 0xb4)));
    assert_eq!(summary.bcm2711.power, Some(span(0xfe10_0000, 0x114)));
    assert_eq!(summary.dma_end, Some(0x4000_0000), "the narrowest of two windows");
    let distributor = span(0xff84_1000, 0x1000);
    assert_eq!(
        summary.gic,
        Some(Gic::V2 { distributor, cpu_interface: span(0xff84_2000, 0x2000) })
    );
    assert_eq!((summary.psci, summary.cpus.len()), (None, 4));
}

/// BOOT-02: whatever `stdout-path` says, there is a console if the tree has any: the one that it
/// names; else one without a device attached; else the one with the Bluetooth chip.
#[test]
fn a_missing_or_odd_stdout_path_still_gives_a_console() {
    let consoles = |stdout_path: Option<&str>, mini_status: &str| {
        let blob = Pi { stdout_path, mini_status, ..Pi::default() }.tree();
        uarts(&Summary::read(&blob).unwrap())
    };
    for path in ["serial1", "serial1:115200n8", "/soc/serial@7e215040", "/soc/serial@7e215040:9600"]
    {
        assert_eq!(consoles(Some(path), "okay"), [MINI, FIRST_PL011], "{path}");
    }
    for path in ["serial0", "serial0:115200n8", "/soc/serial@7e201000"] {
        assert_eq!(consoles(Some(path), "okay"), [FIRST_PL011, MINI], "{path}");
    }
    let odd = ["", ":", "/", "serial9", "tty", "/soc/serial@1", "/soc/gpio@7e200000"];
    for path in odd.into_iter().map(Some).chain([None]) {
        assert_eq!(consoles(path, "okay"), [MINI, FIRST_PL011], "{path:?}");
        assert_eq!(consoles(path, "disabled"), [FIRST_PL011], "{path:?}");
    }
    let off = Some("/soc/serial@7e201400");
    assert_eq!(consoles(off, "okay"), [MINI, FIRST_PL011], "a disabled one");
    assert_eq!(consoles(Some("serial1"), "disabled"), [FIRST_PL011], "a disabled one");
}

/// The rate of a UART's clock is that of the fixed clock that its first phandle names, if it is
/// one.
#[test]
fn a_fixed_clock_is_followed() {
    assert_eq!(Summary::read(VIRT_GICV2).unwrap().uarts[0].clock, Some(24_000_000));
    let board = raspberry_pi_4(PI_8_GIB);
    let summary = Summary::read(&board).unwrap();
    assert!(summary.uarts.iter().all(|uart| uart.clock.is_none()), "known to the firmware only");
    assert_eq!(summary.baud(), 115_200);
}

/// BOOT-01: the counter's rate comes from the register, or from the tree if firmware left the
/// register at zero.
#[test]
fn the_counter_runs_at_the_firmwares_rate() {
    let with_rate = |rate: Option<u32>| {
        tree(|root| {
            root.node("timer", |timer| {
                timer.text("compatible", "arm,armv8-timer");
                rate.into_iter().for_each(|rate| timer.cells("clock-frequency", &[rate]));
            });
        })
    };
    let rate = |tree: Option<u32>, register| {
        Summary::read(&with_rate(tree)).unwrap().counter_rate(register)
    };
    assert_eq!(rate(None, 54_000_000), Some(54_000_000));
    assert_eq!(rate(Some(1_000_000), 54_000_000), Some(54_000_000));
    assert_eq!(rate(Some(54_000_000), 0), Some(54_000_000));
    assert_eq!((rate(None, 0), rate(Some(0), 0)), (None, None));
}

/// ZONE-01: the narrowest window applies, translated through the windows of the buses above.
#[test]
fn what_every_device_reaches_is_found() {
    let reach = |dma_window| {
        let blob = Pi { dma_window, ..Pi::default() }.tree();
        Summary::read(&blob).unwrap().dma_end
    };
    assert_eq!(reach([0xc000_0000, 0, 0, 0x4000_0000]), Some(0x4000_0000));
    assert_eq!(reach([0, 0, 0, 0x2000_0000]), Some(0x2000_0000));
    assert_eq!(reach([0, 2, 0, 0x4000_0000]), Some(0x2_4000_0000));
    assert_eq!(reach([0, 8, 0, 0x4000_0000]), Some(0x4_0000_0000), "the other bus's");
    assert_eq!(reach([0, u32::MAX, u32::MAX, 2]), Some(0x4_0000_0000), "wraps around");
    assert_eq!(Summary::read(VIRT_GICV2).unwrap().dma_end, None);
    let nested = |inner: [u32; 3]| {
        let blob = tree(|root| {
            root.node("outer", |outer| {
                outer.cell_counts(1, 1);
                outer.cells("dma-ranges", &[0x1000_0000, 0, 0x8000_0000, 0x1000_0000]);
                outer.node("inner", |bus| {
                    bus.cell_counts(1, 1);
                    bus.cells("dma-ranges", &inner);
                });
            });
        });
        Summary::read(&blob).unwrap().dma_end
    };
    assert_eq!(nested([0, 0x1000_0000, 0x0100_0000]), Some(0x8100_0000));
    assert_eq!(nested([0, 0x5000_0000, 0x0100_0000]), Some(0x9000_0000), "leads nowhere");
}

/// An independent reader finds the same memory and reservations on well-formed trees.
#[test]
fn a_second_reader_agrees() {
    for blob in GOOD {
        let (ours, theirs) = (Summary::read(blob).unwrap(), fdt::Fdt::new(blob).unwrap());
        let other = second::memory(&theirs).into_iter().collect();
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

/// BOOT-02: registers at which the kernel would write into its own memory, or at unaligned
/// addresses, are refused.
#[test]
fn registers_that_are_memory_or_misaligned_are_refused() {
    let with_uart = |base: u32| {
        let blob = tree(|root| {
            root.node("serial@1", |uart| {
                uart.text("compatible", "arm,pl011");
                uart.cells("reg", &[0, base, 0x1000]);
            });
        });
        let first = |summary: Summary<'_>| summary.uarts.first().map(|uart| uart.registers);
        Summary::read(&blob).map(first).map_err(|error| error.to_string())
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

/// BOOT-02: a bus that translates a device beyond the last address, or so that it ends there, does
/// not make it reachable elsewhere.
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
        Summary::read(&blob).unwrap().uarts.first().map(|uart| uart.registers)
    };
    assert_eq!(behind_bus(0x9000_0000, 0x2000), Some(span(0x9000_2000, 0x1000)));
    let last = u64::MAX - 0xfff;
    assert_eq!(behind_bus(last - 0x3000, 0x2000), Some(span(last - 0x1000, 0x1000)));
    assert_eq!(behind_bus(last - 0x1000, 0x2000), None, "wraps around");
    assert_eq!(behind_bus(last - 0x1000, 0x1004), None, "its end wraps around");
    assert_eq!(behind_bus(0x9000_0000, 0xf004), None, "exceeds the range of the bus");
}

/// BOOT-02: a tree truncated anywhere is refused, and so is one whose header claims more.
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

/// BOOT-02: a full list is an error, never a dropped entry.
#[test]
fn more_ranges_than_fit_are_refused() {
    let many = |count: usize| (0..count as u64).map(|n| (n << 24, 0x1000)).collect::<Vec<_>>();
    let memory = |count| tree(|root| root.memory("memory@1", 2, 1, &many(count)));
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
        root.memory("memory@0", 2, 1, &[(0x4000_0000, 0x1000_0000)]);
        more(root);
    })
}
