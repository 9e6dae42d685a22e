//! From a memory map to a plan: where the zones lie, how large the tables are.
//!
//! Pure arithmetic over the ranges that the boot code found. The caller asks the plan how much
//! memory the descriptors and tables take, finds that memory, and builds the machine.

use super::zoning::{FrameRange, MAX_ZONES, ZoneId, ZoneLimits};
use crate::base::units::{Order, Pfn};
use crate::page::Page;
use crate::page::pool::MOST_FRAMES;

/// What can be chosen at boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where the zones end.
    pub zone_limits: ZoneLimits,
    /// The reserve; by default the square root of 16 times the memory, in KiB.
    pub min_free_kbytes: Option<u32>,
    /// 0 to 200: how much reclaim prefers swapping to dropping file pages.
    pub swappiness: u8,
    /// Fill freed frames with junk.
    pub poison: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            zone_limits: ZoneLimits::default(),
            min_free_kbytes: None,
            swappiness: 60,
            poison: false,
        }
    }
}

/// Why there can be no machine on this memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PlanError {
    /// No whole page of memory.
    NoMemory,
    /// The ranges lie so far apart that descriptors for all frames between them would take
    /// more than a quarter of the memory.
    TooSparse {
        /// From the first frame to the last.
        spanned: u32,
        /// Frames that exist.
        present: u32,
    },
    /// From the first frame to the last there are more than handles can reach (256 GiB).
    TooLarge {
        /// From the first frame to the last.
        spanned: u32,
    },
    /// Two ranges have frames in common.
    Overlap {
        /// The intersection.
        common: FrameRange,
    },
}

/// The zones and the sizes of the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan<'r> {
    pub(crate) config: Config,
    ranges: &'r [FrameRange],
    pub(crate) span: FrameRange,
    pub(crate) zones: [(FrameRange, u32); MAX_ZONES],
    /// Places in the directory of address spaces.
    pub(crate) spaces: usize,
}

/// Frames of one zone that are all memory, or all a hole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) frames: FrameRange,
    pub(crate) zone: ZoneId,
    pub(crate) present: bool,
}

impl<'r> Plan<'r> {
    /// A plan for the memory in `ranges`, which do not overlap; in any order.
    ///
    /// # Errors
    /// If there is no memory, if it lies too far apart for one flat memory map, or if ranges
    /// overlap.
    pub fn new(ranges: &'r [FrameRange], config: Config) -> Result<Self, PlanError> {
        if let Some(common) = overlap(ranges) {
            return Err(PlanError::Overlap { common });
        }
        let present: u32 = ranges.iter().map(|r| r.pages()).sum();
        let used = || ranges.iter().filter(|r| r.pages() > 0);
        let (Some(start), Some(end)) = (used().map(|r| r.start).min(), used().map(|r| r.end).max())
        else {
            return Err(PlanError::NoMemory);
        };
        let span = FrameRange { start, end };
        let frames_of_descriptors = u64::from(span.pages()) * size_of::<Page>() as u64 / 4096;
        if frames_of_descriptors > u64::from(present) / 4 {
            return Err(PlanError::TooSparse { spanned: span.pages(), present });
        }
        if span.pages() > MOST_FRAMES {
            return Err(PlanError::TooLarge { spanned: span.pages() });
        }
        let zones = ZoneId::ALL.map(|id| zone_extent(ranges, config.zone_limits.range(id)));
        let spaces = (present as usize / 32).clamp(64, 1 << 15);
        Ok(Self { config, ranges, span, zones, spaces })
    }

    /// The span, cut where a zone or a range begins or ends; lowest first.
    pub(crate) fn runs(&self) -> impl Iterator<Item = Run> {
        let mut left = self.span;
        core::iter::from_fn(move || {
            let run = self.run_at(left.start)?;
            left.start = run.frames.end;
            Some(run)
        })
    }

    /// The run that begins at `start`; `None` at the end of the span.
    fn run_at(&self, start: Pfn) -> Option<Run> {
        let limits = ZoneId::ALL.map(|id| (id, self.config.zone_limits.range(id)));
        let edges = limits.iter().map(|(_, range)| range).chain(self.ranges);
        let edges = edges.flat_map(|range| [range.start, range.end]).chain([self.span.end]);
        let end = edges.filter(|edge| start < *edge && *edge <= self.span.end).min()?;
        let zone = limits.iter().find(|(_, range)| range.contains(start));
        Some(Run {
            frames: FrameRange { start, end },
            zone: zone.map_or(ZoneId::Normal, |(id, _)| *id),
            present: self.ranges.iter().any(|range| range.contains(start)),
        })
    }

    /// Bytes of page descriptors.
    pub fn descriptor_bytes(&self) -> usize {
        self.span.pages() as usize * size_of::<Page>()
    }

    /// Pageblocks that a zone's span touches.
    pub(crate) fn pageblocks(&self, zone: usize) -> usize {
        let span = self.zones[zone].0;
        if span.pages() == 0 {
            return 0;
        }
        let block = |pfn: Pfn| (pfn.0 >> Order::PAGEBLOCK.get()) as usize;
        block(Pfn(span.end.0 - 1)) - block(span.start) + 1
    }
}

/// The intersection of two of the ranges, if any overlap.
fn overlap(ranges: &[FrameRange]) -> Option<FrameRange> {
    let pairs = ranges
        .iter()
        .enumerate()
        .flat_map(|(i, a)| ranges[i + 1..].iter().map(|b| a.intersection(*b)));
    pairs.into_iter().find(|common| common.pages() > 0)
}

/// From the first to the last present frame within `limits`, and how many are present.
fn zone_extent(ranges: &[FrameRange], limits: FrameRange) -> (FrameRange, u32) {
    let parts = || ranges.iter().map(|r| r.intersection(limits)).filter(|r| r.pages() > 0);
    let present = parts().map(FrameRange::pages).sum();
    let start = parts().map(|r| r.start).min().unwrap_or_default();
    let end = parts().map(|r| r.end).max().unwrap_or_default();
    (FrameRange { start, end }, present)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::units::PhysAddr;

    fn range(start: u32, end: u32) -> FrameRange {
        FrameRange { start: Pfn(start), end: Pfn(end) }
    }

    /// ZONE-01: spanned and present are right with holes, in any order of the ranges.
    #[test]
    fn zones_span_holes_and_count_what_is_present() {
        let limits = ZoneLimits { dma_end: PhysAddr(0x100_0000), dma32_end: PhysAddr(0x200_0000) };
        let config = Config { zone_limits: limits, ..Config::default() };
        let ranges = [range(0x1800, 0x2000), range(0x0800, 0x1400)];
        let plan = Plan::new(&ranges, config).expect("a plan");
        assert_eq!(plan.zones[0], (range(0x0800, 0x1000), 0x800));
        assert_eq!(plan.zones[1], (range(0x1000, 0x2000), 0x400 + 0x800));
        assert_eq!(plan.zones[2], (FrameRange::default(), 0));
        assert_eq!(plan.span, range(0x0800, 0x2000));
    }

    /// ZONE-01: every frame of the span is in one run, which has one zone and no edge inside.
    #[test]
    fn the_span_is_cut_where_zones_and_ranges_begin_and_end() {
        let limits = ZoneLimits { dma_end: PhysAddr(0x100_0000), dma32_end: PhysAddr(0x200_0000) };
        let config = Config { zone_limits: limits, ..Config::default() };
        let ranges = [range(0x1800, 0x2400), range(0x0800, 0x1400), range(0x1400, 0x1500)];
        let plan = Plan::new(&ranges, config).expect("a plan");
        let runs: Vec<_> = plan.runs().collect();
        let run = |start, end, zone, present| Run { frames: range(start, end), zone, present };
        let expected = [
            run(0x0800, 0x1000, ZoneId::Dma, true),
            run(0x1000, 0x1400, ZoneId::Dma32, true),
            run(0x1400, 0x1500, ZoneId::Dma32, true),
            run(0x1500, 0x1800, ZoneId::Dma32, false),
            run(0x1800, 0x2000, ZoneId::Dma32, true),
            run(0x2000, 0x2400, ZoneId::Normal, true),
        ];
        assert_eq!(runs, expected);
    }

    /// ZONE-01, BUDY-01: a tag for every pageblock that a zone touches, and for no more.
    #[test]
    fn a_zone_has_the_pageblocks_that_it_touches() {
        for (start, end, blocks) in
            [(0x800, 0xa00, 1), (0x800, 0xa01, 2), (0x7ff, 0xa01, 3), (0x9ff, 0xa00, 1)]
        {
            let ranges = [range(start, end)];
            let plan = Plan::new(&ranges, Config::default()).expect("a plan");
            assert_eq!(plan.pageblocks(0), blocks, "{start:#x} to {end:#x}");
            assert_eq!(plan.pageblocks(2), 0);
        }
    }

    /// ZONE-02: a descriptor takes 32 bytes.
    #[test]
    fn descriptors_cost_32_bytes_a_frame() {
        let ranges = [range(0x40000, 0x50000)];
        let plan = Plan::new(&ranges, Config::default()).expect("a plan");
        assert_eq!(plan.descriptor_bytes(), 65_536 * 32);
    }

    #[test]
    fn memory_that_cannot_be_mapped_flat_is_refused_with_numbers() {
        assert_eq!(Plan::new(&[], Config::default()), Err(PlanError::NoMemory));
        let far = [range(0x1000, 0x2000), range(0x1000_0000, 0x1000_1000)];
        let want = PlanError::TooSparse { spanned: 0x1000_0000, present: 0x2000 };
        assert_eq!(Plan::new(&far, Config::default()), Err(want));
        let large = [range(0, MOST_FRAMES + 1)];
        let want = PlanError::TooLarge { spanned: MOST_FRAMES + 1 };
        assert_eq!(Plan::new(&large, Config::default()), Err(want));
    }

    /// ZONE-04: frames in two ranges would be handed over twice.
    #[test]
    fn overlapping_ranges_are_refused_with_what_they_share() {
        let ranges = [range(0x4000, 0x5000), range(0x1000, 0x2000), range(0x4800, 0x6000)];
        let want = PlanError::Overlap { common: range(0x4800, 0x5000) };
        assert_eq!(Plan::new(&ranges, Config::default()), Err(want));
        let near = [range(0x4000, 0x5000), range(0x5000, 0x6000), range(0x4000, 0x4000)];
        assert!(Plan::new(&near, Config::default()).is_ok());
    }
}
