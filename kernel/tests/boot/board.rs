//! A machine for one run: the image, the stub before it, and a device tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use super::qemu::{Kind, qemu};

const TARGET: &str = "aarch64-unknown-none-softfloat";
/// The first address of RAM.
pub const RAM: u64 = 0x4000_0000;
/// The address of the stub.
pub const STUB: u64 = RAM + (8 << 20);
/// The address of the device tree.
pub const TREE: u64 = RAM + (16 << 20);
/// The address of the image, unless a test puts it elsewhere.
pub const IMAGE: u64 = RAM + (2 << 20);
/// The status of a panic or an exception.
pub const PANIC: i32 = 1;
/// The status of a boot that got no usable device tree or command line.
pub const CANNOT_BOOT: i32 = 2;
/// How long a run may take; each takes a fraction of a second.
const LIMIT: Duration = Duration::from_secs(30);

/// The tree of QEMU's own board; its command line requests semihosting and a program that does not
/// exist.
pub const VIRT: &[u8] = include_bytes!("../../../boot/tests/fixtures/virt-gicv2.dtb");

/// The flat image, built once.
pub fn image() -> &'static Path {
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
pub struct Board {
    /// Names its files; no two tests may share one.
    pub name: &'static str,
    /// The value of x0.
    pub x0: u64,
    /// The contents of [`TREE`].
    pub tree: Vec<u8>,
    /// The address of the image.
    pub image: u64,
    /// More options for QEMU.
    pub options: &'static [&'static str],
}

impl Board {
    /// A machine as firmware leaves it, except for its tree.
    pub fn new(name: &'static str, tree: &[u8]) -> Self {
        Self { name, x0: TREE, tree: tree.to_vec(), image: IMAGE, options: &[] }
    }

    /// What the run printed, and its exit status.
    pub fn run(&self) -> (String, Option<i32>) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let load = |what: &str, bytes: &[u8]| {
            let file = folder.join(format!("{}-{what}", self.name));
            fs::write(&file, bytes).unwrap();
            file
        };
        let stub = load("stub", &stub(self.x0, self.image));
        let tree = load("tree", &self.tree);
        let files = [(image(), self.image), (&tree, TREE)];
        let output = qemu(Kind::Virt, LIMIT, (&stub, STUB), &files)
            .args(["-serial", "stdio", "-no-reboot"])
            .args(self.options)
            .stdin(Stdio::null())
            .output()
            .expect("QEMU can be started");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code())
    }

    /// Asserts that the boot is refused with a message that contains `reason`.
    pub fn is_refused(&self, reason: &str) {
        let text = self.ends_with(CANNOT_BOOT);
        assert!(text.contains("cannot boot: ") && text.contains(reason), "{}: {text}", self.name);
    }

    /// Asserts that the boot gets as far as the search for a program, and returns what it printed.
    pub fn boots(&self) -> String {
        let text = self.ends_with(0);
        assert!(text.contains("no program to run"), "{}: {text}", self.name);
        text
    }

    /// Asserts that the run ends with `status`, and returns what it printed.
    pub fn ends_with(&self, status: i32) -> String {
        let (text, found) = self.run();
        assert_eq!(found, Some(status), "{}: {text}", self.name);
        text
    }
}

/// `ldr x0, 1f; ldr x1, 2f; br x1`, and the two words.
pub fn stub(x0: u64, image: u64) -> Vec<u8> {
    let code: [u32; 4] = [0x5800_0080, 0x5800_00a1, 0xd61f_0020, 0xd503_201f];
    let mut bytes: Vec<u8> = code.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.extend([x0, image].into_iter().flat_map(u64::to_le_bytes));
    bytes
}
