//! A set of addresses: a sorted table of disjoint regions that do not touch.
//!
//! Invariant, kept by [`Table::replace`]'s two callers: each region is non-empty and ends
//! below the start of the next. Equal sets therefore have equal tables, and a lookup is a
//! binary search. The caller must provide room: it calls [`Table::len_with`] or
//! [`Table::len_without`] first, which are exact.

use core::mem::MaybeUninit;
use core::ops::Range;

use super::Region;

#[derive(Debug)]
pub(super) struct Table<'a> {
    slots: &'a mut [Region],
    len: usize,
    /// The memory that memblock allocated for the slots, unless they are the initial ones.
    home: Option<Region>,
}

impl<'a> Table<'a> {
    pub(super) const fn new(slots: &'a mut [Region]) -> Self {
        Self { slots, len: 0, home: None }
    }

    pub(super) fn regions(&self) -> &[Region] {
        &self.slots[..self.len]
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn capacity(&self) -> usize {
        self.slots.len()
    }

    /// How many regions there will be once `region`, not empty, is in the set.
    pub(super) fn len_with(&self, region: Region) -> usize {
        self.len - self.touching(region).len() + 1
    }

    /// Adds `region`, not empty, to the set.
    pub(super) fn insert(&mut self, region: Region) {
        let touching = self.touching(region);
        let merged = match &self.slots[touching.clone()] {
            [] => region,
            [first, .., last] | [first @ last] => {
                Region { start: region.start.min(first.start), end: region.end.max(last.end) }
            }
        };
        self.replace(touching, &[merged]);
    }

    /// How many regions there will be once `region` is not in the set.
    pub(super) fn len_without(&self, region: Region) -> usize {
        let (cut, rest) = self.cut(region);
        self.len - cut.len() + rest.into_iter().filter(|r| !r.is_empty()).count()
    }

    /// Takes `region` out of the set.
    pub(super) fn remove(&mut self, region: Region) {
        let (cut, [left, right]) = self.cut(region);
        match (left.is_empty(), right.is_empty()) {
            (true, true) => self.replace(cut, &[]),
            (false, true) => self.replace(cut, &[left]),
            (true, false) => self.replace(cut, &[right]),
            (false, false) => self.replace(cut, &[left, right]),
        }
    }

    /// Moves to `slots`, which lie in `home`; returns the memory that the old slots were in, if
    /// memblock had allocated it.
    pub(super) fn move_to(
        &mut self,
        slots: &'a mut [MaybeUninit<Region>],
        home: Region,
    ) -> Option<Region> {
        let slots = filled(slots);
        slots[..self.len].copy_from_slice(self.regions());
        self.slots = slots;
        self.home.replace(home)
    }

    /// The regions that overlap `region` or border on it.
    fn touching(&self, region: Region) -> Range<usize> {
        let first = self.regions().partition_point(|r| r.end < region.start);
        let beyond = self.regions().partition_point(|r| r.start <= region.end);
        first..beyond
    }

    /// The regions that overlap `region`, and what is left of them on either side.
    fn cut(&self, region: Region) -> (Range<usize>, [Region; 2]) {
        let first = self.regions().partition_point(|r| r.end <= region.start);
        let beyond = self.regions().partition_point(|r| r.start < region.end).max(first);
        let cut = first..if region.is_empty() { first } else { beyond };
        let rest = match &self.slots[cut.clone()] {
            [] => [Region::EMPTY; 2],
            [a, .., b] | [a @ b] => [
                Region { start: a.start, end: region.start },
                Region { start: region.end, end: b.end },
            ],
        };
        (cut, rest)
    }

    fn replace(&mut self, old: Range<usize>, new: &[Region]) {
        let len = self.len - old.len() + new.len();
        assert!(len <= self.slots.len(), "a memblock table was not grown before use");
        self.slots.copy_within(old.end..self.len, old.start + new.len());
        self.slots[old.start..old.start + new.len()].copy_from_slice(new);
        self.len = len;
    }
}

/// Fills fresh slots with empty regions.
#[expect(unsafe_code, reason = "the one way from written slots to a slice of regions")]
fn filled(slots: &mut [MaybeUninit<Region>]) -> &mut [Region] {
    for slot in slots.iter_mut() {
        slot.write(Region::EMPTY);
    }
    // SAFETY: the loop above has written every slot.
    unsafe { slots.assume_init_mut() }
}
