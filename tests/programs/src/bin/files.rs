//! Files through every call that reaches them: in memory and, with `--files`, on the disk.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 16 or more | pages of each file (512) |
//!
//! `--files` 16M unless it is given.
#![no_std]
#![no_main]

use core::ffi::CStr;

use programs::args::Args;
use programs::pages::{Damage, PAGE_SIZE, Pages};
use programs::sys::files::{Fd, How, flags, memfd, msync, open, sync, unlink};
use programs::task::{End, SIGBUS, SIGSEGV, join, join_each, start};
use programs::{println, sys};

programs::entry!(files);

const PAGE: u64 = PAGE_SIZE as u64;

/// What is done in a place, with files of so many pages.
type Test = fn(&Place, usize) -> Result<(), Damage>;

fn files(args: &Args) -> i32 {
    let count = args.number("pages", 512);
    let all: [(&str, Test); 9] = [
        ("names", names),
        ("read and write", read_and_write),
        ("shared and private mappings", mappings),
        ("truncation and holes", truncation),
        ("an access behind the end", behind_the_end),
        ("writing a mapped page to itself", to_itself),
        ("forked tasks", forked),
        ("one position for several tasks", one_position),
        ("rights", rights),
    ];
    for place in [&PLACES[0], &PLACES[1]] {
        for (what, test) in all {
            if let Err(damage) = test(place, count) {
                println!("files: {} in {}", what, place.what);
                return damage.report();
            }
            println!("files: {} in {}", what, place.what);
        }
    }
    nameless(count).map_or_else(Damage::report, |()| {
        println!("files: everything was as it must be");
        0
    })
}

struct Place {
    what: &'static str,
    path: &'static CStr,
}

const PLACES: [Place; 2] =
    [Place { what: "memory", path: c"/tmp/file" }, Place { what: "disk", path: c"/disk/file" }];

const ANEW: usize = flags::RDWR | flags::CREAT | flags::TRUNC;

fn names(place: &Place, _: usize) -> Result<(), Damage> {
    let path = place.path;
    assert_eq!(open(path, flags::RDONLY).err(), Some(sys::ENOENT));
    let fd = open(path, ANEW | flags::EXCL).expect("a new file");
    assert_eq!(open(path, ANEW | flags::EXCL).err(), Some(sys::EEXIST));
    assert_eq!(fd.write(b"some text"), Ok(9));
    let other = open(path, flags::RDWR | flags::APPEND).expect("the same file");
    assert_eq!(other.write(b", and more"), Ok(10));
    let mut text = [0; 32];
    assert_eq!(fd.read_at(&mut text, 5), Ok(14));
    assert_eq!(&text[..14], b"text, and more");
    assert_eq!((fd.read(&mut text), &text[..10]), (Ok(10), &b", and more"[..]));
    // A file without a name lives as long as somebody uses it.
    assert_eq!((unlink(path), unlink(path)), (Ok(()), Err(sys::ENOENT)));
    assert_eq!((fd.size(), fd.read_at(&mut text, 19)), (Ok(19), Ok(0)));
    let new = open(path, ANEW).expect("another file of that name");
    assert_eq!(new.size(), Ok(0));
    drop(new);
    unlink(path).expect("its name");
    Ok(())
}

/// Writes pages `first..` of a file through a buffer.
fn fill(fd: &Fd, buffer: &mut Pages, count: usize, version: u64) {
    let size = buffer.count();
    for first in (0..count).step_by(size) {
        let part = size.min(count - first);
        for at in 0..part {
            buffer.write_as(at, first + at, version);
        }
        let written = fd.write_at(buffer.bytes_mut(0, part), first as u64 * PAGE);
        assert_eq!(written, Ok(part * PAGE_SIZE), "at page {first}");
    }
}

/// Checks all pages of a file by `pread`.
fn check(fd: &Fd, buffer: &mut Pages, count: usize, version: u64) -> Result<(), Damage> {
    let size = buffer.count();
    for first in (0..count).step_by(size) {
        let part = size.min(count - first);
        let read = fd.read_at(buffer.bytes_mut(0, part), first as u64 * PAGE);
        assert_eq!(read, Ok(part * PAGE_SIZE), "at page {first}");
        (0..part).try_for_each(|at| buffer.check_as(at, first + at, version))?;
    }
    Ok(())
}

fn read_and_write(place: &Place, count: usize) -> Result<(), Damage> {
    let fd = open(place.path, ANEW).expect("a file");
    let mut buffer = Pages::map(7);
    fill(&fd, &mut buffer, count, 1);
    check(&fd, &mut buffer, count, 1)?;
    fd.sync().expect("a disk that works");
    fd.advise(0, 0, 4).expect("POSIX_FADV_DONTNEED");
    fd.read_ahead(0, count as u64 * PAGE).expect("a file that is read");
    check(&fd, &mut buffer, count, 1)?;
    // Two bytes across the end of a page.
    assert_eq!(fd.write_at(&[1, 2], PAGE - 1), Ok(2));
    let mut bytes = [0; 2];
    assert_eq!((fd.read_at(&mut bytes, PAGE - 1), bytes), (Ok(2), [1, 2]));
    assert_eq!(fd.size(), Ok(count as u64 * PAGE));
    // What cannot be done.
    assert_eq!(fd.write_at(&[0; 2], 1 << 63), Err(sys::EINVAL));
    assert_eq!(fd.advise(0, 0, 17), Err(sys::EINVAL));
    sync();
    unlink(place.path).expect("its name");
    Ok(())
}

fn mappings(place: &Place, count: usize) -> Result<(), Damage> {
    let fd = open(place.path, ANEW).expect("a file");
    let mut buffer = Pages::map(8);
    fill(&fd, &mut buffer, count, 1);
    let mut shared = Pages::of_file(&fd, How::Shared, 0, count).expect("a mapping");
    let mut private = Pages::of_file(&fd, How::Private, 0, count).expect("a mapping");
    shared.check_all(1)?;
    private.check_all(1)?;
    // A store to a private mapping stays there; one to a shared mapping is in the file.
    for page in (0..count).step_by(3) {
        private.write(page, 2);
    }
    check(&fd, &mut buffer, count, 1)?;
    shared.write_all(3);
    let (at, bytes) = shared.span();
    msync(at, bytes).expect("a disk that works");
    fd.advise(0, 0, 4).expect("POSIX_FADV_DONTNEED");
    check(&fd, &mut buffer, count, 3)?;
    for page in 0..count {
        private.check(page, if page % 3 == 0 { 2 } else { 3 })?;
    }
    // What is written to the file is in the mapping.
    fill(&fd, &mut buffer, count, 4);
    shared.check_all(4)?;
    // The mapping keeps the file, with neither name nor descriptor.
    unlink(place.path).expect("its name");
    drop(fd);
    shared.write_all(5);
    shared.check_all(5)
}

fn truncation(place: &Place, count: usize) -> Result<(), Damage> {
    let fd = open(place.path, ANEW).expect("a file");
    let mut buffer = Pages::map(8);
    fill(&fd, &mut buffer, count, 1);
    let mut half = Pages::of_file(&fd, How::Shared, 0, count / 2).expect("a mapping");
    half.check_all(1)?;
    // What is cut off is zero when the file grows again, within the last page, too.
    let cut = count as u64 / 4 * PAGE + 100;
    fd.truncate(cut).expect("a shorter file");
    fd.truncate(count as u64 * PAGE).expect("a longer file");
    let first = (cut / PAGE) as usize;
    (0..first).try_for_each(|page| half.check(page, 1))?;
    assert!(half.bytes_mut(first, 1)[100..].iter().all(|byte| *byte == 0));
    assert!(half.bytes_mut(first, 1)[..100].iter().any(|byte| *byte != 0));
    (first + 1..count / 2).try_for_each(|page| half.check_zero(page))?;
    // A hole in the middle.
    fill(&fd, &mut buffer, count, 2);
    half.check_all(2)?;
    fd.punch_hole(2 * PAGE, 3 * PAGE).expect("a hole");
    for page in 0..count / 2 {
        if (2..5).contains(&page) { half.check_zero(page)? } else { half.check(page, 2)? }
    }
    assert_eq!(fd.size(), Ok(count as u64 * PAGE));
    unlink(place.path).expect("its name");
    Ok(())
}

/// FILE-02: an access to a page behind the end is a bus error, also if the file was longer.
fn behind_the_end(place: &Place, _: usize) -> Result<(), Damage> {
    let fd = open(place.path, ANEW).expect("a file");
    fd.truncate(3 * PAGE).expect("a longer file");
    let mut pages = Pages::of_file(&fd, How::Shared, 0, 4).expect("a mapping");
    pages.write(1, 1);
    pages.check_zero(2)?;
    fd.truncate(2 * PAGE).expect("a shorter file");
    pages.check(1, 1)?;
    for page in 2..4 {
        let child = start(|| i32::from(pages.check_zero(page).is_ok()));
        assert_eq!(join(child), End::Signal(SIGBUS), "page {page}");
    }
    unlink(place.path).expect("its name");
    Ok(())
}

/// FILE-04: `write` from a mapping of the very page that it writes.
fn to_itself(place: &Place, count: usize) -> Result<(), Damage> {
    let fd = open(place.path, ANEW).expect("a file");
    let mut buffer = Pages::map(8);
    fill(&fd, &mut buffer, count, 1);
    fd.sync().expect("a disk that works");
    for round in 0..8 {
        fd.advise(0, 0, 4).expect("POSIX_FADV_DONTNEED");
        // The pages are in no table yet, and perhaps not in memory.
        let mut pages = Pages::of_file(&fd, How::Shared, 0, count).expect("a mapping");
        let at = round * 2;
        let written = fd.write_at(pages.bytes_mut(at, 2), at as u64 * PAGE);
        assert_eq!(written, Ok(2 * PAGE_SIZE));
        pages.check_all(1)?;
    }
    unlink(place.path).expect("its name");
    Ok(())
}

/// Open descriptions and shared mappings are the child's as well, private ones a copy.
fn forked(place: &Place, count: usize) -> Result<(), Damage> {
    let fd = open(place.path, ANEW).expect("a file");
    fill(&fd, &mut Pages::map(8), count, 1);
    let mut shared = Pages::of_file(&fd, How::Shared, 0, count).expect("a mapping");
    let mut private = Pages::of_file(&fd, How::Private, 0, count).expect("a mapping");
    let mut common = Pages::shared(count).expect("shared memory");
    for page in (0..count).step_by(2) {
        private.write(page, 2);
    }
    fd.seek(0).expect("a place");
    let child = start(|| {
        let found = shared.check_all(1).and_then(|()| {
            (0..count).try_for_each(|page| private.check(page, if page % 2 == 0 { 2 } else { 1 }))
        });
        shared.write_all(3);
        private.write_all(4);
        common.write_all(5);
        let moved = fd.seek(8 * PAGE);
        found.map_or_else(Damage::report, |()| i32::from(moved.is_err()))
    });
    assert_eq!(join(child), End::Status(0));
    shared.check_all(3)?;
    common.check_all(5)?;
    for page in 0..count {
        private.check(page, if page % 2 == 0 { 2 } else { 3 })?;
    }
    let mut page = Pages::map(1);
    assert_eq!(fd.read(page.bytes_mut(0, 1)), Ok(PAGE_SIZE), "the description moved");
    unlink(place.path).expect("its name");
    page.check_as(0, 8, 3)
}

/// What tasks write with a description that they share lies one behind the other, and each byte is
/// read once.
fn one_position(place: &Place, _: usize) -> Result<(), Damage> {
    const TASKS: usize = 4;
    // All together fewer than 256: one reader may find all of them, and says so by its status.
    const RECORDS: usize = 60;
    const RECORD: usize = 5000;
    let fd = open(place.path, ANEW).expect("a file");
    let writers: [_; TASKS] = core::array::from_fn(|task| {
        start(|| {
            let record = [task as u8 + 1; RECORD];
            i32::from((0..RECORDS).any(|_| fd.write(&record) != Ok(RECORD)))
        })
    });
    assert_eq!(join_each(writers), [End::Status(0); TASKS]);
    assert_eq!(fd.size(), Ok((TASKS * RECORDS * RECORD) as u64));
    fd.seek(0).expect("a place");
    let readers: [_; TASKS] = core::array::from_fn(|_| {
        start(|| {
            let mut record = [0; RECORD];
            let mut found = 0;
            while fd.read(&mut record) == Ok(RECORD) {
                assert!(record.iter().all(|byte| *byte == record[0] && *byte > 0));
                found += 1;
            }
            found
        })
    });
    let found = join_each(readers).map(|end| if let End::Status(found) = end { found } else { 0 });
    assert_eq!(found.iter().sum::<u32>(), (TASKS * RECORDS) as u32, "records in {found:?}");
    unlink(place.path).expect("its name");
    Ok(())
}

fn rights(place: &Place, _: usize) -> Result<(), Damage> {
    let fd = open(place.path, ANEW).expect("a file");
    fd.truncate(PAGE).expect("a longer file");
    let reader = open(place.path, flags::RDONLY).expect("the same file");
    let writer = open(place.path, flags::WRONLY).expect("the same file");
    assert_eq!(reader.write(&[1]), Err(sys::EBADF));
    assert_eq!(writer.read(&mut [1]), Err(sys::EBADF));
    assert_eq!(reader.truncate(0), Err(sys::EINVAL));
    assert_eq!(reader.map(How::Shared, PAGE_SIZE, 0), Err(sys::EACCES));
    assert_eq!(writer.map(How::Shared, PAGE_SIZE, 0), Err(sys::EACCES));
    assert_eq!(fd.map(How::Shared, PAGE_SIZE, 1), Err(sys::EINVAL));
    let mut private = Pages::of_file(&reader, How::Private, 0, 1).expect("a mapping");
    private.write(0, 1);
    let mut shared = Pages::of_file(&reader, How::SharedToRead, 0, 1).expect("a mapping");
    let child = start(|| {
        shared.write(0, 1);
        0
    });
    assert_eq!(join(child), End::Signal(SIGSEGV), "a store to what is only read");
    let bad = Fd(77);
    assert_eq!((bad.read(&mut [0]), bad.sync()), (Err(sys::EBADF), Err(sys::EBADF)));
    unlink(place.path).expect("its name");
    shared.check_zero(0)
}

/// SHM-01: `memfd_create`.
fn nameless(count: usize) -> Result<(), Damage> {
    let fd = memfd().expect("a file");
    fill(&fd, &mut Pages::map(8), count, 1);
    let mut pages = Pages::of_file(&fd, How::Shared, 0, count).expect("a mapping");
    drop(fd);
    pages.check_all(1)?;
    pages.write_all(2);
    pages.check_all(2)
}
