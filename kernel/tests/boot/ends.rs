//! The end of a run without semihosting: one line for machines to read, and then the action of the
//! word `end=`, on both machines.

use super::qemu::Kind;
use super::trees::boards::{PI_1_GIB, Pi, virt};
use super::watched::{Seen, Watched};

/// The first line of a boot.
const BANNER: &str = "kernel image at ";

fn run(kind: Kind, name: &str, bootargs: &str, no_reboot: bool) -> (Seen, String) {
    let memory = [&[(0x4000_0000, 256 << 20)][..]];
    let tree = match kind {
        Kind::Virt => virt(bootargs, &memory, |_| {}),
        Kind::Pi => Pi { memory: PI_1_GIB, bootargs, initrd: None, ..Pi::default() }.tree(),
    };
    let seen = Watched { no_reboot, ..Watched::new(name, kind, &tree) }.run();
    let text = if kind == Kind::Virt { seen.pl011.clone() } else { seen.mini.clone() };
    (seen, text)
}

const BOTH: [Kind; 2] = [Kind::Virt, Kind::Pi];

/// BOOT-05: the status of a run is its last line. QEMU listens for semihosting here, so if the
/// kernel used it, the line would be missing and QEMU would have exited.
#[test]
fn a_run_that_halts_ends_in_one_line() {
    for kind in BOTH {
        let (seen, text) = run(kind, "halt", "end=halt", true);
        seen.ends_with(&text, 0);
        assert!(!seen.went, "{kind:?} did not halt: {text}");
        let (seen, text) = run(kind, "fails", "end=halt init=absent", true);
        seen.ends_with(&text, 1);
        assert!(!seen.went, "{kind:?} did not halt: {text}");
        let (seen, text) = run(kind, "bad", "swappiness=lots end=halt", true);
        seen.ends_with(&text, 2);
        assert!(text.contains("cannot boot: ") && !seen.went, "{text}");
    }
}

/// BOOT-05: `end=off` powers the machine off, by PSCI or in the way of the Raspberry Pi's firmware.
#[test]
fn a_machine_can_be_switched_off() {
    for kind in BOTH {
        let (seen, text) = run(kind, "off", "end=off", false);
        seen.ends_with(&text, 0);
        assert!(seen.went, "{kind:?} is not off: {text}");
    }
}

/// BOOT-05: `end=reset` ends this run, and boots the machine again.
#[test]
fn a_machine_can_be_reset() {
    for kind in BOTH {
        let (seen, text) = run(kind, "reset", "end=reset", true);
        seen.ends_with(&text, 0);
        assert!(seen.went && text.matches(BANNER).count() == 1, "{kind:?}: {text}");
        let (_, text) = run(kind, "again", "end=reset", false);
        assert!(text.matches(BANNER).count() > 1, "{kind:?} did not boot again: {text}");
    }
}

/// BOOT-05: without the word, a machine with PSCI powers off, another halts; and if there is no
/// means for what was requested, that is reported, and the machine halts.
#[test]
fn a_machine_without_means_halts() {
    let (seen, text) = run(Kind::Virt, "default", "", true);
    seen.ends_with(&text, 0);
    assert!(seen.went, "{text}");
    let (seen, text) = run(Kind::Pi, "default", "", true);
    seen.ends_with(&text, 0);
    assert!(!seen.went, "{text}");
    let mut tree =
        Pi { memory: PI_1_GIB, bootargs: "end=reset", initrd: None, ..Pi::default() }.tree();
    for name in [&b"brcm,bcm2711-pm"[..], b"brcm,bcm2835-pm-wdt"] {
        let at = tree.windows(name.len()).position(|window| window == name).unwrap();
        tree[at] = b'x';
    }
    let seen = Watched::new("no-means", Kind::Pi, &tree).run();
    seen.ends_with(&seen.mini, 0);
    assert!(seen.mini.contains("no means to reset it: the machine halts"), "{}", seen.mini);
    assert!(!seen.went);
}
