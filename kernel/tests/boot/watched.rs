//! Runs without semihosting: the output of each serial line, and what the machine did.
//!
//! Such a run may halt, and QEMU goes on. So it is watched until its last line appears, then for a
//! moment longer, and then QEMU is asked to quit.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::board::{RAM, STUB, TREE, image, stub};
use super::qemu::{Kind, qemu};

/// The last line of a run, before its status.
pub const LAST_LINE: &str = "mm-reclaim: end status=";
/// How long a run may take; each takes a second or two.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a machine may take to end after its last line.
const MOMENT: Duration = Duration::from_millis(800);
/// The longest life of a QEMU that ignores its monitor, or whose test is gone.
const LIFE: Duration = Duration::from_secs(90);

impl Kind {
    /// The addresses (image, tree, stub) of the simulated firmware.
    fn places(self) -> (u64, u64, u64) {
        match self {
            Self::Virt => (RAM + (2 << 20), TREE, STUB),
            // A raw file is loaded there.
            Self::Pi => (2 << 20, 48 << 20, 0x8_0000),
        }
    }
}

/// A run to be watched.
pub struct Watched<'a> {
    /// Names its files; no two tests of a machine may share one.
    pub name: &'a str,
    /// The machine.
    pub kind: Kind,
    /// Its device tree; an empty one is none at all.
    pub tree: &'a [u8],
    /// A reset ends QEMU, too.
    pub no_reboot: bool,
    /// Physical addresses of registers to read at the end.
    pub look_at: &'a [u64],
    /// What runs before the image: code that jumps to it, given x0 and where it is.
    pub stub: &'a dyn Fn(u64, u64) -> Vec<u8>,
    /// More options for QEMU.
    pub options: &'a [&'a str],
}

impl<'a> Watched<'a> {
    /// A run with defaults.
    pub fn new(name: &'a str, kind: Kind, tree: &'a [u8]) -> Self {
        Self { name, kind, tree, no_reboot: true, look_at: &[], stub: &stub, options: &[] }
    }
}

/// The result of a run.
pub struct Seen {
    /// The first serial line: a PL011 on both machines.
    pub pl011: String,
    /// The second: the mini-UART.
    pub mini: String,
    /// Whether QEMU exited by itself.
    pub went: bool,
    /// The registers, if it did not.
    pub registers: Vec<u32>,
}

impl Seen {
    /// Asserts that the run ended with exactly one last line, which says `status`, on `text`.
    pub fn ends_with(&self, text: &str, status: u8) {
        let lines: Vec<&str> = text.lines().filter(|line| line.contains(LAST_LINE)).collect();
        assert_eq!(lines, [format!("{LAST_LINE}{status}")], "{text}");
        assert!(text.ends_with(&format!("\n{LAST_LINE}{status}\r\n")), "{text}");
    }
}

impl Watched<'_> {
    /// Runs it.
    pub fn run(&self) -> Seen {
        let serial = ["pl011", "mini"].map(|which| self.file(which, &[]));
        let mut qemu = self.command(&serial).spawn().expect("QEMU can be started");
        let read = |file: &PathBuf| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        let ended = || serial.iter().any(|file| is_complete(&read(file)));
        let start = Instant::now();
        let mut went = watch(&mut qemu, start + LIMIT, ended);
        if !went {
            went = watch(&mut qemu, Instant::now() + MOMENT, || false);
        }
        let registers = quit(qemu, went, self.look_at);
        let [pl011, mini] = serial.map(|file| read(&file));
        Seen { pl011, mini, went, registers }
    }

    fn file(&self, what: &str, bytes: &[u8]) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let file = folder.join(format!("{:?}-{}-{what}", self.kind, self.name));
        fs::write(&file, bytes).unwrap();
        file
    }

    fn command(&self, serial: &[PathBuf; 2]) -> Command {
        let (at, tree, start) = self.kind.places();
        let x0 = if self.tree.is_empty() { 0 } else { tree };
        let (stub, blob) = (self.file("stub", &(self.stub)(x0, at)), self.file("tree", self.tree));
        let files = [(image(), at), (&blob, tree)];
        let files = if x0 == 0 { &files[..1] } else { &files };
        let mut qemu = qemu(self.kind, LIFE, (&stub, start), files);
        qemu.args(["-monitor", "stdio"]).args(self.no_reboot.then_some("-no-reboot"));
        for file in serial {
            qemu.args(["-serial", &format!("file:{}", file.display())]);
        }
        qemu.args(self.options).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        qemu
    }
}

fn is_complete(text: &str) -> bool {
    text.rfind(LAST_LINE).is_some_and(|at| text[at..].contains('\n'))
}

/// Waits until QEMU exits, `ended` is true, or a timeout. True if it exited.
fn watch(qemu: &mut Child, until: Instant, ended: impl Fn() -> bool) -> bool {
    loop {
        if qemu.try_wait().unwrap().is_some() {
            return true;
        }
        if ended() || Instant::now() >= until {
            return false;
        }
        sleep(Duration::from_millis(50));
    }
}

/// Reads registers and ends QEMU, through its monitor.
fn quit(mut qemu: Child, went: bool, look_at: &[u64]) -> Vec<u32> {
    if !went {
        let mut monitor = qemu.stdin.take().unwrap();
        for at in look_at {
            writeln!(monitor, "xp /1wx {at:#x}").unwrap();
        }
        writeln!(monitor, "quit").unwrap();
    }
    let said = qemu.wait_with_output().unwrap().stdout;
    let said = String::from_utf8_lossy(&said);
    let values = said.lines().filter_map(|line| {
        let (at, value) = line.trim().split_once(": 0x")?;
        u64::from_str_radix(at, 16).ok()?;
        u32::from_str_radix(value.trim(), 16).ok()
    });
    values.collect()
}
