//! Page reclaim: choosing pages that are not in use and freeing them.
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
//!                shrink_page_list <----+     (the ladder: the fate of each page)
//! ```
//!
//! A page is isolated into a token ([`crate::page::IsolatedPage`]), goes through the ladder to a
//! verdict, and is then freed or put back on the list that its flags name. Reclaim hands frozen
//! pages to their zone and never allocates.
//!
//! Policy ([`balance`], [`references`]) is pure and knows no environment; the rest is
//! mechanism. Counterpart in Linux: `mm/vmscan.c`.

mod active;
pub mod balance;
mod direct;
mod inactive;
mod kswapd;
mod ladder;
mod lruvec;
mod page_list;
mod pageout;
mod probe;
pub mod references;
mod scan;
mod scan_control;
mod shrink_math;
mod shrinker;
mod stored;
mod throttle;
pub(crate) mod verdict;
mod zone;

pub(crate) use direct::Tried;
pub(crate) use kswapd::MAX_RECLAIM_RETRIES;
use scan::Scan;
pub(crate) use scan_control::ENOUGH_FOR_ONE;
pub use scan_control::{BatchStat, May, ReclaimKind, ScanProgress, ScanRequest, Target};
use shrinker::Shrinkers;
pub use shrinker::{MOST_SHRINKERS, TooManyShrinkers};
pub use verdict::{ActivateReason, CullReason, FreeReason, KeepReason, Reason, VerdictCounters};
pub(crate) use verdict::{Stage, Verdict};

use crate::base::stat::VmEvents;
use crate::base::sync::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use crate::base::wait::CallWord;
use crate::block::writeback::Writeback;
use crate::env::Env;
use crate::file::Files;
use crate::lru::Lru;
use crate::lru::turnover::Turnover;
use crate::page::memmap::MemMap;
use crate::rmap::Rmap;
use crate::swap::Swap;
use crate::zone::Zones;

/// Pages that reclaim handles at a time.
pub const SWAP_CLUSTER_MAX: u32 = 32;
/// The priority at which reclaim begins: a list's scan is its size shifted by it.
pub const DEF_PRIORITY: u8 = 12;

/// Reclaim, with the state that its drivers share.
pub(crate) struct Reclaim<'m, E: Env> {
    env: E,
    map: MemMap<'m>,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    writeback: &'m Writeback<E>,
    files: &'m Files<'m, E>,
    swap: &'m Swap<'m, E>,
    rmap: &'m Rmap<'m, E>,
    turnover: &'m Turnover,
    events: &'m VmEvents<E::Cpu>,
    /// The count of each reason.
    verdicts: VerdictCounters<E::Cpu>,
    /// What kswapd was woken for, in one word; 0 if it was not.
    kswapd_call: CallWord,
    /// kswapd is working on its call.
    kswapd_works: AtomicBool,
    /// kswapd has given way, and goes on at the next call.
    kswapd_pauses: AtomicBool,
    /// Pages that it has looked at since it gave way. Its own.
    kswapd_looked_at: AtomicU32,
    /// The most pages that a task has looked at for one request of its own.
    most_looked_at: AtomicU32,
    /// Fruitless rounds in a row.
    kswapd_failures: AtomicU32,
    /// Reclaimers that wait for others to put isolated pages back.
    isolation_stalled: AtomicU32,
    /// The reference rule of Linux 4.x: any referenced anonymous page is activated.
    activate_anon: AtomicBool,
    laptop_mode: AtomicBool,
    swappiness: AtomicU8,
    shrinkers: Shrinkers<'m>,
}

impl<'m, E: Env> Reclaim<'m, E> {
    pub(crate) fn new(
        lru: &'m Lru<'m, E>,
        writeback: &'m Writeback<E>,
        files: &'m Files<'m, E>,
        swap: &'m Swap<'m, E>,
        rmap: &'m Rmap<'m, E>,
        turnover: &'m Turnover,
    ) -> Self {
        let zones = lru.zones;
        Self {
            env: zones.env,
            map: zones.map,
            zones,
            lru,
            writeback,
            files,
            swap,
            rmap,
            turnover,
            events: lru.events,
            verdicts: VerdictCounters::new(),
            kswapd_call: CallWord::new(),
            kswapd_works: AtomicBool::new(false),
            kswapd_pauses: AtomicBool::new(false),
            kswapd_looked_at: AtomicU32::new(0),
            most_looked_at: AtomicU32::new(0),
            kswapd_failures: AtomicU32::new(0),
            isolation_stalled: AtomicU32::new(0),
            activate_anon: AtomicBool::new(false),
            laptop_mode: AtomicBool::new(false),
            swappiness: AtomicU8::new(0),
            shrinkers: Shrinkers::new(),
        }
    }

    /// Whether reclaim spares the device: it writes nothing until it is in trouble (below priority
    /// 10), so that a disk may stay spun down.
    pub(crate) fn laptop_mode(&self) -> bool {
        self.laptop_mode.load(Ordering::Relaxed)
    }

    /// Sets [`Reclaim::laptop_mode`].
    pub(crate) fn set_laptop_mode(&self, on: bool) {
        self.laptop_mode.store(on, Ordering::Relaxed);
    }

    /// How strongly reclaim prefers swapping, 0 to 200.
    pub(crate) fn swappiness(&self) -> u8 {
        self.swappiness.load(Ordering::Relaxed)
    }

    /// Sets [`Reclaim::swappiness`]; more than 200 counts as 200.
    pub(crate) fn set_swappiness(&self, value: u8) {
        self.swappiness.store(value.min(200), Ordering::Relaxed);
    }
}
