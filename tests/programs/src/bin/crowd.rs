//! Four programs at work on files at /mnt, whose disk fails, is slow, or answers no more: each call
//! ends, with success or an error that the disk explains.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `rounds=` | 1 or more | of work for each program (60) |
//! | `check=` | 0 to 1 | what was synced must be there: writes never fail (0) |
//! | `seed=` | 0 or more | decides the work (1) |
#![no_std]
#![no_main]

use core::ffi::CStr;
use core::fmt::Write;

use programs::args::Args;
use programs::pages::{PAGE_SIZE, Pages};
use programs::random::Random;
use programs::sys::files::{Fd, How, flags, msync, open, sync, unlink};
use programs::sys::names::{make_dir, remove_dir, rename};
use programs::sys::{self, Errno};
use programs::task::{End, SIGBUS, join, join_all, start};
use programs::{DAMAGED, println};

programs::entry!(crowd);

const TASKS: usize = 4;
/// Pages of a file, at most.
const PAGES: usize = 24;
const DONTNEED: usize = 4;
/// What a failing disk explains: the damage that it does may be found, and the device may be gone.
const EXPLAINED: [usize; 4] = [5, 28, 30, 117];
/// What another failure before it explains: a name was not made, or not removed.
const CONSEQUENCES: [usize; 5] = [2, 17, 20, 21, 39];

fn crowd(args: &Args) -> i32 {
    let (rounds, seed) = (args.number("rounds", 60), args.number("seed", 1));
    let is_checked = args.number("check", 0) != 0;
    for task in 0..TASKS {
        start(|| Worker::new(task, seed, is_checked).work(rounds));
    }
    let worst = join_all(TASKS);
    sync();
    println!("crowd: all have ended");
    worst
}

/// A path, with a zero at its end.
struct Path([u8; 32], usize);

impl Path {
    fn new(task: usize, file: usize, suffix: &str) -> Self {
        let mut path = Self([0; 32], 0);
        write!(path, "/mnt/t{task}{suffix}{file}").expect("a short path");
        path
    }

    fn get(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("a zero at its end")
    }
}

impl Write for Path {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0[self.1..self.1 + text.len()].copy_from_slice(text.as_bytes());
        self.1 += text.len();
        Ok(())
    }
}

struct Worker {
    task: usize,
    random: Random,
    buffer: Pages,
    is_checked: bool,
    errors: usize,
}

impl Worker {
    fn new(task: usize, seed: usize, is_checked: bool) -> Self {
        let random = Random::new(seed, task);
        Self { task, random, buffer: Pages::map(PAGES), is_checked, errors: 0 }
    }

    fn work(mut self, rounds: usize) -> i32 {
        for round in 0..rounds {
            let path = Path::new(self.task, self.random.below(6), "_");
            let done = match self.random.below(8) {
                0..4 => self.write(&path, round),
                4 => self.map(&path),
                5 => unlink(path.get()).map(|()| true),
                6 => self.rename(&path),
                _ => self.directory(),
            };
            match done {
                Ok(true) => {}
                Ok(false) => return DAMAGED,
                Err(error) => self.note(error),
            }
        }
        println!("crowd: program {}: {} errors", self.task, self.errors);
        0
    }

    fn note(&mut self, Errno(number): Errno) {
        let is_known = EXPLAINED.contains(&number);
        assert!(is_known || CONSEQUENCES.contains(&number), "errno {number}");
        self.errors += usize::from(is_known);
    }

    /// Writes a file and syncs it; false if it does not hold then what was written.
    fn write(&mut self, path: &Path, round: usize) -> Result<bool, Errno> {
        let count = 1 + self.random.below(PAGES);
        let fd = open(path.get(), flags::RDWR | flags::CREAT | flags::TRUNC)?;
        self.buffer.write_all(round as u64);
        let bytes = count * PAGE_SIZE;
        if fd.write_at(self.buffer.bytes_mut(0, count), 0)? < bytes {
            return Err(sys::ENOSPC);
        }
        if self.random.once_in(2) {
            fd.sync()?;
            fd.advise(0, 0, DONTNEED)?;
        }
        self.buffer.write_all(u64::MAX);
        let read = fd.read_at(self.buffer.bytes_mut(0, count), 0)?;
        if !self.is_checked {
            return Ok(true);
        }
        // An error behind the first bytes ends a read early.
        let whole = read / PAGE_SIZE;
        let found = (0..whole).try_for_each(|page| self.buffer.check(page, round as u64));
        found.map_or_else(|damage| Ok(damage.report() == 0), |()| Ok(true))
    }

    /// Stores to a mapping, in a child that a bus error may end.
    fn map(&mut self, path: &Path) -> Result<bool, Errno> {
        let fd: Fd = open(path.get(), flags::RDWR)?;
        let count = (fd.size()? as usize / PAGE_SIZE).min(PAGES);
        if count == 0 {
            return Ok(true);
        }
        let mut pages = Pages::of_file(&fd, How::Shared, 0, count)?;
        let child = start(|| {
            pages.write_all(7);
            0
        });
        let end = join(child);
        assert!(matches!(end, End::Status(0) | End::Signal(SIGBUS)), "{end:?}");
        let (at, bytes) = pages.span();
        msync(at, bytes).map(|()| true)
    }

    fn rename(&mut self, path: &Path) -> Result<bool, Errno> {
        let to = Path::new(self.task, self.random.below(6), "_");
        rename(path.get(), to.get(), self.random.of(&[0, 0, 1, 2])).map(|()| true)
    }

    fn directory(&mut self) -> Result<bool, Errno> {
        let path = Path::new(self.task, self.random.below(3), "d");
        let done = if self.random.once_in(2) { make_dir } else { remove_dir };
        done(path.get()).map(|()| true)
    }
}
