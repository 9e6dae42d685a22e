//! The rows of the verdict tables for pages of files and of shared memory.

use mm_reclaim::Place;
use mm_reclaim::env::Prot;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::{LruList, PageFlags, PageRef};
use mm_reclaim::reclaim::{
    ActivateReason as Activate, CullReason as Cull, FreeReason as Free, KeepReason as Keep, May,
    Reason, ScanRequest,
};
use mm_reclaim::space::AreaFlags;
use mm_reclaim::units::{PAGE_SIZE, Pfn, Vpn};
use mm_reclaim::zone::ZoneFlags;
use simulator::tables::Touch;
use simulator::{DiskConfig, Machine, OpenFile, Program};

use crate::bench::{
    HeldLock, HeldPage, anything, clean_file, cold, direct_round, dirty_file, file_in_flight,
    frame, kswapd, look, on_list, page, slow, without,
};
use crate::verdicts::{DISK, Row, Stage};

/// Rows of a page that is kept.
fn keep_rows() -> Vec<Row> {
    let row = |why, make, request| Row { reason: Reason::Keep(why), disk: DISK, make, request };
    let in_flight = Row { disk: slow(64), ..row(Keep::InFlight, marked_in_dirty_zone, kswapd()) };
    let no_fs = ScanRequest { gfp: Gfp::NOFS, ..kswapd() };
    vec![
        row(Keep::LockedElsewhere, locked_elsewhere, anything()),
        row(Keep::MayNotUnmap, mapped_page, without(anything(), May::UNMAP)),
        row(Keep::Referenced, used_page, anything()),
        row(Keep::ReferencedDirty, marked_and_referenced, kswapd()),
        row(Keep::MayNotEnter, marked_in_dirty_zone, no_fs),
        row(Keep::MayNotEnter, shared_page, ScanRequest { gfp: Gfp::NOFS, ..anything() }),
        row(Keep::MayNotWrite, marked_in_dirty_zone, without(kswapd(), May::WRITEPAGE)),
        row(Keep::MayNotWrite, shared_page, without(anything(), May::WRITEPAGE)),
        in_flight,
        row(Keep::NoMapping, truncated_and_held, anything()),
        row(Keep::NoMapping, truncated_and_dirty, anything()),
        row(Keep::ExtraReference, clean_and_held, anything()),
        row(Keep::ExtraReference, marked_and_held, kswapd()),
        row(Keep::ExtraReference, shared_and_held, anything()),
    ]
}

fn activate_rows() -> Vec<Row> {
    let row = |why, disk, make, request| Row { reason: Reason::Activate(why), disk, make, request };
    vec![
        row(Activate::Referenced, DISK, used_text, anything()),
        row(Activate::Referenced, DISK, used_through_two_mappings, anything()),
        row(Activate::ImmediateWriteback, slow(64), drowning, kswapd()),
        row(Activate::UnderWriteback, slow(64), page_in_flight, anything()),
        row(Activate::DirtyFile, DISK, dirty_page, anything()),
        row(Activate::DirtyFile, DISK, dirty_page, ScanRequest::proactive()),
        row(Activate::DirtyFile, DISK, dirty_page, kswapd()),
        row(Activate::DirtyFile, DISK, dirty_in_dirty_zone, kswapd()),
        row(Activate::DirtyFile, DISK, marked_in_dirty_zone, anything()),
        row(Activate::NoSlot, DiskConfig::sync(2), shared_without_slot, anything()),
        row(Activate::PageoutFailed, DISK, marked_and_refused, kswapd()),
        row(Activate::PrivateBusy, DISK, private_and_busy, anything()),
        row(Activate::PrivateBusy, DISK, busy_orphan, anything()),
    ]
}

fn other_rows() -> Vec<Row> {
    let row = |reason, make| Row { reason, disk: DISK, make, request: anything() };
    let free = |why, make| row(Reason::Free(why), make);
    vec![
        row(Reason::Cull(Cull::Unevictable), unevictable_file),
        row(Reason::Cull(Cull::Unevictable), unevictable_shared),
        row(Reason::Cull(Cull::LockedMapping), locked_mapping),
        free(Free::Clean, clean_page),
        free(Free::Clean, mapped_page),
        free(Free::Clean, private_page),
        free(Free::Clean, blocks_are_clean),
        free(Free::Written, shared_page),
        Row { request: kswapd(), ..free(Free::Written, marked_in_dirty_zone) },
        free(Free::Orphan, orphan),
        free(Free::Orphan, dirty_orphan),
        free(Free::Orphan, held_orphan),
    ]
}

/// SPL-01 to SPL-06, SPL-08, SPL-12 to SPL-16, SPL-19, FILE-06: the rows.
pub fn rows() -> Vec<Row> {
    keep_rows().into_iter().chain(activate_rows()).chain(other_rows()).collect()
}

fn of_file<'m>((file, frames): (OpenFile<'m>, Vec<Pfn>)) -> Stage<'m> {
    Stage { files: vec![file], ..Stage::new(frames[0], []) }
}

fn clean_page(machine: Machine<'_>) -> Stage<'_> {
    of_file(clean_file(machine, 1))
}

fn dirty_page(machine: Machine<'_>) -> Stage<'_> {
    of_file(dirty_file(machine, 1))
}

fn page_in_flight(machine: Machine<'_>) -> Stage<'_> {
    of_file(file_in_flight(machine, 1))
}

fn shared_page(machine: Machine<'_>) -> Stage<'_> {
    let file = OpenFile::shared_memory(machine);
    assert_eq!(file.write(0, &[1; PAGE_SIZE]), Ok(PAGE_SIZE));
    machine.mm.lru_add_drain_all();
    let frame = machine.mm.file_frame(file.file(), 0).expect("a cached page");
    of_file((file, vec![frame]))
}

fn locked_elsewhere(machine: Machine<'_>) -> Stage<'_> {
    let stage = clean_page(machine);
    Stage { lock: Some(HeldLock::of(machine, stage.frame)), ..stage }
}

fn hold<'m>(machine: Machine<'m>, stage: Stage<'m>) -> Stage<'m> {
    Stage { held: Some(HeldPage::of(machine, stage.frame)), ..stage }
}

fn clean_and_held(machine: Machine<'_>) -> Stage<'_> {
    hold(machine, clean_page(machine))
}

fn shared_and_held(machine: Machine<'_>) -> Stage<'_> {
    hold(machine, shared_page(machine))
}

fn marked_and_held(machine: Machine<'_>) -> Stage<'_> {
    hold(machine, marked_in_dirty_zone(machine))
}

/// Maps the first page of the stage's file in a new program, which uses it once.
fn map_and_use<'m>(machine: Machine<'m>, stage: &mut Stage<'m>, prot: Prot) -> Vpn {
    let program = Program::new(machine);
    let (file, shared) = (stage.files[0].file(), AreaFlags::SHARED);
    let at = machine.mm.mmap_file(program.space, Place::Anywhere, prot, shared, file, 0..1);
    let at = at.expect("room for an area");
    program.touch(at.addr(), Touch::Load).expect("a mapped page");
    assert_eq!(frame(machine, &program, at), stage.frame);
    stage.programs.push(program);
    at
}

/// A clean page of a file that was used through one mapping, and in no other way.
fn used(machine: Machine<'_>, prot: Prot) -> (Stage<'_>, Vpn) {
    let mut stage = clean_page(machine);
    page(machine, stage.frame).corrupt_flags(PageFlags::REFERENCED);
    let at = map_and_use(machine, &mut stage, prot);
    (stage, at)
}

fn used_page(machine: Machine<'_>) -> Stage<'_> {
    used(machine, Prot::READ).0
}

fn used_text(machine: Machine<'_>) -> Stage<'_> {
    used(machine, Prot::READ | Prot::EXEC).0
}

fn used_through_two_mappings(machine: Machine<'_>) -> Stage<'_> {
    let mut stage = used_page(machine);
    map_and_use(machine, &mut stage, Prot::READ);
    stage
}

/// It was used once, a while ago: a look took its marks.
fn mapped_page(machine: Machine<'_>) -> Stage<'_> {
    let stage = used_page(machine);
    look(machine, &[stage.frame], anything());
    page(machine, stage.frame).corrupt_flags(PageFlags::REFERENCED);
    stage
}

fn locked_mapping(machine: Machine<'_>) -> Stage<'_> {
    let (stage, at) = used(machine, Prot::READ);
    machine.mm.mlock(stage.programs[0].space, at..at + 1).expect("memory");
    // As if the page had been isolated by another CPU when it was locked.
    page(machine, stage.frame).corrupt_flags(PageFlags::MLOCKED);
    stage
}

fn unevictable_file(machine: Machine<'_>) -> Stage<'_> {
    let stage = clean_page(machine);
    machine.mm.set_file_unevictable(stage.files[0].file(), true);
    stage
}

fn unevictable_shared(machine: Machine<'_>) -> Stage<'_> {
    let stage = shared_page(machine);
    machine.mm.set_file_unevictable(stage.files[0].file(), true);
    stage
}

/// A whole batch under write-back was met by direct reclaim: the zone is flagged.
fn drowning(machine: Machine<'_>) -> Stage<'_> {
    let stage = of_file(file_in_flight(machine, 1));
    machine.mm.set_swappiness(0);
    direct_round(machine, Gfp::KERNEL);
    assert!(machine.mm.zones().all(|zone| zone.flags().contains(ZoneFlags::WRITEBACK)));
    stage
}

/// A dirty page in a zone in which a whole batch was dirty.
fn dirty_in_dirty_zone(machine: Machine<'_>) -> Stage<'_> {
    let (others, _) = dirty_file(machine, 40);
    machine.mm.set_swappiness(0);
    direct_round(machine, Gfp::KERNEL);
    assert!(machine.mm.zones().all(|zone| zone.flags().contains(ZoneFlags::DIRTY)));
    // The flusher writes those: it was called for them.
    machine.settle();
    drop(others);
    dirty_page(machine)
}

/// kswapd meets it a second time.
fn marked_in_dirty_zone(machine: Machine<'_>) -> Stage<'_> {
    let stage = dirty_in_dirty_zone(machine);
    let seen = look(machine, &[stage.frame], kswapd());
    assert_eq!(seen.verdicts, [(Reason::Activate(Activate::DirtyFile), 1)]);
    assert!(page(machine, stage.frame).has(PageFlags::RECLAIM));
    stage
}

/// What somebody else does who holds the page for a moment.
fn with_held<'m>(machine: Machine<'m>, stage: &Stage<'m>, act: impl FnOnce(&PageRef<'m>)) {
    let held = machine.mm.get_page(stage.frame).expect("a page in use");
    act(&held);
    machine.mm.put_page(held);
}

fn marked_and_referenced(machine: Machine<'_>) -> Stage<'_> {
    let stage = marked_in_dirty_zone(machine);
    with_held(machine, &stage, |held| machine.mm.mark_page_accessed(held));
    stage
}

fn marked_and_refused(machine: Machine<'_>) -> Stage<'_> {
    let stage = marked_in_dirty_zone(machine);
    machine.world.files.refuse_writes(true);
    let frame = stage.frame;
    let repair = move || assert!(!page(machine, frame).has(PageFlags::RECLAIM), "still marked");
    Stage { repair: Some(Box::new(repair)), ..stage }
}

/// Another program has the only slot.
fn shared_without_slot(machine: Machine<'_>) -> Stage<'_> {
    let (other, area) = cold(machine, 1);
    look(machine, &[frame(machine, &other, area.start)], anything());
    assert_eq!(machine.mm.swap_pages(), (1, 0));
    let mut stage = shared_page(machine);
    stage.programs.push(other);
    stage
}

/// The file became shorter while another task held the page.
fn truncated_and_held(machine: Machine<'_>) -> Stage<'_> {
    let stage = clean_and_held(machine);
    stage.files[0].truncate(0).expect("a disk that works");
    stage
}

/// Its holder has changed it since.
fn truncated_and_dirty(machine: Machine<'_>) -> Stage<'_> {
    let stage = truncated_and_held(machine);
    with_held(machine, &stage, |held| machine.mm.set_page_dirty(held));
    stage
}

/// A clean page with which the store keeps the state of its blocks.
pub fn private_page(machine: Machine<'_>) -> Stage<'_> {
    let (mut file, _) = clean_file(machine, 1);
    machine.mm.drop_page_cache();
    machine.world.files.keep_blocks(0);
    assert_eq!(file.read(0, 8), Ok(vec![1; 8]));
    machine.mm.lru_add_drain_all();
    let frame = machine.mm.file_frame(file.file(), 0).expect("a cached page");
    assert!(page(machine, frame).has(PageFlags::PRIVATE));
    of_file((file, vec![frame]))
}

fn private_and_busy(machine: Machine<'_>) -> Stage<'_> {
    let stage = private_page(machine);
    machine.world.files.set_busy(true);
    stage
}

/// It was written to, and the store has written each of its blocks by itself.
fn blocks_are_clean(machine: Machine<'_>) -> Stage<'_> {
    let stage = private_page(machine);
    let file = &stage.files[0];
    assert_eq!(file.write(10, b"block"), Ok(5));
    machine.world.commit(file.number(), 0, stage.frame, 0..4);
    assert!(page(machine, stage.frame).has(PageFlags::DIRTY));
    stage
}

/// The file lost the page while the store used it.
fn busy_orphan(machine: Machine<'_>) -> Stage<'_> {
    let stage = private_and_busy(machine);
    stage.files[0].truncate(0).expect("a disk that works");
    assert_eq!((machine.world.files.orphans(), page(machine, stage.frame).refs()), (1, 1));
    Stage { repair: Some(Box::new(move || machine.world.files.set_busy(false))), ..stage }
}

fn orphan(machine: Machine<'_>) -> Stage<'_> {
    let stage = busy_orphan(machine);
    machine.world.files.set_busy(false);
    stage
}

fn held_orphan(machine: Machine<'_>) -> Stage<'_> {
    let stage = hold(machine, orphan(machine));
    let (frame, inactive) = (stage.frame, LruList::InactiveFile);
    let gone = move || {
        assert_eq!(page(machine, frame).refs(), 1, "its holder's");
        assert_eq!(on_list(machine, inactive), 0);
    };
    Stage { repair: Some(Box::new(gone)), ..stage }
}

fn dirty_orphan(machine: Machine<'_>) -> Stage<'_> {
    let stage = orphan(machine);
    with_held(machine, &stage, |held| machine.mm.set_page_dirty(held));
    stage
}
