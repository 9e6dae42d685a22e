//! Seeded damage, so that tests see [`Mm::validate`] find it.
//!
//! Damage to a single page, list or zone is made there (`corrupt_…`); this module has what needs
//! the whole machine. Only tests may call these.

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
        let index = space.areas.lock(self.env.tasks());
        if let Some((area, _)) = index.find(vpn) {
            area.set_bounds(start, end);
        }
    }

    /// Overwrites the rights and flags of the area around `vpn`.
    #[doc(hidden)]
    pub fn corrupt_rights(&self, space: SpaceId, vpn: Vpn, prot: Prot, flags: AreaFlags) {
        let Ok(space) = self.spaces.find(space) else { return };
        let index = space.areas.lock(self.env.tasks());
        if let Some((area, _)) = index.find(vpn) {
            area.set_rights(prot, flags);
        }
    }

    /// Takes an area that belongs to no space.
    #[doc(hidden)]
    pub fn corrupt_areas(&self) {
        let _lost = self.spaces.areas.take();
    }

    /// Takes a family that no area is in.
    #[doc(hidden)]
    pub fn corrupt_families(&self) {
        let _lost = self.spaces.families.take();
    }

    /// Takes a link that belongs to no area.
    #[doc(hidden)]
    pub fn corrupt_links(&self) {
        let _lost = self.spaces.links.take();
    }

    /// Shifts what the own family of the area around `vpn` counts.
    #[doc(hidden)]
    pub fn corrupt_family(&self, space: SpaceId, vpn: Vpn, members: i32, children: i32) {
        let Ok(space) = self.spaces.find(space) else { return };
        if let Some((_, area)) = space.areas.lock(self.env.tasks()).find(vpn) {
            let family = area.family.expect("an area that was touched");
            self.spaces.families.at(family).corrupt_counts(members, children);
        }
    }

    /// Counts events that did not happen.
    #[doc(hidden)]
    pub fn corrupt_event(&self, event: VmEvent, n: u64) {
        self.events.count(event, n);
    }
}
