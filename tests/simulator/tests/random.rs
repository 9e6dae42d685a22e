//! Random programs on random machines: whatever they do, every byte is the one written last.

use mm_reclaim::mmap::Advice;
use mm_reclaim::space::SpaceError;
use mm_reclaim::units::Vpn;
use simulator::rng::Rng;
use simulator::{Config, Death, DiskConfig, Machine, Program};

/// Pages of each program's area.
const PAGES: u32 = 1500;
/// What each program does before it ends.
const STEPS: u32 = 6000;

/// A machine that the seed chooses: CPUs, preemption, flags, two disks, faults.
fn config_of(seed: u64) -> Config {
    let mut config = Config::seeded(seed);
    let hardware = &mut config.hardware;
    hardware.cpus = 1 + (seed % 4) as usize;
    hardware.preempt_every = [5, 50, 500][(seed % 3) as usize];
    hardware.sets_flags = seed.is_multiple_of(2);
    let blocks = if is_tight(seed) { 1500 } else { 16 << 10 };
    let second =
        if seed.is_multiple_of(7) { DiskConfig::sync(512) } else { DiskConfig::later(512) };
    hardware.disks = vec![DiskConfig::later(blocks), second];
    hardware.disks[0].fail_write = if seed % 4 == 3 { 13 } else { 0 };
    config
}

/// Whether there is too little memory and swap for all. No program forks there: a task
/// that runs two programs could wait for the one that it would itself have to end.
const fn is_tight(seed: u64) -> bool {
    seed.is_multiple_of(5)
}

/// One random step of one of the programs.
fn step(
    rng: &mut Rng,
    family: &mut Vec<Program<'_>>,
    area: Vpn,
    may_fork: bool,
) -> Result<(), Death> {
    let at = rng.below(family.len() as u64) as usize;
    let page = area + rng.below(u64::from(PAGES)) as u32;
    let stretch = page..Vpn((page.0 + 64).min(area.0 + PAGES));
    let advice = match rng.below(1000) {
        0..500 => return family[at].write(page),
        500..985 => return family[at].check(page),
        985..988 if may_fork && family.len() < 3 => {
            let child = family[at].fork();
            family.extend(child);
            return Ok(());
        }
        985..990 => {
            family.truncate(at.max(1));
            return Ok(());
        }
        990..992 if may_fork => {
            let _may_lack = family[at].lock(page..Vpn((page.0 + 8).min(area.0 + PAGES)), true);
            return Ok(());
        }
        992..994 if may_fork => {
            family[at].lock(area..area + PAGES, false).expect("an area");
            return Ok(());
        }
        990..994 => Advice::PageOut,
        994..996 => Advice::Cold,
        996..998 => Advice::Free,
        _ => Advice::DontNeed,
    };
    match family[at].advise(stretch, advice) {
        Ok(_) | Err(SpaceError::Locked { .. }) => Ok(()),
        Err(why) => panic!("a range without holes: {why}"),
    }
}

/// One task: random steps until it has done them all or is killed.
fn live(machine: Machine<'_>, seed: u64, number: u64) {
    let mut rng = Rng::new(seed * 16 + number);
    let mut first = Program::new(machine);
    let area = first.map(PAGES).start;
    let mut family = vec![first];
    for _ in 0..STEPS {
        if step(&mut rng, &mut family, area, !is_tight(seed)) == Err(Death::Killed) {
            return;
        }
    }
}

/// RMAP-01, SWAP-05, SWAP-07, OOM-02, LAZY-01: writes, reads, forks, exits and advice of
/// four tasks at once, on disks that answer later and sometimes fail: no byte is lost or mixed up,
/// no task hangs, and every page is where it belongs in the end.
#[test]
fn no_byte_is_lost_whatever_happens() {
    for seed in 0..12 {
        Machine::run(&config_of(seed), |machine| {
            machine.crowd(4, |machine, number| {
                live(machine, seed, number as u64);
            });
            machine.validate();
        });
    }
}
