//! Every rung of the ladder on the real machine: a page is brought into a state as programs and devices
//! bring it there, passed to reclaim, and exactly one verdict is expected.
//!
//! Not here, because nothing in this kernel makes it: private data of pages (SPL-15), and a store that
//! refuses to write. What takes a second CPU in the middle of a write (parts of SPL-14 and SPL-16) has
//! models; `Free(Overdue)` is in every workload under pressure.

use core::mem;
use core::ops::Range;

use kernel::arch::usercopy::copy_from_user;
use kernel::files::{self, File};
use kernel::ramdisk::{self, RamDisk};
use mm_reclaim::block::Direction;
use mm_reclaim::env::{DeviceId, PageTables, Prot, Pte};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::{Page, PageFlags};
use mm_reclaim::reclaim::{
    ActivateReason as Activate, CullReason as Cull, FreeReason as Free, KeepReason as Keep, May,
    Reason, ScanProgress, ScanRequest,
};
use mm_reclaim::space::AreaFlags;
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn, Vpn};
use mm_reclaim::zone::{ZoneFlags, ZoneId};
use mm_reclaim::{Place, SyncMode};
use suite::Test;

use crate::memory::{give_all, take_with};
use crate::support::{READ_WRITE, eventually, machine, map, mm, own_space, with_space};
use crate::swap::{check, each, write};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("verdicts::spl_01_a_locked_page_is_kept", || in_space(locked)),
    Test::new("verdicts::spl_02_an_unevictable_page_is_culled", || in_space(unevictable)),
    Test::new("verdicts::spl_03_what_may_not_be_unmapped_is_kept", || in_space(may_not_unmap)),
    Test::new("verdicts::spl_05_a_zone_full_of_writes_is_left", || in_space(drowning)),
    Test::new("verdicts::spl_06_a_page_that_is_written_is_marked", || in_space(in_flight)),
    Test::new("verdicts::spl_08_references_decide", || in_space(referenced)),
    Test::new("verdicts::spl_09_swap_gives_a_slot_or_not", || in_space(slots)),
    Test::new("verdicts::spl_10_what_was_given_up_is_dropped", || in_space(given_up)),
    Test::new("verdicts::spl_12_a_locked_mapping_is_not_unmapped", || in_space(locked_mapping)),
    Test::new("verdicts::spl_13_a_dirty_file_is_the_flushers", || in_space(dirty_file)),
    Test::new("verdicts::spl_14_writes_end_as_the_device_says", || in_space(writes)),
    Test::new("verdicts::spl_16_a_page_in_use_is_not_freed", || in_space(in_use)),
    Test::new("verdicts::spl_19_rights_are_asked_in_their_order", || in_space(rights)),
];

fn in_space(body: fn(usize) -> i32) {
    with_space(body, 0);
    crate::support::books();
}

// ---- the bench ----

fn anything() -> ScanRequest {
    ScanRequest::direct(Gfp::KERNEL, Order::ZERO)
}

fn kswapd() -> ScanRequest {
    ScanRequest::kswapd(Order::ZERO, ZoneId::Normal)
}

fn with_gfp(request: ScanRequest, gfp: Gfp) -> ScanRequest {
    ScanRequest { gfp, ..request }
}

fn without(request: ScanRequest, rights: May) -> ScanRequest {
    ScanRequest { may: request.may - rights, ..request }
}

/// Passes a page to the ladder, which must decide for this reason, and for no other.
#[track_caller]
fn expect(reason: Reason, frame: Pfn, request: ScanRequest) {
    let before = Reason::all().map(|reason| mm().verdict_count(reason));
    let mut counts = [0; 64];
    counts.iter_mut().zip(before).for_each(|(count, before)| *count = before);
    mm().probe_pages(&[frame], &request, &mut ScanProgress::default());
    for (other, before) in Reason::all().zip(counts) {
        let count = mm().verdict_count(other) - before;
        let wanted = u64::from(other == reason);
        assert_eq!(count, wanted, "of {other:?}, where just {reason:?} was expected");
    }
}

/// The page is written: and freed at once, where the device has ended by then.
#[track_caller]
fn expect_written(frame: Pfn, request: ScanRequest) {
    if !machine().args.ramdisk.queued {
        return expect(Reason::Free(Free::Written), frame, request);
    }
    expect(Reason::Keep(Keep::InFlight), frame, request);
    eventually("the write has ended", || !descriptor(frame).has(PageFlags::WRITEBACK));
}

fn descriptor(frame: Pfn) -> &'static Page {
    mm().memmap().page(frame)
}

/// The frame that this task has at `vpn`.
#[track_caller]
fn frame_at(vpn: Vpn) -> Pfn {
    match mm().with_tables(own_space(), |tables| tables.get(vpn)) {
        Pte::Present(mapping) => mapping.pfn,
        other => panic!("{vpn:?} is {other:?}"),
    }
}

/// The page was last used long ago.
fn chill(pages: &Range<Vpn>) {
    mm().madvise(own_space(), pages.clone(), Advice::Cold).expect("an area");
}

/// A written page that was not used since.
fn cold() -> (Range<Vpn>, Pfn) {
    let pages = map(1, READ_WRITE);
    write(pages.start, 1);
    chill(&pages);
    let frame = frame_at(pages.start);
    (pages, frame)
}

/// The same, once it has its contents from swap: clean.
fn read_back() -> (Range<Vpn>, Pfn) {
    let (pages, frame) = cold();
    expect_written(frame, anything());
    check(pages.start, 1);
    chill(&pages);
    let frame = frame_at(pages.start);
    (pages, frame)
}

/// Unmapped, dirty, with a slot: on its way to the device when writing was forbidden.
fn half_way() -> (Range<Vpn>, Pfn) {
    let (pages, frame) = cold();
    expect(Reason::Keep(Keep::MayNotWrite), frame, without(anything(), May::WRITEPAGE));
    (pages, frame)
}

/// A file on the disk with `count` dirty pages, that this task has mapped.
fn dirty_pages(count: u32) -> (File, Range<Vpn>) {
    let file = files::open_flat(b"disk/verdicts", true, false).expect("a disk for files");
    mm().truncate_file(&file, u64::from(count) * PAGE_SIZE as u64).expect("room");
    let at = mm()
        .mmap_file(own_space(), Place::Anywhere, READ_WRITE, AreaFlags::SHARED, &file, 0..count)
        .expect("room for an area");
    each(&(at..at + count)).for_each(|vpn| write(vpn, 1));
    mm().lru_add_drain_all();
    (file, at..at + count)
}

/// The same, and nothing maps them.
fn dirty_cache(count: u32) -> File {
    let (file, pages) = dirty_pages(count);
    mm().munmap(own_space(), pages).expect("an area");
    each(&(Vpn(0)..Vpn(count))).for_each(|index| {
        // Unmapping marks what its entry said was used.
        let page = descriptor(frame_of(&file, index.0));
        if page.has(PageFlags::REFERENCED) {
            page.corrupt_flags(PageFlags::REFERENCED);
        }
    });
    file
}

fn clean_cache(count: u32) -> File {
    let file = dirty_cache(count);
    let mut seen = mm().file_errors(&file);
    mm().sync_file(&file, 0..count, &mut seen).expect("a disk that works");
    file
}

#[track_caller]
fn frame_of(file: &File, index: u32) -> Pfn {
    mm().file_frame(file, index).expect("a cached page")
}

fn done_with(file: File) {
    files::put(file);
    files::unlink_flat(b"disk/verdicts").expect("its name");
}

/// Has a direct reclaimer go through the inactive list of files, with no memory left.
fn direct_round_on_files() {
    mm().set_swappiness(0);
    let (taken, _) = take_with(Gfp::empty(), Order::ZERO);
    let alone = (Gfp::KERNEL | Gfp::NORETRY | Gfp::NOWARN) - Gfp::KSWAPD_RECLAIM;
    let got = mm().alloc_pages(alone, Order::ZERO);
    got.into_iter().for_each(|frame| mm().free_pages(frame, Order::ZERO));
    give_all(Order::ZERO, taken);
}

/// A page of a file that kswapd has met once, in a zone in which a whole batch was dirty.
fn dirty_in_dirty_zone() -> (File, Pfn) {
    let others = dirty_cache(64);
    direct_round_on_files();
    let is_flagged = mm().zones().any(|zone| zone.flags().contains(ZoneFlags::DIRTY));
    assert!(is_flagged, "a whole batch was dirty");
    // The flusher writes those: it was called for them.
    eventually("the flusher is done", || mm().dirty_state().dirty == 0);
    done_with(others);
    let file = dirty_cache(1);
    let frame = frame_of(&file, 0);
    expect(Reason::Activate(Activate::DirtyFile), frame, kswapd());
    (file, frame)
}

fn the_disk() -> &'static RamDisk {
    ramdisk::disk(DeviceId(0)).expect("a disk")
}

/// The device takes a second for a request from now on, by the queue.
fn slow_down() {
    the_disk().knobs.set_queue(true);
    the_disk().knobs.set_delay_us(1_000_000);
}

fn speed_up() {
    the_disk().knobs.set_delay_us(0);
    the_disk().knobs.set_queue(machine().args.ramdisk.queued);
}

// ---- the rungs ----

fn locked(_: usize) -> i32 {
    let (_, frame) = cold();
    let page = descriptor(frame);
    mem::forget(page.try_lock().expect("nobody has locked it"));
    expect(Reason::Keep(Keep::LockedElsewhere), frame, anything());
    page.corrupt_flags(PageFlags::LOCKED);
    expect_written(frame, anything());
    0
}

fn unevictable(_: usize) -> i32 {
    let (pages, frame) = cold();
    // As if the page had been isolated by another CPU when it was locked.
    mm().corrupt_rights(own_space(), pages.start, READ_WRITE, AreaFlags::LOCKED);
    descriptor(frame).corrupt_flags(PageFlags::MLOCKED);
    expect(Reason::Cull(Cull::Unevictable), frame, anything());
    let file = clean_cache(1);
    mm().set_file_unevictable(&file, true);
    expect(Reason::Cull(Cull::Unevictable), frame_of(&file, 0), anything());
    mm().set_file_unevictable(&file, false);
    expect(Reason::Free(Free::Clean), frame_of(&file, 0), anything());
    done_with(file);
    0
}

fn may_not_unmap(_: usize) -> i32 {
    let (_, frame) = cold();
    expect(Reason::Keep(Keep::MayNotUnmap), frame, without(anything(), May::UNMAP));
    0
}

fn drowning(_: usize) -> i32 {
    slow_down();
    let file = dirty_cache(40);
    let wrote = mm().write_dirty_pages(&file, 0..40, 40, SyncMode::None);
    assert_eq!(wrote, Ok(40));
    direct_round_on_files();
    let is_flagged = mm().zones().any(|zone| zone.flags().contains(ZoneFlags::WRITEBACK));
    assert!(is_flagged, "a whole batch was being written");
    // The round has marked it, and put it to the active list. It is the last that the disk will write.
    expect(Reason::Activate(Activate::ImmediateWriteback), frame_of(&file, 39), kswapd());
    speed_up();
    done_with(file);
    0
}

fn in_flight(_: usize) -> i32 {
    slow_down();
    let (pages, frame) = cold();
    expect(Reason::Keep(Keep::InFlight), frame, anything());
    expect(Reason::Activate(Activate::UnderWriteback), frame, anything());
    check(pages.start, 1);
    speed_up();
    0
}

fn referenced(_: usize) -> i32 {
    let pages = map(1, READ_WRITE);
    write(pages.start, 1);
    let frame = frame_at(pages.start);
    expect(Reason::Keep(Keep::Referenced), frame, anything());
    check(pages.start, 1);
    expect(Reason::Activate(Activate::Referenced), frame, anything());
    chill(&pages);
    expect_written(frame, anything());
    check(pages.start, 1);
    0
}

fn slots(_: usize) -> i32 {
    let (_, frame) = cold();
    let no_io = ScanRequest::direct(Gfp::NOIO, Order::ZERO);
    expect(Reason::Keep(Keep::NoIo), frame, no_io);
    mm().swapoff(DeviceId(0)).expect("nothing is in swap");
    expect(Reason::Activate(Activate::NoSlot), frame, anything());
    0
}

fn given_up(_: usize) -> i32 {
    let give_up = || {
        let pages = map(1, READ_WRITE);
        write(pages.start, 1);
        mm().madvise(own_space(), pages.clone(), Advice::Free).expect("an area");
        mm().lru_add_drain_all();
        (pages.clone(), frame_at(pages.start))
    };
    let (_, frame) = give_up();
    expect(Reason::Free(Free::LazyFreed), frame, anything());
    // Somebody who reads it, such as `O_DIRECT`, must not see it change.
    let (pages, frame) = give_up();
    let held = mm().get_page(frame).expect("a page in use");
    expect(Reason::Activate(Activate::UnmapFailed), frame, anything());
    mm().munmap(own_space(), pages).expect("an area");
    expect(Reason::Keep(Keep::LazyFreeBusy), frame, anything());
    mm().put_page(held);
    let (pages, frame) = give_up();
    write(pages.start, 2);
    expect(Reason::Activate(Activate::LazyFreeDirty), frame, ScanRequest::proactive());
    check(pages.start, 2);
    0
}

fn locked_mapping(_: usize) -> i32 {
    // mlock ends at a page that it cannot bring in: the area is locked, and the pages behind are not
    // marked.
    let pages = map(2, READ_WRITE);
    let (first, second) = (pages.start, pages.start + 1);
    write(second, 1);
    chill(&(second..pages.end));
    mm().mprotect(own_space(), first..second, Prot::empty()).expect("an area");
    mm().mlock(own_space(), pages).expect_err("a page that cannot be brought in");
    expect(Reason::Cull(Cull::LockedMapping), frame_at(second), anything());
    0
}

fn dirty_file(_: usize) -> i32 {
    let left = Reason::Activate(Activate::DirtyFile);
    let file = dirty_cache(1);
    for request in [anything(), kswapd(), kswapd()] {
        expect(left, frame_of(&file, 0), request);
    }
    done_with(file);
    let (file, frame) = dirty_in_dirty_zone();
    expect(left, frame, anything());
    expect_written(frame, kswapd());
    done_with(file);
    0
}

fn writes(_: usize) -> i32 {
    let (pages, frame) = cold();
    the_disk().knobs.set_fault(Direction::Write, 1);
    // What may fail goes through the queue.
    expect(Reason::Keep(Keep::InFlight), frame, anything());
    let page = descriptor(frame);
    eventually("the write has failed", || !page.has(PageFlags::WRITEBACK));
    assert!(
        page.has(PageFlags::DIRTY | PageFlags::ACTIVE),
        "it stays, and is not tried again soon"
    );
    the_disk().knobs.set_fault(Direction::Write, 0);
    check(pages.start, 1);
    // Its only user goes while somebody else has it locked: the slot is of no use any more.
    let (pages, frame) = half_way();
    let page = descriptor(frame);
    mem::forget(page.try_lock().expect("nobody has locked it"));
    mm().munmap(own_space(), pages).expect("an area");
    page.corrupt_flags(PageFlags::LOCKED);
    expect(Reason::Keep(Keep::SlotUnused), frame, anything());
    0
}

fn in_use(_: usize) -> i32 {
    let (_, frame) = read_back();
    let held = mm().get_page(frame).expect("a page in use");
    expect(Reason::Keep(Keep::ExtraReference), frame, anything());
    mm().put_page(held);
    let file = clean_cache(2);
    let (first, second) = (frame_of(&file, 0), frame_of(&file, 1));
    let held = mm().get_page(first).expect("a page in use");
    expect(Reason::Keep(Keep::ExtraReference), first, anything());
    expect(Reason::Free(Free::Clean), second, anything());
    mm().truncate_file(&file, 0).expect("a disk that works");
    expect(Reason::Keep(Keep::NoMapping), first, anything());
    mm().put_page(held);
    done_with(file);
    0
}

fn rights(_: usize) -> i32 {
    let (pages, frame) = half_way();
    let no_io = ScanRequest::direct(Gfp::NOIO, Order::ZERO);
    expect(Reason::Keep(Keep::MayNotEnter), frame, no_io);
    expect(Reason::Keep(Keep::MayNotWrite), frame, without(anything(), May::WRITEPAGE));
    expect_written(frame, anything());
    let mut word = [0; 8];
    copy_from_user(&mut word, pages.start.addr()).expect("memory");
    check(pages.start, 1);
    let (file, frame) = dirty_in_dirty_zone();
    expect(Reason::Keep(Keep::MayNotEnter), frame, with_gfp(kswapd(), Gfp::NOFS));
    expect(Reason::Keep(Keep::MayNotWrite), frame, without(kswapd(), May::WRITEPAGE));
    let held = mm().get_page(frame).expect("a page in use");
    mm().mark_page_accessed(&held);
    mm().put_page(held);
    expect(Reason::Keep(Keep::ReferencedDirty), frame, kswapd());
    done_with(file);
    0
}
