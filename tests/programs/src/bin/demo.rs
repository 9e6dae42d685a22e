//! The demonstration, with twice as many pages as there is RAM and every word of them checked.
//!
//! | phase | what happens |
//! | --- | --- |
//! | write | every page, in order, at version 1 |
//! | read | every page, in order, all 512 words checked |
//! | random | every page once in random order, checked; each fourth gets a new version |
//! | verify | every page, in order, against the version it has now |
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 1 or more | how many pages (2 × RAM) |
//! | `rounds=` | 0 or more | how often the last two phases run (1) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::out::{Progress, usual_time};
use programs::pages::{Damage, Pages, shuffled};
use programs::{Machine, println, sys};

/// How many pages pass all four phases in a second.
const PAGES_A_SECOND: usize = 10_000;

programs::entry!(demo);

fn demo(args: &Args) -> i32 {
    let count = args.number("pages", 2 * Machine::new().ram);
    let rounds = args.number("rounds", 1);
    println!("demo: {count} pages ({} MiB), each of 512 words", count / 256);
    println!("demo: {}", usual_time(count * (1 + rounds) / 2, PAGES_A_SECOND));
    match run(count, rounds as u64) {
        Ok(()) => {
            println!("demo: every word of {count} pages was as written");
            0
        }
        Err(damage) => damage.report(),
    }
}

fn run(count: usize, rounds: u64) -> Result<(), Damage> {
    let mut pages = Pages::map(count);
    phase("write", "every page, in order", count, 0..count, |page| {
        pages.write(page, 1);
        Ok(())
    })?;
    phase("read", "every word of every page, in order", count, 0..count, |page| {
        pages.check(page, 1)
    })?;
    for round in 1..=rounds {
        let what = "every page in random order, a fourth of them rewritten";
        phase("random", what, count, shuffled(count), |page| {
            pages.check(page, version(page, round))?;
            if version(page, round + 1) != version(page, round) {
                pages.write(page, version(page, round + 1));
            }
            Ok(())
        })?;
        phase("verify", "every word as it should be by now", count, 0..count, |page| {
            pages.check(page, version(page, round + 1))
        })?;
    }
    Ok(())
}

/// The version of a page before round `round` (from 1): each round rewrites a fourth of
/// the pages, another fourth each time.
fn version(page: usize, round: u64) -> u64 {
    1 + (round - 1 + page as u64 % 4) / 4
}

/// Runs one phase, showing what it does, its progress and how long it took.
fn phase(
    name: &'static str,
    what: &str,
    count: usize,
    order: impl Iterator<Item = usize>,
    mut visit: impl FnMut(usize) -> Result<(), Damage>,
) -> Result<(), Damage> {
    println!("demo: {name}: {what}");
    let start = sys::now();
    let mut progress = Progress::new(name, count);
    for (done, page) in order.enumerate() {
        progress.step(done);
        visit(page)?;
    }
    println!("demo: {name} done after {} ms", (sys::now() - start) / 1_000_000);
    Ok(())
}
