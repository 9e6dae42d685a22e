//! Trees that are missing or broken, and unusual addresses of the image (BOOT-01, BOOT-02).

use super::board::{Board, IMAGE, PANIC, RAM, STUB, TREE, VIRT};

/// BOOT-02: x0 holds no tree's address.
#[test]
fn a_missing_tree_is_refused() {
    Board { x0: 0, ..Board::new("null", VIRT) }.is_refused("x0 was 0");
    Board { x0: TREE + 4, ..Board::new("odd", VIRT) }.is_refused("not a multiple of 8");
    Board { x0: STUB, ..Board::new("code", VIRT) }.is_refused("not 0xd00dfeed");
    let high = Board { options: &["-M", "virt,virtualization=on"], ..Board::new("el2", &[0; 64]) };
    high.is_refused("not 0xd00dfeed");
}

/// BOOT-02: x0 points to an address without memory.
#[test]
fn an_address_of_nothing_ends_in_a_message_and_a_failing_status() {
    let beyond = Board { x0: 0xffff_0000_0000_0000, ..Board::new("beyond", VIRT) };
    beyond.is_refused("no physical address");
    for (name, x0) in [("hole", 0x20_0000_0000), ("unaddressable", 0x2000_0000_0000)] {
        let text = Board { x0, ..Board::new(name, VIRT) }.ends_with(PANIC);
        assert!(text.contains("exception during early boot"), "{name}: {text}");
    }
}

/// BOOT-02: the tree is truncated or broken.
#[test]
fn a_broken_tree_is_refused() {
    let changed = |at: usize, bytes: &[u8]| {
        let mut tree = VIRT.to_vec();
        tree[at..at + bytes.len()].copy_from_slice(bytes);
        tree
    };
    Board::new("tiny", &changed(4, &20u32.to_be_bytes())).is_refused("of 20 bytes");
    Board::new("huge", &changed(4, &[0xff; 4])).is_refused("not between 40 and 2 MiB");
    Board::new("short", &changed(4, &1024u32.to_be_bytes())).is_refused("malformed");
    Board::new("cut", &VIRT[..2000]).is_refused("malformed");
    let memory = VIRT.windows(7).position(|w| w == b"memory\0").unwrap();
    Board::new("forgetful", &changed(memory, b"memoxy")).is_refused("describes no memory");
}

/// QEMU's tree with the console elsewhere.
fn with_console_at(place: u32) -> Vec<u8> {
    let console =
        VIRT.windows(16).position(|w| w == [0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0]);
    let mut tree = VIRT.to_vec();
    tree[console.unwrap() + 4..][..4].copy_from_slice(&place.to_be_bytes());
    tree
}

/// BOOT-02: a console in the middle of the kernel would be written to.
#[test]
fn registers_in_memory_are_refused() {
    for (name, place) in [("console", IMAGE as u32 + 0x1000), ("odd-console", 0x0900_006d)] {
        Board::new(name, &with_console_at(place)).is_refused("the console's registers");
    }
}

/// BOOT-02: if the tree names flash, or a clock, as the console, the messages go to another output,
/// and the boot continues.
#[test]
fn a_console_that_is_none_is_not_used() {
    for (name, place) in [("flash-console", 0), ("clock-console", 0x0901_0000)] {
        // The tree names a program, but there is no archive.
        let text = Board::new(name, &with_console_at(place)).ends_with(1);
        assert!(text.contains("cannot run hello: there is no initrd"), "{text}");
    }
}

/// BOOT-02: without semihosting the message is on the fallback UART, and the run ends.
#[test]
fn the_fallback_uart_says_what_is_wrong() {
    let board =
        Board { options: &["-semihosting-config", "enable=off"], ..Board::new("uart", &[]) };
    let text = board.ends_with(0); // Switching off carries no status.
    assert!(text.contains("cannot boot: ") && text.contains("not 0xd00dfeed"), "{text}");
}

/// BOOT-01: the image runs at any multiple of 2 MiB; on any other page, too, since a Raspberry Pi's
/// older firmware loads at 512 KiB.
#[test]
fn the_image_runs_anywhere() {
    for (name, offset) in
        [("low", 4 << 20), ("middle", 34 << 20), ("top", 254 << 20), ("page", 0x28_1000)]
    {
        let (text, _) = Board { image: RAM + offset, ..Board::new(name, VIRT) }.run();
        let place = format!("kernel image at {:#x}..", RAM + offset);
        assert!(text.contains(&place), "{name}: {text}");
    }
}
