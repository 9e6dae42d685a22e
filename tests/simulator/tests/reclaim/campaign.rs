//! A seeded campaign: random machines with random programs. Every word that a program
//! reads is the one that it wrote last, and the machine is sound after each phase.
//!
//! The everyday run is bounded in time; `TEST_LONG=1` (or `MM_LONG=1`) makes it twenty
//! times as long, `MM_SEED=n` replays one seed. A seed that failed once is added to
//! [`REGRESSIONS`].

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use mm_reclaim::Place;
use mm_reclaim::env::Prot;
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::SpaceError;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Nanos, PhysAddr, Vpn};
use mm_reclaim::zone::ZoneLimits;
use simulator::rng::{Rng, mix};
use simulator::{Config, Death, DiskConfig, Machine, Pace, Program};

use crate::bench::{force_everything, prove};

/// Seeds that failed once, and always run.
const REGRESSIONS: &[u64] = &[];
/// How long an everyday run takes.
const EVERYDAY: Duration = Duration::from_secs(20);

/// A disk that the seed chooses.
fn disk(rng: &mut Rng, blocks: u32) -> DiskConfig {
    let latency = 1_000..1_000 + rng.below(3_000_000);
    let pace = match rng.below(3) {
        0 => Pace::Sync,
        _ => Pace::Async { latency, per_page: rng.below(100_000) },
    };
    DiskConfig {
        pace,
        fail_write: if rng.below(5) == 0 { 7 + rng.below(50) } else { 0 },
        congested_above: 1 + rng.below(64) as usize,
        queue: 2 + rng.below(128) as usize,
        priority: rng.below(2) as i16,
        ..DiskConfig::later(blocks)
    }
}

/// The machine of a seed.
fn config_of(seed: u64) -> Config {
    let mut rng = Rng::new(mix(seed));
    let mut config = Config::seeded(seed);
    let frames = 512 + rng.below(3000) as u32;
    let hole = frames / 2 + rng.below(200) as u32;
    let kib = |n: u64| PhysAddr(n << 10);
    let low = rng.below(u64::from(frames)) * 2;
    let blocks = (u64::from(frames) * (1 + rng.below(40)) / 10) as u32;
    let hardware = &mut config.hardware;
    hardware.memory = vec![0..frames / 2, hole..hole + frames / 2];
    hardware.cpus = 1 + rng.below(4) as usize;
    hardware.preempt_every = [0, 3, 30, 300][rng.below(4) as usize];
    hardware.sets_flags = rng.below(2) == 0;
    hardware.max_asid = [15, 255][rng.below(2) as usize];
    hardware.disks = vec![disk(&mut rng, blocks)];
    if rng.below(2) == 0 {
        let second = disk(&mut rng, 64 + blocks / 4);
        hardware.disks.push(second);
    }
    let dma_end = kib(low + 64);
    let dma32_end = kib(low + 64 + rng.below(u64::from(frames)) * 2);
    config.mm.zone_limits = ZoneLimits { dma_end, dma32_end };
    config.mm.swappiness = rng.below(201) as u8;
    config.mm.poison = rng.below(4) > 0;
    config
}

/// A program, its area, and what it does next.
struct Actor<'m> {
    machine: Machine<'m>,
    rng: Rng,
    program: Program<'m>,
    start: Vpn,
    pages: u32,
    /// Fork only where memory suffices: a task with two programs could wait for the one
    /// that it would itself have to end.
    may_fork: bool,
}

impl<'m> Actor<'m> {
    fn new(machine: Machine<'m>, mut rng: Rng, pages: u32, may_fork: bool) -> Self {
        let mut program = Program::new(machine);
        let start = program.map(pages).start;
        rng.next();
        Self { machine, rng, program, start, pages, may_fork }
    }

    /// A page, mostly near the front.
    fn page(&mut self) -> Vpn {
        let end = 1 + self.rng.below(u64::from(self.pages));
        self.start + self.rng.below(end) as u32
    }

    fn stretch(&mut self) -> std::ops::Range<Vpn> {
        let from = self.page();
        let len = 1 + self.rng.below(100) as u32;
        from..Vpn((from.0 + len).min(self.start.0 + self.pages))
    }

    fn step(&mut self) -> Result<(), Death> {
        let page = self.page();
        match self.rng.below(1000) {
            0..450 => return self.program.write(page),
            450..970 => return self.program.check(page),
            970..980 => {
                let range = self.stretch();
                let advice = [Advice::PageOut, Advice::Cold, Advice::DontNeed, Advice::Free];
                let advice = advice[self.rng.below(4) as usize];
                self.program.advise(range, advice).expect("a range without holes");
            }
            980..985 => self.remap()?,
            985..988 => self.machine.sleep(Nanos(self.rng.below(3_000_000))),
            988..992 if self.may_fork => return self.family(),
            992..996 => return self.pin(),
            _ => {}
        }
        Ok(())
    }

    /// Unmaps a range and maps it again: areas split, and sometimes merge again.
    fn remap(&mut self) -> Result<(), Death> {
        let range = self.stretch();
        let unmapped = self.program.unmap(range.clone());
        self.done(unmapped)?;
        let rights = Prot::READ | Prot::WRITE;
        let none = mm_reclaim::space::AreaFlags::empty();
        let (space, pages) = (self.program.space, range.end - range.start);
        let at = Place::Fixed(range.start);
        let mapped = self.machine.mm.mmap(space, at, pages, rights, none);
        self.done(mapped.map(drop))
    }

    /// What must succeed, unless the killer has chosen the program: then the reaper may have
    /// emptied it.
    fn done(&self, end: Result<(), SpaceError>) -> Result<(), Death> {
        match end {
            Ok(()) => Ok(()),
            Err(SpaceError::Killed) if self.program.is_killed() => Err(Death::Killed),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// A child runs for a while next to its parent, and one of the two ends.
    fn family(&mut self) -> Result<(), Death> {
        let Ok(mut child) = self.program.fork() else { return Ok(()) };
        for _ in 0..self.rng.below(200) {
            let page = self.page();
            match self.rng.below(4) {
                0 => child.write(page)?,
                1 => child.check(page)?,
                2 => self.program.write(page)?,
                _ => self.program.check(page)?,
            }
        }
        if self.rng.below(2) == 0 {
            std::mem::swap(&mut self.program, &mut child);
        }
        Ok(())
    }

    /// Locks a few pages into memory for a while.
    fn pin(&mut self) -> Result<(), Death> {
        let mut range = self.stretch();
        range.end = range.end.min(range.start + 8);
        let (mm, space) = (self.machine.mm, self.program.space);
        if mm.mlock(space, range.clone()).is_ok() {
            let end = (range.start.0..range.end.0).try_for_each(|p| self.program.check(Vpn(p)));
            self.done(mm.munlock(space, range))?;
            return end;
        }
        self.done(mm.munlock(space, range))
    }
}

/// One run of a machine: several tasks at once, in two phases.
fn live(seed: u64) {
    let config = config_of(seed);
    let frames: u32 = config.hardware.memory.iter().map(|r| r.end - r.start).sum();
    let swap: u32 = config.hardware.disks.iter().map(|d| d.blocks - 1).sum();
    Machine::run(&config, |machine| {
        let mut rng = Rng::new(seed ^ 0xca3b);
        let tasks = 1 + rng.below(4) as u32;
        let wanted = u64::from(frames) * (5 + rng.below(25)) / 10;
        // Twice: after a fork both sides may end up with copies of all their pages.
        let may_fork = 2 * wanted < u64::from(frames / 2 + swap / 2);
        let pages = (wanted / u64::from(tasks)).max(16) as u32;
        for phase in 0..2 {
            machine.crowd(tasks as usize, |machine, who| {
                let rng = Rng::new(mix(seed * 64 + phase * 8 + who as u64));
                let mut actor = Actor::new(machine, rng, pages, may_fork);
                let end = (0..2500).try_for_each(|_| actor.step());
                let is_fair = matches!(end, Ok(()) | Err(Death::Killed));
                assert!(is_fair, "{end:?}: no read fails here");
            });
            prove(machine);
        }
        assert_eq!(machine.mm.event(VmEvent::SwapReadError), 0);
        // A page that was locked when its last user ended is left to reclaim.
        force_everything(machine);
        prove(machine);
        let (total, free) = machine.mm.swap_pages();
        let broken = machine.mm.event(VmEvent::SwapWriteError);
        assert!(u64::from(total - free) <= broken, "{free} of {total} slots, {broken} broken");
    });
}

/// Runs one seed; if it fails, prints how to repeat it.
fn run(seed: u64) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| live(seed))) {
        let test = "MM_SEED={} cargo test -p simulator --target host-tuple --test reclaim campaign";
        println!("seed {seed} failed; replay: {}", test.replace("{}", &seed.to_string()));
        resume_unwind(payload);
    }
}

fn is_set(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value != "0")
}

/// RMAP-01, RMAP-05, RMAP-06, SPL-18, SWAP-03, SWAP-05, SWAP-06, LRU-06, OOM-02, CTRL-01:
/// whatever machines and programs the seeds choose, no byte is lost, no task hangs, and every page
/// and slot is accounted for.
#[test]
fn random_machines_lose_nothing() {
    if let Ok(seed) = std::env::var("MM_SEED") {
        return run(seed.parse().expect("MM_SEED is a number"));
    }
    REGRESSIONS.iter().for_each(|seed| run(*seed));
    let is_long = is_set("TEST_LONG") || is_set("MM_LONG");
    let limit = if is_long { EVERYDAY * 20 } else { EVERYDAY };
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < limit && count < 5000 {
        run(count);
        count += 1;
    }
    assert!(count >= 5, "{count} seeds in {limit:?}");
    println!("{count} seeds");
}
