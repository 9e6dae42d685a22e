//! The part of QEMU's command line that all runs share.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Which machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// QEMU's own.
    Virt,
    /// A Raspberry Pi 4.
    Pi,
}

/// A file, and the physical address that it is loaded to.
pub type Loaded<'a> = (&'a Path, u64);

/// QEMU with `files` in its memory, about to run `stub`, and killed if it still runs after `limit`.
/// The caller sets its serial lines; options that follow override these.
pub fn qemu(kind: Kind, limit: Duration, stub: Loaded<'_>, files: &[Loaded<'_>]) -> Command {
    let mut qemu = Command::new("timeout");
    qemu.args(["--foreground", "-k", "1", &limit.as_secs().to_string(), "qemu-system-aarch64"])
        .args(["-nodefaults", "-display", "none"])
        .args(["-semihosting-config", "enable=on,target=native"]);
    for &file in files {
        qemu.args(["-device", &load(file)]);
    }
    match kind {
        Kind::Virt => qemu
            .args(["-M", "virt", "-cpu", "cortex-a72", "-m", "256M"])
            .args(["-device", &load(stub)])
            .args(["-device", &format!("loader,addr={:#x},cpu-num=0", stub.1)]),
        // A raw file begins where this board's kernels do: at the stub's address.
        Kind::Pi => qemu.args(["-M", "raspi4b", "-m", "2G", "-kernel"]).arg(stub.0),
    };
    qemu
}

fn load((file, at): Loaded<'_>) -> String {
    format!("loader,file={},addr={at:#x},force-raw=on", file.display())
}
