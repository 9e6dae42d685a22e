//! MADV_FREE (LAZY-01, SPL-10): under pressure, memory that was given up turns into zeroes without
//! being written to swap, page by page; what was written since stays.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 1 or more | pages that are given up (RAM / 4) |
//! | `pressure=` | 1 or more | pages that are written in addition (1.5 × RAM) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::{Damage, Pages};
use programs::{FAILED, Machine, println, sys};

/// Of so many pages one is written again.
const REWRITTEN: usize = 8;
/// Pages whose residence is asked for at a time: more than one piece of the kernel's.
const ASKED: usize = 600;

programs::entry!(giveup);

fn giveup(args: &Args) -> i32 {
    let ram = Machine::new().ram;
    let count = args.number("pages", ram / 4);
    let pressure = args.number("pressure", ram * 3 / 2);
    println!("giveup: {count} pages given up, {pressure} pages of pressure");
    match run(count, pressure) {
        Ok(status) => status,
        Err(damage) => damage.report(),
    }
}

fn run(count: usize, pressure: usize) -> Result<i32, Damage> {
    let mut given = Pages::map(count);
    given.write_all(1);
    given.give_up().expect("ordinary memory");
    for page in (0..count).step_by(REWRITTEN) {
        given.write(page, 2);
    }
    let before = resident(&given);

    let mut pages = Pages::map(pressure);
    pages.write_all(3);
    pages.check_all(3)?;

    let (after, mut gone) = (resident(&given), 0);
    for page in 0..count {
        if page % REWRITTEN == 0 {
            given.check(page, 2)?;
        } else if given.check_zero(page).is_ok() {
            gone += 1;
        } else {
            given.check(page, 1)?;
        }
    }
    println!("giveup: {gone} of {count} pages went, {before} and then {after} were in memory");
    let is_sound = before == count && after < count && gone > count / 2;
    Ok(if is_sound { 0 } else { FAILED })
}

/// How many of the pages are in memory.
fn resident(pages: &Pages) -> usize {
    let mut residence = [0; ASKED];
    let mut found = 0;
    for first in (0..pages.count()).step_by(ASKED) {
        let part = &mut residence[..ASKED.min(pages.count() - first)];
        sys::mincore(pages.page_span(first).0, part).expect("memory of this program");
        found += part.iter().filter(|byte| **byte == 1).count();
    }
    found
}
