//! Everything at once: programs that share and fork their memory, several times as much as
//! there is RAM, while swap is first quick, then slow, then failing at random, and children
//! come and go by the thousand. Every page is checked all the time.
//!
//! A program or a child may be ended by SIGBUS where reads fail, and by nothing else; any damage it
//! leaves shows in the others, and in the kernel's validation at the end.
//!
//! Where the kernel does not let programs turn the RAM disk's knobs (`test.hooks`), swap is
//! quick in each phase.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `programs=` | 1 or more | how many at a time (8) |
//! | `exits=` | 0 or more | children in all (2400) |
//! | `rounds=` | 1 or more | of writing and checking in each phase (1) |
//! | `seed=` | 0 or more | what happens at random (1) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::out::{Progress, usual_time};
use programs::pages::{Pages, lock_program};
use programs::random::Random;
use programs::sys::{self, Knob};
use programs::task::{self, End};
use programs::{DAMAGED, FAILED, Machine, println};

programs::entry!(stress);

/// What swap is like for a while: a delay in microseconds, and one in how many requests
/// fails; and how much memory is used then, in hundredths of RAM.
struct Phase {
    /// At most eleven bytes, for the live line.
    name: &'static str,
    /// In more words.
    what: &'static str,
    percent: usize,
    delay_us: u32,
    fail_write: u32,
    fail_read: u32,
}

const PHASES: [Phase; 4] = [
    Phase {
        name: "quick",
        what: "swap as quick as it is",
        percent: 300,
        delay_us: 0,
        fail_write: 0,
        fail_read: 0,
    },
    Phase {
        name: "slow",
        what: "each request takes 20 microseconds",
        percent: 130,
        delay_us: 20,
        fail_write: 0,
        fail_read: 0,
    },
    Phase {
        name: "writes fail",
        what: "one write in 500",
        percent: 150,
        delay_us: 0,
        fail_write: 500,
        fail_read: 0,
    },
    Phase {
        name: "reads fail",
        what: "one read in 1000, and one write in 500",
        percent: 150,
        delay_us: 0,
        fail_write: 500,
        fail_read: 1000,
    },
];

/// Pages that the programs of a phase share from the beginning, in hundredths of RAM.
const SHARED: usize = 4;
/// Children of a program itself: each copies the tables of all its memory.
const LARGE_FORKS: usize = 4;
/// Pages of the process that has the other children, in addition to the shared ones.
const NURSERY: usize = 128;
/// How many pages are written and checked in a second.
const PAGES_A_SECOND: usize = 6000;
/// What all pages hold before anybody has written them.
const OLD: u64 = 1;

/// What each program of a phase is to do.
#[derive(Clone, Copy)]
struct Work {
    phase: &'static str,
    pages: usize,
    exits: usize,
    rounds: usize,
    seed: usize,
}

fn stress(args: &Args) -> i32 {
    let (machine, programs) = (Machine::new(), args.number("programs", 8));
    let ram = machine.ram;
    // Of RAM and swap, a part stays free, so that no process need be killed.
    let most = (ram + machine.swap) * 85 / 100;
    let work = Work {
        phase: "",
        pages: 0,
        exits: args.number("exits", 2400) / PHASES.len() / programs,
        rounds: args.number("rounds", 1),
        seed: args.number("seed", 1),
    };
    println!("stress: {programs} programs, {ram} pages of RAM, {} of swap", machine.swap);
    let sizes = PHASES.iter().map(|phase| (ram * phase.percent / 100).min(most));
    println!("stress: {}", usual_time(sizes.sum::<usize>() * work.rounds, PAGES_A_SECOND));
    lock_program();
    for (nth, phase) in PHASES.iter().enumerate() {
        println!("stress: phase {} of {}, {}: {}", nth + 1, PHASES.len(), phase.name, phase.what);
        turn(phase);
        let all = (ram * phase.percent / 100).min(most) - ram * SHARED / 100;
        let seed = work.seed * PHASES.len() + nth;
        let work = Work { phase: phase.name, pages: all / programs, seed, ..work };
        let ends = run_phase(programs, ram * SHARED / 100, work);
        turn(&PHASES[0]);
        println!(
            "stress: {}: {} whole, {} bus errors, {} wrong",
            phase.name, ends.0, ends.1, ends.2
        );
        if ends.2 > 0 || (ends.1 > 0 && phase.fail_read == 0) {
            return FAILED;
        }
    }
    println!("stress: everything was as written");
    0
}

fn turn(phase: &Phase) {
    for (knob, value) in [
        (Knob::DelayUs, phase.delay_us),
        (Knob::FailRead, phase.fail_read),
        (Knob::FailWrite, phase.fail_write),
    ] {
        // Refused where the knobs are not open.
        let _ = sys::turn_knob(knob, value);
    }
}

/// Starts the programs of a phase from one that holds what they share; how many of them
/// were whole, ended by SIGBUS, or went wrong.
fn run_phase(programs: usize, shared: usize, work: Work) -> (usize, usize, usize) {
    // A process of its own, so that the shared pages are freed afterwards.
    let founder = task::start(|| {
        let mut pages = Pages::map(shared);
        pages.write_all(OLD);
        for number in 0..programs {
            task::start(|| live(&mut pages, number, work));
        }
        let mut ends = (0, 0, 0);
        while let Ok((_, end)) = task::wait() {
            count(&mut ends, end);
        }
        println!(
            "stress: of the programs: {} whole, {} bus errors, {} wrong",
            ends.0, ends.1, ends.2
        );
        if ends.2 > 0 { FAILED } else { 0 }
    });
    let mut ends = (0, 0, 0);
    count(&mut ends, task::join(founder));
    // A founder that died of a bus error leaves its programs to this one.
    while let Ok((_, end)) = task::wait() {
        count(&mut ends, end);
    }
    ends
}

fn count(ends: &mut (usize, usize, usize), end: End) {
    match end {
        End::Status(0) => ends.0 += 1,
        End::Signal(task::SIGBUS) => ends.1 += 1,
        other => {
            println!("stress: one ended with {other:?}");
            ends.2 += 1;
        }
    }
}

/// A program: next to a process that has most of its children, it writes its own pages, checks them
/// in order and in disorder, and has a few children that see all of them.
fn live(shared: &mut Pages, number: usize, work: Work) -> i32 {
    let base = (work.seed * 64 + number) as u64 * 1_000_000 + 10;
    let nursery = task::start(|| breed(shared, number, work, base + 100_000));
    let mut random = Random::new(work.seed, number);
    let mut own = Pages::map(work.pages);
    // Each page is written, and looked at twice. One program speaks for all, which go at the
    // same pace.
    let mut steps = Steps::new((number == 0).then_some(work));
    let apart = (own.count() * work.rounds / LARGE_FORKS).max(1);
    for round in 0..work.rounds {
        let version = base + round as u64;
        for page in 0..own.count() {
            steps.next();
            own.write(page, version);
            let forks = (round * own.count() + page).is_multiple_of(apart);
            if forks && !child(&mut own, shared, page, version, &mut random) {
                return DAMAGED;
            }
        }
        let in_disorder = (0..own.count()).try_for_each(|_| {
            steps.next();
            let page = random.below(own.count());
            own.check(page, version)
        });
        let in_order = in_disorder.and_then(|()| {
            (0..own.count()).try_for_each(|page| {
                steps.next();
                own.check(page, version)
            })
        });
        if let Err(damage) = in_order.and_then(|()| shared.check_all(OLD)) {
            return damage.report();
        }
    }
    match task::join(nursery) {
        End::Status(0) | End::Signal(task::SIGBUS) => 0,
        _ => DAMAGED,
    }
}

/// The steps of the program that shows its progress; those of others show nothing.
struct Steps {
    done: usize,
    progress: Option<Progress>,
}

impl Steps {
    fn new(work: Option<Work>) -> Self {
        let all = |work: Work| work.pages * work.rounds * 3;
        Self { done: 0, progress: work.map(|work| Progress::new(work.phase, all(work))) }
    }

    fn next(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.step(self.done);
            self.done += 1;
        }
    }
}

/// Has children, one after the other, each of which sees a little memory of its own.
fn breed(shared: &mut Pages, number: usize, work: Work, version: u64) -> i32 {
    let mut random = Random::new(work.seed, number + 32);
    let mut own = Pages::map(NURSERY);
    own.write_all(version);
    let all_well =
        (0..work.exits).all(|_| child(&mut own, shared, NURSERY - 1, version, &mut random));
    match own.check_all(version) {
        Ok(()) if all_well => 0,
        Ok(()) => DAMAGED,
        Err(damage) => damage.report(),
    }
}

/// A child that sees what its parent saw, rewrites a little of it, and is gone.
fn child(
    own: &mut Pages,
    shared: &mut Pages,
    upto: usize,
    version: u64,
    random: &mut Random,
) -> bool {
    let (a, b) = (random.below(upto + 1), random.below(shared.count()));
    let end = task::join(task::start(|| {
        let seen = own.check(a, version).and_then(|()| shared.check(b, OLD));
        own.write(a, version + 500_000);
        shared.write(b, version);
        let kept = own.check(a, version + 500_000).and_then(|()| shared.check(b, version));
        match seen.and(kept) {
            Ok(()) => 0,
            Err(damage) => damage.report(),
        }
    }));
    matches!(end, End::Status(0) | End::Signal(task::SIGBUS))
}
