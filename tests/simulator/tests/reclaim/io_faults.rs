//! Swap reads and writes that fail at every n-th request, for many n (`simulator::faults`).
//!
//! Whatever fails, the programs that are left find every byte, as do the dead ones on all pages
//! that can be read; each failed read that a fault waited for causes one bus error; and when all
//! programs are gone nothing is missing but the retired slots.

use std::time::Duration;

use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::Nanos;
use simulator::rng::{Rng, mix};
use simulator::{Config, DiskConfig, FIRST_DISK, Machine, Pace};

use crate::bench::small;
use crate::campaigns::{Books, for_seeds, is_long, wanted_seed};
use crate::crew::{Crew, Orders, Tally};

/// Every how many requests fail on an everyday run.
fn everyday() -> impl Iterator<Item = u64> {
    (2..=50).chain([1, 53, 59, 67, 73, 83, 97, 127, 199, 251, 307, 401])
}

/// The machine of one run: its device, CPUs and chances differ with n.
fn config_of(n: u64) -> Config {
    let mut rng = Rng::new(mix(n ^ 0x10f));
    let pace = match rng.below(3) {
        0 => Pace::Sync,
        _ => Pace::Async { latency: 1_000..2_000 + rng.below(500_000), per_page: rng.below(9_000) },
    };
    let mut config = small(DiskConfig { pace, ..DiskConfig::later(3000) });
    config.hardware.seed = n;
    config.hardware.memory = std::iter::once(0..400 + rng.below(300) as u32).collect();
    config.hardware.cpus = 1 + rng.below(4) as usize;
    config.hardware.preempt_every = [0, 5, 50, 300][rng.below(4) as usize];
    config.mm.swappiness = rng.below(201) as u8;
    config
}

/// A run in which every n-th read or write fails, or both; how the programs ended.
fn run(n: u64, reads: bool, writes: bool, helpers: usize) {
    let mut config = config_of(n);
    let disk = &mut config.hardware.disks[0];
    disk.fail_read = n * u64::from(reads);
    disk.fail_write = n * u64::from(writes);
    Machine::run(&config, |machine| {
        machine.world.sched.limit(2_000_000, Nanos::from_millis(100_000_000));
        let before = Books::of(machine, 1);
        let orders = Orders {
            tasks: 3,
            helpers,
            forks: helpers > 0,
            pages: 300,
            // Where every write fails, reclaim tries them all over and over.
            steps: if n == 1 { 60 } else { 400 },
            lives: 3,
            switched: 0,
            may_lack: false,
            seed: mix(n),
        };
        let tally = Crew::run(machine, orders);
        assert_eq!(Books::of(machine, 1), before, "{tally:?}");
        prove_fairness(machine, tally);
        let stat = machine.world.disks.stat(FIRST_DISK);
        // Zero is a number like any other: no request to such a device fails.
        let nth =
            |asked: u64, fails: bool| if fails { asked.checked_div(n).unwrap_or(0) } else { 0 };
        let want = nth(stat.reads, reads) + nth(stat.writes, writes);
        assert_eq!(stat.failures, want, "every {n}-th request fails: {stat:?}");
    });
}

/// Every death has its cause, and every failure its effect.
fn prove_fairness(machine: Machine<'_>, tally: Tally) {
    let stat = machine.world.disks.stat(FIRST_DISK);
    let event = |event| machine.mm.event(event);
    let reported = event(VmEvent::SwapReadError) + event(VmEvent::SwapWriteError);
    assert_eq!(reported, stat.failures, "{tally:?}");
    let kills = event(VmEvent::OomKill);
    assert!(tally.killed <= kills, "{kills} kills, {tally:?} {stat:?}");
    if kills == 0 {
        assert_eq!(tally.bus_errors, stat.failed_demands, "{tally:?} {stat:?}");
    } else {
        assert!(tally.bus_errors <= stat.failed_demands, "{tally:?} {stat:?}");
    }
}

fn campaign(test: &str, reads: bool, writes: bool, helpers: usize) {
    let numbers: Vec<u64> = match wanted_seed() {
        Some(n) => vec![n],
        None if is_long() => (1..600).collect(),
        None => everyday().collect(),
    };
    for_seeds(test, numbers, Duration::MAX, |n| run(n, reads, writes, helpers));
}

/// SWAP-07: every n-th read fails: as many bus errors as failed reads that a fault waited
/// for, and nothing else is lost.
#[test]
fn every_nth_read_fails() {
    campaign("every_nth_read_fails", true, false, 0);
}

/// SWAP-07: every n-th write fails: no program notices, and slots are retired.
#[test]
fn every_nth_write_fails() {
    campaign("every_nth_write_fails", false, true, 2);
}

/// SWAP-07: both at once.
#[test]
fn every_nth_request_fails() {
    campaign("every_nth_request_fails", true, true, 0);
}

/// SWAP-07: reads fail while parents and children share slots: one read that fails kills
/// one task at most.
#[test]
fn every_nth_read_of_families_fails() {
    campaign("every_nth_read_of_families_fails", true, true, 2);
}
