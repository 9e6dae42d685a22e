//! Memory that the kernel must not use, as with a crash-dump kernel (MEMB-02).
//!
//! The machine's RAM is a file of the host's, filled with a pattern before the run: every write to
//! memory shows afterwards. The image, the stub and the device tree are in usable memory, and QEMU
//! puts a tree of its own at the start of RAM.

use std::fs;

use super::board::{Board, IMAGE, PANIC, RAM};
use super::layouts::{M, shown, told, zone};
use super::trees::boards::virt_devices;
use super::trees::builder::Tree;

/// Megabytes of RAM: (first, count).
type Megabytes = (u64, u64);

const SIZE: u64 = 256;
const PATTERN: u8 = 0xa5;
/// The megabytes in which QEMU's tree may be.
const QEMUS_TREE: Megabytes = (0, 1);

/// QEMU's options for RAM that is a file of that name.
macro_rules! ram_file {
    ($name:literal) => {
        (
            concat!(env!("CARGO_TARGET_TMPDIR"), "/", $name),
            &[
                "-object",
                concat!(
                    "memory-backend-file,id=ram,size=256M,share=on,mem-path=",
                    env!("CARGO_TARGET_TMPDIR"),
                    "/",
                    $name
                ),
                "-machine",
                "memory-backend=ram",
            ] as &[&str],
        )
    };
}

/// Boots with the tree and checks that the kernel's memory is `usable`, and that no byte was
/// written elsewhere except in the RAM disk, which is in the 8 MiB after it. Returns the kernel's
/// output.
fn uses_only(
    name: &'static str,
    (file, options): (&str, &'static [&'static str]),
    tree: &[u8],
    usable: &[Megabytes],
) -> String {
    fs::write(file, vec![PATTERN; (SIZE * M) as usize]).unwrap();
    let text = Board { options, ..Board::new(name, tree) }.boots();
    let ram = fs::read(file).unwrap();
    fs::remove_file(file).unwrap();
    let image = &ram[(IMAGE - RAM) as usize..];
    assert_ne!(image[0], PATTERN, "the file is the machine's RAM");
    let disk = usable.last().map_or((0, 0), |&(first, count)| (first + count, 8));
    let expected: Vec<_> =
        usable.iter().map(|&(first, count)| shown(RAM + first * M, count * M)).collect();
    assert_eq!(told(&text, "memory "), expected, "{text}");
    for megabyte in 0..SIZE {
        let holds = |&(first, count): &Megabytes| (first..first + count).contains(&megabyte);
        if usable.iter().chain([&QEMUS_TREE, &disk]).any(holds) {
            continue;
        }
        let bytes = &ram[(megabyte * M) as usize..((megabyte + 1) * M) as usize];
        let changed = bytes.iter().position(|byte| *byte != PATTERN);
        assert_eq!(changed, None, "{name}: megabyte {megabyte} was written: {text}");
    }
    text
}

fn pairs(ranges: &[Megabytes]) -> Vec<(u64, u64)> {
    ranges.iter().map(|&(first, count)| (RAM + first * M, count * M)).collect()
}

/// Checks the megabytes of the zone, from the first to the last and without the holes.
fn zones_hold(text: &str, spanned: u64, present: u64) {
    let [wide, there, managed] = zone(text);
    assert_eq!((wide, there), (spanned * 256, present * 256), "{text}");
    assert!(managed <= there && managed > there / 10 * 9, "{text}");
}

/// The tree of a board with the given memory nodes and ranges of chosen.
fn board(chosen: &[Megabytes], memory: impl FnOnce(&mut Tree)) -> Vec<u8> {
    Tree::build(|root| {
        root.cell_counts(2, 2);
        root.node("chosen", |node| {
            node.text("bootargs", "semihosting ramdisk=8M");
            if !chosen.is_empty() {
                node.pairs("linux,usable-memory-range", 2, 2, &pairs(chosen));
            }
        });
        memory(root);
        virt_devices(root);
    })
}

/// MEMB-02: outside the ranges of chosen no frame is in a zone, and no byte is written. The
/// nodes are memory by their type and not by their names.
#[test]
fn memory_outside_the_ranges_of_chosen_is_neither_used_nor_written() {
    let tree = board(&[(100, 20), (2, 62)], |root| {
        root.memory("ram@40000000", 2, 2, &pairs(&[(0, 110)]));
        root.memory("ram@46e00000", 2, 2, &pairs(&[(110, 146)]));
        root.node("memory@42000000", |node| node.pairs("reg", 2, 2, &pairs(&[(64, 10)])));
    });
    let text = uses_only("chosen", ram_file!("chosen-ram"), &tree, &[(2, 62), (100, 12)]);
    assert!(told(&text, "swap: RAM disk at ")[0].starts_with(&shown(RAM + 112 * M, 8 * M)));
    zones_hold(&text, 110, 74);
}

/// MEMB-02: of a node that says which part of its memory is usable, nothing else is used or
/// written; other nodes are used whole.
#[test]
fn memory_that_its_node_does_not_call_usable_is_neither_used_nor_written() {
    let tree = board(&[], |root| {
        root.node("memory@40000000", |node| {
            node.text("device_type", "memory");
            node.pairs("reg", 2, 2, &pairs(&[(0, 128)]));
            node.pairs("linux,usable-memory", 2, 2, &pairs(&[(2, 30), (64, 2)]));
        });
        root.memory("memory@4a000000", 2, 2, &pairs(&[(160, 32)]));
    });
    let usable = [(2, 30), (64, 2), (160, 24)];
    let text = uses_only("node", ram_file!("node-ram"), &tree, &usable);
    zones_hold(&text, 182, 56);
}

/// BOOT-02, MEMB-02: a malformed range, and an image in unusable memory, end in a message.
#[test]
fn usable_memory_that_cannot_be_ends_in_a_message() {
    let ranged = |value: &[u8]| {
        Tree::build(|root| {
            root.cell_counts(2, 2);
            root.node("chosen", |node| {
                node.text("bootargs", "semihosting");
                node.bytes("linux,usable-memory-range", value);
            });
            root.memory("memory@40000000", 2, 2, &pairs(&[(0, 256)]));
            virt_devices(root);
        })
    };
    let ragged = Board::new("ragged-range", &ranged(&[0; 12]));
    ragged.is_refused("\"chosen\", property \"linux,usable-memory-range\"");
    Board::new("no-range", &ranged(&[])).is_refused("lets no memory be used");
    let elsewhere = board(&[(64, 64)], |root| {
        root.memory("memory@40000000", 2, 2, &pairs(&[(0, 256)]));
    });
    let text = Board::new("image-elsewhere", &elsewhere).ends_with(PANIC);
    assert!(text.contains("panicked") && text.contains("the kernel image at"), "{text}");
}
