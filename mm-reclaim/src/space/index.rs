//! The areas of one address space in the order of their addresses.
//!
//! A red-black tree ([`super::tree`]), with two caches: the area found last, and where the search
//! for a hole may begin. Mapping allocates nothing here: links live in the areas.
//!
//! Lock: the area lock. Shared holders may look up addresses, and update the area found last: one
//! word, naming an area that stays while the lock is held.
//!
//! **Holes** are searched from the top downwards. Above `hole_top` every hole has at most
//! `skipped` pages, so that a search for more begins there. Unmapping raises `hole_top` above the
//! hole that it makes. (This is how Linux searched before it had a tree of gaps.)

use core::ops::Range;

use intrusive_collections::Bound;

use super::area::{Area, AreaView};
use super::tree::{self, AreaLinks, AreaTree};
use super::{AREA, MMAP_TOP, USER_END, USER_START};
use crate::base::units::Vpn;
use crate::page::pool::{HandleCell, Window};

/// Areas that one address space may have (`sysctl_max_map_count`).
pub const MAX_MAP_COUNT: u32 = 65_530;

/// Areas, sorted by start.
pub(crate) struct AreaIndex<'m> {
    tree: AreaTree<'m>,
    links: AreaLinks<'m>,
    len: u32,
    /// The area that was found last; none if it is gone. Its bounds are read where it is used.
    last: HandleCell<AREA>,
    /// Above this, holes have at most `skipped` pages.
    hole_top: Vpn,
    /// The most pages of a hole above `hole_top`.
    skipped: u32,
}

impl<'m> AreaIndex<'m> {
    /// An empty index, for areas in `window`.
    pub(crate) fn new(window: Window<'m>) -> Self {
        let links = AreaLinks { window };
        let tree = AreaTree::new(links);
        Self { tree, links, len: 0, last: HandleCell::none(), hole_top: MMAP_TOP, skipped: 0 }
    }

    /// How many areas there are.
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    /// Whether the space has as many areas as it may have.
    pub(crate) fn is_full(&self) -> bool {
        self.len >= MAX_MAP_COUNT
    }

    /// The areas from the lowest to the highest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'m Area> + '_ {
        self.from(Vpn(0))
    }

    /// The areas that end above `vpn`, from the lowest on.
    pub(crate) fn from(&self, vpn: Vpn) -> impl Iterator<Item = &'m Area> + '_ {
        let mut cursor = self.tree.upper_bound(Bound::Included(&vpn));
        if cursor.get().is_none_or(|area| area.end() <= vpn) {
            // The one below ends before, so the next one is the first; from before the first,
            // that is the first of all.
            cursor.move_next();
        }
        core::iter::from_fn(move || {
            let area = cursor.clone_pointer()?;
            cursor.move_next();
            Some(area)
        })
    }

    /// The areas that overlap `range`: none if it is empty, even within an area.
    pub(crate) fn overlapping(&self, range: Range<Vpn>) -> impl Iterator<Item = &'m Area> + '_ {
        self.from(range.start).take_while(move |area| area.start() < range.end && !range.is_empty())
    }

    /// The area that ends last of those below `vpn`.
    pub(crate) fn below(&self, vpn: Vpn) -> Option<&'m Area> {
        self.tree.upper_bound(Bound::Excluded(&vpn)).clone_pointer()
    }

    /// The area that contains `vpn`, and its fields.
    #[inline(always)]
    pub(crate) fn find(&self, vpn: Vpn) -> Option<(&'m Area, AreaView)> {
        if let Some(last) = self.last.get() {
            let area = self.links.area(last);
            let view = area.view();
            if vpn.0.wrapping_sub(view.start.0) < view.end.0.wrapping_sub(view.start.0) {
                return Some((area, view));
            }
        }
        self.search(vpn).map(|area| (area, area.view()))
    }

    #[cold]
    #[inline(never)]
    fn search(&self, vpn: Vpn) -> Option<&'m Area> {
        let area = self.tree.upper_bound(Bound::Included(&vpn)).clone_pointer()?;
        if vpn >= area.end() {
            return None;
        }
        self.last.put(Some(self.links.window.handle_of(area)));
        Some(area)
    }

    /// Whether areas cover `range` without a hole.
    pub(crate) fn covers(&self, range: Range<Vpn>) -> bool {
        self.covered(range.clone()) == range.end
    }

    /// The end of what areas cover from the start of `range` on without a hole; that of `range` at most.
    pub(crate) fn covered(&self, range: Range<Vpn>) -> Vpn {
        let mut at = range.start;
        for area in self.overlapping(range.clone()) {
            if area.start() > at {
                break;
            }
            at = area.end();
        }
        at.min(range.end)
    }

    /// The free range around `range`: from the end of the area below it to the start of the one
    /// above it. For a range that no area overlaps.
    pub(crate) fn free_around(&self, range: Range<Vpn>) -> Range<Vpn> {
        let start = self.below(range.start).map_or(Vpn(0), Area::end);
        let end = self.from(range.end).next().map_or(USER_END, Area::start);
        start..end
    }

    /// Inserts an area; the caller has checked that there is room.
    pub(crate) fn insert(&mut self, area: &'m Area) {
        self.tree.insert(area);
        self.len += 1;
    }

    /// Removes an area of this index; the hole that it leaves may be found.
    pub(crate) fn remove(&mut self, area: &'m Area) {
        self.last.put(None);
        tree::remove(&mut self.tree, area);
        self.len -= 1;
        let hole = self.free_around(area.start()..area.end());
        self.hole_top = self.hole_top.max(hole.end.min(MMAP_TOP));
    }

    /// The highest hole of `pages` pages below [`MMAP_TOP`].
    pub(crate) fn find_hole(&mut self, pages: u32) -> Option<Vpn> {
        if pages <= self.skipped {
            (self.hole_top, self.skipped) = (MMAP_TOP, 0);
        }
        let mut top = self.hole_top;
        let mut cursor = self.tree.upper_bound(Bound::Excluded(&top));
        while let Some(area) = cursor.get() {
            let hole = top.0.saturating_sub(area.end().0);
            if hole >= pages {
                break;
            }
            self.skipped = self.skipped.max(hole);
            top = top.min(area.start());
            cursor.move_prev();
        }
        self.hole_top = top;
        let start = Vpn(top.0.checked_sub(pages)?);
        (start >= USER_START).then_some(start)
    }
}

#[cfg(test)]
mod tests;
