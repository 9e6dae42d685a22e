//! Walking and changing a tree of translation tables.
//!
//! Data: the entries of the tree below one root. Owner: the exclusive holder of the
//! [`TableMemory`]; the kernel's is inside the lock of `kernel_map`. Order: a new table is zeroed
//! and filled before the entry above it becomes valid.
//!
//! **A valid entry is never overwritten.** [`map`] refuses to, so every change of a live
//! translation is an [`unmap`], the TLB invalidation that it requires, and a [`map`]: the
//! architecture's break-before-make, by construction.
//!
//! The memory of tables and the TLB are accessed through a trait, so that this file also works on a
//! host, where its tests run against tables in a hash map.

use core::fmt;

use boot::descriptor::{Access, Descriptor, Level, Meaning};
use boot::layout::PHYSICAL_END;
use mm_reclaim::units::{Pfn, PhysAddr};

/// How tables are read and written, and translations invalidated.
pub trait TableMemory {
    /// Entry `index` of the table at `table`.
    fn load(&mut self, table: PhysAddr, index: usize) -> Descriptor;
    /// Writes that entry; the table walker sees it after [`TableMemory::publish`].
    fn store(&mut self, table: PhysAddr, index: usize, entry: Descriptor);
    /// Fills a frame that becomes a table with invalid entries.
    fn zero(&mut self, table: PhysAddr);
    /// Makes earlier stores visible to the table walker.
    fn publish(&mut self);
    /// Invalidates the cached translation of `va`, on every CPU, and waits for it.
    fn forget(&mut self, va: u64);
}

/// The source of frames for new tables.
pub type TableFrames<'f> = &'f mut dyn FnMut() -> Option<Pfn>;

/// Frames that may become tables, allocated beforehand; those that do are taken out.
pub type SpareFrames<'f> = &'f mut [Option<Pfn>];

/// The most frames that [`map`] may need for `size` bytes, wherever they are: one for each
/// 2 MiB of addresses that the bytes can touch, and one for each 1 GiB.
pub const fn most_tables(size: u64) -> usize {
    let (below_two, below_one) = (Level::Two.size(), Level::One.size());
    (size / below_two + 2 + size / below_one + 2) as usize
}

/// Why a mapping was not made. What was mapped before the failure stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// `va` is mapped already.
    Occupied {
        /// The address.
        va: u64,
        /// What is there.
        entry: Descriptor,
    },
    /// There is no frame for a table.
    NoFrame {
        /// The address whose table is missing.
        va: u64,
    },
    /// An address or a size is not a multiple of the page size.
    Misaligned {
        /// The virtual address.
        va: u64,
        /// The physical address.
        pa: u64,
        /// Bytes.
        size: u64,
    },
    /// The region of the address space is used up.
    NoSpace {
        /// Bytes requested.
        size: u64,
    },
    /// A physical address is beyond what an entry can hold.
    OutOfReach {
        /// The first address.
        pa: u64,
        /// Bytes.
        size: u64,
    },
}

impl fmt::Display for MapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Occupied { va, entry } => write!(f, "{va:#x} is mapped already: {entry:?}"),
            Self::NoFrame { va } => write!(f, "no frame for a table of {va:#x}"),
            Self::Misaligned { va, pa, size } => {
                write!(f, "{size:#x} bytes from {va:#x} to {pa:#x} are not whole pages")
            }
            Self::NoSpace { size } => write!(f, "no address space for {size:#x} bytes"),
            Self::OutOfReach { pa, size } => {
                write!(f, "{size:#x} bytes at {pa:#x} are no physical addresses")
            }
        }
    }
}

impl core::error::Error for MapError {}

/// One translation, as large as the block that it is part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// The physical address for the requested one.
    pub pa: PhysAddr,
    /// The level of the entry.
    pub level: Level,
    /// The entry itself, with its permissions.
    pub entry: Descriptor,
}

/// A mapping: `size` bytes from `va` to `pa` with `access`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// The first virtual address.
    pub va: u64,
    /// The first physical address.
    pub pa: u64,
    /// Bytes.
    pub size: u64,
    /// What is allowed.
    pub access: Access,
}

/// Maps `piece` with the largest blocks that its alignment allows.
///
/// # Errors
/// [`MapError`]; entries made before the failure stay.
pub fn map(
    memory: &mut impl TableMemory,
    root: PhysAddr,
    piece: Piece,
    frames: TableFrames<'_>,
) -> Result<(), MapError> {
    let Piece { mut va, mut pa, size, access } = piece;
    if !(va | pa | size).is_multiple_of(Level::Three.size()) {
        return Err(MapError::Misaligned { va, pa, size });
    }
    if pa.checked_add(size).is_none_or(|end| end > PHYSICAL_END) {
        return Err(MapError::OutOfReach { pa, size });
    }
    let mut left = size;
    while left > 0 {
        let level = largest_level(va, pa, left);
        map_one(memory, root, va, Descriptor::leaf(level, pa, access), level, frames)?;
        va = va.wrapping_add(level.size());
        pa += level.size();
        left -= level.size();
    }
    memory.publish();
    Ok(())
}

/// The level whose blocks are the largest that fit at `va` and `pa` into `left` bytes.
fn largest_level(va: u64, pa: u64, left: u64) -> Level {
    let fits = |level: Level| (va | pa).is_multiple_of(level.size()) && left >= level.size();
    [Level::One, Level::Two].into_iter().find(|&level| fits(level)).unwrap_or(Level::Three)
}

fn map_one(
    memory: &mut impl TableMemory,
    root: PhysAddr,
    va: u64,
    leaf: Descriptor,
    target: Level,
    frames: TableFrames<'_>,
) -> Result<(), MapError> {
    let (mut table, mut level) = (root, Level::One);
    while level < target {
        table = next_table(memory, table, level, va, frames)?;
        level = level.next().unwrap_or(target);
    }
    let index = target.index(va);
    match memory.load(table, index) {
        Descriptor::INVALID => memory.store(table, index, leaf),
        entry => return Err(MapError::Occupied { va, entry }),
    }
    Ok(())
}

/// The table below `table` on the way to `va`, made if it is missing.
fn next_table(
    memory: &mut impl TableMemory,
    table: PhysAddr,
    level: Level,
    va: u64,
    frames: TableFrames<'_>,
) -> Result<PhysAddr, MapError> {
    let index = level.index(va);
    let entry = memory.load(table, index);
    match entry.meaning(level) {
        Meaning::Table(next) => Ok(PhysAddr(next)),
        Meaning::Leaf(_) => Err(MapError::Occupied { va, entry }),
        Meaning::Invalid => {
            let frame = frames().ok_or(MapError::NoFrame { va })?.addr();
            memory.zero(frame);
            memory.publish();
            memory.store(table, index, Descriptor::table(frame.0));
            Ok(frame)
        }
    }
}

/// Makes the page at `va` invalid and invalidates its cached translation. Returns where it pointed;
/// `None` if no page is mapped there (a block is not changed).
pub fn unmap(memory: &mut impl TableMemory, root: PhysAddr, va: u64) -> Option<PhysAddr> {
    let (table, level) = walk(memory, root, va);
    let index = level.index(va);
    let Meaning::Leaf(pa) = memory.load(table, index).meaning(level) else { return None };
    if level != Level::Three {
        return None;
    }
    memory.store(table, index, Descriptor::INVALID);
    memory.publish();
    memory.forget(va);
    Some(PhysAddr(pa))
}

/// What `va` translates to.
pub fn translate(memory: &mut impl TableMemory, root: PhysAddr, va: u64) -> Option<Translation> {
    let (table, level) = walk(memory, root, va);
    let entry = memory.load(table, level.index(va));
    match entry.meaning(level) {
        Meaning::Leaf(base) => {
            let pa = PhysAddr(base + (va & (level.size() - 1)));
            Some(Translation { pa, level, entry })
        }
        _ => None,
    }
}

/// The deepest table on the way to `va`.
fn walk(memory: &mut impl TableMemory, root: PhysAddr, va: u64) -> (PhysAddr, Level) {
    let (mut table, mut level) = (root, Level::One);
    while let Meaning::Table(next) = memory.load(table, level.index(va)).meaning(level) {
        let Some(below) = level.next() else { break };
        (table, level) = (PhysAddr(next), below);
    }
    (table, level)
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Tables in a hash map, with a TLB that records invalidations.
    #[derive(Default)]
    pub(in crate::arch::mmu) struct HostTables {
        pub tables: HashMap<u64, [Descriptor; 512]>,
        pub forgotten: Vec<u64>,
        next: u32,
    }

    pub(in crate::arch::mmu) const ROOT: PhysAddr = PhysAddr(0x1000);

    impl HostTables {
        pub fn new() -> Self {
            let mut this = Self { next: 2, ..Self::default() };
            this.zero(ROOT);
            this
        }

        pub fn map(&mut self, piece: Piece) -> Result<(), MapError> {
            let mut next = self.next;
            let mut frames = || {
                next += 1;
                Some(Pfn(next))
            };
            let result = map(self, ROOT, piece, &mut frames);
            self.next = next;
            result
        }
    }

    impl TableMemory for HostTables {
        fn load(&mut self, table: PhysAddr, index: usize) -> Descriptor {
            self.tables[&table.0][index]
        }
        fn store(&mut self, table: PhysAddr, index: usize, entry: Descriptor) {
            let slot = &mut self.tables.get_mut(&table.0).unwrap()[index];
            let replaced = *slot != Descriptor::INVALID && entry != Descriptor::INVALID;
            assert!(!replaced, "a valid entry was overwritten: {slot:?} by {entry:?}");
            *slot = entry;
        }
        fn zero(&mut self, table: PhysAddr) {
            self.tables.insert(table.0, [Descriptor::INVALID; 512]);
        }
        fn publish(&mut self) {}
        fn forget(&mut self, va: u64) {
            self.forgotten.push(va);
        }
    }

    const BASE: u64 = boot::layout::LINEAR_BASE;

    fn piece(pa: u64, size: u64) -> Piece {
        Piece { va: BASE + pa, pa, size, access: Access::ReadWrite }
    }

    #[test]
    fn every_page_of_a_mapping_translates_and_its_neighbours_do_not() {
        let mut tables = HostTables::new();
        let (start, size) = (0x3ffe_5000, 0x4040_d000);
        tables.map(piece(start, size)).unwrap();
        for pa in (start..start + size).step_by(0x1f_f000) {
            let found = translate(&mut tables, ROOT, BASE + pa + 0x123).unwrap();
            assert_eq!(found.pa, PhysAddr(pa + 0x123));
        }
        for outside in [start - 0x1000, start + size] {
            assert_eq!(translate(&mut tables, ROOT, BASE + outside), None);
        }
    }

    /// BOOT-04: the largest blocks that alignment allows.
    #[test]
    fn blocks_are_as_large_as_alignment_allows() {
        let mut tables = HostTables::new();
        tables.map(piece(0x3fdf_f000, 0x4040_2000)).unwrap();
        let mut level = |pa: u64| translate(&mut tables, ROOT, BASE + pa).unwrap().level;
        assert_eq!(level(0x3fdf_f000), Level::Three);
        assert_eq!(level(0x3fe0_0000), Level::Two);
        assert_eq!(level(0x4000_0000), Level::One);
        assert_eq!(level(0x8000_0000), Level::Two);
        assert_eq!(level(0x8020_0000), Level::Three);
    }

    #[test]
    fn blocks_need_both_addresses_aligned() {
        let mut tables = HostTables::new();
        let (va, pa) = (BASE + 0x20_1000, 0x40_0000);
        let size = 0x40_0000;
        tables.map(Piece { va, pa, size, access: Access::ReadOnly }).unwrap();
        assert_eq!(translate(&mut tables, ROOT, va + 0x20_0000).unwrap().level, Level::Three);
    }

    /// BOOT-04: live entries change only by break-before-make.
    #[test]
    fn a_live_entry_is_never_replaced() {
        let mut tables = HostTables::new();
        tables.map(piece(0x20_0000, 0x20_0000)).unwrap();
        let inside = tables.map(piece(0x30_0000, 0x1000));
        assert!(matches!(inside, Err(MapError::Occupied { .. })), "a page in a block");
        tables.map(piece(0x40_0000, 0x1000)).unwrap();
        let over = tables.map(piece(0x40_0000, 0x20_0000));
        assert!(matches!(over, Err(MapError::Occupied { .. })), "a block over a table");
    }

    #[test]
    fn an_unmapped_page_is_forgotten_and_can_be_mapped_again() {
        let mut tables = HostTables::new();
        let va = BASE + 0x5000;
        tables.map(piece(0x5000, 0x2000)).unwrap();
        assert_eq!(unmap(&mut tables, ROOT, va), Some(PhysAddr(0x5000)));
        assert_eq!(tables.forgotten, [va]);
        assert_eq!(unmap(&mut tables, ROOT, va), None);
        assert!(translate(&mut tables, ROOT, va + 0x1000).is_some());
        tables.map(Piece { va, pa: 0x9000, size: 0x1000, access: Access::Device }).unwrap();
        assert_eq!(translate(&mut tables, ROOT, va).unwrap().pa, PhysAddr(0x9000));
    }

    /// The frames allocated beforehand are enough, wherever the piece is.
    #[test]
    fn no_mapping_needs_more_tables_than_it_may() {
        const MIB: u64 = 1 << 20;
        for size in [0x1000, 0x2000, 2 * MIB - 0x1000, 2 * MIB, 6 * MIB + 0x1000, 1025 * MIB] {
            for place in [0, 0x1000, 2 * MIB - 0x1000, MIB, 1024 * MIB - 0x1000, 1023 * MIB] {
                let mut tables = HostTables::new();
                let (va, access) = (BASE + place, Access::Device);
                // Its addresses are never both aligned, so that there are no blocks.
                tables.map(Piece { va, pa: place + 0x1000, size, access }).unwrap();
                let made = tables.tables.len() - 1;
                assert!(made <= most_tables(size), "{made} for {size:#x} at {place:#x}");
            }
        }
        assert_eq!(most_tables(0x1000), 4);
    }

    #[test]
    fn a_missing_table_frame_is_an_error() {
        let mut tables = HostTables::new();
        let result = map(&mut tables, ROOT, piece(0, 0x1000), &mut || None);
        assert_eq!(result, Err(MapError::NoFrame { va: BASE }));
    }

    #[test]
    fn half_pages_and_impossible_addresses_are_refused() {
        let mut tables = HostTables::new();
        for pa in [PHYSICAL_END, PHYSICAL_END - 0x1000, u64::MAX - 0xfff] {
            let piece = Piece { va: BASE, pa, size: 0x2000, access: Access::Device };
            let result = tables.map(piece);
            assert!(matches!(result, Err(MapError::OutOfReach { .. })), "{result:?}");
        }
        let odd = tables.map(piece(0x800, 0x1000));
        assert!(matches!(odd, Err(MapError::Misaligned { .. })));
    }
}
