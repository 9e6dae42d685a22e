//! Damage behind everybody's back, so that tests see [`Mm::validate`] find it.
//!
//! What a page, a list or a zone alone can damage is offered there (`corrupt_…`); here is
//! what only the owner of everything reaches. Nothing but tests may call these.

use crate::base::stat::VmEvent;
use crate::base::units::Vpn;
use crate::env::{Env, Prot};
use crate::mm::Mm;
use crate::space::{AreaFlags, SpaceId};
use crate::swap::SwapEntry;
use crate::swap::map::SlotState;

impl<E: Env> Mm<'_, E> {
    /// The state of a swap slot.
    #[doc(hidden)]
    pub fn slot_state(&self, entry: SwapEntry) -> SlotState {
        self.swap.device(entry).state(entry.slot())
    }

    /// Overwrites a swap slot.
    #[doc(hidden)]
    pub fn corrupt_slot(&self, entry: SwapEntry, change: impl FnOnce(SlotState) -> SlotState) {
        self.swap.device(entry).corrupt(entry.slot(), change(self.slot_state(entry)));
    }

    /// Moves the bounds of the area around `vpn`.
    #[doc(hidden)]
    pub fn corrupt_area(&self, space: SpaceId, vpn: Vpn, start: Vpn, end: Vpn) {
        let Ok(space) = self.spaces.find(space) else { return };
        let mut index = space.areas.lock(self.env.tasks());
        if let Some((area, _)) = index.find(vpn) {
            area.set_bounds(start, end);
        }
        index.forget();
    }

    /// Takes the rights and flags of the area around `vpn` away, and gives it others.
    #[doc(hidden)]
    pub fn corrupt_rights(&self, space: SpaceId, vpn: Vpn, prot: Prot, flags: AreaFlags) {
        let Ok(space) = self.spaces.find(space) else { return };
        let mut index = space.areas.lock(self.env.tasks());
        if let Some((area, _)) = index.find(vpn) {
            area.set_rights(prot, flags);
        }
        index.forget();
    }

    /// Takes an area that belongs to no space.
    #[doc(hidden)]
    pub fn corrupt_areas(&self) {
        let _lost = self.spaces.areas.take();
    }

    /// Counts events that did not happen.
    #[doc(hidden)]
    pub fn corrupt_event(&self, event: VmEvent, n: u64) {
        self.events.count(event, n);
    }
}
