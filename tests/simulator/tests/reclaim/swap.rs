//! Swap: headers, use counts, the cache, swap-in, and the device in both of its modes.

use std::mem::MaybeUninit;
use std::ops::Range;

use mm_reclaim::env::DeviceId;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::PageFlags;
use mm_reclaim::reclaim::ScanRequest;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::map::Held;
use mm_reclaim::swap::{HeaderError, Slot, SwapEntry, header};
use mm_reclaim::units::{PAGE_SIZE, Vpn};
use mm_reclaim::{Mm, SwapOnError};
use simulator::{Config, Death, DiskConfig, DiskStat, FIRST_DISK, Machine, Pace, Program, World};

use crate::bench::{
    anything, chill, cold, force_everything, frame, frames, free_between_programs, has, hot,
    in_flight, is_present, look, on, page, pages, prove, slot, slow, small,
};

/// A device in each of its modes.
fn both_modes(blocks: u32) -> [DiskConfig; 2] {
    [DiskConfig::sync(blocks), DiskConfig::later(blocks)]
}

fn stat(machine: Machine<'_>) -> DiskStat {
    machine.world.disks.stat(FIRST_DISK)
}

fn slots<'m>(blocks: u32) -> &'m mut [MaybeUninit<Slot>] {
    Box::leak(Box::new_uninit_slice(Mm::<&World>::swap_words(blocks)))
}

fn put(page: &mut [u8; PAGE_SIZE], at: usize, word: u32) {
    page[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

/// SWAP-01: a device with a wrong header is refused with its reason, and the machine continues with
/// the devices that it has.
#[test]
fn a_wrong_header_is_refused_and_nothing_changes() {
    on(DiskConfig::sync(64), |machine| {
        let swapon = |page: &[u8; PAGE_SIZE], memory: u32| {
            machine.mm.swapon(DeviceId(1), 100, page, slots(memory), 0)
        };
        let mut good = [0; PAGE_SIZE];
        header::format(&mut good, 100);
        let with = |at, word| {
            let mut page = good;
            put(&mut page, at, word);
            page
        };
        let refused = |page, why| assert_eq!(swapon(&page, 100), Err(SwapOnError::Header(why)));
        refused([0; PAGE_SIZE], HeaderError::BadMagic([0; 10]));
        refused(with(1024, 7), HeaderError::BadVersion(7));
        refused(with(1028, 100), HeaderError::BadLastPage { last: 100, blocks: 100 });
        refused(with(1032, 9999), HeaderError::TooManyBadPages(9999));
        let (need, have) = (Mm::<&World>::swap_words(100), Mm::<&World>::swap_words(10));
        assert_eq!(swapon(&good, 10), Err(SwapOnError::TooLittleMemory { need, have }));
        assert_eq!(machine.mm.swap_pages(), (63, 63));
        let (mut program, area) = hot(machine, 8);
        program.advise(area.clone(), Advice::PageOut).expect("an area");
        prove(machine);
        program.check_all(area);
    });
}

/// SWAP-01: pages that the header calls bad are never used, and the last page counts.
#[test]
fn bad_pages_are_never_used() {
    on(DiskConfig::sync(20), |machine| {
        assert_eq!(machine.mm.swapoff(FIRST_DISK), Ok(()));
        let mut page = [0; PAGE_SIZE];
        header::format(&mut page, 16);
        put(&mut page, 1032, 3);
        [1, 5, 15].iter().enumerate().for_each(|(i, bad)| put(&mut page, 1536 + 4 * i, *bad));
        assert_eq!(machine.mm.swapon_again(FIRST_DISK, &page, 0), Ok(12));
        let (mut program, area) = hot(machine, 14);
        assert_eq!(program.advise(area.clone(), Advice::PageOut), Ok(12));
        for vpn in pages(area.clone()).filter(|v| !is_present(machine, &program, *v)) {
            let at = slot(machine, &program, vpn).slot();
            assert!((2..15).contains(&at) && at != 5, "slot {at} was handed out");
        }
        prove(machine);
        program.check_all(area);
    });
}

/// SWAP-03: a slot counts its users through fork, and is discarded with the last one.
#[test]
fn a_slot_counts_its_users_and_is_discarded_with_the_last() {
    for disk in both_modes(64) {
        on(disk, |machine| {
            let (mut program, area) = cold(machine, 1);
            program.advise(area.clone(), Advice::PageOut).expect("an area");
            prove(machine);
            program.advise(area.clone(), Advice::PageOut).expect("an area");
            let entry = slot(machine, &program, area.start);
            let uses = || machine.mm.slot_state(entry).uses;
            let children: Vec<_> = (0..4).map(|_| program.fork().expect("a child")).collect();
            assert_eq!(uses(), 5);
            prove(machine);
            for (n, child) in (1..=4).rev().zip(children) {
                child.exit();
                assert_eq!(uses(), n);
            }
            let discards = stat(machine).discards;
            look(machine, &cached_frame(machine, entry), anything());
            program.unmap(area).expect("an area");
            assert!(machine.mm.slot_state(entry).is_free());
            assert_eq!(stat(machine).discards, discards + 1);
            assert_eq!(machine.mm.swap_pages(), (63, 63));
            prove(machine);
        });
    }
}

/// The frame that a slot has in the cache, if any.
fn cached_frame(machine: Machine<'_>, entry: SwapEntry) -> Vec<mm_reclaim::units::Pfn> {
    match machine.mm.slot_state(entry).held {
        Held::Page(pfn) => vec![pfn],
        _ => Vec::new(),
    }
}

/// SWAP-04: two programs that fault on one slot share one page, which is read once.
#[test]
fn one_slot_is_one_page_however_many_fault() {
    for disk in both_modes(64) {
        on(disk, |machine| {
            machine.mm.set_page_cluster(0);
            let (program, area) = cold(machine, 1);
            let child = program.fork().expect("a child");
            let first = frame(machine, &program, area.start);
            look(machine, &[first], anything());
            machine.settle();
            look(machine, &[first], anything());
            assert!(!is_present(machine, &program, area.start));
            machine.crowd(2, |_, who| [&program, &child][who].check_all(area.clone()));
            let pfn = frame(machine, &program, area.start);
            assert_eq!(pfn, frame(machine, &child, area.start));
            assert_eq!((stat(machine).reads, page(machine, pfn).mapcount()), (1, 2));
            assert!(has(machine, pfn, PageFlags::SWAPCACHE));
            prove(machine);
        });
    }
}

/// SWAP-04: while swap is not half full a page that was read keeps its slot, so that it can
/// go again without a write; beyond that the slot is freed at once.
#[test]
fn slots_are_kept_until_swap_is_half_full() {
    for (blocks, kept) in [(64, true), (8, false)] {
        on(DiskConfig::sync(blocks), |machine| {
            let (mut program, area) = cold(machine, 5);
            program.advise(area.clone(), Advice::PageOut).expect("an area");
            program.check(area.start).expect("alive");
            let pfn = frame(machine, &program, area.start);
            assert_eq!(has(machine, pfn, PageFlags::SWAPCACHE), kept, "{blocks} blocks");
            assert_eq!(machine.mm.swap_pages().1, blocks - 1 - if kept { 5 } else { 4 });
            let writes = stat(machine).writes;
            program.advise(area.start..area.start + 1, Advice::PageOut).expect("an area");
            assert_eq!(stat(machine).writes - writes, u64::from(!kept));
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SWAP-04: a store to a page read back by its only user frees the slot.
#[test]
fn a_swapped_in_store_gives_the_slot_back() {
    on(DiskConfig::sync(64), |machine| {
        let (mut program, area) = cold(machine, 1);
        program.advise(area.clone(), Advice::PageOut).expect("an area");
        program.write_all(area.clone());
        let pfn = frame(machine, &program, area.start);
        assert!(!has(machine, pfn, PageFlags::SWAPCACHE));
        assert_eq!(machine.mm.swap_pages(), (63, 63));
        prove(machine);
        program.check_all(area);
    });
}

/// SWAP-05: a page that is still being written is found in the cache, by a load and by a
/// store, and nothing is read.
#[test]
fn a_fault_during_write_back_reads_nothing() {
    on(slow(64), |machine| {
        let (mut program, area, written) = in_flight(machine, 2);
        program.check(area.start).expect("alive");
        program.write(area.start + 1).expect("alive");
        assert_eq!(frames(machine, &program, area.clone()), written);
        assert!(written.iter().all(|f| has(machine, *f, PageFlags::WRITEBACK)));
        assert_eq!(machine.mm.event(VmEvent::PgMajFault), 0);
        prove(machine);
        assert_eq!(stat(machine).reads, 0);
        program.check_all(area);
    });
}

/// A program whose pages are all in swap, on a disk that takes its time.
fn swapped_out(machine: Machine<'_>, count: u32) -> (Program<'_>, Range<Vpn>) {
    let (mut program, area) = cold(machine, count);
    for _ in 0..2 {
        program.advise(area.clone(), Advice::PageOut).expect("an area");
        force_everything(machine);
        prove(machine);
    }
    assert!(pages(area.clone()).all(|v| !is_present(machine, &program, v)));
    (program, area)
}

/// SWAP-05: an area that is read in order, upwards or downwards, has its pages read ahead: first
/// two, then four, then eight at a time; with the knob off just the page of each fault.
#[test]
fn what_is_read_in_order_is_read_ahead() {
    for (knob, downwards, most) in [(0, false, 64), (3, false, 12), (3, true, 12), (2, false, 19)] {
        on(DiskConfig::later(256), |machine| {
            machine.mm.set_page_cluster(knob);
            let (program, area) = swapped_out(machine, 64);
            let mut order: Vec<_> = pages(area).collect();
            if downwards {
                order.reverse();
            }
            order.into_iter().for_each(|vpn| program.check(vpn).expect("alive"));
            let faults = machine.mm.event(VmEvent::PgMajFault);
            assert_eq!(stat(machine).reads, 64);
            assert!(faults <= most, "{faults} faults with knob {knob}");
            assert_eq!(machine.mm.event(VmEvent::SwapRa), 64 - faults);
            assert_eq!(machine.mm.event(VmEvent::SwapRaHit), 64 - faults, "each was wanted");
            assert_eq!(machine.mm.event(VmEvent::SwapRaMiss), 0);
            prove(machine);
        });
    }
}

/// SWAP-05: an area that is read out of order has nothing read ahead; after a sequence the window
/// closes by half at each jump, and what it brought in vain is counted once it leaves.
#[test]
fn what_is_not_read_in_order_is_not_read_ahead() {
    on(DiskConfig::later(512), |machine| {
        let (program, area) = swapped_out(machine, 200);
        let at = |i: u32| program.check(area.start + i % 200).expect("alive");
        (0..60).for_each(|i| at(i * 67 + 5));
        assert_eq!(machine.mm.event(VmEvent::SwapRa), 0);
        assert_eq!(machine.mm.event(VmEvent::PgMajFault), 60);
        program.exit();
        let (mut program, area) = swapped_out(machine, 200);
        (0..40).for_each(|i| program.check(area.start + i).expect("alive"));
        let (ahead, hits) =
            (machine.mm.event(VmEvent::SwapRa), machine.mm.event(VmEvent::SwapRaHit));
        [100, 60, 140, 180, 120]
            .into_iter()
            .for_each(|i| program.check(area.start + i).expect("alive"));
        let vain = machine.mm.event(VmEvent::SwapRa) - ahead;
        assert!((4..=10).contains(&vain), "{vain} pages at the jumps");
        program.advise(area.clone(), Advice::PageOut).expect("an area");
        force_everything(machine);
        let wanted = machine.mm.event(VmEvent::SwapRaHit) - hits;
        assert!(machine.mm.event(VmEvent::SwapRaMiss) + wanted >= vain);
        prove(machine);
        program.check_all(area);
    });
}

/// SWAP-05: a store after swap-in reuses the page of its only user and copies a shared one.
#[test]
fn a_store_after_swap_in_reuses_or_copies() {
    for disk in both_modes(64) {
        on(disk, |machine| {
            let (mut program, area) = cold(machine, 2);
            let child = program.fork().expect("a child");
            let all = frames(machine, &program, area.clone());
            for _ in 0..2 {
                look(machine, &all, ScanRequest::proactive());
                machine.settle();
            }
            program.check_all(area.clone());
            let shared = frame(machine, &program, area.start);
            program.write(area.start).expect("alive");
            assert_ne!(frame(machine, &program, area.start), shared, "the child may want it");
            child.check_all(area.clone());
            child.exit();
            let own = frame(machine, &program, area.start + 1);
            program.write(area.start + 1).expect("alive");
            assert_eq!(frame(machine, &program, area.start + 1), own, "it has no other user");
            assert_eq!(machine.mm.event(VmEvent::CowCopy), 1);
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SWAP-03, SWAP-04: a program that ends leaves neither pages in the cache nor slots behind,
/// whether they are read ahead, under write-back, or all that there are.
#[test]
fn nothing_is_left_of_a_program_that_ends() {
    for disk in [DiskConfig::sync(33), DiskConfig::later(33), DiskConfig::later(256), slow(33)] {
        on(disk, |machine| {
            let free = free_between_programs(machine);
            let (mut program, area) = cold(machine, 100);
            program.advise(area.clone(), Advice::PageOut).expect("an area");
            program.check_all(area.start..area.start + 1);
            let child = program.fork().expect("a child");
            drop(program);
            child.check_all(area.start + 16..area.start + 17);
            drop(child);
            prove(machine);
            assert_eq!(free_between_programs(machine), free);
            let (total, free) = machine.mm.swap_pages();
            assert_eq!(total, free);
        });
    }
}

/// SWAP-06: the same work on the same bytes in both modes, with a limited bandwidth, and
/// with a queue that holds two requests.
#[test]
fn both_modes_do_the_same_work() {
    let limited = Pace::Async { latency: 0..1_000_000, per_page: 400_000 };
    let [sync, later] = both_modes(2048);
    let narrow = DiskConfig { queue: 2, congested_above: 1, ..later.clone() };
    let slow = DiskConfig { pace: limited, ..later };
    for disk in [sync, later, narrow, slow] {
        let is_sync = disk.pace == Pace::Sync;
        on(disk, |machine| {
            let mut program = Program::new(machine);
            let area = program.map(1500);
            for _ in 0..2 {
                program.write_all(area.clone());
                prove(machine);
                program.check_all(area.clone());
                prove(machine);
            }
            assert!(stat(machine).writes >= 500 && stat(machine).reads >= 500);
            assert_eq!(stat(machine).deepest > 0, !is_sync, "who queues");
        });
    }
}

/// SWAP-06: requests of one batch are queued together and go to neighbouring blocks.
#[test]
fn a_batch_is_one_run_of_blocks() {
    on(DiskConfig::later(256), |machine| {
        let (program, area) = cold(machine, 32);
        look(machine, &frames(machine, &program, area.clone()), anything());
        assert_eq!(stat(machine).deepest, 32);
        let at = |vpn| slot(machine, &program, vpn).slot();
        let run: Vec<_> = pages(area.clone()).map(at).collect();
        assert!(run.windows(2).all(|pair| pair[1] == pair[0] + 1), "{run:?}");
        prove(machine);
        program.check_all(area);
    });
}

/// SWAP-06, SWAP-07: a request that fails fails alone: a read kills only its faulting program, a
/// write loses nothing and its slot is not used again.
#[test]
fn failures_hit_single_requests() {
    for disk in both_modes(256) {
        on(DiskConfig { fail_write: 3, ..disk }, |machine| {
            let (mut program, area) = hot(machine, 60);
            for _ in 0..3 {
                program.advise(area.clone(), Advice::PageOut).expect("an area");
                prove(machine);
            }
            program.check_all(area.clone());
            assert!(machine.mm.event(VmEvent::SwapWriteError) > 0);
            let bad = machine.mm.event(VmEvent::SwapWriteError) as u32;
            machine.world.disks.configure(FIRST_DISK, |d| (d.fail_write, d.fail_read) = (0, 4));
            program.advise(area.clone(), Advice::PageOut).expect("an area");
            prove(machine);
            program.advise(area.clone(), Advice::PageOut).expect("an area");
            machine.settle();
            let mut bystander = Program::new(machine);
            let other = bystander.map(10);
            bystander.write_all(other.clone());
            let ends: Vec<_> = pages(area).map(|page| program.check(page)).collect();
            assert!(ends.contains(&Err(Death::BusError)), "{ends:?}");
            assert!(ends.contains(&Ok(())));
            bystander.check_all(other);
            drop((program, bystander));
            prove(machine);
            let (total, free) = machine.mm.swap_pages();
            assert_eq!(total - free, bad, "the broken slots, and no others");
        });
    }
}

/// The pages of a chilled program come back whatever the device is; a seed is one history.
#[test]
fn swapping_is_repeatable() {
    let run = |seed| {
        let mut config: Config = small(DiskConfig::later(1024));
        config.hardware.seed = seed;
        Machine::run(&config, |machine| {
            let (mut program, area) = hot(machine, 300);
            chill(&mut program, area.clone());
            program.advise(area.clone(), Advice::PageOut).expect("an area");
            program.check_all(area);
            prove(machine);
            (stat(machine), machine.world.sched.switches())
        })
    };
    assert_eq!(run(7), run(7));
}
