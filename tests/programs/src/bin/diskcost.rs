//! What a page of a file on a virtio disk costs, for `scripts/bench`: in instructions that the processor
//! executes, without those that pass while it waits for the disk.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 512 or more | pages of the file (2048) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::bench::file::{CHUNK, Stream};
use programs::bench::machine::lock_program;
use programs::pages::{PAGE_SIZE, Pages};
use programs::random::Random;
use programs::sys::files::{flags, open};
use programs::task::{join_all, start};
use programs::{println, sys};

/// Processes that read at once.
const READERS: usize = 16;
const POSIX_FADV_RANDOM: usize = 1;

programs::entry!(diskcost);

fn diskcost(args: &Args) -> i32 {
    let count = args.number("pages", 2048) / (CHUNK * READERS) * (CHUNK * READERS);
    lock_program();
    let fd = open(c"/mnt/cost", flags::RDWR | flags::CREAT | flags::TRUNC);
    let run = Stream { fd: fd.expect("a file on the disk"), count };
    let mut buffer = Pages::map(CHUNK);
    buffer.write_all(1);

    each("write_new", count, || run.write(&mut buffer));
    each("writeback_new", count, || run.fd.sync().expect("a disk that works"));
    each("write_cached", count, || run.write(&mut buffer));
    each("writeback", count, || run.fd.sync().expect("a disk that works"));
    run.forget();
    each("read_cold", count, || run.read(&mut buffer));
    run.forget();

    run.advise(POSIX_FADV_RANDOM);
    each("random_1", count / READERS, || read_random(&run, 0, count / READERS));
    run.forget();
    let none = executed(|| readers(&run, 0));
    let all = executed(|| readers(&run, count / READERS));
    println!("disk.random_16.each {} instructions", (all - none) / count as u32);
    0
}

/// The instructions of some work.
fn executed(work: impl FnOnce()) -> u32 {
    let count = || sys::executed().expect("a counter of instructions");
    let start = count();
    work();
    count().wrapping_sub(start)
}

/// Prints what each of `count` units of `work` takes.
fn each(what: &str, count: usize, work: impl FnOnce()) {
    println!("disk.{what}.each {} instructions", executed(work) / count as u32);
}

/// Reads so many pages of the reader's own, each once, in a random order.
fn read_random(file: &Stream, reader: usize, pages: usize) {
    let (mut random, mut page) = (Random::new(1, reader), [0; PAGE_SIZE]);
    // An odd step from a random place visits all of a power of two.
    let (from, step) = (random.below(pages.max(1)), random.below(pages.max(1)) | 1);
    for n in 0..pages {
        let at = reader * pages + (from + n * step) % pages;
        assert_eq!(file.fd.read_at(&mut page, (at * PAGE_SIZE) as u64), Ok(PAGE_SIZE));
    }
}

/// The same by several processes at once.
fn readers(file: &Stream, pages: usize) {
    for reader in 0..READERS {
        start(|| {
            read_random(file, reader, pages);
            0
        });
    }
    assert_eq!(join_all(READERS), 0);
}
