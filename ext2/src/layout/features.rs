//! Features: what a file system may have, and who may then use it.

use core::fmt;

/// Incompatible features that are known: entries of directories name the kind of file.
pub const FILETYPE: u32 = 0x2;
/// Features that do no harm to a reader, and are known: superblocks in some groups only, files of 2 GiB
/// and more.
pub const SPARSE_SUPER: u32 = 0x1;
/// Files of 2 GiB and more.
pub const LARGE_FILE: u32 = 0x2;
/// Directories have an index. Compatible: who does not keep it up drops it.
pub const DIR_INDEX: u32 = 0x20;

const INCOMPAT: [(u32, &str); 16] = [
    (0x1, "compression"),
    (FILETYPE, "filetype"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x1_0000, "encrypt"),
    (0x2_0000, "casefold"),
];

const RO_COMPAT: [(u32, &str); 15] = [
    (SPARSE_SUPER, "sparse_super"),
    (LARGE_FILE, "large_file"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x1_0000, "orphan_present"),
];

/// Features that are not known here: their bits, and their names as `dumpe2fs` prints them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    bits: u32,
    names: &'static [(u32, &'static str)],
}

impl Unknown {
    /// The bits.
    pub fn bits(&self) -> u32 {
        self.bits
    }
}

/// The incompatible ones that are not known: such a file system is not used at all.
pub fn unknown_incompat(bits: u32) -> Option<Unknown> {
    of(bits & !FILETYPE, &INCOMPAT)
}

/// Those that forbid to change anything.
pub fn unknown_ro_compat(bits: u32) -> Option<Unknown> {
    of(bits & !(SPARSE_SUPER | LARGE_FILE), &RO_COMPAT)
}

fn of(bits: u32, names: &'static [(u32, &'static str)]) -> Option<Unknown> {
    (bits != 0).then_some(Unknown { bits, names })
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.bits;
        let mut gap = "";
        for (bit, name) in self.names.iter().filter(|(bit, _)| self.bits & bit != 0) {
            write!(f, "{gap}{name}")?;
            (left, gap) = (left & !bit, " ");
        }
        if left == 0 { Ok(()) } else { write!(f, "{gap}{left:#x}") }
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unknown features are named as other tools name them, and bits without a name are shown.
    #[test]
    fn features_are_named() {
        assert_eq!(unknown_incompat(FILETYPE), None);
        assert_eq!(unknown_ro_compat(SPARSE_SUPER | LARGE_FILE), None);
        let unknown = unknown_incompat(0x2 | 0x4 | 0x40 | 0x8000_0000).expect("three");
        assert_eq!(unknown.to_string(), "needs_recovery extent 0x80000000");
        let unknown = unknown_ro_compat(0x400 | 0x1).expect("one");
        assert_eq!(unknown.to_string(), "metadata_csum");
    }
}
