//! Fork and copy-on-write under pressure: parent and children share pages, rewrite
//! different ones at the same time, and each sees exactly its own view.
//!
//! Page `p` belongs to party `p % (children + 1)`, party 0 being the parent. Every party
//! rewrites its own share and must find all others as they were before the fork. The first
//! child forks once more, so that pages are shared by three generations.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `children=` | 1 or more | children of the parent (3) |
//! | `pages=` | 1 or more | pages that they share (RAM / 2) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::{Damage, Pages};
use programs::{Machine, println, task};

/// The version before the first fork; party `p` writes version `OLD + 1 + p`.
const OLD: u64 = 1;

programs::entry!(forker);

fn forker(args: &Args) -> i32 {
    let children = args.number("children", 3);
    let count = args.number("pages", Machine::new().ram / 2);
    println!("forker: {children} children share {count} pages");

    let mut pages = Pages::map(count);
    pages.write_all(OLD);
    for child in 1..=children {
        task::start(|| status(as_child(&mut pages, child, children + 1)));
    }
    let own = status(rewrite_share(&mut pages, 0, children + 1));
    let theirs = task::join_all(children);
    // The children are gone; what they wrote must not show.
    let after = status(check_view(&pages, 0, children + 1));
    let worst = [own, theirs, after].into_iter().find(|&status| status != 0).unwrap_or(0);
    if worst == 0 {
        println!("forker: everybody found its own view");
    }
    worst
}

fn status(result: Result<(), Damage>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(damage) => damage.report(),
    }
}

fn as_child(pages: &mut Pages, party: usize, parties: usize) -> Result<(), Damage> {
    pages.check_all(OLD)?;
    rewrite_share(pages, party, parties)?;
    if party == 1 {
        let grandchild = task::start(|| status(as_grandchild(pages, parties)));
        let end = task::join(grandchild);
        assert_eq!(end, task::End::Status(0), "the grandchild");
    }
    check_view(pages, party, parties)
}

/// Sees its parent's view, then overwrites every page.
fn as_grandchild(pages: &mut Pages, parties: usize) -> Result<(), Damage> {
    check_view(pages, 1, parties)?;
    let version = OLD + 1 + parties as u64;
    pages.write_all(version);
    pages.check_all(version)
}

fn rewrite_share(pages: &mut Pages, party: usize, parties: usize) -> Result<(), Damage> {
    for page in (party..pages.count()).step_by(parties) {
        pages.check(page, OLD)?;
        pages.write(page, OLD + 1 + party as u64);
    }
    check_view(pages, party, parties)
}

/// Its own share is rewritten, that of all others is as before the fork.
fn check_view(pages: &Pages, party: usize, parties: usize) -> Result<(), Damage> {
    (0..pages.count()).try_for_each(|page| {
        let own = page % parties == party;
        pages.check(page, if own { OLD + 1 + party as u64 } else { OLD })
    })
}
