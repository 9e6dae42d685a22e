//! Files on a disk that fails their writes, or is full: who learns of it, how often, and that memory
//! does not fill with what cannot be written.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `percent=` | 1 or more | pages written to a failing disk, in percent of RAM (200) |
//!
//! `--files` 16M unless it is given.
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::pages::{PAGE_SIZE, Pages};
use programs::sys::files::{Fd, How, WAIT_FOR_RANGE, WRITE_RANGE, flags, msync, open, unlink};
use programs::sys::{self, Knob};
use programs::task::{End, SIGBUS, join, start};
use programs::{Machine, println};

programs::entry!(fileerrors);

const PAGE: u64 = PAGE_SIZE as u64;
const PATH: &CStr = c"/disk/file";
const OTHER: &CStr = c"/disk/other";
const ANEW: usize = flags::RDWR | flags::CREAT | flags::TRUNC;

fn fileerrors(args: &Args) -> i32 {
    each_description_reports_once();
    println!("fileerrors: each description reported each error once");
    a_mapping_reports_once();
    println!("fileerrors: a mapping reported its error once");
    let pages = Machine::new().ram * args.number("percent", 200) / 100;
    memory_stays_free(pages);
    println!("fileerrors: {pages} pages went to a disk that fails");
    a_full_disk_is_found_at_the_store();
    println!("fileerrors: everything was as it must be");
    0
}

fn fail_writes(all: bool) {
    sys::turn_knob(Knob::FailWrite, u32::from(all)).expect("a disk with a knob");
}

/// DIRT-03: by `fsync` and `sync_file_range`; what nobody saw is the next opener's.
fn each_description_reports_once() {
    let of = |flags| open(PATH, flags).expect("a file");
    let (first, second, third) = (of(ANEW), of(flags::RDWR), of(flags::RDWR));
    let mut text = [0; 4];
    fail_writes(true);
    first.write_at(b"lost", 0).expect("room");
    assert_eq!((first.sync(), first.sync()), (Err(sys::EIO), Ok(())));
    assert_eq!((first.read_at(&mut text, 0), &text), (Ok(4), b"lost"), "clean, and readable");
    // Nothing is dirty: the others only learn what was.
    let range = |how| second.sync_range(0, 1, how);
    assert_eq!(range(WRITE_RANGE), Ok(()), "who does not wait does not learn it");
    assert_eq!((range(WAIT_FOR_RANGE), second.sync()), (Err(sys::EIO), Ok(())));
    assert_eq!(range(8), Err(sys::EINVAL));
    let late = of(flags::RDWR);
    assert_eq!(late.sync(), Ok(()), "it was seen before that was opened");
    // Nobody asks, and all descriptions but one are closed.
    late.write_at(b"lost again", 0).expect("room");
    sys::files::sync();
    let opener = of(flags::RDWR);
    fail_writes(false);
    assert_eq!((opener.sync(), opener.sync()), (Err(sys::EIO), Ok(())));
    assert_eq!((third.sync(), third.sync()), (Err(sys::EIO), Ok(())), "two errors, one report");
    late.write_at(b"kept", 0).expect("room");
    assert_eq!((late.sync(), late.sync()), (Err(sys::EIO), Ok(())), "the one of before");
    late.advise(0, 0, 4).expect("POSIX_FADV_DONTNEED");
    assert_eq!((late.read_at(&mut text, 0), &text), (Ok(4), b"kept"));
    unlink(PATH).expect("its name");
}

/// DIRT-03: by `msync`, of a part of the mapping.
fn a_mapping_reports_once() {
    let fd = open(PATH, ANEW).expect("a file");
    fd.truncate(8 * PAGE).expect("a longer file");
    let mut pages = Pages::of_file(&fd, How::Shared, 0, 8).expect("a mapping");
    pages.write_all(1);
    fail_writes(true);
    let (at, _) = pages.page_span(2);
    assert_eq!(msync(at, PAGE_SIZE), Err(sys::EIO));
    assert_eq!(msync(at, PAGE_SIZE), Ok(()), "nothing of it is dirty, and it was reported");
    fail_writes(false);
    let (at, bytes) = pages.span();
    assert_eq!(msync(at, bytes), Ok(()));
    assert_eq!(fd.sync(), Err(sys::EIO), "that is another description");
    unlink(PATH).expect("its name");
}

/// A disk that fails every write takes whatever is written to it, and memory stays free; a program's
/// own pages come to no harm.
fn memory_stays_free(count: usize) {
    let mut own = Pages::map(256);
    own.write_all(1);
    let fd = open(PATH, ANEW).expect("a file");
    fail_writes(true);
    let mut buffer = Pages::map(8);
    // The disk has room for fewer pages than that.
    for first in (0..count).step_by(8) {
        let place = (first % 2048) as u64 * PAGE;
        buffer.write_all(first as u64);
        assert_eq!(fd.write_at(buffer.bytes_mut(0, 8), place), Ok(8 * PAGE_SIZE));
    }
    assert_eq!(fd.sync(), Err(sys::EIO));
    fail_writes(false);
    assert!(own.check_all(1).is_ok(), "the pages of the program itself");
    unlink(PATH).expect("its name");
}

/// DIRT-03: `ENOSPC` at the write, SIGBUS at the store to a mapping, and no error when it is written.
fn a_full_disk_is_found_at_the_store() {
    let (fd, other) = (open(PATH, ANEW).expect("a file"), open(OTHER, ANEW).expect("a file"));
    other.truncate(PAGE).expect("a longer file, without a block");
    let mut hole = Pages::of_file(&other, How::Shared, 0, 1).expect("a mapping");
    let written = fill(&fd);
    assert_eq!(fd.write_at(&[1], written), Err(sys::ENOSPC));
    let child = start(|| {
        hole.write(0, 1);
        0
    });
    assert_eq!(join(child), End::Signal(SIGBUS));
    assert_eq!((fd.sync(), other.sync()), (Ok(()), Ok(())), "all of it has room");
    // A block that is free again is there for the store.
    fd.truncate(PAGE).expect("a shorter file");
    hole.write(0, 2);
    assert_eq!(other.sync(), Ok(()));
    unlink(PATH).expect("its name");
    unlink(OTHER).expect("its name");
}

/// Writes as long as there is room; the bytes.
fn fill(fd: &Fd) -> u64 {
    let mut buffer = Pages::map(8);
    buffer.write_all(1);
    let mut written = 0;
    while let Ok(bytes) = fd.write_at(buffer.bytes_mut(0, 8), written) {
        written += bytes as u64;
    }
    assert!(written > 0, "the disk has some room");
    written
}
