//! The layers below reclaim, seen from whole machines: zones and their counts, what a request may
//! take, and what a program finds in a fresh page.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mm_reclaim::env::{FrameMemory, TaskFlags};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::PageFlags;
use mm_reclaim::reclaim::ScanRequest;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn};
use mm_reclaim::zone::{Mark, ZoneId};
use simulator::tables::Touch;
use simulator::{Config, DiskConfig, Machine, Program, TaskSpec};

use crate::bench::{
    cold, exhaust, frame, frames, hot, look, on, page, pages, prove, release, small,
};

const DISK: DiskConfig = DiskConfig::sync(2048);

fn order(n: u8) -> Order {
    Order::new(n).expect("an order")
}

fn take(machine: Machine<'_>, gfp: Gfp) -> Option<Pfn> {
    machine.mm.alloc_pages(gfp, Order::ZERO)
}

/// ZONE-01: with three populated zones, scan and steal are seen in each.
#[test]
fn every_zone_is_scanned_and_stolen_from() {
    Machine::run(&Config::default(), |machine| {
        assert_eq!(machine.mm.zones().count(), 3);
        let mut program = Program::new(machine);
        let area = program.map(8000);
        program.write_all(area.clone());
        prove(machine);
        for zone in machine.mm.zones() {
            let (scanned, stolen) = zone.reclaim_counts();
            assert!(scanned >= stolen && stolen > 0, "{:?}: {scanned} {stolen}", zone.id());
        }
        program.check_all(area);
        prove(machine);
    });
}

/// ZONE-01, ZONE-04: managed and reserved pages add up to the present ones, and with the holes to
/// the spanned ones, exactly.
#[test]
fn every_page_is_managed_or_reserved() {
    Machine::run(&Config::default(), |machine| {
        let program = hot(machine, 500);
        let census = machine.mm.validate().expect("sound");
        let sum = |figure: fn(&mm_reclaim::zone::Zone<'_, simulator::SimCpu>) -> u32| {
            machine.mm.zones().map(figure).sum::<u32>()
        };
        assert_eq!(sum(|z| z.present()), 2048 + 2048);
        assert_eq!(sum(|z| z.managed()), sum(|z| z.present()), "nothing was kept at boot");
        // The hole has descriptors, which stay reserved.
        assert_eq!(census.reserved, 4352 - (2048 + 2048));
        let used: u32 = census.lru.iter().sum();
        assert_eq!(census.free + used + census.kernel, machine.mm.total_managed());
        assert_eq!(census.free, machine.mm.total_free());
        let dma32 = machine.mm.zone(ZoneId::Dma32);
        assert_eq!(dma32.span().pages() - dma32.present(), 256, "the hole lies in it");
        drop(program);
        prove(machine);
    });
}

/// ZONE-03, BUDY-06: a request falls back from its class zone downwards, never upwards, and
/// a lower zone keeps its reserve from it.
#[test]
fn requests_fall_back_downwards_and_leave_the_reserve() {
    let mut config = Config::default();
    config.hardware.memory = std::iter::once(0..16 << 10).collect();
    config.hardware.cpus = 1;
    Machine::run(&config, |machine| {
        let zone_of = |pfn| ZoneId::ALL[page(machine, pfn).zone_index()];
        let mut taken = Vec::new();
        let mut order_of_zones = Vec::new();
        while let Some(pfn) = take(machine, Gfp::empty()) {
            if order_of_zones.last() != Some(&zone_of(pfn)) {
                order_of_zones.push(zone_of(pfn));
            }
            taken.push(pfn);
        }
        // First down to LOW in each zone, then to MIN.
        use ZoneId::{Dma, Dma32, Normal};
        assert_eq!(order_of_zones, [Normal, Dma32, Dma, Normal, Dma32, Dma]);
        let dma = machine.mm.zone(Dma);
        assert!(dma.lowmem_reserve(Normal) > 0);
        let left = dma.free() + dma.pcp_pages();
        assert!(left >= dma.mark(Mark::Min) + dma.lowmem_reserve(Normal), "{left} free");
        let low = take(machine, Gfp::DMA).expect("the reserve is for those who need this zone");
        assert_eq!(zone_of(low), Dma);
        let middle = take(machine, Gfp::DMA32).expect("likewise");
        assert_ne!(zone_of(middle), Normal);
        release(machine, vec![low, middle]);
        release(machine, taken);
        prove(machine);
    });
}

/// BUDY-05: a request that may not block gets no page by reclaim; privileged ones go below MIN,
/// each as far as its flags allow.
#[test]
fn privileges_reach_below_min_and_nobody_else_does() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 100);
        let mut taken = exhaust(machine);
        let zone = machine.mm.zone(ZoneId::Dma);
        let min = zone.watermarks().min;
        let spend = |gfp| std::iter::from_fn(move || take(machine, gfp)).collect::<Vec<_>>();
        let left = || zone.free();
        assert_eq!(take(machine, Gfp::empty()), None);
        let floor = left();
        assert!(floor <= min, "{floor} free, MIN is {min}");
        taken.extend(spend(Gfp::HIGH));
        assert!(left() <= min / 2 + 1, "{} free", left());
        taken.extend(spend(Gfp::HIGH | Gfp::ATOMIC));
        assert!(left() <= min / 2 - min / 8 + 1, "{} free", left());
        taken.extend(spend(Gfp::MEMALLOC));
        assert_eq!(left(), 0, "to the last page");
        assert_eq!(machine.mm.event(VmEvent::PgScanDirect), 0);
        assert_eq!(machine.mm.event(VmEvent::AllocStallNormal), 0);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// BUDY-05: a task that is reclaiming uses the reserves and does not reclaim again; with
/// NOMEMALLOC it does neither.
#[test]
fn a_reclaiming_task_never_recurses() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 100);
        let taken = exhaust(machine);
        let task = || {
            let got = take(machine, Gfp::KERNEL - Gfp::KSWAPD_RECLAIM);
            assert!(got.is_some(), "from the reserve");
            release(machine, got.into_iter().collect());
            let alone = (Gfp::KERNEL | Gfp::NOMEMALLOC) - Gfp::KSWAPD_RECLAIM;
            assert_eq!(take(machine, alone), None);
        };
        machine.world.sched.together(vec![TaskSpec::new("reclaimer", TaskFlags::MEMALLOC, task)]);
        assert_eq!(machine.mm.event(VmEvent::PgScanDirect), 0);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// BUDY-05: reclaim makes room for blocks of several pages too.
#[test]
fn reclaim_makes_room_for_an_order() {
    on(DISK, |machine| {
        let (program, area) = cold(machine, 800);
        let taken = exhaust(machine);
        let block = machine.mm.alloc_pages(Gfp::KERNEL | Gfp::RETRY_MAYFAIL, order(2));
        assert!(machine.mm.event(VmEvent::PgScanDirect) > 0);
        if let Some(block) = block {
            machine.mm.free_pages(block, order(2));
        }
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// BUDY-08: a block of several pages is one page with tails; freeing it frees the whole.
#[test]
fn a_compound_page_is_freed_as_a_whole() {
    on(DISK, |machine| {
        let free = machine.mm.total_free();
        for n in 1..=Order::MAX.get().min(8) {
            let head = machine.mm.alloc_pages(Gfp::KERNEL, order(n)).expect("memory");
            assert!(page(machine, head).has(PageFlags::HEAD));
            assert_eq!(machine.mm.memmap().nr_pages(page(machine, head)), 1 << n);
            let tails = (1..1 << n).map(|i| page(machine, head + i));
            assert!(tails.clone().all(|t| t.has(PageFlags::TAIL) && t.owner() == head.0));
            assert_eq!(machine.mm.total_free(), free - (1 << n));
            prove(machine);
            machine.mm.free_pages(head, order(n));
            assert!(tails.clone().all(|t| !t.has(PageFlags::TAIL)));
            assert_eq!(machine.mm.total_free(), free);
            prove(machine);
        }
    });
}

/// The panic message of a machine that `body` breaks.
fn panic_of(body: impl Fn(Machine<'_>)) -> String {
    let end = catch_unwind(AssertUnwindSafe(|| on(DISK, body))).expect_err("a panic was due");
    *end.downcast::<String>().expect("a panic with words")
}

/// BUDY-01, BUDY-08: freeing twice, or with another order, stops the machine with the
/// descriptor.
#[test]
fn a_wrong_free_is_told_with_its_descriptor() {
    let twice = panic_of(|machine| {
        let pfn = take(machine, Gfp::KERNEL).expect("memory");
        machine.mm.free_pages(pfn, Order::ZERO);
        machine.mm.free_pages(pfn, Order::ZERO);
    });
    assert!(twice.contains("double free") && twice.contains("Page {"), "{twice}");
    let order_of_another = panic_of(|machine| {
        let pfn = machine.mm.alloc_pages(Gfp::KERNEL, order(2)).expect("memory");
        machine.mm.free_pages(pfn, order(1));
    });
    assert!(order_of_another.contains("Page {"), "{order_of_another}");
}

/// Whether every byte of a frame is zero.
fn is_zero(machine: Machine<'_>, pfn: Pfn) -> bool {
    let mut bytes = [1; PAGE_SIZE];
    machine.world.arena.read(pfn, 0, &mut bytes);
    bytes.iter().all(|byte| *byte == 0)
}

/// BUDY-09: after a program that wrote all over memory, no byte of it is left in any fresh
/// page, whether first touched by a load or by a store, or a page of the kernel.
#[test]
fn no_byte_of_a_former_owner_is_readable() {
    let mut config = small(DISK);
    // Without poison too: the frames then still hold what the former owner wrote.
    for poison in [false, true] {
        config.mm.poison = poison;
        Machine::run(&config, |machine| {
            let mut former = Program::new(machine);
            let secrets = former.map(1500);
            former.write_all(secrets.clone());
            fill(machine, &former, secrets);
            former.exit();
            let mut program = Program::new(machine);
            let area = program.map(600);
            for vpn in pages(area.clone()) {
                let touch = if vpn.0 % 2 == 0 { Touch::Load } else { Touch::Store(0) };
                program.touch(vpn.addr(), touch).expect("alive");
                assert!(is_zero(machine, frame(machine, &program, vpn)), "{vpn:?}");
            }
            for pfn in exhaust(machine) {
                machine.mm.free_pages(pfn, Order::ZERO);
            }
            let block = machine.mm.alloc_pages(Gfp::KERNEL | Gfp::ZERO, order(3)).expect("memory");
            assert!((0..8).all(|i| is_zero(machine, block + i)));
            machine.mm.free_pages(block, order(3));
            prove(machine);
            program.write_all(area.clone());
            program.check_all(area);
        });
    }
}

/// Fills every present page of a range to the last word.
fn fill(
    machine: Machine<'_>,
    program: &Program<'_>,
    range: std::ops::Range<mm_reclaim::units::Vpn>,
) {
    for vpn in pages(range).filter(|v| crate::bench::is_present(machine, program, *v)) {
        machine.world.arena.write(frame(machine, program, vpn), 0, &[0xa5; PAGE_SIZE]);
    }
}

/// BUDY-09: a copy and a page read from swap hold every byte of the original.
#[test]
fn copies_and_swapped_pages_are_whole() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 4);
        for vpn in pages(area.clone()) {
            let all: Vec<u8> = (0..PAGE_SIZE).map(|i| (i * 31 + vpn.0 as usize) as u8).collect();
            machine.world.arena.write(frame(machine, &program, vpn), 0, &all);
        }
        let content = |program: &Program<'_>| -> Vec<Vec<u8>> {
            let read = |pfn| {
                let mut bytes = vec![0; PAGE_SIZE];
                machine.world.arena.read(pfn, 0, &mut bytes);
                bytes
            };
            frames(machine, program, area.clone()).into_iter().map(read).collect()
        };
        let load = |program: &Program<'_>| {
            pages(area.clone()).for_each(|v| assert!(program.touch(v.addr(), Touch::Load).is_ok()));
        };
        let want = content(&program);
        look(machine, &frames(machine, &program, area.clone()), ScanRequest::proactive());
        load(&program);
        assert_eq!(content(&program), want, "through swap");
        let child = program.fork().expect("a child");
        for vpn in pages(area.clone()) {
            let first =
                u64::from_le_bytes(std::array::from_fn(|i| want[(vpn - area.start) as usize][i]));
            child.touch(vpn.addr(), Touch::Store(first)).expect("alive");
        }
        assert_eq!(content(&child), want, "by copying");
        program.advise(area.clone(), Advice::PageOut).expect("an area");
        load(&child);
        assert_eq!(content(&child), want);
        prove(machine);
    });
}
