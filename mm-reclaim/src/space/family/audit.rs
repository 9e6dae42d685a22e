//! Checks the invariants of `family.rs`, one area at a time.
//!
//! A family is counted at the area that is its first member or, if it has none, at the area of
//! its first link. So families without areas are missing from the totals, and so are links that are
//! only on a list or only on a chain.

use super::{Family, Link, Trees, add, get};
use crate::env::Cpu;
use crate::space::Area;

/// What the checked areas lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Families.
    pub(crate) families: u32,
    /// Links on the chains of areas.
    pub(crate) links: u32,
    /// Links on the lists of families.
    pub(crate) listed: u32,
    /// The sum of the families' counts of children; a root counts itself.
    pub(crate) children: u32,
}

impl<'m, C: Cpu> Trees<'_, 'm, C> {
    /// Whether an area and the families that it is the first in are consistent. For a quiet moment.
    pub(crate) fn audit(self, area: &Area, tally: &mut Tally) -> bool {
        tally.links += self.chain(area).count() as u32;
        if area.family() == 0 {
            return get(&area.chain) == 0;
        }
        let heads = self.chain(area).filter(|link| get(&link.prev) == 0);
        self.is_among_its_own(area)
            && (get(&area.prev) != 0 || self.audit_members(area, tally))
            && heads.into_iter().all(|link| self.audit_links(link, tally))
    }

    /// Whether an area is in each of its families once, in all those above them, and in no
    /// other tree.
    fn is_among_its_own(self, area: &Area) -> bool {
        let own = self.families.at(area.family());
        let is_sound = |(at, handle): (usize, u32)| {
            let family = self.families.at(handle);
            let again = self.families_of(area).skip(at + 1).any(|other| other == handle);
            let above = self.families_of(area).any(|other| other == family.parent());
            let top = (family.parent() == handle) == (family.root() == handle);
            family.root() != 0 && family.root() == own.root() && !again && above && top
        };
        let handle = self.areas.handle_of(area);
        self.families_of(area).enumerate().all(is_sound)
            && self.chain(area).all(|link| get(&link.area) == handle)
    }

    /// The members of a family, of which `first` is the first: they are as many as it counts,
    /// of one space, and have equal chains.
    fn audit_members(self, first: &Area, tally: &mut Tally) -> bool {
        let (handle, family) = (first.family(), self.families.at(first.family()));
        self.count(family, tally);
        let length = self.chain(first).count();
        let is_alike = |area: &Area| {
            area.family() == handle
                && area.space() == first.space()
                && self.chain(area).count() == length
                && self.families_of(area).all(|f| self.families_of(first).any(|g| f == g))
        };
        let (mut at, mut prev, mut found) = (get(&family.member), 0, 0);
        while at != 0 && found <= family.members() {
            let area = self.areas.at(at);
            if get(&area.prev) != prev || !is_alike(area) {
                return false;
            }
            (at, prev) = (get(&area.next), at);
            found += 1;
        }
        found == family.members() && get(&family.member) == self.areas.handle_of(first)
    }

    /// The links of a family, of which `first` is the first.
    fn audit_links(self, first: &Link, tally: &mut Tally) -> bool {
        let (handle, family) = (get(&first.family), self.families.at(get(&first.family)));
        if get(&family.member) == 0 {
            self.count(family, tally);
        }
        let most = self.links.usage().0;
        let (mut at, mut prev, mut found) = (get(&family.link), 0, 0);
        while at != 0 && found <= most {
            let link = self.links.at(at);
            if get(&link.prev) != prev || get(&link.family) != handle {
                return false;
            }
            (at, prev) = (get(&link.next), at);
            found += 1;
        }
        tally.listed += found;
        found <= most && get(&family.link) == self.links.handle_of(first)
    }

    fn count(self, family: &'m Family<C>, tally: &mut Tally) {
        tally.families += 1;
        tally.children += family.children();
    }
}

impl<C: Cpu> Family<C> {
    /// Shifts the counts, for the tests of `validate()`.
    pub(crate) fn corrupt_counts(&self, members: i32, children: i32) {
        add(&self.members, members);
        add(&self.children, children);
    }
}
