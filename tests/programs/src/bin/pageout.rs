//! MADV_PAGEOUT (CTRL-04's call) takes pages out, and a touch brings each back unharmed.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 1 or more | how many pages (4096) |
//! | `faults=` | any | accepts a kernel that kept the pages |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::Pages;
use programs::{FAILED, println, sys};

programs::entry!(pageout);

fn pageout(args: &Args) -> i32 {
    let count = args.number("pages", 4096);
    let mut pages = Pages::map(count);
    pages.write_all(1);

    let (at, bytes) = pages.span();
    if let Err(error) = sys::page_out(at, bytes) {
        println!("pageout: madvise: {error:?}");
        return FAILED;
    }
    let before = sys::getrusage().expect("getrusage works");
    if let Err(damage) = pages.check_all(1) {
        return damage.report();
    }
    let after = sys::getrusage().expect("getrusage works");
    let major = after.majflt - before.majflt;
    let minor = after.minflt - before.minflt;
    println!("pageout: {count} pages came back by {major} major and {minor} minor faults");

    // Read once more and rewrite: a page that came back is an ordinary page.
    pages.write_all(2);
    if let Err(damage) = pages.check_all(2) {
        return damage.report();
    }
    if major == 0 && args.text("faults") != Some("any") {
        println!("pageout: no page had left");
        return FAILED;
    }
    0
}
