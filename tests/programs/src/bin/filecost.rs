//! What a page of a file costs, for `scripts/bench`: under `--icount` in instructions.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 256 or more | pages of the file (2048) |
//!
//! `--files` 16M unless it is given.
#![no_std]
#![no_main]

use core::hint::black_box;

use programs::args::Args;
use programs::bench::machine::{Clock, lock_program};
use programs::pages::{PAGE_SIZE, Pages};
use programs::sys::files::{Fd, How, flags, open};
use programs::{println, sys};

/// Pages that are read or written by one call.
const CHUNK: usize = 32;
/// Pages that a fault may map.
const AROUND: usize = 16;
const POSIX_FADV_NORMAL: usize = 0;
const POSIX_FADV_RANDOM: usize = 1;
const POSIX_FADV_DONTNEED: usize = 4;

programs::entry!(filecost);

fn filecost(args: &Args) -> i32 {
    let count = args.number("pages", 2048) / CHUNK * CHUNK;
    lock_program();
    let fd = open(c"/disk/cost", flags::RDWR | flags::CREAT | flags::TRUNC).expect("a file");
    let run = Run { clock: Clock::new(), fd, count };
    let mut buffer = Pages::map(CHUNK);
    buffer.write_all(1);

    run.each("write_new", count, || run.write(&mut buffer));
    run.each("writeback", count, || run.fd.sync().expect("a disk that works"));
    run.each("write_cached", count, || run.write(&mut buffer));
    run.fd.sync().expect("a disk that works");
    run.each("drop", count, || run.forget());
    run.each("read_cold", count, || run.read(&mut buffer));
    run.each("read_cached", count, || run.read(&mut buffer));

    let around = run.map();
    run.each("fault_around", count / AROUND, || touch(&around, AROUND));
    run.each("pageout_clean", count, || {
        let (at, bytes) = around.span();
        sys::page_out(at, bytes).expect("ordinary memory");
    });
    drop(around);
    run.forget();

    run.advise(POSIX_FADV_RANDOM);
    let mut byte = [0];
    for page in (0..count).step_by(AROUND) {
        assert_eq!(run.fd.read_at(&mut byte, (page * PAGE_SIZE) as u64), Ok(1));
    }
    run.advise(POSIX_FADV_NORMAL);
    let single = run.map();
    run.each("fault_cached", count / AROUND, || touch(&single, AROUND));
    0
}

struct Run {
    clock: Clock,
    fd: Fd,
    count: usize,
}

impl Run {
    /// Prints what each of `count` units of `work` takes.
    fn each(&self, what: &str, count: usize, work: impl FnOnce()) {
        let start = self.clock.now();
        work();
        println!("files.{what}.each {} instructions", (self.clock.now() - start) / count as u64);
    }

    fn write(&self, buffer: &mut Pages) {
        for first in (0..self.count).step_by(CHUNK) {
            let written = self.fd.write_at(buffer.bytes_mut(0, CHUNK), (first * PAGE_SIZE) as u64);
            assert_eq!(written, Ok(CHUNK * PAGE_SIZE));
        }
    }

    fn read(&self, buffer: &mut Pages) {
        for first in (0..self.count).step_by(CHUNK) {
            let read = self.fd.read_at(buffer.bytes_mut(0, CHUNK), (first * PAGE_SIZE) as u64);
            assert_eq!(read, Ok(CHUNK * PAGE_SIZE));
        }
    }

    /// Drops what is cached of the file.
    fn forget(&self) {
        self.advise(POSIX_FADV_DONTNEED);
    }

    fn advise(&self, advice: usize) {
        self.fd.advise(0, 0, advice).expect("advice that exists");
    }

    fn map(&self) -> Pages {
        Pages::of_file(&self.fd, How::SharedToRead, 0, self.count).expect("a mapping")
    }
}

/// Reads a word of each `step`th page.
fn touch(pages: &Pages, step: usize) {
    for page in (0..pages.count()).step_by(step) {
        black_box(pages.page(page)[0]);
    }
}
