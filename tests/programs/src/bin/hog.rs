//! Takes memory without end: the kernel must kill it, or refuse in the end.
#![no_std]
#![no_main]

use programs::args::Args;
use programs::out::Progress;
use programs::pages::Pages;
use programs::{FAILED, Machine, println};

/// Pages a mapping: small enough that the last one is not refused whole.
const CHUNK: usize = 256;

programs::entry!(hog);

fn hog(_: &Args) -> i32 {
    let Machine { ram, swap } = Machine::new();
    println!("hog: takes memory until it is killed");
    let mut progress = Progress::new("hog", ram + swap);
    for chunk in 0.. {
        progress.step(chunk * CHUNK);
        let Ok(mut pages) = Pages::new(CHUNK) else {
            println!("hog: mmap was refused after {} pages", chunk * CHUNK);
            return FAILED;
        };
        pages.write_all(1);
        // It keeps what it takes.
        core::mem::forget(pages);
    }
    FAILED
}
