//! Descriptors, free lists and LRU lists against each other.

use super::{Books, Census, Violation};
use crate::base::units::{Order, Pfn};
use crate::env::Env;
use crate::file::Entry;
use crate::page::{LruList, Page, PageFlags, PageType};
use crate::rmap::FamilyFrames;
use crate::zone::Zone;
use core::ops::ControlFlow;

impl<'m, E: Env> Books<'_, 'm, E> {
    pub(super) fn check_free_lists(&self, census: &mut Census) -> Result<(), Violation> {
        for zone in self.zones.iter() {
            let (mut counted, mut bad) = (0, None);
            let kept = zone.for_each_free(|page, order, _| {
                counted += order.pages();
                if !self.is_sound_block(zone, page, order) {
                    bad = Some(Violation::BadFreeBlock { pfn: self.map.pfn(page), order });
                }
            });
            if let Some(violation) = bad {
                return Err(violation);
            }
            if kept != counted {
                return Err(Violation::FreeCount { zone: zone.id(), kept, counted });
            }
            let (managed, present) = (zone.managed(), zone.present());
            if managed > present {
                return Err(Violation::Unpresent { zone: zone.id(), managed, present });
            }
            census.free += counted;
        }
        Ok(())
    }

    fn is_sound_block(&self, zone: &Zone<'m, E::Cpu>, page: &Page, order: Order) -> bool {
        let first = self.map.pfn(page);
        let aligned = first.0.is_multiple_of(order.pages());
        let inside = zone.span().contains(first) && first + order.pages() <= zone.span().end;
        let marked = page.has(PageFlags::BUDDY) && page.private() == u32::from(order.get());
        let unused = (0..order.pages()).all(|i| {
            let page = self.map.page(first + i);
            page.refs() == 0 && !page.is_mapped()
        });
        aligned && inside && marked && unused
    }

    pub(super) fn check_lru_lists(&self, census: &mut Census) -> Result<(), Violation> {
        for zone in self.zones.iter() {
            for list in LruList::ALL {
                census.lru[list as usize] += self.check_list(zone, list)?;
            }
        }
        let flagged = |list: LruList| {
            self.map.iter().filter(move |(_, p)| p.has(PageFlags::LRU) && p.lru_list() == list)
        };
        for list in LruList::ALL {
            let (flagged, linked) = (flagged(list).count() as u32, census.lru[list as usize]);
            if flagged != linked {
                return Err(Violation::StaleLruFlag { list, flagged, linked });
            }
        }
        let isolated = |kind| self.lru.set.in_all_zones(|v| v.isolated(kind));
        let counted = PageType::ALL.into_iter().map(isolated).sum();
        let flagged = self.map.iter().filter(|(_, p)| p.has(PageFlags::ISOLATED)).count() as u32;
        if flagged != 0 || counted != 0 {
            return Err(Violation::LeakedIsolation { flagged, counted });
        }
        Ok(())
    }

    fn check_list(&self, zone: &Zone<'m, E::Cpu>, list: LruList) -> Result<u32, Violation> {
        let lruvec = self.lru.set.in_zone(zone.id());
        let (mut counted, mut bad) = (0, None);
        lruvec.for_each(list, |page| {
            counted += self.map.nr_pages(page);
            let here = page.has(PageFlags::LRU)
                && page.lru_list() == list
                && page.zone_index() == zone.id().index();
            if !here {
                bad = Some(Violation::WrongList { pfn: self.map.pfn(page), on: list });
            }
        });
        if let Some(violation) = bad {
            return Err(violation);
        }
        let kept = lruvec.size(list);
        if kept != counted {
            return Err(Violation::ListSize { list, kept, counted });
        }
        Ok(counted)
    }

    pub(super) fn check_pages(&self, census: &mut Census) -> Result<(), Violation> {
        let mut free_until = Pfn(0);
        for (pfn, page) in self.map.iter() {
            let flags = page.flags();
            if let Some(why) = flags.fault() {
                return Err(Violation::BadFlags { pfn, why });
            }
            if flags.contains(PageFlags::RESERVED) {
                census.reserved += 1;
            } else if flags.contains(PageFlags::BUDDY) {
                free_until = pfn + (1 << page.private());
            } else if pfn >= free_until {
                self.check_used(pfn, page, census)?;
            }
        }
        Ok(())
    }

    /// A page that is neither reserved nor free.
    fn check_used(&self, pfn: Pfn, page: &'m Page, census: &mut Census) -> Result<(), Violation> {
        let flags = page.flags();
        if flags.contains(PageFlags::LOCKED) {
            return Err(Violation::LeakedLock(pfn));
        }
        let is_user = flags.contains(PageFlags::LRU) || page.is_mapped();
        if !is_user {
            let held = page.refs() > 0 || flags.contains(PageFlags::TAIL);
            census.kernel += 1;
            return if held { Ok(()) } else { Err(Violation::LostPage(pfn)) };
        }
        let mut found = 0;
        let mut frames = FamilyFrames::NONE;
        self.rmap.rmap_walk(page, &mut frames, &mut |_| {
            found += 1;
            ControlFlow::Continue(())
        });
        self.rmap.let_go_families(frames);
        let counts = page.mapcount();
        if counts != found {
            return Err(Violation::WrongMapcount { pfn, counts, found });
        }
        if flags.contains(PageFlags::MLOCKED) && !self.rmap.is_mapped_locked(page) {
            return Err(Violation::StaleMlock(pfn));
        }
        if let Some(at) = page.file_page()
            && self.files.entry(self.files.at(at.file), at) != Entry::Page(pfn)
        {
            return Err(Violation::OrphanFilePage { pfn, at });
        }
        let cached = u32::from(flags.intersects(PageFlags::SWAPCACHE | PageFlags::FILE));
        // Private data keeps a page that its file has lost.
        let kept = u32::from(flags.contains(PageFlags::PRIVATE) && cached == 0);
        let holders = u32::from(found) + cached + kept;
        if page.refs() != holders {
            return Err(Violation::WrongRefs { pfn, counts: page.refs(), holders });
        }
        Ok(())
    }
}
