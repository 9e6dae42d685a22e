//! The areas of one address space in the order of their addresses.
//!
//! A red-black tree ([`super::tree`]), with two things remembered: the area that was found
//! last, as plain values, and where the search for a hole may begin. Mapping allocates
//! nothing here: links live in the areas.
//!
//! Whoever changes an area does so through the index, or calls [`AreaIndex::forget`], so that
//! what is remembered is never out of date.
//!
//! **Holes.** They are searched from the top downwards. Above `hole_top` every hole has at
//! most `skipped` pages, so that a search for more begins there. Unmapping lifts `hole_top`
//! over the hole that it makes. (This is how Linux searched before it had a tree of gaps.)

use core::ops::Range;

use intrusive_collections::Bound;

use super::area::{Area, AreaView, rights_of, rights_word};
use super::tree::{self, AreaLinks, AreaTree};
use super::{MMAP_TOP, USER_END, USER_START};
use crate::base::units::Vpn;
use crate::page::pool::Window;

/// Areas that one address space may have (`sysctl_max_map_count`).
pub const MAX_MAP_COUNT: u32 = 65_530;

/// The area found last, and its fields as they are: in words, so that they are compared and
/// copied as such. Without an area no page lies within the bounds.
#[derive(Clone, Copy)]
struct Last<'m> {
    area: Option<&'m Area>,
    start: u32,
    end: u32,
    shift: u32,
    rights: u32,
    family: u32,
}

impl<'m> Last<'m> {
    const NONE: Self = Self { area: None, start: 0, end: 0, shift: 0, rights: 0, family: 0 };

    #[inline(always)]
    fn of(area: &'m Area) -> Self {
        let view = area.view();
        Self {
            area: Some(area),
            start: view.start.0,
            end: view.end.0,
            shift: view.shift,
            rights: rights_word(view.prot, view.flags),
            family: view.family,
        }
    }

    #[inline(always)]
    fn covers(&self, vpn: Vpn) -> bool {
        vpn.0.wrapping_sub(self.start) < self.end.wrapping_sub(self.start)
    }

    #[inline(always)]
    fn view(&self) -> AreaView {
        let (prot, flags) = rights_of(self.rights);
        let (start, end) = (Vpn(self.start), Vpn(self.end));
        AreaView { start, end, shift: self.shift, prot, flags, family: self.family }
    }
}

/// Areas, sorted by start.
pub(crate) struct AreaIndex<'m> {
    tree: AreaTree<'m>,
    len: u32,
    last: Last<'m>,
    /// Above this, holes are small.
    hole_top: Vpn,
    /// The most pages of a hole above `hole_top`.
    skipped: u32,
}

impl<'m> AreaIndex<'m> {
    /// No areas; those to come lie in `window`.
    pub(crate) fn new(window: Window<'m>) -> Self {
        let tree = AreaTree::new(AreaLinks { window });
        Self { tree, len: 0, last: Last::NONE, hole_top: MMAP_TOP, skipped: 0 }
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

    /// The areas that overlap `range`.
    pub(crate) fn overlapping(&self, range: Range<Vpn>) -> impl Iterator<Item = &'m Area> + '_ {
        self.from(range.start).take_while(move |area| area.start() < range.end)
    }

    /// The area that ends last of those below `vpn`.
    pub(crate) fn below(&self, vpn: Vpn) -> Option<&'m Area> {
        self.tree.upper_bound(Bound::Excluded(&vpn)).clone_pointer()
    }

    /// The area that contains `vpn`, and what it looks like.
    #[inline(always)]
    pub(crate) fn find(&mut self, vpn: Vpn) -> Option<(&'m Area, AreaView)> {
        if !self.last.covers(vpn) && !self.search(vpn) {
            return None;
        }
        // From one place whether it was searched for or not, so that it stays in registers.
        let area = self.last.area?;
        debug_assert_eq!(self.last.view(), area.view(), "an area was changed behind its index");
        Some((area, self.last.view()))
    }

    /// Makes the area that contains `vpn` the one found last; false if there is none.
    #[cold]
    #[inline(never)]
    fn search(&mut self, vpn: Vpn) -> bool {
        let found = self.tree.upper_bound(Bound::Included(&vpn)).clone_pointer();
        let Some(area) = found.filter(|area| vpn < area.end()) else { return false };
        self.last = Last::of(area);
        true
    }

    /// An area is about to change, or has changed.
    pub(crate) fn forget(&mut self) {
        self.last = Last::NONE;
    }

    /// Whether areas cover `range` without a hole.
    pub(crate) fn covers(&self, range: Range<Vpn>) -> bool {
        let mut at = range.start;
        for area in self.overlapping(range.clone()) {
            if area.start() > at {
                return false;
            }
            at = area.end();
        }
        at >= range.end
    }

    /// What lies free around `range`: from the end of the area below it to the start of the
    /// one above it. For a range that no area overlaps.
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
        self.forget();
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
