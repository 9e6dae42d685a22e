//! When nothing is left to reclaim: which program is killed, and that the others continue.

use std::sync::Mutex;

use mm_reclaim::env::Clock;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::oom::{BadOomScore, OOM_SCORE_ADJ_MIN};
use mm_reclaim::space::SpaceError;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::Order;
use simulator::{Config, Death, DiskConfig, Machine, Program};

use crate::bench::{exhaust, free_between_programs, hot, on, pages, prove, release, small};

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

/// OOM-02: one program that needs more than there is dies and leaves nothing behind; the next finds
/// all the memory.
#[test]
fn a_killed_program_gives_everything_back() {
    for seed in 0..4 {
        Machine::run(&tight(seed), |machine| {
            let free = free_between_programs(machine);
            for _ in 0..3 {
                let mut program = Program::new(machine);
                let area = program.map(5000);
                let end = pages(area).try_for_each(|vpn| program.write(vpn));
                assert_eq!(end, Err(Death::Killed));
                drop(program);
                prove(machine);
            }
            assert_eq!(free_between_programs(machine), free);
            let (total, free) = machine.mm.swap_pages();
            assert_eq!(total, free, "every slot is free again");
        });
    }
}

/// OOM-01: the reaper takes a victim's memory though its own task is busy elsewhere; what
/// the victim still touches ends in a kill, and its exit finds nothing left to do.
#[test]
fn the_reaper_does_not_wait_for_the_victim() {
    for seed in 0..4 {
        Machine::run(&tight(seed), |machine| {
            let mut large = Program::new(machine);
            let area = large.map(700);
            large.write_all(area.clone());
            // The same task works for a second program: no task can exit for the first.
            let mut small = Program::new(machine);
            let more = small.map(600);
            small.write_all(more.clone());
            assert_eq!(machine.mm.event(VmEvent::OomKill), 1, "seed {seed}");
            assert_eq!(machine.mm.space_stat(large.space).resident, 0);
            assert!(machine.mm.event(VmEvent::OomReaped) > 300);
            prove(machine);
            assert_eq!(large.write(area.start), Err(Death::Killed));
            assert_eq!(large.fork().err(), Some(SpaceError::Killed));
            assert_eq!(large.advise(area, Advice::Cold), Err(SpaceError::Killed));
            drop(large);
            small.check_all(more);
            prove(machine);
        });
    }
}

/// OOM-01: `oom_score_adj` decides which program is killed; -1000 exempts, and a child inherits it.
#[test]
fn the_adjustment_decides_who_goes() {
    let killed = |adj: [i16; 2], fork: bool| {
        Machine::run(&tight(0), |machine| {
            let programs = [400, 100].map(|count| {
                let mut program = Program::new(machine);
                let area = program.map(count);
                program.write_all(area.clone());
                (program, area)
            });
            for ((program, _), adj) in programs.iter().zip(adj) {
                assert_eq!(machine.mm.set_oom_score_adj(program.space, adj), Ok(()));
            }
            let refused = machine.mm.set_oom_score_adj(programs[0].0.space, 1001);
            assert_eq!(refused, Err(BadOomScore::OutOfRange(1001)));
            let child = fork.then(|| programs[0].0.fork().unwrap());
            if let Some(child) = &child {
                assert_eq!(machine.mm.oom_score_adj(child.space), Ok(adj[0]));
            }
            let mut hog = Program::new(machine);
            let area = hog.map(700);
            // A hog that is exempt too, so that it is one of the two.
            assert_eq!(machine.mm.set_oom_score_adj(hog.space, OOM_SCORE_ADJ_MIN), Ok(()));
            let _ = pages(area).try_for_each(|vpn| hog.write(vpn));
            programs.map(|(p, area)| p.check(area.start) == Err(Death::Killed))
        })
    };
    assert_eq!(killed([0, 0], false), [true, false], "the larger");
    assert_eq!(killed([0, 900], false), [false, true], "the preferred");
    assert_eq!(killed([-1000, 0], false), [false, true], "the exempt is spared");
    assert_eq!(killed([-1000, 0], true), [false, true], "so is its child");
}

/// OOM-01: the report names the shortage, the state of memory, the candidates and the victim.
#[test]
fn the_report_names_memory_candidates_and_the_victim() {
    Machine::run(&tight(0), |machine| {
        let mut program = Program::new(machine);
        let area = program.map(2000);
        assert_eq!(pages(area).try_for_each(|vpn| program.write(vpn)), Err(Death::Killed));
        let report = machine.world.last_oom_report().expect("a report");
        let space = program.space;
        for part in [
            "out of memory: 1 pages from Normal\n",
            "zone         free      min  managed inactive   active  unevict\n",
            "swap: 0 of 199 slots free\n",
            "space    resident  swapped   tables    adj  badness  owner\n",
            &format!("killed: space {space} "),
        ] {
            assert!(report.contains(part), "{part:?} is not in:\n{report}");
        }
        let line = report.lines().find(|l| l.starts_with(&format!("{space} "))).expect("a line");
        let figures: Vec<u32> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
        assert_eq!(figures[1], 199, "{line}");
        assert_eq!(figures[4], figures[0] + figures[1] + figures[2], "{line}");
    });
}

/// OOM-01: a point of `oom_score_adj` is a thousandth of memory and swap together.
#[test]
fn the_adjustment_is_a_share_of_memory_and_swap() {
    let mut config = tight(0);
    config.hardware.disks = vec![DiskConfig::sync(1501)];
    Machine::run(&config, |machine| {
        let mut program = Program::new(machine);
        let area = program.map(4000);
        assert_eq!(machine.mm.set_oom_score_adj(program.space, -100), Ok(()));
        assert_eq!(pages(area).try_for_each(|vpn| program.write(vpn)), Err(Death::Killed));
        let report = machine.world.last_oom_report().expect("a report");
        let start = format!("{} ", program.space);
        let line = report.lines().find(|l| l.starts_with(&start)).expect("a line");
        let figures: Vec<i64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
        let [resident, swapped, tables, adj, badness] = figures[..] else { panic!("{line}") };
        let base = i64::from(machine.mm.total_managed()) + 1500;
        assert_eq!((swapped, adj), (1500, -100));
        assert_eq!(badness, resident + swapped + tables - 100 * base / 1000, "{line}");
    });
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

/// OOM-02, BUDY-10: forks, exits and a shortage at once: no task hangs, the programs that are left
/// have their bytes.
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

/// A program writes all its pages again and again, and sometimes continues in a child.
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
