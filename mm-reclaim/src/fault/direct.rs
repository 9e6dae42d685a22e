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
use crate::block::IoError;
use crate::env::{BlockDevice, Env, Mapping, PageTables, Pte};
use crate::page::NewPage;
use crate::space::AreaFlags;
use crate::swap::map::Sole;
use crate::swap::{NotPresent, SwapEntry};

impl<'m, E: Env> Faults<'m, E> {
    /// Resolves a fault on the entry of a page that nobody else can find; `None`, with nothing
    /// changed, if it must go through the cache.
    #[inline(never)]
    pub(super) fn swap_in_directly(&self, site: Site<'m, E>, entry: SwapEntry) -> Option<FaultEnd> {
        let (device, blocks) = (self.swap.device(entry), self.env.blocks());
        if site.area.flags.contains(AreaFlags::LOCKED) || !blocks.is_synchronous(device.id) {
            return None;
        }
        let sole = device.sole(entry.slot())?;
        let Some(new) = self.alloc_user_page() else { return Some(FaultEnd::Killed) };
        let read = blocks.read_now(device.id, entry.slot(), self.map.pfn(new.page()));
        let new = match read {
            Some(Ok(())) => match self.map_directly(&site, entry, sole, new) {
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
    #[inline]
    fn map_directly(
        &self,
        site: &Site<'m, E>,
        entry: SwapEntry,
        sole: Sole,
        new: NewPage<'m>,
    ) -> Result<(), NewPage<'m>> {
        let page = new.page();
        let (pfn, dirty) = (self.map.pfn(page), site.access == Access::Write);
        let keeps_slot = !dirty && !self.swap.is_full();
        let device = self.swap.device(entry);
        {
            let mut tables = site.space.tables.lock();
            let Some(tables) = tables.as_mut() else { return Err(new) };
            if tables.get(site.vpn) != NotPresent::Swap(entry).into() {
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
            let mapping = Mapping { pfn, prot: site.area.prot, young: true, dirty };
            tables.replace(site.vpn, Pte::Present(mapping));
            site.space.add_resident(1);
            site.space.add_swapped(-1);
            bump(&site.space.maj_faults);
        }
        self.events.count(VmEvent::PswpIn, 1);
        self.swap.came_in_directly(page, entry, sole);
        self.lru.add_held(new.into_ref());
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
