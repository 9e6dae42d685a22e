//! Locked memory: a marked page has a locked mapping, and a store to a locked page allocates
//! nothing.

use std::sync::Mutex;

use mm_reclaim::env::{DeviceId, Prot};
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::{LruList, PageFlags};
use mm_reclaim::space::{AreaFlags, SpaceError};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Nanos, Vpn};
use mm_reclaim::{Place, SwapOffError};
use simulator::rng::Rng;
use simulator::{Config, DiskConfig, Machine, Program};

use crate::bench::{
    cold, entry, frame, frames, has, hot, is_present, on, on_list, pages, prove, slot,
};

const DISK: DiskConfig = DiskConfig::sync(1024);
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// A program with `pages` locked pages, each written.
fn locked<'m>(machine: Machine<'m>, count: u32) -> (Program<'m>, std::ops::Range<Vpn>) {
    let mut program = Program::new(machine);
    let area = program.map(count);
    program.lock(area.clone(), true).expect("memory");
    program.write_all(area.clone());
    machine.mm.lru_add_drain_all();
    (program, area)
}

/// LRU-10: a program that locked memory, forked, and stores to it gets a copy; the old page is the
/// child's alone, and is not locked.
#[test]
fn a_copy_takes_the_mark_off_the_page_that_was_copied() {
    on(DISK, |machine| {
        let (mut program, area) = locked(machine, 8);
        assert_eq!(on_list(machine, LruList::Unevictable), 8);
        let mut child = program.fork().expect("a child");
        program.write_all(area.clone());
        prove(machine);
        assert_eq!(on_list(machine, LruList::Unevictable), 8, "the copies");
        for frame in frames(machine, &child, area.clone()) {
            assert!(!has(machine, frame, PageFlags::MLOCKED));
        }
        program.unmap(area.clone()).expect("mapped");
        prove(machine);
        assert_eq!(on_list(machine, LruList::Unevictable), 0);
        assert_eq!(child.advise(area.clone(), Advice::PageOut), Ok(8));
        child.check_all(area);
    });
}

/// LRU-10: pages that are locked while they are in swap are read in and marked, with a page that
/// only this program has or one that it shares, from a disk of either kind.
#[test]
fn what_is_locked_in_swap_comes_in_locked() {
    for disk in [DISK, DiskConfig::later(1024)] {
        on(disk, |machine| {
            let (mut program, area) = cold(machine, 8);
            assert!(program.advise(area.clone(), Advice::PageOut).is_ok());
            machine.sleep(Nanos(50_000_000));
            assert!(program.advise(area.clone(), Advice::PageOut).is_ok());
            let shared = area.start..area.start + 4;
            let child = program.fork().expect("a child");
            child.check_all(shared);
            program.lock(area.clone(), true).expect("memory");
            machine.mm.lru_add_drain_all();
            let mine = frames(machine, &program, area.clone());
            assert!(mine.iter().all(|frame| has(machine, *frame, PageFlags::MLOCKED)));
            assert_eq!(on_list(machine, LruList::Unevictable), 8);
            prove(machine);
            program.check_all(area);
        });
    }
}

/// LRU-10: on every path on which the last locked mapping goes, the mark goes with it, while
/// another program still maps the page.
#[test]
fn the_mark_goes_with_the_last_locked_mapping() {
    type Path = (&'static str, fn(Program<'_>, std::ops::Range<Vpn>));
    let paths: [Path; 4] = [
        ("munlock", |program, area| {
            program.lock(area, false).expect("mapped");
        }),
        ("munmap", |mut program, area| program.unmap(area).expect("mapped")),
        ("exit", |program, _| program.exit()),
        ("copy", |mut program, area| program.write_all(area)),
    ];
    for (name, leave) in paths {
        on(DISK, |machine| {
            let (program, area) = locked(machine, 4);
            let child = program.fork().expect("a child");
            let shared = frames(machine, &child, area.clone());
            assert!(shared.iter().all(|f| has(machine, *f, PageFlags::MLOCKED)));
            leave(program, area.clone());
            machine.mm.lru_add_drain_all();
            prove(machine);
            assert!(shared.iter().all(|f| !has(machine, *f, PageFlags::MLOCKED)), "{name}");
            assert!(shared.iter().all(|f| !has(machine, *f, PageFlags::UNEVICTABLE)), "{name}");
            child.check_all(area);
        });
    }
}

/// LRU-10: two programs that lock the same page: the mark stays with the second.
#[test]
fn the_mark_stays_while_another_mapping_is_locked() {
    on(DISK, |machine| {
        let (program, area) = locked(machine, 4);
        let child = program.fork().expect("a child");
        // Read-only, so that locking copies nothing.
        machine.mm.mprotect(child.space, area.clone(), Prot::READ).expect("mapped");
        child.lock(area.clone(), true).expect("memory");
        let shared = frames(machine, &child, area.clone());
        drop(program);
        prove(machine);
        assert!(shared.iter().all(|f| has(machine, *f, PageFlags::MLOCKED)));
        child.lock(area, false).expect("mapped");
        prove(machine);
        assert!(shared.iter().all(|f| !has(machine, *f, PageFlags::MLOCKED)));
    });
}

/// LRU-10: locking breaks copy-on-write at once; a store to locked memory then allocates
/// nothing, until the next fork.
#[test]
fn a_store_to_locked_memory_allocates_nothing_until_the_next_fork() {
    on(DISK, |machine| {
        let (mut program, area) = hot(machine, 8);
        let child = program.fork().expect("a child");
        program.lock(area.clone(), true).expect("memory");
        let taken = |machine: Machine<'_>| {
            let mm = machine.mm;
            (mm.event(VmEvent::PgAlloc), mm.event(VmEvent::CowCopy), mm.event(VmEvent::PgFault))
        };
        let before = taken(machine);
        program.write_all(area.clone());
        assert_eq!(taken(machine).0, before.0, "no page was allocated");
        child.check_all(area.clone());
        let second = program.fork().expect("a child");
        let before = taken(machine);
        program.write_all(area.clone());
        assert_eq!(taken(machine).1 - before.1, 8, "copies are due again");
        prove(machine);
        second.check_all(area);
    });
}

/// LRU-10, BUDY-11: locking brings in what was never touched, what maps the zero page, and what
/// is in swap; in an area that may not be stored to as well.
#[test]
fn locking_makes_every_page_present_and_the_programs_own() {
    for prot in [RW, Prot::READ] {
        on(DISK, |machine| {
            let (mut program, area) = cold(machine, 3);
            program.advise(area.start..area.start + 1, Advice::PageOut).expect("mapped");
            program.advise(area.start + 1..area.start + 2, Advice::DontNeed).expect("mapped");
            program.advise(area.start + 2..area.end, Advice::DontNeed).expect("mapped");
            program.check(area.start + 2).expect("alive");
            assert_eq!(machine.mm.space_stat(program.space).resident, 0);
            machine.mm.mprotect(program.space, area.clone(), prot).expect("mapped");
            program.lock(area.clone(), true).expect("memory");
            let frames = frames(machine, &program, area.clone());
            assert!(frames.iter().all(|f| has(machine, *f, PageFlags::MLOCKED)), "{prot:?}");
            assert_eq!(machine.mm.space_stat(program.space).resident, 3);
            prove(machine);
            program.check_all(area.clone());
            // What becomes writable later is made so at once.
            machine.mm.mprotect(program.space, area.clone(), RW).expect("memory");
            let before = machine.mm.event(VmEvent::PgAlloc);
            program.write_all(area);
            assert_eq!(machine.mm.event(VmEvent::PgAlloc), before);
            prove(machine);
        });
    }
}

/// LRU-10: `swapoff` brings a locked page of a program that could not be brought in before.
#[test]
fn swapoff_marks_what_it_brings_to_locked_areas() {
    on(DISK, |machine| {
        let (mut program, area) = cold(machine, 4);
        assert_eq!(program.advise(area.clone(), Advice::PageOut), Ok(4));
        let _entry = slot(machine, &program, area.start);
        // As an `mlock` leaves it that ended before it got here.
        machine.mm.corrupt_rights(program.space, area.start, RW, AreaFlags::LOCKED);
        assert_eq!(machine.mm.swapoff(DeviceId(0)), Ok::<(), SwapOffError>(()));
        for vpn in pages(area.clone()) {
            assert!(is_present(machine, &program, vpn));
            assert!(has(machine, frame(machine, &program, vpn), PageFlags::MLOCKED));
        }
        prove(machine);
        program.unmap(area).expect("mapped");
        prove(machine);
    });
}

/// LRU-10: pages of a locked area are brought in one by one as they are touched, and marked.
#[test]
fn a_page_that_enters_a_locked_area_is_marked() {
    on(DISK, |machine| {
        let program = Program::new(machine);
        let area = program
            .call(|mm| mm.mmap(program.space, Place::Anywhere, 2, RW, AreaFlags::LOCKED))
            .expect("room");
        program.check(area).expect("alive");
        program.touch((area + 1).addr(), simulator::tables::Touch::Store(7)).expect("alive");
        assert!(!matches!(entry(machine, &program, area), mm_reclaim::env::Pte::None));
        for vpn in [area, area + 1] {
            assert!(has(machine, frame(machine, &program, vpn), PageFlags::MLOCKED));
        }
        prove(machine);
    });
}

/// LAZY-01: advice that would take pages from locked memory is refused with the place; what lies
/// before it was advised, and holes are reported after the rest was.
#[test]
fn advice_is_refused_where_memory_is_locked_and_reported_where_there_is_none() {
    for advice in [Advice::DontNeed, Advice::Cold, Advice::PageOut, Advice::Free] {
        on(DISK, |machine| {
            let (mut program, area) = hot(machine, 12);
            let (middle, end) = (area.start + 4, area.start + 8);
            program.lock(middle..end, true).expect("memory");
            let refused = program.advise(area.clone(), advice);
            assert_eq!(refused, Err(SpaceError::Locked { start: middle }));
            if advice != Advice::DontNeed {
                program.check_all(area.clone());
            }
            prove(machine);
            program.unmap(middle..end).expect("mapped");
            let holes = program.advise(area.clone(), advice);
            assert_eq!(holes, Err(SpaceError::BadRange { start: area.start, end: area.end }));
            let resident = machine.mm.space_stat(program.space).resident;
            match advice {
                Advice::Cold | Advice::Free => assert_eq!(resident, 8),
                _ => assert_eq!(resident, 0, "{advice:?}: both sides of the hole were advised"),
            }
            let nothing = program.advise(area.start..middle, Advice::Normal);
            assert_eq!(nothing, Ok(0));
            assert!(program.advise(area, Advice::Normal).is_err());
            prove(machine);
        });
    }
}

/// One random step of a program that locks, unlocks, stores, reads and pages out.
fn step(rng: &mut Rng, program: &mut Program<'_>, area: Vpn) {
    let start = area + rng.below(60) as u32;
    let stretch = start..start + 4;
    match rng.below(6) {
        0 => program.lock(stretch, true).expect("memory"),
        1 | 2 => program.lock(stretch, false).expect("an area"),
        3 => match program.advise(stretch, Advice::PageOut) {
            Ok(_) | Err(SpaceError::Locked { .. }) => {}
            Err(why) => panic!("an area: {why}"),
        },
        4 => program.write_all(stretch),
        _ => program.check_all(stretch),
    }
}

/// LRU-10: programs that lock, unlock, fork, store and page out on several CPUs leave no mark
/// without a lock.
#[test]
fn marks_and_locks_agree_after_any_schedule() {
    for seed in 0..24 {
        let mut config = Config::seeded(seed);
        config.hardware.cpus = 4;
        config.hardware.preempt_every = [3, 17, 120][seed as usize % 3];
        Machine::run(&config, |machine| {
            let (mut program, area) = hot(machine, 64);
            let mut family: Vec<Program<'_>> =
                (0..3).map(|_| program.fork().expect("a child")).collect();
            program.write_all(area.clone());
            family.push(program);
            let slots: Vec<Mutex<Program<'_>>> = family.into_iter().map(Mutex::new).collect();
            machine.crowd(slots.len(), |_, number| {
                let mut rng = Rng::new(seed * 16 + number as u64);
                let mut program = slots[number].lock().expect("its own");
                (0..200).for_each(|_| step(&mut rng, &mut program, area.start));
            });
            prove(machine);
            drop(slots);
            prove(machine);
            assert_eq!(machine.mm.lru().total(LruList::Unevictable), 0);
        });
    }
}
