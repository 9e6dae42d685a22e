//! A machine that runs: a world and the crate's `Mm` over it, with kswapd and the disk task.
//!
//! ```
//! use simulator::{Config, Machine, Program};
//!
//! let pages_on_disk = Machine::run(&Config::default(), |machine| {
//!     let mut program = Program::new(machine);
//!     let area = program.map(5000); // more than the machine has
//!     program.write_all(area.clone());
//!     program.check_all(area);
//!     machine.validate();
//!     machine.world.disks.stat(simulator::FIRST_DISK).writes
//! });
//! assert!(pages_on_disk > 0);
//! ```

use std::mem::ManuallyDrop;

use mm_reclaim::Mm;
use mm_reclaim::env::{DeviceId, TaskFlags};
use mm_reclaim::plan::Plan;
use mm_reclaim::swap::header;
use mm_reclaim::units::{Nanos, PAGE_SIZE, Pfn, PhysAddr};
use mm_reclaim::zone::{FrameRange, ZoneLimits};

use crate::arena::WORDS;
use crate::disk::DiskConfig;
use crate::sched::TaskSpec;
use crate::world::{Hardware, World};

/// The first swap device.
pub const FIRST_DISK: DeviceId = DeviceId(0);

/// The longest that work continues, in milliseconds, once the programs are idle.
const LONGEST_WORK_MS: u32 = 60_000;

/// A machine's hardware and how its memory is managed.
#[derive(Clone, Debug)]
pub struct Config {
    /// The parts.
    pub hardware: Hardware,
    /// The crate's configuration at boot.
    pub mm: mm_reclaim::plan::Config,
}

impl Default for Config {
    /// 16 MiB in three zones with a hole, two CPUs, 64 MiB of swap that answers at once.
    fn default() -> Self {
        let mib = |n: u64| PhysAddr(n << 20);
        Self {
            hardware: Hardware {
                memory: vec![0..2048, 2304..4352],
                cpus: 2,
                disks: vec![DiskConfig::sync(16 << 10)],
                preempt_every: 200,
                ..Hardware::default()
            },
            mm: mm_reclaim::plan::Config {
                zone_limits: ZoneLimits { dma_end: mib(4), dma32_end: mib(10) },
                poison: true,
                ..mm_reclaim::plan::Config::default()
            },
        }
    }
}

impl Config {
    /// The default machine with another seed.
    pub fn seeded(seed: u64) -> Self {
        let mut config = Self::default();
        config.hardware.seed = seed;
        config
    }
}

/// Prints the seed of a machine that failed.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed of the machine was {}", self.0);
        }
    }
}

/// A running machine, as its tasks see it.
#[derive(Clone, Copy)]
pub struct Machine<'m> {
    /// The crate under test.
    pub mm: &'m Mm<'m, &'m World>,
    /// Everything else.
    pub world: &'m World,
}

impl<'m> Machine<'m> {
    /// Boots a machine, runs `body` as its main task, and switches it off.
    ///
    /// # Panics
    /// If any task panics or no task can run any more; the machine's seed repeats the failure.
    pub fn run<R>(config: &Config, body: impl FnOnce(Machine<'_>) -> R) -> R {
        let _told = Told(config.hardware.seed);
        let world = World::new(&config.hardware);
        let disks = &config.hardware.disks;
        let frames = |r: &std::ops::Range<u32>| FrameRange { start: Pfn(r.start), end: Pfn(r.end) };
        let ranges: Vec<FrameRange> = config.hardware.memory.iter().map(frames).collect();
        let plan = Plan::new(&ranges, config.mm).expect("memory that can be managed");
        let layout = plan.storage_layout::<&World>();
        let mut storage = Box::new_uninit_slice(layout.size() + layout.align());
        let words = |d: &DiskConfig| Box::new_uninit_slice(Mm::<&World>::swap_words(d.blocks));
        let mut slots: Vec<_> = disks.iter().map(words).collect();
        // The crate owns no heap: nothing is lost by not dropping it, and what it borrows
        // may then live exactly as long as itself.
        let mm = ManuallyDrop::new(Mm::new(&world, plan, &mut storage));
        let machine = Machine { mm: &mm, world: &world };
        let boot = || {
            ranges.iter().for_each(|&range| machine.mm.free_bootmem(range));
            for (id, (disk, slots)) in disks.iter().zip(&mut slots).enumerate() {
                if !disk.is_swap {
                    continue;
                }
                let header = machine.make_swap(DeviceId(id as u8), disk.blocks);
                let usable = machine.mm.swapon(
                    DeviceId(id as u8),
                    disk.blocks,
                    &header,
                    slots,
                    disk.priority,
                );
                assert_eq!(usable, Ok(disk.blocks - 1), "a new device has all but its header");
            }
            body(machine)
        };
        let kswapd = TaskFlags::KSWAPD | TaskFlags::KERNEL;
        let daemons = vec![
            TaskSpec::new("kswapd", kswapd, || machine.mm.kswapd()),
            TaskSpec::new("reaper", TaskFlags::KERNEL, || machine.mm.oom_reaper()),
            TaskSpec::new("flusher", TaskFlags::KERNEL, || machine.mm.flusher()),
            TaskSpec::new("disk", TaskFlags::KERNEL, || {
                world.serve_disks(&|completion| machine.mm.complete(completion))
            }),
        ];
        world.sched.run(boot, daemons)
    }

    /// Writes a swap header to a device, as `mkswap` does, and returns it.
    pub fn make_swap(self, device: DeviceId, blocks: u32) -> [u8; PAGE_SIZE] {
        let mut page = [0; PAGE_SIZE];
        header::format(&mut page, blocks);
        let word = |i: usize| u64::from_le_bytes(std::array::from_fn(|byte| page[8 * i + byte]));
        let content: [u64; WORDS] = std::array::from_fn(word);
        self.world.disks.prepare(device, 0, &content);
        page
    }

    /// Runs `count` tasks concurrently, each with its number, until all are done.
    pub fn crowd(self, count: usize, body: impl Fn(Machine<'m>, usize) + Sync) {
        let body = &body;
        let task = |i| {
            let run = move || body(self, i);
            TaskSpec::new(&format!("task {i}"), TaskFlags::empty(), run)
        };
        self.world.sched.together((0..count).map(task).collect());
    }

    /// Sleeps until no request is under way and no task is running, and a little longer. Work that
    /// is never finished is left to [`Mm::validate`].
    pub fn settle(self) {
        for _ in 0..LONGEST_WORK_MS {
            self.sleep(Nanos::from_millis(1));
            if self.world.disks.pending() == 0 && self.mm.is_quiet() {
                break;
            }
        }
        self.sleep(Nanos::from_millis(1));
    }

    /// Sleeps.
    pub fn sleep(self, time: Nanos) {
        use mm_reclaim::env::{Tasks, WaitEnd, WaitKey, WaitMode};
        let mode = WaitMode { timeout: Some(time), killable: false };
        let end = self.world.wait_until(WaitKey(u64::MAX), mode, &mut || false);
        assert_eq!(end, WaitEnd::TimedOut);
    }

    /// Waits for quiet, then has the crate check its invariants, and checks that freed frames were
    /// not written.
    ///
    /// # Panics
    /// If an invariant is broken or a freed frame was written.
    pub fn validate(self) {
        self.settle();
        if let Err(violation) = self.mm.validate() {
            panic!("after {} switches: {violation}", self.world.sched.switches());
        }
        assert_eq!(self.world.arena.spoilt_poison(), None, "a freed frame was written");
    }
}
