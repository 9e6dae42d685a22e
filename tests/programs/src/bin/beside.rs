//! A program that swaps, first alone and then with others that only compute (TASK-01): how long the
//! same work takes, and how much of the CPU each of the others had in that time.
//!
//! Prints `stretch N`, the time with `spinners` others in percent of (spinners + 1) times the time
//! alone, and `least_share N`, what the slowest spinner had in percent of its share, an equal part
//! of the time that passed.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `spinners=` | 1 to 64 | the others that compute (1) |
//! | `pages=` | 1 or more | the pages that are swapped (1.25 × RAM) |
//! | `sweep=` | 1 or more | how many touches the work takes (each page once) |
#![no_std]
#![no_main]

use core::hint::black_box;

use programs::args::Args;
use programs::pages::{Damage, Pages};
use programs::task::{self, Child, End};
use programs::{FAILED, Machine, println, sys};

programs::entry!(beside);

/// The most spinners that there may be.
const MOST: usize = 64;
/// Steps of a spinner between two checks of its gate: some 50 microseconds.
const STEPS: u64 = 10_000;
/// Turns of which the shortest says what a turn costs.
const TRIES: usize = 16;
/// How long all get to arrive, and how often those that wait check, in nanoseconds.
const ARRIVAL: u64 = 20_000_000;
const GLANCE: u64 = 2_000_000;

fn beside(args: &Args) -> i32 {
    let spinners = args.number("spinners", 1).clamp(1, MOST);
    let ram = Machine::new().ram;
    let count = args.number("pages", ram * 5 / 4);
    let sweep = args.number("sweep", count);
    println!("beside: {sweep} touches of {count} pages, alone and beside {spinners} spinners");
    // Before there is memory to share: reclaim would have to unmap what a spinner shares with its
    // parent from both.
    let gates = Gates { rest: gate(), start: gate(), run: gate() };
    for _ in 0..spinners {
        task::start(|| spin(gates, spinners + 1));
        sys::sleep(ARRIVAL);
    }
    match measure(count, sweep, gates) {
        Ok([alone, among]) => report(alone, among, spinners),
        Err(damage) => damage.report(),
    }
}

/// What the spinners check, since they share no memory with their parent.
#[derive(Clone, Copy)]
struct Gates {
    /// Until it is opened they sleep.
    rest: Child,
    /// Until then they spin, and do not count.
    start: Child,
    /// Until then they count.
    run: Child,
}

/// A process that does nothing. Its end is a signal to all that know its number.
fn gate() -> Child {
    task::start(|| {
        loop {
            sys::sleep(u64::from(u32::MAX));
        }
    })
}

fn open(gate: Child) {
    sys::kill(gate.0).expect("a gate stands until it is opened");
}

/// The time of the work alone and with the spinners, in nanoseconds.
fn measure(count: usize, sweep: usize, gates: Gates) -> Result<[u64; 2], Damage> {
    let mut pages = Pages::map(count);
    pages.write_all(1);
    let mut next = 0;
    let alone = work(&mut pages, &mut next, sweep)?;
    open(gates.rest);
    sys::sleep(ARRIVAL);
    open(gates.start);
    let among = work(&mut pages, &mut next, sweep)?;
    open(gates.run);
    Ok([alone, among])
}

/// Checks and rewrites the `sweep` pages from `next` on; the time that it takes. What was touched
/// the longest ago was swapped out.
fn work(pages: &mut Pages, next: &mut usize, sweep: usize) -> Result<u64, Damage> {
    let start = sys::now();
    for _ in 0..sweep {
        pages.check(*next, 1)?;
        pages.write(*next, 1);
        *next = (*next + 1) % pages.count();
    }
    Ok(sys::now() - start)
}

/// Computes, and returns its share of the CPU while the parent worked, in percent of one part in
/// `parts` of the time.
fn spin(gates: Gates, parts: usize) -> i32 {
    let cost = cost_of_turn(gates.run);
    while sys::is_running(gates.rest.0) {
        sys::sleep(GLANCE);
    }
    while turn(gates.start) {}
    let start = sys::now();
    let mut turns = 0;
    while turn(gates.run) {
        turns += 1;
    }
    let share = turns * cost * parts as u64 * 100 / (sys::now() - start).max(1);
    share.min(255) as i32
}

/// Computes briefly; whether `gate` still exists.
fn turn(gate: Child) -> bool {
    for step in 0..STEPS {
        black_box(step);
    }
    sys::is_running(gate.0)
}

/// What a turn takes when nothing else runs, in nanoseconds.
fn cost_of_turn(gate: Child) -> u64 {
    let timed = |_| {
        let start = sys::now();
        turn(gate);
        sys::now() - start
    };
    (0..TRIES).map(timed).min().unwrap_or(0)
}

fn report(alone: u64, among: u64, spinners: usize) -> i32 {
    let mut least = u32::MAX;
    let mut reported = 0;
    while let Ok((_, end)) = task::wait() {
        match end {
            End::Status(share) => {
                least = least.min(share);
                reported += 1;
            }
            // A gate.
            End::Signal(task::SIGKILL) => {}
            End::Signal(_) => return FAILED,
        }
    }
    if reported != spinners {
        println!("beside: {reported} of {spinners} spinners reported");
        return FAILED;
    }
    let parts = spinners as u64 + 1;
    println!("beside: alone {} us, beside {spinners} {} us", alone / 1000, among / 1000);
    println!("stretch {}", among * 100 / (alone * parts).max(1));
    println!("least_share {least}");
    0
}
