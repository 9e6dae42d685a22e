//! Counters of events, with Linux's names.
//!
//! Each CPU bumps its own row; reading folds the rows. Gauges (list sizes, free pages,
//! isolated pages) live with what they count. A hot loop counts in a local variable and adds once
//! per batch.

use core::marker::PhantomData;

use crate::base::sync::{AtomicU64, Ordering};
use crate::env::{Cpu, MAX_CPUS};

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum VmEvent {
            $($(#[$doc])* $name,)*
        }

        impl VmEvent {
            /// Every event.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name under which `/proc/vmstat` shows the event.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

events! {
    /// Faults of any kind.
    PgFault = "pgfault",
    /// Faults that waited for a swap-in.
    PgMajFault = "pgmajfault",
    /// Pages allocated.
    PgAlloc = "pgalloc",
    /// Pages freed.
    PgFree = "pgfree",
    /// Base pages moved to an active list.
    PgActivate = "pgactivate",
    /// Base pages moved from an active list to an inactive one.
    PgDeactivate = "pgdeactivate",
    /// Pages of active lists that were scanned.
    PgRefill = "pgrefill",
    /// Of these, the base pages that had been used since the previous scan.
    NrRotated = "nr_rotated",
    /// Inactive pages scanned by kswapd.
    PgScanKswapd = "pgscan_kswapd",
    /// Inactive pages scanned by direct reclaim.
    PgScanDirect = "pgscan_direct",
    /// Inactive pages scanned on request of a program (`MADV_PAGEOUT`).
    PgScanProactive = "pgscan_proactive",
    /// Inactive anonymous pages scanned.
    PgScanAnon = "pgscan_anon",
    /// Inactive file pages scanned.
    PgScanFile = "pgscan_file",
    /// Pages freed by kswapd.
    PgStealKswapd = "pgsteal_kswapd",
    /// Pages freed by direct reclaim.
    PgStealDirect = "pgsteal_direct",
    /// Pages freed on request of a program.
    PgStealProactive = "pgsteal_proactive",
    /// Anonymous pages freed by reclaim.
    PgStealAnon = "pgsteal_anon",
    /// File pages freed by reclaim.
    PgStealFile = "pgsteal_file",
    /// Times that direct reclaim slept because the reserves were low.
    PgScanDirectThrottle = "pgscan_direct_throttle",
    /// Direct reclaims, by class zone.
    AllocStallDma = "allocstall_dma",
    /// Direct reclaims, by class zone.
    AllocStallDma32 = "allocstall_dma32",
    /// Direct reclaims, by class zone.
    AllocStallNormal = "allocstall_normal",
    /// Microseconds of the attempts of direct reclaim, without the time that its callers were
    /// throttled.
    ReclaimDelay = "direct_reclaim_us",
    /// The most pages that a task scanned for one request of its own. A maximum, not a sum.
    PgScanDirectMost = "pgscan_direct_most",
    /// Times that kswapd started to balance the node.
    PageOutRun = "pageoutrun",
    /// Pages whose write-back ended and that became the next victims.
    PgRotated = "pgrotated",
    /// Pages of files that a reader found in the cache.
    FileCacheHit = "file_cache_hit",
    /// Pages of files that it did not.
    FileCacheMiss = "file_cache_miss",
    /// Pages of files read ahead of their use.
    FileRa = "file_ra",
    /// Resident pages of files that a fault mapped beside the one it was for.
    FaultAround = "fault_around",
    /// Pages of files that were dirtied.
    NrDirtied = "nr_dirtied",
    /// Pages of files that were written back.
    NrWritten = "nr_written",
    /// Pages read from swap.
    PswpIn = "pswpin",
    /// Pages written to swap.
    PswpOut = "pswpout",
    /// Pages read from swap ahead of a fault.
    SwapRa = "swap_ra",
    /// Pages read ahead that a fault then used.
    SwapRaHit = "swap_ra_hit",
    /// Pages read ahead that left the cache before any fault used them.
    SwapRaMiss = "swap_ra_miss",
    /// Pages of a locked area put on the unevictable list.
    UnevictablePgsCulled = "unevictable_pgs_culled",
    /// Pages mlocked.
    UnevictablePgsMlocked = "unevictable_pgs_mlocked",
    /// Pages munlocked.
    UnevictablePgsMunlocked = "unevictable_pgs_munlocked",
    /// Pages that came back from the unevictable list.
    UnevictablePgsRescued = "unevictable_pgs_rescued",
    /// Dirty file pages that reclaim only marked.
    NrVmscanImmediateReclaim = "nr_vmscan_immediate_reclaim",
    /// Pages that reclaim submitted for writing.
    NrVmscanWrite = "nr_vmscan_write",
    /// Anonymous refaults with a shadow.
    WorkingsetRefaultAnon = "workingset_refault_anon",
    /// File refaults with a shadow.
    WorkingsetRefaultFile = "workingset_refault_file",
    /// Anonymous refaults that were activated at once.
    WorkingsetActivateAnon = "workingset_activate_anon",
    /// File refaults that were activated at once.
    WorkingsetActivateFile = "workingset_activate_file",
    /// Refaults of anonymous pages that were active before.
    WorkingsetRestoreAnon = "workingset_restore_anon",
    /// Refaults of file pages that were active before.
    WorkingsetRestoreFile = "workingset_restore_file",
    /// Pages that programs freed lazily.
    PgLazyFree = "pglazyfree",
    /// Lazily freed pages that reclaim freed.
    PgLazyFreed = "pglazyfreed",
    /// Programs killed because memory ran out.
    OomKill = "oom_kill",
    /// Resident pages that the reaper took from victims.
    OomReaped = "oom_reaped",
    /// Swap writes that failed.
    SwapWriteError = "swap_write_error",
    /// Swap reads that failed.
    SwapReadError = "swap_read_error",
    /// Accesses that failed because their page could not be read.
    SwapBusError = "swap_bus_error",
    /// Pages copied at a write to a shared page.
    CowCopy = "cow_copy",
    /// Shared pages that a write could reuse.
    CowReuse = "cow_reuse",
}

/// One CPU's counters, on cache lines of their own.
#[repr(align(64))]
struct Row<const N: usize>([AtomicU64; N]);

/// A table of counters, a row for each CPU.
pub struct Counters<C, const N: usize> {
    rows: [Row<N>; MAX_CPUS],
    cpu: PhantomData<fn() -> C>,
}

impl<C: Cpu, const N: usize> Counters<C, N> {
    pub(crate) const fn new() -> Self {
        let rows = [const { Row([const { AtomicU64::new(0) }; N]) }; MAX_CPUS];
        Self { rows, cpu: PhantomData }
    }

    /// Adds `n` to counter `which`.
    ///
    /// The caller may be preempted and moved between the choice of the row and the addition; the
    /// row is then another CPU's, which is why the addition is atomic.
    #[inline(always)]
    pub(crate) fn add(&self, which: usize, n: u64) {
        self.rows[C::current() % MAX_CPUS].0[which].fetch_add(n, Ordering::Relaxed);
    }

    /// The sum over all CPUs.
    pub fn read(&self, which: usize) -> u64 {
        self.rows.iter().map(|row| row.0[which].load(Ordering::Relaxed)).sum()
    }
}

/// The event counters of a machine.
pub type VmEvents<C> = Counters<C, { VmEvent::ALL.len() }>;

impl<C: Cpu> VmEvents<C> {
    /// `event` happened `n` times.
    #[inline(always)]
    pub(crate) fn count(&self, event: VmEvent, n: u64) {
        self.add(event as usize, n);
    }
}
