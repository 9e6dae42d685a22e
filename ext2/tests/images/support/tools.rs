//! Folders that go away again, and the tools of e2fsprogs. A test without them fails.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

/// A folder that is removed at the end.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("ext2-{}-{next}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A new folder in it.
    pub fn sub(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(&path).expect("a folder for the test");
        path
    }

    /// A file in it with an image.
    pub fn image(&self, bytes: &[u8]) -> PathBuf {
        let path = self.0.join("image");
        fs::write(&path, bytes).expect("the image is written");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A tool, also where the search path lacks the folder for the administrator's.
fn tool(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    let mut command =
        Command::new(found.unwrap_or_else(|| panic!("{name} is missing: install e2fsprogs")));
    // Times do not depend on when the test runs, and the crate's clock never passes the real one.
    command.env("E2FSPROGS_FAKE_TIME", "1600000000").env("LC_ALL", "C");
    command.env("E2FSCK_TIME", "1600000000").env("DEBUGFS_PAGER", "cat");
    command
}

/// Runs a tool.
pub fn run(name: &str, arguments: &[&str]) -> Output {
    let command = &mut tool(name);
    command.args(arguments).output().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What a tool has said.
pub fn text(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
    format!("{out}{error}")
}

/// Runs a tool that must succeed; returns what it has said.
pub fn must(name: &str, arguments: &[&str]) -> String {
    let output = run(name, arguments);
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output));
    text(&output)
}

/// Makes an image of so many blocks, filled from a folder if there is one. `None` if it does not fit.
pub fn make_image(
    folder: &Folder,
    from: Option<&Path>,
    options: &[&str],
    blocks: u64,
) -> Option<Vec<u8>> {
    let image = folder.path().join("made");
    let _ = fs::remove_file(&image);
    let (name, count) = (path(&image), blocks.to_string());
    let uuid = "01234567-89ab-cdef-0123-456789abcdef";
    let mut arguments = vec!["-q", "-F", "-t", "ext2", "-U", uuid];
    arguments.extend_from_slice(options);
    if let Some(from) = from {
        arguments.extend(["-d", path(from)]);
    }
    arguments.extend([name, &count]);
    let output = run("mke2fs", &arguments);
    if !output.status.success() {
        let said = text(&output);
        let is_full = [
            "Could not allocate",
            "No space",
            "Not enough space",
            "too small",
            "too big",
            "could not allocate",
        ];
        assert!(is_full.iter().any(|why| said.contains(why)), "mke2fs {arguments:?}: {said}");
        return None;
    }
    Some(fs::read(&image).expect("the image is there"))
}

/// A path as an argument.
pub fn path(path: &Path) -> &str {
    path.to_str().expect("a path in plain letters")
}

/// Runs `e2fsck` at a time behind all those that the crate has stored.
pub fn e2fsck(image: &Path, how: &str) -> Output {
    let mut command = tool("e2fsck");
    let output = command.env("E2FSCK_TIME", "1700000000").args([how, path(image)]).output();
    output.expect("e2fsck runs")
}

/// `e2fsck` finds nothing to complain about.
pub fn assert_clean(image: &Path) {
    let output = e2fsck(image, "-fn");
    let said = String::from_utf8_lossy(&output.stdout);
    let is_usual = |line: &str| line.starts_with("Pass ") || line.contains(" files (");
    let has_complained = said.lines().any(|line| !line.trim().is_empty() && !is_usual(line));
    assert!(output.status.success() && !has_complained, "e2fsck: {}", text(&output));
}

/// What `debugfs` answers. It exits with 0 also when it has failed.
pub fn debugfs(image: &Path, is_write: bool, command: &str) -> String {
    let mut arguments = vec!["-R", command, path(image)];
    if is_write {
        arguments.insert(0, "-w");
    }
    must("debugfs", &arguments)
}
