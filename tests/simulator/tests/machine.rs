//! Whole machines: programs that need more memory than there is keep every byte.

use mm_reclaim::env::Clock;
use mm_reclaim::mmap::Advice;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::Vpn;
use simulator::{Config, Death, DiskConfig, FIRST_DISK, Machine, Program};

/// The default machine, its swap answering later instead of at once.
fn later(seed: u64) -> Config {
    let mut config = Config::seeded(seed);
    config.hardware.disks = vec![DiskConfig::later(16 << 10)];
    config
}

/// The machines that every test below runs on: flags by software and by hardware, swap
/// that answers at once and later.
fn machines(seeds: u64) -> impl Iterator<Item = Config> {
    (0..seeds).flat_map(|seed| {
        [Config::seeded(seed), later(seed)].into_iter().flat_map(|config| {
            [false, true].map(|sets_flags| {
                let mut config = config.clone();
                config.hardware.sets_flags = sets_flags;
                config
            })
        })
    })
}

/// SWAP-05, RMAP-03: a program larger than memory reads back what it wrote, twice.
#[test]
fn a_program_larger_than_memory_keeps_its_bytes() {
    for config in machines(2) {
        Machine::run(&config, |machine| {
            let mut program = Program::new(machine);
            let area = program.map(6000);
            program.write_all(area.clone());
            program.check_all(area.clone());
            program.write_all(area.clone());
            program.check_all(area);
            machine.validate();
            assert!(machine.world.disks.stat(FIRST_DISK).reads > 0);
        });
    }
}

/// BUDY-09: a fresh page reads as zeroes, even when every frame has had an owner.
#[test]
fn fresh_pages_are_zero() {
    for config in machines(1) {
        Machine::run(&config, |machine| {
            for _ in 0..3 {
                let mut program = Program::new(machine);
                let area = program.map(3000);
                program.check_all(area.clone());
                program.write_all(area.clone());
                program.advise(area.clone(), Advice::DontNeed).unwrap();
                program.check_all(area);
                program.exit();
            }
            machine.validate();
        });
    }
}

/// RMAP-01: parent and child each keep their own bytes through fork, writes of both, and
/// reclaim of the pages that they share.
#[test]
fn fork_keeps_both_sides_apart() {
    for config in machines(2) {
        Machine::run(&config, |machine| {
            let mut parent = Program::new(machine);
            let area = parent.map(3000);
            let (front, middle) =
                (area.start..area.start + 1000, area.start + 1000..area.start + 2000);
            parent.write_all(area.clone());
            let mut child = parent.fork().unwrap();
            child.write_all(front.clone());
            parent.write_all(middle);
            child.advise(area.clone(), Advice::PageOut).unwrap();
            parent.check_all(area.clone());
            let mut grandchild = child.fork().unwrap();
            child.exit();
            grandchild.check_all(area.clone());
            grandchild.write_all(front);
            parent.check_all(area.clone());
            parent.exit();
            grandchild.check_all(area);
            machine.validate();
        });
    }
}

/// OOM-02: four programs that share too little memory all keep their bytes, with kswapd,
/// the disk and each other in between at every preemption.
#[test]
fn a_crowd_keeps_its_bytes() {
    for config in machines(2) {
        Machine::run(&config, |machine| {
            machine.crowd(4, |machine, _| {
                let mut program = Program::new(machine);
                let area = program.map(1800);
                program.write_all(area.clone());
                let half = area.start..area.start + 900;
                program.advise(half.clone(), Advice::PageOut).unwrap();
                program.check_all(area.clone());
                program.write_all(half);
                program.check_all(area);
            });
            machine.validate();
        });
    }
}

/// OOM-01, OOM-02: without enough memory and swap a program is killed, and the rest continue.
#[test]
fn too_little_memory_kills_and_goes_on() {
    for mut config in machines(2) {
        config.hardware.disks[0].blocks = 1024;
        let (dead, alive) = Machine::run(&config, |machine| {
            let ends = std::sync::Mutex::new((0, 0));
            machine.crowd(3, |machine, _| {
                let mut program = Program::new(machine);
                let area = program.map(3000);
                let written = (area.start.0..area.end.0).try_for_each(|p| program.write(Vpn(p)));
                let mut ends = ends.lock().unwrap();
                match written {
                    Ok(()) => ends.1 += 1,
                    Err(death) => {
                        assert_eq!(death, Death::Killed);
                        ends.0 += 1;
                    }
                }
            });
            machine.validate();
            assert!(machine.mm.event(VmEvent::OomKill) > 0);
            ends.into_inner().unwrap()
        });
        assert!(dead >= 1 && alive >= 1, "{dead} dead, {alive} alive");
    }
}

/// SWAP-07: failing writes lose nothing, a failing read kills only by a bus error.
#[test]
fn a_failing_disk_loses_nothing_in_silence() {
    for mut config in machines(2) {
        config.hardware.disks[0].fail_write = 7;
        Machine::run(&config, |machine| {
            let mut program = Program::new(machine);
            let area = program.map(5000);
            program.write_all(area.clone());
            program.check_all(area.clone());
            machine.world.disks.configure(FIRST_DISK, |disk| disk.fail_read = 5);
            let ends: Vec<_> =
                (area.start.0..area.end.0).map(|page| program.check(Vpn(page))).collect();
            assert!(ends.contains(&Err(Death::BusError)));
            assert!(ends.contains(&Ok(())));
            drop(program);
            machine.validate();
        });
    }
}

/// A seed is one history: the same counters, the same time, the same disk traffic.
#[test]
fn a_seed_replays_exactly() {
    let run = |seed| {
        Machine::run(&later(seed), |machine| {
            machine.crowd(3, |machine, i| {
                let mut program = Program::new(machine);
                let area = program.map(2000 + 100 * i as u32);
                program.write_all(area.clone());
                program.check_all(area);
            });
            machine.settle();
            let disk = machine.world.disks.stat(FIRST_DISK);
            let sched = &machine.world.sched;
            (machine.mm.event(VmEvent::PgFault), disk, sched.now(), sched.switches())
        })
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
