//! The ladder with pages of files: what a verdict leaves behind, and what other tasks may do to a page
//! that is being written.

use mm_reclaim::Place;
use mm_reclaim::env::Prot;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::{LruList, PageFlags};
use mm_reclaim::reclaim::{
    ActivateReason as Activate, CullReason, FreeReason, KeepReason as Keep, May, Reason,
    ScanRequest,
};
use mm_reclaim::space::AreaFlags;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Nanos, PAGE_SIZE, Pfn, Vpn};
use mm_reclaim::zone::ZoneFlags;
use simulator::tables::Touch;
use simulator::{DiskConfig, FIRST_DISK, Machine, OpenFile, Program};

use crate::bench::{
    FILES, HeldLock, anything, clean_file, direct_round, dirty_file, event, has, kswapd, look,
    on_list, page, prove, small, with_file_disk, without,
};

const DISK: DiskConfig = DiskConfig::sync(256);
const WRITTEN: Reason = Reason::Free(FreeReason::Written);
const DIRTY_FILE: Reason = Reason::Activate(Activate::DirtyFile);

/// Has direct reclaim meet a batch of dirty pages only, so that the zone is flagged, and waits until the
/// flusher has written them.
pub fn flag_dirty(machine: Machine<'_>) {
    let (others, _) = dirty_file(machine, 40);
    direct_round(machine, Gfp::KERNEL);
    assert!(machine.mm.zones().all(|zone| zone.flags().contains(ZoneFlags::DIRTY)));
    machine.settle();
    drop(others);
}

/// A file with dirty pages that kswapd has met once, in a zone full of dirty pages.
pub fn met_once(machine: Machine<'_>, count: u32) -> (OpenFile<'_>, Vec<Pfn>) {
    flag_dirty(machine);
    let (file, frames) = dirty_file(machine, count);
    let seen = look(machine, &frames, kswapd());
    assert_eq!(seen.verdicts, [(DIRTY_FILE, u64::from(count))]);
    (file, frames)
}

/// SPL-03: a mapped page of a file counts double, as an anonymous one does.
#[test]
fn a_mapped_page_of_a_file_counts_double() {
    with_file_disk(DISK, |machine| {
        let (file, frames) = clean_file(machine, 2);
        let program = Program::new(machine);
        let at = map_first(machine, &program, &file);
        program.touch(at.addr(), Touch::Load).expect("a mapped page");
        assert_eq!(look(machine, &frames[..1], anything()).pressure, 2);
        assert_eq!(look(machine, &frames[1..], anything()).pressure, 1);
        drop((program, file));
        prove(machine);
    });
}

fn map_first<'m>(machine: Machine<'m>, program: &Program<'_>, file: &OpenFile<'m>) -> Vpn {
    let (rw, shared) = (Prot::READ | Prot::WRITE, AreaFlags::SHARED);
    let at = machine.mm.mmap_file(program.space, Place::Anywhere, rw, shared, file.file(), 0..1);
    at.expect("room for an area")
}

/// SPL-02: the pages of an unevictable file are found on the unevictable list, mapped or not, and come
/// back when the file is evictable again, but for one that is locked into memory too.
#[test]
fn an_unevictable_file_keeps_its_pages() {
    with_file_disk(DISK, |machine| {
        let (mut file, frames) = clean_file(machine, 3);
        let program = Program::new(machine);
        let at = map_first(machine, &program, &file);
        program.touch(at.addr(), Touch::Load).expect("a mapped page");
        machine.mm.set_file_unevictable(file.file(), true);
        let seen = look(machine, &frames, ScanRequest::proactive());
        assert_eq!(seen.verdicts, [(Reason::Cull(CullReason::Unevictable), 3)]);
        assert_eq!(on_list(machine, LruList::Unevictable), 3);
        assert_eq!(event(machine, VmEvent::UnevictablePgsCulled), 3);
        let reads = machine.world.disks.stat(FILES).reads;
        assert_eq!(file.read(0, 8), Ok(vec![1; 8]));
        assert_eq!(machine.world.disks.stat(FILES).reads, reads);
        machine.mm.mlock(program.space, at..at + 1).expect("memory");
        machine.mm.munlock(program.space, at..at + 1).expect("an area");
        assert_eq!(on_list(machine, LruList::Unevictable), 3, "the file is unevictable still");
        machine.mm.mlock(program.space, at..at + 1).expect("memory");
        machine.mm.set_file_unevictable(file.file(), false);
        assert_eq!(event(machine, VmEvent::UnevictablePgsRescued), 2);
        assert_eq!(on_list(machine, LruList::Unevictable), 1);
        machine.mm.munlock(program.space, at..at + 1).expect("an area");
        assert_eq!(on_list(machine, LruList::InactiveFile), 3);
        drop((program, file));
        prove(machine);
    });
}

/// SPL-13: reclaim leaves dirty pages to the flusher, marked so that they are freed soon after; each
/// time counts. A store through a mapping makes a page dirty no less.
#[test]
fn dirty_pages_are_marked_and_left_to_the_flusher() {
    with_file_disk(DISK, |machine| {
        let (file, frames) = dirty_file(machine, 2);
        let program = Program::new(machine);
        let at = map_first(machine, &program, &file);
        program.touch(at.addr(), Touch::Store(7)).expect("a mapped page");
        let seen = look(machine, &frames, ScanRequest::proactive());
        assert_eq!(seen.verdicts, [(DIRTY_FILE, 2)]);
        assert_eq!(event(machine, VmEvent::NrVmscanImmediateReclaim), 2);
        assert!(frames.iter().all(|pfn| has(machine, *pfn, PageFlags::RECLAIM)));
        assert_eq!(on_list(machine, LruList::ActiveFile), 2);
        assert_eq!(machine.world.disks.stat(FILES).writes, 0);
        machine.mm.sync_files().expect("alive");
        machine.settle();
        assert_eq!(on_list(machine, LruList::InactiveFile), 2, "LRU-07: written, so next");
        let seen = look(machine, &frames, anything());
        assert_eq!(seen.verdicts, [(Reason::Free(FreeReason::Clean), 2)]);
        assert_eq!(program.touch(at.addr(), Touch::Load), Ok(7));
        drop((program, file));
        prove(machine);
    });
}

/// SPL-13: kswapd writes by itself at the second visit, and only in a zone flagged as full of dirty
/// pages; a synchronous device has the pages freed in the same pass (SPL-14).
#[test]
fn kswapd_writes_at_the_second_visit() {
    with_file_disk(DISK, |machine| {
        let (mut file, frames) = met_once(machine, 3);
        let seen = look(machine, &frames, kswapd());
        assert_eq!(seen.verdicts, [(WRITTEN, 3)]);
        assert_eq!((seen.stat.pageout, seen.stat.reclaimed), (3, 3));
        assert_eq!(machine.mm.dirty_state().dirty, 0);
        assert_eq!(file.read(0, 8), Ok(vec![1; 8]));
        drop(file);
        prove(machine);
    });
}

/// SPL-13: in a zone that is not flagged nobody writes, at whatever visit.
#[test]
fn nobody_writes_in_a_zone_that_is_not_flagged() {
    with_file_disk(DISK, |machine| {
        let (file, frames) = dirty_file(machine, 3);
        for request in [kswapd(), kswapd(), anything()] {
            assert_eq!(look(machine, &frames, request).verdicts, [(DIRTY_FILE, 3)]);
        }
        assert_eq!(machine.world.disks.stat(FILES).writes, 0);
        drop(file);
        prove(machine);
    });
}

/// SPL-14: what a store refuses is activated without its mark, and written once the store agrees.
#[test]
fn a_refused_page_is_activated_without_its_mark() {
    with_file_disk(DISK, |machine| {
        let (mut file, frames) = met_once(machine, 1);
        machine.world.files.refuse_writes(true);
        let writes = machine.world.disks.stat(FILES).writes;
        let seen = look(machine, &frames, kswapd());
        assert_eq!(seen.verdicts, [(Reason::Activate(Activate::PageoutFailed), 1)]);
        assert!(has(machine, frames[0], PageFlags::DIRTY | PageFlags::ACTIVE));
        assert!(!has(machine, frames[0], PageFlags::RECLAIM));
        assert_eq!((seen.stat.pageout, machine.world.disks.stat(FILES).writes), (0, writes));
        file.sync().expect("only reclaim is refused");
        assert_eq!(machine.world.disks.stat(FILES).writes, writes + 1);
        drop(file);
        prove(machine);
    });
}

/// What another task does to a page that is being written, and the verdict.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Dirty,
    Lock,
}

/// SPL-14: a page that was dirtied again while it was written is kept, and so is one whose lock was
/// taken; neither is lost.
#[test]
fn a_page_that_is_used_while_it_is_written_is_kept() {
    for (act, want) in [(Act::Dirty, Keep::DirtyAgain), (Act::Lock, Keep::LockLost)] {
        let mut config = small(DiskConfig::sync(64));
        config.hardware.disks.push(DiskConfig { is_swap: false, ..DISK });
        (config.hardware.cpus, config.mm.swappiness) = (2, 0);
        Machine::run(&config, |machine| {
            let (mut file, frames) = met_once(machine, 1);
            // The store's end of the write is past when it rests.
            machine.world.files.rest_after_writes(Nanos::from_millis(2));
            machine.crowd(2, |machine, task| match task {
                0 => {
                    let seen = look(machine, &frames, kswapd());
                    assert_eq!(seen.verdicts, [(Reason::Keep(want), 1)]);
                }
                _ => act_during_write(machine, frames[0], act),
            });
            assert_eq!(has(machine, frames[0], PageFlags::DIRTY), act == Act::Dirty);
            assert_eq!(file.read(0, 8), Ok(vec![1; 8]));
            drop(file);
            prove(machine);
        });
    }
}

fn act_during_write(machine: Machine<'_>, pfn: Pfn, act: Act) {
    machine.sleep(Nanos::from_millis(1));
    assert!(!has(machine, pfn, PageFlags::DIRTY), "it is being written");
    match act {
        Act::Dirty => {
            let held = machine.mm.get_page(pfn).expect("a page in use");
            machine.mm.set_page_dirty(&held);
            machine.mm.put_page(held);
        }
        Act::Lock => {
            let lock = HeldLock::of(machine, pfn);
            machine.sleep(Nanos::from_millis(4));
            drop(lock);
        }
    }
}

/// SPL-14: a page of shared memory gets its slot on the rung on which it is written, and comes back from
/// it; one that another task holds takes none.
#[test]
fn shared_memory_gets_its_slot_when_it_is_written() {
    with_file_disk(DISK, |machine| {
        let mut file = OpenFile::shared_memory(machine);
        assert_eq!(file.write(0, &[3; 2 * PAGE_SIZE]), Ok(2 * PAGE_SIZE));
        machine.mm.lru_add_drain_all();
        let frame = |index| machine.mm.file_frame(file.file(), index).expect("a cached page");
        let frames = [frame(0), frame(1)];
        let held = crate::bench::HeldPage::of(machine, frames[0]);
        let seen = look(machine, &frames, anything());
        let want = [(Reason::Keep(Keep::ExtraReference), 1), (WRITTEN, 1)];
        assert_eq!((&seen.verdicts[..], seen.stat.pageout), (&want[..], 1));
        assert!(!has(machine, frames[0], PageFlags::SWAPCACHE), "no slot in vain");
        assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, 1);
        drop(held);
        assert_eq!(file.read(PAGE_SIZE as u64, 8), Ok(vec![3; 8]));
        drop(file);
        prove(machine);
    });
}

/// SPL-19: the questions before a page of a file is written, in their order.
#[test]
fn the_questions_before_a_write_of_a_file_come_in_their_order() {
    let no_fs = |request| ScanRequest { gfp: Gfp::NOFS, ..request };
    let no_write = |request| without(request, May::WRITEPAGE);
    let keep = Reason::Keep;
    let table = [
        // SPL-13 comes first, and whether the page was referenced next.
        (no_write(no_fs(anything())), true, DIRTY_FILE),
        (no_write(no_fs(kswapd())), true, keep(Keep::ReferencedDirty)),
        (no_write(no_fs(kswapd())), false, keep(Keep::MayNotEnter)),
        (no_write(kswapd()), false, keep(Keep::MayNotWrite)),
        (kswapd(), false, WRITTEN),
    ];
    for (request, referenced, want) in table {
        with_file_disk(DISK, |machine| {
            let (file, frames) = met_once(machine, 1);
            if referenced {
                page(machine, frames[0]).corrupt_flags(PageFlags::REFERENCED);
            }
            assert_eq!(look(machine, &frames, request).verdicts, [(want, 1)], "{request:?}");
            drop(file);
            prove(machine);
        });
    }
}

/// SPL-04, SPL-05, SPL-06: pages of files are counted and judged by the same rules as anonymous ones.
#[test]
fn a_file_under_write_back_is_marked_then_immediate() {
    with_file_disk(crate::bench::slow(64), |machine| {
        let (file, frames) = crate::bench::file_in_flight(machine, 1);
        let seen = look(machine, &frames, kswapd());
        assert_eq!(seen.verdicts, [(Reason::Activate(Activate::UnderWriteback), 1)]);
        assert_eq!((seen.stat.writeback, seen.stat.immediate), (1, 0), "no flag");
        let (more, _) = crate::bench::file_in_flight(machine, 1);
        direct_round(machine, Gfp::KERNEL);
        let is_flagged = machine.mm.zones().all(|z| z.flags().contains(ZoneFlags::WRITEBACK));
        assert!(is_flagged);
        let seen = look(machine, &frames, kswapd());
        assert_eq!(seen.verdicts, [(Reason::Activate(Activate::ImmediateWriteback), 1)]);
        assert_eq!((seen.stat.writeback, seen.stat.immediate), (0, 1));
        drop((file, more));
        prove(machine);
    });
}
