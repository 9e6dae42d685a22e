//! Files at /mnt that must survive a cut of power: each step is synced, and marked.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `seed=` | 0 or more | decides the steps (1) |
//! | `count=` | 0 or more | steps (100) |
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::println;
use programs::sys::files::{Fd, flags, open, unlink};
use programs::sys::names::{make_dir, rename};
use programs::sys::{self, ENOENT, Errno};
use treeops::fill;
use treeops::keeper::{MOST_BYTES, Step, mark, steps};

programs::entry!(keeper);

const DIRS: [&CStr; 3] = [c"/mnt/keep", c"/mnt/keep/deep", c"/mnt/other"];
const MARK: &CStr = c"/mnt/mark";
/// Behind so many steps whoever wants to kill the machine is told.
const FIRST: usize = 10;
const MADE: usize = flags::RDWR | flags::CREAT;

fn keeper(args: &Args) -> i32 {
    let (seed, count) = (args.number("seed", 1), args.number("count", 100));
    for dir in DIRS {
        make_dir(dir).expect("a directory");
    }
    let marks = open(MARK, MADE).expect("a file");
    let first = sys::mmap(4 * MOST_BYTES as usize).expect("memory for a buffer");
    // SAFETY: the mapping was just made, is never removed, and is used by nothing else.
    let buffer = unsafe { core::slice::from_raw_parts_mut(first, 4 * MOST_BYTES as usize) };
    for (number, step) in steps(seed as u32, count as u32).enumerate() {
        take(step, buffer, number as u32);
        if step.is_marked() {
            marks.write_at(&mark(number as u32), 0).expect("room");
            marks.sync().expect("a disk that works");
        }
        if number == FIRST {
            println!("keeper: {FIRST} steps");
        }
    }
    println!("keeper: {count} steps");
    0
}

/// The path of a file.
struct Name([u8; 32]);

impl Name {
    fn kept(slot: u32) -> Self {
        Self::new(if slot.is_multiple_of(3) { "/mnt/keep/deep/k" } else { "/mnt/keep/k" }, slot)
    }

    fn other(number: u32) -> Self {
        Self::new("/mnt/other/o", number)
    }

    fn new(start: &str, number: u32) -> Self {
        let mut bytes = [0; 32];
        bytes[..start.len()].copy_from_slice(start.as_bytes());
        bytes[start.len()] = b'a' + number as u8;
        Self(bytes)
    }

    fn get(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).expect("a zero at its end")
    }
}

fn take(step: Step, buffer: &mut [u8], number: u32) {
    match step {
        Step::Write { slot, at, len, truncate } => {
            let how = MADE | if truncate { flags::TRUNC } else { 0 };
            let fd = open(Name::kept(slot).get(), how).expect("a file");
            write(&fd, buffer, number, at, len);
            fd.sync().expect("a disk that works");
        }
        Step::Append { slot, len } => {
            let fd = open(Name::kept(slot).get(), MADE | flags::APPEND).expect("a file");
            write(&fd, buffer, number, 0, len);
            fd.sync().expect("a disk that works");
        }
        Step::Rename { from, to } => {
            may_be_missing(rename(Name::kept(from).get(), Name::kept(to).get(), 0));
            sync_names();
        }
        Step::Remove { slot } => {
            may_be_missing(unlink(Name::kept(slot).get()));
            sync_names();
        }
        Step::Other { number: other, len, sync } => {
            let fd = open(Name::other(other).get(), MADE | flags::TRUNC).expect("a file");
            write(&fd, buffer, number, 0, len);
            if sync {
                fd.sync().expect("a disk that works");
            }
        }
        Step::RemoveOther { number } => may_be_missing(unlink(Name::other(number).get())),
    }
}

fn sync_names() {
    let dir = open(DIRS[0], flags::RDONLY | flags::DIRECTORY).expect("a directory");
    dir.sync().expect("a disk that works");
}

fn write(fd: &Fd, buffer: &mut [u8], number: u32, at: u32, len: u32) {
    let bytes = &mut buffer[..len as usize];
    fill(bytes, number);
    assert_eq!(fd.write_at(bytes, at.into()), Ok(bytes.len()));
}

/// What is not there is not the program's fault.
fn may_be_missing(done: Result<(), Errno>) {
    assert!(done.is_ok() || done == Err(ENOENT), "{done:?}");
}
