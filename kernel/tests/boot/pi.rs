//! QEMU's Raspberry Pi 4, with trees as firmware patches them: which UART is on which pins, memory
//! in two pieces, all four CPUs (BOOT-01, BOOT-02, BOOT-06).

use super::qemu::Kind;
use super::trees::boards::{PI_1_GIB, PI_2_GIB, Pi};
use super::watched::{Seen, Watched};

/// Functions and pulls of the pins 10 to 19, in the CPU's addresses.
const FSEL1: u64 = 0xfe20_0004;

fn run(name: &str, pi: &Pi<'_>) -> Seen {
    let tree = pi.tree();
    Watched { look_at: &[FSEL1], ..Watched::new(name, Kind::Pi, &tree) }.run()
}

fn board<'a>() -> Pi<'a> {
    Pi { memory: PI_1_GIB, bootargs: "", initrd: None, ..Pi::default() }
}

/// The functions of GPIO14 and GPIO15.
fn functions(seen: &Seen) -> [u32; 2] {
    let fsel1 = seen.registers.first().expect("the machine halted, so its registers could be read");
    [fsel1 >> 12 & 7, fsel1 >> 15 & 7]
}

/// BOOT-01: the console is the UART that `stdout-path` names, and it has the pins of the
/// header: the mini-UART by their function 5 (coded 2), the PL011 by function 0 (coded 4).
#[test]
fn the_console_is_the_uart_that_is_named_and_has_the_pins() {
    let seen = run("mini", &board());
    seen.ends_with(&seen.mini, 0);
    assert_eq!((seen.pl011.as_str(), functions(&seen)), ("", [2, 2]));
    let seen = run("pl011", &Pi { stdout_path: Some("serial0:115200n8"), ..board() });
    seen.ends_with(&seen.pl011, 0);
    assert_eq!((seen.mini.as_str(), functions(&seen)), ("", [4, 4]));
}

/// BOOT-02: a missing or odd `stdout-path` still gives output.
#[test]
fn there_is_output_whatever_the_tree_calls_its_console() {
    let seen = run("none", &Pi { stdout_path: None, ..board() });
    seen.ends_with(&seen.mini, 0);
    let odd = Pi { stdout_path: Some("ttyS0"), mini_status: "disabled", ..board() };
    let seen = run("odd", &odd);
    seen.ends_with(&seen.pl011, 0);
    let seen = run("dark", &Pi { pl011_status: "disabled", ..odd });
    seen.ends_with(&seen.mini, 0);
}

/// BOOT-02: without a device tree the fallback UART reports it. The address of the UART of `virt`
/// is memory here, and is not written to.
#[test]
fn a_missing_tree_is_told_on_the_boards_own_uart() {
    let virt_uart = 0x0900_0030;
    let watched = Watched { look_at: &[virt_uart], ..Watched::new("treeless", Kind::Pi, &[]) };
    let seen = watched.run();
    seen.ends_with(&seen.mini, 2);
    assert!(seen.mini.contains("cannot boot: no device tree: x0 was 0"), "{}", seen.mini);
    assert_eq!((seen.went, seen.registers), (false, vec![0]));
}

/// BOOT-06: the CPUs wait in a spin table that is reserved memory, and all are started.
#[test]
fn all_four_cpus_run() {
    let text = run("four", &board()).mini;
    assert!(text.contains("CPUs: 4 run"), "{text}");
    assert!(text.contains("reserved 0x0..0x1000"), "{text}");
}

/// MEMB-01, ZONE-01: boards of 1 and 2 GiB, whose memory QEMU has. Zone DMA is what all
/// devices reach.
#[test]
fn memory_on_both_sides_of_the_gpus_is_used() {
    let text = run("1-gib", &board()).mini;
    assert!(text.contains("memory   0x0..0x3b400000\r\nreserved"), "{text}");
    assert!(text.contains("\nDMA  ") && !text.contains("\nDMA32"), "{text}");
    let text = run("2-gib", &Pi { memory: PI_2_GIB, ..board() }).mini;
    assert!(text.contains("memory   0x0..0x3b400000\r\n"), "{text}");
    assert!(text.contains("memory   0x40000000..0x80000000\r\n"), "{text}");
    let present = |zone: &str| -> u64 {
        let line = text.lines().find(|line| line.starts_with(zone)).expect("a zone");
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    assert_eq!((present("DMA "), present("DMA32 ")), (0x3b400, 0x40000), "{text}");
}
