//! Reads a tree of translation tables back and reports what it allows (BOOT-04).
//!
//! Data: none of its own; the tables are only read, by the caller's [`TableMemory`]. Two
//! passes: the first counts and remembers which physical ranges can be executed, the second
//! looks for writable mappings of the same frames. The image's text is the only thing that
//! is ever executable, so a few ranges are enough; one range too many is a finding itself.

use core::ops::Range;

use boot::descriptor::{Descriptor, Level, Meaning};
use mm_reclaim::units::PhysAddr;

use super::table::TableMemory;

/// Executable ranges that an audit remembers.
const MAX_EXECUTABLE: usize = 8;

/// A violation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// A mapping is writable and executable.
    WritableExecutable {
        /// The address.
        va: u64,
        /// The entry.
        entry: Descriptor,
    },
    /// A frame is writable through this mapping and executable through another.
    WritableAlias {
        /// The writable mapping.
        va: u64,
        /// The first frame's address.
        pa: PhysAddr,
    },
    /// User mode can reach the kernel half, or fetch from it.
    UserAccess {
        /// The address.
        va: u64,
        /// The entry.
        entry: Descriptor,
    },
    /// There are more separate executable ranges than a kernel has.
    ScatteredText {
        /// The first address beyond the limit.
        va: u64,
    },
}

/// The result of an audit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Audit {
    /// Tables, the root included.
    pub tables: u32,
    /// Mappings of 1 GiB.
    pub giga_blocks: u32,
    /// Mappings of 2 MiB.
    pub mega_blocks: u32,
    /// Mappings of a page.
    pub pages: u32,
    /// Bytes that can be executed.
    pub executable: u64,
    /// Bytes that can be written, without device registers.
    pub writable: u64,
    /// Bytes that can only be read.
    pub read_only: u64,
    /// The number of findings; must be 0.
    pub findings: u32,
    /// The first of them.
    pub first: Option<Finding>,
}

/// Physical ranges that can be executed.
#[derive(Default)]
struct Executable {
    ranges: [Range<u64>; MAX_EXECUTABLE],
    len: usize,
}

impl Executable {
    /// Records a range; false if there is no room.
    fn add(&mut self, range: Range<u64>) -> bool {
        if let Some(last) = self.ranges[..self.len].last_mut()
            && last.end == range.start
        {
            last.end = range.end;
            return true;
        }
        let Some(slot) = self.ranges.get_mut(self.len) else { return false };
        *slot = range;
        self.len += 1;
        true
    }

    fn overlaps(&self, range: &Range<u64>) -> bool {
        self.ranges[..self.len].iter().any(|r| r.start < range.end && range.start < r.end)
    }
}

/// One translation in the tree.
#[derive(Clone, Copy)]
struct Leaf {
    va: u64,
    pa: u64,
    level: Level,
    entry: Descriptor,
}

impl Leaf {
    fn frames(&self) -> Range<u64> {
        self.pa..self.pa + self.level.size()
    }
}

impl Audit {
    /// Reads every table below `root`, whose first entry translates `base`.
    pub fn of(memory: &mut impl TableMemory, root: PhysAddr, base: u64) -> Self {
        let mut audit = Self::default();
        let mut executable = Executable::default();
        audit.tables = visit(memory, root, Level::One, base, &mut |leaf| {
            audit.count(leaf);
            if leaf.entry.is_kernel_executable() && !executable.add(leaf.frames()) {
                audit.find(Finding::ScatteredText { va: leaf.va });
            }
        });
        visit(memory, root, Level::One, base, &mut |leaf| {
            if leaf.entry.is_writable() && executable.overlaps(&leaf.frames()) {
                audit.find(Finding::WritableAlias { va: leaf.va, pa: PhysAddr(leaf.pa) });
            }
        });
        audit
    }

    fn count(&mut self, leaf: Leaf) {
        let Leaf { va, level, entry, .. } = leaf;
        match level {
            Level::One => self.giga_blocks += 1,
            Level::Two => self.mega_blocks += 1,
            Level::Three => self.pages += 1,
        }
        let (writable, executable) = (entry.is_writable(), entry.is_kernel_executable());
        if executable {
            self.executable += level.size();
        } else if !writable {
            self.read_only += level.size();
        } else if entry.is_normal() {
            self.writable += level.size();
        }
        if writable && executable {
            self.find(Finding::WritableExecutable { va, entry });
        }
        if entry.is_user() || entry.is_user_executable() {
            self.find(Finding::UserAccess { va, entry });
        }
    }

    fn find(&mut self, finding: Finding) {
        self.findings += 1;
        self.first.get_or_insert(finding);
    }
}

/// Calls `see` for every leaf below `table`, in ascending order; returns the number of
/// tables. The depth of the recursion is that of the levels.
fn visit(
    memory: &mut impl TableMemory,
    table: PhysAddr,
    level: Level,
    base: u64,
    see: &mut dyn FnMut(Leaf),
) -> u32 {
    let mut tables = 1;
    for index in 0..512 {
        let va = base + index as u64 * level.size();
        let entry = memory.load(table, index);
        match (entry.meaning(level), level.next()) {
            (Meaning::Leaf(pa), _) => see(Leaf { va, pa, level, entry }),
            (Meaning::Table(next), Some(below)) => {
                tables += visit(memory, PhysAddr(next), below, va, see);
            }
            _ => {}
        }
    }
    tables
}

#[cfg(test)]
mod tests {
    use boot::descriptor::Access;
    use boot::layout::{KIMAGE_BASE, LINEAR_BASE};

    use super::super::table::Piece;
    use super::super::table::tests::{HostTables, ROOT};
    use super::*;

    const PA: u64 = 0x4020_0000;

    fn audit(pieces: &[(u64, u64, u64, Access)]) -> Audit {
        let mut tables = HostTables::new();
        for &(va, pa, size, access) in pieces {
            tables.map(Piece { va, pa, size, access }).unwrap();
        }
        Audit::of(&mut tables, ROOT, LINEAR_BASE)
    }

    /// BOOT-04: a valid kernel map passes, and the counts are what was mapped.
    #[test]
    fn a_sound_map_has_no_findings() {
        let found = audit(&[
            (KIMAGE_BASE, PA, 0x3000, Access::Text),
            (KIMAGE_BASE + 0x3000, PA + 0x3000, 0x2000, Access::ReadOnly),
            (KIMAGE_BASE + 0x5000, PA + 0x5000, 0x1000, Access::ReadWrite),
            (LINEAR_BASE + PA, PA, 0x5000, Access::ReadOnly),
            (LINEAR_BASE + PA + 0x20_0000, PA + 0x20_0000, 0x40_0000, Access::ReadWrite),
        ]);
        assert_eq!((found.findings, found.first), (0, None));
        assert_eq!((found.pages, found.mega_blocks, found.giga_blocks), (11, 2, 0));
        assert_eq!(
            (found.executable, found.read_only, found.writable),
            (0x3000, 0x7000, 0x40_1000)
        );
        assert_eq!(found.tables, 5);
    }

    /// BOOT-04: no frame is writable through one mapping and executable through another.
    #[test]
    fn a_writable_alias_of_text_is_found() {
        let found = audit(&[
            (LINEAR_BASE + (PA & !0x1f_ffff), PA & !0x1f_ffff, 0x20_0000, Access::ReadWrite),
            (KIMAGE_BASE, PA, 0x1000, Access::Text),
        ]);
        let va = LINEAR_BASE + PA;
        assert_eq!(found.first, Some(Finding::WritableAlias { va, pa: PhysAddr(PA) }));
        assert_eq!(found.findings, 1);
    }

    /// BOOT-04: entries that no constructor can make are found when they are in a table.
    #[test]
    fn a_writable_executable_entry_and_a_user_entry_are_found() {
        let mut tables = HostTables::new();
        let access = Access::ReadWrite;
        tables.map(Piece { va: KIMAGE_BASE, pa: PA, size: 0x1000, access }).unwrap();
        for table in tables.tables.values_mut() {
            let leaf = table.iter_mut().find(|e| e.meaning(Level::Three) == Meaning::Leaf(PA));
            if let Some(entry) = leaf {
                entry.0 = (entry.0 & !(1 << 53)) | (1 << 6);
            }
        }
        let found = Audit::of(&mut tables, ROOT, LINEAR_BASE);
        assert!(matches!(found.first, Some(Finding::WritableExecutable { va: KIMAGE_BASE, .. })));
        assert_eq!(found.findings, 3, "also user access, also its own writable alias");
    }
}
