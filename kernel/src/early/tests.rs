//! From the device tree to sets of addresses, zones and a RAM disk.

use boot::dtb::{Bcm2711, List, Reserved};
use mm_reclaim::memblock::{StaticTables, Unreachable};

use super::*;

const fn span(base: u64, size: u64) -> Span {
    Span { base, size }
}

fn list<T: Copy + Default, const N: usize>(items: &[T]) -> List<T, N> {
    let mut list = List::new();
    items.iter().for_each(|&item| assert!(list.push(item).is_ok()));
    list
}

fn machine(bootargs: &'static str) -> Machine {
    let tree = Summary {
        model: "test",
        memory: list(&[span(0x8000_0000, 0x1000_0000), span(0x4000_0000, 0x2000_0000)]),
        memreserve: list(&[span(0x4000_0000, 0x1000)]),
        reserved: list(&[
            Reserved { span: span(0x5000_0000, 0x20_0000), no_map: true },
            Reserved { span: span(0x5100_0000, 0x10_0000), no_map: false },
        ]),
        bootargs,
        initrd: Some(span(0x4800_0000, 0x10_0000)),
        stdout_path: None,
        uarts: List::new(),
        gic: None,
        virtual_timer: None,
        physical_timer: None,
        timer_rate: None,
        dma_end: None,
        bcm2711: Bcm2711::default(),
        virtio: List::new(),
        psci: None,
        cpus: List::new(),
    };
    let args = BootArgs::parse(bootargs).unwrap();
    let image = region(span(0x4020_0000, 0x40_0000));
    Machine { tree, args, image, dtb: region(span(0x4900_0000, 0x2000)) }
}

fn with_memblock<R>(
    bootargs: &'static str,
    check: impl FnOnce(&Memblock<'_, Unreachable>, Result<Option<Extents>, EarlyError>) -> R,
) -> R {
    let mut tables: StaticTables = StaticTables::new();
    let mut memblock = Memblock::new(&mut tables, Unreachable);
    let result = describe(&mut memblock, &machine(bootargs));
    check(&memblock, result)
}

fn spans(regions: impl Iterator<Item = Region>) -> Vec<(u64, u64)> {
    regions.map(|r| (r.start.0, r.end.0)).collect()
}

fn pieces(result: Result<Option<Extents>, EarlyError>) -> Vec<Region> {
    result.unwrap().unwrap().regions().collect()
}

/// MEMB-02: everything in use is reserved, and no-map regions are not mapped.
#[test]
fn everything_that_is_taken_is_reserved() {
    with_memblock("", |memblock, result| {
        assert_eq!(result, Ok(None));
        let expected = [
            (0x4000_0000, 0x4000_1000),
            (0x4020_0000, 0x4060_0000),
            (0x4800_0000, 0x4810_0000),
            (0x4900_0000, 0x4900_2000),
            (0x5100_0000, 0x5110_0000),
        ];
        assert_eq!(spans(memblock.reserved()), expected);
        let expected =
            [(0x4000_0000, 0x5000_0000), (0x5020_0000, 0x6000_0000), (0x8000_0000, 0x9000_0000)];
        assert_eq!(spans(memblock.mapped()), expected);
    });
}

/// MEMB-02: the initrd's whole frames can be freed later, unless something else is in one of them.
#[test]
fn the_frames_of_the_initrd_are_its_own_or_stay() {
    let frames_with = |change: fn(&mut Machine)| {
        let mut machine = machine("");
        change(&mut machine);
        machine.initrd_frames().map(|frames| (frames.start.0, frames.end.0))
    };
    assert_eq!(frames_with(|_| {}), Some((0x48000, 0x48100)));
    let ragged = |machine: &mut Machine| machine.tree.initrd = Some(span(0x4800_0800, 0x1800));
    assert_eq!(frames_with(ragged), Some((0x48001, 0x48002)), "half a frame stays");
    assert_eq!(frames_with(|machine| machine.tree.initrd = None), None);
    assert_eq!(frames_with(|machine| machine.dtb = region(span(0x480f_fff0, 0x10))), None);
    assert_eq!(frames_with(|machine| machine.image = region(span(0x4000_0000, 0x800_0001))), None);
    let beside = |machine: &mut Machine| machine.tree.memreserve = list(&[span(0x4810_0000, 8)]);
    assert_eq!(frames_with(beside), Some((0x48000, 0x48100)), "beside it");
    let within = |machine: &mut Machine| machine.tree.memreserve = list(&[span(0x480f_fff8, 8)]);
    assert_eq!(frames_with(within), None);
    let reserved = |machine: &mut Machine| {
        let span = span(0x4700_0000, 0x200_0000);
        machine.tree.reserved = list(&[Reserved { span, no_map: false }]);
    };
    assert_eq!(frames_with(reserved), None);
    let spins = |machine: &mut Machine| {
        let enable = Some(EnableMethod::SpinTable { release: 0x4800_0ff8 });
        machine.tree.cpus = list(&[CpuNode { affinity: 1, enable }]);
    };
    assert_eq!(frames_with(spins), None);
}

/// MEMB-02: `mem=` trims the end.
#[test]
fn mem_trims_the_end() {
    with_memblock("mem=384M", |memblock, result| {
        assert_eq!(result, Ok(None));
        assert_eq!(spans(memblock.memory()), [(0x4000_0000, 0x5800_0000)]);
    });
}

#[test]
fn what_mem_cuts_off_must_not_be_needed() {
    with_memblock("mem=16M", |_, result| {
        let at = region(span(0x4800_0000, 0x10_0000));
        assert_eq!(result, Err(EarlyError::NotInMemory { what: "initrd", at }));
    });
}

/// ZONE-01: zone DMA is what every device can reach; the command line overrides it.
#[test]
fn the_dma_zone_ends_where_the_devices_reach_does() {
    let ends = |dma_end, bootargs| {
        let mut machine = machine(bootargs);
        machine.tree.dma_end = dma_end;
        let ZoneLimits { dma_end, dma32_end } = machine.zone_limits();
        (dma_end.0, dma32_end.0)
    };
    assert_eq!(ends(None, ""), (1 << 30, 4 << 30));
    assert_eq!(ends(Some(0x4000_0000), ""), (1 << 30, 4 << 30), "a Raspberry Pi 4");
    assert_eq!(ends(Some(0x3c00_0000), ""), (1 << 30, 4 << 30), "rounded up");
    assert_eq!(ends(Some(0x8000_0000), ""), (2 << 30, 4 << 30));
    for wide in [1 << 40, u64::MAX] {
        let (dma, dma32) = ends(Some(wide), "");
        assert!(dma <= dma32, "{wide:#x}");
    }
    assert_eq!(ends(Some(0x4000_0000), "zones=2G,3G"), (2 << 30, 3 << 30));
}

/// SWAP-06: the RAM disk is taken from the top and is no longer memory.
#[test]
fn the_ramdisk_is_carved_from_the_top() {
    with_memblock("ramdisk=33M", |memblock, result| {
        let ramdisk = region(span(0x8de0_0000, 34 << 20));
        assert_eq!(pieces(result), [ramdisk]);
        assert_eq!(memblock.memory().last().map(|r| r.end), Some(ramdisk.start));
        assert!(memblock.reserved().all(|r| r.intersection(ramdisk).is_empty()));
    });
}

/// SWAP-06: if no piece is large enough, the largest pieces are combined, whole blocks each, and
/// neither memory nor anything reserved is part of them.
#[test]
fn a_ramdisk_larger_than_any_piece_is_made_of_several() {
    with_memblock("ramdisk=510M", |memblock, result| {
        let pieces = pieces(result);
        let expected = [
            span(0x8000_0000, 256 << 20),
            span(0x5120_0000, 238 << 20),
            span(0x4f00_0000, 16 << 20),
        ];
        assert_eq!(pieces, expected.map(region));
        for piece in pieces {
            let apart = |other: Region| other.intersection(piece).is_empty();
            assert!(memblock.memory().all(apart) && memblock.reserved().all(apart));
            assert!(memblock.no_map().all(apart), "{piece:?}");
        }
        assert_eq!(memblock.memory_size(), (256 + 512 - 510) << 20);
    });
}

#[test]
fn a_ramdisk_that_does_not_fit_is_refused() {
    with_memblock("ramdisk=8G", |_, result| {
        assert!(matches!(result, Err(EarlyError::Memblock(MemblockError::NoRoom { .. }))));
    });
}
