//! What the scripts do before anything is built: they refuse wrong values in one line, and
//! set up what is missing, here on simulated machines made of folders of fake tools.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("it is here");
    folder.ancestors().nth(2).expect("two folders below the root").to_path_buf()
}

/// What every machine has.
const TOOLS: [&str; 17] = [
    "bash", "env", "sed", "awk", "grep", "head", "id", "tee", "dirname", "cat", "paste", "rm",
    "od", "tr", "mkdir", "mktemp", "mv",
];

/// A machine: a folder of tools, a folder of settings, and a record of what was called.
struct Machine {
    folder: PathBuf,
    variables: HashMap<&'static str, String>,
}

impl Machine {
    /// A Debian 12 with Rust and nothing else.
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tidy-{}-{name}", std::process::id()));
        let machine = Self { folder, variables: HashMap::new() };
        fs::create_dir_all(machine.folder.join("bin")).expect("a folder for tools");
        fs::create_dir_all(machine.folder.join("etc/apt/sources.list.d")).expect("for settings");
        for tool in TOOLS {
            let real = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
            let real = real.iter().find(|path| path.exists()).expect("a tool of every machine");
            symlink(real, machine.folder.join("bin").join(tool)).expect("a link to a tool");
        }
        machine.setting("os-release", "ID=debian\nVERSION_CODENAME=bookworm\n");
        machine.tool("rustup", RUSTUP);
        machine.tool("cargo", "exit 0");
        machine.setting("targets", "aarch64-unknown-none-softfloat\n");
        machine.setting("components", "llvm-tools-x86_64-unknown-linux-gnu\n");
        machine
    }

    /// Adds a tool that records its call and then runs `body`.
    fn tool(&self, name: &str, body: &str) {
        let path = self.folder.join("bin").join(name);
        let folder = self.folder.display();
        let record = format!("printf '%s\\n' \"${{0##*/}} $*\" >>{folder}/calls");
        fs::write(&path, format!("#!/bin/bash\netc={folder}/etc\n{record}\n{body}\n"))
            .expect("a tool");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a tool runs");
    }

    /// Gives it packages: an `apt-get` that installs QEMU 10 if `apt-cache` offers it.
    fn with_packages(self, plain: &str, backports: &str) -> Self {
        self.tool("apt-cache", &APT_CACHE.replace("PLAIN", plain).replace("BACKPORTS", backports));
        let bin = self.folder.join("bin").display().to_string();
        self.tool("apt-get", &APT_GET.replace("BIN", &bin));
        self
    }

    fn with_qemu(self, version: &str) -> Self {
        self.tool("qemu-system-aarch64", &format!("echo 'QEMU emulator version {version}'"));
        self
    }

    fn setting(&self, name: &str, text: &str) {
        fs::write(self.folder.join("etc").join(name), text).expect("a setting");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        Command::new(root().join("scripts").join(script))
            .args(arguments)
            .env_clear()
            .env("PATH", self.folder.join("bin"))
            .env("HOME", &self.folder)
            .env("SETUP_ETC", self.folder.join("etc"))
            .env("SETUP_UID", "0")
            .envs(&self.variables)
            .output()
            .expect("a script starts")
    }

    /// Runs a script that must succeed; returns what was called, except queries.
    fn calls(&self, script: &str, arguments: &[&str]) -> Vec<String> {
        let output = self.run(script, arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let questions = [" list", "apt-cache", "--version"];
        let asks = |line: &&str| questions.iter().any(|question| line.contains(question));
        self.read("calls").lines().filter(|line| !asks(line)).map(str::to_owned).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A folder left in the system's temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

const RUSTUP: &str = r#"
case $* in
"toolchain list") [[ -e $etc/no-toolchain ]] || sed -n 's/^channel = "\(.*\)"/\1-x86_64/p' rust-toolchain.toml ;;
"target list"*) cat "$etc/targets" ;;
"component list"*) cat "$etc/components" ;;
esac
"#;

const APT_CACHE: &str = r#"
echo "qemu-system-arm:"
echo "  Installed: (none)"
echo "  Candidate: PLAIN"
echo "  Version table:"
if grep -rq -- -backports "$etc/apt"; then
    echo "     BACKPORTS 100"
    echo "        100 http://mirror.example/debian bookworm-backports/main amd64 Packages"
fi
if [[ -e $etc/removed ]]; then
    echo "     1:10.0.0 -1"
    echo "        100 /var/lib/dpkg/status"
fi
echo "     PLAIN 500"
echo "        500 http://mirror.example/debian bookworm/main amd64 Packages"
"#;

const APT_GET: &str = r#"
[[ $1 != install ]] || {
    printf '#!/bin/bash\necho QEMU emulator version 10.0.2\n' >BIN/qemu-system-aarch64
    /bin/chmod +x BIN/qemu-system-aarch64
}
"#;

const DEB822: &str = "\
# The first stanza is none of ours.
Types: deb
URIs: http://mirror.example/other
Suites: other

Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
";

#[test]
fn a_machine_that_has_everything_is_left_alone() {
    let machine = Machine::new("whole").with_qemu("8.2.0 (Debian)");
    assert_eq!(machine.calls("setup", &[]), [""; 0]);
}

#[test]
fn a_missing_target_component_and_toolchain_are_added() {
    let machine =
        Machine::new("rust").with_packages("1:9.2.1+ds-1", "1:10.0.2").with_qemu("10.0.2");
    machine.setting("targets", "x86_64-unknown-linux-gnu\n");
    machine.setting("components", "cargo\n");
    machine.setting("no-toolchain", "");
    let calls = machine.calls("setup", &["rust", "lint"]).join("\n");
    for call in [
        "rustup toolchain install 1.",
        "rustup target add --toolchain 1.",
        "aarch64-unknown-none-softfloat",
        " llvm-tools",
        " rustfmt",
        " clippy",
        "apt-get install -y -qq --no-install-recommends shellcheck",
    ] {
        assert!(calls.contains(call), "{call} is missing in\n{calls}");
    }
}

#[test]
fn a_distribution_with_a_new_qemu_needs_no_backports() {
    let machine = Machine::new("new").with_packages("1:9.2.1+ds-1", "1:10.0.2");
    let calls = machine.calls("setup", &["qemu"]);
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(calls[1], "apt-get install -y -qq --no-install-recommends qemu-system-arm");
}

#[test]
fn an_old_qemu_is_replaced_from_backports_derived_from_a_deb822_entry() {
    let machine =
        Machine::new("deb822").with_qemu("7.2.19").with_packages("1:7.2+dfsg-7", "1:10.0.2+ds-2");
    machine.setting("apt/sources.list.d/debian.sources", DEB822);
    let calls = machine.calls("setup", &["qemu"]).join("\n");
    assert!(calls.contains("-t bookworm-backports qemu-system-arm"), "{calls}");
    let derived = "Types: deb deb-src\nURIs: http://mirror.example/debian\n\
        Suites: bookworm-backports\nComponents: main\nSigned-By:\n \
        -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n";
    assert_eq!(machine.read("etc/apt/sources.list.d/bookworm-backports.sources"), derived);
}

#[test]
fn backports_are_derived_from_a_one_line_entry() {
    let machine = Machine::new("line").with_packages("1:7.2+dfsg-7", "1:10.0.2+ds-2");
    let sources = "# deb http://old.example bookworm main\n\
        deb-src http://mirror.example/debian bookworm main\n\
        deb http://mirror.example/security bookworm-security main\n\
        deb [signed-by=/usr/share/k.gpg] http://mirror.example/debian bookworm main contrib\n";
    machine.setting("apt/sources.list", sources);
    machine.calls("setup", &["qemu"]);
    let derived = "deb [signed-by=/usr/share/k.gpg] http://mirror.example/debian \
        bookworm-backports main contrib\n";
    assert_eq!(machine.read("etc/apt/sources.list.d/bookworm-backports.list"), derived);
}

/// A package that was removed and not purged leaves its version in the package record.
#[test]
fn a_version_that_only_the_package_record_names_is_not_offered() {
    let machine = Machine::new("removed").with_packages("1:7.2+dfsg-7", "1:10.0.2+ds-2");
    machine.setting("removed", "");
    machine.setting("apt/sources.list", "deb http://mirror.example/debian bookworm main\n");
    machine.calls("setup", &["qemu"]);
    let derived = "deb http://mirror.example/debian bookworm-backports main\n";
    assert_eq!(machine.read("etc/apt/sources.list.d/bookworm-backports.list"), derived);
}

#[test]
fn configured_backports_are_not_added_again() {
    let machine = Machine::new("again").with_packages("1:7.2+dfsg-7", "1:10.0.2+ds-2");
    machine.setting("apt/sources.list", "deb http://mirror.example bookworm-backports main\n");
    let calls = machine.calls("setup", &["qemu"]).join("\n");
    assert!(calls.contains("-t bookworm-backports"), "{calls}");
    assert_eq!(machine.read("etc/apt/sources.list.d/bookworm-backports.list"), "");
}

/// An `apt` whose kernel package holds a device tree if the setting `tree` is there.
fn with_kernel_package(machine: Machine) -> Machine {
    let folder = machine.folder.display();
    let apt = format!(
        r#"
case "$*" in
*update*) for word; do [[ $word != Dir::Etc::SourceParts=* ]] || cat "${{word#*=}}"/* >{folder}/sources; done ;;
*download*) : >linux-image-6.1.0-50-arm64_1_arm64.deb ;;
esac"#
    );
    machine.tool("apt-get", &apt);
    machine.tool("apt-cache", "echo '  Depends: linux-image-6.1.0-50-arm64'");
    machine.tool("dpkg-deb", "exit 0");
    machine.tool("tar", r#"[[ ! -e $etc/tree ]] || printf '\xd0\x0d\xfe\xed and more'"#);
    machine
}

#[test]
fn the_tree_of_the_raspberry_pi_comes_from_debians_kernel_package() {
    let mut machine = with_kernel_package(Machine::new("tree").with_qemu("10.0.2"));
    let tree = machine.folder.join("boards/pi.dtb");
    machine.variables.insert("RASPI4B_DTB", tree.display().to_string());
    machine.setting("tree", "");
    let one_line = "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main\n";
    machine.setting("apt/sources.list", one_line);
    let calls = machine.calls("setup", &["raspi4b"]).join("\n");
    assert!(calls.contains("download linux-image-6.1.0-50-arm64:arm64"), "{calls}");
    assert_eq!(fs::read(&tree).expect("the tree"), b"\xd0\x0d\xfe\xed and more");
    let entry = "deb [ signed-by=/k.gpg] http://mirror.example/debian bookworm main\n";
    assert_eq!(machine.read("sources"), entry, "for arm64 too");
    let before = machine.read("calls");
    machine.calls("setup", &["raspi4b"]);
    let more = machine.read("calls").replacen(&before, "", 1);
    assert!(!more.contains("apt-get"), "what is there is fetched again: {more}");
}

#[test]
fn a_package_without_the_tree_is_refused_and_leaves_none_behind() {
    let mut machine = with_kernel_package(Machine::new("treeless").with_qemu("10.0.2"));
    let tree = machine.folder.join("boards/pi.dtb");
    machine.variables.insert("RASPI4B_DTB", tree.display().to_string());
    machine.setting("apt/sources.list.d/debian.sources", DEB822);
    let output = machine.run("setup", &["raspi4b"]);
    assert_eq!((output.status.code(), tree.exists()), (Some(1), false));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no device tree of the Raspberry Pi"));
}

#[test]
fn qemu_8_is_too_old_for_the_raspberry_pi() {
    let machine = Machine::new("eight").with_qemu("8.2.0").with_packages("1:8.2.0", "1:10.0.2");
    machine.setting("apt/sources.list", "deb http://mirror.example/debian bookworm main\n");
    let output = machine.run("setup", &["raspi4b"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("adding bookworm-backports"), "{said}");
}

#[test]
fn a_user_installs_by_sudo() {
    let mut machine = Machine::new("sudo").with_packages("1:9.2.1+ds-1", "");
    machine.variables.insert("SETUP_UID", "1000".to_owned());
    let refused = machine.run("setup", &["qemu"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("neither root nor sudo"));
    machine.tool("sudo", "\"$@\"");
    assert!(machine.calls("setup", &["qemu"]).iter().any(|call| call.starts_with("sudo env ")));
}

#[test]
fn another_system_is_told_what_to_install() {
    let machine = Machine::new("fedora");
    machine.setting("os-release", "ID=fedora\n");
    let output = machine.run("setup", &["qemu"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("qemu-system-aarch64"));
}

#[test]
fn a_missing_c_compiler_is_installed_and_one_that_is_there_is_taken() {
    let mut machine = Machine::new("cross");
    let bin = machine.folder.join("bin").display().to_string();
    machine.tool("apt-get", &format!(r#"[[ $1 != install ]] || : >"{bin}/${{!#}}""#));
    let output = machine.run("setup", &["cross"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("installing gcc"), "{said}");
    assert_eq!(output.status.code(), Some(1), "the package brought none: {said}");
    machine.tool("gcc", "exit 0");
    machine.tool("aarch64-linux-gnu-gcc", "exit 0");
    let before = machine.read("calls");
    machine.calls("setup", &["cross"]);
    assert_eq!(machine.read("calls"), before, "something was called");
    machine.variables.insert("AARCH64_CC", "no-such-gcc".to_owned());
    let output = machine.run("setup", &["cross"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-gcc: no such compiler"));
}

#[test]
fn a_machine_without_apt_is_told_which_c_compiler_to_install() {
    let machine = Machine::new("no-apt");
    let output = machine.run("setup", &["cross"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["aarch64-linux-gnu-gcc", "Fedora: gcc-aarch64-linux-gnu", "AARCH64_CC"] {
        assert!(said.contains(part), "{part} is missing in\n{said}");
    }
    assert_eq!(machine.read("calls"), "", "something was called");
}

#[test]
fn a_wrong_value_is_one_line_and_status_2_before_anything_is_done() {
    let machine = Machine::new("wrong");
    let wrong: &[(&str, &[&str])] = &[
        ("run", &["--memory", "lots"]),
        ("run", &["--memory", "256"]),
        ("run", &["--memory", "7M"]),
        ("run", &["--memory", "8M", "--swap", "513M"]),
        ("run", &["--memory", "1025K"]),
        ("run", &["--memory", "999999999G"]),
        ("run", &["--memory"]),
        ("run", &["--swap", "-1M"]),
        ("run", &["--cpu", "z80"]),
        ("run", &["--workload", "absent"]),
        ("run", &["--workload", "dem."]),
        ("run", &["--timeout", "0"]),
        ("run", &["--timeout", "soon"]),
        ("run", &["--append", "a -- b"]),
        ("run", &["--append", "a\nb"]),
        ("run", &["--append", "ramdsk.async"]),
        ("run", &["--append", "swappiness=9999"]),
        ("run", &["--append", "min_free_kbytes=4294967295"]),
        ("run", &["--workload", "hog", "--args", "pages=5"]),
        ("run", &["--unknown"]),
        ("run", &["--machine", "raspi3b"]),
        ("run", &["--machine", "raspi4b", "--cpu", "max"]),
        ("run", &["--machine", "raspi4b", "--memory", "1G"]),
        ("test", &["--machine", "raspi3b"]),
        ("run", &["demo"]),
        ("test", &["hots"]),
        ("test", &["--list"]),
        ("check", &["all"]),
        ("setup", &["everything"]),
        ("build", &["it"]),
        ("image", &["it"]),
        ("image", &["--kernel", "none"]),
        ("image", &["--size", "39M"]),
        ("image", &["--cmdline", "semihosting"]),
        ("image", &["--cmdline", "ramdsk=4M init=demo"]),
        ("flash", &[]),
        ("flash", &["--force", "x"]),
        ("flash", &["--dry-run", "--compare", "x"]),
        ("test-image", &["--all"]),
        ("runner", &[]),
        ("runner", &["absent.elf"]),
        ("bench", &["--workload", "absent"]),
        ("bench", &["--cpus", "5"]),
        ("profile", &["--by", "x"]),
        ("mutants", &["--only", "none"]),
        ("mutants", &["--sample", "3"]),
        ("mutants", &["--sample", "few", "--seed", "1"]),
        ("mutants", &["--seed", "1"]),
        ("mutants", &["--sample", "3", "--seed", "1", "--only", "SPL-08"]),
    ];
    for (script, arguments) in wrong {
        let output = machine.run(script, arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{script} {arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{script} {arguments:?}: {said}");
        assert_eq!(output.stdout, b"", "{script} {arguments:?}");
    }
    assert_eq!(machine.read("calls"), "", "something was called");
}

#[test]
fn every_script_has_help() {
    let machine = Machine::new("help");
    let scripts = "run runner test check setup build image flash test-image bench profile mutants";
    for script in scripts.split(' ') {
        let output = machine.run(script, &["--help"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.starts_with("Usage: scripts/"), "{script}: {said}");
    }
}

/// A manual mutation that no longer applies proves nothing.
#[test]
fn every_mutation_by_hand_applies() {
    let output = Machine::new("mutants").run("mutants", &["--list"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.lines().count() > 90, "{said}");
}
