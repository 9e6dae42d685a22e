//! From a device tree to sets of addresses, on a host: how the boot code handles memory that is
//! described in pieces, in any order, twice, wrongly or not at all (BOOT-02, MEMB-01 to MEMB-04).

use boot::dtb::{List, Summary};
use boot::layout::LINEAR_SIZE;
use kernel::bootargs::BootArgs;
use kernel::early::{EarlyError, Machine, describe};
use mm_reclaim::memblock::{Memblock, MemoryMap, Region, StaticTables, Unreachable};
use mm_reclaim::units::{PAGE_SIZE, PhysAddr};
use mm_reclaim::zone::FrameRange;
use mm_reclaim::{Config, Plan};
use trees::boards::{PI_1_GIB, PI_2_GIB, PI_4_GIB, PI_8_GIB, Ranges, raspberry_pi_4, virt};
use trees::builder::Tree;
use trees::random::{Random, mutated, revalued};

#[allow(dead_code, reason = "each test program uses its part of what they share")]
#[path = "../../boot/tests/trees/mod.rs"]
mod trees;

/// A kernel image of 4 MiB.
const IMAGE: (u64, u64) = (0x4020_0000, 0x40_0000);
const DTB: (u64, u64) = (0x4900_0000, 0x2000);

fn region((base, size): (u64, u64)) -> Region {
    Region::new(PhysAddr(base), size).expect("a range that does not wrap")
}

/// The machine that a tree describes, with the image at [`IMAGE`]; the error's text if it is
/// refused. Its blob is leaked: a kernel's is never unmapped either.
fn machine(blob: Vec<u8>) -> Result<Machine, String> {
    let tree = Summary::read(Vec::leak(blob)).map_err(|error| error.to_string())?;
    let args = BootArgs::parse(tree.bootargs).map_err(|error| error.to_string())?;
    Ok(Machine { tree, args, image: region(IMAGE), dtb: region(DTB) })
}

/// Runs `look` on the machine's memory map.
fn with_map<R>(
    machine: &Machine,
    look: impl FnOnce(&MemoryMap<'_>, Result<(), EarlyError>) -> R,
) -> R {
    let mut tables: StaticTables = StaticTables::new();
    let mut memblock = Memblock::new(&mut tables, Unreachable);
    let result = describe(&mut memblock, machine).map(|_| ());
    look(&memblock, result)
}

fn bounds(regions: impl Iterator<Item = Region>) -> Vec<(u64, u64)> {
    regions.map(|region| (region.start.0, region.end.0)).collect()
}

/// The memory of a `virt` board with these nodes.
fn memory_of(nodes: &[Ranges<'_>]) -> Vec<(u64, u64)> {
    let machine = machine(virt("", nodes, |_| {})).unwrap();
    with_map(&machine, |map, _| bounds(map.memory()))
}

/// MEMB-01, MEMB-02: pieces that touch are one, the GPU's hole stays a hole, the spin table
/// and the secure world's memory stay untouched.
#[test]
fn the_memory_of_a_raspberry_pi_4_is_used_but_for_what_is_taken() {
    let machine = machine(raspberry_pi_4(PI_8_GIB)).unwrap();
    with_map(&machine, |map, result| {
        result.unwrap();
        let memory = [(0, 0x3b40_0000), (0x4000_0000, 0xfc00_0000), (1 << 32, 2 << 32)];
        assert_eq!(bounds(map.memory()), memory);
        let reserved = [
            (0, 0x1000),
            (0x2eff_0000, 0x2eff_8000),
            (0x4020_0000, 0x4060_0000),
            (0x4900_0000, 0x4900_2000),
        ];
        assert_eq!(bounds(map.reserved()), reserved);
        let secure = (0x0100_0000, 0x0120_0000);
        assert_eq!(bounds(map.no_map()), [secure]);
        assert!(map.mapped().all(|range| range.intersection(region((secure.0, 1))).is_empty()));
        assert_eq!(map.free_frames().next().unwrap().start.0, 1, "frame 0 is the spin table's");
    });
}

/// MEMB-01, MEMB-02: boards of each size, with the image where their firmware puts it.
#[test]
fn a_raspberry_pi_4_of_any_size_has_all_its_memory() {
    const M: u64 = 1 << 20;
    let sizes = [(PI_1_GIB, 948), (PI_2_GIB, 1972), (PI_4_GIB, 3956), (PI_8_GIB, 8052)];
    for (memory, mebibytes) in sizes {
        let mut machine = machine(raspberry_pi_4(memory)).unwrap();
        (machine.image, machine.dtb) = (region((2 * M, 4 * M)), region((0x2eff_8000, 0x1_0000)));
        with_map(&machine, |map, result| {
            result.unwrap();
            let size: u64 = map.memory().map(|range| range.end.0 - range.start.0).sum();
            assert_eq!(size, mebibytes * M);
        });
        let limits = machine.zone_limits();
        assert_eq!((limits.dma_end.0, limits.dma32_end.0), (1 << 30, 4 << 30));
    }
}

/// BOOT-06, MEMB-02: the page in which CPUs wait is reserved, even if the tree does not say so.
#[test]
fn a_spin_table_is_reserved_whatever_the_tree_says() {
    let mut machine = machine(raspberry_pi_4(PI_1_GIB)).unwrap();
    (machine.image, machine.dtb) = (region((2 << 20, 4 << 20)), region((64 << 20, 0x1_0000)));
    machine.tree.memreserve = List::new();
    with_map(&machine, |map, result| {
        result.unwrap();
        assert_eq!(bounds(map.reserved())[0], (0, 0x1000));
    });
}

/// MEMB-01, MEMB-03: descending, touching, overlapping, doubled, beyond the linear map.
#[test]
fn memory_is_the_union_of_its_ranges() {
    const G: u64 = 1 << 30;
    let whole = vec![(G, G + 0x4000)];
    assert_eq!(memory_of(&[&[(G + 0x2000, 0x2000)], &[(G, 0x2000)]]), whole, "descending");
    assert_eq!(memory_of(&[&[(G, 0x3000), (G + 0x1000, 0x3000)]]), whole, "overlapping");
    assert_eq!(memory_of(&[&[(G, 0x4000), (G + 0x1000, 0x1000), (G, 0x4000)]]), whole, "doubled");
    let cut = memory_of(&[&[(LINEAR_SIZE - G, 2 * G), (LINEAR_SIZE + 4 * G, G), (G, G)]]);
    assert_eq!(cut, [(G, 2 * G), (LINEAR_SIZE - G, LINEAR_SIZE)], "beyond the linear map");
    assert_eq!(memory_of(&[&[(u64::MAX - 0xfff, 0xfff)]]), [], "at the end of all addresses");
}

/// MEMB-02: what the kernel needs must lie in whole pages of memory, because only those are
/// mapped.
#[test]
fn what_lies_in_half_a_page_of_memory_is_not_in_memory() {
    let with_initrd = |memory: Ranges<'_>, start: u32, end: u32| {
        let blob = Tree::build(|root| {
            root.cell_counts(2, 2);
            root.memory("memory@0", 2, 2, memory);
            root.node("chosen", |chosen| {
                chosen.cells("linux,initrd-start", &[start]);
                chosen.cells("linux,initrd-end", &[end]);
            });
        });
        let machine = machine(blob).unwrap();
        with_map(&machine, |_, result| result.map_err(|error| error.to_string()))
    };
    let ends_in_half: Ranges<'_> = &[(0x4000_0000, 0x0800_0800)];
    let refused = |at| Err(format!("the initrd at {at} is not in memory"));
    assert_eq!(with_initrd(ends_in_half, 0x47ff_0000, 0x4800_0000), Ok(()));
    let at = "0x47ff0000..0x48000001";
    assert_eq!(with_initrd(ends_in_half, 0x47ff_0000, 0x4800_0001), refused(at));
    let starts_in_half: Ranges<'_> = &[(0x4000_0000, 0x0100_0000), (0x4800_0800, 0x10_0000)];
    assert_eq!(with_initrd(starts_in_half, 0x4800_1000, 0x4801_0000), Ok(()));
    let at = "0x48000800..0x48010000";
    assert_eq!(with_initrd(starts_in_half, 0x4800_0800, 0x4801_0000), refused(at));
}

/// MEMB-01 to MEMB-03: for random ranges of each kind, an address is memory, reserved,
/// mapped or free exactly if the tree says so.
#[test]
fn every_address_is_what_the_tree_says() {
    let mut random = Random::new(11);
    for _ in 0..1_000 {
        let mut some = |most: usize| {
            let count = random.below(most);
            (0..count).map(|_| range(&mut random)).collect::<Vec<_>>()
        };
        let (memory, reserved, no_map, memreserve) = (some(6), some(4), some(4), some(4));
        let blob = virt("", &[&[IMAGE], &memory], |root| {
            memreserve.iter().for_each(|&(base, size)| root.reserve(base, size));
            root.node("reserved-memory", |parent| {
                parent.cell_counts(2, 2);
                parent.node("kept", |node| node.pairs("reg", 2, 2, &reserved));
                parent.node("hidden", |node| {
                    node.bytes("no-map", &[]);
                    node.pairs("reg", 2, 2, &no_map);
                });
            });
        });
        let taken = [&reserved[..], &memreserve, &[IMAGE, DTB]].concat();
        let memory = [&memory[..], &[IMAGE]].concat();
        let machine = machine(blob).unwrap();
        with_map(&machine, |map, result| {
            let hidden = no_map.iter().any(|&r| !region(r).intersection(region(IMAGE)).is_empty());
            assert_eq!(result.is_err(), hidden, "{result:?}");
            compare(map, &memory, &taken, &no_map);
        });
    }
}

/// MEMB-02: the zones and the allocator get whole frames of usable memory, wherever in a frame a
/// range begins and ends.
#[test]
fn no_frame_reaches_beyond_what_is_usable() {
    let mut random = Random::new(12);
    for _ in 0..1_000 {
        let mut some = || (0..1 + random.below(4)).map(|_| range(&mut random)).collect::<Vec<_>>();
        let (limits, parts, other) = (some(), some(), some());
        let blob = Tree::build(|root| {
            root.cell_counts(2, 2);
            let limits = [&limits[..], &[IMAGE]].concat();
            root.node("chosen", |node| node.pairs("linux,usable-memory-range", 2, 2, &limits));
            root.node("ram@0", |node| {
                node.text("device_type", "memory");
                node.pairs("reg", 2, 2, &[(0, 1 << 40)]);
                node.pairs("linux,usable-memory", 2, 2, &parts);
            });
            root.memory("ram@1", 2, 2, &[&other[..], &[IMAGE]].concat());
            root.node("memory@2", |node| node.pairs("reg", 2, 2, &[(0, 1 << 40)]));
        });
        let is_in = |ranges: Ranges<'_>, at| ranges.iter().any(|&(b, s)| (b..b + s).contains(&at));
        let usable = |at| {
            let named = is_in(&parts, at) || is_in(&other, at);
            is_in(&[IMAGE], at) || (named && is_in(&limits, at))
        };
        with_map(&machine(blob).unwrap(), |map, result| {
            assert_eq!(result, Ok(()));
            for frames in map.memory_frames().chain(map.free_frames()) {
                let (start, end) = (frames.start.addr().0, frames.end.addr().0);
                let halves = (start..end).step_by(0x800).take(0x1000);
                assert!(halves.chain([end - 1]).all(usable), "{frames:?} of {limits:x?}");
            }
        });
    }
}

/// Few enough different addresses that ranges meet, overlap and contain one another.
fn range(random: &mut Random) -> (u64, u64) {
    const STEPS: [u64; 4] = [0x1000, 0x10_0000, 0x800, 1 << 36];
    let step = random.pick(&STEPS);
    (0x4000_0000 + step * random.below(12) as u64, step * (1 + random.below(4) as u64))
}

/// Compares the sets at every address where one of them may begin or end.
fn compare(map: &MemoryMap<'_>, memory: Ranges<'_>, taken: Ranges<'_>, hidden: Ranges<'_>) {
    let is_in = |ranges: Ranges<'_>, at: u64| ranges.iter().any(|&(b, s)| (b..b + s).contains(&at));
    let holds = |mut regions: Box<dyn Iterator<Item = Region> + '_>, at: u64| {
        regions.any(|region| (region.start.0..region.end.0).contains(&at))
    };
    let all = [memory, taken, hidden].concat();
    let edges = all.iter().flat_map(|&(base, size)| [base, base + size]).chain([LINEAR_SIZE]);
    for at in edges.flat_map(|edge| [edge - 1, edge]) {
        let is_memory = is_in(memory, at) && at < LINEAR_SIZE;
        let (is_taken, is_hidden) = (is_in(taken, at), is_in(hidden, at));
        assert_eq!(holds(Box::new(map.memory()), at), is_memory, "memory at {at:#x}");
        assert_eq!(holds(Box::new(map.reserved()), at), is_taken, "reserved at {at:#x}");
        let is_mapped = is_memory && !is_hidden;
        assert_eq!(holds(Box::new(map.mapped()), at), is_mapped, "mapped at {at:#x}");
        assert_eq!(holds(Box::new(map.free_ranges()), at), is_mapped && !is_taken, "{at:#x}");
    }
    let regions: Vec<Region> = map.memory().collect();
    assert!(regions.windows(2).all(|pair| pair[0].end < pair[1].start), "{regions:?}");
}

/// BOOT-02: whatever the tree's bytes are, the boot gets to a plan of zones or to an error with a
/// message; free memory is always mapped.
#[test]
fn mutated_trees_end_in_a_plan_or_a_message() {
    let mut random = Random::new(13);
    let virt = virt("ramdisk=16M mem=1G", &[&[(0x4000_0000, 0x2000_0000)]], |_| {});
    let (mut planned, mut refused) = (0, 0);
    for blob in [virt, raspberry_pi_4(PI_8_GIB)] {
        for _ in 0..5_000 {
            let change = random.pick(&[mutated, revalued]);
            match machine(change(&blob, 8, &mut random)).and_then(|machine| plan(&machine)) {
                Ok(()) => planned += 1,
                Err(said) => {
                    assert!(!said.is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(planned > 500 && refused > 500, "{planned} planned, {refused} refused");
}

fn plan(machine: &Machine) -> Result<(), String> {
    with_map(machine, |map, result| {
        result.map_err(|error| error.to_string())?;
        let page = PAGE_SIZE as u64;
        let pages = |region: Region| (region.start.0.div_ceil(page), region.end.0 / page);
        let mapped: Vec<_> = map.mapped().map(pages).collect();
        for free in map.free_frames() {
            let (start, end) = (u64::from(free.start.0), u64::from(free.end.0));
            assert!(mapped.iter().any(|&(from, to)| from <= start && end <= to), "{free:?}");
        }
        let frames = |range: std::ops::Range<_>| FrameRange { start: range.start, end: range.end };
        let ranges: Vec<_> = map.memory_frames().map(frames).collect();
        Plan::new(&ranges, Config::default()).map(|_| ()).map_err(|error| format!("{error:?}"))
    })
}
