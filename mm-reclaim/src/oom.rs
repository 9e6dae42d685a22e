//! The out-of-memory killer: when reclaim has failed, the largest program goes.
//!
//! The victim is the live address space with the most resident pages, swap entries and
//! tables. A space that is still being forked is no candidate. While a victim is dying nobody else is killed: its memory is about to come.
//!
//! Locks: a flag lets one task at a time in; the others wait for the outcome by trying
//! their allocation again.
//!
//! Counterpart in Linux: `mm/oom_kill.c`.

use crate::aspace::{SpaceId, SpaceStat};
use crate::env::{Env, Tasks};
use crate::mm::Mm;
use crate::stat::VmEvent;
use crate::sync::Ordering;
use crate::units::Nanos;

/// How long a caller sleeps to let a victim exit.
const VICTIM_NAP: Nanos = Nanos::from_millis(1);

/// What the killer did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OomEnd {
    /// It killed the owner of this address space.
    Killed(SpaceId),
    /// A victim is dying already, or another task is at it.
    Underway,
    /// There is nobody to kill.
    Nobody,
}

impl<'m, E: Env> Mm<'m, E> {
    /// Kills the owner of the largest address space, unless one is dying already.
    pub(crate) fn out_of_memory(&self) -> OomEnd {
        // Acquire and Release: one killer sees what the one before it has done.
        if self.reclaim.oom_running.swap(true, Ordering::Acquire) {
            let _ = self.nap(VICTIM_NAP, true);
            return OomEnd::Underway;
        }
        let end = self.choose_and_kill();
        self.reclaim.oom_running.store(false, Ordering::Release);
        if end != OomEnd::Nobody {
            let _ = self.nap(VICTIM_NAP, true);
        }
        end
    }

    fn choose_and_kill(&self) -> OomEnd {
        let live = || self.spaces.iter().filter(|(_, s)| s.live.load(Ordering::Acquire));
        if live().any(|(_, s)| s.dying.load(Ordering::Relaxed)) {
            return OomEnd::Underway;
        }
        // Largest first; a space that has no task (any more) is passed over for the next.
        let mut bound = (u64::MAX, u32::MAX);
        loop {
            let ranked = live().map(|(handle, s)| (badness(s.stat()), handle));
            let Some(next) = ranked.filter(|rank| *rank < bound).max() else {
                return OomEnd::Nobody;
            };
            let victim = SpaceId(next.1 as u16);
            if self.kill_owner(victim) {
                return OomEnd::Killed(victim);
            }
            bound = next;
        }
    }

    fn kill_owner(&self, victim: SpaceId) -> bool {
        let space = self.space(victim);
        space.dying.store(true, Ordering::Relaxed);
        let killed = self.env.tasks().kill_for_memory(victim.0);
        if killed {
            self.count(VmEvent::OomKill, 1);
        } else {
            space.dying.store(false, Ordering::Relaxed);
        }
        killed
    }
}

/// What killing the owner would bring.
fn badness(stat: SpaceStat) -> u64 {
    u64::from(stat.resident) + u64::from(stat.swapped) + u64::from(stat.table_frames)
}
