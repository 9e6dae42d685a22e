//! Memory whose contents a program has given up (`MADV_FREE`), and which pages are in memory.

use std::ops::Range;

use mm_reclaim::env::{DeviceId, Pte};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::{LruList, PageFlags, PageType};
use mm_reclaim::reclaim::{
    ActivateReason as Activate, FreeReason, KeepReason as Keep, Reason, ScanRequest,
};
use mm_reclaim::space::SpaceError;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::Vpn;
use mm_reclaim::zone::ZoneId;
use simulator::rng::Rng;
use simulator::{Config, DiskConfig, FIRST_DISK, Machine, Program};

use crate::bench::{
    HeldLock, HeldPage, anything, chill, cold, direct_round, entry, frame, frames, given_up, has,
    hot, in_flight, is_present, look, on, on_list, page, pages, prove, slow, small,
};

const DISK: DiskConfig = DiskConfig::sync(64);
const LAZY_FREED: Reason = Reason::Free(FreeReason::LazyFreed);
const LAZY_FREE_DIRTY: Reason = Reason::Activate(Activate::LazyFreeDirty);
const LAZY_FREE_BUSY: Reason = Reason::Keep(Keep::LazyFreeBusy);

/// Whether all of a program's entries in a range are empty.
fn is_gone(machine: Machine<'_>, program: &Program<'_>, area: Range<Vpn>) -> bool {
    pages(area).all(|vpn| entry(machine, program, vpn) == Pte::None)
}

/// LAZY-01, LRU-02: a page that is given up is clean, unused, and at the head of the inactive list
/// of files; its contents are still there.
#[test]
fn a_page_that_is_given_up_belongs_to_the_lists_of_files() {
    for list in [LruList::InactiveAnon, LruList::ActiveAnon] {
        on(DISK, |machine| {
            let (mut program, area) = hot(machine, 20);
            if list == LruList::ActiveAnon {
                crate::lru::activate(machine, &mut program, area.clone());
            }
            assert_eq!(program.advise(area.clone(), Advice::Free), Ok(20));
            assert_eq!(on_list(machine, list), 0);
            assert_eq!(on_list(machine, LruList::InactiveFile), 20);
            assert_eq!(machine.mm.event(VmEvent::PgLazyFree), 20);
            for vpn in pages(area.clone()) {
                let pfn = frame(machine, &program, vpn);
                let Pte::Present(mapping) = entry(machine, &program, vpn) else { panic!() };
                assert!(!mapping.young && !mapping.dirty);
                let gone = PageFlags::SWAPBACKED | PageFlags::DIRTY | PageFlags::REFERENCED;
                assert!(!page(machine, pfn).flags().intersects(gone | PageFlags::ACTIVE));
            }
            // The same once more: they are given up already.
            assert_eq!(program.advise(area.clone(), Advice::Free), Ok(0));
            prove(machine);
            program.check_all(area);
        });
    }
}

/// SPL-10: such pages go without a slot and without a write; the next touch sees zeroes.
#[test]
fn what_was_given_up_goes_without_a_write() {
    on(DISK, |machine| {
        let (program, area) = given_up(machine, 20);
        let free = machine.mm.total_free();
        let seen = look(machine, &frames(machine, &program, area.clone()), anything());
        assert_eq!((seen.verdicts, seen.stat.reclaimed), (vec![(LAZY_FREED, 20)], 20));
        assert_eq!(machine.mm.total_free(), free + 20);
        assert_eq!(machine.mm.event(VmEvent::PgLazyFreed), 20);
        assert_eq!(machine.mm.event(VmEvent::PgStealFile), 20);
        assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, 0);
        assert_eq!(machine.mm.swap_pages(), (63, 63));
        let stat = machine.mm.space_stat(program.space);
        assert_eq!((stat.resident, stat.swapped), (0, 0));
        assert!(is_gone(machine, &program, area.clone()));
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-10: they need no slot and no right to do I/O, so they go where nothing else can.
#[test]
fn what_was_given_up_goes_without_swap_and_without_io() {
    let mut config = small(DISK);
    config.hardware.disks.clear();
    Machine::run(&config, |machine| {
        let (program, area) = given_up(machine, 40);
        let (other, rest) = cold(machine, 40);
        let seen = direct_round(machine, Gfp::NOIO);
        assert!(
            seen.iter().any(|(reason, count)| *reason == LAZY_FREED && *count >= 32),
            "{seen:?}"
        );
        assert!(pages(rest.clone()).all(|vpn| is_present(machine, &other, vpn)));
        prove(machine);
        program.check_all(area);
        other.check_all(rest);
    });
}

/// SPL-10: a store makes the page an ordinary one again, which keeps its place and its contents,
/// whether the processor sets the dirty flag or a fault does.
#[test]
fn a_page_that_was_written_again_is_an_ordinary_one() {
    for sets_flags in [false, true] {
        let mut config = small(DISK);
        config.hardware.sets_flags = sets_flags;
        Machine::run(&config, |machine| {
            let (mut program, area) = given_up(machine, 3);
            let all = frames(machine, &program, area.clone());
            let second = area.start + 1..area.start + 2;
            program.write_all(second.clone());
            let seen = look(machine, &all, ScanRequest::proactive());
            assert_eq!(seen.verdicts, [(LAZY_FREE_DIRTY, 1), (LAZY_FREED, 2)]);
            assert_eq!((seen.stat.lazyfree_fail, seen.stat.unmap_fail), (1, 1));
            assert_eq!(seen.stat.activate, [1, 0]);
            assert_eq!(frame(machine, &program, second.start), all[1]);
            assert_eq!(on_list(machine, LruList::ActiveAnon), 1);
            assert!(has(machine, all[1], PageFlags::SWAPBACKED));
            prove(machine);
            program.check_all(area);
            assert_eq!(program.advise(second.clone(), Advice::PageOut), Ok(1), "to swap");
            assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, 1);
            prove(machine);
            program.check_all(second);
        });
    }
}

/// SPL-10: a load does not: the page is kept once, as any page that was used, and then goes.
#[test]
fn a_page_that_was_only_read_is_still_given_up() {
    on(DISK, |machine| {
        let (program, area) = given_up(machine, 1);
        program.check_all(area.clone());
        let pfn = frame(machine, &program, area.start);
        let seen = look(machine, &[pfn], anything());
        assert_eq!(seen.verdicts, [(Reason::Keep(Keep::Referenced), 1)]);
        assert_eq!(on_list(machine, LruList::InactiveFile), 1);
        assert_eq!(look(machine, &[pfn], anything()).verdicts, [(LAZY_FREED, 1)]);
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-10: while another holder has the page it stays mapped, since what it stores would be lost.
#[test]
fn a_page_that_others_hold_stays_mapped() {
    on(DISK, |machine| {
        let (program, area) = given_up(machine, 1);
        let pfn = frame(machine, &program, area.start);
        let held = HeldPage::of(machine, pfn);
        let seen = look(machine, &[pfn], anything());
        assert_eq!(seen.verdicts, [(Reason::Activate(Activate::UnmapFailed), 1)]);
        assert_eq!((seen.stat.lazyfree_fail, seen.stat.unmap_fail), (0, 1));
        assert!(is_present(machine, &program, area.start));
        assert!(!has(machine, pfn, PageFlags::SWAPBACKED));
        assert_eq!(on_list(machine, LruList::ActiveFile), 1);
        drop(held);
        prove(machine);
        assert_eq!(look(machine, &[pfn], anything()).verdicts, [(LAZY_FREED, 1)]);
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-10: one that nobody maps any more is kept while someone holds it, clean or dirty, whoever
/// reclaims, and is freed by its holder.
#[test]
fn an_unmapped_page_is_freed_by_its_holder() {
    for (dirty, request) in
        [(false, anything()), (true, anything()), (true, crate::bench::kswapd())]
    {
        on(DISK, |machine| {
            let (mut program, area) = given_up(machine, 1);
            let pfn = frame(machine, &program, area.start);
            let held = HeldPage::of(machine, pfn);
            if dirty {
                // The entry's dirty flag passes to the page with the entry.
                program.write_all(area.clone());
            }
            program.unmap(area).expect("an area");
            assert_eq!(has(machine, pfn, PageFlags::DIRTY), dirty);
            let seen = look(machine, &[pfn], request);
            assert_eq!(seen.verdicts, [(LAZY_FREE_BUSY, 1)]);
            assert_eq!(page(machine, pfn).refs(), 1);
            assert!(!has(machine, pfn, PageFlags::LOCKED));
            drop(held);
            assert_eq!(page(machine, pfn).refs(), 0);
            prove(machine);
        });
    }
}

/// SPL-10: a page without a holder that is dirty is not dropped either: a store through the frame.
#[test]
fn a_page_that_is_dirty_itself_is_an_ordinary_one() {
    on(DISK, |machine| {
        let (program, area) = given_up(machine, 1);
        let pfn = frame(machine, &program, area.start);
        let held = machine.mm.get_page(pfn).expect("in use");
        machine.mm.set_page_dirty(&held);
        machine.mm.put_page(held);
        let seen = look(machine, &[pfn], anything());
        assert_eq!(seen.verdicts, [(LAZY_FREE_DIRTY, 1)]);
        prove(machine);
        assert_eq!(machine.mm.event(VmEvent::PgLazyFreed), 0);
        program.check_all(area);
    });
}

/// SPL-10, RMAP-01: a child shares what its parent gave up; reclaim takes it from both, unless it
/// was written before the fork; a store after it is to a copy, which stays.
#[test]
fn a_child_shares_what_was_given_up() {
    on(DISK, |machine| {
        let (mut program, area) = given_up(machine, 3);
        let (first, second) = (area.start..area.start + 1, area.start + 1..area.start + 2);
        program.write_all(first);
        let mut child = program.fork().expect("a child");
        let all = frames(machine, &program, area.clone());
        child.write_all(second);
        let seen = look(machine, &all, ScanRequest::proactive());
        assert_eq!(seen.verdicts, [(LAZY_FREE_DIRTY, 1), (LAZY_FREED, 2)]);
        assert_eq!(page(machine, all[0]).mapcount(), 2, "both mappings are as they were");
        assert!(is_gone(machine, &program, area.start + 1..area.end));
        assert!(is_gone(machine, &child, area.start + 2..area.end));
        prove(machine);
        program.check_all(area.clone());
        child.check_all(area);
    });
}

/// LAZY-01: what two programs share is not one's to give up.
#[test]
fn a_shared_page_is_not_given_up() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 4);
        let child = program.fork().expect("a child");
        assert_eq!(program.advise(area.clone(), Advice::Free), Ok(0));
        assert_eq!(on_list(machine, LruList::InactiveAnon), 4);
        assert!(frames(machine, &child, area.clone()).iter().all(|pfn| has(
            machine,
            *pfn,
            PageFlags::SWAPBACKED
        )));
        prove(machine);
        child.check_all(area.clone());
        drop(child);
        assert_eq!(program.advise(area, Advice::Free), Ok(4), "it is the only one now");
        prove(machine);
    });
}

/// LAZY-01: what is in swap is dropped at once, with its slot; a page that has a slot leaves it.
#[test]
fn what_is_in_swap_is_dropped_at_once() {
    on(DISK, |machine| {
        let (mut program, area) = cold(machine, 8);
        let both = area.start..area.start + 6;
        assert_eq!(program.advise(both.clone(), Advice::PageOut), Ok(6));
        let cached = area.start..area.start + 2;
        program.check_all(cached.clone());
        assert!(has(machine, frame(machine, &program, area.start), PageFlags::SWAPCACHE));
        assert_eq!(program.advise(area.clone(), Advice::Free), Ok(8));
        assert_eq!(machine.mm.swap_pages(), (63, 63), "every slot is free");
        assert!(is_gone(machine, &program, area.start + 2..both.end));
        assert_eq!(machine.mm.event(VmEvent::PgLazyFree), 0, "they wait in a batch");
        prove(machine);
        assert_eq!(machine.mm.event(VmEvent::PgLazyFree), 4);
        program.check_all(area.clone());
        let all = frames(machine, &program, cached);
        assert_eq!(look(machine, &all, ScanRequest::proactive()).verdicts, [(LAZY_FREED, 2)]);
        prove(machine);
        program.check_all(area);
    });
}

/// LAZY-01: a slot that another program needs stays, and so does the page; a page that is being
/// written or is locked stays as it is.
#[test]
fn a_page_whose_slot_is_in_use_is_not_given_up() {
    on(slow(64), |machine| {
        let (mut program, area, written) = in_flight(machine, 2);
        program.check_all(area.clone());
        assert_eq!(program.advise(area.clone(), Advice::Free), Ok(0), "it is being written");
        assert!(written.iter().all(|pfn| has(machine, *pfn, PageFlags::SWAPCACHE)));
        prove(machine);
        let lock = HeldLock::of(machine, written[0]);
        assert_eq!(program.advise(area.clone(), Advice::Free), Ok(1), "one is locked");
        drop(lock);
        prove(machine);
        program.check_all(area);
    });
    on(DISK, |machine| {
        let (mut program, area) = cold(machine, 1);
        let child = program.fork().expect("a child");
        look(machine, &frames(machine, &program, area.clone()), anything());
        program.check_all(area.clone());
        assert_eq!(program.advise(area.clone(), Advice::Free), Ok(0));
        prove(machine);
        child.check_all(area.clone());
        program.check_all(area);
    });
}

/// LAZY-01, LRU-10: locked memory keeps what was given up; unlocked, it may go again.
#[test]
fn locked_memory_keeps_what_was_given_up() {
    on(DISK, |machine| {
        let (program, area) = given_up(machine, 4);
        let all = frames(machine, &program, area.clone());
        program.lock(area.clone(), true).expect("memory");
        assert_eq!(on_list(machine, LruList::Unevictable), 4);
        look(machine, &all, ScanRequest::proactive());
        assert!(pages(area.clone()).all(|vpn| is_present(machine, &program, vpn)));
        prove(machine);
        program.lock(area.clone(), false).expect("an area");
        assert_eq!(on_list(machine, LruList::InactiveFile), 4);
        prove(machine);
        assert_eq!(look(machine, &all, ScanRequest::proactive()).verdicts, [(LAZY_FREED, 4)]);
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-10, SPL-12: a locked area around a page without the mark culls it, and leaves it mapped.
#[test]
fn a_page_of_a_locked_area_is_culled_and_not_dropped() {
    on(DISK, |machine| {
        let (program, area) = given_up(machine, 1);
        machine.mm.mlock(program.space, area.clone()).expect("memory");
        let pfn = frame(machine, &program, area.start);
        // As if the page had been isolated by another CPU when it was locked.
        page(machine, pfn).corrupt_flags(PageFlags::MLOCKED);
        let seen = look(machine, &[pfn], ScanRequest::proactive());
        let culled = Reason::Cull(mm_reclaim::reclaim::CullReason::LockedMapping);
        assert_eq!(seen.verdicts, [(culled, 1)]);
        assert!(is_present(machine, &program, area.start));
        prove(machine);
        program.check_all(area);
    });
}

/// LAZY-01, SPL-10: MADV_PAGEOUT takes ordinary and lazily freed pages of one range alike, and the
/// counts of isolated pages are right for both types.
#[test]
fn pages_of_both_types_are_paged_out_together() {
    on(DISK, |machine| {
        let (mut program, area) = cold(machine, 40);
        for vpn in pages(area.clone()).step_by(3) {
            assert_eq!(program.advise(vpn..vpn + 1, Advice::Free), Ok(1));
        }
        assert_eq!(program.advise(area.clone(), Advice::PageOut), Ok(40));
        assert_eq!(machine.world.disks.stat(FIRST_DISK).writes, 26);
        let lruvec = machine.mm.lru().in_zone(ZoneId::Dma);
        assert_eq!(PageType::ALL.map(|kind| lruvec.isolated(kind)), [0, 0]);
        let stolen = [VmEvent::PgStealAnon, VmEvent::PgStealFile].map(|e| machine.mm.event(e));
        assert_eq!(stolen, [26, 14]);
        prove(machine);
        program.check_all(area);
    });
}

/// SPL-10, SWAP-01, LAZY-01: pages that were given up have no slot for `swapoff` to empty, and
/// leave with the program that ends.
#[test]
fn swapoff_and_exit_leave_nothing_of_what_was_given_up() {
    on(DISK, |machine| {
        let (mut program, area) = cold(machine, 12);
        assert_eq!(program.advise(area.start..area.start + 6, Advice::PageOut), Ok(6));
        assert_eq!(program.advise(area.start + 3..area.start + 9, Advice::Free), Ok(6));
        assert_eq!(machine.mm.swapoff(DeviceId(0)), Ok(()));
        prove(machine);
        program.check_all(area);
        program.exit();
        prove(machine);
        assert_eq!(machine.mm.lru().total(LruList::InactiveFile), 0);
    });
}

/// LAZY-01: a store of the only user to a page that was shared when it was given up reuses the
/// page, and reclaim keeps it.
#[test]
fn a_page_that_is_reused_is_an_ordinary_one() {
    on(DISK, |machine| {
        let (mut program, area) = given_up(machine, 2);
        program.fork().expect("a child").exit();
        let all = frames(machine, &program, area.clone());
        program.write_all(area.clone());
        assert_eq!(frames(machine, &program, area.clone()), all);
        assert_eq!(machine.mm.event(VmEvent::CowReuse), 2);
        let seen = look(machine, &all, ScanRequest::proactive());
        assert_eq!(seen.verdicts, [(LAZY_FREE_DIRTY, 2)]);
        prove(machine);
        program.check_all(area);
    });
}

/// LAZY-01: `mincore` says of each page whether it is in memory, in the swap cache too; a hole is
/// an error.
#[test]
fn mincore_says_which_pages_are_in_memory() {
    on(slow(64), |machine| {
        let (mut program, area, _) = in_flight(machine, 1);
        let at = area.start;
        let mut residence = [9];
        assert_eq!(machine.mm.mincore(program.space, at, &mut residence), Ok(()));
        assert_eq!(residence, [1], "in the cache, on its way to the device");
        prove(machine);
        assert_eq!(program.advise(area, Advice::PageOut), Ok(0), "it is not mapped");
        program.unmap(at..at + 1).expect("an area");
    });
    on(DISK, |machine| {
        let mut program = Program::new(machine);
        let area = program.map(200);
        let (first, second, third) = (area.start, area.start + 1, area.start + 2);
        program.write(first).expect("alive");
        program.write(second).expect("alive");
        program.check(third).expect("alive");
        program.write(area.start + 150).expect("alive");
        machine.mm.lru_add_drain_all();
        chill(&mut program, area.clone());
        assert_eq!(program.advise(second..third, Advice::PageOut), Ok(1));
        let mut residence = [9; 200];
        assert_eq!(machine.mm.mincore(program.space, area.start, &mut residence), Ok(()));
        let here: Vec<usize> = (0..200).filter(|n| residence[*n] == 1).collect();
        assert_eq!(here, [0, 2, 150], "written, read, written; the second is in swap");
        assert!(residence.iter().all(|byte| *byte <= 1));
        program.unmap(third..third + 1).expect("an area");
        let hole = SpaceError::BadRange { start: area.start, end: area.end };
        let mut residence = [9; 200];
        assert_eq!(machine.mm.mincore(program.space, area.start, &mut residence), Err(hole));
        assert_eq!(residence, [9; 200]);
        prove(machine);
    });
}

/// One random step of a program that gives up, pages out, reads, forks and writes.
fn step(rng: &mut Rng, program: &mut Program<'_>, start: Vpn) {
    let from = start + rng.below(480) as u32;
    let stretch = from..from + 20;
    match rng.below(64) {
        0..8 => _ = program.advise(stretch, Advice::Free).expect("an area"),
        8..16 => _ = program.advise(stretch, Advice::PageOut).expect("an area"),
        16..32 => program.check_all(stretch),
        32 => program.fork().expect("memory").check_all(stretch),
        _ => program.write_all(stretch),
    }
}

/// LAZY-01, SPL-10, LRU-02: programs that give up, write, read, fork and page out on several CPUs
/// with less memory than they use: no byte that was written since is lost.
#[test]
fn nothing_written_since_is_lost_under_pressure() {
    for seed in 0..16 {
        let mut config = Config::seeded(seed);
        config.hardware.cpus = 1 + seed as usize % 4;
        config.hardware.preempt_every = [3, 17, 120][seed as usize % 3];
        config.hardware.memory = std::iter::once(0..1024).collect();
        config.hardware.disks = vec![DiskConfig::later(8192)];
        Machine::run(&config, |machine| {
            machine.crowd(3, |machine, number| {
                let mut rng = Rng::new(seed * 8 + number as u64);
                let mut program = Program::new(machine);
                let area = program.map(500);
                (0..800).for_each(|_| step(&mut rng, &mut program, area.start));
                program.check_all(area);
            });
            prove(machine);
            assert!(machine.mm.event(VmEvent::PgLazyFreed) > 0);
        });
    }
}
