//! Slots against the swap cache and the page tables.

use super::{Books, Census, Violation};
use crate::env::Env;
use crate::page::PageFlags;
use crate::swap::SwapEntry;
use crate::swap::map::Held;

impl<E: Env> Books<'_, '_, E> {
    pub(super) fn check_slots(&self, census: &Census) -> Result<(), Violation> {
        let mut uses = 0;
        for (at, device) in self.swap.devices() {
            let mut free = 0;
            for (slot, state) in device.iter() {
                uses += u64::from(state.uses);
                free += u32::from(state.is_free());
                let entry = SwapEntry::new(at, slot);
                let sound = match state.held {
                    Held::Page(pfn) => self.map.get(pfn).is_some_and(|page| {
                        page.has(PageFlags::SWAPCACHE) && page.private() == entry.raw()
                    }),
                    Held::Shadow(_) => state.uses > 0,
                    Held::Nothing | Held::Bad => true,
                };
                if !sound {
                    return Err(Violation::OrphanSlot(entry));
                }
            }
            if free != device.free() {
                return Err(Violation::FreeSlots { kept: device.free(), counted: free });
            }
        }
        if uses != census.swap_entries {
            return Err(Violation::SlotUses { counts: uses, found: census.swap_entries });
        }
        self.check_cached_pages()
    }

    fn check_cached_pages(&self) -> Result<(), Violation> {
        for (pfn, page) in self.map.iter().filter(|(_, p)| p.has(PageFlags::SWAPCACHE)) {
            let entry = SwapEntry::from_raw(page.private());
            let device = self.swap.devices().find(|(at, _)| *at == entry.device());
            let state = device
                .filter(|(_, d)| entry.slot() < d.blocks())
                .map(|(_, d)| d.state(entry.slot()).held);
            if state != Some(Held::Page(pfn)) {
                return Err(Violation::OrphanSlot(entry));
            }
        }
        Ok(())
    }
}
