//! Address spaces: areas, entries, and that every mapping leads back.

use super::{Books, Census, Violation};
use crate::base::sync::Ordering;
use crate::base::units::{Pfn, Vpn};
use crate::env::{Env, PageTables, Prot, Pte};
use crate::page::PageFlags;
use crate::space::{Area, AreaFlags, Backing, SpaceId, SpaceOf, Tally};
use crate::swap::map::Held;
use crate::swap::{NotPresent, SwapEntry};

impl<'m, E: Env> Books<'_, 'm, E> {
    pub(super) fn check_spaces(&self, census: &mut Census) -> Result<(), Violation> {
        let mut tally = Tally::default();
        for held in self.spaces.iter() {
            if held.space.live.load(Ordering::Acquire) {
                self.check_space(held.id, held.space, census, &mut tally)?;
                census.spaces += 1;
            }
        }
        let (areas, spaces) = (self.spaces.areas.usage().0, self.spaces.pool.usage().0);
        let (families, links) = (self.spaces.families.usage().0, self.spaces.links.usage().0);
        (census.families, census.links) = (tally.families, tally.links);
        for (kind, taken, found) in [
            ("areas", areas, census.areas),
            ("address spaces", spaces, census.spaces),
            ("families", families, tally.families),
            ("links", links, tally.links),
            ("links of families", tally.links, tally.listed),
            // Each family is the child of one family; a root is its own child.
            ("children of families", tally.families, tally.children),
        ] {
            if taken != found {
                return Err(Violation::LostObjects { kind, taken, found });
            }
        }
        Ok(())
    }

    fn check_space(
        &self,
        id: SpaceId,
        space: &SpaceOf<'m, E>,
        census: &mut Census,
        tally: &mut Tally,
    ) -> Result<(), Violation> {
        let busy = Violation::Busy(id);
        let index = space.areas.try_lock(self.env.tasks()).ok_or(busy)?;
        let handle = self.spaces.pool.handle_of(space);
        let (mut at, mut found) = (Vpn(0), (0, 0));
        let mut last: Option<&Area> = None;
        for area in index.iter() {
            let view = area.view();
            let sound = area.space() == Some(handle) && view.start >= at && view.end > view.start;
            if !sound {
                return Err(Violation::BadArea { space: id, start: view.start });
            }
            if last.is_some_and(|last| last.agrees(area)) {
                return Err(Violation::UnmergedAreas { space: id, at: view.start });
            }
            if !self.spaces.trees().audit(area, tally) {
                return Err(Violation::BadFamily { space: id, start: view.start });
            }
            census.file_areas += u32::from(view.backing != Backing::Anonymous);
            (at, last) = (view.end, Some(area));
            let (pages, entries) = self.check_entries(id, space, area)?;
            found = (found.0 + pages, found.1 + entries);
        }
        census.areas += index.len();
        let counts =
            (space.resident.load(Ordering::Relaxed), space.swapped.load(Ordering::Relaxed));
        if counts != found {
            return Err(Violation::SpaceCounts { space: id, counts, found });
        }
        census.mappings += found.0;
        census.swap_entries += u64::from(found.1);
        Ok(())
    }

    /// Entries of one area: pages and swap entries.
    fn check_entries(
        &self,
        id: SpaceId,
        space: &SpaceOf<'m, E>,
        owner: &Area,
    ) -> Result<(u32, u32), Violation> {
        let area = owner.view();
        let tables = space.tables.lock();
        let Some(tables) = tables.as_ref() else {
            return Err(Violation::BadArea { space: id, start: area.start });
        };
        let (mut at, mut pages, mut entries) = (area.start, 0, 0);
        while let Some((vpn, pte)) = tables.next_entry(at, area.end) {
            at = vpn + 1;
            match pte {
                Pte::None => {}
                Pte::Present(mapping) if self.spaces.is_zero_page(mapping.pfn) => {
                    let locked = area.flags.contains(AreaFlags::LOCKED);
                    if locked || mapping.prot.contains(Prot::WRITE) || mapping.dirty {
                        return Err(Violation::BadZeroMapping { space: id, vpn });
                    }
                }
                Pte::Present(mapping) => {
                    pages += 1;
                    self.check_leads_back(id, vpn, mapping.pfn, owner)?;
                }
                Pte::NotPresent(word) => {
                    entries += 1;
                    let NotPresent::Swap(entry) = NotPresent::decode(word);
                    let state = self.swap.device(entry).state(entry.slot());
                    if state.uses == 0 {
                        return Err(Violation::UnusedSlot(entry));
                    }
                    if let Held::Page(pfn) = state.held {
                        self.check_cached_leads_back(id, vpn, (entry, pfn), owner)?;
                    }
                }
            }
        }
        Ok((pages, entries))
    }

    /// A page of the swap cache that carries a family will be mapped with it at the entry.
    fn check_cached_leads_back(
        &self,
        space: SpaceId,
        vpn: Vpn,
        (entry, pfn): (SwapEntry, Pfn),
        area: &Area,
    ) -> Result<(), Violation> {
        let page = self.map.get(pfn).filter(|page| {
            page.has(PageFlags::SWAPCACHE) && page.private() == entry.raw() && page.owner() != 0
        });
        page.map_or(Ok(()), |_| self.check_leads_back(space, vpn, pfn, area))
    }

    fn check_leads_back(
        &self,
        space: SpaceId,
        vpn: Vpn,
        pfn: Pfn,
        area: &Area,
    ) -> Result<(), Violation> {
        let broken = Violation::BrokenRmap { space, vpn, pfn };
        let page = self.map.get(pfn).ok_or(broken)?;
        if let Some(at) = page.file_page() {
            let leads_back =
                area.backing() == Backing::File(at.file) && at.index == area.view().index_of(vpn);
            return if leads_back { Ok(()) } else { Err(broken) };
        }
        let mut families = self.spaces.trees().families_of(area);
        let leads_back = families.any(|family| family.raw() == page.owner())
            && page.index() == area.view().index_of(vpn);
        if leads_back { Ok(()) } else { Err(broken) }
    }
}
