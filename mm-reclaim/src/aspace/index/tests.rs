//! The sorted areas of a space against a plain map.

use std::collections::BTreeMap;
use std::vec::Vec;

use core::ops::Range;

use proptest::prelude::*;

use super::{AreaIndex, MAX_AREAS};
use crate::aspace::{Area, AreaFlags, AreaView, MMAP_TOP, USER_START};
use crate::env::Prot;
use crate::table::{Slot, Table};
use crate::tests::{TestCpu, cases};
use crate::units::Vpn;

/// The pages that the model looks at: so many below the top of the search, and a few above.
const BELOW: u32 = 60;
const ABOVE: u32 = 8;
const LOW: Vpn = Vpn(MMAP_TOP.0 - BELOW);

type Areas<'m> = Table<'m, TestCpu, Area>;

fn slots(count: usize) -> Vec<Slot<Area>> {
    (0..count).map(|_| Slot::new(Area::blank())).collect()
}

fn view(range: &Range<Vpn>) -> AreaView {
    AreaView {
        start: range.start,
        end: range.end,
        shift: 0,
        prot: Prot::READ,
        flags: AreaFlags::empty(),
        anon: 0,
    }
}

/// An index and the areas that it should hold, by their first page.
struct Driver<'m> {
    index: AreaIndex,
    areas: Areas<'m>,
    model: BTreeMap<Vpn, (Vpn, u32)>,
}

impl<'m> Driver<'m> {
    fn new(slots: &'m [Slot<Area>]) -> Self {
        Self { index: AreaIndex::new(), areas: Table::new(slots), model: BTreeMap::new() }
    }

    fn insert(&mut self, range: Range<Vpn>) {
        let overlaps = !self.overlapping(&range).is_empty();
        assert_eq!(!self.index.overlapping(&self.areas, &range).is_empty(), overlaps);
        if overlaps || self.index.is_full(1) {
            return;
        }
        let (handle, area) = self.areas.take().expect("a slot for each area of the index");
        area.init(1, view(&range));
        self.index.insert(&self.areas, handle);
        self.model.insert(range.start, (range.end, handle));
    }

    fn remove(&mut self, vpn: Vpn) {
        let Some(handle) = self.find(vpn) else { return };
        let at = self.index.handles().iter().position(|h| *h == handle).expect("found before");
        assert_eq!(self.index.remove(at), handle);
        self.model.retain(|_, (_, h)| *h != handle);
        self.areas.give(handle);
    }

    fn find(&mut self, vpn: Vpn) -> Option<u32> {
        let below = self.model.range(..=vpn).next_back();
        let want = below.filter(|(_, (end, _))| vpn < *end).map(|(_, (_, handle))| *handle);
        let found = self.index.find(&self.areas, vpn);
        assert_eq!(found.map(|(handle, _)| handle), want, "{vpn:?}");
        if let Some((handle, area)) = found {
            assert!(core::ptr::eq(area, self.areas.at(handle)));
        }
        want
    }

    fn overlapping(&self, range: &Range<Vpn>) -> Vec<u32> {
        let areas = self.model.iter();
        let hit = areas.filter(|(start, (end, _))| **start < range.end && range.start < *end);
        hit.map(|(_, (_, handle))| *handle).collect()
    }

    fn is_mapped(&self, vpn: u32) -> bool {
        !self.overlapping(&(Vpn(vpn)..Vpn(vpn + 1))).is_empty()
    }

    fn look(&mut self, range: &Range<Vpn>) {
        let places = self.index.overlapping(&self.areas, range);
        assert_eq!(self.index.handles()[places], self.overlapping(range));
        let covered = (range.start.0..range.end.0).all(|vpn| self.is_mapped(vpn));
        assert_eq!(self.index.covers(&self.areas, range), covered, "{range:?}");
        self.find(range.start);
        self.find(range.end);
    }

    /// The highest place where so many pages are free, or the place that the model cannot
    /// see: anywhere below it.
    fn find_hole(&mut self, pages: u32) {
        let places = (LOW.0..=MMAP_TOP.0.saturating_sub(pages)).rev();
        let fits = |start: &u32| (*start..start + pages).all(|vpn| !self.is_mapped(vpn));
        let want = places.into_iter().find(fits).map(Vpn);
        assert_eq!(self.index.find_hole(&self.areas, pages), want, "{pages} pages");
    }

    fn check(&self) {
        let want: Vec<u32> = self.model.values().map(|(_, handle)| *handle).collect();
        assert_eq!(self.index.handles(), want);
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
    let range = (page.clone(), 1..12u32).prop_map(|(start, pages)| start..start + pages);
    prop_oneof![
        3 => range.clone().prop_map(Op::Insert),
        1 => page.prop_map(Op::Remove),
        2 => range.prop_map(Op::Look),
        1 => (1..30u32).prop_map(Op::FindHole),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    /// RMAP-01, LAZY-01: areas are found, counted as covering and holes found as on a plain
    /// map of pages, whatever was mapped and unmapped before.
    #[test]
    fn areas_are_found_as_on_a_plain_map(
        ops in prop::collection::vec(op(), 0..if cfg!(miri) { 20 } else { 120 }),
    ) {
        let slots = slots(80);
        let mut driver = Driver::new(&slots);
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
    let slots = slots(1);
    let mut driver = Driver::new(&slots);
    let all = MMAP_TOP - USER_START;
    assert_eq!(driver.index.find_hole(&driver.areas, 1), Some(Vpn(MMAP_TOP.0 - 1)));
    assert_eq!(driver.index.find_hole(&driver.areas, all), Some(USER_START));
    assert_eq!(driver.index.find_hole(&driver.areas, all + 1), None);
    assert_eq!(driver.index.find_hole(&driver.areas, u32::MAX), None);
    assert_eq!(driver.find(USER_START), None);
}

#[test]
fn the_index_says_when_it_is_full() {
    let slots = slots(MAX_AREAS);
    let mut driver = Driver::new(&slots);
    // From the top down, so that each insertion moves all the others.
    for at in (0..MAX_AREAS as u32).rev() {
        assert!(!driver.index.is_full(1));
        driver.insert(Vpn(100 + 3 * at)..Vpn(101 + 3 * at));
    }
    assert!(driver.index.is_full(1) && !driver.index.is_full(0));
    driver.check();
    driver.remove(Vpn(100));
    assert!(!driver.index.is_full(1) && driver.index.is_full(2));
    driver.check();
}

/// The area found last is remembered; it may be gone or another one when it is asked for
/// again.
#[test]
fn the_last_hit_is_not_believed_blindly() {
    let slots = slots(4);
    let mut driver = Driver::new(&slots);
    driver.insert(Vpn(300)..Vpn(310));
    assert!(driver.find(Vpn(305)).is_some());
    driver.insert(Vpn(200)..Vpn(210));
    assert_ne!(driver.find(Vpn(205)), driver.find(Vpn(305)));
    driver.remove(Vpn(305));
    assert_eq!(driver.find(Vpn(305)), None);
    driver.remove(Vpn(205));
    assert_eq!(driver.find(Vpn(205)), None);
}
