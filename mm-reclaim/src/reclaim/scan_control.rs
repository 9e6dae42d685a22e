//! `scan_control`, as two values: the request and the progress.
//!
//! Linux keeps both in one struct. Here the request does not change once reclaim runs, so
//! that what a stage may do is decided in one place, and all that changes is in
//! [`ScanProgress`], which belongs to one task.

use bitflags::bitflags;

use super::{DEF_PRIORITY, SWAP_CLUSTER_MAX};
use crate::base::units::Order;
use crate::zone::ZoneId;
use crate::zone::gfp::Gfp;

/// Who reclaims.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReclaimKind {
    /// The kswapd task, ahead of need.
    Kswapd,
    /// A task that needs a page now.
    Direct,
    /// On request (`MADV_PAGEOUT`).
    Proactive,
}

/// Whose pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// All pages, because the machine is short of memory.
    Global,
    /// A memory control group's, because it is at its limit. There is no second group
    /// yet, so nothing in the crate makes such a request; the policies know the case.
    Group(u16),
}

bitflags! {
    /// What reclaim may do.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct May: u8 {
        /// Unmap mapped pages.
        const UNMAP = 1;
        /// Start writing pages.
        const WRITEPAGE = 2;
        /// Swap anonymous pages out.
        const SWAP = 4;
    }
}

/// The target and what is allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanRequest {
    /// Who reclaims.
    pub kind: ReclaimKind,
    /// Whose pages.
    pub target: Target,
    /// What the allocation behind it may do.
    pub gfp: Gfp,
    /// The order that is needed.
    pub order: Order,
    /// The highest zone that could help.
    pub class: ZoneId,
    /// Pages wanted.
    pub nr_to_reclaim: u32,
    /// What reclaim may do.
    pub may: May,
    /// Reclaim whatever is given, without checking references.
    pub force: bool,
}

impl ScanRequest {
    /// kswapd's request; the target is set for each zone.
    pub const fn kswapd(order: Order, class: ZoneId) -> Self {
        Self {
            kind: ReclaimKind::Kswapd,
            target: Target::Global,
            gfp: Gfp::KERNEL,
            order,
            class,
            nr_to_reclaim: SWAP_CLUSTER_MAX,
            may: May::all(),
            force: false,
        }
    }

    /// A direct reclaimer's request.
    pub const fn direct(gfp: Gfp, order: Order) -> Self {
        Self {
            kind: ReclaimKind::Direct,
            target: Target::Global,
            gfp,
            order,
            class: gfp.class_zone(),
            nr_to_reclaim: SWAP_CLUSTER_MAX,
            may: May::all(),
            force: false,
        }
    }

    /// A request to reclaim exactly the given pages.
    pub const fn proactive() -> Self {
        Self {
            kind: ReclaimKind::Proactive,
            target: Target::Global,
            gfp: Gfp::KERNEL,
            order: Order::ZERO,
            class: ZoneId::Normal,
            nr_to_reclaim: u32::MAX,
            may: May::all(),
            force: true,
        }
    }

    /// The request without a right, where `wanted` says so.
    pub const fn without(mut self, right: May, wanted: bool) -> Self {
        if wanted {
            self.may = self.may.difference(right);
        }
        self
    }

    /// Whether the whole machine's shortage is the cause.
    pub const fn is_global(&self) -> bool {
        matches!(self.target, Target::Global)
    }

    /// Whether writing a page may be started: FS, or IO for a page in the swap cache.
    pub const fn may_enter(&self, in_swap_cache: bool) -> bool {
        self.gfp.contains(Gfp::FS) || in_swap_cache && self.gfp.contains(Gfp::IO)
    }
}

/// What happened to the pages of one batch (SPL-04 and on).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BatchStat {
    /// Dirty or under write-back.
    pub dirty: u32,
    /// Dirty and not under write-back.
    pub unqueued: u32,
    /// Dirty or under write-back on a congested device, or under write-back and marked already.
    pub congested: u32,
    /// Under write-back and left alone (SPL-06).
    pub writeback: u32,
    /// Still under write-back at the next visit of reclaim (SPL-05).
    pub immediate: u32,
    /// Base pages activated, anon and file.
    pub activate: [u32; 2],
    /// Kept because they were referenced.
    pub ref_keep: u32,
    /// Could not be unmapped.
    pub unmap_fail: u32,
    /// Submitted for writing.
    pub pageout: u32,
    /// Of these, written to swap before the call returned.
    pub swapped_now: u32,
    /// Lazily freed, but dirty again.
    pub lazyfree_fail: u32,
    /// Base pages freed.
    pub reclaimed: u32,
}

impl BatchStat {
    /// The sum over two batches.
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            dirty: self.dirty + other.dirty,
            unqueued: self.unqueued + other.unqueued,
            congested: self.congested + other.congested,
            writeback: self.writeback + other.writeback,
            immediate: self.immediate + other.immediate,
            activate: [0, 1].map(|kind| self.activate[kind] + other.activate[kind]),
            ref_keep: self.ref_keep + other.ref_keep,
            unmap_fail: self.unmap_fail + other.unmap_fail,
            pageout: self.pageout + other.pageout,
            swapped_now: self.swapped_now + other.swapped_now,
            lazyfree_fail: self.lazyfree_fail + other.lazyfree_fail,
            reclaimed: self.reclaimed + other.reclaimed,
        }
    }
}

/// The progress of reclaim, owned by one task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanProgress {
    /// From 12 down to 0.
    pub priority: u8,
    /// Scan pressure so far.
    pub scanned: u64,
    /// Base pages freed so far.
    pub reclaimed: u64,
    /// Base pages whose write to swap or to a file began.
    pub written: u32,
    /// Pages scanned so far, whatever became of them; those on active lists among them.
    pub looked_at: u32,
    /// Pages scanned on active lists.
    pub aged: u32,
    /// Referenced pages that were passed over since a page was last freed or its write began
    /// (CTRL-06).
    pub passed_over: u32,
    /// Anon, file: the active list may be deactivated (SHRZ-10).
    pub may_deactivate: [bool; 2],
    /// Deactivate whatever the sizes say.
    pub force_deactivate: bool,
    /// Some active list was skipped only because deactivation was not allowed.
    pub skipped_deactivate: bool,
    /// There is plenty of inactive file cache: scan only that.
    pub cache_trim: bool,
    /// There is hardly any file cache: scan only anon.
    pub file_is_tiny: bool,
    /// Writing is allowed whatever the mode (after a round below priority 10).
    pub force_writepage: bool,
    /// Compaction could satisfy the order by now.
    pub compaction_ready: bool,
}

impl ScanProgress {
    /// The initial state, at a given priority.
    pub const fn new(priority: u8) -> Self {
        Self {
            priority,
            scanned: 0,
            reclaimed: 0,
            written: 0,
            looked_at: 0,
            aged: 0,
            passed_over: 0,
            may_deactivate: [false; 2],
            force_deactivate: false,
            skipped_deactivate: false,
            cache_trim: false,
            file_is_tiny: false,
            force_writepage: false,
            compaction_ready: false,
        }
    }
}

/// Pages that a task scans for one request of its own before what it has got must do. With the
/// round that passes it, they are at most 192 as long as one type of page is reclaimed.
pub(crate) const ENOUGH_FOR_ONE: u32 = 4 * SWAP_CLUSTER_MAX;

/// Pages on active lists that a task scans for one request of its own, as long as the inactive
/// lists have pages. The rest of the 192 is for those that it may free.
const ENOUGH_AGED: u32 = 3 * SWAP_CLUSTER_MAX;

impl ScanProgress {
    /// Whether a task that needs a page need not scan further: something was freed, or is being
    /// written and can be freed soon, and so many pages were scanned that whoever waits for the
    /// access has waited long enough (CTRL-06).
    pub const fn is_enough_for_one(&self) -> bool {
        (self.reclaimed > 0 || self.written > 0) && self.looked_at >= ENOUGH_FOR_ONE
    }

    /// How many pages of active lists a task that needs a page may still scan, before it leaves
    /// them to kswapd and others.
    pub(crate) const fn left_to_age(&self) -> u32 {
        ENOUGH_AGED.saturating_sub(self.aged)
    }
}

impl Default for ScanProgress {
    fn default() -> Self {
        Self::new(DEF_PRIORITY)
    }
}
