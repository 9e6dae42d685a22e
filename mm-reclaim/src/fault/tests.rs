//! Faults for which there is no memory: nothing is left behind.

use core::cell::Cell;

use super::{Access, FaultEnd};
use crate::base::sync::Ordering;
use crate::base::units::{Order, Pfn, Vpn};
use crate::boot::plan::Config;
use crate::env::{Pinned, Prot, TaskFlags};
use crate::mmap::Place;
use crate::page::LruList;
use crate::space::{AreaFlags, SpaceError, SpaceId};
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

/// Notes whether it was released.
struct Noted<'a>(&'a Cell<bool>);

impl Pinned for Noted<'_> {
    fn release(self) {
        self.0.set(true);
    }
}

/// A fault that finds all it needs leaves its caller pinned; any other has released it, and
/// so has one that ends badly. An open space is found without its name.
#[test]
fn a_fault_releases_its_caller_only_if_it_may_wait() {
    with_mm(&[frames(0, 1024)], Config::default(), |mm| {
        let id = mm.create_space().expect("a space");
        let prot = Prot::READ | Prot::WRITE;
        let at = mm.mmap(id, Place::Anywhere, 2, prot, AreaFlags::empty()).expect("room");
        let space = mm.open_space(id).expect("it exists");
        let fault = |addr: u64, access| {
            let released = Cell::new(false);
            let end = mm.handle_fault_pinned(&space, addr, access, Noted(&released));
            (end, released.get())
        };
        let write = |vpn: Vpn| fault(vpn.addr(), Access::Write);
        assert_eq!(write(at), (FaultEnd::Minor, true), "the area has no family yet");
        assert_eq!(write(at + 1), (FaultEnd::Minor, false), "a page is at hand");
        assert_eq!(write(at + 1), (FaultEnd::Minor, false), "only flags are set");
        assert_eq!(write(at + 2), (FaultEnd::BadAddress, true));
        assert_eq!(fault(at.addr(), Access::Exec), (FaultEnd::BadAddress, true));
        assert_eq!(fault(u64::MAX, Access::Read), (FaultEnd::BadAddress, true));
        assert_eq!(mm.space_stat(id).resident, 2);
        mm.close_space(space);
        mm.validate().expect("sound");
    });
}

/// BUDY-12: what is destroyed while it is open has no memory for its faults, and its frame is freed
/// when it is closed; a name that is gone opens nothing.
#[test]
fn an_open_space_may_be_destroyed() {
    with_mm(&[frames(0, 1024)], Config::default(), |mm| {
        let id = mm.create_space().expect("a space");
        let at = mm.mmap(id, Place::Anywhere, 1, Prot::WRITE, AreaFlags::empty()).expect("room");
        let space = mm.open_space(id).expect("it exists");
        mm.destroy_space(id).expect("it exists");
        assert_eq!(mm.open_space(id).err(), Some(SpaceError::NoSuchSpace));
        let released = Cell::new(false);
        let end = mm.handle_fault_pinned(&space, at.addr(), Access::Write, Noted(&released));
        assert_eq!((end, released.get()), (FaultEnd::BadAddress, true));
        mm.close_space(space);
        mm.validate().expect("sound");
    });
}
