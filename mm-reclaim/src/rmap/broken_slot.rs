//! A page leaves a broken slot, so that it can get another one.
//!
//! A write has failed: the page is in the swap cache, dirty, under a slot that will never be
//! written again, and some page-table entries name that slot. They may never be touched again, so
//! reclaim does at its next scan what `swapoff` does for a whole device: each entry becomes a
//! mapping of the page, old and read-only, until none is left; the slot is retired, and the page
//! goes through the ladder like any other that has none yet.
//!
//! The steps are independent, so it does no harm if an entry is missed: a fork may copy one just
//! behind the walk. The page then keeps its slot until the next scan.
//!
//! Locks: the page lock, held by the caller; tree of families; one page table at a time. No area
//! lock: the rights of an area are read under the page-table lock, under which `mprotect` restricts
//! what is mapped after it has set them.
//!
//! Linux has no counterpart; it leaves such pages in memory.

use super::Rmap;
use crate::base::units::Vpn;
use crate::env::{Env, Mapping, PageTables, Prot, Pte};
use crate::page::{Page, PageLock};
use crate::space::{Area, AreaFlags, SpaceOf};
use crate::swap::{NotPresent, SwapEntry};

impl<'m, E: Env> Rmap<'m, E> {
    /// Removes a page of the cache from its slot; false if entries are left that name it.
    pub(crate) fn leave_broken_slot(&self, lock: &PageLock<'m>) -> bool {
        self.map_entries_again(lock.page());
        self.swap.try_to_free_swap(lock)
    }

    /// Maps a locked page of the cache wherever its family has an entry that names its slot.
    fn map_entries_again(&self, page: &'m Page) {
        self.with_family(page, |family| {
            for area in family.areas(self.spaces) {
                if self.swap.slot_uses(page) == 0 {
                    return;
                }
                if let Some(vpn) = area.page_of(page.index()) {
                    self.map_entry_again(page, area, vpn, self.spaces.of(area));
                }
            }
        });
    }

    fn map_entry_again(&self, page: &'m Page, area: &Area, vpn: Vpn, space: &SpaceOf<'m, E>) {
        let entry = SwapEntry::from_raw(page.private());
        let mut tables = space.tables.lock();
        let Some(tables) = tables.as_mut() else { return };
        if tables.get(vpn) != NotPresent::Swap(entry).into() || page.add_mapping().is_err() {
            return;
        }
        let view = area.view();
        if view.flags.contains(AreaFlags::LOCKED) {
            self.mark_mlocked(page);
        }
        let prot = view.prot - Prot::WRITE;
        let pfn = self.map.pfn(page);
        tables.replace(vpn, Pte::Present(Mapping { pfn, prot, young: false, dirty: false }));
        page.get().leak();
        space.add_resident(1);
        space.add_swapped(-1);
        self.swap.free(entry);
    }
}
