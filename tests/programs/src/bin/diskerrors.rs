//! Files at /mnt on a disk that cannot transfer some contents: who learns of it, and how often.
//!
//! The disk is the host's ([`treeops::poison`]): a program decides by what it writes which request
//! fails. Everything else works, so that each error is known.
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::pages::{PAGE_SIZE, Pages};
use programs::println;
use programs::sys::files::{
    Fd, How, WAIT_FOR_RANGE, WRITE_RANGE, flags, msync, open, sync, unlink,
};
use programs::sys::{self, Errno};
use programs::task::{End, SIGBUS, join, start};
use treeops::poison;

programs::entry!(diskerrors);

const PATH: &CStr = c"/mnt/file";
const ANEW: usize = flags::RDWR | flags::CREAT | flags::TRUNC;
const PAGE: u64 = PAGE_SIZE as u64;
const DONTNEED: usize = 4;
const FAILED: Result<(), Errno> = Err(sys::EIO);

fn diskerrors(_: &Args) -> i32 {
    each_description_reports_once();
    println!("diskerrors: each description reported each error once");
    a_mapping_reports_once();
    println!("diskerrors: a mapping reported its error once");
    a_page_that_cannot_be_read();
    println!("diskerrors: a page that cannot be read is one");
    println!("diskerrors: everything was as it must be");
    0
}

fn file(flags: usize) -> Fd {
    open(PATH, flags).expect("a file")
}

/// Writes the start of a page.
fn write(fd: &Fd, bytes: &[u8], page: u64) {
    assert_eq!(fd.write_at(bytes, page * PAGE), Ok(bytes.len()));
}

fn read(fd: &Fd, page: u64) -> Result<[u8; 8], Errno> {
    let mut bytes = [0; 8];
    fd.read_at(&mut bytes, page * PAGE).map(|_| bytes)
}

/// The pages of the file leave memory, as far as they are on the disk.
fn forget(fd: &Fd) {
    fd.advise(0, 0, DONTNEED).expect("POSIX_FADV_DONTNEED");
}

/// DIRT-03: by `fsync` and `sync_file_range`; what nobody saw is the next opener's.
fn each_description_reports_once() {
    let (first, second, third) = (file(ANEW), file(flags::RDWR), file(flags::RDWR));
    write(&first, &[b'0'; PAGE_SIZE], 0);
    write(&first, &[b'1'; PAGE_SIZE], 1);
    assert_eq!(first.sync(), Ok(()));
    write(&first, &poison::WRITE, 0);
    assert_eq!((first.sync(), first.sync()), (FAILED, Ok(())));
    assert_eq!(read(&first, 0), Ok(poison::WRITE), "clean, and readable");
    let range = |how| second.sync_range(0, 1, how);
    assert_eq!(range(WRITE_RANGE), Ok(()), "who does not wait does not learn it");
    assert_eq!((range(WAIT_FOR_RANGE), second.sync()), (FAILED, Ok(())));
    let late = file(flags::RDWR);
    assert_eq!(late.sync(), Ok(()), "it was seen before that was opened");
    // What failed is clean: it goes, and what was there before comes back.
    forget(&first);
    assert_eq!(read(&first, 0), Ok([b'0'; 8]));
    // Nobody asks.
    write(&late, &poison::WRITE, 1);
    sync();
    let opener = file(flags::RDWR);
    assert_eq!((opener.sync(), opener.sync()), (FAILED, Ok(())));
    assert_eq!((third.sync(), third.sync()), (FAILED, Ok(())), "two errors, one report");
    write(&late, b"is kept.", 1);
    assert_eq!((late.sync(), late.sync()), (FAILED, Ok(())), "the one of before");
    forget(&late);
    assert_eq!(read(&late, 1), Ok(*b"is kept."));
    unlink(PATH).expect("its name");
}

/// DIRT-03: by `msync`, of a part of the mapping.
fn a_mapping_reports_once() {
    let fd = file(ANEW);
    fd.truncate(8 * PAGE).expect("a longer file");
    let mut pages = Pages::of_file(&fd, How::Shared, 0, 8).expect("a mapping");
    pages.write_all(1);
    pages.page_mut(2)[0] = u64::from_le_bytes(poison::WRITE);
    // The page by itself, or its neighbours would share its fate where requests are merged.
    let ends = [3, 0].map(|first| {
        let (at, _) = pages.page_span(first);
        msync(at, if first == 0 { 2 } else { 5 } * PAGE_SIZE)
    });
    assert_eq!(ends, [Ok(()); 2]);
    let (at, _) = pages.page_span(2);
    assert_eq!(msync(at, PAGE_SIZE), FAILED);
    assert_eq!(msync(at, PAGE_SIZE), Ok(()), "nothing of it is dirty, and it was reported");
    assert_eq!((fd.sync(), fd.sync()), (FAILED, Ok(())), "that is another description");
    assert_eq!(pages.page(2)[0], u64::from_le_bytes(poison::WRITE), "readable");
    drop(pages);
    unlink(PATH).expect("its name");
}

/// It is an error of `read`, and a bus error of a mapping; its neighbours and the file live on.
fn a_page_that_cannot_be_read() {
    let fd = file(ANEW);
    for page in [0, 2, 4] {
        write(&fd, &[b'x'; PAGE_SIZE], page);
    }
    write(&fd, &poison::READ, 2);
    assert_eq!(fd.sync(), Ok(()));
    forget(&fd);
    let fds = [(); 2].map(|()| file(flags::RDONLY));
    for fd in &fds {
        // Read in an order that reads nothing ahead.
        assert_eq!(fd.advise(0, 0, 1), Ok(()), "POSIX_FADV_RANDOM");
        assert_eq!(read(fd, 4), Ok([b'x'; 8]));
        assert_eq!((read(fd, 2), read(fd, 2)), (Err(sys::EIO), Err(sys::EIO)));
        assert_eq!((read(fd, 0), read(fd, 1)), (Ok([b'x'; 8]), Ok([0; 8])));
        assert_eq!(fd.sync(), Ok(()), "nothing that was written is lost");
    }
    let pages = Pages::of_file(&fds[0], How::Private, 0, 5).expect("a mapping");
    let child = start(|| i32::from(pages.page(2)[0] == 0));
    assert_eq!(join(child), End::Signal(SIGBUS));
    assert_eq!(pages.page(4)[0], u64::from_ne_bytes([b'x'; 8]));
    // Read ahead, too, it harms only whoever wants it.
    forget(&fd);
    fd.read_ahead(0, 5 * PAGE).expect("advice");
    assert_eq!((read(&fd, 2), read(&fd, 1)), (Err(sys::EIO), Ok([0; 8])));
    // A page that is written as a whole need not be read.
    write(&fd, &[b'y'; PAGE_SIZE], 2);
    assert_eq!(fd.sync(), Ok(()));
    forget(&fd);
    assert_eq!(read(&fd, 2), Ok([b'y'; 8]));
    unlink(PATH).expect("its name");
}
