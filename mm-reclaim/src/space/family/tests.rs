//! Trees of families against a plain list of who descends from whom.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;

use super::{Families, Family, Link, Links, Loose, Tally, Trees};
use crate::base::units::Vpn;
use crate::env::Prot;
use crate::page::pool::tests::{Grounds, grow};
use crate::space::{Area, AreaFlags, AreaView, Areas};
use crate::tests::{TestCpu, cases};

/// Spaces that there are at once.
const SPACES: usize = 8;

/// Pools, and the families that were made of them.
struct Machine<'m> {
    grounds: &'m Grounds,
    areas: Areas<'m, TestCpu>,
    families: Families<'m, TestCpu>,
    links: Links<'m, TestCpu>,
    /// Names of spaces that were given.
    spaces: u32,
}

impl<'m> Machine<'m> {
    fn new(grounds: &'m Grounds) -> Self {
        let (areas, families, links) = (grounds.pool(), grounds.pool(), grounds.pool());
        Self { grounds, areas, families, links, spaces: 0 }
    }

    fn trees(&self) -> Trees<'_, 'm, TestCpu> {
        Trees { areas: &self.areas, families: &self.families, links: &self.links }
    }

    fn new_space(&mut self) -> u32 {
        self.spaces += 1;
        self.spaces
    }

    /// An area of a space that is in no family.
    fn area(&self, space: u32) -> &'m Area {
        let area = grow(self.grounds, &self.areas, Area::blank);
        let (start, end, shift) = (Vpn(16), Vpn(20), 0);
        let (prot, flags) = (Prot::READ, AreaFlags::empty());
        area.init(space, AreaView { start, end, shift, prot, flags, family: 0 });
        area
    }

    fn family(&self) -> u32 {
        self.families.handle_of(grow(self.grounds, &self.families, Family::blank))
    }

    fn loose(&self, links: usize, family: bool) -> Loose {
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

    fn give(&self, loose: Loose) {
        self.trees().give(loose, |frame| self.grounds.take_back(frame));
    }

    /// The first area of a new space, touched.
    fn first(&mut self) -> &'m Area {
        let space = self.new_space();
        let area = self.area(space);
        self.trees().found(area, self.family());
        area
    }

    /// The area of a new child.
    fn fork(&mut self, parent: &Area) -> &'m Area {
        let space = self.new_space();
        let area = self.area(space);
        self.inherit(parent, area);
        area
    }

    fn inherit(&self, parent: &Area, heir: &Area) {
        let mut loose = self.loose(1 + self.trees().chain(parent).count(), true);
        self.trees().lock(parent).expect("a family").inherit(parent, heir, &mut loose);
        self.give(loose);
    }

    fn follow(&self, other: &Area, fresh: &Area) {
        let mut loose = self.loose(self.trees().chain(other).count(), false);
        if let Some(tree) = self.trees().lock(other) {
            tree.follow(other, fresh, &mut loose);
        }
        self.give(loose);
    }

    /// Takes an area out of its families.
    fn leave(&self, area: &Area) {
        let left = self.trees().lock(area).map(|tree| tree.leave(area));
        if let Some(loose) = left {
            self.give(loose);
        }
    }

    fn end(&self, area: &Area) {
        self.leave(area);
        self.grounds.take_back(self.areas.give(self.areas.handle_of(area)));
    }

    /// The areas that a walk of a family's page asks.
    fn asked(&self, family: u32) -> Vec<u32> {
        let found = self.families.at(family);
        let _held = self.families.at(found.root()).lock_tree();
        found.areas(&self.areas, &self.links).map(|area| self.areas.handle_of(area)).collect()
    }

    /// An area's own family, and those that it is in by link.
    fn families_of(&self, area: &Area) -> (u32, Vec<u32>) {
        (area.family(), self.trees().families_of(area).skip(1).collect())
    }

    /// Areas, families and links in use.
    fn usage(&self) -> [u32; 3] {
        [self.areas.usage().0, self.families.usage().0, self.links.usage().0]
    }

    /// Audits these areas, which are all that there are.
    fn audit<'a>(&self, areas: impl Iterator<Item = &'a Area>) {
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
    let names = |areas: &[&Area]| -> Vec<u32> {
        areas.iter().map(|area| machine.areas.handle_of(*area)).collect()
    };
    assert_eq!(machine.asked(one), names(&[p, c, b, a]));
    assert_eq!(machine.asked(two), names(&[a, c]));
    assert_eq!(machine.asked(three), names(&[b]));
    assert_eq!(machine.asked(four), names(&[c]));
    machine.audit([p, a, b, c].into_iter());
    // Whoever is left when the others go: the families above stay until the last one.
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
        let [one, two, three] = [0, 1, 2].map(|i| names.get(i).copied().unwrap_or(0));
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

/// RMAP-01: however a few processes fork and end, there are at most twice as many families as
/// areas at the most, and no area is in a family twice.
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

/// RMAP-01: a page of one of many children asks that child only, before and after the parent
/// is gone.
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

/// RMAP-01: a family is adopted while it is small and nobody else's, and the area that has it
/// is in no other.
#[test]
fn only_a_small_family_without_relatives_is_adopted() {
    let grounds = Grounds::new(8);
    let mut machine = Machine::new(&grounds);
    let first = machine.first();
    let adopt = |machine: &Machine<'_>, near: &Area| {
        let area = machine.area(near.space());
        let adopted = machine.trees().lock(near).expect("a family").adopt(near, area);
        assert_eq!(area.family(), if adopted { near.family() } else { 0 });
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

/// An area of the model.
struct Piece<'m> {
    area: &'m Area,
    /// Its number; areas have the same handles one after the other.
    id: usize,
}

/// A page, as far as it matters here.
struct Made {
    family: u32,
    /// Who may map it.
    holders: BTreeSet<usize>,
}

/// Spaces with their areas, side by side, and what a plain list says about them.
struct Model<'m> {
    machine: Machine<'m>,
    spaces: Vec<Vec<Piece<'m>>>,
    made: Vec<Made>,
    /// Every area that an area is a copy of.
    lines: Vec<BTreeSet<usize>>,
    /// The areas that a family was made for, or that adopted it.
    founders: BTreeMap<u32, BTreeSet<usize>>,
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Map,
    Touch,
    Make,
    Fork,
    Split,
    Merge,
    Unmap,
    Exit,
}

impl<'m> Model<'m> {
    fn new(grounds: &'m Grounds) -> Self {
        let mut machine = Machine::new(grounds);
        machine.new_space();
        let (made, lines, founders) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut model = Self { machine, spaces: Vec::from([Vec::new()]), made, lines, founders };
        model.map(0);
        model
    }

    /// A piece at a place of a space.
    fn insert(&mut self, space: usize, at: usize, area: &'m Area, line: BTreeSet<usize>) -> usize {
        let id = self.lines.len();
        self.lines.push(line);
        self.spaces[space].insert(at, Piece { area, id });
        id
    }

    fn map(&mut self, space: usize) {
        let name = self.spaces[space].first().map_or(self.machine.spaces, |p| p.area.space());
        let area = self.machine.area(name);
        self.insert(space, self.spaces[space].len(), area, BTreeSet::new());
    }

    /// The first touch of a piece, which may adopt the family of the one before it.
    fn touch(&mut self, space: usize, at: usize) {
        let Piece { area, id } = self.spaces[space][at];
        if area.family() != 0 {
            return;
        }
        let trees = self.machine.trees();
        let near = at.checked_sub(1).map(|before| self.spaces[space][before].area);
        let near = near.and_then(|near| Some((near, trees.lock(near)?)));
        if !near.is_some_and(|(near, tree)| tree.adopt(near, area)) {
            let family = self.machine.family();
            self.machine.trees().found(area, family);
            self.founders.insert(family, BTreeSet::new());
        }
        self.founders.get_mut(&area.family()).expect("a family").insert(id);
    }

    fn make(&mut self, space: usize, at: usize) {
        self.touch(space, at);
        let Piece { area, id } = self.spaces[space][at];
        self.made.push(Made { family: area.family(), holders: BTreeSet::from([id]) });
    }

    /// `copy` maps what `of` maps.
    fn copy_pages(&mut self, of: usize, copy: usize) {
        for made in self.made.iter_mut().filter(|made| made.holders.contains(&of)) {
            made.holders.insert(copy);
        }
    }

    fn line_to(&self, id: usize) -> BTreeSet<usize> {
        self.lines[id].iter().copied().chain([id]).collect()
    }

    fn fork(&mut self, space: usize) {
        if self.spaces.len() == SPACES {
            return;
        }
        let name = self.machine.new_space();
        self.spaces.push(Vec::new());
        let child = self.spaces.len() - 1;
        let mut before: Option<(u32, &Area)> = None;
        for at in 0..self.spaces[space].len() {
            let Piece { area, id } = self.spaces[space][at];
            let heir = self.machine.area(name);
            let copy = self.insert(child, at, heir, self.line_to(id));
            if area.family() != 0 {
                match before.filter(|(family, _)| *family == area.family()) {
                    Some((_, sibling)) => self.machine.follow(sibling, heir),
                    None => self.machine.inherit(area, heir),
                }
                before = Some((area.family(), heir));
                self.note_heir(area, heir, copy);
            }
            self.copy_pages(id, copy);
        }
    }

    /// The own family of a child's area is new, a sibling's, or one of the parent's: only a new
    /// one has been made for this area.
    fn note_heir(&mut self, parent: &Area, heir: &Area, id: usize) {
        let own = heir.family();
        if self.machine.trees().families_of(parent).any(|family| family == own) {
            return;
        }
        let founders = self.founders.entry(own).or_default();
        if self.machine.families.at(own).members() == 1 {
            founders.clear();
        }
        founders.insert(id);
    }

    fn split(&mut self, space: usize, at: usize) {
        let Piece { area, id } = self.spaces[space][at];
        let upper = self.machine.area(area.space());
        self.machine.follow(area, upper);
        let copy = self.insert(space, at + 1, upper, self.line_to(id));
        self.copy_pages(id, copy);
    }

    /// Makes one piece of two, where that may be done.
    fn merge(&mut self, space: usize, at: usize) {
        let (low, high) = (&self.spaces[space][at], self.spaces[space].get(at + 1));
        let Some(high) = high else { return };
        let families = [low.area.family(), high.area.family()];
        if families[0] != families[1] && !families.contains(&0) {
            return;
        }
        let (stays, goes) = if families[0] == 0 { (high.id, at) } else { (low.id, at + 1) };
        let gone = self.spaces[space].remove(goes);
        self.copy_pages(gone.id, stays);
        let line = self.line_to(gone.id);
        self.lines[stays].extend(line);
        self.forget(gone);
    }

    fn unmap(&mut self, space: usize, at: usize) {
        let gone = self.spaces[space].remove(at);
        self.forget(gone);
        if self.spaces[space].is_empty() {
            self.spaces.remove(space);
        }
    }

    fn forget(&mut self, gone: Piece<'m>) {
        self.machine.end(gone.area);
        self.made.iter_mut().for_each(|made| _ = made.holders.remove(&gone.id));
        self.made.retain(|made| !made.holders.is_empty());
    }

    fn run(&mut self, op: Op, which: &prop::sample::Index, where_: &prop::sample::Index) {
        if self.spaces.is_empty() {
            self.machine.new_space();
            self.spaces.push(Vec::new());
            self.map(0);
        }
        let space = which.index(self.spaces.len());
        let at = where_.index(self.spaces[space].len());
        match op {
            Op::Map => self.map(space),
            Op::Touch => self.touch(space, at),
            Op::Make => self.make(space, at),
            Op::Fork => self.fork(space),
            Op::Split => self.split(space, at),
            Op::Merge => self.merge(space, at),
            Op::Unmap => self.unmap(space, at),
            Op::Exit => self.exit(space),
        }
    }

    fn exit(&mut self, space: usize) {
        for gone in self.spaces.remove(space) {
            self.forget(gone);
        }
    }

    /// Whoever may map a page is asked once; whoever is asked descends from those that the
    /// page's family was made for.
    fn check(&self) {
        let pieces = || self.spaces.iter().flatten();
        self.machine.audit(pieces().map(|piece| piece.area));
        let id_of = |handle: u32| {
            let mut named = pieces().filter(|p| self.machine.areas.handle_of(p.area) == handle);
            named.next().expect("an area that is there").id
        };
        for made in &self.made {
            let asked: Vec<usize> =
                self.machine.asked(made.family).into_iter().map(id_of).collect();
            let once: BTreeSet<usize> = asked.iter().copied().collect();
            assert_eq!(once.len(), asked.len(), "somebody is asked twice: {asked:?}");
            assert!(made.holders.is_subset(&once), "{:?} of {asked:?}", made.holders);
            let founders = &self.founders[&made.family];
            let is_kin = |id: &usize| !self.line_to(*id).is_disjoint(founders);
            assert!(once.iter().all(is_kin), "{asked:?} for a page of {founders:?}");
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Map),
        3 => Just(Op::Touch),
        6 => Just(Op::Make),
        5 => Just(Op::Fork),
        2 => Just(Op::Split),
        2 => Just(Op::Merge),
        1 => Just(Op::Unmap),
        4 => Just(Op::Exit),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    /// RMAP-01: whatever is touched, forked, split, merged and ended in which order, a page
    /// leads to everybody who may map it, and to nobody who does not descend from those that
    /// its family was made for; all families, links and counts are right at each moment.
    #[test]
    fn a_family_leads_to_its_makers_descendants(
        ops in prop::collection::vec(
            (op(), any::<prop::sample::Index>(), any::<prop::sample::Index>()),
            0..if cfg!(miri) { 20 } else { 200 },
        ),
    ) {
        let grounds = Grounds::new(60);
        let mut model = Model::new(&grounds);
        for (op, which, at) in ops {
            model.run(op, &which, &at);
            model.check();
        }
        while !model.spaces.is_empty() {
            model.exit(0);
            model.check();
        }
        assert_eq!(model.machine.usage(), [0; 3]);
    }
}
