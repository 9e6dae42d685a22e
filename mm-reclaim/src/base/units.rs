//! Units: newtypes for frame numbers, addresses, orders and times.
//!
//! Every quantity that the crate passes around has a type of its own, so that a page count cannot
//! be passed as an address. Sizes are in pages of [`PAGE_SIZE`] bytes, times in nanoseconds.

use core::fmt;
use core::ops::{Add, Sub};

/// Bytes in a page.
pub const PAGE_SIZE: usize = 1 << PAGE_SHIFT;
/// The binary logarithm of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

/// A page frame number: a physical address divided by [`PAGE_SIZE`].
///
/// 32 bits reach 16 TiB of physical memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Pfn(pub u32);

impl Pfn {
    /// The frame that holds `addr`, or `None` above 16 TiB.
    pub const fn of(addr: PhysAddr) -> Option<Self> {
        let n = addr.0 >> PAGE_SHIFT;
        if n <= u32::MAX as u64 { Some(Self(n as u32)) } else { None }
    }

    /// The first address of the frame.
    pub const fn addr(self) -> PhysAddr {
        PhysAddr((self.0 as u64) << PAGE_SHIFT)
    }
}

impl Add<u32> for Pfn {
    type Output = Self;
    fn add(self, pages: u32) -> Self {
        Self(self.0 + pages)
    }
}

impl Sub for Pfn {
    type Output = u32;
    fn sub(self, other: Self) -> u32 {
        self.0 - other.0
    }
}

impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pfn {:#x}", self.0)
    }
}

/// A file, as numbered by the environment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct FileId(pub u32);

/// A page of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FilePage {
    /// The file.
    pub file: FileId,
    /// Which page of it, counted from 0.
    pub index: u32,
}

impl fmt::Display for FilePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "page {} of file {}", self.index, self.file.0)
    }
}

/// The name of an address space: its place, and a generation that distinguishes the spaces that
/// were ever there. The name of a space that is gone is never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct SpaceId(u64);

impl SpaceId {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | index as u64)
    }

    /// The name as a number, for a kernel's own tables. It is never 0.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The inverse of [`SpaceId::bits`]; any other number names no space, or an existing one.
    pub const fn from_bits(bits: u64) -> Self {
        // The generation of a space is odd, that of a vacant place even.
        Self(bits | 1 << 32)
    }

    /// The place in the directory of spaces.
    pub(crate) const fn index(self) -> u32 {
        self.0 as u32
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Display for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.index(), f)
    }
}

impl fmt::Debug for SpaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "space {}.{}", self.index(), self.generation())
    }
}

/// A physical address in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct PhysAddr(pub u64);

impl PhysAddr {
    /// Rounds down to a multiple of `align`, a power of two.
    pub const fn align_down(self, align: u64) -> Self {
        Self(self.0 & !(align - 1))
    }

    /// Rounds up to a multiple of `align`, a power of two; `None` past the last address.
    pub const fn align_up(self, align: u64) -> Option<Self> {
        match self.0.checked_add(align - 1) {
            Some(a) => Some(Self(a & !(align - 1))),
            None => None,
        }
    }
}

impl fmt::Debug for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A virtual page number: a user address divided by [`PAGE_SIZE`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(transparent)]
pub struct Vpn(pub u32);

impl Vpn {
    /// The page that holds the user address `addr`, or `None` above 16 TiB.
    pub const fn of(addr: u64) -> Option<Self> {
        let n = addr >> PAGE_SHIFT;
        if n <= u32::MAX as u64 { Some(Self(n as u32)) } else { None }
    }

    /// The first address of the page.
    pub const fn addr(self) -> u64 {
        (self.0 as u64) << PAGE_SHIFT
    }
}

impl Add<u32> for Vpn {
    type Output = Self;
    fn add(self, pages: u32) -> Self {
        Self(self.0 + pages)
    }
}

impl Sub for Vpn {
    type Output = u32;
    fn sub(self, other: Self) -> u32 {
        self.0 - other.0
    }
}

impl fmt::Debug for Vpn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vpn {:#x}", self.0)
    }
}

/// The binary logarithm of a block's size in pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(transparent)]
pub struct Order(u8);

impl Order {
    /// The largest order that the buddy allocator serves (4 MiB).
    pub const MAX: Self = Self(10);
    /// A single page.
    pub const ZERO: Self = Self(0);
    /// The order of a pageblock, the unit of mobility grouping (2 MiB).
    pub const PAGEBLOCK: Self = Self(9);
    /// Orders that the allocator knows.
    pub const COUNT: usize = Self::MAX.0 as usize + 1;
    /// Above this order a request is expected to need compaction (`PAGE_ALLOC_COSTLY_ORDER`).
    pub const COSTLY: Self = Self(3);

    /// `order`, or `None` above [`Order::MAX`].
    pub const fn new(order: u8) -> Option<Self> {
        if order <= Self::MAX.0 { Some(Self(order)) } else { None }
    }

    /// The order as a number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The order as an index into a table of [`Order::COUNT`] entries.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Pages in a block of this order.
    pub const fn pages(self) -> u32 {
        1 << self.0
    }

    /// Every order from zero to [`Order::MAX`].
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (0..=Self::MAX.0).map(Self)
    }

    /// The smallest order whose block holds `pages` pages, or `None` if none does.
    pub const fn holding(pages: u32) -> Option<Self> {
        match pages.checked_next_power_of_two() {
            Some(p) => Self::new(p.trailing_zeros() as u8),
            None => None,
        }
    }
}

/// A duration or a moment of the monotonic clock, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }
}

impl Add for Nanos {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Integer square root, rounded down.
pub const fn isqrt(n: u64) -> u64 {
    n.isqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BOOT-05: a report shows addresses in hexadecimal.
    #[test]
    fn addresses_are_shown_in_hexadecimal() {
        assert_eq!(std::format!("{:?}", PhysAddr(0x4020_0000)), "0x40200000");
        assert_eq!(std::format!("{:?}", Pfn(0x4_0200)), "pfn 0x40200");
        assert_eq!(std::format!("{:?}", Vpn(0x10)), "vpn 0x10");
    }
}
