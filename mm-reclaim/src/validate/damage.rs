//! Damage behind everybody's back, so that tests see [`Mm::validate`] find it.
//!
//! What a page, a list or a zone alone can damage is offered there (`corrupt_…`); here is
//! what only the owner of everything reaches. Nothing but tests may call these.

use crate::aspace::SpaceId;
use crate::env::Env;
use crate::mm::Mm;
use crate::stat::VmEvent;
use crate::swap::SwapEntry;
use crate::swap::map::SlotState;
use crate::units::Vpn;

impl<E: Env> Mm<'_, E> {
    /// The state of a swap slot.
    #[doc(hidden)]
    pub fn slot_state(&self, entry: SwapEntry) -> SlotState {
        self.swap_device(entry).state(entry.slot())
    }

    /// Overwrites a swap slot.
    #[doc(hidden)]
    pub fn corrupt_slot(&self, entry: SwapEntry, change: impl FnOnce(SlotState) -> SlotState) {
        self.swap_device(entry).corrupt(entry.slot(), change(self.slot_state(entry)));
    }

    /// Moves the bounds of the area around `vpn`.
    #[doc(hidden)]
    pub fn corrupt_area(&self, space: SpaceId, vpn: Vpn, start: Vpn, end: Vpn) {
        let mut index = self.space(space).areas.lock(self.env.tasks());
        if let Some((_, area)) = index.find(&self.areas, vpn) {
            area.set_bounds(start, end);
        }
    }

    /// Counts events that did not happen.
    #[doc(hidden)]
    pub fn corrupt_event(&self, event: VmEvent, n: u64) {
        self.count(event, n);
    }
}
