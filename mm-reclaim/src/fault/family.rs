//! Families at a fault: which one an area gets at its first touch, and which one a page carries.
//!
//! An area gets a family of its own, or that of an area near it: the two can then be merged when
//! they agree. The area lock of the space is held; a frame for families may be allocated.
//!
//! A page carries a family that every area is in that may map it. A fresh page can be mapped by
//! the area of the fault and by those to be forked from it: it carries that area's own family.
//! A page from swap may be the page of an ancestor, and other descendants may have entries for its
//! slot, too:
//!
//! | page | family |
//! | --- | --- |
//! | no other entry | the area's own, as for a fresh page |
//! | other entries, it never left the cache | the one that it carries: its maker's |
//! | other entries, it was read in | the root: its maker is no longer known |
//!
//! A store to a page that has no other users any more makes it the area's own, too.
//!
//! Counterpart in Linux: `__anon_vma_prepare`, `find_mergeable_anon_vma`,
//! `__page_set_anon_rmap`, `page_move_anon_rmap`.

use super::{Faults, Site};
use crate::env::Env;
use crate::page::Page;
use crate::space::{Area, AreaIndex, AreaView, Family, FamilyHandle};

/// The distance within which a first touch adopts an area's family.
const NEAR: u32 = 4;

impl<'m, E: Env> Faults<'m, E> {
    /// Gives an area its family at the first touch (`anon_vma_prepare`): that of a neighbour
    /// with the same shift if it has one, so that the two can be merged later.
    #[cold]
    #[inline(never)]
    pub(crate) fn prepare_family(
        &self,
        index: &mut AreaIndex<'m>,
        area: &'m Area,
    ) -> Option<FamilyHandle> {
        if !self.adopt_neighbours_family(index, area) {
            let (family, _) = self.alloc.object(&self.spaces.families, Family::blank).ok()?;
            self.spaces.trees().found(area, family);
        }
        area.family()
    }

    /// Takes the family of an area near this one (`find_mergeable_anon_vma`), unless areas of other
    /// spaces are in it: their walks would grow by this area. Between the two there may be a few
    /// untouched areas.
    fn adopt_neighbours_family(&self, index: &AreaIndex<'m>, area: &'m Area) -> bool {
        let view = area.view();
        let (mut low, mut high) = (view, view);
        for _ in 0..NEAR {
            let below = index.below(low.start).filter(|near| near.end() == low.start);
            let above = index.from(high.end).next().filter(|near| near.start() == high.end);
            if below.into_iter().chain(above).any(|near| self.adopt(near, area, &view)) {
                return true;
            }
            (low, high) = (below.map_or(low, Area::view), above.map_or(high, Area::view));
        }
        false
    }

    fn adopt(&self, near: &Area, area: &Area, view: &AreaView) -> bool {
        let tree = self.spaces.tree_of(near).filter(|_| near.view().shift == view.shift);
        tree.is_some_and(|tree| tree.adopt(near, area))
    }

    /// The family for a locked, unmapped page of the swap cache that the area of the fault is about
    /// to map; `exclusive`: there is no other entry for its slot.
    pub(crate) fn family_of_cached(&self, site: &Site<'m, E>, page: &Page, exclusive: bool) -> u32 {
        if exclusive {
            return site.owner();
        }
        let root = site.area.family.and_then(|own| self.spaces.families.at(own).root());
        match page.owner() {
            // A page that was read in carries none yet.
            0 => root.map_or(0, FamilyHandle::raw),
            makers => makers,
        }
    }

    /// The area of the fault is the only user of the page: walks need not visit other areas from
    /// now on. If the page is locked, its family is not changed.
    pub(crate) fn own_page(&self, site: &Site<'m, E>, page: &'m Page) {
        if page.owner() != site.owner()
            && let Some(lock) = page.try_lock()
        {
            page.set_owner(site.owner(), site.area.index_of(site.vpn));
            self.zones.unlock(lock);
        }
    }
}
