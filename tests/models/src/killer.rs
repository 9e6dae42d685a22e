//! The killer's half of the world: which task may be killed, and a disk that waits for the reaper.
//!
//! The reaper gives up on a victim whose areas stay locked for a second. Here that is a fault on a
//! disk that answers only after a number of naps of the reaper.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use mm_reclaim::env::{Tasks, WaitKey, WaitMode};
use mm_reclaim::space::SpaceId;

use crate::disk::WORK;
use crate::task::is_reaper;
use crate::world::World;

/// What waits for a kill.
const KILLED: WaitKey = WaitKey(0x6b11);
/// What waits for the reaper to sleep.
const REAPED: WaitKey = WaitKey(0x6b12);

/// Which task may be killed and what the reaper does.
#[derive(Default)]
pub(crate) struct Killer {
    /// The space whose owner may be killed; 0 is none.
    mortal: AtomicU64,
    killed: AtomicBool,
    /// The disk answers after this many naps.
    naps: AtomicU32,
    reaper_sleeps: AtomicBool,
}

impl World {
    /// Lets the OOM killer kill the owner of `space`. The disk answers after `naps` naps.
    pub(crate) fn let_die(&self, space: SpaceId, naps: u32) {
        self.killer.mortal.store(space.bits(), Relaxed);
        self.killer.naps.store(naps, Relaxed);
    }

    /// See [`Tasks::kill_for_memory`].
    pub(crate) fn kill(&self, space: SpaceId) -> bool {
        let killer = &self.killer;
        if killer.mortal.compare_exchange(space.bits(), 0, Relaxed, Relaxed).is_err() {
            return false;
        }
        killer.killed.store(true, Relaxed);
        self.wake(KILLED);
        true
    }

    /// Whether a task was killed.
    pub(crate) fn was_killed(&self) -> bool {
        self.killer.killed.load(Relaxed)
    }

    /// Waits until a task was killed.
    pub(crate) fn wait_for_kill(&self) {
        let _end = self.wait_until(KILLED, WaitMode::UNTIL_READY, &mut || self.was_killed());
    }

    /// Waits until the reaper has nothing to do.
    pub(crate) fn wait_for_reaper(&self) {
        let sleeps = || self.killer.reaper_sleeps.load(Relaxed);
        let _end = self.wait_until(REAPED, WaitMode::UNTIL_READY, &mut || sleeps());
    }

    /// Whether the disk may continue.
    pub(crate) fn disk_answers(&self) -> bool {
        self.killer.naps.load(Relaxed) == 0
    }

    /// The calling task sleeps until it is woken: its condition was false.
    pub(crate) fn note_sleep(&self, key: WaitKey) {
        if key != WORK && is_reaper() && !self.killer.reaper_sleeps.swap(true, Relaxed) {
            self.wake(REAPED);
        }
    }

    /// The calling task is the reaper, and will nap for long: not every nap needs a switch.
    pub(crate) fn naps_much(&self) -> bool {
        is_reaper() && self.killer.naps.load(Relaxed) > 1
    }

    /// The calling task's nap is over.
    pub(crate) fn note_nap(&self) {
        let killer = &self.killer;
        if !is_reaper() {
            return;
        }
        killer.reaper_sleeps.store(false, Relaxed);
        let left = killer.naps.load(Relaxed).saturating_sub(1);
        if killer.naps.swap(left, Relaxed) == 1 {
            self.wake(WORK);
        }
    }
}
