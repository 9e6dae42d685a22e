//! The areas of one address space in the order of their addresses.
//!
//! A sorted array of handles: found by binary search, with the last hit remembered. It is
//! part of the address space's slot, so that mapping allocates nothing.

use core::ops::Range;

use super::area::Area;
use super::{MMAP_TOP, USER_START};
use crate::env::Cpu;
use crate::table::Table;
use crate::units::Vpn;

/// Areas that one address space may have (Linux allows 65,530).
pub(crate) const MAX_AREAS: usize = 256;

/// Handles of areas, sorted by start.
pub(crate) struct AreaIndex {
    len: usize,
    /// Position of the last hit.
    hint: usize,
    handles: [u32; MAX_AREAS],
}

impl AreaIndex {
    pub(crate) const fn new() -> Self {
        Self { len: 0, hint: 0, handles: [0; MAX_AREAS] }
    }

    pub(crate) fn handles(&self) -> &[u32] {
        &self.handles[..self.len]
    }

    pub(crate) fn is_full(&self, more: usize) -> bool {
        self.len + more > MAX_AREAS
    }

    /// The area that contains `vpn`.
    #[inline(always)]
    pub(crate) fn find<'m, C: Cpu>(
        &mut self,
        areas: &Table<'m, C, Area>,
        vpn: Vpn,
    ) -> Option<(u32, &'m Area)> {
        if let Some(handle) = self.handles().get(self.hint) {
            let area = areas.at(*handle);
            if area.start() <= vpn && vpn < area.end() {
                return Some((*handle, area));
            }
        }
        self.search(areas, vpn)
    }

    fn search<'m, C: Cpu>(
        &mut self,
        areas: &Table<'m, C, Area>,
        vpn: Vpn,
    ) -> Option<(u32, &'m Area)> {
        let at = self.first_ending_after(areas, vpn);
        let handle = *self.handles().get(at)?;
        let area = areas.at(handle);
        if vpn < area.start() {
            return None;
        }
        self.hint = at;
        Some((handle, area))
    }

    /// The position of the first area whose end lies above `vpn`.
    pub(crate) fn first_ending_after<C: Cpu>(&self, areas: &Table<'_, C, Area>, vpn: Vpn) -> usize {
        self.handles().partition_point(|h| areas.at(*h).end() <= vpn)
    }

    /// The handles of all areas that overlap `range`, by position.
    pub(crate) fn overlapping<C: Cpu>(
        &self,
        areas: &Table<'_, C, Area>,
        range: &Range<Vpn>,
    ) -> Range<usize> {
        let first = self.first_ending_after(areas, range.start);
        let last = self.handles().partition_point(|h| areas.at(*h).start() < range.end);
        first..last.max(first)
    }

    /// Whether areas cover `range` without a hole.
    pub(crate) fn covers<C: Cpu>(&self, areas: &Table<'_, C, Area>, range: &Range<Vpn>) -> bool {
        let mut at = range.start;
        for handle in &self.handles()[self.overlapping(areas, range)] {
            let area = areas.at(*handle);
            if area.start() > at {
                return false;
            }
            at = area.end();
        }
        at >= range.end
    }

    /// Inserts an area; the caller has checked that there is room.
    pub(crate) fn insert<C: Cpu>(&mut self, areas: &Table<'_, C, Area>, handle: u32) {
        let start = areas.at(handle).start();
        let at = self.handles().partition_point(|h| areas.at(*h).start() < start);
        self.handles.copy_within(at..self.len, at + 1);
        self.handles[at] = handle;
        self.len += 1;
    }

    /// Removes the area at a position.
    pub(crate) fn remove(&mut self, at: usize) -> u32 {
        let handle = self.handles[at];
        self.handles.copy_within(at + 1..self.len, at);
        self.len -= 1;
        self.hint = 0;
        handle
    }

    /// The highest hole of `pages` pages below [`MMAP_TOP`].
    pub(crate) fn find_hole<C: Cpu>(&self, areas: &Table<'_, C, Area>, pages: u32) -> Option<Vpn> {
        let mut top = MMAP_TOP;
        for handle in self.handles().iter().rev() {
            let area = areas.at(*handle);
            if area.end() < top && top - area.end() >= pages {
                break;
            }
            top = top.min(area.start());
        }
        let start = Vpn(top.0.checked_sub(pages)?);
        let free = start >= USER_START && self.overlapping(areas, &(start..top)).is_empty();
        free.then_some(start)
    }
}

#[cfg(test)]
mod tests;
