//! Which frames belong to which zone: a matter of addresses alone.

use crate::base::units::{Pfn, PhysAddr};

/// Zones of the node.
pub const MAX_ZONES: usize = 3;
/// Which zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum ZoneId {
    /// For devices that can address little memory.
    Dma,
    /// For devices that can address 32 bits.
    Dma32,
    /// The rest.
    Normal,
}

impl ZoneId {
    /// Every zone, lowest first.
    pub const ALL: [Self; MAX_ZONES] = [Self::Dma, Self::Dma32, Self::Normal];

    /// The zone as an index into a table.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name that `/proc` shows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dma => "DMA",
            Self::Dma32 => "DMA32",
            Self::Normal => "Normal",
        }
    }
}

/// A half-open range of frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameRange {
    /// The first frame.
    pub start: Pfn,
    /// The frame after the last.
    pub end: Pfn,
}

impl FrameRange {
    /// Frames in the range.
    pub const fn pages(self) -> u32 {
        self.end.0.saturating_sub(self.start.0)
    }

    /// Whether `pfn` lies in the range.
    pub fn contains(self, pfn: Pfn) -> bool {
        self.start <= pfn && pfn < self.end
    }

    /// The intersection of both ranges.
    pub fn intersection(self, other: Self) -> Self {
        let start = self.start.max(other.start);
        Self { start, end: self.end.min(other.end).max(start) }
    }
}

/// Where the zones end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneLimits {
    /// The first address above zone DMA.
    pub dma_end: PhysAddr,
    /// The first address above zone DMA32; at least `dma_end`.
    pub dma32_end: PhysAddr,
}

impl Default for ZoneLimits {
    /// 1 GiB, as the Pi's peripherals need, and 4 GiB.
    fn default() -> Self {
        Self { dma_end: PhysAddr(1 << 30), dma32_end: PhysAddr(4 << 30) }
    }
}

impl ZoneLimits {
    /// The frames that belong to `zone`, present or not.
    pub fn range(&self, zone: ZoneId) -> FrameRange {
        let frame = |a: PhysAddr| Pfn::of(a).unwrap_or(Pfn(u32::MAX));
        let (low, high) = (frame(self.dma_end), frame(self.dma32_end));
        match zone {
            ZoneId::Dma => FrameRange { start: Pfn(0), end: low },
            ZoneId::Dma32 => FrameRange { start: low, end: high },
            ZoneId::Normal => FrameRange { start: high, end: Pfn(u32::MAX) },
        }
    }
}
