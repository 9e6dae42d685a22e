//! The out-of-memory killer: when reclaim has failed, the largest program is killed (OOM-01).
//!
//! The victim is the live address space with the most resident pages, swap entries and
//! tables, shifted by its `oom_score_adj`: a thousandth of all memory and swap for each
//! point, and -1000 exempts. A space that is still being forked is no candidate. While a victim is
//! dying no other is killed: its memory is about to be freed. Once the reaper has emptied a victim,
//! the next may be chosen.
//!
//! ```text
//!   live --kill--> dying, victim --reaper--> reaped --exit--> gone
//!     \---exit---> dying ---------------------------exit----> gone
//! ```
//!
//! Locks: a flag admits one task at a time; the others wait for the outcome by retrying their
//! allocation. The victim's page-table lock, while it is marked and killed.
//!
//! Counterpart in Linux: `mm/oom_kill.c`.

mod reaper;
mod report;

use crate::base::stat::VmEvent;
use crate::base::stat::VmEvents;
use crate::base::sync::{AtomicBool, Ordering};
use crate::base::units::{Nanos, Order};
use crate::base::wait::{REAPER_WAIT, nap};
use crate::env::{Env, Tasks};
use crate::lru::Lru;
use crate::rmap::Rmap;
use crate::space::{SpaceError, SpaceId, SpaceStat, Spaces};
use crate::swap::Swap;
use crate::zone::Zones;
use crate::zone::gfp::Gfp;

/// How long a caller sleeps to let a victim exit.
const VICTIM_NAP: Nanos = Nanos::from_millis(1);
/// The `oom_score_adj` that exempts from being killed.
pub const OOM_SCORE_ADJ_MIN: i16 = -1000;
/// The `oom_score_adj` that makes a space the first victim.
pub const OOM_SCORE_ADJ_MAX: i16 = 1000;

/// What the killer did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OomEnd {
    /// It killed the owner of this address space.
    Killed(SpaceId),
    /// A victim is dying already, or another task is in the killer.
    Underway,
    /// There is no candidate.
    Nobody,
    /// No kill is needed: there is memory after all.
    NotNeeded,
}

/// Why an `oom_score_adj` was not set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadOomScore {
    /// It is outside -1000 to 1000.
    OutOfRange(i16),
    /// There is no such address space.
    NoSuchSpace,
}

/// The allocation that failed.
#[derive(Clone, Copy)]
struct Shortage {
    gfp: Gfp,
    order: Order,
}

/// The killer and the reaper.
pub(crate) struct Oom<'m, E: Env> {
    env: E,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    swap: &'m Swap<'m, E>,
    spaces: &'m Spaces<'m, E>,
    rmap: &'m Rmap<'m, E>,
    events: &'m VmEvents<E::Cpu>,
    /// A task is inside the killer.
    running: AtomicBool,
}

impl<'m, E: Env> Oom<'m, E> {
    pub(crate) fn new(
        lru: &'m Lru<'m, E>,
        swap: &'m Swap<'m, E>,
        spaces: &'m Spaces<'m, E>,
        rmap: &'m Rmap<'m, E>,
    ) -> Self {
        let zones = lru.zones;
        let (env, events) = (zones.env, lru.events);
        Self { env, zones, lru, swap, spaces, rmap, events, running: AtomicBool::new(false) }
    }

    /// Kills the owner of the worst address space, unless one is dying already or a last check
    /// finds a block that the request may have.
    pub(crate) fn out_of_memory(&self, gfp: Gfp, order: Order) -> OomEnd {
        // Acquire and Release: one killer sees what the previous one did.
        if self.running.swap(true, Ordering::Acquire) {
            let _ = nap(self.env.tasks(), VICTIM_NAP, true);
            return OomEnd::Underway;
        }
        let end = match self.zones.is_block_usable(gfp, order) {
            true => OomEnd::NotNeeded,
            false => self.choose_and_kill(Shortage { gfp, order }),
        };
        self.running.store(false, Ordering::Release);
        if matches!(end, OomEnd::Killed(_) | OomEnd::Underway) {
            let _ = nap(self.env.tasks(), VICTIM_NAP, true);
        }
        end
    }

    fn choose_and_kill(&self, shortage: Shortage) -> OomEnd {
        if self.is_victim_dying() {
            return OomEnd::Underway;
        }
        // Worst first; a space that has no task (any more) is skipped.
        let mut bound = (i64::MAX, SpaceId::from_bits(u64::MAX));
        loop {
            let ranked = self.oom_candidates().map(|(id, badness)| (badness, id));
            let Some(next) = ranked.filter(|rank| *rank < bound).max() else {
                return OomEnd::Nobody;
            };
            let victim = next.1;
            if self.kill_owner(victim) {
                self.env.tasks().show_oom_report(&self.oom_report(shortage, victim));
                return OomEnd::Killed(victim);
            }
            bound = next;
        }
    }

    /// Whether a victim is exiting whose memory is still to be freed.
    fn is_victim_dying(&self) -> bool {
        let mut live = self.spaces.iter().filter(|held| held.space.live.load(Ordering::Acquire));
        live.any(|held| {
            held.space.dying.load(Ordering::Relaxed) && !held.space.reaped.load(Ordering::Relaxed)
        })
    }

    /// The spaces whose owner may be killed, each with its badness.
    fn oom_candidates(&self) -> impl Iterator<Item = (SpaceId, i64)> {
        let total = self.zones.total_managed() + self.swap.pages().0;
        self.spaces.iter().filter_map(move |held| {
            let space = held.space;
            let is_out =
                !space.live.load(Ordering::Acquire) || space.reaped.load(Ordering::Relaxed);
            let adj = space.oom_score_adj.load(Ordering::Relaxed).cast_signed();
            let badness = oom_badness(space.stat(), adj, total)?;
            (!is_out).then_some((held.id, badness))
        })
    }

    /// Kills the owner of a space, if it has one. The page-table lock keeps the space from being
    /// destroyed and reused concurrently, since the new owner would be reaped instead.
    fn kill_owner(&self, victim: SpaceId) -> bool {
        let Some(held) = self.spaces.hold(victim) else { return false };
        let space = held.space;
        let tables = space.tables.lock();
        let killed = tables.is_some()
            && held.is_current()
            && space.live.load(Ordering::Acquire)
            && self.env.tasks().kill_for_memory(victim);
        if killed {
            space.dying.store(true, Ordering::Relaxed);
            space.victim.store(true, Ordering::Release);
        }
        drop(tables);
        if killed {
            self.events.count(VmEvent::OomKill, 1);
            self.env.tasks().wake(REAPER_WAIT);
        }
        killed
    }

    /// How much the killer prefers or spares a space: -1000 (never) to 1000 (first).
    ///
    /// # Errors
    /// If there is no such space.
    pub fn oom_score_adj(&self, id: SpaceId) -> Result<i16, SpaceError> {
        Ok(self.spaces.find(id)?.oom_score_adj.load(Ordering::Relaxed).cast_signed())
    }

    /// Sets [`Oom::oom_score_adj`]; a fork inherits it.
    ///
    /// # Errors
    /// If it is below -1000 or above 1000, or if there is no such space.
    pub fn set_oom_score_adj(&self, id: SpaceId, adj: i16) -> Result<(), BadOomScore> {
        let space = self.spaces.find(id).map_err(|_| BadOomScore::NoSuchSpace)?;
        if !(OOM_SCORE_ADJ_MIN..=OOM_SCORE_ADJ_MAX).contains(&adj) {
            return Err(BadOomScore::OutOfRange(adj));
        }
        space.oom_score_adj.store(adj.cast_unsigned(), Ordering::Relaxed);
        Ok(())
    }
}

/// What killing the owner would free, of `total` pages of memory and swap; `None` for one that is
/// exempt (`oom_badness`).
fn oom_badness(stat: SpaceStat, adj: i16, total: u32) -> Option<i64> {
    let pages = i64::from(stat.resident) + i64::from(stat.swapped) + i64::from(stat.table_frames);
    (adj != OOM_SCORE_ADJ_MIN).then(|| pages + i64::from(adj) * i64::from(total) / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::plan::Config;
    use crate::tests::{frames, with_mm};

    /// OOM-02: a last check comes before a kill, at the true MIN and including the per-CPU lists; a
    /// missing costly block causes no kill.
    #[test]
    fn nobody_is_killed_while_a_block_is_to_be_had() {
        with_mm(&[frames(0, 4096)], Config::default(), |mm| {
            let ask = || mm.oom.out_of_memory(Gfp::KERNEL, Order::ZERO);
            assert_eq!(ask(), OomEnd::NotNeeded);
            let mut taken = Vec::new();
            while let Some(pfn) = mm.alloc_pages(Gfp::NOWAIT, Order::ZERO) {
                taken.push(pfn);
            }
            let end = ask();
            let at_hand = mm.alloc_pages(Gfp::NOWAIT, Order::ZERO).is_some();
            assert_eq!(end == OomEnd::NotNeeded, at_hand, "{end:?}");
            while mm.alloc_pages(Gfp::NOWAIT, Order::ZERO).is_some() {}
            assert_eq!(mm.oom.out_of_memory(Gfp::KERNEL, Order::MAX), OomEnd::Nobody);
            taken.drain(..40).for_each(|pfn| mm.free_pages(pfn, Order::ZERO));
            assert_eq!(ask(), OomEnd::NotNeeded, "given back to the CPU's lists");
        });
    }

    /// OOM-01: resident pages, swap and tables count alike; a point of `oom_score_adj` is a
    /// thousandth of all memory; -1000 exempts.
    #[test]
    fn badness_is_size_shifted_by_the_adjustment() {
        let stat = |resident, swapped, table_frames| SpaceStat {
            resident,
            swapped,
            table_frames,
            ..SpaceStat::default()
        };
        let table = [
            (stat(0, 0, 0), 0, Some(0)),
            (stat(100, 20, 3), 0, Some(123)),
            (stat(100, 20, 3), 10, Some(123 + 500)),
            (stat(100, 20, 3), -10, Some(123 - 500)),
            (stat(100, 20, 3), 1000, Some(123 + 50_000)),
            (stat(100, 20, 3), -999, Some(123 - 49_950)),
            (stat(50_000, 0, 0), -1000, None),
        ];
        for (stat, adj, want) in table {
            assert_eq!(oom_badness(stat, adj, 50_000), want, "{stat:?} {adj}");
        }
    }
}
