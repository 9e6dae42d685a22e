//! Swap on the real RAM disk, in the mode that the machine was started with.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use kernel::arch::usercopy::{copy_from_user, put_words};
use kernel::ramdisk;
use mm_reclaim::Place;
use mm_reclaim::env::{DeviceId, Prot};
use mm_reclaim::mmap::Advice;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Order, Vpn};
use suite::Test;

use crate::memory::{give_all, take_all};
use crate::support::{
    READ_WRITE, books, eventually, machine, map, mm, nothing_leaked_since, own_space, with_space,
};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("swap::the_device_is_in_the_mode_that_was_asked_for", mode),
    Test::new("swap::what_is_paged_out_comes_back_as_it_was", || with_book_check(page_out, 600)),
    Test::new("swap::what_is_plugged_is_sent_off_before_a_sleep", || with_book_check(plugged, 0)),
    Test::new("swap::a_page_stays_readable_while_it_is_written", || with_book_check(race, 64)),
    Test::new("swap::memory_larger_than_ram_keeps_every_page", || with_book_check(pressure, 0)),
    Test::new("swap::two_spaces_under_pressure_keep_their_own", two_spaces),
    Test::new("swap::unmapped_memory_gives_its_slots_back", || with_book_check(slots, 300)),
];

fn with_book_check(body: fn(usize) -> i32, argument: usize) {
    let before = books();
    with_space(body, argument);
    nothing_leaked_since(&before);
}

/// What word 0 and the last word of a page hold.
fn words(vpn: Vpn, version: u64) -> u64 {
    (vpn.addr() ^ version << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

pub fn write(vpn: Vpn, version: u64) {
    let word = words(vpn, version);
    put_words(vpn.addr(), &[word, !word]).expect("the page is writable");
    put_words(vpn.addr() + 4088, &[word]).expect("the page is writable");
}

pub fn check(vpn: Vpn, version: u64) {
    let mut found = [[0; 8]; 3];
    for (bytes, offset) in found.iter_mut().zip([0, 8, 4088]) {
        copy_from_user(bytes, vpn.addr() + offset).expect("the page is readable");
    }
    let word = words(vpn, version);
    assert_eq!(found.map(u64::from_le_bytes), [word, !word, word], "{vpn:?} version {version}");
}

pub fn each(pages: &core::ops::Range<Vpn>) -> impl DoubleEndedIterator<Item = Vpn> + use<> {
    (pages.start.0..pages.end.0).map(Vpn)
}

/// SWAP-06: the suite runs in both.
fn mode() {
    let queued = machine().args.ramdisk.queued;
    assert_eq!(ramdisk::is_synchronous(DeviceId(0)), !queued);
}

/// SWAP-03, SWAP-05: twice, so that pages are clean in the second round.
fn page_out(count: usize) -> i32 {
    let pages = map(count as u32, READ_WRITE);
    each(&pages).for_each(|vpn| write(vpn, 1));
    for round in 0..2 {
        let all_out = || {
            let _ = mm().madvise(own_space(), pages.clone(), Advice::PageOut);
            mm().space_stat(own_space()).swapped == count as u32
        };
        eventually("all pages are out", all_out);
        let reads = mm().event(VmEvent::PswpIn);
        each(&pages).rev().for_each(|vpn| check(vpn, 1));
        // A page that was written by the queue is still in the cache, where a fault finds it.
        let read = mm().event(VmEvent::PswpIn) - reads;
        let queued = machine().args.ramdisk.queued;
        assert!(queued || read >= count as u64, "{read} pages were read in round {round}");
    }
    assert!(mm().event(VmEvent::PswpOut) >= count as u64);
    let disk = ramdisk::disk(DeviceId(0)).expect("a disk");
    let queued = disk.counters.queued.load(Relaxed);
    assert_eq!(queued > 0, machine().args.ramdisk.queued, "{queued} requests were queued");
    0
}

/// SWAP-06: otherwise a task that sleeps with a plug would wait for what it holds back itself.
fn plugged(_: usize) -> i32 {
    let disk = ramdisk::disk(DeviceId(0)).expect("a disk");
    let done = || (disk.counters.queued.load(Relaxed), disk.counters.writes.load(Relaxed));
    disk.knobs.set_queue(true);
    let pages = map(1, READ_WRITE);
    write(pages.start, 1);
    let (queued, written) = done();
    ramdisk::plug();
    let _ = mm().madvise(own_space(), pages.clone(), Advice::PageOut);
    assert_eq!(done(), (queued + 1, written), "the request lies in the queue");
    // It sleeps between its looks, with the plug.
    eventually("the request is served", || done() == (queued + 1, written + 1));
    ramdisk::unplug();
    disk.knobs.set_queue(machine().args.ramdisk.queued);
    check(pages.start, 1);
    0
}

/// SWAP-05: found in the cache, even under write-back.
fn race(count: usize) -> i32 {
    let pages = map(count as u32, READ_WRITE);
    for version in 1..40 {
        each(&pages).for_each(|vpn| write(vpn, version));
        let _ = mm().madvise(own_space(), pages.clone(), Advice::PageOut);
        each(&pages).for_each(|vpn| check(vpn, version));
    }
    0
}

/// SWAP-04, CTRL-01: half as much again as there is.
fn pressure(_: usize) -> i32 {
    let count = mm().total_managed() / 2 * 3;
    let pages = map(count, READ_WRITE);
    each(&pages).for_each(|vpn| write(vpn, 1));
    for vpn in each(&pages) {
        check(vpn, 1);
        if vpn.0 % 4 == 0 {
            write(vpn, 2);
        }
    }
    each(&pages).rev().for_each(|vpn| check(vpn, if vpn.0 % 4 == 0 { 2 } else { 1 }));
    assert!(mm().event(VmEvent::PgStealKswapd) > 0, "kswapd did its part");
    assert!(mm().event(VmEvent::PswpOut) > u64::from(count / 3));
    assert!(mm().event(VmEvent::PswpIn) > u64::from(count / 3));
    mm().check_counters().expect("identities hold under load");
    0
}

/// RMAP-01: the same addresses in two spaces.
fn two_spaces() {
    static OUT: AtomicU32 = AtomicU32::new(0);
    fn body(version: usize) -> i32 {
        let pages = map(mm().total_managed() / 5 * 3, READ_WRITE);
        for round in 0..2 {
            let version = (version + 2 * round) as u64;
            each(&pages).for_each(|vpn| write(vpn, version));
            each(&pages).for_each(|vpn| check(vpn, version));
        }
        OUT.fetch_add(1, Relaxed);
        0
    }
    let before = books();
    let pids = [1, 2].map(|version| crate::support::spawn_with_space(body, version));
    assert_eq!(pids.map(crate::support::join), [0, 0]);
    assert_eq!(OUT.load(Relaxed), 2);
    nothing_leaked_since(&before);
}

/// SWAP-03: a slot without a user is free, and its contents are discarded.
fn slots(count: usize) -> i32 {
    let (_, free) = mm().swap_pages();
    let pages = map(count as u32, READ_WRITE);
    each(&pages).for_each(|vpn| write(vpn, 1));
    let all_out = || {
        let _ = mm().madvise(own_space(), pages.clone(), Advice::PageOut);
        mm().space_stat(own_space()).swapped == count as u32
    };
    eventually("all pages are out", all_out);
    assert!(mm().swap_pages().1 <= free - count as u32);
    mm().munmap(own_space(), pages.clone()).expect("it is mapped");
    eventually("the slots are free", || {
        // What the queue wrote is still in the cache and keeps its slot until reclaim looks.
        let (all, _) = take_all(Order::ZERO);
        give_all(Order::ZERO, all);
        mm().swap_pages().1 == free
    });
    let again = mm().mmap(own_space(), Place::Fixed(pages.start), 1, Prot::READ, flags());
    assert_eq!(again, Ok(pages.start));
    let mut byte = [1];
    copy_from_user(&mut byte, pages.start.addr()).expect("it is mapped");
    assert_eq!(byte, [0], "nothing of the old contents is left");
    0
}

fn flags() -> mm_reclaim::space::AreaFlags {
    mm_reclaim::space::AreaFlags::empty()
}
