//! What the fault campaigns and the pressure scenarios share: a validation before and after, and
//! how seeds are run.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use mm_reclaim::SwapOnError;
use mm_reclaim::env::{Clock, DeviceId};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::swap::header;
use mm_reclaim::units::PAGE_SIZE;
use simulator::{DiskStat, Machine};

use crate::bench::{force_everything, prove};

/// Whether the tests that are too long for every day run.
pub fn is_long() -> bool {
    ["TEST_LONG", "MM_LONG"].iter().any(|n| std::env::var(n).is_ok_and(|value| value != "0"))
}

/// The one seed that is to be replayed, if any.
pub fn wanted_seed() -> Option<u64> {
    let seed = std::env::var("MM_SEED").ok()?;
    Some(seed.parse().expect("MM_SEED is a number"))
}

/// Runs `body` for the seeds, until the time is up; if one fails, prints how to repeat it. Returns
/// how many were run.
pub fn for_seeds(
    test: &str,
    seeds: impl IntoIterator<Item = u64>,
    limit: Duration,
    body: impl Fn(u64),
) -> u64 {
    let start = Instant::now();
    let mut count = 0;
    for seed in seeds {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(seed))) {
            let command = "cargo test --target host-tuple -p simulator --test reclaim";
            println!("{test}: {seed} failed; replay: MM_SEED={seed} {command} {test}");
            resume_unwind(payload);
        }
        count += 1;
        if start.elapsed() > limit {
            break;
        }
    }
    count
}

/// The resources of a machine without programs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Books {
    free_pages: u32,
    /// Slots of the devices that are neither free nor retired.
    used_slots: u32,
    /// Spaces that can be made, and areas that can be mapped and touched in all of them.
    objects: [u32; 4],
}

impl Books {
    /// Validates a machine on which no program runs; every invariant must hold.
    pub fn of(machine: Machine<'_>, disks: u8) -> Self {
        (0..disks).for_each(|disk| swap_on(machine, DeviceId(disk)));
        // A page that was locked when its last user ended is left to reclaim.
        force_everything(machine);
        machine.mm.trim_tables();
        prove(machine);
        let census = machine.mm.validate().expect("sound");
        // The zero page stays.
        assert!(census.kernel <= 1, "{census:?}");
        assert_eq!((census.mappings, census.swap_entries), (0, 0), "{census:?}");
        assert_eq!(census.lru.iter().sum::<u32>(), 0, "{census:?}");
        let retired: u32 = (0..disks).map(|d| machine.world.disks.stat(DeviceId(d)).broken).sum();
        let (total, free) = machine.mm.swap_pages();
        let used_slots = (total - free).checked_sub(retired).expect("a broken slot is retired");
        let free_pages = machine.mm.total_free() + census.kernel;
        Self { free_pages, used_slots, objects: objects(machine) }
    }
}

/// Takes a device into use again, if it is out of use.
pub fn swap_on(machine: Machine<'_>, device: DeviceId) {
    let config = machine.world.disks.config(device);
    let mut page = [0; PAGE_SIZE];
    header::format(&mut page, config.blocks);
    match machine.mm.swapon_again(device, &page, config.priority) {
        Ok(slots) => assert_eq!(slots, config.blocks - 1),
        Err(error) => assert_eq!(error, SwapOnError::NotOff),
    }
}

/// Spaces, areas, families and links that are in use.
fn objects(machine: Machine<'_>) -> [u32; 4] {
    let census = machine.mm.validate().expect("sound");
    [census.spaces, census.areas, census.families, census.links]
}

/// The result of a run, as far as it is visible from outside: two runs that differ in anything
/// differ here.
#[derive(Clone, PartialEq, Debug)]
pub struct Digest {
    switches: u64,
    nanos: u64,
    events: Vec<u64>,
    disks: Vec<DiskStat>,
}

impl Digest {
    /// The digest of what has happened so far.
    pub fn of(machine: Machine<'_>, disks: u8) -> Self {
        Self {
            switches: machine.world.sched.switches(),
            nanos: machine.world.sched.now().0,
            events: VmEvent::ALL.iter().map(|event| machine.mm.event(*event)).collect(),
            disks: (0..disks).map(|d| machine.world.disks.stat(DeviceId(d))).collect(),
        }
    }
}
