//! No byte of a former owner is readable (BUDY-09): children dirty most of RAM and end,
//! or free the memory, and its next owner finds only zeroes.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 1 or more | how many pages (3/4 of RAM) |
//! | `rounds=` | 1 or more | how often (3) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::{Damage, Pages};
use programs::{Machine, println, task};

programs::entry!(zeroed);

fn zeroed(args: &Args) -> i32 {
    let count = args.number("pages", Machine::new().ram * 3 / 4);
    let rounds = args.number("rounds", 3);
    println!("zeroed: {count} pages, {rounds} rounds");
    for _ in 0..rounds {
        // A dying process gives memory back in one way, munmap in another.
        task::start(|| status(dirty(count, Ending::Exit)));
        let dirtied = task::join_all(1);
        let seen = status(dirty(count, Ending::Unmap));
        if dirtied + seen != 0 {
            return dirtied.max(seen);
        }
    }
    println!("zeroed: nothing of a former owner was readable");
    0
}

fn status(result: Result<(), Damage>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(damage) => damage.report(),
    }
}

/// How memory goes back to the kernel.
#[derive(Clone, Copy)]
enum Ending {
    /// With its process.
    Exit,
    /// By `munmap`.
    Unmap,
}

/// Finds `count` new pages zero, by a read first for the even ones, and dirties them.
fn dirty(count: usize, ending: Ending) -> Result<(), Damage> {
    let mut pages = Pages::map(count);
    for page in 0..count {
        if page % 2 == 0 {
            pages.check_zero(page)?;
            pages.write(page, 7);
        } else {
            // A write finds the page zero as well, but for the word that it wrote.
            let words = pages.page_mut(page);
            words[page % words.len()] = u64::MAX;
            words[page % words.len()] = 0;
            pages.check_zero(page)?;
            pages.write(page, 7);
        }
    }
    match ending {
        Ending::Exit => core::mem::forget(pages),
        Ending::Unmap => drop(pages),
    }
    Ok(())
}
