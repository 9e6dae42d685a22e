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
use programs::bench::file::{CHUNK, Stream};
use programs::bench::machine::{Clock, lock_program};
use programs::pages::{PAGE_SIZE, Pages};
use programs::sys::files::{How, flags, open};
use programs::{println, sys};

/// Pages that a fault may map.
const AROUND: usize = 16;
const POSIX_FADV_NORMAL: usize = 0;
const POSIX_FADV_RANDOM: usize = 1;

programs::entry!(filecost);

fn filecost(args: &Args) -> i32 {
    let count = args.number("pages", 2048) / CHUNK * CHUNK;
    lock_program();
    let fd = open(c"/disk/cost", flags::RDWR | flags::CREAT | flags::TRUNC).expect("a file");
    let run = Run { clock: Clock::new(), file: Stream { fd, count } };
    let mut buffer = Pages::map(CHUNK);
    buffer.write_all(1);

    run.each("write_new", count, || run.file.write(&mut buffer));
    run.each("writeback", count, || run.file.fd.sync().expect("a disk that works"));
    run.each("write_cached", count, || run.file.write(&mut buffer));
    run.file.fd.sync().expect("a disk that works");
    run.each("drop", count, || run.file.forget());
    run.each("read_cold", count, || run.file.read(&mut buffer));
    run.each("read_cached", count, || run.file.read(&mut buffer));

    let around = run.map();
    run.each("fault_around", count / AROUND, || touch(&around, AROUND));
    run.each("pageout_clean", count, || {
        let (at, bytes) = around.span();
        sys::page_out(at, bytes).expect("ordinary memory");
    });
    drop(around);
    run.file.forget();

    run.file.advise(POSIX_FADV_RANDOM);
    let mut byte = [0];
    for page in (0..count).step_by(AROUND) {
        assert_eq!(run.file.fd.read_at(&mut byte, (page * PAGE_SIZE) as u64), Ok(1));
    }
    run.file.advise(POSIX_FADV_NORMAL);
    let single = run.map();
    run.each("fault_cached", count / AROUND, || touch(&single, AROUND));
    0
}

struct Run {
    clock: Clock,
    file: Stream,
}

impl Run {
    /// Prints what each of `count` units of `work` takes.
    fn each(&self, what: &str, count: usize, work: impl FnOnce()) {
        let start = self.clock.now();
        work();
        println!("files.{what}.each {} instructions", (self.clock.now() - start) / count as u64);
    }

    fn map(&self) -> Pages {
        Pages::of_file(&self.file.fd, How::SharedToRead, 0, self.file.count).expect("a mapping")
    }
}

/// Reads a word of each `step`th page.
fn touch(pages: &Pages, step: usize) {
    for page in (0..pages.count()).step_by(step) {
        black_box(pages.page(page)[0]);
    }
}
