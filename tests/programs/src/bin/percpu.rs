//! What a pair of an allocation and a free costs, and a page of a program from its first touch
//! to its unmapping, while every CPU does the same: `children=N` (1) processes, one for each
//! CPU, begin at one moment.
//!
//! Under `--icount` time passes by one nanosecond for each instruction of any CPU, so that a
//! duration divided by the children is the cost of each of them, waiting for locks included.
#![no_std]
#![no_main]

use programs::args::Args;
use programs::bench::machine::Clock;
use programs::pages::Pages;
use programs::sys::{self, Door};
use programs::task::{self, End};
use programs::{FAILED, println};

/// Pairs of an allocation and a free in a measurement.
const PAIRS: u32 = 500_000;
/// Pages touched in a measurement.
const PAGES: usize = 12_000;
/// Nanoseconds until all children are there.
const START: u64 = 40_000_000;

programs::entry!(percpu);

fn percpu(args: &Args) -> i32 {
    let children = args.number("children", 1);
    let clock = Clock::new();
    for (name, unit) in [("list", PAIRS as usize), ("allocator", PAIRS as usize), ("page", PAGES)] {
        let start = clock.now() + START;
        for number in 0..children {
            task::start(|| {
                while clock.now() < start {}
                let began = clock.now();
                let done = work(name);
                let took = clock.now() - began;
                if number == 0 && done {
                    println!("{name} {} instructions", took / (unit * children) as u64);
                }
                if done { 0 } else { FAILED }
            });
        }
        for _ in 0..children {
            if task::wait().expect("a child runs").1 != End::Status(0) {
                println!("percpu: {name} cannot be measured");
                return FAILED;
            }
        }
    }
    0
}

fn work(name: &str) -> bool {
    match name {
        "list" => sys::time_pairs(Door::List, PAIRS).is_ok(),
        "allocator" => sys::time_pairs(Door::Allocator, PAIRS).is_ok(),
        _ => {
            let mut pages = Pages::map(PAGES);
            (0..PAGES).for_each(|page| pages.page_mut(page)[0] = 1);
            true
        }
    }
}
