//! One scan: whose lists are scanned, for which request, and the progress.
//!
//! A [`Scan`] is one visit of reclaim to one lruvec. It is made by the loops over groups in
//! `zone.rs`, and its methods are the steps of the visit, each in its own file:
//!
//! | method | file |
//! | --- | --- |
//! | `shrink_lruvec`, `shrink_list` | `lruvec.rs` |
//! | `shrink_inactive_list` | `inactive.rs` |
//! | `shrink_active_list` | `active.rs` |
//! | `shrink_page_list` | `page_list.rs` |
//!
//! The progress belongs to the task that reclaims and is passed from one scan to the next.
//!
//! Counterpart in Linux: the arguments `lruvec` and `sc` of `mm/vmscan.c`.

use super::{Reclaim, ScanProgress, ScanRequest};
use crate::env::Env;
use crate::lru::Lruvec;
use crate::zone::Zone;

/// A visit of reclaim to the lists of one group in one zone.
pub(super) struct Scan<'a, 'm, E: Env> {
    pub(super) reclaim: &'a Reclaim<'m, E>,
    pub(super) lruvec: &'a Lruvec<'m, E::Cpu>,
    /// The zone of the lruvec.
    pub(super) zone: &'a Zone<'m, E::Cpu>,
    pub(super) request: &'a ScanRequest,
    pub(super) progress: &'a mut ScanProgress,
}
