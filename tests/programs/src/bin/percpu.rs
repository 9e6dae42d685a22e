//! What operations cost while every CPU does the same: processes, one for each CPU, begin at the
//! same time.
//!
//! - `list`: a page taken from the CPU's list, its reference dropped, and freed to the list
//! - `allocator`: the same through `alloc_pages` and `free_pages`
//! - `touch`: a first touch of a page, all of which fit into RAM
//! - `cycle`: a major fault, where the children write regions again that are one and a half
//!   times as large as RAM together: a page swapped in and another one swapped out
//!
//! Each child prints how often it did that, when it began and when it ended. Under `--icount`
//! time advances one nanosecond for each instruction of any CPU, and an idle CPU executes none. So
//! the time from the first that begins to the last that ends, divided by what all of them did, is
//! what one costs, waiting for locks included.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `children=` | 1 to 4 | how many processes, one for each CPU (1) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::bench::machine::Clock;
use programs::pages::Pages;
use programs::sys::{self, Door};
use programs::task::{self, End};
use programs::{FAILED, Machine, println};

/// Pairs of an allocation and a free that each child does.
const PAIRS: usize = 500_000;
/// Nanoseconds until all children are there, and for each page that they write before.
const START: u64 = 40_000_000;
const START_PAGE: u64 = 20_000;

programs::entry!(percpu);

#[derive(Clone, Copy)]
enum Cost {
    Pairs(Door),
    Touch,
    Cycle,
}

const COSTS: [(&str, Cost); 4] = [
    ("list", Cost::Pairs(Door::List)),
    ("allocator", Cost::Pairs(Door::Allocator)),
    ("touch", Cost::Touch),
    ("cycle", Cost::Cycle),
];

fn percpu(args: &Args) -> i32 {
    let children = args.number("children", 1);
    let ram = Machine::new().ram;
    for (name, cost) in COSTS {
        let times = match cost {
            Cost::Pairs(_) => PAIRS,
            Cost::Touch => ram / 2 / children,
            Cost::Cycle => ram * 3 / 2 / children,
        };
        if !measure(name, cost, children, times) {
            println!("percpu: {name} cannot be measured");
            return FAILED;
        }
    }
    0
}

/// Has each child do something a number of times; each prints how often it did and when it ended.
fn measure(name: &str, cost: Cost, children: usize, times: usize) -> bool {
    let clock = Clock::new();
    let before = if let Cost::Cycle = cost { times * children } else { 0 };
    let start = clock.now() + START + before as u64 * START_PAGE;
    for _ in 0..children {
        task::start(|| {
            let Some(done) = work(cost, times, &clock, start) else { return FAILED };
            println!("{name} {} times from {} to {}", done.times, done.began, done.ended);
            0
        });
    }
    (0..children).all(|_| task::wait().is_ok_and(|(_, end)| end == End::Status(0)))
}

/// How often a child did what is measured, and its first and last moment.
struct Done {
    times: u64,
    began: u64,
    ended: u64,
}

/// What one child does.
fn work(cost: Cost, times: usize, clock: &Clock, start: u64) -> Option<Done> {
    let done = |began| Some(Done { times: times as u64, began, ended: clock.now() });
    match cost {
        Cost::Pairs(door) => {
            let began = begin(clock, start)?;
            sys::time_pairs(door, times as u32).ok()?;
            done(began)
        }
        Cost::Touch => {
            let mut pages = Pages::map(times);
            let began = begin(clock, start)?;
            (0..times).for_each(|page| pages.page_mut(page)[0] = 1);
            done(began)
        }
        Cost::Cycle => cycle(times, clock, start),
    }
}

/// Sleeps until the common start: who waited awake would use up the time of the others.
fn begin(clock: &Clock, start: u64) -> Option<u64> {
    let early = start.checked_sub(clock.now());
    if early.is_none() {
        println!("percpu: too late to begin with the others");
    }
    sys::sleep(early?);
    Some(clock.now())
}

/// A round of writing, and a second one that is timed, when all are done with the first.
fn cycle(pages: usize, clock: &Clock, start: u64) -> Option<Done> {
    let mut pages = Pages::map(pages);
    (0..pages.count()).for_each(|page| pages.page_mut(page)[0] = page as u64);
    let before = sys::getrusage().ok()?.majflt;
    let began = begin(clock, start)?;
    (0..pages.count()).for_each(|page| pages.page_mut(page)[1] = 1);
    let ended = clock.now();
    let times = sys::getrusage().ok()?.majflt - before;
    let whole = (0..pages.count()).all(|page| pages.page(page)[..2] == [page as u64, 1]);
    whole.then_some(Done { times, began, ended })
}
