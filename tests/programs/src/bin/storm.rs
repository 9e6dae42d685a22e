//! Forks and exits by the hundred: children that write, fork once more, or die of a fault,
//! many at a time, and every one of them accounted for.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `rounds=` | 1 or more | how often (12) |
//! | `children=` | 1 or more | how many at once (24) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::Pages;
use programs::task::{self, Child, End};
use programs::{DAMAGED, FAILED, println};

programs::entry!(storm);

fn storm(args: &Args) -> i32 {
    let (rounds, children) = (args.number("rounds", 12), args.number("children", 24));
    let mut pages = Pages::map(16);
    for round in 0..rounds {
        pages.write_all(round as u64);
        for child in 0..children {
            task::start(|| live(&mut pages, round as u64, child));
        }
        let (well, wrong) = reap_all();
        if well < children || wrong > 0 {
            println!("storm: round {round}: {well} of {children} ended well, {wrong} wrongly");
            return FAILED;
        }
        if let Err(damage) = pages.check_all(round as u64) {
            return damage.report();
        }
    }
    println!("storm: {} children came and went", rounds * children);
    0
}

/// What a child does, by its number.
fn live(pages: &mut Pages, version: u64, number: usize) -> i32 {
    match number % 4 {
        0 => write_own(pages, version),
        1 => match task::join(task::start(|| write_own(pages, version))) {
            End::Status(7) => 7,
            _ => FAILED,
        },
        2 => die(),
        // It leaves a child behind, which another process has to inherit.
        _ => {
            let Child(_) = task::start(|| write_own(pages, version));
            7
        }
    }
}

fn write_own(pages: &mut Pages, version: u64) -> i32 {
    if pages.check_all(version).is_err() {
        return DAMAGED;
    }
    pages.write_all(version + 1000);
    if pages.check_all(version + 1000).is_ok() { 7 } else { DAMAGED }
}

fn die() -> i32 {
    // SAFETY: an access to address 0 is refused; if not, the status shows it.
    unsafe { core::arch::asm!("str xzr, [{}]", in(reg) 0_usize, options(nostack)) };
    FAILED
}

/// Waits until there is no child any more, those inherited included; how many returned 7 or
/// died of their access, and how many ended otherwise.
fn reap_all() -> (usize, usize) {
    let (mut well, mut wrong) = (0, 0);
    while let Ok((_, end)) = task::wait() {
        match end {
            End::Status(7) | End::Signal(task::SIGSEGV) => well += 1,
            _ => wrong += 1,
        }
    }
    (well, wrong)
}
