//! The machine as a whole: zonelists and reserves, compound pages, the page lock's sleepers.

use std::vec::Vec;

use super::Mm;
use crate::base::stat::VmEvent;
use crate::base::sync::{AtomicU32, Ordering};
use crate::base::units::{Order, Pfn, PhysAddr};
use crate::block::{Bio, DeviceId, Direction, IoError};
use crate::boot::plan::{Config, Plan};
use crate::env::{Env, Prot, TaskFlags};
use crate::fault::{Access, FaultEnd};
use crate::mmap::{Advice, Place};
use crate::page::{LruList, Page, PageFlags};
use crate::space::AreaFlags;
use crate::tests::{Asked, TestCpu, TestEnv, TestMm, frames, panic_of, with_mm, with_swap};
use crate::zone::gfp::Gfp;
use crate::zone::{FrameRange, Mark, ZoneId, ZoneLimits};

/// Zones of 4, 8 and 20 MiB.
fn three_zones() -> Config {
    let limits = ZoneLimits { dma_end: PhysAddr(4 << 20), dma32_end: PhysAddr(12 << 20) };
    Config { zone_limits: limits, ..Config::default() }
}

const MEMORY: FrameRange = FrameRange { start: Pfn(0), end: Pfn(8192) };

fn with_three_zones(body: impl for<'m> FnOnce(&TestMm<'m>)) {
    with_mm(&[MEMORY], three_zones(), body);
}

fn order(order: u8) -> Order {
    Order::new(order).expect("an order")
}

/// ZONE-03: a request tries its class zone first and then every zone below it.
#[test]
fn zonelists_go_downwards_from_the_class_zone() {
    with_three_zones(|mm| {
        let list = |class| mm.zones.zonelist(class).map(|zone| zone.id()).collect::<Vec<_>>();
        assert_eq!(list(ZoneId::Normal), [ZoneId::Normal, ZoneId::Dma32, ZoneId::Dma]);
        assert_eq!(list(ZoneId::Dma32), [ZoneId::Dma32, ZoneId::Dma]);
        assert_eq!(list(ZoneId::Dma), [ZoneId::Dma]);
    });
}

/// ZONE-01, ZONE-03: an empty zone is on no list.
#[test]
fn an_empty_zone_is_passed_over() {
    with_mm(&[frames(0, 1024), frames(3072, 8192)], three_zones(), |mm| {
        let list = mm.zones.zonelist(ZoneId::Normal).map(|zone| zone.id());
        assert!(list.eq([ZoneId::Normal, ZoneId::Dma]));
        assert_eq!(mm.zone(ZoneId::Dma32).present(), 0);
    });
}

/// ZONE-03: a zone holds back from a class a 256th of the pages above it, up to the class's own
/// zone.
#[test]
fn a_zone_holds_back_a_256th_of_what_lies_above() {
    with_three_zones(|mm| {
        let table = [
            (ZoneId::Dma, [0, 2048 / 256, (2048 + 5120) / 256]),
            (ZoneId::Dma32, [0, 0, 5120 / 256]),
            (ZoneId::Normal, [0, 0, 0]),
        ];
        for (zone, want) in table {
            assert_eq!(ZoneId::ALL.map(|class| mm.zone(zone).lowmem_reserve(class)), want);
        }
    });
}

/// ZONE-03, BUDY-04: memory is used up from the top zone down, and what is held back at the bottom
/// remains for requests that can use nothing else.
#[test]
fn the_lowest_zone_keeps_its_reserve_for_those_who_need_it() {
    with_three_zones(|mm| {
        let take = |gfp| mm.alloc_pages(gfp, Order::ZERO);
        let mut homes = Vec::new();
        while let Some(pfn) = take(Gfp::NOWAIT) {
            homes.push(mm.memmap().page(pfn).zone_index());
        }
        // Down to LOW everywhere first; a batch at a time, a zone may pass MIN with LOW.
        homes.dedup();
        assert_eq!(homes[..3], [2, 1, 0]);
        let dma = mm.zone(ZoneId::Dma);
        let reserve = dma.lowmem_reserve(ZoneId::Normal);
        assert!(reserve > 0 && dma.free() + dma.pcp_pages() >= dma.mark(Mark::Min) + reserve);
        let served = (0..).map_while(|_| take(Gfp::NOWAIT | Gfp::DMA)).count();
        assert!(served as u32 >= reserve, "{served} of {reserve} pages held back");
    });
}

/// BUDY-05, LRU-02: reclaim that freed nothing empties the batches of every CPU: their references
/// may be what keeps pages in memory.
#[test]
fn fruitless_reclaim_empties_the_batches_of_every_cpu() {
    with_mm(&[frames(0, 1024)], Config::default(), |mm| {
        let (id, prot) = (mm.create_space().expect("a space"), Prot::READ | Prot::WRITE);
        let start = mm.mmap(id, Place::Anywhere, 3, prot, AreaFlags::empty()).expect("room");
        TestCpu::move_to(1);
        for vpn in [start, start + 1, start + 2] {
            assert_eq!(mm.handle_fault(id, vpn.addr(), Access::Write), FaultEnd::Minor);
        }
        TestCpu::move_to(0);
        while mm.alloc_pages(Gfp::NOWAIT, Order::ZERO).is_some() {}
        assert_eq!(mm.lru().total(LruList::InactiveAnon), 0, "they wait in another CPU's batch");
        // It may find what another CPU had freed; reclaim frees nothing, as there is no swap.
        let _got = mm.alloc_pages(Gfp::KERNEL | Gfp::NORETRY, Order::ZERO);
        assert_eq!(mm.event(VmEvent::PgStealDirect), 0);
        assert_eq!(mm.lru().total(LruList::InactiveAnon), 3);
    });
}

/// BUDY-05: a caller that must not sleep gets deeper into the reserve by its privileges, and one
/// that frees memory gets the last page.
#[test]
fn privileges_reach_into_the_reserve() {
    with_mm(&[frames(0, 4096)], Config::default(), |mm| {
        let left = |gfp| {
            while mm.alloc_pages(gfp, Order::ZERO).is_some() {}
            mm.total_free()
        };
        let min = mm.zone(ZoneId::Dma).mark(Mark::Min);
        let near = |free: u32, want: u32| assert!(want.abs_diff(free) <= 16, "{free} not {want}");
        near(left(Gfp::NOWAIT), min);
        near(left(Gfp::NOWAIT | Gfp::HIGH), min / 2);
        near(left(Gfp::ATOMIC_CONTEXT), min / 2 - min / 8);
        mm.env.set_flags(TaskFlags::OOM_VICTIM);
        near(left(Gfp::NOWAIT | Gfp::HIGH), min / 4);
        mm.env.set_flags(TaskFlags::MEMALLOC);
        assert!(left(Gfp::KERNEL | Gfp::NOMEMALLOC) > 0);
        assert_eq!(left(Gfp::KERNEL), 0);
    });
}

/// ZONE-04: managed and reserved pages add up to the present ones exactly, with or without holes
/// and zone boundaries.
#[test]
fn managed_and_reserved_make_up_what_is_present() {
    let memory = [frames(100, 5000), frames(5500, 8192)];
    let free = [frames(300, 1030), frames(1031, 1040), frames(2000, 4999), frames(6000, 8192)];
    let plan = Plan::new(&memory, three_zones()).expect("a plan");
    let layout = plan.storage_layout::<&TestEnv>();
    let mut block = Box::new_uninit_slice(layout.size() + layout.align());
    let env = TestEnv::with_memory(plan.span.pages() as usize);
    let mm = Mm::new(&env, plan, &mut block);
    assert_eq!((mm.total_managed(), mm.total_free()), (0, 0));
    free.iter().for_each(|range| mm.free_bootmem(*range));
    let inside = |range: FrameRange, sets: &[FrameRange]| -> u32 {
        sets.iter().map(|set| set.intersection(range).pages()).sum()
    };
    for zone in ZoneId::ALL.map(|id| mm.zone(id)) {
        let (present, managed) = (inside(zone.span(), &memory), inside(zone.span(), &free));
        assert_eq!((zone.present(), zone.managed(), zone.free()), (present, managed, managed));
        let exists = |pfn| memory.iter().any(|range| range.contains(pfn));
        let in_zone = mm.map.iter().filter(|(pfn, _)| zone.span().contains(*pfn) && exists(*pfn));
        let reserved = in_zone.filter(|(_, page)| page.has(PageFlags::RESERVED)).count() as u32;
        assert_eq!(managed + reserved, present, "{:?}", zone.id());
    }
    mm.validate().expect("sound");
}

/// BUDY-08: a block has one head and its tails name it; freeing it frees them all.
#[test]
fn a_compound_page_is_freed_as_a_whole() {
    with_three_zones(|mm| {
        let free = mm.total_free();
        for order in (1..=10).map(order) {
            let pfn = mm.alloc_pages(Gfp::KERNEL, order).expect("a block");
            let head = mm.map.page(pfn);
            assert!(head.has(PageFlags::HEAD) && head.refs() == 1);
            assert_eq!(mm.map.nr_pages(head), order.pages());
            for i in 1..order.pages() {
                let tail = mm.map.page(pfn + i);
                assert_eq!((tail.flags(), tail.owner()), (PageFlags::TAIL, pfn.0));
                assert_eq!(tail.refs(), 0);
            }
            assert_eq!(mm.total_free(), free - order.pages());
            mm.free_pages(pfn, order);
            assert_eq!(mm.total_free(), free);
            let block = (0..order.pages()).map(|i| mm.map.page(pfn + i));
            assert!(
                block.into_iter().all(|page| PageFlags::BUDDY.contains(page.flags())),
                "{order:?}"
            );
        }
        mm.validate().expect("sound");
    });
}

/// OBS-01: pages are counted when allocated and when freed, whatever the order and the path.
#[test]
fn allocations_and_frees_are_counted_in_pages() {
    with_three_zones(|mm| {
        let counts = || (mm.event(VmEvent::PgAlloc), mm.event(VmEvent::PgFree));
        let mut pages = 0;
        for order in [0, 3, 0, 10, 5].map(order) {
            let pfn = mm.alloc_pages(Gfp::KERNEL, order).expect("a block");
            let before = pages;
            pages += u64::from(order.pages());
            assert_eq!(counts(), (pages, before), "{order:?} taken");
            mm.free_pages(pfn, order);
            assert_eq!(counts(), (pages, pages), "{order:?} given");
        }
        mm.zones().for_each(|zone| assert!(zone.drain_pcp()));
        assert_eq!(counts(), (pages, pages), "draining is no traffic");
    });
}

/// BUDY-08: a reference to the head holds the whole block.
#[test]
fn a_compound_page_lives_as_long_as_its_last_reference() {
    with_three_zones(|mm| {
        let free = mm.total_free();
        let pfn = mm.alloc_pages(Gfp::KERNEL, Order::COSTLY).expect("a block");
        let held = mm.map.page(pfn).get();
        mm.free_pages(pfn, Order::COSTLY);
        assert_eq!(mm.total_free(), free - Order::COSTLY.pages());
        mm.lru.put(held);
        assert_eq!(mm.total_free(), free);
    });
}

/// BUDY-01: freeing twice, or something other than what was allocated, panics with the descriptor
/// and changes nothing.
#[test]
fn wrong_frees_are_reported_with_the_descriptor() {
    with_three_zones(|mm| {
        let pfn = mm.alloc_pages(Gfp::KERNEL, Order::COSTLY).expect("a block");
        let free = mm.total_free();
        for (at, order, want) in [
            (pfn, Order::ZERO, "order Order(0) freed, but Page {"),
            (pfn, order(2), "order Order(2) freed, but Page {"),
            (pfn + 1, Order::ZERO, "double free of pfn"),
        ] {
            let said = panic_of(|| mm.free_pages(at, order));
            assert!(said.contains(want) && said.contains("flags: "), "{said}");
            assert_eq!(mm.total_free(), free);
        }
        mm.free_pages(pfn, Order::COSTLY);
        // The head of the block that is free now, and a frame in its middle.
        for at in [pfn, pfn + 5] {
            let said = panic_of(|| mm.free_pages(at, Order::ZERO));
            assert!(said.starts_with(&std::format!("double free of {at:?}: Page {{")), "{said}");
        }
        mm.validate().expect("sound");
    });
}

/// BUDY-01, BUDY-07: a page on a CPU's list is free too.
#[test]
fn a_page_on_a_cpus_list_is_not_freed_again() {
    with_three_zones(|mm| {
        let pfn = mm.alloc_pages(Gfp::KERNEL, Order::ZERO).expect("a page");
        mm.free_pages(pfn, Order::ZERO);
        let said = panic_of(|| mm.free_pages(pfn, Order::ZERO));
        assert!(said.contains("double free"), "{said}");
    });
}

/// BUDY-06, BUDY-09: every frame of a block that is requested with ZERO is zeroed.
#[test]
fn a_zeroed_block_is_zeroed_frame_by_frame() {
    with_three_zones(|mm| {
        mm.env.take_asked();
        let pfn = mm.alloc_pages(Gfp::KERNEL | Gfp::ZERO, order(2)).expect("a block");
        assert_eq!(mm.env.take_asked(), [0, 1, 2, 3].map(|i| Asked::Zero(pfn + i)));
        mm.alloc_pages(Gfp::KERNEL, order(2)).expect("a block");
        assert_eq!(mm.env.take_asked(), []);
    });
}

/// Takes and releases a page's lock `rounds` times, counting without an atomic addition.
fn lock_often<'m>(mm: &TestMm<'m>, page: &'m Page, count: &AtomicU32, rounds: u32) {
    let held = page.get();
    for _ in 0..rounds {
        let lock = mm.zones.lock_page(&held).expect("nobody kills");
        let before = count.load(Ordering::Relaxed);
        std::thread::yield_now();
        count.store(before + 1, Ordering::Relaxed);
        mm.zones.unlock(lock);
    }
    mm.lru.put(held);
}

/// PAGE-01: sleepers for a page lock get it one after the other; no wakeup is lost, even when they
/// sleep for pages that share a bucket.
#[test]
fn sleepers_for_page_locks_all_get_their_turn() {
    let rounds = if cfg!(miri) { 5 } else { 300 };
    with_mm(&[frames(0, 2048)], Config::default(), |mm| {
        let zone = mm.zone(ZoneId::Dma);
        let mut fresh = core::iter::from_fn(|| {
            Some(mm.alloc.alloc_page(Gfp::KERNEL, Order::ZERO)?.into_ref().leak())
        });
        let first = fresh.next().expect("a page");
        let same = |page: &&Page| zone.wait_key(page) == zone.wait_key(first);
        let other = fresh.find(same).expect("another page of the bucket");
        let work = [first, other].map(|page| (page, AtomicU32::new(0)));
        std::thread::scope(|scope| {
            for (page, count) in work.iter().chain(&work) {
                scope.spawn(move || lock_often(mm, page, count, rounds));
            }
        });
        for (page, count) in &work {
            assert_eq!(count.load(Ordering::Relaxed), 2 * rounds);
            assert!(!page.has(PageFlags::LOCKED) && page.refs() == 1);
        }
    });
}

/// A moment is not quiet while a task works on a page or a space, or a transfer is under way.
#[test]
fn a_moment_is_quiet_while_nobody_is_at_work() {
    with_swap(&[MEMORY], three_zones(), &[(64, 0)], |mm| {
        let space = mm.create_space().expect("room");
        assert!(mm.is_quiet());
        let pfn = mm.alloc_pages(Gfp::KERNEL, Order::ZERO).expect("a page");
        for busy in [PageFlags::LOCKED, PageFlags::ISOLATED, PageFlags::WRITEBACK] {
            mm.map.page(pfn).corrupt_flags(busy);
            assert!(!mm.is_quiet(), "{busy:?}");
            mm.map.page(pfn).corrupt_flags(busy);
            assert!(mm.is_quiet(), "{busy:?}");
        }
        let areas = mm.spaces.find(space).expect("made above").areas.lock(mm.env.tasks());
        assert!(!mm.is_quiet(), "areas are being changed");
        drop(areas);
        assert!(mm.is_quiet());

        let rights = Prot::READ | Prot::WRITE;
        let place = mm.mmap(space, Place::Anywhere, 3, rights, AreaFlags::empty()).expect("room");
        for n in 0..3 {
            let end = mm.handle_fault(space, (place + n).addr(), Access::Write);
            assert_eq!(end, FaultEnd::Minor);
        }
        mm.madvise(space, place..place + 3, Advice::PageOut).expect("an area");
        let requests = core::mem::take(&mut *mm.env.requests.lock());
        assert_eq!(requests.len(), 3);
        for bio in requests {
            assert!(!mm.is_quiet(), "a page is being written");
            mm.complete(bio.complete(Ok(())));
        }
        assert!(mm.is_quiet());
        mm.validate().expect("as it is quiet");

        while mm.alloc_pages(Gfp::NOWAIT, Order::ZERO).is_some() {}
        assert!(!mm.is_quiet(), "kswapd was woken and does not run");
    });
}

/// The completion of a driver's test request does not end a transfer of a page.
#[test]
fn the_end_of_a_tests_request_is_refused() {
    with_three_zones(|mm| {
        for (direction, result) in [(Direction::Read, Ok(())), (Direction::Write, Err(IoError))] {
            let bio = Bio::for_test(direction, DeviceId(0), 3, Pfn(9));
            assert_eq!((bio.direction(), bio.block(), bio.frame()), (direction, 3, Pfn(9)));
            let end = bio.complete(result);
            assert_eq!(end.result(), result);
            assert!(panic_of(|| mm.complete(end)).starts_with("a test's request has ended"));
        }
        mm.validate().expect("as before");
    });
}

/// PAGE-01: an unlock without waiters wakes no task.
#[test]
fn an_unlock_without_waiters_wakes_nobody() {
    with_three_zones(|mm| {
        let pfn = mm.alloc_pages(Gfp::KERNEL, Order::ZERO).expect("a page");
        mm.env.take_asked();
        let lock = mm.map.page(pfn).try_lock().expect("free");
        mm.zones.unlock(lock);
        assert_eq!(mm.env.take_asked(), []);
        let lock = mm.map.page(pfn).try_lock().expect("free");
        mm.map.page(pfn).announce_waiter();
        mm.zones.unlock(lock);
        let key = mm.zone(ZoneId::Normal).wait_key(mm.map.page(pfn));
        assert_eq!(mm.env.take_asked(), [Asked::Wake(key)]);
    });
}
