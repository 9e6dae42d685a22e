//! Virtio disks: transfers, discards, and swap that is prepared after the boot.
//!
//! `vda` is a scratch disk of 16 MiB of zeroes, which forgets what is discarded; `vdb` cannot be written.
//! `scripts/test` has the machine with them, and no other machine lists these tests.

use core::ops::Range;

use kernel::disk::{self, Part, SECTOR};
use kernel::glue;
use kernel::swap::{self as swap_devices, SwapError, Trim, Used};
use mm_reclaim::block::{Bio, Direction, IoError};
use mm_reclaim::env::{DeviceId, Env, FileStore, FrameMemory, Run, StoreError};
use mm_reclaim::file::FileKind;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::AreaFlags;
use mm_reclaim::swap::header;
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn, Vpn};
use mm_reclaim::{Place, SwapOnError};
use suite::Test;

use crate::support::{
    READ_WRITE, books, eventually, join_kernel_tasks, map, mm, own_space, spawn, with_space,
};
use crate::swap::{check, each, write};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("disks::what_is_written_is_read_back", || with_frame(round_trips))
        .only_if(has_drives),
    Test::new("disks::many_tasks_have_requests_in_flight", many_tasks).only_if(has_drives),
    Test::new("disks::parts_of_a_page_are_in_different_places", || in_space(scattered))
        .only_if(has_drives),
    Test::new("disks::what_was_discarded_is_zeroes", || with_frame(discards)).only_if(has_drives),
    Test::new("disks::what_is_not_on_a_disk_is_an_error", || with_frame(beyond))
        .only_if(has_drives),
    Test::new("disks::a_disk_that_cannot_be_written_refuses", || with_frame(read_only))
        .only_if(has_drives),
    Test::new("disks::swap_may_be_prepared_after_the_boot", || in_space(prepared))
        .only_if(has_drives),
];

fn has_drives() -> bool {
    disk::by_name(b"vda").is_some() && disk::by_name(b"vdb").is_some()
}

fn in_space(body: fn(usize) -> i32) {
    with_space(body, 0);
    books();
}

/// The disk that tests may write.
fn scratch() -> DeviceId {
    disk::by_name(b"vda").expect("a disk")
}

/// Its sectors.
const SECTORS: u64 = (16 << 20) / SECTOR as u64;

fn with_frame(body: impl FnOnce(Pfn)) {
    let frame = mm().alloc_pages(Gfp::KERNEL, Order::ZERO).expect("memory");
    body(frame);
    mm().free_pages(frame, Order::ZERO);
}

/// What each word of a sector holds: 0 in version 0.
fn word(sector: u64, version: u64) -> u64 {
    (sector ^ version << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_mul(version)
}

/// Up to eight sectors.
#[track_caller]
fn put(frame: Pfn, sectors: Range<u64>, version: u64) {
    for (sector, at) in sectors.clone().zip((0..).step_by(SECTOR)) {
        for offset in (at..at + SECTOR).step_by(8) {
            mm().env().frames().write(frame, offset, &word(sector, version).to_le_bytes());
        }
    }
    let bytes = (sectors.end - sectors.start) as usize * SECTOR;
    disk::write_sectors(scratch(), sectors.start, frame, bytes).expect("a disk that works");
}

/// They are as [`put`] has written them.
#[track_caller]
fn expect(frame: Pfn, sectors: Range<u64>, version: u64) {
    (0..PAGE_SIZE).step_by(64).for_each(|at| mm().env().frames().write(frame, at, &[0xa5; 64]));
    let bytes = (sectors.end - sectors.start) as usize * SECTOR;
    disk::read_sectors(scratch(), sectors.start, frame, bytes).expect("a disk that works");
    for (sector, at) in sectors.zip((0..).step_by(SECTOR)) {
        for offset in (at..at + SECTOR).step_by(8) {
            let found = word_of(frame, offset);
            assert_eq!(found, word(sector, version), "sector {sector} in version {version}");
        }
    }
}

fn word_of(frame: Pfn, offset: usize) -> u64 {
    let mut bytes = [0; 8];
    mm().env().frames().read(frame, offset, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// SWAP-06: any sectors, and their neighbours stay as they are.
fn round_trips(frame: Pfn) {
    for first in [0, 5, 4099, SECTORS - 10] {
        put(frame, first..first + 8, 1);
        put(frame, first + 1..first + 4, 2);
        expect(frame, first..first + 1, 1);
        expect(frame, first + 1..first + 4, 2);
        expect(frame, first + 4..first + 8, 1);
        expect(frame, first + 8..first + 10, 0);
    }
    assert_eq!(disk::flush(scratch()), Ok(()));
}

const TASKS: usize = 8;

/// Stretches that touch and do not, of all lengths; each task has its own part of the disk.
fn one_of_many(number: usize) {
    let base = number as u64 * (SECTORS / TASKS as u64);
    with_frame(|frame| {
        for version in 1..=3 {
            let stretches = |n: u64| (base + 8 * n)..(base + 8 * n + 1 + (n + version) % 8);
            (0..100).for_each(|n| put(frame, stretches(n * 37 % 100), version));
            assert_eq!(disk::flush(scratch()), Ok(()));
            (0..100).for_each(|n| expect(frame, stretches(n), version));
        }
    });
}

/// SWAP-06: none gets what belongs to another.
fn many_tasks() {
    (0..TASKS).for_each(|number| _ = spawn(one_of_many, number));
    join_kernel_tasks();
    books();
}

/// Files whose pages are in four places each.
struct Scattered;

const PAGES: u32 = 300;
/// A number that is no file's of the RAM disk.
const FILE: u64 = 1 << 40;

fn part(index: u32, quarter: u16) -> Part {
    let sector = 2 * (u64::from(quarter) * u64::from(PAGES) + u64::from(index));
    Part { sector, offset: quarter * 1024, bytes: 1024 }
}

impl FileStore for Scattered {
    fn start(&self, run: &mut Run<'_>) {
        disk::plug();
        while let Some(page) = run.next() {
            let parts = [2, 0, 3, 1].map(|quarter| part(page.index(), quarter));
            if let Some(end) = disk::submit_parts(page, scratch(), &parts) {
                run.end(end);
            }
        }
        disk::unplug();
    }

    fn reserve(&self, _file: u64, _index: u32, _part: Range<usize>) -> Result<(), StoreError> {
        Ok(())
    }

    fn device(&self, _file: u64) -> DeviceId {
        scratch()
    }
}

/// Hundreds of requests at once.
fn scattered(_: usize) -> i32 {
    glue::mount(&Scattered);
    let file = mm()
        .create_file(FileKind::Stored(FILE), u64::from(PAGES) * PAGE_SIZE as u64)
        .expect("memory for a file");
    let mut errors = mm().file_errors(&file);
    for round in 0..3 {
        let place = if round == 0 { Place::Anywhere } else { Place::Fixed(Vpn(0x10_0000)) };
        let at = mm()
            .mmap_file(own_space(), place, READ_WRITE, AreaFlags::SHARED, &file, 0..PAGES)
            .expect("room for an area");
        let pages = at..at + PAGES;
        // Each word depends on where the page is mapped.
        if round == 2 {
            each(&pages).for_each(|vpn| check(vpn, 1));
        }
        each(&pages).for_each(|vpn| write(vpn, 1));
        mm().munmap(own_space(), pages).expect("an area");
        mm().sync_file(&file, 0..PAGES, &mut errors).expect("a disk that works");
        mm().lru_add_drain_all();
        eventually("no page is cached", || {
            mm().drop_file_pages(&file, 0..PAGES);
            (0..PAGES).all(|index| mm().file_frame(&file, index).is_none())
        });
    }
    // The first and the last word of a page are the same.
    with_frame(|frame| {
        let read = |index, quarter, offset| {
            let Part { sector, bytes, .. } = part(index, quarter);
            disk::read_sectors(scratch(), sector, frame, bytes.into()).expect("a disk that works");
            word_of(frame, offset)
        };
        for index in 0..PAGES {
            let first = read(index, 0, 0);
            assert_eq!((first, first != 0), (read(index, 3, 1024 - 8), true), "page {index}");
        }
    });
    mm().put_file(file);
    0
}

fn discards(frame: Pfn) {
    let blocks = |range: Range<u64>| range.map(|block| 8 * block..8 * block + 8);
    blocks(0..64).for_each(|sectors| put(frame, sectors, 1));
    assert_eq!(disk::trim(scratch(), 8, 8 * 62), Ok(()));
    expect(frame, 0..8, 1);
    blocks(1..63).for_each(|sectors| expect(frame, sectors, 0));
    expect(frame, 8 * 63..8 * 64, 1);
    // What was discarded is written again.
    put(frame, 80..88, 2);
    expect(frame, 80..88, 2);
    assert_eq!(disk::trim(scratch(), 0, SECTORS), Ok(()));
    blocks(0..64).for_each(|sectors| expect(frame, sectors, 0));
    assert_eq!(disk::trim(scratch(), 8, 0), Ok(()), "nothing");
    assert_eq!(disk::trim(DeviceId(0), 8, 8), Ok(()), "the RAM disk has no discard");
}

fn beyond(frame: Pfn) {
    let refused = [
        (SECTORS, SECTOR),
        (SECTORS - 7, PAGE_SIZE),
        (u64::MAX, SECTOR),
        (0, 0),
        (0, 100),
        (0, PAGE_SIZE + SECTOR),
    ];
    for (sector, bytes) in refused {
        let read = disk::read_sectors(scratch(), sector, frame, bytes);
        let written = disk::write_sectors(scratch(), sector, frame, bytes);
        assert_eq!((read, written), (Err(IoError), Err(IoError)), "{bytes} bytes at {sector}");
    }
    for (first, sectors) in [(0, SECTORS + 1), (SECTORS, 1), (u64::MAX, 2), (1, u64::MAX)] {
        assert_eq!(disk::trim(scratch(), first, sectors), Err(IoError), "{sectors} at {first}");
    }
    let absent = DeviceId(7);
    assert_eq!(disk::read_sectors(absent, 0, frame, SECTOR), Err(IoError));
    assert_eq!((disk::trim(absent, 0, 8), disk::flush(absent)), (Err(IoError), Err(IoError)));
    refuses_page(scratch(), Direction::Read, (SECTORS / 8) as u32, frame);
    refuses_page(scratch(), Direction::Write, u32::MAX, frame);
    refuses_page(absent, Direction::Read, 0, frame);
}

#[track_caller]
fn refuses_page(device: DeviceId, direction: Direction, block: u32, frame: Pfn) {
    let end = disk::submit(Bio::for_test(direction, device, block, frame));
    assert_eq!(end.expect("it is refused at once").result(), Err(IoError));
}

fn read_only(frame: Pfn) {
    let device = disk::by_name(b"vdb").expect("a disk");
    assert!(disk::is_read_only(device) && !disk::is_read_only(scratch()));
    assert_eq!(disk::read_sectors(device, 0, frame, PAGE_SIZE), Ok(()));
    assert_eq!(disk::write_sectors(device, 0, frame, PAGE_SIZE), Err(IoError));
    assert_eq!(disk::trim(device, 0, 8), Err(IoError));
    refuses_page(device, Direction::Write, 0, frame);
}

/// SWAP-01: what `swapon` trims is zeroes, unless the device is in use.
fn prepared(_: usize) -> i32 {
    mm().swapoff(DeviceId(0)).expect("nothing is in swap");
    let on = |trim| swap_devices::on(scratch(), 1, trim);
    assert!(on(Trim::All).is_err_and(|error| error.is_no_swap()));
    with_frame(|frame| {
        let mut page = [0; PAGE_SIZE];
        header::format(&mut page, (SECTORS / 8) as u32);
        mm().env().frames().write(frame, 0, &page);
        disk::write_sectors(scratch(), 0, frame, PAGE_SIZE).expect("a disk that works");
    });
    let all = Used { slots: (SECTORS / 8) as u32 - 1, pages: (SECTORS / 8) as u32 };
    for (trim, left) in [(Trim::Nothing, 1), (Trim::All, 0)] {
        with_frame(|frame| {
            let samples = [8..16, 4096..4104, SECTORS - 8..SECTORS];
            samples.clone().into_iter().for_each(|sectors| put(frame, sectors, 1));
            assert_eq!(on(trim), Ok(all));
            samples.into_iter().for_each(|sectors| expect(frame, sectors, left));
        });
        let pages = map(600, READ_WRITE);
        each(&pages).for_each(|vpn| write(vpn, 1));
        eventually("all pages are out", || {
            let _ = mm().madvise(own_space(), pages.clone(), Advice::PageOut);
            mm().space_stat(own_space()).swapped == 600
        });
        assert_eq!(on(Trim::All), Err(SwapError::Refused(SwapOnError::Known)));
        each(&pages).take(300).for_each(|vpn| check(vpn, 1));
        mm().swapoff(scratch()).expect("room for all pages");
        each(&pages).for_each(|vpn| check(vpn, 1));
        mm().munmap(own_space(), pages).expect("an area");
    }
    0
}
