//! Merging of areas, freeing of tables, refusal of ranges: one space at a time.

use std::vec::Vec;

use crate::base::units::{Pfn, Vpn};
use crate::boot::plan::Config;
use crate::env::Prot;
use crate::fault::{Access, FaultEnd};
use crate::mmap::Place;
use crate::space::{AreaFlags, SpaceError, SpaceId};
use crate::tests::{TestMm, frames, with_mm};
use crate::zone::FrameRange;

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn with_space(body: impl for<'m> FnOnce(&TestMm<'m>, SpaceId)) {
    with_mm(&[frames(0, 4096)], Config::default(), |mm| {
        let id = mm.create_space().expect("a space");
        body(mm, id);
        mm.validate().expect("sound");
        mm.destroy_space(id).expect("it exists");
        mm.validate().expect("sound when it is gone");
    });
}

fn areas(mm: &TestMm<'_>) -> u32 {
    mm.validate().expect("sound").areas
}

/// BUDY-12: restoring the rights merges all the pieces, touched or not.
#[test]
fn areas_that_agree_again_are_one_again() {
    for touched in [0, 1, 2] {
        with_space(|mm, id| {
            let start = mm.mmap(id, Place::Anywhere, 64, RW, AreaFlags::empty()).expect("room");
            let touch = |vpn: Vpn| {
                assert_eq!(mm.handle_fault(id, vpn.addr(), Access::Write), FaultEnd::Minor);
            };
            if touched > 0 {
                (0..64).for_each(|i| touch(start + i));
            }
            for i in 0..64 {
                let page = start + i..start + i + 1;
                mm.mprotect(id, page.clone(), Prot::empty()).expect("mapped");
                assert!(areas(mm) <= 3);
                mm.mprotect(id, page, RW).expect("mapped");
                assert_eq!(areas(mm), 1, "page {i}");
                if touched == 2 {
                    touch(start + i);
                }
            }
            for i in (0..64).step_by(2) {
                mm.mlock(id, start + i..start + i + 1).expect("memory");
            }
            assert_eq!(areas(mm), 64);
            mm.munlock(id, start..start + 64).expect("mapped");
            // Untouched pieces got a family in turn, which at most 16 areas share.
            let most = if touched == 0 { 3 } else { 1 };
            assert!(areas(mm) <= most, "{} areas", areas(mm));
        });
    }
}

/// BUDY-12: a first touch takes the family of the neighbour, so that both merge when they
/// agree.
#[test]
fn a_first_touch_adopts_a_neighbours_family() {
    with_space(|mm, id| {
        let start = mm.mmap(id, Place::Anywhere, 8, RW, AreaFlags::empty()).expect("room");
        mm.mprotect(id, start..start + 4, Prot::READ | Prot::WRITE | Prot::EXEC).expect("mapped");
        for vpn in [start, start + 4] {
            assert_eq!(mm.handle_fault(id, vpn.addr(), Access::Write), FaultEnd::Minor);
        }
        let census = mm.validate().expect("sound");
        assert_eq!((census.areas, census.families), (2, 1));
        mm.mprotect(id, start..start + 4, RW).expect("mapped");
        assert_eq!(areas(mm), 1);
    });
}

/// BUDY-12: a mapping between two that agree with it is merged with both.
#[test]
fn a_mapping_that_fills_a_hole_joins_both_neighbours() {
    with_space(|mm, id| {
        let start = mm.mmap(id, Place::Anywhere, 9, RW, AreaFlags::empty()).expect("room");
        for vpn in [start, start + 8] {
            assert_eq!(mm.handle_fault(id, vpn.addr(), Access::Write), FaultEnd::Minor);
        }
        mm.munmap(id, start + 3..start + 6).expect("mapped");
        assert_eq!(areas(mm), 2);
        let again = mm.mmap(id, Place::Fixed(start + 3), 3, RW, AreaFlags::empty());
        assert_eq!((again, areas(mm)), (Ok(start + 3), 1));
    });
}

/// A place is a type: an impossible address does not mean "anywhere".
#[test]
fn a_fixed_place_is_that_place_or_an_error() {
    with_space(|mm, id| {
        let flags = AreaFlags::empty();
        let start = mm.mmap(id, Place::Anywhere, 4, RW, flags).expect("room");
        let taken = mm.mmap(id, Place::Fixed(start), 4, RW, flags);
        assert_eq!(taken, Err(SpaceError::BadRange { start, end: start + 4 }));
        let elsewhere = mm.mmap(id, Place::Hint(start), 4, RW, flags).expect("room");
        assert_ne!(elsewhere, start);
        let free = start + 1000;
        assert_eq!(mm.mmap(id, Place::Hint(free), 4, RW, flags), Ok(free));
        let beyond = Vpn(1 << 27);
        assert!(mm.mmap(id, Place::Fixed(beyond), 1, RW, flags).is_err());
        assert!(mm.mmap(id, Place::Hint(beyond), 1, RW, flags).is_ok());
    });
}

/// BUDY-12: success is returned only for what was done; the name of a destroyed space is refused.
#[test]
fn a_space_that_does_not_exist_is_refused_everywhere() {
    with_mm(&[frames(0, 4096)], Config::default(), |mm| {
        let gone = mm.create_space().expect("a space");
        mm.destroy_space(gone).expect("it exists");
        let heir = mm.create_space().expect("a space");
        assert_ne!(gone, heir);
        let (flags, range) = (AreaFlags::empty(), Vpn(100)..Vpn(104));
        mm.mmap(heir, Place::Fixed(Vpn(100)), 4, RW, flags).expect("room");
        let none = Err(SpaceError::NoSuchSpace);
        assert_eq!(mm.mmap(gone, Place::Anywhere, 4, RW, flags).map(drop), none);
        assert_eq!(mm.munmap(gone, range.clone()), none);
        assert_eq!(mm.mprotect(gone, range.clone(), RW), none);
        assert_eq!(mm.mlock(gone, range.clone()), none);
        assert_eq!(mm.munlock(gone, range.clone()), none);
        let advice = crate::mmap::madvise::Advice::DontNeed;
        assert_eq!(mm.madvise(gone, range, advice).map(drop), none);
        assert_eq!(mm.fork_space(gone).map(drop), none);
        assert_eq!(mm.destroy_space(gone), none);
        assert_eq!(mm.oom_score_adj(gone).map(drop), none);
        assert!(mm.set_oom_score_adj(gone, 5).is_err());
        assert_eq!(mm.handle_fault(gone, Vpn(100).addr(), Access::Write), FaultEnd::BadAddress);
        let census = mm.validate().expect("sound");
        assert_eq!((census.spaces, census.areas), (1, 1));
        mm.destroy_space(heir).expect("it exists");
    });
}

/// ZONE-04: frames outside the plan, and frames that were handed over before, are refused.
#[test]
fn bootmem_outside_the_plan_is_refused_with_its_frame() {
    let said = |range: FrameRange| {
        crate::tests::panic_of(|| {
            let ranges = [frames(16, 512), frames(1024, 2048)];
            with_mm(&ranges, Config::default(), |mm| mm.free_bootmem(range));
        })
    };
    for range in [frames(512, 513), frames(1000, 1024), frames(2048, 2049), frames(0, 4)] {
        assert!(said(range).contains("is no memory of the plan"), "{range:?}");
    }
    assert!(said(frames(100, 101)).contains("was handed over before"));
    assert!(said(FrameRange { start: Pfn(511), end: Pfn(513) }).contains("pfn 0x1ff"));
}

/// BUDY-12: a table is freed with the last area that it translates for, after the space was
/// flushed, and added again when it is needed.
#[test]
fn tables_go_with_their_areas() {
    with_mm(&[frames(0, 4096)], Config::default(), |mm| {
        mm.env.two_levels.store(true, crate::base::sync::Ordering::Relaxed);
        let id = mm.create_space().expect("a space");
        let places: Vec<Vpn> = (0..3)
            .map(|_| {
                let at = mm.mmap(id, Place::Anywhere, 2, RW, AreaFlags::empty()).expect("room");
                assert_eq!(mm.handle_fault(id, at.addr(), Access::Write), FaultEnd::Minor);
                at
            })
            .collect();
        for (left, at) in places.iter().enumerate().rev() {
            assert_eq!(mm.space_stat(id).table_frames, 2);
            mm.munmap(id, *at..*at + 2).expect("mapped");
            assert_eq!(mm.space_stat(id).table_frames, if left == 0 { 1 } else { 2 });
        }
        mm.validate().expect("sound");
        mm.destroy_space(id).expect("it exists");
    });
}
