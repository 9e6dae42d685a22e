//! Out of memory kills the hog, and only the hog: a small worker next to it continues and finds its
//! data intact, and a new program can start afterwards.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `worker=` | 1 or more | the worker's pages (RAM / 8) |
//! | `rounds=` | 1 or more | how often it checks them (8) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::{Damage, Pages};
use programs::task::{self, End};
use programs::{FAILED, Machine, println};

programs::entry!(oomgame);

fn oomgame(args: &Args) -> i32 {
    let ram = Machine::new().ram;
    let small = args.number("worker", ram / 8);
    let rounds = args.number("rounds", 8) as u64;

    let worker = task::start(|| status(work(small, rounds)));
    let hog = task::start(take_all);
    for _ in 0..2 {
        let (child, end) = task::wait().expect("two children run");
        let wanted = if child == hog { End::Signal(task::SIGKILL) } else { End::Status(0) };
        let name = if child == worker { "worker" } else { "hog" };
        println!("oomgame: the {name} ended with {end:?}");
        if end != wanted {
            return FAILED;
        }
    }

    // The memory of the killed is free again.
    let end = task::join(task::start(|| status(work(ram / 2, 1))));
    println!("oomgame: a program of half the RAM ended with {end:?}");
    if end == End::Status(0) { 0 } else { FAILED }
}

fn status(result: Result<(), Damage>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(damage) => damage.report(),
    }
}

/// Rewrites and checks `count` pages, again and again.
fn work(count: usize, rounds: u64) -> Result<(), Damage> {
    let mut pages = Pages::map(count);
    for version in 1..=rounds {
        pages.write_all(version);
        pages.check_all(version)?;
    }
    Ok(())
}

fn take_all() -> i32 {
    while let Ok(mut pages) = Pages::new(256) {
        pages.write_all(1);
        core::mem::forget(pages);
    }
    FAILED
}
