//! Untouched memory that is read (BUDY-11).

use mm_reclaim::env::{Prot, Pte};
use mm_reclaim::mmap::Advice;
use mm_reclaim::page::LruList;
use mm_reclaim::stat::VmEvent;
use simulator::{DiskConfig, Machine, Program};

use crate::bench::{FRAMES, entry, force_everything, on, pages, prove, small};

/// BUDY-11: reading twice the memory that there is takes neither pages nor slots, with swap and
/// without.
#[test]
fn reading_twice_the_memory_takes_nothing_but_tables() {
    for disks in [vec![DiskConfig::sync(1024)], vec![]] {
        let mut config = small(DiskConfig::sync(64));
        config.hardware.disks = disks;
        Machine::run(&config, |machine| {
            let mut program = Program::new(machine);
            let area = program.map(2 * FRAMES);
            let free = machine.mm.total_free();
            program.check_all(area.clone());
            let stat = machine.mm.space_stat(program.space);
            assert_eq!((stat.resident, stat.swapped), (0, 0));
            assert_eq!(
                free - machine.mm.total_free(),
                stat.table_frames - 1 + 1,
                "one of families"
            );
            assert_eq!(machine.mm.event(VmEvent::OomKill), 0);
            assert_eq!(machine.mm.lru().total(LruList::InactiveAnon), 0);
            prove(machine);
            program.unmap(area).expect("mapped");
            prove(machine);
        });
    }
}

/// BUDY-11: a store gives the program a page of its own, and no CPU reads zeroes any more; programs
/// that do not share it still read them.
#[test]
fn a_store_replaces_the_zero_page_on_every_cpu() {
    let mut config = small(DiskConfig::sync(64));
    config.hardware.cpus = 3;
    config.hardware.preempt_every = 4;
    for seed in 0..8 {
        config.hardware.seed = seed;
        Machine::run(&config, |machine| {
            let mut program = Program::new(machine);
            let other = Program::new(machine);
            let area = program.map(8);
            // Each CPU that the task runs on fills its TLB.
            for _ in 0..6 {
                program.check_all(area.clone());
                machine.sleep(mm_reclaim::units::Nanos(1000));
            }
            program.write_all(area.start..area.start + 4);
            for _ in 0..6 {
                program.check_all(area.clone());
                machine.sleep(mm_reclaim::units::Nanos(1000));
            }
            assert_eq!(machine.mm.space_stat(program.space).resident, 4);
            drop(other);
            prove(machine);
        });
    }
}

/// BUDY-11: fork copies the mapping, PAGEOUT and COLD skip it, DONTNEED and a change of rights
/// handle it.
#[test]
fn every_operation_knows_the_zero_page() {
    on(DiskConfig::sync(64), |machine| {
        let mut program = Program::new(machine);
        let area = program.map(6);
        program.write_all(area.start..area.start + 2);
        program.check_all(area.clone());
        let mut child = program.fork().expect("a child");
        assert_eq!(machine.mm.space_stat(child.space).resident, 2);
        child.check_all(area.clone());
        child.write(area.start + 4).expect("alive");
        program.check_all(area.clone());
        drop(child);
        assert_eq!(program.advise(area.clone(), Advice::Cold), Ok(0), "none is active");
        assert_eq!(program.advise(area.clone(), Advice::PageOut), Ok(2));
        prove(machine);
        machine.mm.mprotect(program.space, area.clone(), Prot::READ).expect("mapped");
        program.check_all(area.clone());
        let rw = Prot::READ | Prot::WRITE;
        machine.mm.mprotect(program.space, area.clone(), rw).expect("mapped");
        for vpn in pages(area.start + 2..area.end) {
            let Pte::Present(mapping) = entry(machine, &program, vpn) else { panic!("present") };
            assert!(!mapping.prot.contains(Prot::WRITE), "{vpn:?}");
        }
        program.advise(area.start..area.start + 3, Advice::DontNeed).expect("mapped");
        program.check_all(area.clone());
        program.write_all(area.clone());
        prove(machine);
        program.check_all(area);
    });
}

/// BUDY-11: `validate` reports an invalid mapping of a zero page.
#[test]
fn a_zero_page_in_locked_memory_is_found() {
    on(DiskConfig::sync(64), |machine| {
        let mut program = Program::new(machine);
        let area = program.map(1);
        program.check_all(area.clone());
        let flags = mm_reclaim::space::AreaFlags::LOCKED;
        machine.mm.corrupt_rights(program.space, area.start, Prot::READ, flags);
        let found = machine.mm.validate();
        let wanted =
            mm_reclaim::Violation::BadZeroMapping { space: program.space, vpn: area.start };
        assert_eq!(found, Err(wanted));
        let none = mm_reclaim::space::AreaFlags::empty();
        machine.mm.corrupt_rights(program.space, area.start, Prot::READ, none);
    });
}

/// SWAP-05: a page that read-ahead brought counts as a hit when it is used, once.
#[test]
fn pages_that_read_ahead_brought_are_counted_when_they_are_used() {
    on(DiskConfig::later(1024), |machine| {
        let mut program = Program::new(machine);
        let area = program.map(32);
        program.write_all(area.clone());
        program.advise(area.clone(), Advice::PageOut).expect("mapped");
        machine.settle();
        force_everything(machine);
        program.check_all(area.clone());
        let (read, hit) = (machine.mm.event(VmEvent::SwapRa), machine.mm.event(VmEvent::SwapRaHit));
        assert!(read > 0 && hit == read, "{hit} of {read}");
        program.check_all(area);
        assert_eq!(machine.mm.event(VmEvent::SwapRaHit), hit);
        prove(machine);
    });
}
