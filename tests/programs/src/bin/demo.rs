//! The demonstration: twice as many pages as there is RAM, and every word of them checked.
//!
//! | phase | what happens |
//! | --- | --- |
//! | write | every page, in order, at version 1 |
//! | read | every page, in order, all 512 words checked |
//! | random | every page once in random order, checked; each fourth gets a new version |
//! | verify | every page, in order, against the version it has now |
//!
//! `pages=N` overrides the number of pages, `rounds=N` repeats the last two phases.
#![no_std]
#![no_main]

use programs::args::Args;
use programs::out::Progress;
use programs::pages::{Damage, Pages, shuffled};
use programs::{Machine, println, sys};

programs::entry!(demo);

fn demo(args: &Args) -> i32 {
    let count = args.number("pages", 2 * Machine::new().ram);
    let rounds = args.number("rounds", 1);
    println!("demo: {count} pages ({} MiB), each of 512 words", count / 256);
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
    phase("write", count, 0..count, |page| {
        pages.write(page, 1);
        Ok(())
    })?;
    phase("read", count, 0..count, |page| pages.check(page, 1))?;
    for round in 1..=rounds {
        phase("random", count, shuffled(count), |page| {
            pages.check(page, version(page, round))?;
            if version(page, round + 1) != version(page, round) {
                pages.write(page, version(page, round + 1));
            }
            Ok(())
        })?;
        phase("verify", count, 0..count, |page| pages.check(page, version(page, round + 1)))?;
    }
    Ok(())
}

/// The version of a page before round `round` (from 1): each round rewrites a fourth of
/// the pages, another fourth each time.
fn version(page: usize, round: u64) -> u64 {
    1 + (round - 1 + page as u64 % 4) / 4
}

/// Runs one phase, showing its progress and how long it took.
fn phase(
    name: &'static str,
    count: usize,
    order: impl Iterator<Item = usize>,
    mut visit: impl FnMut(usize) -> Result<(), Damage>,
) -> Result<(), Damage> {
    let start = sys::now();
    let mut progress = Progress::new(name, count);
    for (done, page) in order.enumerate() {
        progress.step(done);
        visit(page)?;
    }
    println!("demo: {name} done after {} ms", (sys::now() - start) / 1_000_000);
    Ok(())
}
