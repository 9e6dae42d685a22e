//! Trees of families: which areas are in which, how many there are, and what is freed.

use std::vec::Vec;

use super::{Families, Family, Link, Links, Loose, Tally, Trees};
use crate::base::units::Vpn;
use crate::env::Prot;
use crate::page::pool::tests::{Grounds, grow};
use crate::space::{Area, AreaFlags, AreaHandle, AreaView, Areas, FamilyHandle, SpaceHandle};
use crate::tests::TestCpu;

/// Spaces that exist at once.
pub(super) const SPACES: usize = 8;

/// Pools, and the families that were made of them.
pub(super) struct Machine<'m> {
    grounds: &'m Grounds,
    pub(super) areas: Areas<'m, TestCpu>,
    pub(super) families: Families<'m, TestCpu>,
    links: Links<'m, TestCpu>,
    /// Names of spaces that were given.
    pub(super) spaces: u32,
}

/// An area's own family, and those that it is in by link.
type FamiliesOf = (Option<FamilyHandle>, Vec<Option<FamilyHandle>>);

impl<'m> Machine<'m> {
    pub(super) fn new(grounds: &'m Grounds) -> Self {
        let (areas, families, links) = (grounds.pool(), grounds.pool(), grounds.pool());
        Self { grounds, areas, families, links, spaces: 0 }
    }

    pub(super) fn trees(&self) -> Trees<'_, 'm, TestCpu> {
        Trees { areas: &self.areas, families: &self.families, links: &self.links }
    }

    pub(super) fn new_space(&mut self) -> u32 {
        self.spaces += 1;
        self.spaces
    }

    /// An area of a space that is in no family.
    pub(super) fn area(&self, space: u32) -> &'m Area {
        let area = grow(self.grounds, &self.areas, Area::blank);
        area.init(
            SpaceHandle::new(space),
            AreaView::anonymous(Vpn(16)..Vpn(20), Prot::READ, AreaFlags::empty()),
        );
        area
    }

    pub(super) fn family(&self) -> FamilyHandle {
        self.families.handle_of(grow(self.grounds, &self.families, Family::blank))
    }

    pub(super) fn loose(&self, links: usize, family: bool) -> Loose {
        let (trees, mut loose) = (self.trees(), Loose::default());
        for _ in 0..links {
            let link = grow(self.grounds, &self.links, Link::blank);
            trees.add_link(&mut loose, self.links.handle_of(link));
        }
        if family {
            trees.add_family(&mut loose, self.family());
        }
        loose
    }

    pub(super) fn give(&self, loose: Loose) {
        self.trees().give(loose, |frame| self.grounds.take_back(frame));
    }

    /// The first area of a new space, touched.
    pub(super) fn first(&mut self) -> &'m Area {
        let space = self.new_space();
        let area = self.area(space);
        self.trees().found(area, self.family());
        area
    }

    /// The area of a new child.
    pub(super) fn fork(&mut self, parent: &Area) -> &'m Area {
        let space = self.new_space();
        let area = self.area(space);
        self.inherit(parent, area);
        area
    }

    pub(super) fn inherit(&self, parent: &Area, heir: &Area) {
        let mut loose = self.loose(1 + self.trees().chain(parent).count(), true);
        self.trees().lock(parent).expect("a family").inherit(parent, heir, &mut loose);
        self.give(loose);
    }

    pub(super) fn follow(&self, other: &Area, fresh: &Area) {
        let mut loose = self.loose(self.trees().chain(other).count(), false);
        if let Some(tree) = self.trees().lock(other) {
            tree.follow(other, fresh, &mut loose);
        }
        self.give(loose);
    }

    /// Takes an area out of its families.
    pub(super) fn leave(&self, area: &Area) {
        let left = self.trees().lock(area).map(|tree| tree.leave(area));
        if let Some(loose) = left {
            self.give(loose);
        }
    }

    pub(super) fn end(&self, area: &Area) {
        self.leave(area);
        self.grounds.take_back(self.areas.give(self.areas.handle_of(area)));
    }

    /// The areas that a walk for a family's page visits.
    pub(super) fn asked(&self, family: Option<FamilyHandle>) -> Vec<AreaHandle> {
        let found = self.families.at(family.expect("a family"));
        let _held = self.families.at(found.root().expect("a root")).lock_tree();
        found.areas(&self.areas, &self.links).map(|area| self.areas.handle_of(area)).collect()
    }

    /// An area's own family, and those that it is in by link.
    pub(super) fn families_of(&self, area: &Area) -> FamiliesOf {
        let all = self.trees().families_of(area);
        (area.family(), all.skip(1).map(Some).collect())
    }

    /// Areas, families and links in use.
    pub(super) fn usage(&self) -> [u32; 3] {
        [self.areas.usage().0, self.families.usage().0, self.links.usage().0]
    }

    /// Audits these areas, which must be all that exist.
    pub(super) fn audit<'a>(&self, areas: impl Iterator<Item = &'a Area>) {
        let (mut tally, mut found) = (Tally::default(), 0);
        for area in areas {
            assert!(self.trees().audit(area, &mut tally), "{:?}", self.families_of(area));
            found += 1;
        }
        let Tally { families, links, listed, children } = tally;
        assert_eq!(self.usage(), [found, families, links]);
        assert_eq!((listed, children), (links, families));
    }
}

/// The fork tree in the picture at the head of the module.
#[test]
fn a_page_leads_to_the_descendants_of_its_maker() {
    let grounds = Grounds::new(8);
    let mut machine = Machine::new(&grounds);
    let p = machine.first();
    let a = machine.fork(p);
    let b = machine.fork(p);
    let c = machine.fork(a);
    let [one, two, three, four] = [p, a, b, c].map(Area::family);
    assert_eq!(machine.families_of(c), (four, Vec::from([two, one])));
    assert_eq!(machine.families_of(b), (three, Vec::from([one])));
    let names = |areas: &[&Area]| -> Vec<AreaHandle> {
        areas.iter().map(|area| machine.areas.handle_of(*area)).collect()
    };
    assert_eq!(machine.asked(one), names(&[p, c, b, a]));
    assert_eq!(machine.asked(two), names(&[a, c]));
    assert_eq!(machine.asked(three), names(&[b]));
    assert_eq!(machine.asked(four), names(&[c]));
    machine.audit([p, a, b, c].into_iter());
    // The families above stay until the last area is gone.
    machine.end(p);
    machine.end(a);
    assert_eq!(machine.families_of(c), (four, Vec::from([two, one])));
    machine.end(b);
    machine.audit([c].into_iter());
    assert_eq!(machine.usage(), [1, 3, 2]);
    machine.end(c);
    assert_eq!(machine.usage(), [0; 3]);
}

/// RMAP-01: the table at the head of the module, and on for many generations.
#[test]
fn a_chain_of_generations_takes_turns_with_two_families() {
    let grounds = Grounds::new(8);
    let mut machine = Machine::new(&grounds);
    let mut area = machine.first();
    let mut names = Vec::from([area.family()]);
    let rounds = if cfg!(miri) { 10 } else { 10_000 };
    for generation in 1..rounds {
        let child = machine.fork(area);
        if generation < 3 {
            names.push(child.family());
        }
        let [one, two, three] = [0, 1, 2].map(|i| names.get(i).copied().flatten());
        let want = match generation {
            1 => (two, Vec::from([one])),
            _ if generation % 2 == 1 => (two, Vec::from([three, one])),
            _ => (three, Vec::from([two, one])),
        };
        assert_eq!(machine.families_of(child), want, "generation {generation}");
        machine.end(area);
        machine.audit([child].into_iter());
        area = child;
    }
    assert_eq!(machine.usage(), [1, 3, 2]);
    machine.end(area);
    assert_eq!(machine.usage(), [0; 3]);
}

/// RMAP-01: however a few processes fork and end, there are never more than twice as many families
/// as the peak number of areas, and no area is in a family twice.
#[test]
fn forks_and_exits_in_any_order_need_a_bounded_number_of_families() {
    let grounds = Grounds::new(60);
    let mut machine = Machine::new(&grounds);
    let mut all = Vec::from([machine.first()]);
    let (mut most, mut random) = ([0; 3], 1u64);
    for _ in 0..if cfg!(miri) { 100 } else { 100_000 } {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let which = (random >> 33) as usize % all.len();
        if all.len() < SPACES && (random >> 60 & 1 == 0 || all.len() == 1) {
            all.push(machine.fork(all[which]));
        } else {
            machine.end(all.swap_remove(which));
        }
        most = core::array::from_fn(|i| machine.usage()[i].max(most[i]));
    }
    machine.audit(all.iter().copied());
    let [areas, families, links] = most;
    assert!(areas as usize == SPACES && families <= 2 * areas && links < areas * families);
}

/// RMAP-01: a walk for a page of one of many children visits that child only, before and after the
/// parent is gone.
#[test]
fn a_page_of_a_child_asks_no_siblings() {
    let children = if cfg!(miri) { 10 } else { 500 };
    let grounds = Grounds::new(40);
    let mut machine = Machine::new(&grounds);
    let parent = machine.first();
    let all: Vec<&Area> = (0..children).map(|_| machine.fork(parent)).collect();
    for child in &all {
        assert_eq!(machine.asked(child.family()), [machine.areas.handle_of(*child)]);
    }
    let usage = [children + 1, children + 1, children];
    assert_eq!((machine.asked(parent.family()).len() as u32, machine.usage()), (usage[0], usage));
    let grandchild = machine.fork(all[0]);
    machine.end(parent);
    assert_eq!(machine.asked(all[0].family()).len(), 2);
    machine.audit(all.iter().copied().chain([grandchild]));
    all.into_iter().chain([grandchild]).for_each(|area| machine.end(area));
    assert_eq!(machine.usage(), [0; 3]);
}

/// RMAP-01: a family is adopted while it is small and has no links, and only from an area that is
/// in no other.
#[test]
fn only_a_small_family_without_relatives_is_adopted() {
    let grounds = Grounds::new(8);
    let mut machine = Machine::new(&grounds);
    let first = machine.first();
    let adopt = |machine: &Machine<'_>, near: &Area| {
        let area = machine.area(near.space().map_or(0, SpaceHandle::raw));
        let adopted = machine.trees().lock(near).expect("a family").adopt(near, area);
        assert_eq!(area.family(), near.family().filter(|_| adopted));
        if !adopted {
            machine.end(area);
        }
        adopted
    };
    assert!(adopt(&machine, first));
    let child = machine.fork(first);
    assert!(!adopt(&machine, first), "walks of the child would grow");
    assert!(!adopt(&machine, child), "pages of the parent would lead past the area");
    machine.end(child);
    let adopted = (0..100).take_while(|_| adopt(&machine, first)).count();
    assert_eq!((adopted, machine.asked(first.family()).len()), (15, 17));
}
