//! `oom_score_adj` decides which program is killed: a large program that is exempt outlives a small
//! one that is preferred, and the hog, not preferred, is killed after that one.
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::Pages;
use programs::task::{self, End};
use programs::{FAILED, Machine, println, sys};

programs::entry!(oomscore);

fn oomscore(_: &Args) -> i32 {
    let ram = Machine::new().ram;
    if sys::set_oom_score_adj(1001).is_ok() || sys::set_oom_score_adj(-1000).is_err() {
        println!("oomscore: scores are taken wrongly");
        return FAILED;
    }
    let exempt = task::start(|| busy(ram / 3, -1000, 20));
    let preferred = task::start(|| computing(ram / 16, 1000));
    let hog = task::start(|| {
        let _ = sys::set_oom_score_adj(0);
        while let Ok(mut pages) = Pages::new(256) {
            pages.write_all(1);
            core::mem::forget(pages);
        }
        FAILED
    });
    let killed = End::Signal(task::SIGKILL);
    let ends = task::join_each([preferred, hog, exempt]);
    let names = ["preferred", "hog", "exempt"];
    names.iter().zip(ends).for_each(|(name, end)| println!("oomscore: the {name} one: {end:?}"));
    if ends == [killed, killed, End::Status(0)] { 0 } else { FAILED }
}

/// Checks pages that are locked into memory, again and again. It is never in a fault, whose lock
/// would keep the reaper away: its memory is free as soon as it is killed.
fn computing(count: usize, adj: i16) -> i32 {
    let _ = sys::set_oom_score_adj(adj);
    let mut pages = Pages::map(count);
    let (at, bytes) = pages.span();
    sys::mlock(at, bytes).expect("mlock of a sixteenth of RAM");
    pages.write_all(1);
    loop {
        if let Err(damage) = pages.check_all(1) {
            return damage.report();
        }
    }
}

/// Writes and checks pages, again and again.
fn busy(count: usize, adj: i16, rounds: usize) -> i32 {
    let _ = sys::set_oom_score_adj(adj);
    let mut pages = Pages::map(count);
    for version in 1..=rounds as u64 {
        pages.write_all(version);
        if let Err(damage) = pages.check_all(version) {
            return damage.report();
        }
    }
    0
}
