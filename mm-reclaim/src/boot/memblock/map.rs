//! Read access to the three sets: ranges of memory, of mapped memory, of free memory.
//!
//! Ranges that are not stored are differences of sets. [`Minus`] walks them from both ends without
//! allocating: each step is a few binary searches from the address reached so far.

use core::ops::Range;

use super::table::Table;
use super::{Direction, MemblockError, Region, Set};
use crate::base::units::{Pfn, PhysAddr};

/// What memblock knows: the sets of addresses that are memory, reserved, or never mapped.
#[derive(Debug)]
pub struct MemoryMap<'a> {
    pub(super) memory: Table<'a>,
    pub(super) reserved: Table<'a>,
    pub(super) no_map: Table<'a>,
}

impl<'a> MemoryMap<'a> {
    /// The ranges of memory, ascending, each of maximal length.
    pub fn memory(&self) -> impl DoubleEndedIterator<Item = Region> + Clone + '_ {
        self.memory.regions().iter().copied()
    }

    /// The reserved ranges, ascending, whether they are memory or not.
    pub fn reserved(&self) -> impl DoubleEndedIterator<Item = Region> + Clone + '_ {
        self.reserved.regions().iter().copied()
    }

    /// The ranges that must never be mapped, ascending, whether they are memory or not.
    pub fn no_map(&self) -> impl DoubleEndedIterator<Item = Region> + Clone + '_ {
        self.no_map.regions().iter().copied()
    }

    /// The ranges of memory that may be mapped: memory without no-map.
    pub fn mapped(&self) -> Minus<'_> {
        Minus::new(self.memory.regions(), [self.no_map.regions(), &[], &[]])
    }

    /// The free ranges: memory that is neither reserved nor no-map.
    pub fn free_ranges(&self) -> Minus<'_> {
        Minus::new(self.memory.regions(), [self.reserved.regions(), self.no_map.regions(), &[]])
    }

    /// The whole frames of memory, reserved or not.
    pub fn memory_frames(&self) -> impl DoubleEndedIterator<Item = Range<Pfn>> + '_ {
        self.memory().filter_map(Region::frames)
    }

    /// The free frames: those of which every byte is free.
    pub fn free_frames(&self) -> impl DoubleEndedIterator<Item = Range<Pfn>> + '_ {
        self.free_ranges().filter_map(Region::frames)
    }

    /// Bytes of memory.
    pub fn memory_size(&self) -> u64 {
        self.memory().map(Region::size).sum()
    }

    /// Where a request would be served, without reserving anything.
    ///
    /// # Errors
    /// [`MemblockError::BadRequest`], [`MemblockError::NoRoom`].
    pub fn find(
        &self,
        size: u64,
        align: u64,
        within: Region,
        direction: Direction,
    ) -> Result<Region, MemblockError> {
        if size == 0 || !align.is_power_of_two() {
            return Err(MemblockError::BadRequest { size, align });
        }
        let fit = |range: Region| range.intersection(within).fit(size, align, direction);
        let found = match direction {
            Direction::BottomUp => self.free_ranges().find_map(fit),
            Direction::TopDown => self.free_ranges().rev().find_map(fit),
        };
        found.ok_or(MemblockError::NoRoom { size, align, within })
    }

    /// The free ranges outside `keep_off`.
    pub(super) fn free_ranges_off<'m>(&'m self, keep_off: &'m Region) -> Minus<'m> {
        let off = core::slice::from_ref(keep_off);
        Minus::new(self.memory.regions(), [self.reserved.regions(), self.no_map.regions(), off])
    }

    pub(super) fn table(&self, set: Set) -> &Table<'a> {
        match set {
            Set::Memory => &self.memory,
            Set::Reserved => &self.reserved,
            Set::NoMap => &self.no_map,
        }
    }

    pub(super) fn table_mut(&mut self, set: Set) -> &mut Table<'a> {
        match set {
            Set::Memory => &mut self.memory,
            Set::Reserved => &mut self.reserved,
            Set::NoMap => &mut self.no_map,
        }
    }
}

/// The ranges of one set without the addresses of others, from either end.
#[derive(Clone, Debug)]
pub struct Minus<'m> {
    base: &'m [Region],
    without: [&'m [Region]; 3],
    /// What has not been walked yet.
    rest: Region,
}

impl<'m> Minus<'m> {
    fn new(base: &'m [Region], without: [&'m [Region]; 3]) -> Self {
        Self { base, without, rest: Region::ALL }
    }
}

/// The first region that has an address at or above `addr`.
fn from_addr(set: &[Region], addr: PhysAddr) -> Option<&Region> {
    set.get(set.partition_point(|r| r.end <= addr))
}

/// The last region that has an address below `addr`.
fn below_addr(set: &[Region], addr: PhysAddr) -> Option<&Region> {
    set.get(set.partition_point(|r| r.start < addr).checked_sub(1)?)
}

impl Iterator for Minus<'_> {
    type Item = Region;

    fn next(&mut self) -> Option<Region> {
        // Each turn passes at least one region of a finite set, so the loop ends.
        while !self.rest.is_empty() {
            let mut range = from_addr(self.base, self.rest.start)?.intersection(self.rest);
            for set in self.without {
                match from_addr(set, range.start) {
                    Some(r) if r.start <= range.start => range.start = r.end,
                    Some(r) => range.end = range.end.min(r.start),
                    None => {}
                }
            }
            // A range that was trimmed at its start must be checked again: another set may cover
            // what follows.
            let settled = self
                .without
                .iter()
                .all(|set| from_addr(set, range.start).is_none_or(|r| r.start >= range.end));
            self.rest.start = if settled && !range.is_empty() { range.end } else { range.start };
            if settled && !range.is_empty() {
                return Some(range);
            }
        }
        None
    }
}

impl DoubleEndedIterator for Minus<'_> {
    fn next_back(&mut self) -> Option<Region> {
        while !self.rest.is_empty() {
            let mut range = below_addr(self.base, self.rest.end)?.intersection(self.rest);
            for set in self.without {
                match below_addr(set, range.end) {
                    Some(r) if r.end >= range.end => range.end = r.start,
                    Some(r) => range.start = range.start.max(r.end),
                    None => {}
                }
            }
            let settled = self
                .without
                .iter()
                .all(|set| below_addr(set, range.end).is_none_or(|r| r.end <= range.start));
            self.rest.end = if settled && !range.is_empty() { range.start } else { range.end };
            if settled && !range.is_empty() {
                return Some(range);
            }
        }
        None
    }
}
