//! The kernel image against everything that firmware may do to it: device trees that are
//! missing or broken, odd places in memory (BOOT-01, BOOT-02).
//!
//! A host test: it builds the image, and boots it in QEMU behind a stub of a few words that
//! loads x0 and jumps to the image, since QEMU's own `-dtb` refuses broken trees. Every run
//! has a time limit, so that a hang is a failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const TARGET: &str = "aarch64-unknown-none-softfloat";
const RAM: u64 = 0x4000_0000;
/// Where the stub lies.
const STUB: u64 = RAM + (8 << 20);
/// Where the device tree lies.
const TREE: u64 = RAM + (16 << 20);
/// Where the image lies, unless a test puts it elsewhere.
const IMAGE: u64 = RAM + (2 << 20);
const CANNOT_BOOT: i32 = 2;

const VIRT: &[u8] = include_bytes!("../../boot/tests/fixtures/virt-gicv2.dtb");

/// The flat image, built once.
fn image() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--package", "kernel", "--target", TARGET])
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "the kernel does not build");
        let messages = String::from_utf8(built.stdout).unwrap();
        let elf = messages
            .split("\"executable\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .find(|path| path.ends_with("/kernel"))
            .expect("the build names its executable");
        let flat = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kernel.img");
        fs::write(&flat, flatten(&fs::read(elf).unwrap())).unwrap();
        flat
    })
}

/// The loadable bytes of an ELF64 file, from its first address on.
fn flatten(elf: &[u8]) -> Vec<u8> {
    let word = |at: usize, bytes: usize| {
        elf[at..at + bytes].iter().rev().fold(0, |n, &byte| (n << 8) | usize::from(byte))
    };
    let (table, count) = (word(32, 8), word(56, 2));
    let loads: Vec<_> = (0..count)
        .map(|index| table + index * 56)
        .filter(|&at| word(at, 4) == 1)
        .map(|at| (word(at + 8, 8), word(at + 16, 8), word(at + 32, 8)))
        .collect();
    let base = loads.iter().map(|&(_, va, _)| va).min().unwrap();
    let mut flat = Vec::new();
    for (offset, va, size) in loads {
        flat.resize((va - base).max(flat.len()), 0);
        flat.extend(&elf[offset..offset + size]);
    }
    flat
}

/// A machine for one run.
struct Board {
    name: &'static str,
    /// What x0 holds.
    x0: u64,
    /// What lies at [`TREE`].
    tree: Vec<u8>,
    image: u64,
    options: &'static [&'static str],
}

impl Board {
    fn new(name: &'static str, tree: &[u8]) -> Self {
        Self { name, x0: TREE, tree: tree.to_vec(), image: IMAGE, options: &[] }
    }

    /// What the run printed, and its exit status.
    fn run(&self) -> (String, Option<i32>) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let load = |what: &str, bytes: &[u8]| {
            let file = folder.join(format!("{}-{what}", self.name));
            fs::write(&file, bytes).unwrap();
            file
        };
        let stub = load("stub", &stub(self.x0, self.image));
        let tree = load("tree", &self.tree);
        let device = |file: &Path, at: u64| {
            format!("loader,file={},addr={at:#x},force-raw=on", file.display())
        };
        let output = Command::new("timeout")
            .args(["-k", "1", "30", "qemu-system-aarch64", "-M", "virt", "-cpu", "cortex-a72"])
            .args(["-m", "256M", "-nodefaults", "-display", "none", "-serial", "stdio"])
            .args(["-no-reboot", "-semihosting-config", "enable=on,target=native"])
            .args(["-device", &device(image(), self.image)])
            .args(["-device", &device(&tree, TREE)])
            .args(["-device", &device(&stub, STUB)])
            .args(["-device", &format!("loader,addr={STUB:#x},cpu-num=0")])
            .args(self.options)
            .stdin(Stdio::null())
            .output()
            .expect("QEMU can be started");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code())
    }

    /// Asserts that the boot is refused with a message that contains `reason`.
    fn is_refused(&self, reason: &str) {
        let (text, status) = self.run();
        let name = self.name;
        assert!(text.contains("cannot boot: ") && text.contains(reason), "{name}: {text}");
        assert_eq!(status, Some(CANNOT_BOOT), "{name}: {text}");
    }
}

/// `ldr x0, 1f; ldr x1, 2f; br x1`, and the two words.
fn stub(x0: u64, image: u64) -> Vec<u8> {
    let code: [u32; 4] = [0x5800_0080, 0x5800_00a1, 0xd61f_0020, 0xd503_201f];
    let mut bytes: Vec<u8> = code.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend([x0, image].into_iter().flat_map(u64::to_le_bytes));
    bytes
}

/// BOOT-02: x0 holds no tree's address.
#[test]
fn a_missing_tree_is_refused() {
    Board { x0: 0, ..Board::new("null", VIRT) }.is_refused("x0 was 0");
    Board { x0: TREE + 4, ..Board::new("odd", VIRT) }.is_refused("not a multiple of 8");
    Board { x0: STUB, ..Board::new("code", VIRT) }.is_refused("not 0xd00dfeed");
    let high = Board { options: &["-M", "virt,virtualization=on"], ..Board::new("el2", &[0; 64]) };
    high.is_refused("not 0xd00dfeed");
}

/// BOOT-02: x0 points to where nothing answers.
#[test]
fn an_address_of_nothing_ends_in_a_message_and_a_failing_status() {
    let beyond = Board { x0: 0xffff_0000_0000_0000, ..Board::new("beyond", VIRT) };
    beyond.is_refused("no physical address");
    for (name, x0) in [("hole", 0x20_0000_0000), ("unaddressable", 0x2000_0000_0000)] {
        let (text, status) = Board { x0, ..Board::new(name, VIRT) }.run();
        assert!(text.contains("exception during early boot"), "{name}: {text}");
        assert_eq!(status, Some(1), "{name}: {text}");
    }
}

/// BOOT-02: the tree is cut off or broken.
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
    let memory = VIRT.windows(16).position(|w| w == b"memory@40000000\0").unwrap();
    Board::new("forgetful", &changed(memory, b"memoxy")).is_refused("describes no memory");
}

/// BOOT-02: without semihosting the message comes on the fallback UART, and the run ends.
#[test]
fn the_fallback_uart_says_what_is_wrong() {
    let board =
        Board { options: &["-semihosting-config", "enable=off"], ..Board::new("uart", &[]) };
    let (text, status) = board.run();
    assert!(text.contains("cannot boot: ") && text.contains("not 0xd00dfeed"), "{text}");
    assert_eq!(status, Some(0), "switched off: {text}");
}

/// BOOT-01: the image runs wherever it was put, on a multiple of 2 MiB.
#[test]
fn the_image_runs_anywhere() {
    for (name, offset) in [("low", 4 << 20), ("middle", 34 << 20), ("top", 254 << 20)] {
        let (text, _) = Board { image: RAM + offset, ..Board::new(name, VIRT) }.run();
        let place = format!("kernel image at {:#x}..", RAM + offset);
        assert!(text.contains(&place), "{name}: {text}");
    }
}
