//! Mapping, unmapping, protecting, forking and touching against a plain map of pages.

use std::collections::BTreeMap;
use std::vec::Vec;

use core::ops::Range;

use proptest::prelude::*;

use crate::base::units::Vpn;
use crate::boot::plan::Config;
use crate::env::{PageTables, Prot, Pte};
use crate::fault::{Access, FaultEnd};
use crate::mmap::Place;
use crate::space::{AreaFlags, SpaceError, SpaceId, USER_START};
use crate::tests::{TestMm, cases, frames, with_mm};

/// Pages that the tests map.
const PAGES: u32 = 48;

#[derive(Clone, Debug)]
enum Op {
    Map(Range<Vpn>, Prot),
    Unmap(Range<Vpn>),
    Protect(Range<Vpn>, Prot),
    Touch(Vpn, Access),
    Fork,
    Exit,
}

fn op() -> impl Strategy<Value = Op> {
    let page = (0..PAGES).prop_map(|page| USER_START + page);
    let range = (page.clone(), 1..14u32).prop_map(|(start, pages)| start..start + pages);
    let prot = (0..8u8).prop_map(Prot::from_bits_truncate);
    let access = prop::sample::select(&[Access::Read, Access::Write, Access::Exec][..]);
    prop_oneof![
        4 => (range.clone(), prot.clone()).prop_map(|(range, prot)| Op::Map(range, prot)),
        2 => range.clone().prop_map(Op::Unmap),
        2 => (range, prot).prop_map(|(range, prot)| Op::Protect(range, prot)),
        8 => (page, access).prop_map(|(page, access)| Op::Touch(page, access)),
        2 => Just(Op::Fork),
        2 => Just(Op::Exit),
    ]
}

/// A space and the rights of its pages.
struct Space {
    id: SpaceId,
    pages: BTreeMap<Vpn, Prot>,
}

impl Space {
    fn run(&mut self, mm: &TestMm<'_>, op: Op) {
        match op {
            Op::Map(range, prot) => {
                let free = self.pages.range(range.clone()).next().is_none();
                let pages = range.end - range.start;
                let got =
                    mm.mmap(self.id, Place::Fixed(range.start), pages, prot, AreaFlags::empty());
                assert_eq!(got.is_ok(), free, "{range:?}: {got:?}");
                if free {
                    self.pages.extend((range.start.0..range.end.0).map(|vpn| (Vpn(vpn), prot)));
                }
            }
            Op::Unmap(range) => {
                mm.munmap(self.id, range.clone()).expect("holes are fine");
                self.pages.retain(|vpn, _| !range.contains(vpn));
            }
            Op::Protect(range, prot) => {
                let hole = |vpn: &u32| !self.pages.contains_key(&Vpn(*vpn));
                let end = (range.start.0..range.end.0).find(hole).map_or(range.end, Vpn);
                let got = mm.mprotect(self.id, range.clone(), prot);
                assert_eq!(got.is_ok(), end == range.end, "{range:?}: {got:?}");
                // What lies before the first hole has changed.
                self.pages.range_mut(range.start..end).for_each(|(_, old)| *old = prot);
            }
            Op::Touch(vpn, access) => self.touch(mm, vpn, access),
            Op::Fork | Op::Exit => unreachable!("not of one space"),
        }
    }

    fn touch(&self, mm: &TestMm<'_>, vpn: Vpn, access: Access) {
        let needs = match access {
            Access::Read => Prot::READ,
            Access::Write => Prot::WRITE,
            Access::Exec => Prot::EXEC,
        };
        let allowed = self.pages.get(&vpn).is_some_and(|prot| prot.contains(needs));
        let want = if allowed { FaultEnd::Minor } else { FaultEnd::BadAddress };
        assert_eq!(mm.handle_fault(self.id, vpn.addr(), access), want, "{access:?} of {vpn:?}");
        if allowed {
            let pte = mm.with_tables(self.id, |tables| tables.get(vpn));
            let Pte::Present(mapping) = pte else { panic!("{vpn:?} is {pte:?} after a fault") };
            assert!(self.pages[&vpn].contains(mapping.prot), "more rights than the area");
            assert!(mapping.young && mapping.prot.contains(needs & Prot::WRITE));
        }
    }

    /// Checks that each entry lies in an area and maps a page that leads back: its index and the
    /// area give the same virtual page.
    fn check(&self, mm: &TestMm<'_>) {
        let end = USER_START + 2 * PAGES;
        let mut at = USER_START;
        while let Some((vpn, pte)) = mm.with_tables(self.id, |t| t.next_entry(at, end)) {
            let Pte::Present(mapping) = pte else { panic!("nothing is swapped: {pte:?}") };
            assert!(self.pages.contains_key(&vpn), "{vpn:?} is mapped without an area");
            at = vpn + 1;
            if mm.spaces.is_zero_page(mapping.pfn) {
                continue;
            }
            let page = mm.map.page(mapping.pfn);
            let own = mm.spaces.directory.find(self.id).expect("a space that exists");
            let mut shown = Vec::new();
            mm.rmap.with_family(page, |family| {
                let areas = family.areas(mm.spaces).filter(|area| area.space() == Some(own));
                shown.extend(areas.filter_map(|area| area.page_of(page.index())));
            });
            assert_eq!(shown, [vpn]);
        }
    }
}

fn with_small_mm(body: impl for<'m> FnOnce(&TestMm<'m>)) {
    with_mm(&[frames(0, 2048)], Config::default(), body);
}

proptest! {
    #![proptest_config(cases(64))]

    /// RMAP-01: through splits, growth, protection, fork and exit, spaces have the same pages as a
    /// plain map, every mapped page leads to its mapping, and `validate()` passes.
    #[test]
    fn spaces_are_what_plain_maps_say(
        ops in prop::collection::vec((any::<prop::sample::Index>(), op()), 0..80),
    ) {
        with_small_mm(|mm| {
            let free = mm.total_free() - 1; // the zero page's
            let id = mm.create_space().expect("a space");
            let mut spaces = Vec::from([Space { id, pages: BTreeMap::new() }]);
            for (which, op) in ops {
                let at = which.index(spaces.len());
                match op {
                    Op::Fork if spaces.len() < 6 => {
                        let id = mm.fork_space(spaces[at].id).expect("memory for a child");
                        let pages = spaces[at].pages.clone();
                        spaces.push(Space { id, pages });
                    }
                    Op::Exit if spaces.len() > 1 => {
                        mm.destroy_space(spaces.swap_remove(at).id).expect("it exists");
                    }
                    Op::Fork | Op::Exit => {}
                    op => spaces[at].run(mm, op),
                }
                spaces.iter().for_each(|space| space.check(mm));
                mm.validate().expect("sound");
            }
            let census = mm.validate().expect("sound");
            assert_eq!(census.swap_entries, 0);
            for space in spaces {
                mm.destroy_space(space.id).expect("it exists");
            }
            mm.trim_tables();
            mm.validate().expect("sound when all are gone");
            assert_eq!(mm.total_free(), free, "pages, tables and families came back");
        });
    }
}

/// RMAP-01: an area that is split keeps its pages at their indices.
#[test]
fn a_split_area_still_leads_to_its_pages() {
    with_small_mm(|mm| {
        let id = mm.create_space().expect("a space");
        let rw = Prot::READ | Prot::WRITE;
        let start = mm.mmap(id, Place::Anywhere, 9, rw, AreaFlags::empty()).expect("room");
        let page = |i: u32| {
            let pte = mm.with_tables(id, |tables| tables.get(start + i));
            let Pte::Present(mapping) = pte else { panic!("page {i} is {pte:?}") };
            mm.map.page(mapping.pfn)
        };
        for i in 0..9 {
            assert_eq!(mm.handle_fault(id, (start + i).addr(), Access::Write), FaultEnd::Minor);
        }
        let before: Vec<(u32, u32)> = (0..9).map(|i| (page(i).owner(), page(i).index())).collect();
        mm.munmap(id, start + 4..start + 5).expect("a hole in the middle");
        mm.mprotect(id, start + 1..start + 3, Prot::READ).expect("areas without a hole");
        let space = Space { id, pages: (0..9).map(|i| (start + i, rw)).collect() };
        for i in [0, 1, 2, 3, 5, 6, 7, 8] {
            assert_eq!((page(i).owner(), page(i).index()), before[i as usize]);
            let mut hits = Vec::new();
            let mut frames = crate::rmap::FamilyFrames::NONE;
            mm.rmap.rmap_walk(page(i), &mut frames, &mut |hit| {
                hits.push(hit.vpn);
                core::ops::ControlFlow::Continue(())
            });
            mm.rmap.let_go_families(frames);
            assert_eq!(hits, [start + i]);
        }
        drop(space);
        mm.validate().expect("sound");
    });
}

/// LAZY-01: ranges that make no sense are refused with their bounds.
#[test]
fn senseless_ranges_are_refused() {
    with_small_mm(|mm| {
        let id = mm.create_space().expect("a space");
        let map = |at: u32, pages| {
            mm.mmap(id, Place::Fixed(Vpn(at)), pages, Prot::READ, AreaFlags::empty())
        };
        let refused = |start, end| Err(SpaceError::BadRange { start: Vpn(start), end: Vpn(end) });
        assert_eq!(map(100, 0), refused(100, 100));
        assert_eq!(map(0, 20), refused(0, 20));
        assert_eq!(map((1 << 27) - 1, 2), refused((1 << 27) - 1, (1 << 27) + 1));
        assert_eq!(map(100, u32::MAX), refused(100, 99));
        assert_eq!(mm.munmap(id, Vpn(30)..Vpn(20)), refused(30, 20).map(drop));
        assert_eq!(mm.mprotect(id, Vpn(30)..Vpn(40), Prot::READ), refused(30, 40).map(drop));
        let all = mm.mmap(id, Place::Anywhere, 1 << 27, Prot::READ, AreaFlags::empty());
        assert_eq!(all, Err(SpaceError::NoHole { pages: 1 << 27 }));
    });
}
