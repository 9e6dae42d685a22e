//! Four writers fill the file system at /mnt, several times: `write` fails with `ENOSPC`, a store to a
//! mapping with a bus error, and nothing that was accepted is lost.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `rounds=` | 1 or more | how often it is filled (3) |
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::pages::{Damage, PAGE_SIZE, Pages};
use programs::println;
use programs::sys;
use programs::sys::files::{Fd, How, flags, open, sync, unlink};
use programs::task::{End, SIGBUS, join, join_each, start};

programs::entry!(fullfs);

const PATHS: [&CStr; 4] = [c"/mnt/w0", c"/mnt/w1", c"/mnt/w2", c"/mnt/w3"];
const ANEW: usize = flags::RDWR | flags::CREAT | flags::TRUNC;
const DONTNEED: usize = 4;

fn fullfs(args: &Args) -> i32 {
    let top = || open(c"/mnt", flags::RDONLY | flags::DIRECTORY).expect("a file system");
    let before = top().free();
    for round in 0..args.number("rounds", 3) {
        let children = [0, 1, 2, 3].map(|task| start(|| fill(task, round as u64)));
        assert_eq!(join_each(children), [End::Status(0); 4]);
        a_store_to_a_hole_is_a_bus_error();
        assert_eq!(top().free().map(|free| free.0), Ok(0), "it is full");
        PATHS.into_iter().for_each(|path| unlink(path).expect("its name"));
        sync();
        assert_eq!(top().free(), before, "all of it is free again");
        println!("fullfs: round {round}");
    }
    println!("fullfs: everything was as it must be");
    0
}

/// Writes until there is no room, and checks what was accepted. Two write
/// several pages at once, and two single ones.
fn fill(task: usize, version: u64) -> i32 {
    let fd = open(PATHS[task], ANEW).expect("an inode");
    let mut buffer = Pages::map(4);
    let mut count = 0;
    loop {
        let pages = if task < 2 { 4 } else { 1 };
        (0..pages).for_each(|at| buffer.write_as(at, count + at, version));
        let at = (count * PAGE_SIZE) as u64;
        match fd.write_at(buffer.bytes_mut(0, pages), at) {
            Ok(bytes) if bytes == pages * PAGE_SIZE => count += pages,
            Ok(bytes) => count += bytes / PAGE_SIZE,
            Err(error) => {
                assert_eq!(error, sys::ENOSPC);
                break;
            }
        }
    }
    assert_eq!(fd.sync(), Ok(()), "all of it has room");
    check(&fd, count, version).map_or_else(Damage::report, |()| 0)
}

fn check(fd: &Fd, count: usize, version: u64) -> Result<(), Damage> {
    fd.advise(0, 0, DONTNEED).expect("POSIX_FADV_DONTNEED");
    let mut buffer = Pages::map(1);
    for page in 0..count {
        let read = fd.read_at(buffer.bytes_mut(0, 1), (page * PAGE_SIZE) as u64);
        assert_eq!(read, Ok(PAGE_SIZE), "page {page}");
        buffer.check_as(0, page, version)?;
    }
    Ok(())
}

/// DIRT-03: the block is reserved at the store.
fn a_store_to_a_hole_is_a_bus_error() {
    let fd = open(PATHS[0], flags::RDWR).expect("a file");
    let size = fd.size().expect("a size");
    let first = size.next_multiple_of(PAGE_SIZE as u64);
    fd.truncate(first + 2 * PAGE_SIZE as u64).expect("a longer file");
    let first = first as usize / PAGE_SIZE;
    let mut hole = Pages::of_file(&fd, How::Shared, first, 2).expect("a mapping");
    let child = start(|| {
        hole.write(1, 1);
        0
    });
    assert_eq!(join(child), End::Signal(SIGBUS));
    assert_eq!(hole.check_zero(1), Ok(()), "it can be read");
    assert_eq!(fd.sync(), Ok(()), "nothing was accepted");
}
