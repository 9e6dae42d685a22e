//! What it costs to reclaim the pages of many relatives: as much as those of one process.
//!
//! The parent maps an area and touches it, so that all children's areas descend from it. Then it
//! forks, and each child writes its share of `pages` pages, which are its own. When all have,
//! the parent takes what memory is left, but for some frames, and writes new pages until
//! `reclaimed` of the others had to make room. At the end each child looks whether its pages are
//! as it wrote them.
//!
//! All begin at a set time of the clock, so the program is for `--icount`, where it is the same in
//! every run. It prints what one reclaimed page costs, in nanoseconds of one CPU: the first touch
//! that it made room for, the daemon's work, and writing it to swap.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `children=` | 1 or more | children that have the pages (500) |
//! | `pages=` | 1 or more | pages of all children (8000) |
//! | `reclaimed=` | 1 or more | pages that are to go (6000) |
//! | `free=` | 1 or more | frames that are free before (2000) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::bench::array::Array;
use programs::bench::machine::{Clock, Hog, Page, free_frames, lock_program};
use programs::pages::Pages;
use programs::{FAILED, println, sys, task};

/// When the children have written their pages, and when they look at them, in nanoseconds from
/// the start.
const WRITTEN: u64 = 2_000_000_000;
const OVER: u64 = 6_000_000_000;

programs::entry!(relatives);

fn relatives(args: &Args) -> i32 {
    let children = args.number("children", 500);
    let each = args.number("pages", 8000) / children;
    let (reclaimed, free) = (args.number("reclaimed", 6000), args.number("free", 2000));
    // What all share stays: only pages of their own are to go.
    lock_program();
    let clock = Clock::new();
    let start = clock.now();
    let mut pages = Pages::map(each);
    pages.write(0, 0);
    for child in 1..=children {
        task::start(|| as_child(&mut pages, child as u64, clock, start));
    }
    if !sleep_until(clock, start + WRITTEN) {
        return FAILED;
    }
    let (gone, took) = press(clock, free, reclaimed);
    println!("relatives.{children}.gone {gone} pages");
    println!("relatives.{children}.each {} instructions", took / gone as u64);
    if clock.now() > start + OVER {
        println!("relatives: it took too long");
        return FAILED;
    }
    task::join_all(children)
}

/// Writes pages until this many others were swapped out; how many were, and how long it took.
fn press(clock: Clock, free: usize, reclaimed: usize) -> (usize, u64) {
    let _hog = Hog::leaving(free);
    let mut fresh = Array::<Page>::new(free + reclaimed);
    let before = free_frames();
    let start = clock.now();
    for page in &mut *fresh {
        page[0] = 1;
    }
    let took = clock.now() - start;
    (fresh.len() + free_frames() - before, took)
}

/// Writes pages, and looks at them when everything is over.
fn as_child(pages: &mut Pages, child: u64, clock: Clock, start: u64) -> i32 {
    pages.write_all(child);
    if clock.now() > start + WRITTEN || !sleep_until(clock, start + OVER) {
        println!("relatives: child {child} is too late");
        return FAILED;
    }
    pages.check_all(child).map_or_else(programs::pages::Damage::report, |()| 0)
}

/// False if the moment has passed.
fn sleep_until(clock: Clock, moment: u64) -> bool {
    let left = moment.checked_sub(clock.now());
    left.map(sys::sleep).is_some()
}
