//! Address spaces: areas, entries, and that every mapping leads back.

use super::{Census, Violation};
use crate::aspace::{AreaView, SpaceId};
use crate::env::{Env, PageTables, Pte};
use crate::mm::Mm;
use crate::swap::SwapEntry;
use crate::sync::Ordering;
use crate::units::{Pfn, Vpn};

impl<E: Env> Mm<'_, E> {
    pub(super) fn check_spaces(&self, census: &mut Census) -> Result<(), Violation> {
        for (handle, space) in self.spaces.iter() {
            if space.live.load(Ordering::Acquire) {
                self.check_space(SpaceId(handle as u16), census)?;
            }
        }
        Ok(())
    }

    fn check_space(&self, id: SpaceId, census: &mut Census) -> Result<(), Violation> {
        let space = self.space(id);
        let busy = Violation::Busy(id);
        let index = space.areas.try_lock(self.env.tasks()).ok_or(busy)?;
        let (mut at, mut found) = (Vpn(0), (0, 0));
        for handle in index.handles() {
            let area = self.areas.at(*handle);
            let view = area.view();
            let sound =
                area.space() == u32::from(id.0) && view.start >= at && view.end > view.start;
            if !sound {
                return Err(Violation::BadArea { space: id, start: view.start });
            }
            at = view.end;
            let (pages, entries) = self.check_entries(id, &view)?;
            found = (found.0 + pages, found.1 + entries);
        }
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
    fn check_entries(&self, id: SpaceId, area: &AreaView) -> Result<(u32, u32), Violation> {
        let tables = self.space(id).tables.lock();
        let Some(tables) = tables.as_ref() else {
            return Err(Violation::BadArea { space: id, start: area.start });
        };
        let (mut at, mut pages, mut entries) = (area.start, 0, 0);
        while let Some((vpn, pte)) = tables.next_entry(at, area.end) {
            at = vpn + 1;
            match pte {
                Pte::None => {}
                Pte::Present(mapping) => {
                    pages += 1;
                    self.check_leads_back(id, vpn, mapping.pfn, area)?;
                }
                Pte::Swap(raw) => {
                    entries += 1;
                    let entry = SwapEntry::from_raw(raw);
                    if self.swap_device(entry).state(entry.slot()).uses == 0 {
                        return Err(Violation::UnusedSlot(entry));
                    }
                }
            }
        }
        Ok((pages, entries))
    }

    fn check_leads_back(
        &self,
        space: SpaceId,
        vpn: Vpn,
        pfn: Pfn,
        area: &AreaView,
    ) -> Result<(), Violation> {
        let broken = Violation::BrokenRmap { space, vpn, pfn };
        let page = self.map.get(pfn).ok_or(broken)?;
        let leads_back = page.mapping() == area.anon && page.index() == area.index_of(vpn);
        if leads_back { Ok(()) } else { Err(broken) }
    }
}
