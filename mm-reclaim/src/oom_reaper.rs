//! The reaper: takes a victim's memory at once, whatever its task is waiting for (OOM-01).
//!
//! A task that was killed frees its memory when it exits, and it may be long until it gets
//! there. The reaper takes the victim's areas away under its area lock, just as the exit
//! would; what the victim still touches after that ends in [`FaultEnd::Killed`], and the
//! exit finds nothing left to do.
//!
//! Locks: the victim's area lock. Whoever holds it was killed, so that its waits end; no
//! holder waits for the reaper.
//!
//! Counterpart in Linux: `oom_reaper`. Linux leaves the areas and marks the space unstable;
//! here a touch of what is gone finds no area, which costs the ordinary fault nothing.
//!
//! [`FaultEnd::Killed`]: crate::fault::FaultEnd::Killed

use crate::aspace::SpaceId;
use crate::env::{Env, Tasks, WaitMode};
use crate::mm::{Mm, REAPER_WAIT};
use crate::stat::VmEvent;
use crate::sync::Ordering;

impl<E: Env> Mm<'_, E> {
    /// The body of the reaper task; its [`crate::env::TaskFlags`] is `KERNEL`. A kernel may
    /// do without: victims' memory then comes when they exit.
    pub fn oom_reaper(&self) -> ! {
        loop {
            let mut next = None;
            let _end = self.env.tasks().wait_until(REAPER_WAIT, WaitMode::UNTIL_READY, &mut || {
                next = self.next_victim();
                next.is_some()
            });
            if let Some(victim) = next {
                self.reap(victim);
            }
        }
    }

    fn next_victim(&self) -> Option<SpaceId> {
        // Acquire pairs with the killer's Release.
        let mut spaces = self.spaces.iter();
        spaces.find(|(_, s)| s.victim.load(Ordering::Acquire)).map(|(h, _)| SpaceId(h as u16))
    }

    fn reap(&self, victim: SpaceId) {
        let space = self.space(victim);
        let mut areas = space.areas.lock(self.env.tasks());
        // Under the area lock: it may have exited meanwhile, and another use its place.
        if space.victim.swap(false, Ordering::Relaxed) {
            let before = space.stat();
            self.unmap_all(victim, &mut areas);
            self.count(VmEvent::OomReaped, u64::from(before.resident));
            space.reaped.store(true, Ordering::Relaxed);
        }
    }
}
