//! Does reclaim make progress, or does it evict the same few pages again and again (OOM-02)?
//!
//! Memory may be full of pages that cannot be evicted, except for a few that have a slot: the
//! program's own text, the page that it just read. Each fault then evicts one of these, and the
//! next fault brings it back. Every single round of reclaim frees something, so no request ever
//! counts 16 rounds without progress, and the program does not advance.
//!
//! So the rounds of direct reclaim of all tasks are also examined 16 at a time. The shadow of a
//! page that comes back says in which sixteen it was evicted. By the end of the next sixteen, a
//! page of the few has long been read back:
//!
//! ```text
//!   evictions  ..a b c a b c a b c.. | ..a b c a b c..  |
//!              |-- the older 16 -----|-- the newer 16 --| now
//!              all that went in here has come back: the older 16 freed nothing, net
//! ```
//!
//! That also happens to a large working set that is only a little larger than memory, but its
//! program does advance, slowly. So it counts only while next to nothing else could be reclaimed,
//! after each of the rounds: then the killer is invoked, instead of a seventeenth round.
//!
//! Locks: none. Counts are relaxed; one that lands in the wrong sixteen delays the answer by as
//! many rounds at most.

use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::lru::workingset::Shadow;
use crate::zone::MAX_ZONES;

/// Rounds that are examined together; as many as one request makes without progress.
const ROUNDS: u32 = 16;
/// If a request's zones have no more reclaimable pages than this, it is next to nothing: two
/// batches of reclaim, and more than a few programs need for an instruction each.
const FEW: u32 = 64;

/// Sixteen rounds.
struct Sixteen {
    /// The clock of each zone's lists, and the total evictions, when they began.
    clocks: [AtomicU32; MAX_ZONES],
    evictions: AtomicU64,
    /// Pages evicted since then that have come back.
    came_back: AtomicU32,
}

impl Sixteen {
    const fn new() -> Self {
        Self {
            clocks: [const { AtomicU32::new(0) }; MAX_ZONES],
            evictions: AtomicU64::new(0),
            came_back: AtomicU32::new(0),
        }
    }

    /// Whether a page was evicted after these rounds had begun.
    fn saw(&self, gone: Shadow, now: u32) -> bool {
        let began = self.clocks[usize::from(gone.zone) % MAX_ZONES].load(Ordering::Relaxed);
        let length = Shadow { clock: began, ..gone }.distance(now);
        gone.distance(now) <= length
    }

    fn begin(&self, at: Reading) {
        for (clock, now) in self.clocks.iter().zip(at.clocks) {
            clock.store(now, Ordering::Relaxed);
        }
        self.evictions.store(at.evictions, Ordering::Relaxed);
        self.came_back.store(0, Ordering::Relaxed);
    }

    fn take_over(&self, other: &Self) {
        let at = |n: &AtomicU32| n.load(Ordering::Relaxed);
        for (to, from) in self.clocks.iter().zip(&other.clocks) {
            to.store(at(from), Ordering::Relaxed);
        }
        self.evictions.store(other.evictions.load(Ordering::Relaxed), Ordering::Relaxed);
        self.came_back.store(at(&other.came_back), Ordering::Relaxed);
    }
}

/// A snapshot of the clock of each zone's lists and of the total evictions.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) clocks: [u32; MAX_ZONES],
    pub(crate) evictions: u64,
}

/// The result of the recent rounds.
pub(crate) struct Turnover {
    rounds: AtomicU32,
    /// The sixteens of rounds for which refaults have been watched: while there is enough to
    /// reclaim there is no need.
    watched: AtomicU32,
    older: Sixteen,
    newer: Sixteen,
    in_circles: AtomicBool,
}

impl Turnover {
    pub(crate) const fn new() -> Self {
        Self {
            rounds: AtomicU32::new(0),
            watched: AtomicU32::new(0),
            older: Sixteen::new(),
            newer: Sixteen::new(),
            in_circles: AtomicBool::new(false),
        }
    }

    /// Whether refaults are to be noted.
    #[inline(always)]
    pub(crate) fn is_watching(&self) -> bool {
        self.watched.load(Ordering::Relaxed) != 0
    }

    /// A page with the shadow `gone` was refaulted; its zone's clock is `now`.
    #[cold]
    pub(crate) fn note_refault(&self, gone: Shadow, now: u32) {
        if self.newer.saw(gone, now) {
            self.newer.came_back.fetch_add(1, Ordering::Relaxed);
        } else if self.older.saw(gone, now) {
            self.older.came_back.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A round of direct reclaim is over. `reclaimable` pages are left in its zones, and `read`
    /// takes the snapshot.
    pub(crate) fn note_round(
        &self,
        reclaimable: impl FnOnce() -> u32,
        read: impl FnOnce() -> Reading,
    ) {
        // After each round, and not only after sixteen: what one round or kswapd has just evicted is
        // missing here, and may be most of what is turned round.
        if reclaimable() > FEW {
            return self.restart();
        }
        let rounds = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        if !rounds.is_multiple_of(ROUNDS) {
            return;
        }
        let watched = self.watched.fetch_add(1, Ordering::Relaxed);
        let at = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let went = at(&self.newer.evictions).wrapping_sub(at(&self.older.evictions));
        let came_back = u64::from(self.older.came_back.load(Ordering::Relaxed));
        self.in_circles.store(watched > 1 && gained_nothing(went, came_back), Ordering::Relaxed);
        self.older.take_over(&self.newer);
        self.newer.begin(read());
    }

    /// Whether reclaim makes no progress, where `reclaimable` is the number of pages that it could
    /// reclaim.
    pub(crate) fn is_in_circles(&self, reclaimable: impl FnOnce() -> u32) -> bool {
        self.in_circles.load(Ordering::Relaxed) && reclaimable() <= FEW
    }

    /// Restarts all counts: there is enough to reclaim, or memory was freed otherwise.
    pub(crate) fn restart(&self) {
        self.in_circles.store(false, Ordering::Relaxed);
        self.watched.store(0, Ordering::Relaxed);
        self.rounds.store(0, Ordering::Relaxed);
    }
}

/// All evicted pages have come back. Each request notices by itself if none were evicted at all.
fn gained_nothing(went: u64, came_back: u64) -> bool {
    went > 0 && came_back >= went
}

#[cfg(test)]
mod tests;
