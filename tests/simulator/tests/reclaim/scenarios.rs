//! A thousand random scenarios of memory pressure: sizes of memory and swap down to tiny
//! and none, devices from instant to very slow, programs that fork and die, and faults.
//! Each continues or kills; none hangs, and none loses anything.
//!
//! `MM_SEED=n` replays one, `TEST_LONG=1` runs many more than a thousand.

use std::time::Duration;

use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Nanos, PhysAddr};
use mm_reclaim::zone::ZoneLimits;
use simulator::rng::{Rng, mix};
use simulator::{Config, DiskConfig, Machine, Pace, When};

use crate::campaigns::{Books, Digest, for_seeds, is_long, wanted_seed};
use crate::crew::{Crew, Orders, Tally};

/// Seeds that failed once, and always run first.
const REGRESSIONS: &[u64] = &[85, 1515, 2783, 5944];

/// A scenario: a machine, what its programs do, and what fails.
struct Scenario {
    config: Config,
    orders: Orders,
    alloc_faults: Option<When>,
}

/// One of several.
fn one<T: Clone>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize].clone()
}

/// A device from instant to very slow, sometimes with faults.
fn disk(rng: &mut Rng, blocks: u32) -> DiskConfig {
    let slowest = one(rng, &[2_000, 50_000, 500_000, 5_000_000, 50_000_000]);
    let per_page = one(rng, &[0, 1_000, 20_000, 400_000]);
    let pace = match rng.below(4) {
        0 => Pace::Sync,
        _ => Pace::Async { latency: 1_000..slowest, per_page },
    };
    let mut fault = || if rng.below(8) == 0 { 2 + rng.below(60) } else { 0 };
    let (fail_read, fail_write) = (fault(), fault());
    DiskConfig {
        pace,
        fail_read,
        fail_write,
        congested_above: 1 + rng.below(64) as usize,
        queue: one(rng, &[2, 16, 64]),
        priority: rng.below(2) as i16,
        ..DiskConfig::later(blocks)
    }
}

impl Scenario {
    /// The scenario of a seed.
    fn of(seed: u64) -> Self {
        let rng = &mut Rng::new(mix(seed ^ 0x05ce));
        let frames = 300 + one(rng, &[0, 0, 100, 100, 400, 1500]) + rng.below(200);
        let tasks = 1 + rng.below(4) as usize;
        let swap = frames * one(rng, &[0, 0, 1, 3, 10, 20]) / 10;
        let wanted = frames.min(600) * (4 + rng.below(20)) / 10;
        let alloc_faults = (rng.below(8) == 0).then(|| When::OneIn(20 + rng.below(3000)));
        let config = machine_of(rng, seed, frames, swap as u32);
        let orders = Orders {
            tasks,
            helpers: rng.below(4) as usize,
            forks: rng.below(4) > 0,
            pages: (wanted / tasks as u64) as u32,
            steps: 50 + rng.below(250) as u32,
            lives: 1 + rng.below(2),
            switched: rng.below(1 + config.hardware.disks.len() as u64) as u8,
            may_lack: alloc_faults.is_some() || rng.below(4) == 0,
            seed: mix(seed),
        };
        Self { config, orders, alloc_faults }
    }
}

/// A machine with this many frames and blocks of swap.
fn machine_of(rng: &mut Rng, seed: u64, frames: u64, swap: u32) -> Config {
    let mut config = Config::seeded(seed);
    let hardware = &mut config.hardware;
    let middle = frames as u32 / 2;
    let hole = rng.below(100) as u32;
    hardware.memory = vec![0..middle, middle + hole..frames as u32 + hole];
    hardware.cpus = 1 + rng.below(4) as usize;
    hardware.preempt_every = one(rng, &[0, 3, 30, 300]);
    hardware.sets_flags = rng.below(2) == 0;
    hardware.max_asid = one(rng, &[70, 255]);
    hardware.disks = match swap {
        0 => Vec::new(),
        _ if rng.below(3) == 0 => vec![disk(rng, 2 + swap / 2), disk(rng, 2 + swap / 2)],
        _ => vec![disk(rng, 2 + swap)],
    };
    let kib = |n: u64| PhysAddr(n << 10);
    let low = rng.below(frames) * 2;
    let dma32_end = kib(low + 64 + rng.below(frames) * 2);
    config.mm.zone_limits = match rng.below(2) {
        0 => ZoneLimits::default(),
        _ => ZoneLimits { dma_end: kib(low + 64), dma32_end },
    };
    config.mm.swappiness = rng.below(201) as u8;
    config.mm.min_free_kbytes = (rng.below(4) == 0).then(|| rng.below(200) as u32);
    config
}

/// Runs a scenario to its end.
fn play(scenario: &Scenario) -> (Tally, Digest) {
    let disks = scenario.config.hardware.disks.len() as u8;
    Machine::run(&scenario.config, |machine| {
        machine.world.sched.limit(2_000_000, Nanos::from_millis(10_000_000));
        let before = Books::of(machine, disks);
        if let Some(when) = scenario.alloc_faults {
            machine.world.alloc_faults.arm(when);
        }
        let tally = Crew::run(machine, scenario.orders);
        let failed = machine.world.alloc_faults.disarm().failures;
        let digest = Digest::of(machine, disks);
        assert_eq!(Books::of(machine, disks), before, "{tally:?}");
        let kills = machine.mm.event(VmEvent::OomKill);
        let may_lack = scenario.orders.may_lack;
        assert!(tally.killed <= kills + failed || may_lack, "{tally:?}, {kills} kills");
        (tally, digest)
    })
}

/// OOM-02, SWAP-07, BUDY-05: whatever the pressure, every scenario ends: its programs continue or
/// are killed, no task hangs, nothing is lost and nothing is left behind.
#[test]
fn a_thousand_scenarios_end() {
    let name = "a_thousand_scenarios_end";
    let run = |seed| drop(play(&Scenario::of(seed)));
    if let Some(seed) = wanted_seed() {
        return run(seed);
    }
    let count = if is_long() { 20_000 } else { 1000 };
    let seeds = REGRESSIONS.iter().copied().chain(0..count);
    let count = for_seeds(name, seeds, Duration::MAX, run);
    println!("{count} scenarios");
}

/// A seed replays a run exactly, faults and all: every switch, every event, every request.
#[test]
fn a_seed_replays_a_run() {
    let mut seen = Vec::new();
    for seed in 0..if is_long() { 200 } else { 20 } {
        let scenario = Scenario::of(seed);
        let first = play(&scenario);
        assert_eq!(play(&scenario), first, "seed {seed}");
        assert!(!seen.contains(&first.1), "seed {seed} is like another");
        seen.push(first.1);
    }
}
