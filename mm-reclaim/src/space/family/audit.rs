//! Checks the invariants of `family.rs`, one area at a time.
//!
//! A family is counted at the area that is its first member or, if it has none, at the area of
//! its first link. So families without areas are missing from the totals, and so are links that are
//! only on a list or only on a chain.

use super::{Family, Link, Trees, add};
use crate::env::Cpu;
use crate::space::{Area, FamilyHandle};

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
        let Some(own) = area.family() else { return area.chain.get().is_none() };
        let heads = self.chain(area).filter(|link| link.prev.get().is_none());
        self.is_among_its_own(area, own)
            && (area.prev.get().is_some() || self.audit_members(area, tally))
            && heads.into_iter().all(|link| self.audit_links(link, tally))
    }

    /// Whether an area is in each of its families once, in all those above them, and in no
    /// other tree.
    fn is_among_its_own(self, area: &Area, own: FamilyHandle) -> bool {
        let own = self.families.at(own);
        let is_sound = |(at, handle): (usize, FamilyHandle)| {
            let family = self.families.at(handle);
            let again = self.families_of(area).skip(at + 1).any(|other| other == handle);
            let above = self.families_of(area).any(|other| Some(other) == family.parent());
            let top = (family.parent() == Some(handle)) == (family.root() == Some(handle));
            family.root().is_some() && family.root() == own.root() && !again && above && top
        };
        let handle = self.areas.handle_of(area);
        self.families_of(area).enumerate().all(is_sound)
            && self.chain(area).all(|link| link.area.get() == Some(handle))
    }

    /// The members of a family, of which `first` is the first: they are as many as it counts,
    /// of one space, and have equal chains.
    fn audit_members(self, first: &Area, tally: &mut Tally) -> bool {
        let Some(handle) = first.family() else { return false };
        let family = self.families.at(handle);
        self.count(family, tally);
        let length = self.chain(first).count();
        let is_alike = |area: &Area| {
            area.family() == Some(handle)
                && area.space() == first.space()
                && self.chain(area).count() == length
                && self.families_of(area).all(|f| self.families_of(first).any(|g| f == g))
        };
        let (mut next, mut prev, mut found) = (family.member.get(), None, 0);
        while let Some(at) = next.filter(|_| found <= family.members()) {
            let area = self.areas.at(at);
            if area.prev.get() != prev || !is_alike(area) {
                return false;
            }
            (next, prev) = (area.next.get(), Some(at));
            found += 1;
        }
        found == family.members() && family.member.get() == Some(self.areas.handle_of(first))
    }

    /// The links of a family, of which `first` is the first.
    fn audit_links(self, first: &Link, tally: &mut Tally) -> bool {
        let Some(handle) = first.family.get() else { return false };
        let family = self.families.at(handle);
        if family.member.get().is_none() {
            self.count(family, tally);
        }
        let most = self.links.usage().0;
        let (mut next, mut prev, mut found) = (family.link.get(), None, 0);
        while let Some(at) = next.filter(|_| found <= most) {
            let link = self.links.at(at);
            if link.prev.get() != prev || link.family.get() != Some(handle) {
                return false;
            }
            (next, prev) = (link.next.get(), Some(at));
            found += 1;
        }
        tally.listed += found;
        found <= most && family.link.get() == Some(self.links.handle_of(first))
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
