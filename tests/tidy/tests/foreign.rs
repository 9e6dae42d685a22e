//! How programs of C get into the initrd: only from sources whose sums are known, only when
//! something changed, and not at all where there is no compiler.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A project with two programs, `own` of Rust and `guest` of C, which holds the scripts, the sums
/// and nothing else. Its `cargo` builds nothing; its C compiler copies the source and writes down
/// that it was called.
struct Project {
    folder: PathBuf,
}

/// Where the scripts expect what was built.
const BUILT: &str = "built/aarch64-unknown-none-softfloat/release";

/// The sums of the two sources as `sha256sum` prints them.
const SUMS: &str = "\
c49acb1628dad7637dbfd30eb3933b0bfebd831529be3efc20ec8fa4b1500925  guest.c
7beba2b038c8ff64f1baf2b55b5788efad76af73ca0cbcc39f2e9dd09b67929a  guest.h
";

const COMPILER: &str = r#"#!/bin/bash
here=${0%/*}
[[ $1 != --version ]] || { cat "$here/version"; exit; }
echo "$*" >>"$here/calls"
while [[ $1 != -o ]]; do shift; done
cp "$3" "$2" && chmod +x "$2"
"#;

impl Project {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tidy-{}-{name}", std::process::id()));
        let project = Self { folder };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the root");
        for script in fs::read_dir(root.join("scripts")).expect("scripts") {
            let script = script.expect("a script").path();
            let text = fs::read_to_string(&script).expect("text");
            let name = script.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            project.tool(&format!("scripts/{name}"), &text);
        }
        project.write("tests/programs/src/bin/own.rs", "");
        project.write("tests/foreign/guest.c", "int guest;\n");
        project.write("tests/foreign/guest.h", "int shared;\n");
        project.write("tests/foreign/sha256sums", SUMS);
        project.write(&format!("{BUILT}/own"), "");
        project.write(&format!("{BUILT}/kernel.img"), "");
        project.tool("tools/cargo", "#!/bin/bash\n");
        project.tool("tools/cc", COMPILER);
        project.write("tools/version", "1");
        project
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder is made");
        fs::write(path, text).expect("a file is written");
    }

    fn tool(&self, name: &str, text: &str) {
        self.write(name, text);
        let path = self.folder.join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a tool runs");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Runs `scripts/build` with that C compiler.
    fn build_with(&self, compiler: &str) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new(self.folder.join("scripts/build"))
            .env("PATH", format!("{}:{path}", self.folder.join("tools").display()))
            .env("BUILD_FOLDER", self.folder.join("built"))
            .env("AARCH64_CC", compiler)
            .output()
            .expect("a script starts")
    }

    /// A build that must succeed; returns how often the compiler was called until now.
    fn calls(&self) -> usize {
        let output = self.build_with("cc");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.read("tools/calls").lines().count()
    }

    /// A build that must fail before the compiler is called; returns what it says.
    fn refusal(&self) -> String {
        let output = self.build_with("cc");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(self.read("tools/calls"), "", "it was compiled");
        said
    }

    /// The names in the initrd.
    fn packed(&self) -> String {
        let archive = self.folder.join(BUILT).join("programs.tar");
        let output = Command::new("tar").arg("-tf").arg(archive).output().expect("tar starts");
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A folder that stays behind in the system's temporary folder harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_source_whose_sum_is_another_is_refused_before_it_is_compiled() {
    for file in ["guest.c", "guest.h"] {
        let project = Project::new(&format!("changed-{file}"));
        project.write(&format!("tests/foreign/{file}"), "int changed;\n");
        let said = project.refusal();
        assert!(said.contains(&format!("tests/foreign/{file} was changed")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_source_without_a_sum_is_refused() {
    let project = Project::new("unknown");
    project.write("tests/foreign/other.h", "");
    assert!(project.refusal().contains("tests/foreign/other.h was changed"));
}

#[test]
fn a_program_is_compiled_when_it_is_new_and_when_what_it_is_made_from_changes() {
    let project = Project::new("cached");
    assert_eq!(project.calls(), 1);
    assert_eq!(project.packed(), "own\nguest\n");
    let call = project.read("tools/calls");
    for flag in ["-static", "-nostdlib", "-ffp-contract=off"] {
        assert!(call.contains(flag), "{flag} is missing in {call}");
    }
    assert_eq!(project.calls(), 1, "nothing changed");
    project.write("tools/version", "2");
    assert_eq!(project.calls(), 2, "another compiler");
    fs::remove_file(project.folder.join(BUILT).join("guest")).expect("it was built");
    assert_eq!(project.calls(), 3, "it was gone");
    let flags = project.read("scripts/foreign.sh").replace("-O2", "-O1");
    project.tool("scripts/foreign.sh", &flags);
    assert_eq!(project.calls(), 4, "other flags");
}

/// Without a compiler everything else is built, and nothing that was built once is passed on.
#[test]
fn without_a_compiler_a_program_is_left_out_and_that_is_said() {
    let project = Project::new("without");
    assert_eq!(project.calls(), 1);
    let output = project.build_with("no-such-compiler");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("left out, there is no C compiler for arm64 (scripts/setup cross): guest"),
        "{said}"
    );
    assert_eq!(project.packed(), "own\n");
}

#[test]
fn a_program_that_does_not_compile_fails_the_build() {
    let project = Project::new("wrong");
    project.tool("tools/cc", "#!/bin/bash\n[[ $1 == --version ]]\n");
    assert!(project.refusal().contains("tests/foreign/guest.c: cc does not compile it"));
}
