//! Translation-table descriptors (VMSAv8-64, 4 KiB granule, levels 1 to 3).
//!
//! A [`Descriptor`] is the 64-bit word of one entry. Its constructors can only make the
//! combinations that this kernel uses, so a mapping that is writable and executable, or normal
//! memory without shareability, cannot be expressed. The bit positions are those of the Arm
//! Architecture Reference Manual, "VMSAv8-64 descriptor formats".

use core::fmt;

const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
const ATTR_INDEX_SHIFT: u32 = 2;
const AP_EL0: u64 = 1 << 6;
const AP_READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
const ACCESS_FLAG: u64 = 1 << 10;
const PXN: u64 = 1 << 53;
const UXN: u64 = 1 << 54;
/// Bits 47 to 12: the address that an entry points to.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// `MAIR_EL1`: index 0 Device-nGnRE, index 1 Normal, inner and outer write-back,
/// read- and write-allocate.
pub const MAIR: u64 = 0x04 | (0xff << 8);

/// Base of `TCR_EL1`: 39-bit addresses in both halves, 4 KiB granules, inner-shareable
/// write-back table walks. The entry code adds the fields that depend on the CPU: the physical
/// address size and 16-bit address-space numbers.
pub const TCR: u64 = {
    const T0SZ: u64 = 25;
    const T1SZ: u64 = 25 << 16;
    const WALKS_CACHED: u64 = (0b01 << 8) | (0b01 << 10) | (0b01 << 24) | (0b01 << 26);
    const WALKS_SHARED: u64 = (0b11 << 12) | (0b11 << 28);
    const TG1_4K: u64 = 0b10 << 30;
    T0SZ | T1SZ | WALKS_CACHED | WALKS_SHARED | TG1_4K
};

/// What a kernel mapping allows, and its kind of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Kernel text: read and execute.
    Text,
    /// Constants, and text in the linear map: read.
    ReadOnly,
    /// Everything else in RAM: read and write.
    ReadWrite,
    /// Device registers: read and write, nGnRE.
    Device,
}

impl Access {
    /// The attribute bits of a leaf of this kind.
    pub const fn bits(self) -> u64 {
        const NORMAL: u64 = ACCESS_FLAG | INNER_SHAREABLE | (1 << ATTR_INDEX_SHIFT) | UXN;
        const DEVICE: u64 = ACCESS_FLAG | UXN | PXN;
        match self {
            Self::Text => NORMAL | AP_READ_ONLY,
            Self::ReadOnly => NORMAL | AP_READ_ONLY | PXN,
            Self::ReadWrite => NORMAL | PXN,
            Self::Device => DEVICE,
        }
    }

    /// The word of a page entry of this kind, without its address.
    pub const fn page_bits(self) -> u64 {
        self.bits() | VALID | TABLE_OR_PAGE
    }
}

/// The levels of a 39-bit table tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// The root; an entry covers 1 GiB.
    One,
    /// An entry covers 2 MiB.
    Two,
    /// An entry covers a page.
    Three,
}

impl Level {
    /// The binary logarithm of the bytes that one entry covers.
    pub const fn shift(self) -> u32 {
        match self {
            Self::One => 30,
            Self::Two => 21,
            Self::Three => 12,
        }
    }

    /// Bytes that one entry covers.
    pub const fn size(self) -> u64 {
        1 << self.shift()
    }

    /// The entry of a table of this level that translates `va`.
    pub const fn index(self, va: u64) -> usize {
        ((va >> self.shift()) & 0x1ff) as usize
    }

    /// The level below; `None` below the last.
    pub const fn next(self) -> Option<Self> {
        match self {
            Self::One => Some(Self::Two),
            Self::Two => Some(Self::Three),
            Self::Three => None,
        }
    }
}

/// One entry of a translation table.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Descriptor(pub u64);

/// What a [`Descriptor`] means at its level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meaning {
    /// Nothing: an access faults.
    Invalid,
    /// The table of the next level at this physical address.
    Table(u64),
    /// A translation to this physical address.
    Leaf(u64),
}

impl Descriptor {
    /// An entry that translates nothing.
    pub const INVALID: Self = Self(0);

    /// An entry that points to the next level's table at `table`, page-aligned.
    pub const fn table(table: u64) -> Self {
        Self((table & ADDRESS) | VALID | TABLE_OR_PAGE)
    }

    /// A block or page entry at `level` that translates to `pa`, aligned to its size.
    pub const fn leaf(level: Level, pa: u64, access: Access) -> Self {
        let kind = if matches!(level, Level::Three) { TABLE_OR_PAGE } else { 0 };
        Self((pa & ADDRESS) | access.bits() | kind | VALID)
    }

    /// What the entry means in a table of `level`.
    pub const fn meaning(self, level: Level) -> Meaning {
        let address = self.0 & ADDRESS;
        match (self.0 & VALID != 0, self.0 & TABLE_OR_PAGE != 0, level) {
            (false, _, _) | (true, false, Level::Three) => Meaning::Invalid,
            (true, true, Level::One | Level::Two) => Meaning::Table(address),
            (true, _, _) => Meaning::Leaf(address),
        }
    }

    /// Whether the kernel may store through a leaf.
    pub const fn is_writable(self) -> bool {
        self.0 & AP_READ_ONLY == 0
    }

    /// Whether the kernel may execute from a leaf.
    pub const fn is_kernel_executable(self) -> bool {
        self.0 & PXN == 0
    }

    /// Whether user mode may execute from a leaf.
    pub const fn is_user_executable(self) -> bool {
        self.0 & UXN == 0
    }

    /// Whether user mode may access the leaf.
    pub const fn is_user(self) -> bool {
        self.0 & AP_EL0 != 0
    }

    /// Whether the leaf maps normal memory rather than device registers.
    pub const fn is_normal(self) -> bool {
        (self.0 >> ATTR_INDEX_SHIFT) & 0b111 == 1
    }
}

impl fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {:#018x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Access; 4] = [Access::Text, Access::ReadOnly, Access::ReadWrite, Access::Device];

    /// BOOT-04: no leaf that can be made is both writable and executable.
    #[test]
    fn no_access_is_both_writable_and_executable() {
        for access in ALL {
            let leaf = Descriptor::leaf(Level::Three, 0x4000_0000, access);
            assert!(!(leaf.is_writable() && leaf.is_kernel_executable()), "{access:?}");
            assert!(!leaf.is_user_executable() && !leaf.is_user(), "{access:?}");
            assert_eq!(leaf.is_kernel_executable(), access == Access::Text, "{access:?}");
        }
    }

    #[test]
    fn a_descriptor_means_what_it_was_made_as() {
        for level in [Level::One, Level::Two, Level::Three] {
            let pa = 3 * level.size();
            let leaf = Descriptor::leaf(level, pa, Access::ReadWrite);
            assert_eq!(leaf.meaning(level), Meaning::Leaf(pa));
            assert_eq!(Descriptor::INVALID.meaning(level), Meaning::Invalid);
        }
        assert_eq!(Descriptor::table(0x5000).meaning(Level::Two), Meaning::Table(0x5000));
        let block = Descriptor::leaf(Level::Two, 0, Access::ReadOnly);
        assert_eq!(block.meaning(Level::Three), Meaning::Invalid, "reserved encoding");
    }

    #[test]
    fn the_layout_falls_into_distinct_root_entries() {
        use crate::layout::*;
        let indices = [LINEAR_BASE, KIMAGE_BASE, FIXMAP_BASE, VSTACK_BASE, DEVICE_BASE]
            .map(|base| Level::One.index(base));
        assert_eq!(indices, [0, 256, 320, 384, 448]);
    }

    #[test]
    fn registers_are_device_memory_and_ram_is_not() {
        for access in ALL {
            let leaf = Descriptor::leaf(Level::Three, 0, access);
            assert_eq!(leaf.is_normal(), access != Access::Device, "{access:?}");
        }
    }
}
