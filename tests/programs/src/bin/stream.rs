//! A file of twice RAM streamed past a hot set of half of RAM: what a page of the stream costs alone
//! and beside the hot set, and how much of the set every pass drives out.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `passes=` | 1 or more | how often the file is read beside the hot set (3) |
//!
//! `--files` twice `--memory` unless it is given.
#![no_std]
#![no_main]

use programs::args::Args;
use programs::bench::machine::Clock;
use programs::pages::{Damage, PAGE_SIZE, Pages};
use programs::sys::files::{Fd, flags, open};
use programs::{FAILED, Machine, println, sys};

/// Pages that one call reads.
const CHUNK: usize = 32;
/// The hot set is used once for each of so many parts of a pass.
const PARTS: usize = 8;
/// Of the hot set, in hundredths: what may come back from swap in a pass.
const MOST_BACK: usize = 2;
/// What a page of the stream may cost beside the hot set, in hundredths of what it costs alone.
const DEAREST: usize = 110;

programs::entry!(stream);

fn stream(args: &Args) -> i32 {
    match run(args.number("passes", 3)) {
        Ok(status) => status,
        Err(damage) => damage.report(),
    }
}

fn run(passes: usize) -> Result<i32, Damage> {
    let ram = Machine::new().ram;
    let fd = open(c"/disk/stream", flags::RDWR | flags::CREAT | flags::TRUNC).expect("a disk");
    let mut stream = Stream { clock: Clock::new(), fd, buffer: Pages::map(CHUNK), count: 0 };
    stream.write(2 * ram);
    stream.pass(|| Ok(()))?;
    let alone = stream.pass(|| Ok(()))?;
    println!("stream.alone.each {alone} instructions");

    let mut hot = Pages::map(ram / 2);
    hot.write_all(1);
    hot.check_all(1)?;
    let mut is_right = true;
    for pass in 0..passes {
        let before = major_faults();
        let beside = stream.pass(|| hot.check_all(1))?;
        let back = major_faults() - before;
        println!("stream.beside.each {beside} instructions");
        println!("stream: pass {pass}: {back} of {} hot pages came back", hot.count());
        is_right &= back * 100 <= hot.count() * MOST_BACK;
        is_right &= beside * 100 <= alone * DEAREST;
    }
    if !is_right {
        println!("stream: that is too much");
        return Ok(FAILED);
    }
    println!("stream: the hot set stayed, and the stream was hardly dearer");
    Ok(0)
}

/// Those of this process so far.
fn major_faults() -> usize {
    sys::getrusage().expect("a place for the answer").majflt as usize
}

/// A file that is read from its start to its end, again and again.
struct Stream {
    clock: Clock,
    fd: Fd,
    buffer: Pages,
    count: usize,
}

impl Stream {
    /// Writes so many pages, and waits for the disk.
    fn write(&mut self, count: usize) {
        self.count = count / (CHUNK * PARTS) * (CHUNK * PARTS);
        for first in (0..self.count).step_by(CHUNK) {
            (0..CHUNK).for_each(|at| self.buffer.write_as(at, first + at, 1));
            let place = (first * PAGE_SIZE) as u64;
            let written = self.fd.write_at(self.buffer.bytes_mut(0, CHUNK), place);
            assert_eq!(written, Ok(CHUNK * PAGE_SIZE), "at page {first}");
        }
        self.fd.sync().expect("a disk that works");
    }

    /// Reads all of it, and does something else after each part; what the reads took for each page.
    fn pass(&mut self, mut between: impl FnMut() -> Result<(), Damage>) -> Result<usize, Damage> {
        let mut time = 0;
        for first in (0..self.count).step_by(CHUNK) {
            let (place, start) = ((first * PAGE_SIZE) as u64, self.clock.now());
            let read = self.fd.read_at(self.buffer.bytes_mut(0, CHUNK), place);
            time += self.clock.now() - start;
            assert_eq!(read, Ok(CHUNK * PAGE_SIZE), "at page {first}");
            (0..CHUNK).try_for_each(|at| self.buffer.check_as(at, first + at, 1))?;
            if (first + CHUNK).is_multiple_of(self.count / PARTS) {
                between()?;
            }
        }
        Ok(time as usize / self.count)
    }
}
