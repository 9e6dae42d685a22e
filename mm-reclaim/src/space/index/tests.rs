//! The sorted areas of a space against a plain map.

use std::collections::BTreeMap;
use std::vec::Vec;

use core::ops::Range;

use proptest::prelude::*;

use super::{AreaIndex, MAX_MAP_COUNT};
use crate::base::units::Vpn;
use crate::env::Prot;
use crate::page::pool::tests::{Grounds, grow};
use crate::space::{Area, AreaFlags, AreaView, Areas, MMAP_TOP, SpaceHandle, USER_START};
use crate::tests::{TestCpu, cases};

/// The pages that the model covers: this many below the top of the search, and a few above.
const BELOW: u32 = 60;
const ABOVE: u32 = 8;
const LOW: Vpn = Vpn(MMAP_TOP.0 - BELOW);

fn view(range: &Range<Vpn>) -> AreaView {
    AreaView::anonymous(range.clone(), Prot::READ, AreaFlags::empty())
}

/// An index and the areas that it should hold, by their first page.
struct Driver<'m> {
    index: AreaIndex<'m>,
    grounds: &'m Grounds,
    areas: Areas<'m, TestCpu>,
    model: BTreeMap<Vpn, (Vpn, &'m Area)>,
}

impl<'m> Driver<'m> {
    fn new(grounds: &'m Grounds) -> Self {
        let index = AreaIndex::new(grounds.window());
        Self { index, grounds, areas: grounds.pool(), model: BTreeMap::new() }
    }

    fn insert(&mut self, range: Range<Vpn>) {
        let overlaps = !self.overlapping(&range).is_empty();
        assert_eq!(self.index.overlapping(range.clone()).next().is_some(), overlaps);
        if overlaps || self.index.is_full() {
            return;
        }
        let area = grow(self.grounds, &self.areas, Area::blank);
        area.init(SpaceHandle::new(1), view(&range));
        self.index.insert(area);
        self.model.insert(range.start, (range.end, area));
    }

    fn remove(&mut self, vpn: Vpn) {
        let Some(area) = self.find(vpn) else { return };
        self.index.remove(area);
        self.model.remove(&area.start());
        self.grounds.take_back(self.areas.give(self.areas.handle_of(area)));
    }

    fn find(&mut self, vpn: Vpn) -> Option<&'m Area> {
        let below = self.model.range(..=vpn).next_back();
        let want = below.filter(|(_, (end, _))| vpn < *end).map(|(_, (_, area))| *area);
        let found = self.index.find(vpn);
        assert_eq!(found.map(|(area, _)| area.start()), want.map(Area::start), "{vpn:?}");
        if let Some((area, view)) = found {
            assert_eq!(area.view(), view);
        }
        want
    }

    /// The starts of the areas that overlap a range.
    fn overlapping(&self, range: &Range<Vpn>) -> Vec<Vpn> {
        let areas = self.model.iter().filter(|_| !range.is_empty());
        let hit = areas.filter(|(start, (end, _))| **start < range.end && range.start < *end);
        hit.map(|(start, _)| *start).collect()
    }

    fn is_mapped(&self, vpn: u32) -> bool {
        !self.overlapping(&(Vpn(vpn)..Vpn(vpn + 1))).is_empty()
    }

    fn look(&mut self, range: &Range<Vpn>) {
        let found: Vec<Vpn> = self.index.overlapping(range.clone()).map(Area::start).collect();
        assert_eq!(found, self.overlapping(range));
        let covered = (range.start.0..range.end.0).all(|vpn| self.is_mapped(vpn));
        assert_eq!(self.index.covers(range.clone()), covered, "{range:?}");
        let below = self.model.range(..range.start).next_back().map(|(start, _)| *start);
        assert_eq!(self.index.below(range.start).map(Area::start), below);
        self.find(range.start);
        self.find(range.end);
    }

    /// The highest place where `pages` pages are free; if the model has none, any place below it.
    fn find_hole(&mut self, pages: u32) {
        let places = (LOW.0..=MMAP_TOP.0.saturating_sub(pages)).rev();
        let fits = |start: &u32| (*start..start + pages).all(|vpn| !self.is_mapped(vpn));
        let want = places.into_iter().find(fits).map(Vpn);
        assert_eq!(self.index.find_hole(pages), want, "{pages} pages");
    }

    fn check(&self) {
        assert!(self.index.iter().map(Area::start).eq(self.model.keys().copied()));
        assert_eq!(self.index.len() as usize, self.model.len());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Range<Vpn>),
    Remove(Vpn),
    Look(Range<Vpn>),
    FindHole(u32),
}

fn op() -> impl Strategy<Value = Op> {
    let page = (LOW.0..MMAP_TOP.0 + ABOVE).prop_map(Vpn);
    let of =
        |pages| (page.clone(), pages).prop_map(|(start, pages): (Vpn, u32)| start..start + pages);
    prop_oneof![
        3 => of(1..12u32).prop_map(Op::Insert),
        1 => page.clone().prop_map(Op::Remove),
        2 => of(0..12u32).prop_map(Op::Look),
        1 => (1..30u32).prop_map(Op::FindHole),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    /// RMAP-01, LAZY-01: lookup, coverage and the search for holes agree with a plain map of pages,
    /// whatever was mapped and unmapped before.
    #[test]
    fn areas_are_found_as_on_a_plain_map(
        ops in prop::collection::vec(op(), 0..if cfg!(miri) { 20 } else { 120 }),
    ) {
        let grounds = Grounds::new(4);
        let mut driver = Driver::new(&grounds);
        // Nothing is free below, so that the model sees every hole.
        driver.insert(USER_START..LOW);
        for op in ops {
            match op {
                Op::Insert(range) => driver.insert(range),
                Op::Remove(vpn) => driver.remove(vpn),
                Op::Look(range) => driver.look(&range),
                Op::FindHole(pages) => driver.find_hole(pages),
            }
            driver.check();
        }
    }
}

#[test]
fn an_empty_space_has_one_hole_between_its_ends() {
    let grounds = Grounds::new(4);
    let mut driver = Driver::new(&grounds);
    let all = MMAP_TOP - USER_START;
    assert_eq!(driver.index.find_hole(1), Some(Vpn(MMAP_TOP.0 - 1)));
    assert_eq!(driver.index.find_hole(all), Some(USER_START));
    assert_eq!(driver.index.find_hole(all + 1), None);
    assert_eq!(driver.index.find_hole(u32::MAX), None);
    assert!(driver.find(USER_START).is_none());
}

/// BUDY-12: a space may have as many areas as on Linux; lookup and the search for a hole stay
/// cheap, as the run time of this test shows.
#[test]
fn a_space_may_have_65530_areas() {
    let most = if cfg!(miri) { 300 } else { MAX_MAP_COUNT };
    let grounds = Grounds::new(most.div_ceil(30));
    let mut driver = Driver::new(&grounds);
    for at in (0..most).rev() {
        assert!(!driver.index.is_full());
        let start = Vpn(100 + 3 * at);
        let area = grow(driver.grounds, &driver.areas, Area::blank);
        area.init(SpaceHandle::new(1), view(&(start..start + 1)));
        driver.index.insert(area);
    }
    assert_eq!(driver.index.is_full(), most == MAX_MAP_COUNT);
    for at in (0..most).step_by(7) {
        let start = Vpn(100 + 3 * at);
        assert_eq!(driver.index.find(start).map(|(area, _)| area.start()), Some(start));
        assert!(driver.index.find(start + 1).is_none());
    }
    let (area, _) = driver.index.find(Vpn(100)).expect("the lowest");
    driver.index.remove(area);
    assert!(!driver.index.is_full());
}

/// The area found last is cached; it may be gone or changed at the next lookup.
#[test]
fn the_last_hit_is_not_believed_blindly() {
    let grounds = Grounds::new(4);
    let mut driver = Driver::new(&grounds);
    driver.insert(Vpn(300)..Vpn(310));
    assert!(driver.find(Vpn(305)).is_some());
    driver.insert(Vpn(200)..Vpn(210));
    assert!(driver.find(Vpn(205)).is_some() && driver.find(Vpn(305)).is_some());
    driver.remove(Vpn(305));
    assert!(driver.find(Vpn(305)).is_none());
    driver.remove(Vpn(205));
    assert!(driver.find(Vpn(205)).is_none());
}
