//! Memory of every shape, described to the real entry code (BOOT-02, MEMB-01, MEMB-02). The
//! machine has 256 MiB; trees describe parts of them, and memory that does not exist.

use super::board::{Board, IMAGE, PANIC, RAM, TREE};
use super::trees::boards::{Ranges, virt};
use super::trees::builder::Tree;

pub const M: u64 = 1 << 20;

fn board(name: &'static str, nodes: &[Ranges<'_>]) -> Board {
    board_with(name, "semihosting", nodes, |_| {})
}

fn board_with(
    name: &'static str,
    bootargs: &str,
    nodes: &[Ranges<'_>],
    more: impl FnOnce(&mut Tree),
) -> Board {
    Board::new(name, &virt(bootargs, nodes, more))
}

/// The kernel's output about a kind of addresses: the lines that begin with `word`.
pub fn told(text: &str, word: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.trim_end());
    lines.filter_map(|line| Some(line.strip_prefix(word)?.trim().to_string())).collect()
}

pub fn shown(base: u64, size: u64) -> String {
    format!("{base:#x}..{:#x}", base + size)
}

/// The columns spanned, present and managed of zone DMA32.
pub fn zone(text: &str) -> [u64; 3] {
    let line = text.lines().find(|line| line.starts_with("DMA32")).expect("a row of the zone");
    let mut numbers = line.split_whitespace().skip(1).map(|word| word.parse().unwrap());
    [(); 3].map(|()| numbers.next().unwrap())
}

/// MEMB-01: several nodes in descending order, several ranges, holes between them.
#[test]
fn memory_in_pieces_is_used_piece_by_piece() {
    let nodes: [Ranges<'_>; 3] = [
        &[(RAM + 192 * M, 32 * M), (RAM + 240 * M, 16 * M)],
        &[(RAM + 128 * M, 16 * M)],
        &[(RAM, 64 * M)],
    ];
    let text = board("pieces", &nodes).boots();
    let expected =
        [(0, 64), (128, 16), (192, 32), (240, 16)].map(|(at, size)| shown(RAM + at * M, size * M));
    assert_eq!(told(&text, "memory "), expected, "{text}");
    let [spanned, present, managed] = zone(&text);
    assert_eq!((spanned, present), (256 * 256, 128 * 256), "{text}");
    assert!(managed < present && managed > present / 10 * 9, "{text}");
}

/// MEMB-03: ranges that touch, overlap or are given twice are merged.
#[test]
fn ranges_that_touch_or_overlap_are_one() {
    let nodes: [Ranges<'_>; 3] = [
        &[(RAM + 64 * M, 64 * M), (RAM, 64 * M)],
        &[(RAM + 96 * M, 160 * M), (RAM, 0)],
        &[(RAM, 64 * M)],
    ];
    let text = board("touching", &nodes).boots();
    assert_eq!(told(&text, "memory "), [shown(RAM, 256 * M)], "{text}");
}

/// MEMB-02: reservations of each kind, and a RAM disk in the holes that they leave.
#[test]
fn what_is_reserved_is_left_alone() {
    let memory: [Ranges<'_>; 1] = [&[(RAM, 256 * M)]];
    let board = board_with("reserved", "semihosting ramdisk=110M", &memory, |root| {
        root.reserve(RAM + 120 * M, 0x1000);
        root.node("reserved-memory", |parent| {
            parent.cell_counts(2, 2);
            parent.node("hidden@1", |node| {
                node.pairs("reg", 2, 2, &[(RAM + 200 * M, 2 * M)]);
                node.bytes("no-map", &[]);
            });
            parent.node("wish", |node| node.cells("size", &[0, 0x0400_0000]));
        });
    });
    let text = board.boots();
    assert_eq!(told(&text, "no-map "), [shown(RAM + 200 * M, 2 * M)], "{text}");
    assert!(told(&text, "reserved ").contains(&shown(RAM + 120 * M, 0x1000)), "{text}");
    let disk = told(&text, "swap: RAM disk at ");
    let pieces = format!("{} + {}", shown(RAM + 18 * M, 102 * M), shown(RAM + 248 * M, 8 * M));
    assert_eq!(disk, [format!("{pieces}, 28159 slots")], "{text}");
}

/// BOOT-02: no memory, or ranges that no machine has, and the tree is refused.
#[test]
fn memory_that_cannot_be_is_refused() {
    board("none", &[]).is_refused("describes no memory");
    board("empty", &[&[]]).is_refused("describes no memory");
    board("nothing", &[&[(RAM, 0)]]).is_refused("describes no memory");
    board("wrapping", &[&[(RAM, 256 * M), (u64::MAX - 1, 2)]]).is_refused("overflow");
    let ragged = board_with("ragged", "semihosting", &[&[(RAM, 256 * M)]], |root| {
        root.node("memory@1", |node| {
            node.text("device_type", "memory");
            node.cells("reg", &[0, 1, 2]);
        });
    });
    ragged.is_refused("\"memory@1\", property \"reg\"");
    let odd = Tree::build(|root| {
        root.cell_counts(3, 2);
        root.memory("memory@0", 2, 2, &[(RAM, 256 * M)]);
    });
    Board::new("cells", &odd).is_refused("#address-cells of 3 is not 1 or 2");
}

/// BOOT-02: memory without the kernel in it, or too little memory, ends in a message.
#[test]
fn memory_that_is_not_enough_ends_in_a_message() {
    let refused = |name, nodes: &[Ranges<'_>], reason| {
        let text = board(name, nodes).ends_with(PANIC);
        assert!(text.contains("panicked") && text.contains(reason), "{name}: {text}");
    };
    refused("elsewhere", &[&[(RAM + 64 * M, 64 * M)]], "the kernel image at");
    refused("half", &[&[(IMAGE, 0x1_0000), (RAM + 64 * M, M)]], "the kernel image at");
    refused("far", &[&[(1 << 47, 64 * M)]], "the kernel image at");
    let image_only = told(&board("size", &[&[(RAM, 256 * M)]]).boots(), "kernel image at ");
    let end = image_only[0].split("..").nth(1).unwrap().split(',').next().unwrap();
    let end = u64::from_str_radix(end.trim_start_matches("0x"), 16).unwrap();
    refused("exact", &[&[(IMAGE, end - IMAGE)]], "no frame for a table");
    refused("pages", &[&[(IMAGE, end - IMAGE + 0x4000)]], "no memory for the page descriptors");
    let nothing = (0x20_0000_0000, M);
    let nodes: [Ranges<'_>; 1] = [&[(RAM, 256 * M), nothing]];
    let absent = board("absent", &nodes).ends_with(PANIC);
    assert!(absent.contains("exception during early boot"), "{absent}");
    let sparse = board_with("sparse", "semihosting", &nodes, |root| {
        root.reserve(nothing.0, nothing.1);
    });
    let sparse = sparse.ends_with(PANIC);
    assert!(sparse.contains("frames of memory lie too far apart"), "{sparse}");
}

/// MEMB-02: no-map over the image, and a reservation over everything.
#[test]
fn reservations_that_leave_nothing_end_in_a_message() {
    let refused = |name, no_map, place: (u64, u64), reason| {
        let nodes: [Ranges<'_>; 1] = [&[(RAM, 256 * M)]];
        let board = board_with(name, "semihosting", &nodes, |root| {
            root.node("reserved-memory", |parent| {
                parent.cell_counts(2, 2);
                parent.node("greedy@1", |node| {
                    node.pairs("reg", 2, 2, &[place]);
                    node.flag("no-map", no_map);
                });
            });
        });
        let text = board.ends_with(PANIC);
        assert!(text.contains("panicked") && text.contains(reason), "{name}: {text}");
    };
    refused("hidden", true, (IMAGE, 0x1000), "the kernel image at");
    refused("greedy", false, (0, 1 << 48), "no frame for a table");
}

/// MEMB-01: RAM beyond the linear map is not used, and the rest is.
#[test]
fn memory_out_of_reach_is_left_out() {
    let text = board("reach", &[&[(1 << 40, 4 * M), (RAM, 256 * M)], &[(1 << 52, M)]]).boots();
    assert_eq!(told(&text, "memory "), [shown(RAM, 256 * M)], "{text}");
}

/// MEMB-04: the maximum number of ranges is used; one more is refused.
#[test]
fn no_range_is_dropped() {
    let many = |count: u64| {
        let rest = (0..count - 1).map(|n| (RAM + (20 + 3 * n) * M, 2 * M));
        std::iter::once((RAM, 18 * M)).chain(rest).collect::<Vec<_>>()
    };
    let text = board("many", &[&many(64)]).boots();
    assert_eq!(told(&text, "memory ").len(), 64, "{text}");
    board("more", &[&many(65)]).is_refused("more than 64 memory ranges");
}

/// BOOT-02: the largest tree, wide and deep, is read in its slot and within the time limit.
#[test]
fn a_tree_of_two_mebibytes_is_read() {
    let nodes: [Ranges<'_>; 1] = [&[(RAM, 256 * M)]];
    let mut board = board_with("large", "semihosting", &nodes, |root| {
        (0..60_000).for_each(|_| root.begin("x"));
        (0..60_000).for_each(|_| root.end());
        (0..78_000).for_each(|_| root.node("y", |_| {}));
    });
    board.tree.resize(2 << 20, 0);
    let size = (board.tree.len() as u32).to_be_bytes();
    board.tree[4..8].copy_from_slice(&size);
    let text = board.boots();
    // What has been read is not kept.
    assert!(text.contains(&format!("device tree at {TREE:#x}..")), "{text}");
    assert!(zone(&text)[2] > 256 * 256 - 1024, "{text}");
}
