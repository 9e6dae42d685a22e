//! Folders that go away again, and commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs};

/// A folder that is removed at the end, unless the test fails.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new folder.
    ///
    /// # Panics
    /// If there can be none.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("disks-{}-{next}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    /// Something in it.
    #[must_use]
    pub fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A new folder in it.
    ///
    /// # Panics
    /// If there can be none.
    #[must_use]
    pub fn sub(&self, name: &str) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(&path).expect("a folder for the test");
        path
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind is in the temporary folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A tool, also where the search path lacks the folder for the administrator's.
///
/// # Panics
/// If it is missing.
#[must_use]
pub fn tool(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|path| path.is_file());
    let mut command =
        Command::new(found.unwrap_or_else(|| panic!("{name} is missing: install e2fsprogs")));
    // Times do not depend on when the test runs. The clock of e2fsck is ahead of the kernel.s, which
    // goes on where the disk was last written.
    command.env("E2FSPROGS_FAKE_TIME", "1600000000").env("LC_ALL", "C");
    command.env("E2FSCK_TIME", "1600050000").env("DEBUGFS_PAGER", "cat");
    command
}

/// Runs a command to its end.
///
/// # Panics
/// If it cannot be started.
pub fn output_of(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// What a command has said.
#[must_use]
pub fn text(output: &Output) -> String {
    let [out, error] = [&output.stdout, &output.stderr].map(|b| String::from_utf8_lossy(b));
    format!("{out}{error}")
}

/// Runs a tool that must succeed; returns what it has said.
///
/// # Panics
/// If it fails.
pub fn must(name: &str, arguments: &[&str]) -> String {
    let output = output_of(tool(name).args(arguments));
    assert!(output.status.success(), "{name} {arguments:?}: {}", text(&output));
    text(&output)
}

/// The text of a path that a test has made.
///
/// # Panics
/// If it is not UTF-8.
#[must_use]
pub fn str_of(path: &Path) -> &str {
    path.to_str().expect("a path of a test")
}
