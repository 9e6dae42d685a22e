//! Faults for which there is no memory: nothing is left behind.

use super::{Access, FaultEnd};
use crate::base::sync::Ordering;
use crate::base::units::{Order, Pfn, Vpn};
use crate::boot::plan::Config;
use crate::env::{Prot, TaskFlags};
use crate::mmap::Place;
use crate::page::LruList;
use crate::space::{AreaFlags, SpaceId};
use crate::tests::{TestMm, frames, with_mm};
use crate::zone::gfp::Gfp;

/// Pages enough for a page and a table, although the first request takes a batch of them.
const PLENTY: u32 = 40;

/// A space with one area, whose tables miss a level, and exactly `left` free pages, all of which
/// the caller may take.
fn with_little_memory(
    flags: AreaFlags,
    left: u32,
    body: impl for<'m> FnOnce(&TestMm<'m>, SpaceId, Vpn),
) {
    with_mm(&[frames(0, 1024)], Config::default(), |mm| {
        // Another program's first touch has brought a frame for families.
        let other = mm.create_space().expect("a space");
        let at = mm.mmap(other, Place::Anywhere, 1, Prot::WRITE, flags).expect("room");
        assert_eq!(mm.handle_fault(other, at.addr(), Access::Write), FaultEnd::Minor);
        mm.munmap(other, at..at + 1).expect("mapped");
        mm.lru_add_drain_all();
        mm.zones().for_each(|zone| assert!(zone.drain_pcp()));
        mm.env.two_levels.store(true, Ordering::Relaxed);
        let id = mm.create_space().expect("a space");
        let start = mm.mmap(id, Place::Anywhere, 4, Prot::READ | Prot::WRITE, flags).expect("room");
        mm.env.set_flags(TaskFlags::MEMALLOC);
        let mut last = None;
        while let Some(pfn) = mm.alloc_pages(Gfp::KERNEL, Order::ZERO) {
            last = last.max(Some(pfn));
        }
        let last = last.expect("a page");
        (0..left).for_each(|i| mm.free_pages(Pfn(last.0 - i), Order::ZERO));
        mm.zones().for_each(|zone| assert!(zone.drain_pcp()));
        assert_eq!(mm.total_free(), left);
        body(mm, id, start);
    });
}

/// BUDY-10, OOM-02: a fault that finds a page but no memory for a table kills its task and frees
/// the page, in an ordinary area and in a locked one.
#[test]
fn a_fault_without_memory_for_tables_gives_its_page_back() {
    for flags in [AreaFlags::empty(), AreaFlags::LOCKED] {
        with_little_memory(flags, 1, |mm, id, start| {
            let end = mm.handle_fault(id, start.addr(), Access::Write);
            assert_eq!((end, mm.total_free()), (FaultEnd::Killed, 1), "{flags:?}");
            assert_eq!(mm.space_stat(id).resident, 0);
            mm.validate().expect("sound");
        });
    }
}

/// BUDY-10: without any memory, the fault kills its task too.
#[test]
fn a_fault_without_any_memory_kills() {
    with_little_memory(AreaFlags::empty(), 0, |mm, id, start| {
        assert_eq!(mm.handle_fault(id, start.addr(), Access::Read), FaultEnd::Killed);
        mm.validate().expect("sound");
    });
}

/// With memory for the table too, the fault succeeds; its tables are counted.
#[test]
fn a_fault_grows_the_tables_when_there_is_memory() {
    for flags in [AreaFlags::empty(), AreaFlags::LOCKED] {
        with_little_memory(flags, PLENTY, |mm, id, start| {
            assert_eq!(mm.handle_fault(id, start.addr(), Access::Write), FaultEnd::Minor);
            let stat = mm.space_stat(id);
            assert_eq!((stat.resident, stat.table_frames, stat.min_faults), (1, 2, 1));
            assert_eq!(mm.total_free(), PLENTY - 2);
            mm.validate().expect("sound");
        });
    }
}

/// LRU-10: a page of a locked area goes to the unevictable list from the start.
#[test]
fn a_page_of_a_locked_area_is_unevictable() {
    with_little_memory(AreaFlags::LOCKED, PLENTY, |mm, id, start| {
        assert_eq!(mm.handle_fault(id, start.addr(), Access::Read), FaultEnd::Minor);
        mm.lru_add_drain_all();
        assert_eq!(mm.lru().total(LruList::Unevictable), 1);
    });
}
