//! Page reclaim: choosing pages that will not be missed and taking them back.
//!
//! ```text
//!   kswapd        direct          MADV_PAGEOUT
//!     |             |                  |
//!     |        shrink_zones            |
//!     +--> shrink_zone <-+             |
//!              |                       |
//!         shrink_lruvec   (get_scan_count: how much of each list)
//!          |         |                 |
//!   shrink_active  shrink_inactive     |
//!   _list          _list               |
//!                    |                 |
//!                shrink_page_list <----+     (the ladder: what becomes of each page)
//! ```
//!
//! A page's way is: off the list into a token ([`crate::page::IsolatedPage`]), through the
//! ladder to a verdict, then freed or back on the list that its flags name. Reclaim
//! hands frozen pages to their zone and never allocates.
//!
//! Policy ([`balance`], [`references`]) is pure and knows no environment; the rest is
//! mechanism. Counterpart in Linux: `mm/vmscan.c`.

mod active;
pub mod balance;
mod inactive;
mod ladder;
mod lruvec;
mod page_list;
mod pageout;
mod probe;
pub mod references;
mod scan_control;
mod throttle;
pub(crate) mod verdict;
mod zone;

pub use scan_control::{BatchStat, May, ReclaimKind, ScanProgress, ScanRequest, Target};
pub use verdict::{ActivateReason, CullReason, FreeReason, KeepReason, Reason, VerdictCounters};
pub(crate) use verdict::{Stage, Verdict};

/// Pages that reclaim handles at a time.
pub const SWAP_CLUSTER_MAX: u32 = 32;
/// The priority at which reclaim begins: a list's scan is its size shifted by it.
pub const DEF_PRIORITY: u8 = 12;
