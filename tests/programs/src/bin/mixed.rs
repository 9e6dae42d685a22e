//! A program like a database: a hot set of anonymous memory; files on the disk that are streamed past
//! it, a hot page used for each page of a file, and partly rewritten; and a table that all of its
//! processes share. Every byte is checked. The files are at `/mnt` if a file system is mounted there, and
//! stay for a later run, else at `/disk`.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 64 or more | pages of the files, all together (2 × RAM) |
//! | `hot=` | 1 or more | pages of the hot sets, all together (RAM / 4) |
//! | `workers=` | 1 to 8 | processes (4) |
//! | `passes=` | 1 or more | how often each streams its file (3) |
//! | `again=` | 0 to 1 | check the files that an earlier run with the same words has left at `/mnt`, and no more (0) |
//!
//! `--files` twice `--memory` unless it is given.
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::out::Progress;
use programs::pages::{Damage, PAGE_SIZE, Pages};
use programs::random::Random;
use programs::sys::files::{Fd, How, flags, open};
use programs::task::{join_all, start};
use programs::{Machine, println};

/// Pages of a file that are read or mapped at a time.
const CHUNK: usize = 32;
/// In each pass one page of so many is rewritten.
const REWRITTEN: usize = 8;
const PATHS: [&CStr; 8] = [
    c"/disk/0", c"/disk/1", c"/disk/2", c"/disk/3", c"/disk/4", c"/disk/5", c"/disk/6", c"/disk/7",
];
const MOUNTED: [&CStr; 8] = [
    c"/mnt/mixed.0",
    c"/mnt/mixed.1",
    c"/mnt/mixed.2",
    c"/mnt/mixed.3",
    c"/mnt/mixed.4",
    c"/mnt/mixed.5",
    c"/mnt/mixed.6",
    c"/mnt/mixed.7",
];

programs::entry!(mixed);

fn mixed(args: &Args) -> i32 {
    let ram = Machine::new().ram;
    let workers = args.number("workers", 4).clamp(1, PATHS.len());
    let pages = args.number("pages", 2 * ram) / workers;
    let hot = (args.number("hot", ram / 4) / workers).max(1);
    let passes = args.number("passes", 3);
    let is_mounted = open(c"/mnt", flags::RDONLY | flags::DIRECTORY).is_ok();
    let paths = if is_mounted { &MOUNTED } else { &PATHS };
    let again = args.number("again", 0) != 0;
    println!("mixed: {workers} processes, each {pages} pages of a file and {hot} hot ones");
    let mut table = Pages::shared(workers).expect("shared memory");
    for (number, path) in paths.iter().copied().enumerate().take(workers) {
        let work = Work { path, number, pages, hot, passes };
        start(|| {
            let done = if again { work.check_again() } else { work.run(&mut table) };
            done.map_or_else(Damage::report, |()| 0)
        });
    }
    let status = join_all(workers);
    if again {
        if status == 0 {
            println!("mixed: every byte of {} pages is as it was left", workers * pages);
        }
        return status;
    }
    let done = (0..workers).all(|number| table.check(number, passes as u64).is_ok());
    if status == 0 {
        assert!(done, "each process left its mark in the table");
        println!("mixed: every byte of {} pages was as written", workers * (pages + hot));
    }
    status
}

/// What one process does.
struct Work {
    path: &'static CStr,
    number: usize,
    pages: usize,
    hot: usize,
    passes: usize,
}

impl Work {
    fn run(&self, table: &mut Pages) -> Result<(), Damage> {
        let fd = open(self.path, flags::RDWR | flags::CREAT | flags::TRUNC).expect("a file");
        let (mut hot, mut buffer) = (Pages::map(self.hot), Pages::map(CHUNK));
        let mut random = Random::new(1, self.number);
        hot.write_all(1);
        self.each_chunk("write", |first, part| self.write(&fd, &mut buffer, first, part))?;
        fd.sync().expect("a disk that works");
        for pass in 0..self.passes {
            self.each_chunk("stream", |first, part| {
                (0..part).try_for_each(|_| hot.check(random.below(self.hot), 1))?;
                // Odd passes by a mapping, even ones by `pread`.
                if pass % 2 == 1 {
                    self.visit_mapped(&fd, first, part, pass)
                } else {
                    self.visit_read(&fd, &mut buffer, first, part, pass)
                }
            })?;
            table.write(self.number, pass as u64 + 1);
        }
        fd.sync().expect("a disk that works");
        hot.check_all(1)
    }

    /// What an earlier run has left is there.
    fn check_again(&self) -> Result<(), Damage> {
        let fd = open(self.path, flags::RDONLY).expect("the file of an earlier run");
        assert_eq!(fd.size(), Ok((self.pages * PAGE_SIZE) as u64), "{:?}", self.path);
        let mut buffer = Pages::map(CHUNK);
        self.each_chunk("check", |first, part| {
            let read = fd.read_at(buffer.bytes_mut(0, part), (first * PAGE_SIZE) as u64);
            assert_eq!(read, Ok(part * PAGE_SIZE), "at page {first}");
            (0..part).try_for_each(|at| {
                let page = first + at;
                buffer.check_as(at, self.name(page), Self::version(page, self.passes))
            })
        })
    }

    /// Calls `visit` for each chunk of the file, and shows how far it is.
    fn each_chunk(
        &self,
        what: &'static str,
        mut visit: impl FnMut(usize, usize) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        // The first process speaks for all of them.
        let mut progress = (self.number == 0).then(|| Progress::new(what, self.pages));
        for first in (0..self.pages).step_by(CHUNK) {
            if let Some(progress) = &mut progress {
                progress.step(first);
            }
            visit(first, CHUNK.min(self.pages - first))?;
        }
        Ok(())
    }

    /// The number that is written into a page: no two files have one in common.
    fn name(&self, page: usize) -> usize {
        self.number * self.pages + page
    }

    /// The version of a page before a pass: one more for each pass that rewrote it.
    fn version(page: usize, pass: usize) -> u64 {
        let last = (0..pass).rev().find(|pass| Self::rewrites(page, *pass));
        last.map_or(0, |pass| pass as u64 + 1)
    }

    fn rewrites(page: usize, pass: usize) -> bool {
        page % REWRITTEN == pass % REWRITTEN
    }

    fn write(&self, fd: &Fd, buffer: &mut Pages, first: usize, part: usize) -> Result<(), Damage> {
        for at in 0..part {
            buffer.write_as(at, self.name(first + at), 0);
        }
        let written = fd.write_at(buffer.bytes_mut(0, part), (first * PAGE_SIZE) as u64);
        assert_eq!(written, Ok(part * PAGE_SIZE), "at page {first}");
        Ok(())
    }

    fn visit_read(
        &self,
        fd: &Fd,
        buffer: &mut Pages,
        first: usize,
        part: usize,
        pass: usize,
    ) -> Result<(), Damage> {
        let read = fd.read_at(buffer.bytes_mut(0, part), (first * PAGE_SIZE) as u64);
        assert_eq!(read, Ok(part * PAGE_SIZE), "at page {first}");
        for at in 0..part {
            let (page, name) = (first + at, self.name(first + at));
            buffer.check_as(at, name, Self::version(page, pass))?;
            if Self::rewrites(page, pass) {
                buffer.write_as(at, name, pass as u64 + 1);
                let written = fd.write_at(buffer.bytes_mut(at, 1), (page * PAGE_SIZE) as u64);
                assert_eq!(written, Ok(PAGE_SIZE), "at page {page}");
            }
        }
        Ok(())
    }

    fn visit_mapped(&self, fd: &Fd, first: usize, part: usize, pass: usize) -> Result<(), Damage> {
        let mut mapped = Pages::of_file(fd, How::Shared, first, part).expect("a mapping");
        for at in 0..part {
            let (page, name) = (first + at, self.name(first + at));
            mapped.check_as(at, name, Self::version(page, pass))?;
            if Self::rewrites(page, pass) {
                mapped.write_as(at, name, pass as u64 + 1);
            }
        }
        Ok(())
    }
}
