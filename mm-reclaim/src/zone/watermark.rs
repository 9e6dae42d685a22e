//! Watermarks: how many free pages a zone wants, and whether it has them.
//!
//! Pure arithmetic. A zone has three marks; kswapd wakes when free pages fall to LOW and
//! works until they reach HIGH; below MIN only privileged requests succeed:
//!
//! ```text
//!   free pages ^
//!              |        kswapd sleeps
//!         HIGH +----------------------------
//!              |        kswapd works, once woken
//!          LOW +----------------------------
//!              |        kswapd works, callers retry against MIN
//!          MIN +----------------------------
//!              |        direct reclaim; HIGH, HARDER, OOM and MEMALLOC reach down
//!            0 +----------------------------
//! ```
//!
//! Counterpart in Linux: `__setup_per_zone_wmarks`, `__zone_watermark_ok`.

use bitflags::bitflags;

use crate::base::units::{Order, isqrt};

/// Which of the three marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Mark {
    /// The reserve begins below it.
    Min,
    /// kswapd is woken below it.
    Low,
    /// kswapd stops at it.
    High,
}

/// The three marks of a zone, in pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Watermarks {
    /// Below it, the reserve.
    pub min: u32,
    /// Below it, kswapd is woken.
    pub low: u32,
    /// Up to it, kswapd works.
    pub high: u32,
}

bitflags! {
    /// How far below MIN an allocation may go.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Reach: u8 {
        /// To half of MIN (`ALLOC_HIGH`).
        const HIGH = 1;
        /// A quarter lower (`ALLOC_HARDER`).
        const HARDER = 2;
        /// By half again: a victim of the out-of-memory killer (`ALLOC_OOM`).
        const OOM = 4;
        /// To the last page (`ALLOC_NO_WATERMARKS`).
        const NO_WATERMARKS = 8;
    }
}

/// `min_free_kbytes` for `lowmem_kbytes` of low memory: the square root of 16 times its size,
/// within 128 KiB and 256 MiB.
pub const fn min_free_kbytes(lowmem_kbytes: u64) -> u32 {
    let root = isqrt(lowmem_kbytes * 16);
    if root < 128 {
        128
    } else if root > 262_144 {
        262_144
    } else {
        root as u32
    }
}

impl Watermarks {
    /// The marks of a zone with `managed` pages out of `lowmem`, when the whole node is to
    /// keep `pages_min` pages free. The gap is a quarter of MIN or a thousandth of the zone.
    pub const fn new(pages_min: u32, managed: u32, lowmem: u32) -> Self {
        if lowmem == 0 {
            return Self { min: 0, low: 0, high: 0 };
        }
        let min = (pages_min as u64 * managed as u64 / lowmem as u64) as u32;
        let thousandth = (managed as u64 * 10 / 10_000) as u32;
        let gap = if min / 4 > thousandth { min / 4 } else { thousandth };
        Self { min, low: min + gap, high: min + 2 * gap }
    }

    /// One of the marks.
    pub const fn get(self, mark: Mark) -> u32 {
        match mark {
            Mark::Min => self.min,
            Mark::Low => self.low,
            Mark::High => self.high,
        }
    }
}

/// The largest boost a zone gets: one and a half times HIGH, one pageblock at least; none
/// for a zone smaller than four pageblocks.
pub const fn boost_after_fallback(boost: u32, high: u32, managed: u32) -> u32 {
    let block = Order::PAGEBLOCK.pages();
    if block * 4 > managed {
        return 0;
    }
    let max = high as u64 * 15_000 / 10_000;
    let max = if max < block as u64 { block } else { max as u32 };
    if boost + block < max { boost + block } else { max }
}

/// What [`watermark_ok`] looks at.
#[derive(Clone, Copy)]
pub struct FreeView<'a> {
    /// Free pages.
    pub free: u32,
    /// What the zone holds back from requests of this class (`lowmem_reserve`).
    pub reserve: u32,
    /// Free blocks by order that the request could use.
    pub blocks: &'a dyn Fn(Order) -> u32,
}

/// Whether a block of `order` may be taken while the zone keeps `mark` pages.
pub fn watermark_ok(view: FreeView<'_>, order: Order, mark: u32, reach: Reach) -> bool {
    if reach.contains(Reach::NO_WATERMARKS) {
        return (view.blocks)(order) > 0 || has_block(view.blocks, order);
    }
    let mut min = mark;
    if reach.contains(Reach::HIGH) {
        min -= min / 2;
    }
    if reach.contains(Reach::OOM) {
        min -= min / 2;
    } else if reach.contains(Reach::HARDER) {
        min -= min / 4;
    }
    let unusable = order.pages() - 1;
    if view.free.saturating_sub(unusable) <= min + view.reserve {
        return false;
    }
    order == Order::ZERO || has_block(view.blocks, order)
}

fn has_block(blocks: &dyn Fn(Order) -> u32, order: Order) -> bool {
    Order::all().skip(order.index()).any(|o| blocks(o) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BUDY-03: the square root and its clamps.
    #[test]
    fn min_free_kbytes_is_the_clamped_root() {
        for (lowmem, want) in
            [(256 << 10, 2048), (16 << 20, 16384), (64, 128), (1 << 40, 262_144), (1 << 20, 4096)]
        {
            assert_eq!(min_free_kbytes(lowmem), want, "{lowmem} KiB");
        }
    }

    /// BUDY-03: min by share, a gap of a quarter of min or a thousandth of the zone.
    #[test]
    fn the_marks_follow_the_formulas() {
        let whole = Watermarks::new(512, 65_536, 65_536);
        assert_eq!(whole, Watermarks { min: 512, low: 640, high: 768 });
        let half = Watermarks::new(512, 32_768, 65_536);
        assert_eq!(half, Watermarks { min: 256, low: 320, high: 384 });
        let wide = Watermarks::new(40, 1_000_000, 1_000_000);
        assert_eq!(wide, Watermarks { min: 40, low: 1040, high: 2040 });
        assert_eq!(Watermarks::new(512, 0, 0), Watermarks::default());
    }

    /// BUDY-03: the discounts, and the reserve held back for higher classes.
    #[test]
    fn reach_lowers_the_mark_step_by_step() {
        let ok = |free, reserve, reach| {
            let view = FreeView { free, reserve, blocks: &|_| 1 };
            watermark_ok(view, Order::ZERO, 512, reach)
        };
        assert!(!ok(512, 0, Reach::empty()));
        assert!(ok(513, 0, Reach::empty()));
        assert!(!ok(513, 1, Reach::empty()));
        assert!(ok(257, 0, Reach::HIGH));
        assert!(!ok(256, 0, Reach::HIGH));
        assert!(ok(193, 0, Reach::HIGH | Reach::HARDER));
        assert!(!ok(192, 0, Reach::HIGH | Reach::HARDER));
        assert!(ok(129, 0, Reach::HIGH | Reach::OOM));
        assert!(!ok(128, 0, Reach::HIGH | Reach::OOM));
        assert!(ok(1, 0, Reach::NO_WATERMARKS));
    }

    /// BUDY-03: enough pages are not enough; a block of the order must be there.
    #[test]
    fn an_order_needs_a_block_of_it() {
        let order = Order::new(3).expect("an order");
        let ok = |blocks: &dyn Fn(Order) -> u32, mark, reach| {
            watermark_ok(FreeView { free: 10_000, reserve: 0, blocks }, order, mark, reach)
        };
        assert!(!ok(&|o| u32::from(o < order), 10, Reach::empty()));
        assert!(ok(&|o| u32::from(o > order), 10, Reach::empty()));
        assert!(!ok(&|_| 0, 10, Reach::NO_WATERMARKS));
        assert!(!ok(&|o| u32::from(o < order), 0, Reach::NO_WATERMARKS));
        assert!(ok(&|o| u32::from(o > order), 0, Reach::NO_WATERMARKS), "one to be split");
        assert!(ok(&|o| u32::from(o == order), 0, Reach::NO_WATERMARKS));
    }

    #[test]
    fn the_boost_is_bounded_and_spares_tiny_zones() {
        assert_eq!(boost_after_fallback(0, 768, 65_536), 512);
        assert_eq!(boost_after_fallback(512, 768, 65_536), 1024);
        assert_eq!(boost_after_fallback(1024, 768, 65_536), 1152);
        assert_eq!(boost_after_fallback(0, 768, 2047), 0);
        assert_eq!(boost_after_fallback(0, 10, 65_536), 512);
    }
}
