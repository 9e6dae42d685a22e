//! Calls on files at their borders: holes, ends of memory, tables that are full, and what is refused.
//!
//! `--files` 16M unless it is given.
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::pages::{PAGE_SIZE, Pages};
use programs::println;
use programs::sys::files::{Fd, How, flags, memfd, open, unlink};
use programs::sys::{self, call, number};
use programs::task::{End, SIGSEGV, join, start};

programs::entry!(fileedges);

const PAGE: u64 = PAGE_SIZE as u64;
const PATH: &CStr = c"/disk/edges";
const ANEW: usize = flags::RDWR | flags::CREAT | flags::TRUNC;
const DONTNEED: usize = 4;
const WILLNEED: usize = 3;

fn fileedges(_: &Args) -> i32 {
    let all: [(&str, fn()); 8] = [
        ("advice on memory", advice),
        ("a table of pieces that is full", pieces),
        ("a table of descriptors that is full", descriptors),
        ("a buffer that ends", buffers),
        ("advice that covers a part", partly),
        ("a populated hole", populated),
        ("rights up to a hole", rights),
        ("what is refused", refused),
    ];
    for (what, test) in all {
        test();
        println!("fileedges: {what}");
    }
    println!("fileedges: everything was as it must be");
    0
}

fn new_file() -> Fd {
    open(PATH, ANEW).expect("a file")
}

fn done() {
    unlink(PATH).expect("its name");
}

/// SHM-01: nothing of a file comes into memory that has none.
fn advice() {
    let secret = new_file();
    secret.write_at(&[115; PAGE_SIZE], 0).expect("room");
    let fd = memfd().expect("a file");
    fd.truncate(4 * PAGE).expect("a longer file");
    fd.read_ahead(0, 4 * PAGE).expect("advice");
    fd.advise(0, 0, WILLNEED).expect("advice");
    let mut bytes = [1; 16];
    assert_eq!((fd.read_at(&mut bytes, PAGE), bytes), (Ok(16), [0; 16]));
    let pages = Pages::shared(4).expect("shared memory");
    let (at, len) = pages.span();
    // SAFETY: advice to read changes nothing.
    unsafe { call(number::MADVISE, [at as usize, len, WILLNEED, 0, 0, 0]) }.expect("advice");
    assert!((0..4).all(|page| pages.check_zero(page).is_ok()));
    done();
}

/// FILE-05: a hole reads as zeroes, though there is no room to note it.
fn pieces() {
    let fd = new_file();
    let mut page = 0;
    while fd.write_at(&[0x55; PAGE_SIZE], page * PAGE).is_ok() {
        page += if page < 2 { 1 } else { 2 };
    }
    assert!(page > 100, "some pieces have room");
    fd.sync().expect("a disk that works");
    fd.punch_hole(PAGE, PAGE).expect("a hole");
    fd.advise(0, 0, DONTNEED).expect("advice");
    let mut byte = [1];
    for (at, want) in [(0, 0x55), (PAGE, 0), (2 * PAGE - 1, 0), (2 * PAGE, 0x55)] {
        assert_eq!((fd.read_at(&mut byte, at), byte), (Ok(1), [want]), "at {at}");
    }
    done();
}

/// Who gets no descriptor makes and cuts nothing.
fn descriptors() {
    let first = new_file();
    first.truncate(PAGE).expect("a longer file");
    let mut more: [Option<Fd>; 32] = [const { None }; 32];
    let full = more.iter_mut().find_map(|slot| match open(PATH, flags::RDWR) {
        Ok(fd) => {
            *slot = Some(fd);
            None
        }
        Err(error) => Some(error),
    });
    assert_eq!(full, Some(sys::EMFILE));
    assert_eq!(open(PATH, ANEW).err(), Some(sys::EMFILE));
    assert_eq!(open(c"/disk/another", ANEW).err(), Some(sys::EMFILE));
    assert_eq!(first.size(), Ok(PAGE));
    drop(more);
    assert_eq!(unlink(c"/disk/another"), Err(sys::ENOENT));
    // Cut, although it may not be written: as in Linux.
    drop(open(PATH, flags::RDONLY | flags::TRUNC).expect("a file"));
    assert_eq!(first.size(), Ok(0));
    done();
}

/// FILE-04: what of a buffer is there is read and written.
fn buffers() {
    let fd = new_file();
    let mut pages = Pages::map(2);
    let (at, _) = pages.page_span(1);
    // SAFETY: the second page is not used again.
    unsafe { call(number::MUNMAP, [at as usize, PAGE_SIZE, 0, 0, 0, 0]) }.expect("a page");
    let last = pages.page_span(0).0 as usize + PAGE_SIZE - 100;
    pages.bytes_mut(0, 1)[PAGE_SIZE - 100..].fill(7);
    for place in [0, 50, 3 * PAGE as usize - 50] {
        let args = [fd.0, last, PAGE_SIZE, place, 0, 0];
        // SAFETY: the buffer is only read.
        assert_eq!(unsafe { call(number::PWRITE64, args) }, Ok(100), "at {place}");
    }
    pages.bytes_mut(0, 1)[PAGE_SIZE - 100..].fill(0);
    // SAFETY: of the buffer, what is there is this program's.
    let read = unsafe { call(number::PREAD64, [fd.0, last, PAGE_SIZE, 0, 0, 0]) };
    assert_eq!(read, Ok(100));
    assert!(pages.bytes_mut(0, 1)[PAGE_SIZE - 100..].iter().all(|byte| *byte == 7));
    // SAFETY: nothing is there.
    let read = unsafe { call(number::PREAD64, [fd.0, at as usize, PAGE_SIZE, 0, 0, 0]) };
    assert_eq!(read, Err(sys::EFAULT));
    done();
}

/// A page that advice covers in part stays; the last of the file is covered with its end.
fn partly() {
    let fd = new_file();
    fd.write_at(&[1; 2 * PAGE_SIZE + 10], 0).expect("room");
    fd.sync().expect("a disk that works");
    let pages = Pages::of_file(&fd, How::SharedToRead, 0, 3).expect("a mapping");
    let resident = || {
        let mut bytes = [0; 3];
        sys::mincore(pages.span().0, &mut bytes).expect("a mapping");
        bytes
    };
    fd.advise(100, PAGE, DONTNEED).expect("advice");
    assert_eq!(resident(), [1, 1, 1]);
    fd.advise(PAGE, 0, DONTNEED).expect("advice");
    assert_eq!(resident(), [1, 0, 0]);
    // What is in swap is not resident, whatever the file has.
    fd.read_at(&mut [0; 16], 0).expect("a page");
    let mut private = Pages::of_file(&fd, How::Private, 0, 1).expect("a mapping");
    private.write(0, 1);
    let (at, len) = private.span();
    sys::page_out(at, len).expect("ordinary memory");
    let mut byte = [1];
    sys::mincore(at, &mut byte).expect("a mapping");
    let is_cached = byte == [1];
    assert!(private.check(0, 1).is_ok() && (!is_cached || resident()[0] == 1));
    done();
}

/// Population of a shared mapping gives a hole no blocks.
fn populated() {
    const POPULATED: usize = 1 | 0x8000;
    let fd = new_file();
    fd.truncate(8192 * PAGE).expect("a longer file, longer than the disk");
    let args = [0, 4096 * PAGE_SIZE, 3, POPULATED, fd.0, 0];
    // SAFETY: without a fixed address a new mapping takes no memory that is in use.
    let at = unsafe { call(number::MMAP, args) }.expect("a mapping");
    let other = open(c"/disk/other", ANEW).expect("a file");
    for page in 0..64 {
        assert_eq!(other.write_at(&[1; PAGE_SIZE], page * PAGE), Ok(PAGE_SIZE), "page {page}");
    }
    // SAFETY: the mapping is not used.
    unsafe { call(number::MUNMAP, [at, 4096 * PAGE_SIZE, 0, 0, 0, 0]) }.expect("a mapping");
    unlink(c"/disk/other").expect("its name");
    done();
}

/// What lies before a hole loses its rights, and the hole is reported.
fn rights() {
    let mut pages = Pages::map(3);
    pages.write_all(1);
    let (second, _) = pages.page_span(1);
    // SAFETY: the page is not used again.
    unsafe { call(number::MUNMAP, [second as usize, PAGE_SIZE, 0, 0, 0, 0]) }.expect("a page");
    let (at, len) = (pages.span().0 as usize, 3 * PAGE_SIZE);
    // SAFETY: the program stores to none of them but in a child.
    assert_eq!(unsafe { call(number::MPROTECT, [at, len, 1, 0, 0, 0]) }, Err(sys::ENOMEM));
    for (page, end) in [(0, End::Signal(SIGSEGV)), (2, End::Status(0))] {
        let child = start(|| {
            pages.write(page, 2);
            0
        });
        assert_eq!(join(child), end, "page {page}");
    }
    assert!(pages.check(0, 1).is_ok() && pages.check(2, 1).is_ok());
    core::mem::forget(pages);
}

/// In Linux's order: the descriptor first, then the arguments.
fn refused() {
    let fd = new_file();
    let bad = Fd(77);
    let at = |fd: &Fd, number, [a, b, c]: [usize; 3]| {
        // SAFETY: no memory of this program is involved.
        unsafe { call(number, [fd.0, a, b, c, 0, 0]) }
    };
    for (number, args) in [
        (number::FADVISE64, [0, 0, 17]),
        (number::FALLOCATE, [3, 0, 0]),
        (number::SYNC_FILE_RANGE, [0, 0, 8]),
    ] {
        assert_eq!(at(&bad, number, args), Err(sys::EBADF), "call {number}");
        assert!(at(&fd, number, args).is_err(), "call {number}");
    }
    assert_eq!(at(&fd, number::FADVISE64, [0, usize::MAX, 2]), Err(sys::EINVAL));
    fd.write_at(&[1; 10], 0).expect("room");
    let seek = |offset, whence| at(&fd, number::LSEEK, [offset, whence, 0]);
    let (data, hole) = (3, 4);
    assert_eq!((seek(3, data), seek(3, hole)), (Ok(3), Ok(10)));
    assert_eq!((seek(10, data), seek(10, hole)), (Err(sys::ENXIO), Err(sys::ENXIO)));
    assert_eq!(at(&Fd(fd.0 | 1 << 32), number::FSYNC, [0; 3]), Ok(0), "an `int`");
    core::mem::forget(bad);
    const DIRECTORY: usize = 0o40000;
    assert_eq!(open(PATH, DIRECTORY).err(), Some(sys::ENOTDIR));
    // SAFETY: nothing is mapped there.
    let unmap = |at: usize| unsafe { call(number::MUNMAP, [at, PAGE_SIZE, 0, 0, 0, 0]) };
    assert_eq!((unmap(0), unmap(1)), (Ok(0), Err(sys::EINVAL)));
    // SAFETY: an empty range changes nothing.
    assert_eq!(unsafe { call(number::MPROTECT, [PAGE_SIZE, 0, 64, 0, 0, 0]) }, Ok(0));
    done();
}
