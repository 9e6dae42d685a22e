//! A range of physical addresses.

use core::fmt;
use core::ops::Range;

use super::{Direction, MemblockError};
use crate::base::units::{PAGE_SIZE, Pfn, PhysAddr};

/// A range of physical addresses: from `start` to just below `end`.
///
/// The last byte of the address space cannot be expressed, which no machine needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// The first address.
    pub start: PhysAddr,
    /// The first address beyond.
    pub end: PhysAddr,
}

impl Region {
    /// No address.
    pub const EMPTY: Self = Self { start: PhysAddr(0), end: PhysAddr(0) };
    /// Every address.
    pub const ALL: Self = Self { start: PhysAddr(0), end: PhysAddr(u64::MAX) };

    /// `size` bytes from `base`.
    ///
    /// # Errors
    /// [`MemblockError::Overflow`] if the end is not an address.
    pub const fn new(base: PhysAddr, size: u64) -> Result<Self, MemblockError> {
        match base.0.checked_add(size) {
            Some(end) => Ok(Self { start: base, end: PhysAddr(end) }),
            None => Err(MemblockError::Overflow { base, size }),
        }
    }

    /// Bytes in the range.
    pub const fn size(self) -> u64 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether it holds no address.
    pub const fn is_empty(self) -> bool {
        self.start.0 >= self.end.0
    }

    /// The addresses that both hold; empty if there are none.
    #[must_use]
    pub fn intersection(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    /// The whole page frames inside, or `None` if there are none (or lie above 16 TiB).
    pub fn frames(self) -> Option<Range<Pfn>> {
        let start = Pfn::of(self.start.align_up(PAGE_SIZE as u64)?)?;
        let end = Pfn::of(self.end).unwrap_or(Pfn(u32::MAX));
        (start < end).then_some(start..end)
    }

    /// Where `size` bytes aligned to `align` fit at that end of the range.
    pub(super) fn fit(self, size: u64, align: u64, direction: Direction) -> Option<Self> {
        let start = match direction {
            Direction::BottomUp => self.start.align_up(align)?,
            Direction::TopDown => PhysAddr(self.end.0.checked_sub(size)?).align_down(align),
        };
        let fit = Self::new(start, size).ok()?;
        (fit.start >= self.start && fit.end <= self.end).then_some(fit)
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}..{:?}", self.start, self.end)
    }
}
