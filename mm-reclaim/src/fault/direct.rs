//! Direct swap-in: a page that only the faulting entry names, from a device that reads at once
//! (SWAP-05).
//!
//! Nobody else can find the page: the area lock keeps the entry where it is, but for other faults
//! of the space and `swapoff`, and whoever of them is first changes the slot's word or the entry.
//! So the page is read first, described by plain stores, and published by one compare-and-swap of
//! the slot's word and the entry, both under the page-table lock:
//!
//! ```text
//!   sole user? -> allocate -> read --lock--> entry unchanged? -> describe -> slot unchanged? -> map
//!       | no                                       | no                          | no
//!       +------------------------------------------+-----------------------------+--> swap_fault
//! ```
//!
//! A load leaves the page in the swap cache with its slot, so that it is not written again while it
//! stays clean. A store, or a swap that is getting full, frees the slot.
//!
//! Undone: a page that is not published is freed as it came. `swapoff` waits for reads that began
//! before it had resolved the last entry (`unuse.rs`).
//!
//! Counterpart in Linux: the `SWP_SYNCHRONOUS_IO` path of `do_swap_page`, which gives up the slot.

use super::{Access, FaultEnd, Faults, Site, bump};
use crate::base::stat::VmEvent;
use crate::base::sync::{NoPreempt, Proof};
use crate::base::units::Vpn;
use crate::block::IoError;
use crate::env::{BlockDevice, Env, Mapping, PageEntry, PageTables};
use crate::page::NewPage;
use crate::space::{Area, AreaFlags, SpaceOf};
use crate::swap::map::Sole;
use crate::swap::{NotPresent, SwapDevice, SwapEntry};
use crate::zone::gfp::Gfp;

impl<'m, E: Env> Faults<'m, E> {
    /// Resolves a fault on the entry of a page that nobody else can find; `None`, with nothing
    /// changed, if it must go through the cache.
    pub(super) fn swap_in_directly(&self, site: Site<'m, E>, entry: SwapEntry) -> Option<FaultEnd> {
        let (device, sole) = self.direct_slot(&site, entry)?;
        let Some(new) = self.alloc_user_page() else { return Some(FaultEnd::Killed) };
        let pinned = NoPreempt::<E::Cpu>::new();
        self.bring_in(site, device, entry, sole, new, Proof::of(&pinned))
    }

    /// As [`Faults::swap_in_directly`], for the straight path: `None` also if no page is at hand.
    #[inline(never)]
    pub(super) fn swap_in_pinned(
        &self,
        space: &'m SpaceOf<'m, E>,
        place: &'m Area,
        vpn: Vpn,
        access: Access,
        entry: SwapEntry,
        pinned: Proof<'_>,
    ) -> Option<FaultEnd> {
        let site = Site { space, place, area: place.view(), vpn, access };
        let (device, sole) = self.direct_slot(&site, entry)?;
        let new = self.alloc.alloc_page_now(Gfp::HIGHUSER_MOVABLE)?;
        self.bring_in(site, device, entry, sole, new, pinned)
    }

    /// The device, and the slot's word, of a page that can come in directly.
    #[inline(always)]
    fn direct_slot(
        &self,
        site: &Site<'m, E>,
        entry: SwapEntry,
    ) -> Option<(&SwapDevice<'m, E::Cpu>, Sole)> {
        let device = self.swap.device(entry);
        let is_direct = !site.area.flags.contains(AreaFlags::LOCKED)
            && self.env.blocks().is_synchronous(device.id);
        let sole = if is_direct { device.sole(entry.slot())? } else { return None };
        Some((device, sole))
    }

    /// Reads the page and maps it, if nobody was faster.
    #[inline(always)]
    fn bring_in(
        &self,
        site: Site<'m, E>,
        device: &SwapDevice<'m, E::Cpu>,
        entry: SwapEntry,
        sole: Sole,
        new: NewPage<'m>,
        pinned: Proof<'_>,
    ) -> Option<FaultEnd> {
        let pfn = self.map.pfn(new.page());
        let new = match self.env.blocks().read_now(device.id, entry.slot(), pfn) {
            Some(Ok(())) => match self.map_directly(&site, device, entry, sole, new, pinned) {
                Ok(()) => return Some(FaultEnd::Major),
                Err(new) => new,
            },
            Some(Err(IoError)) => return self.failed_directly(&site, entry, new),
            None => new,
        };
        self.lru.put(new.into_ref());
        None
    }

    /// Maps the page that was read, if nobody was faster.
    ///
    /// # Errors
    /// Returns the page.
    #[inline(always)]
    fn map_directly(
        &self,
        site: &Site<'m, E>,
        device: &SwapDevice<'m, E::Cpu>,
        entry: SwapEntry,
        sole: Sole,
        new: NewPage<'m>,
        pinned: Proof<'_>,
    ) -> Result<(), NewPage<'m>> {
        let page = new.page();
        let (pfn, dirty) = (self.map.pfn(page), site.access == Access::Write);
        let is_full = self.swap.is_full();
        let keeps_slot = !dirty && !is_full;
        let mut tables = site.space.tables.lock_pinned(pinned);
        let Some(place) = tables.as_mut().and_then(|tables| tables.entry(site.vpn)) else {
            return Err(new);
        };
        if place.get() != NotPresent::Swap(entry).into() {
            return Err(new);
        }
        let index = site.area.index_of(site.vpn);
        page.init_swapped_in(site.owner(), index, keeps_slot.then_some(entry.raw()));
        let is_unchanged = match keeps_slot {
            true => device.cache_sole(entry.slot(), sole, pfn),
            false => device.take_sole(entry.slot(), sole),
        };
        if !is_unchanged {
            page.undo_swapped_in();
            return Err(new);
        }
        place.fill(Mapping { pfn, prot: site.area.prot, young: true, dirty });
        site.space.add_resident(1);
        site.space.add_swapped(-1);
        bump(&site.space.maj_faults);
        drop(tables);
        self.events.count(VmEvent::PswpIn, 1);
        self.swap.came_in_directly(page, device, entry, sole, is_full);
        self.lru.add_pinned(new.described(), pinned);
        Ok(())
    }

    /// The page could not be read: the access ends in a bus error, if it was that page's (SWAP-07).
    #[cold]
    fn failed_directly(
        &self,
        site: &Site<'m, E>,
        entry: SwapEntry,
        new: NewPage<'m>,
    ) -> Option<FaultEnd> {
        self.lru.put(new.into_ref());
        let tables = site.space.tables.lock();
        let pte = tables.as_ref().map(|tables| tables.get(site.vpn));
        if pte != Some(NotPresent::Swap(entry).into()) {
            return None;
        }
        drop(tables);
        self.events.count(VmEvent::PswpIn, 1);
        self.events.count(VmEvent::SwapReadError, 1);
        self.events.count(VmEvent::SwapBusError, 1);
        Some(FaultEnd::BusError)
    }
}
