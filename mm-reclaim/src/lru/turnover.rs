//! Does reclaim get anywhere, or does it turn the same few pages round (OOM-02)?
//!
//! Memory may be full of pages that cannot go, but for a few that have a slot: the
//! program's own text, the page that it just read. Each of its faults then takes one of
//! these away, and the next fault brings it back. Every single round of reclaim frees
//! something, so no request ever counts 16 rounds in vain, and nothing goes on.
//!
//! So rounds of direct reclaim, whoever's, are also looked at 16 at a time. A page that
//! comes back says by its shadow in which sixteen it went. Once the next sixteen are over,
//! too, a page of the few has long been back:
//!
//! ```text
//!   evictions  ..a b c a b c a b c.. | ..a b c a b c..  |
//!              |-- the older 16 -----|-- the newer 16 --| now
//!              all that went in here has come back: the older 16 freed nothing, net
//! ```
//!
//! That happens to a large working set, too, if it is just a little larger than memory.
//! But that one goes on, slowly. So it counts only while next to nothing could be reclaimed
//! beside: then the killer is asked, instead of a seventeenth round.
//!
//! Locks: none. Counts are relaxed; one that goes to the wrong sixteen delays the answer by
//! as many rounds at most.

use crate::base::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::lru::workingset::Shadow;
use crate::zone::MAX_ZONES;

/// Rounds that are looked at together; as many as one request makes in vain.
const ROUNDS: u32 = 16;
/// Pages that are next to nothing, when no more of a request's zones can be reclaimed: what
/// two batches of reclaim take, and more than a few programs need for an instruction each.
const FEW: u32 = 64;

/// Sixteen rounds.
struct Sixteen {
    /// The clock of each zone's lists, and all evictions, when they began.
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

/// Where the lists stand at some moment: the clock of each zone's, and all evictions.
#[derive(Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) clocks: [u32; MAX_ZONES],
    pub(crate) evictions: u64,
}

/// What the rounds of late came to.
pub(crate) struct Turnover {
    rounds: AtomicU32,
    /// The sixteens of rounds for which refaults have been looked at: while there is enough
    /// to reclaim there is no need.
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

    /// Pages that come back are to be noted.
    #[inline(always)]
    pub(crate) fn is_watching(&self) -> bool {
        self.watched.load(Ordering::Relaxed) != 0
    }

    /// A page came back that left `gone` behind; its zone's clock stands at `now`.
    #[cold]
    pub(crate) fn note_refault(&self, gone: Shadow, now: u32) {
        if self.newer.saw(gone, now) {
            self.newer.came_back.fetch_add(1, Ordering::Relaxed);
        } else if self.older.saw(gone, now) {
            self.older.came_back.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A round of direct reclaim is over. `reclaimable` pages are left in its zones, and
    /// `read` says where the lists stand.
    pub(crate) fn note_round(
        &self,
        reclaimable: impl FnOnce() -> u32,
        read: impl FnOnce() -> Reading,
    ) {
        let rounds = self.rounds.fetch_add(1, Ordering::Relaxed) + 1;
        if !rounds.is_multiple_of(ROUNDS) {
            return;
        }
        if reclaimable() > FEW {
            return self.restart();
        }
        let watched = self.watched.fetch_add(1, Ordering::Relaxed);
        let at = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let went = at(&self.newer.evictions).wrapping_sub(at(&self.older.evictions));
        let came_back = u64::from(self.older.came_back.load(Ordering::Relaxed));
        self.in_circles.store(watched > 1 && gained_nothing(went, came_back), Ordering::Relaxed);
        self.older.take_over(&self.newer);
        self.newer.begin(read());
    }

    /// Whether reclaim gets nowhere, where `reclaimable` pages are all that it could get at.
    pub(crate) fn is_in_circles(&self, reclaimable: impl FnOnce() -> u32) -> bool {
        self.in_circles.load(Ordering::Relaxed) && reclaimable() <= FEW
    }

    /// There is enough to reclaim, or something was done about it: all is counted anew.
    pub(crate) fn restart(&self) {
        self.in_circles.store(false, Ordering::Relaxed);
        self.watched.store(0, Ordering::Relaxed);
        self.rounds.store(0, Ordering::Relaxed);
    }
}

/// Of the pages that went, all have come back. That none went at all is seen by each request
/// for itself.
fn gained_nothing(went: u64, came_back: u64) -> bool {
    went > 0 && came_back >= went
}

#[cfg(test)]
mod tests;
