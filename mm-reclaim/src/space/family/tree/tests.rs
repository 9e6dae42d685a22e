//! Trees of families against a plain list of descent.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;

use crate::page::pool::tests::Grounds;
use crate::space::family::tests::{Machine, SPACES};
use crate::space::{Area, AreaHandle, FamilyHandle};
use crate::tests::cases;

/// An area of the model.
#[derive(Clone, Copy)]
struct Piece<'m> {
    area: &'m Area,
    /// Its number; areas have the same handles one after the other.
    id: usize,
}

/// A page of the model.
struct Made {
    family: Option<FamilyHandle>,
    /// The areas that may map it.
    holders: BTreeSet<usize>,
}

/// Spaces with their areas, side by side, and what a plain list says about them.
struct Model<'m> {
    machine: Machine<'m>,
    spaces: Vec<Vec<Piece<'m>>>,
    made: Vec<Made>,
    /// All ancestors of each area.
    lines: Vec<BTreeSet<usize>>,
    /// The areas that a family was made for, or that adopted it.
    founders: BTreeMap<Option<FamilyHandle>, BTreeSet<usize>>,
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

/// The name of the space of an area.
fn name_of(area: &Area) -> u32 {
    area.space().expect("an area of a space").raw()
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
        let name = self.spaces[space].first().map_or(self.machine.spaces, |p| name_of(p.area));
        let area = self.machine.area(name);
        self.insert(space, self.spaces[space].len(), area, BTreeSet::new());
    }

    /// The first touch of a piece, which may adopt the family of the one before it.
    fn touch(&mut self, space: usize, at: usize) {
        let Piece { area, id } = self.spaces[space][at];
        if area.family().is_some() {
            return;
        }
        let trees = self.machine.trees();
        let near = at.checked_sub(1).map(|before| self.spaces[space][before].area);
        let near = near.and_then(|near| Some((near, trees.lock(near)?)));
        if !near.is_some_and(|(near, tree)| tree.adopt(near, area)) {
            let family = self.machine.family();
            self.machine.trees().found(area, family);
            self.founders.insert(Some(family), BTreeSet::new());
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
        let mut before: Option<(Option<FamilyHandle>, &Area)> = None;
        for at in 0..self.spaces[space].len() {
            let Piece { area, id } = self.spaces[space][at];
            let heir = self.machine.area(name);
            let copy = self.insert(child, at, heir, self.line_to(id));
            if area.family().is_some() {
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
        if self.machine.trees().families_of(parent).any(|family| Some(family) == own) {
            return;
        }
        let founders = self.founders.entry(own).or_default();
        if self.machine.families.at(own.expect("a family")).members() == 1 {
            founders.clear();
        }
        founders.insert(id);
    }

    fn split(&mut self, space: usize, at: usize) {
        let Piece { area, id } = self.spaces[space][at];
        let upper = self.machine.area(name_of(area));
        self.machine.follow(area, upper);
        let copy = self.insert(space, at + 1, upper, self.line_to(id));
        self.copy_pages(id, copy);
    }

    /// Merges two pieces, where that is allowed.
    fn merge(&mut self, space: usize, at: usize) {
        let (low, high) = (&self.spaces[space][at], self.spaces[space].get(at + 1));
        let Some(high) = high else { return };
        let families = [low.area.family(), high.area.family()];
        if families[0] != families[1] && !families.contains(&None) {
            return;
        }
        let (stays, goes) = if families[0].is_none() { (high.id, at) } else { (low.id, at + 1) };
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

    /// Each area that may map a page is visited once; each visited area descends from those that
    /// the page's family was made for.
    fn check(&self) {
        let pieces = || self.spaces.iter().flatten();
        self.machine.audit(pieces().map(|piece| piece.area));
        let id_of = |handle: AreaHandle| {
            let mut named = pieces().filter(|p| self.machine.areas.handle_of(p.area) == handle);
            named.next().expect("an area that is there").id
        };
        for made in &self.made {
            let asked: Vec<usize> =
                self.machine.asked(made.family).into_iter().map(id_of).collect();
            let once: BTreeSet<usize> = asked.iter().copied().collect();
            assert_eq!(once.len(), asked.len(), "an area is visited twice: {asked:?}");
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

    /// RMAP-01: whatever is touched, forked, split, merged and ended in whatever order, a page
    /// leads to every area that may map it, and only to descendants of those that its family was
    /// made for; all families, links and counts are right at each moment.
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
