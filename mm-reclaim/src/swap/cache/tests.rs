//! The swap cache and its transfers on fake devices, which complete requests when the test says so.

use core::mem::MaybeUninit;
use std::boxed::Box;

use crate::Mm;
use crate::base::stat::VmEvent;
use crate::base::units::{Order, PAGE_SIZE};
use crate::block::{Bio, Direction, IoError};
use crate::boot::plan::Config;
use crate::cache::Store;
use crate::env::DeviceId;
use crate::page::{ListChoice, LruList, Page, PageFlags};
use crate::swap::map::Held;
use crate::swap::map::{Slot, words_for};
use crate::swap::{HeaderError, SwapEntry, SwapOnError, header};
use crate::tests::{Asked, TestEnv, TestMm, frames, panic_of, with_mm, with_swap};
use crate::zone::gfp::Gfp;

fn with_devices(devices: &[(u32, i16)], body: impl for<'m> FnOnce(&TestMm<'m>)) {
    with_swap(&[frames(0, 4096)], Config::default(), devices, body);
}

/// A page with contents, unmapped; the test holds its only reference.
fn anon_page<'m>(mm: &TestMm<'m>) -> &'m Page {
    let new = mm.alloc.alloc_page(Gfp::HIGHUSER_MOVABLE, Order::ZERO).expect("a page");
    let page = new.into_ref().leak();
    page.set_swapbacked();
    page.end_read(true);
    page
}

/// Adds a page to the cache; returns its entry.
fn cache(mm: &TestMm<'_>, page: &Page) -> Option<SwapEntry> {
    let page = mm.map.page(mm.map.pfn(page));
    let lock = page.try_lock().expect("free");
    let done = mm.swap.add_to_swap(&lock, 0);
    mm.zones.unlock(lock);
    done.then(|| SwapEntry::from_raw(page.private()))
}

/// Starts writing a page of the cache that one page-table entry names.
fn write(mm: &TestMm<'_>, page: &Page) {
    assert!(mm.swap.duplicate(SwapEntry::from_raw(page.private())));
    let page = mm.map.page(mm.map.pfn(page));
    mm.swap.writepage(page.try_lock().expect("free"));
}

fn held(mm: &TestMm<'_>, entry: SwapEntry) -> Held {
    mm.swap.device(entry).state(entry.slot()).held
}

fn discards(mm: &TestMm<'_>) -> usize {
    let asked = mm.env.take_asked();
    asked.iter().filter(|asked| matches!(asked, Asked::Discard { .. })).count()
}

fn request(mm: &TestMm<'_>) -> Bio {
    mm.env.requests.lock().pop().expect("a request")
}

fn try_to_free(mm: &TestMm<'_>, page: &Page) -> bool {
    let page = mm.map.page(mm.map.pfn(page));
    let lock = page.try_lock().expect("free");
    let done = mm.swap.try_to_free_swap(&lock);
    mm.zones.unlock(lock);
    done
}

/// SWAP-02: the highest priority first; equal priorities take turns, and a full one is skipped.
#[test]
fn devices_serve_by_priority_and_in_turns() {
    with_devices(&[(4, 5), (9, 1), (8, 5)], |mm| {
        let devices: Vec<usize> =
            core::iter::from_fn(|| Some(cache(mm, anon_page(mm))?.device())).collect();
        assert_eq!(devices[..6], [0, 2, 0, 2, 0, 2]);
        assert_eq!(devices[6..10], [2; 4]);
        assert_eq!(devices[10..], [1; 8]);
        assert_eq!(mm.swap_pages(), (3 + 8 + 7, 0));
        assert!(!mm.swap.has_free());
    });
}

/// SWAP-04: a page in the cache and its slot name each other, and the cache holds a
/// reference; the page is dirty, since no device has it yet.
#[test]
fn a_cached_page_and_its_slot_name_each_other() {
    with_devices(&[(16, 0)], |mm| {
        let page = anon_page(mm);
        let entry = cache(mm, page).expect("a slot");
        assert!(page.has(PageFlags::SWAPCACHE | PageFlags::DIRTY));
        assert_eq!((page.refs(), held(mm, entry)), (2, Held::Page(mm.map.pfn(page))));
        let found = mm.swap.lookup(entry).expect("it is cached");
        assert!(core::ptr::eq(found.page(), page) && page.refs() == 3);
        mm.lru.put(found);
        assert!(try_to_free(mm, page));
        assert!(!page.has(PageFlags::SWAPCACHE) && page.has(PageFlags::DIRTY));
        assert_eq!((page.refs(), page.private(), held(mm, entry)), (1, 0, Held::Nothing));
        assert!(mm.swap.lookup(entry).is_none());
    });
}

/// SWAP-03: a slot is discarded when its last user is gone, once, and before that never.
#[test]
fn a_slot_is_discarded_once_with_its_last_user() {
    with_devices(&[(16, 0)], |mm| {
        let page = anon_page(mm);
        let entry = cache(mm, page).expect("a slot");
        assert!(mm.swap.duplicate(entry) && mm.swap.duplicate(entry));
        assert!(!try_to_free(mm, page), "two entries name the slot");
        mm.swap.leave(entry, mm.map.pfn(page), Some(99));
        assert_eq!(held(mm, entry), Held::Shadow(99));
        mm.swap.free(entry);
        assert_eq!((discards(mm), mm.swap_pages()), (0, (15, 14)));
        mm.swap.free(entry);
        let slot = Asked::Discard { device: 0, first: entry.slot(), blocks: 1 };
        assert_eq!((mm.env.take_asked(), mm.swap_pages()), (Vec::from([slot]), (15, 15)));
    });
}

/// SWAP-04: a slot is not freed while its page is being written to it.
#[test]
fn a_page_under_writeback_keeps_its_slot() {
    with_devices(&[(16, 0)], |mm| {
        let page = anon_page(mm);
        let entry = cache(mm, page).expect("a slot");
        write(mm, page);
        assert!(!try_to_free(mm, page));
        mm.complete(request(mm).complete(Ok(())));
        mm.swap.free(entry);
        assert!(try_to_free(mm, page));
        assert_eq!((held(mm, entry), discards(mm)), (Held::Nothing, 1));
    });
}

/// SWAP-04: swap counts as full when more than half of it is used.
#[test]
fn swap_is_full_when_more_than_half_is_used() {
    with_devices(&[(9, 0)], |mm| {
        for used in 0..8 {
            assert_eq!(mm.swap.is_full(), used > 4, "{used} of 8");
            cache(mm, anon_page(mm)).expect("a slot");
        }
        assert!(mm.swap.is_full());
    });
    with_devices(&[], |mm| assert!(!mm.swap.is_full() && !mm.swap.has_free()));
}

/// SPL-20, LRU-07: submitting clears dirty, sets write-back and the reclaim mark and drops
/// the lock; completion clears both marks and makes the page the next victim.
#[test]
fn a_written_page_is_marked_until_it_is_done() {
    with_devices(&[(16, 0)], |mm| {
        let page = anon_page(mm);
        let entry = cache(mm, page).expect("a slot");
        page.choose_list(ListChoice::Active);
        mm.lru.of(page).add_new([page].into_iter());
        write(mm, page);
        let marks = PageFlags::WRITEBACK | PageFlags::RECLAIM;
        assert!(page.has(marks) && !page.flags().intersects(PageFlags::DIRTY | PageFlags::LOCKED));
        let bio = request(mm);
        assert_eq!((bio.direction(), bio.device()), (Direction::Write, DeviceId(0)));
        assert_eq!((bio.block(), bio.frame()), (entry.slot(), mm.map.pfn(page)));
        mm.complete(bio.complete(Ok(())));
        assert!(!page.flags().intersects(marks | PageFlags::DIRTY));
        assert_eq!((page.lru_list(), page.refs()), (LruList::ActiveAnon, 3), "it waits in a batch");
        mm.lru_add_drain_all();
        assert_eq!(page.lru_list(), LruList::InactiveAnon);
        assert_eq!((mm.event(VmEvent::PswpOut), mm.event(VmEvent::PgRotated)), (1, 1));
        assert_eq!(page.refs(), 2);
    });
}

/// SWAP-07: a failed write keeps the page, dirty and active, and retires the slot permanently.
#[test]
fn a_failed_write_keeps_the_page_and_retires_the_slot() {
    with_devices(&[(3, 0)], |mm| {
        let page = anon_page(mm);
        let entry = cache(mm, page).expect("a slot");
        mm.lru.of(page).add_new([page].into_iter());
        write(mm, page);
        mm.complete(request(mm).complete(Err(IoError)));
        assert!(page.has(PageFlags::DIRTY | PageFlags::ACTIVE | PageFlags::SWAPCACHE));
        assert!(!page.flags().intersects(PageFlags::WRITEBACK | PageFlags::RECLAIM));
        assert_eq!(mm.event(VmEvent::SwapWriteError), 1);
        mm.swap.free(entry);
        assert!(try_to_free(mm, page));
        let others: Vec<u32> =
            core::iter::from_fn(|| Some(cache(mm, anon_page(mm))?.slot())).collect();
        assert_eq!(others.len(), 1);
        assert!(!others.contains(&entry.slot()));
        assert_eq!(discards(mm), 0, "a broken slot is not discarded");
    });
}

/// SWAP-05, SWAP-07: a read holds the page lock until it ends, and reports its result.
#[test]
fn a_read_holds_the_lock_until_it_ends() {
    for (result, flag, errors) in
        [(Ok(()), PageFlags::UPTODATE, 0), (Err(IoError), PageFlags::ERROR, 1)]
    {
        with_devices(&[(16, 0)], |mm| {
            let page = anon_page(mm);
            cache(mm, page).expect("a slot");
            page.corrupt_flags(PageFlags::UPTODATE);
            mm.swap.readpage(page.try_lock().expect("free"));
            assert!(page.try_lock().is_none());
            let bio = request(mm);
            assert_eq!(bio.direction(), Direction::Read);
            mm.complete(bio.complete(result));
            let ends = PageFlags::UPTODATE | PageFlags::ERROR;
            assert_eq!(page.flags() & ends, flag);
            assert!(!page.has(PageFlags::LOCKED));
            assert_eq!(mm.event(VmEvent::SwapReadError), errors);
        });
    }
}

/// SWAP-01: an unusable device is refused with the reason, and nothing changes.
#[test]
fn a_device_is_refused_with_its_reason() {
    let mut memory: Vec<Box<[MaybeUninit<Slot>]>> =
        (0..10).map(|_| Box::new_uninit_slice(words_for(8))).collect();
    let mut good = [0; PAGE_SIZE];
    header::format(&mut good, 8);
    let ranges = [frames(0, 1024)];
    let plan = crate::Plan::new(&ranges, Config::default()).expect("a plan");
    let layout = plan.storage_layout::<&TestEnv>();
    let mut block = Box::new_uninit_slice(layout.size() + layout.align());
    let env = TestEnv::with_memory(plan.span.pages() as usize);
    let mm = Mm::new(&env, plan, &mut block);
    let mut memory = memory.iter_mut();
    let mut next = || &mut memory.next().expect("memory for a device")[..];
    let zeroes = [0; PAGE_SIZE];
    let first = next();
    let (short, rest) = first.split_at_mut(5);
    assert_eq!(
        mm.swapon(DeviceId(0), 8, &good, short, 0),
        Err(SwapOnError::TooLittleMemory { need: 10, have: 5 })
    );
    let bad = Err(SwapOnError::Header(HeaderError::BadMagic([0; 10])));
    assert_eq!(mm.swapon(DeviceId(0), 8, &zeroes, rest, 0), bad);
    assert_eq!(mm.swap_pages(), (0, 0));
    for id in 0..7 {
        assert_eq!(mm.swapon(DeviceId(id), 8, &good, next(), 0), Ok(7));
    }
    let eighth = mm.swapon(DeviceId(7), 8, &good, next(), 0);
    assert_eq!((eighth, mm.swap_pages()), (Err(SwapOnError::TooManyDevices), (49, 49)));
}

/// SWAP-06: a request can only be completed.
#[test]
fn a_dropped_request_panics() {
    with_devices(&[(16, 0)], |mm| {
        let page = anon_page(mm);
        cache(mm, page).expect("a slot");
        mm.swap.writepage(page.try_lock().expect("free"));
        let bio = request(mm);
        let said = panic_of(|| drop(bio));
        assert_eq!(said, "a block request was dropped: Write of block 1 of device 0");
    });
}

#[test]
fn a_machine_without_swap_gives_no_slot() {
    with_mm(&[frames(0, 1024)], Config::default(), |mm| {
        let page = anon_page(mm);
        assert_eq!(cache(mm, page), None);
        assert_eq!((page.refs(), page.has(PageFlags::SWAPCACHE)), (1, false));
    });
}

/// SWAP-03, SWAP-04: a page whose last user went away during a transfer leaves the cache when the
/// transfer ends, and its slot is free.
#[test]
fn a_page_that_nobody_waits_for_leaves_the_cache_with_its_transfer() {
    with_devices(&[(16, 0)], |mm| {
        let page = anon_page(mm);
        let entry = cache(mm, page).expect("a slot");
        write(mm, page);
        mm.swap.free_swap_and_cache(entry);
        assert!(page.has(PageFlags::SWAPCACHE), "not while the device reads it");
        mm.complete(request(mm).complete(Ok(())));
        assert!(!page.has(PageFlags::SWAPCACHE | PageFlags::WRITEBACK));
        assert_eq!((page.refs(), held(mm, entry), mm.swap_pages()), (1, Held::Nothing, (15, 15)));
        let entry = cache(mm, page).expect("a slot");
        assert!(mm.swap.duplicate(entry));
        mm.swap.free_swap_and_cache(entry);
        assert!(!page.has(PageFlags::SWAPCACHE), "at once, if no transfer is under way");
    });
}
