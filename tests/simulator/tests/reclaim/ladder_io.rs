//! The steps of the ladder that involve the device: pages on their way to it, and what is left of
//! them when it is done.

use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::{LruList, PageFlags};
use mm_reclaim::reclaim::{ActivateReason as Activate, FreeReason, KeepReason as Keep, Reason};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::zone::ZoneFlags;
use simulator::{DiskConfig, FIRST_DISK, Machine, Pace};

use crate::bench::{
    FILES, HeldLock, anything, chill, clean_file, cold, direct, direct_round, dirty_file,
    file_in_flight, frame, frames, half_way, has, hot, in_flight, is_present, kswapd, look, on,
    on_list, page, prove, slow, unwanted, with_file_disk,
};

const DISK: DiskConfig = DiskConfig::sync(256);
const WRITTEN: Reason = Reason::Free(FreeReason::Written);
const CLEAN: Reason = Reason::Free(FreeReason::Clean);
const IN_FLIGHT: Reason = Reason::Keep(Keep::InFlight);
const UNDER: Reason = Reason::Activate(Activate::UnderWriteback);
const IMMEDIATE: Reason = Reason::Activate(Activate::ImmediateWriteback);

/// Whether every zone with memory is flagged.
fn is_flagged(machine: Machine<'_>, flags: ZoneFlags) -> bool {
    machine.mm.zones().all(|zone| zone.flags().contains(flags))
}

/// SPL-04: what is dirty, unqueued, congested, under write-back, each counted where it is
/// due and nowhere else.
#[test]
fn a_batch_is_counted_by_what_the_device_still_owes() {
    with_file_disk(slow(64), |machine| {
        let counts = |frames: &[_], request| {
            let stat = look(machine, frames, request).stat;
            [stat.dirty, stat.unqueued, stat.congested, stat.writeback, stat.immediate]
        };
        let (program, area) = hot(machine, 1);
        let mapped = frame(machine, &program, area.start);
        assert_eq!(counts(&[mapped], anything()), [0; 5], "not dirty before it is unmapped");
        let (other, _, waiting) = half_way(machine);
        assert_eq!(counts(&[waiting], direct(Gfp::NOIO)), [0; 5], "anonymous");
        let (dirty, unwritten) = dirty_file(machine, 1);
        assert_eq!(counts(&unwritten, direct(Gfp::NOIO)), [1, 1, 0, 0, 0]);
        let (third, written) = file_in_flight(machine, 2);
        assert_eq!(counts(&written, anything()), [2, 0, 0, 2, 0]);
        assert_eq!(counts(&written, anything()), [2, 0, 2, 2, 0], "marked already: congested");
        machine.world.disks.configure(FILES, |disk| disk.congested_above = 1);
        assert_eq!(counts(&unwritten, direct(Gfp::NOIO)), [1, 1, 1, 0, 0]);
        let all = [unwritten[0], written[0], written[1]];
        assert_eq!(counts(&all, direct(Gfp::NOIO)), [3, 1, 3, 2, 0]);
        drop((program, other, dirty, third));
        prove(machine);
    });
}

/// SPL-05: kswapd that meets a page again in a zone full of write-back counts it as
/// immediate and moves it to the active list.
#[test]
fn kswapd_in_a_drowning_zone_counts_immediate() {
    on(slow(64), |machine| {
        let (program, area, written) = in_flight(machine, 2);
        direct_round(machine, Gfp::KERNEL);
        assert!(is_flagged(machine, ZoneFlags::WRITEBACK));
        let seen = look(machine, &written, kswapd());
        assert_eq!(seen.verdicts, [(IMMEDIATE, 2)]);
        assert_eq!((seen.stat.immediate, seen.stat.writeback), (2, 0));
        assert_eq!(on_list(machine, LruList::ActiveAnon), 2);
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-05, SPL-06: without the flag, or by another reclaimer, the page is marked and counted as
/// write-back.
#[test]
fn others_mark_and_activate_what_is_under_write_back() {
    on(slow(64), |machine| {
        let (program, area, written) = in_flight(machine, 1);
        assert!(!is_flagged(machine, ZoneFlags::WRITEBACK));
        let seen = look(machine, &written, kswapd());
        assert_eq!((seen.verdicts, seen.stat.writeback), (vec![(UNDER, 1)], 1), "no flag");
        direct_round(machine, Gfp::KERNEL);
        let (other, rest, more) = in_flight(machine, 1);
        direct_round(machine, Gfp::KERNEL);
        assert!(is_flagged(machine, ZoneFlags::WRITEBACK));
        let seen = look(machine, &more, anything());
        assert_eq!((seen.verdicts, seen.stat.writeback), (vec![(UNDER, 1)], 1), "not kswapd");
        // Without its mark a page counts as met for the first time, even for kswapd.
        page(machine, more[0]).corrupt_flags(PageFlags::RECLAIM);
        let seen = look(machine, &more, kswapd());
        assert_eq!((seen.verdicts, seen.stat.immediate), (vec![(UNDER, 1)], 0), "not marked");
        assert!(has(machine, more[0], PageFlags::RECLAIM | PageFlags::ACTIVE));
        prove(machine);
        program.check_all(area);
        other.check_all(rest);
    });
}

/// SPL-14: a page that the device has not written yet is kept, and the next fault finds it
/// without reading.
#[test]
fn a_page_in_flight_is_kept_and_found_again() {
    on(slow(64), |machine| {
        let (program, area) = cold(machine, 1);
        let pfn = frame(machine, &program, area.start);
        let seen = look(machine, &[pfn], anything());
        assert_eq!((seen.verdicts, seen.stat.pageout), (vec![(IN_FLIGHT, 1)], 1));
        assert_eq!(machine.mm.event(VmEvent::NrVmscanWrite), 1);
        assert!(!is_present(machine, &program, area.start));
        program.check_all(area.clone());
        assert_eq!(frame(machine, &program, area.start), pfn);
        assert!(has(machine, pfn, PageFlags::WRITEBACK), "still under way");
        prove(machine);
        assert_eq!(machine.world.disks.stat(FIRST_DISK).reads, 0);
    });
}

/// SPL-14: a page that is written synchronously is freed in the same pass.
#[test]
fn a_page_written_synchronously_is_freed_in_this_pass() {
    for requests_only in [false, true] {
        on(DiskConfig { requests_only, ..DISK }, written_and_freed);
    }
}

fn written_and_freed(machine: Machine<'_>) {
    let (program, area) = cold(machine, 5);
    let seen = look(machine, &frames(machine, &program, area.clone()), anything());
    assert_eq!((seen.verdicts, seen.stat.reclaimed), (vec![(WRITTEN, 5)], 5));
    assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, 5);
    assert_eq!(machine.mm.event(VmEvent::PswpOut), 5);
    prove(machine);
    program.check_all(area);
}

/// SPL-14: a page whose slot has no user any more is not written; its slot is free again.
#[test]
fn a_page_that_nobody_wants_is_not_written() {
    on(DISK, |machine| {
        let (program, _, pfn) = unwanted(machine);
        let seen = look(machine, &[pfn], anything());
        assert_eq!(seen.verdicts, [(Reason::Keep(Keep::SlotUnused), 1)]);
        assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, 0);
        assert_eq!(machine.mm.swap_pages(), (255, 255));
        // LRU-06: the isolation was the last reference.
        assert_eq!(page(machine, pfn).refs(), 0, "no holder, so it was freed");
        prove(machine);
        drop(program);
    });
}

/// SWAP-07, SPL-14: a page whose write failed stays, dirty and active, and says why; so does one
/// whose device answers later, whether the page is on a list by then or not.
#[test]
fn a_page_whose_write_failed_is_dirty_and_active() {
    let at_once = Pace::Async { latency: 0..1, per_page: 0 };
    let at_once = DiskConfig { pace: at_once, ..DISK };
    for disk in [DISK, DiskConfig::later(256), at_once, slow(256)] {
        let verdict = match disk.pace {
            Pace::Sync => Reason::Activate(Activate::WriteFailed),
            Pace::Async { .. } => IN_FLIGHT,
        };
        on(DiskConfig { fail_write: 1, ..disk }, |machine| {
            let (program, area) = cold(machine, 3);
            let all = frames(machine, &program, area.clone());
            let seen = look(machine, &all, anything());
            assert_eq!(seen.verdicts, [(verdict, 3)]);
            machine.settle();
            let state = PageFlags::DIRTY | PageFlags::SWAPCACHE | PageFlags::ACTIVE;
            assert!(all.iter().all(|pfn| has(machine, *pfn, state)), "{verdict:?}");
            assert!(!all.iter().any(|pfn| has(machine, *pfn, PageFlags::ERROR)));
            assert_eq!(on_list(machine, LruList::ActiveAnon), 3);
            assert_eq!(machine.mm.event(VmEvent::SwapWriteError), 3);
            machine.world.disks.configure(FIRST_DISK, |disk| disk.fail_write = 0);
            prove(machine);
            program.check_all(area);
            prove(machine);
        });
    }
}

/// SPL-20: submitting clears dirty, sets write-back and the mark, and drops the lock;
/// completion clears both.
#[test]
fn submission_and_completion_change_just_their_flags() {
    let all = PageFlags::DIRTY | PageFlags::WRITEBACK | PageFlags::RECLAIM | PageFlags::LOCKED;
    on(slow(64), |machine| {
        let (program, area, pfn) = half_way(machine);
        let flags = || page(machine, pfn).flags() & all;
        assert_eq!(flags(), PageFlags::DIRTY);
        look(machine, &[pfn], anything());
        assert_eq!(flags(), PageFlags::WRITEBACK | PageFlags::RECLAIM);
        assert_eq!(machine.mm.pages_under_writeback(), 1);
        prove(machine);
        assert_eq!(flags(), PageFlags::empty());
        assert_eq!(machine.mm.pages_under_writeback(), 0);
        let seen = look(machine, &[pfn], anything());
        assert_eq!(seen.verdicts, [(CLEAN, 1)], "written once is enough");
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-20, LRU-07: a page that was written goes to the tail: the next reclaim takes it
/// before pages that have waited longer.
#[test]
fn written_pages_are_reclaimed_next() {
    on(slow(256), |machine| {
        let (program, area, _) = in_flight(machine, 32);
        let (other, rest) = cold(machine, 32);
        prove(machine);
        assert_eq!(machine.mm.event(VmEvent::PgRotated), 32);
        let verdicts = direct_round(machine, Gfp::KERNEL);
        let clean = verdicts.iter().find(|(r, _)| *r == CLEAN).map_or(0, |(_, n)| *n);
        assert!(clean >= 31, "{verdicts:?}");
        prove(machine);
        program.check_all(area);
        other.check_all(rest);
    });
}

/// LRU-07: from the active list too, and the page is active no longer.
#[test]
fn completion_takes_a_page_off_the_active_list() {
    on(slow(64), |machine| {
        let (program, area, written) = in_flight(machine, 3);
        assert_eq!(look(machine, &written, anything()).verdicts, [(UNDER, 3)]);
        assert_eq!(on_list(machine, LruList::ActiveAnon), 3);
        prove(machine);
        assert_eq!(on_list(machine, LruList::ActiveAnon), 0);
        assert_eq!(on_list(machine, LruList::InactiveAnon), 3);
        assert_eq!(machine.mm.event(VmEvent::PgRotated), 3);
        program.check_all(area);
    });
}

/// LRU-07: a page that is locked, dirty or unevictable when its write completes is left
/// where it is, and so is one without the mark.
#[test]
fn completion_leaves_pages_that_are_wanted() {
    on(slow(64), |machine| {
        let (program, area, written) = in_flight(machine, 4);
        assert_eq!(look(machine, &written, anything()).verdicts, [(UNDER, 4)]);
        let lock = HeldLock::of(machine, written[0]);
        page(machine, written[1]).corrupt_flags(PageFlags::DIRTY);
        page(machine, written[3]).corrupt_flags(PageFlags::RECLAIM);
        let third = area.start + 2..area.start + 3;
        machine.mm.mlock(program.space, third).expect("memory");
        machine.settle();
        assert_eq!(machine.mm.event(VmEvent::PgRotated), 0);
        assert_eq!(on_list(machine, LruList::ActiveAnon), 3);
        assert_eq!(on_list(machine, LruList::Unevictable), 1);
        page(machine, written[1]).corrupt_flags(PageFlags::DIRTY);
        drop(lock);
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-06, SPL-14: a page in flight that is stored to again is written again, and no store
/// is lost.
#[test]
fn a_store_during_write_back_is_not_lost() {
    on(slow(64), |machine| {
        let (mut program, area, _) = in_flight(machine, 4);
        program.write_all(area.clone());
        prove(machine);
        chill(&mut program, area.clone());
        let all = frames(machine, &program, area.clone());
        assert_eq!(look(machine, &all, anything()).verdicts, [(IN_FLIGHT, 4)], "dirty again");
        prove(machine);
        look(machine, &all, anything());
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-16: a clean page of a file that was read once is freed without a write, and leaves a shadow.
#[test]
fn a_clean_page_of_a_file_is_freed_at_once() {
    with_file_disk(DISK, |machine| {
        let (mut file, frames) = clean_file(machine, 4);
        let writes = machine.world.disks.stat(FILES).writes;
        let seen = look(machine, &frames, direct(Gfp::NOIO));
        assert_eq!(seen.verdicts, [(CLEAN, 4)]);
        assert_eq!(machine.world.disks.stat(FILES).writes, writes);
        assert_eq!(file.read(0, 8), Ok(vec![1; 8]));
        assert_eq!(
            machine.mm.event(VmEvent::WorkingsetRefaultFile),
            4,
            "read with those behind it"
        );
        drop(file);
        prove(machine);
    });
}
