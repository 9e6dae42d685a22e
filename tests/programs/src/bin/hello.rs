//! The smallest program: prints its arguments and exits with the given status.
//!
//! It also has a data and a bss segment, and finds them as the file says: that proves the
//! loader of programs, since no other program here needs either.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `status=` | 0 to 255 | the exit status (0) |
//! | `...` | | any words, which it prints |
#![no_std]
#![no_main]

use core::hint::black_box;
use core::sync::atomic::{AtomicU64, Ordering};

use programs::args::Args;
use programs::bench::machine::Clock;
use programs::{FAILED, Machine, print, println};

const INITIAL: u64 = 0x0123_4567_89ab_cdef;

/// In the data segment: has a value from the start.
static DATA: [AtomicU64; 2] = [AtomicU64::new(INITIAL), AtomicU64::new(!INITIAL)];
/// In the bss segment, larger than a page: zero from the start.
static BSS: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];

programs::entry!(hello);

fn hello(args: &Args) -> i32 {
    let began = Clock::new().now();
    print!("hello from user mode:");
    for word in args.iter() {
        print!(" {word}");
    }
    let Machine { ram, swap } = Machine::new();
    println!("\nhello: {ram} pages of RAM, {swap} of swap");
    println!("hello: nanoseconds from reset to main: {began}");
    if !segments_are_right() {
        println!("hello: the data or bss segment is not as the file says");
        return FAILED;
    }
    args.number("status", 0) as i32
}

fn segments_are_right() -> bool {
    // Hidden from the optimiser, which would otherwise keep only what is ever written.
    let (data, bss) = (black_box(&DATA), black_box(&BSS));
    let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
    let as_linked = read(&data[0]) == INITIAL
        && read(&data[1]) == !INITIAL
        && bss.iter().all(|word| read(word) == 0);
    data[1].store(1, Ordering::Relaxed);
    bss[1023].store(2, Ordering::Relaxed);
    as_linked && read(&data[1]) == 1 && read(&bss[1023]) == 2
}
