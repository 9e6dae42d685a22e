//! Several children touch memory as fast as they can: kswapd cannot keep up, and they must
//! reclaim for themselves. Then each checks what it wrote.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `children=` | 1 or more | how many programs (4) |
//! | `pages=` | 1 or more | pages in all (1.5 × RAM) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::{Damage, Pages, WORDS};
use programs::{Machine, println, task};

programs::entry!(burst);

fn burst(args: &Args) -> i32 {
    let children = args.number("children", 4);
    let pages = args.number("pages", Machine::new().ram * 3 / 2) / children;
    println!("burst: {children} children touch {pages} pages each");
    for child in 0..children {
        task::start(|| touch_and_check(pages, child as u64 + 1));
    }
    let status = task::join_all(children);
    if status == 0 {
        println!("burst: all pages were as written");
    }
    status
}

/// Two words a page make the fastest touch that still distinguishes pages and children; the words
/// between must have stayed zero.
fn touch_and_check(count: usize, child: u64) -> i32 {
    let mut pages = Pages::map(count);
    for page in 0..count {
        let mark = mark(page, child);
        let words = pages.page_mut(page);
        words[0] = mark;
        words[WORDS - 1] = !mark;
    }
    match (0..count).try_for_each(|page| check(&pages, page, child)) {
        Ok(()) => 0,
        Err(damage) => damage.report(),
    }
}

fn mark(page: usize, child: u64) -> u64 {
    child << 48 | page as u64
}

fn check(pages: &Pages, page: usize, child: u64) -> Result<(), Damage> {
    let mark = mark(page, child);
    for (word, &found) in pages.page(page).iter().enumerate() {
        let expected = match word {
            0 => mark,
            _ if word == WORDS - 1 => !mark,
            _ => 0,
        };
        if found != expected {
            return Err(Damage { page, word, expected, found });
        }
    }
    Ok(())
}
