//! Images of ext2, by the tools of e2fsprogs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::folder::{must, output_of, str_of, text, tool};

/// The contents of a disk of so many pages for swap, as mkswap prepares it.
#[must_use]
pub fn swap_of(pages: u32) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut bytes = vec![0; pages as usize * PAGE];
    // The version, and the last page.
    bytes[1024..1028].copy_from_slice(&1_u32.to_le_bytes());
    bytes[1028..1032].copy_from_slice(&(pages - 1).to_le_bytes());
    bytes[PAGE - 10..PAGE].copy_from_slice(b"SWAPSPACE2");
    bytes
}

/// An image of a disk, in a file.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
}

impl Image {
    /// Makes a file system of so many KiB with options of mke2fs, filled from a folder if there is one.
    ///
    /// # Panics
    /// If mke2fs fails.
    #[must_use]
    pub fn make(path: PathBuf, kbytes: u32, options: &[&str], from: Option<&Path>) -> Self {
        let size = format!("{kbytes}k");
        let mut arguments = vec!["-q", "-F", "-t", "ext2"];
        arguments.extend(options);
        arguments.extend(from.into_iter().flat_map(|from| ["-d", str_of(from)]));
        arguments.extend([str_of(&path), &size]);
        must("mke2fs", &arguments);
        Self { path }
    }

    /// An image that is there.
    #[must_use]
    pub const fn of(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// e2fsck finds nothing.
    ///
    /// # Panics
    /// If it does.
    pub fn must_be_clean(&self) {
        let output = output_of(tool("e2fsck").args(["-fn", str_of(&self.path)]));
        let said = text(&output);
        let is_usual = |line: &&str| {
            line.starts_with("Pass ") || line.starts_with("e2fsck 1.") || line.contains(" blocks")
        };
        let rest: Vec<&str> = said.lines().filter(|line| !is_usual(line)).collect();
        assert!(output.status.success() && rest.is_empty(), "e2fsck -fn: {said}");
    }

    /// e2fsck repairs what there is to repair, and then finds nothing more; returns what it said.
    ///
    /// # Panics
    /// If it cannot.
    pub fn repair(&self) -> String {
        let output = output_of(tool("e2fsck").args(["-fy", str_of(&self.path)]));
        let said = text(&output);
        assert!(matches!(output.status.code(), Some(0..=2)), "e2fsck -fy: {said}");
        self.must_be_clean();
        said
    }

    /// What debugfs says to a request.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn ask(&self, request: &str) -> String {
        text(&output_of(tool("debugfs").args(["-R", request, str_of(&self.path)])))
    }

    /// The contents of a file in it; `None` if there is none of that name.
    ///
    /// # Panics
    /// If the host has no room for them.
    #[must_use]
    pub fn read(&self, name: &str) -> Option<Vec<u8>> {
        let to = self.path.with_extension("dump");
        // What was dumped before is not to be found again.
        _ = fs::remove_file(&to);
        let said = self.ask(&format!("dump \"{name}\" {}", str_of(&to)));
        if said.contains("File not found") {
            return None;
        }
        Some(fs::read(&to).unwrap_or_else(|error| panic!("{name}: {error}: {said}")))
    }

    /// Copies the whole tree into a folder.
    pub fn copy_to(&self, folder: &Path) {
        // Its complaint about owners, without the administrator's rights, does not matter.
        _ = self.ask(&format!("rdump / {}", str_of(folder)));
    }
}
