//! Page allocations that fail although there is memory (`simulator::faults`): the n-th
//! alone, every n-th, and at random, for n = 1, 2, 3 and so on until a workload ends
//! undisturbed.

use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::Nanos;
use simulator::faults::Injected;
use simulator::rng::mix;
use simulator::{Config, DiskConfig, Machine, When};

use crate::bench::small;
use crate::campaigns::{Books, is_long, wanted_seed};
use crate::crew::{Crew, Orders, Tally};

/// A machine whose programs do not all fit into memory.
fn config(async_disk: bool) -> Config {
    let disk = if async_disk { DiskConfig::later(2000) } else { DiskConfig::sync(2000) };
    let mut config = small(disk);
    config.hardware.memory = std::iter::once(0..400).collect();
    config.hardware.cpus = 2;
    config.hardware.preempt_every = 50;
    config
}

/// Runs the workload while allocations fail; what failed and how it ended.
fn run(when: When, async_disk: bool) -> (Injected, Tally) {
    Machine::run(&config(async_disk), |machine| {
        machine.world.sched.limit(500_000, Nanos::from_millis(100_000_000));
        let before = Books::of(machine, 1);
        machine.world.alloc_faults.arm(when);
        let orders = Orders {
            tasks: 2,
            helpers: 1,
            forks: true,
            pages: 250,
            steps: 300,
            lives: 2,
            switched: 0,
            may_lack: true,
            seed: mix(7),
        };
        let tally = Crew::run(machine, orders);
        let done = machine.world.alloc_faults.disarm();
        assert_eq!(Books::of(machine, 1), before, "{tally:?}");
        assert_eq!(machine.mm.event(VmEvent::OomKill), 0, "there is memory for all");
        assert!(tally.killed + tally.refused <= done.failures, "{tally:?} {done:?}");
        assert_eq!(tally.bus_errors, 0);
        (done, tally)
    })
}

/// Runs `when(n)` for n = 1, 2, 3 and so on, in growing steps unless all are wanted, until
/// nothing fails any more.
fn until_undisturbed(when: fn(u64) -> When, async_disk: bool) {
    if let Some(n) = wanted_seed() {
        run(when(n), async_disk);
        return;
    }
    let mut n = 1;
    let mut disturbed = 0;
    loop {
        let run = || run(when(n), async_disk);
        let (done, tally) = std::panic::catch_unwind(run).unwrap_or_else(|payload| {
            println!("{:?} failed; replay: MM_SEED={n}", when(n));
            std::panic::resume_unwind(payload)
        });
        if done.failures == 0 {
            assert_eq!((tally.killed, tally.refused), (0, 0));
            println!("{disturbed} runs were disturbed, {n} is beyond {done:?}");
            assert!(disturbed > 20);
            return;
        }
        disturbed += 1;
        n += if is_long() { 1 } else { 1 + n / 16 };
    }
}

/// BUDY-05: the n-th allocation fails, once.
#[test]
fn the_nth_allocation_fails() {
    until_undisturbed(When::Only, false);
}

/// BUDY-05: the same with a device that answers later, so that pages are read ahead.
#[test]
fn the_nth_allocation_fails_with_read_ahead() {
    until_undisturbed(When::Only, true);
}

/// BUDY-05: every n-th allocation fails.
#[test]
fn every_nth_allocation_fails() {
    until_undisturbed(When::Every, true);
}

/// BUDY-05: allocations fail at random.
#[test]
fn allocations_fail_at_random() {
    for n in 1..if is_long() { 500 } else { 60 } {
        run(When::OneIn(n), n % 2 == 0);
    }
}
