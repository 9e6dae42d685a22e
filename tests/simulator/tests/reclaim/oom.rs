//! When nothing is left to reclaim: who is killed, and that the others go on.

use std::sync::Mutex;

use mm_reclaim::env::Clock;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::Order;
use simulator::{Config, Death, DiskConfig, Machine, Program};

use crate::bench::{exhaust, hot, on, pages, prove, release, small};

/// Machines with little memory and hardly any swap, in both modes of the device.
fn tight(seed: u64) -> Config {
    let disk = if seed.is_multiple_of(2) { DiskConfig::sync(200) } else { DiskConfig::later(200) };
    let mut config = small(disk);
    config.hardware.seed = seed;
    config.hardware.cpus = 1 + (seed % 3) as usize;
    config.hardware.preempt_every = [0, 20, 300][(seed % 3) as usize];
    config
}

/// OOM-02, BUDY-05: the largest program is killed, one for one shortage, and the rest keep
/// their bytes.
#[test]
fn the_largest_is_killed_and_the_rest_go_on() {
    for seed in 0..6 {
        Machine::run(&tight(seed), |machine| {
            let ends = Mutex::new(Vec::new());
            machine.crowd(4, |machine, who| {
                let mut program = Program::new(machine);
                let area = program.map(if who == 0 { 4000 } else { 150 });
                let end = pages(area.clone()).try_for_each(|vpn| program.write(vpn));
                if end.is_ok() {
                    program.check_all(area);
                }
                ends.lock().unwrap().push((who, end));
            });
            let mut ends = ends.into_inner().unwrap();
            ends.sort_by_key(|(who, _)| *who);
            let want = [(0, Err(Death::Killed)), (1, Ok(())), (2, Ok(())), (3, Ok(()))];
            assert_eq!(ends, want, "seed {seed}");
            assert_eq!(machine.mm.event(VmEvent::OomKill), 1, "seed {seed}");
            prove(machine);
        });
    }
}

/// OOM-02: one program that wants more than there is dies and leaves nothing behind; the
/// next finds all the memory.
#[test]
fn a_killed_program_gives_everything_back() {
    for seed in 0..4 {
        Machine::run(&tight(seed), |machine| {
            let free = machine.mm.total_free();
            for _ in 0..3 {
                let mut program = Program::new(machine);
                let area = program.map(5000);
                let end = pages(area).try_for_each(|vpn| program.write(vpn));
                assert_eq!(end, Err(Death::Killed));
                drop(program);
                prove(machine);
            }
            assert_eq!(machine.mm.total_free(), free);
            let (total, free) = machine.mm.swap_pages();
            assert_eq!(total, free, "every slot is free again");
        });
    }
}

/// BUDY-05, OOM-02: a request that may fail does so, without a kill and in bounded time.
#[test]
fn a_request_that_may_fail_fails_without_a_kill() {
    on(DiskConfig::sync(2), |machine| {
        let (program, area) = hot(machine, 200);
        let taken = exhaust(machine);
        for gfp in [Gfp::KERNEL | Gfp::NORETRY, Gfp::KERNEL | Gfp::RETRY_MAYFAIL, Gfp::NOWAIT] {
            let start = machine.world.sched.now();
            let got = machine.mm.alloc_pages(gfp, Order::ZERO);
            release(machine, got.into_iter().collect());
            assert!(machine.world.sched.now().0 - start.0 < 60_000_000_000, "{gfp:?}");
        }
        assert_eq!(machine.mm.event(VmEvent::OomKill), 0);
        release(machine, taken);
        prove(machine);
        program.check_all(area);
    });
}

/// OOM-02, BUDY-10: forks, exits and a shortage at once: nobody hangs, whoever is left has
/// its bytes.
#[test]
fn a_shortage_among_families_ends() {
    for seed in 10..16 {
        Machine::run(&tight(seed), |machine| {
            machine.crowd(3, |machine, who| {
                let end = generations(Program::new(machine), 300 + 100 * who as u32);
                assert!(matches!(end, Ok(()) | Err(Death::Killed)), "{end:?}");
            });
            prove(machine);
        });
    }
}

/// A program writes all its pages again and again, and lives on in a child now and then.
fn generations(mut program: Program<'_>, count: u32) -> Result<(), Death> {
    let area = program.map(count);
    for round in 0..6 {
        pages(area.clone()).try_for_each(|vpn| program.write(vpn))?;
        if round % 3 == 1 {
            program = next_generation(program);
        }
    }
    pages(area).try_for_each(|vpn| program.check(vpn))
}

/// The child of a program that ends, or the program itself if there is no memory for one.
fn next_generation(program: Program<'_>) -> Program<'_> {
    match program.fork() {
        Ok(child) => child,
        Err(_) => program,
    }
}
