//! `Mm::is_quiet` among tasks that may be preempted anywhere.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use mm_reclaim::env::Cpu;
use mm_reclaim::mmap::Advice;
use mm_reclaim::units::Nanos;
use simulator::{Config, DiskConfig, Machine, Program, SimCpu};

use crate::bench::small;

const PROGRAMS: u32 = 3;

/// What a program does: every operation on pages, between naps of several lengths.
fn live(machine: Machine<'_>, number: usize) {
    let mut program = Program::new(machine);
    for round in 0..6 {
        let area = program.map(300);
        program.write_all(area.clone());
        machine.sleep(Nanos(100_000 * (number as u64 + round)));
        program.advise(area.start..area.start + 40, Advice::PageOut).expect("an area");
        let child = program.fork();
        program.check_all(area.clone());
        drop(child);
        program.unmap(area).expect("an area");
    }
    program.exit();
}

/// Whether this moment is quiet; if so, it must validate.
fn look(machine: Machine<'_>) -> bool {
    SimCpu::preempt_disable();
    let quiet = machine.mm.is_quiet();
    let found = if quiet { machine.mm.validate().map(drop) } else { Ok(()) };
    SimCpu::preempt_enable();
    assert_eq!(found, Ok(()), "a moment that is not quiet");
    quiet
}

/// How many moments were quiet, and how many were not.
fn moments(config: &Config) -> (u32, u32) {
    let [quiet, loud, alive] = [0, 0, PROGRAMS].map(AtomicU32::new);
    Machine::run(config, |machine| {
        machine.crowd(1 + PROGRAMS as usize, |machine, number| {
            if number > 0 {
                live(machine, number);
                alive.fetch_sub(1, Relaxed);
            }
            while number == 0 && alive.load(Relaxed) > 0 {
                // Another task continues, until it sleeps or is preempted.
                machine.world.sched.yield_now();
                let count = if look(machine) { &quiet } else { &loud };
                count.fetch_add(1, Relaxed);
            }
        });
        machine.validate();
    });
    (quiet.into_inner(), loud.into_inner())
}

/// Whatever was interrupted, a moment that is quiet is one for `validate`.
#[test]
fn books_are_right_whenever_it_is_quiet() {
    for (seed, disk) in (0..6).zip([DiskConfig::sync(4096), DiskConfig::later(4096)].iter().cycle())
    {
        let mut config = small(disk.clone());
        config.hardware.preempt_every = 20;
        config.hardware.seed = seed;
        let (quiet, loud) = moments(&config);
        assert!(quiet > 50 && loud > 50, "seed {seed}: {quiet} quiet, {loud} loud");
    }
}
