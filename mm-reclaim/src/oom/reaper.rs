//! The reaper: frees a victim's memory at once, whatever its task is waiting for (OOM-01).
//!
//! A killed task frees its memory when it exits, which may take long. The reaper removes the
//! victim's areas under its area lock, as the exit would; an access of the victim after that ends
//! in [`FaultEnd::Killed`], and the exit finds nothing left to do.
//!
//! Locks: the victim's area lock, if it is free. Its holder may wait for the memory of
//! another victim, so the reaper never waits for it: it tries again a little later, and after a
//! second leaves that victim to its exit and lets the killer choose the next.
//!
//! Counterpart in Linux: `oom_reaper`. Linux leaves the areas and marks the space unstable;
//! here an access to removed memory finds no area, which costs an ordinary fault nothing.
//!
//! [`FaultEnd::Killed`]: crate::fault::FaultEnd::Killed

use super::Oom;
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::base::units::Nanos;
use crate::base::wait::REAPER_WAIT;
use crate::env::{Env, Tasks, WaitMode};
use crate::space::HeldSpace;

/// The time between two attempts at a victim whose area lock is held.
const LOOK: Nanos = Nanos::from_millis(1);
/// Attempts after which a victim is given up.
const MOST_LOOKS: u32 = 1000;

impl<'m, E: Env> Oom<'m, E> {
    /// The body of the reaper task; its [`crate::env::TaskFlags`] is `KERNEL`. A kernel may do
    /// without it: victims' memory is then freed when they exit.
    pub(crate) fn reaper(&self) -> ! {
        // Consecutive attempts that found a lock held.
        let mut looks = 0;
        loop {
            let mode = WaitMode { timeout: (looks > 0).then_some(LOOK), killable: false };
            let _end = self.env.tasks().wait_until(REAPER_WAIT, mode, &mut || {
                looks == 0 && self.victims().next().is_some()
            });
            let may_give_up = looks >= MOST_LOOKS;
            let mut all_done = true;
            for victim in self.victims() {
                all_done &= self.reap(&victim, may_give_up);
            }
            looks = if all_done { 0 } else { looks + 1 };
        }
    }

    fn victims(&self) -> impl Iterator<Item = HeldSpace<'_, 'm, E>> {
        // Acquire pairs with the killer's Release.
        self.spaces.iter().filter(|held| held.space.victim.load(Ordering::Acquire))
    }

    /// Empties a victim; false if its areas are in use, unless the victim is given up.
    fn reap(&self, victim: &HeldSpace<'_, 'm, E>, may_give_up: bool) -> bool {
        let space = victim.space;
        let Some(mut areas) = space.areas.try_lock(self.env.tasks()) else {
            if may_give_up && space.victim.swap(false, Ordering::Relaxed) {
                self.mark_reaped(victim);
            }
            return may_give_up;
        };
        // Under the area lock: it may have exited in the meantime, and another space reuse its
        // place.
        if space.victim.swap(false, Ordering::Relaxed) {
            let before = space.stat();
            self.rmap.unmap_all(space, &mut areas);
            self.events.count(VmEvent::OomReaped, u64::from(before.resident));
            self.mark_reaped(victim);
        }
        true
    }

    /// Marks a victim as emptied. The page-table lock, as in the killer, keeps its place from being
    /// reused by a new space, whose owner was not killed.
    fn mark_reaped(&self, victim: &HeldSpace<'_, 'm, E>) {
        let space = victim.space;
        let tables = space.tables.lock();
        let dying = space.dying.load(Ordering::Relaxed);
        if tables.is_some() && victim.is_current() && dying {
            space.reaped.store(true, Ordering::Relaxed);
        }
    }
}
