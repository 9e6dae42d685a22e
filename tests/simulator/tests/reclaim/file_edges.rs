//! Files at their borders: what is not there, what is too long, and what fails half-way.

use std::ops::Range;

use mm_reclaim::env::{DeviceId, Prot, Tasks, WaitKey, WaitMode};
use mm_reclaim::file::MOST_BYTES;
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::AreaFlags;
use mm_reclaim::units::{Nanos, PAGE_SIZE, Pfn, Vpn};
use mm_reclaim::{FileError, PageSource, Pattern, Place, SyncMode};
use simulator::tables::Touch;
use simulator::{Death, DiskConfig, Machine, OpenFile, Pace, Program};

use crate::file_cache::{DISK, content, with_files, written};
use crate::file_maps::map;

const PAGE: u64 = PAGE_SIZE as u64;

fn at(area: &Range<Vpn>, page: u32) -> u64 {
    (area.start + page).addr()
}

fn sleep(machine: Machine<'_>, seconds: u64) {
    for _ in 0..seconds * 10 {
        let mode = WaitMode { timeout: Some(Nanos::from_millis(100)), killable: false };
        let _ = machine.world.wait_until(WaitKey(0xabcd_ef01), mode, &mut || false);
    }
}

/// SHM-01: advice to read shared memory brings nothing of anybody else's.
#[test]
fn advice_on_shared_memory_reads_no_file() {
    Machine::run(&with_files(DiskConfig::sync(64)), |machine| {
        let other = written(machine, 8);
        let mut file = OpenFile::shared_memory(machine);
        file.truncate(8 * PAGE).expect("a size");
        machine.mm.read_file_ahead(file.file(), 0..8);
        assert!(file.read(0, PAGE_SIZE) == Ok(vec![0; PAGE_SIZE]));
        let program = Program::new(machine);
        let area = map(&program, &file, 0..8, AreaFlags::SHARED);
        program.call(|mm| mm.will_need(program.space, area.clone())).expect("an area");
        assert_eq!(program.touch(at(&area, 1), Touch::Load), Ok(0));
        let hole = area.start..area.end + 1;
        program.call(|mm| mm.will_need(program.space, hole)).expect_err("a hole");
        drop((program, file, other));
        machine.validate();
    });
}

/// FILE-05: the longest file there can be is cut under its mappings.
#[test]
fn the_longest_file_is_cut() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let file = written(machine, 8);
        file.truncate(MOST_BYTES).expect("a size");
        let program = Program::new(machine);
        let shared = map(&program, &file, 0..8, AreaFlags::SHARED);
        let private = map(&program, &file, 0..8, AreaFlags::empty());
        for area in [&shared, &private] {
            program.touch(at(area, 3), Touch::Store(3)).expect("a mapped page");
        }
        file.truncate(0).expect("a size");
        for area in [&shared, &private] {
            assert_eq!(program.touch(at(area, 3), Touch::Load), Err(Death::BusError));
        }
        drop((program, file));
        machine.validate();
    });
}

/// FILE-04: a write across the largest size is cut there, and one behind it refused.
#[test]
fn a_write_ends_with_the_largest_size() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = OpenFile::create(machine, DISK);
        assert_eq!(file.write(MOST_BYTES - 3, b"abcdef"), Ok(3));
        assert_eq!(file.write(MOST_BYTES, b"def"), Err(FileError::TooLarge));
        assert_eq!(file.read(MOST_BYTES - 3, usize::MAX), Ok(b"abc".to_vec()));
        drop(file);
        machine.validate();
    });
}

/// FILE-04, SHM-01: what a mapping stored behind the end is zero when the file grows, in swap too.
#[test]
fn a_tail_in_swap_is_zeroed() {
    for by_write in [false, true] {
        Machine::run(&with_files(DiskConfig::later(64)), |machine| {
            let mut file = OpenFile::shared_memory(machine);
            file.write(0, &[1; 100]).expect("memory");
            let program = Program::new(machine);
            let area = map(&program, &file, 0..1, AreaFlags::SHARED);
            program.touch(at(&area, 0) + 2048, Touch::Store(42)).expect("a mapped page");
            let out = |mm: &mm_reclaim::Mm<'_, _>| {
                mm.madvise(program.space, area.clone(), Advice::PageOut)
            };
            program.call(out).expect("an area");
            match by_write {
                false => file.truncate(PAGE).expect("a size"),
                true => assert_eq!(file.write(PAGE, &[2; 10]), Ok(10)),
            }
            assert_eq!(file.read(2048, 8).expect("memory"), vec![0; 8]);
            assert_eq!(file.read(0, 100).expect("memory"), vec![1; 100]);
            drop((program, file));
            machine.validate();
        });
    }
}

/// FILE-02: one large read of a description that reads at random reads each page once.
#[test]
fn a_large_random_read_reads_each_page_once() {
    Machine::run(&with_files(DiskConfig::sync(16_384)), |machine| {
        let mut file = written(machine, 4500);
        machine.mm.drop_page_cache();
        let reads = machine.world.disks.stat(DISK).reads;
        file.pattern = Pattern::Random;
        file.read(0, 4500 * PAGE_SIZE).expect("a disk that works");
        let reads = machine.world.disks.stat(DISK).reads - reads;
        assert!(reads < 4700, "{reads} reads of 4500 pages");
        drop(file);
        machine.validate();
    });
}

/// DIRT-01: files that are stuck on a slow device do not keep the old pages of another from the disk.
#[test]
fn a_stuck_device_does_not_hold_up_another() {
    let pace = Pace::Async { latency: 3_000_000_000_000..3_000_000_000_001, per_page: 1000 };
    let mut config = with_files(DiskConfig { pace, ..DiskConfig::sync(256) });
    config.hardware.disks.push(DiskConfig { is_swap: false, ..DiskConfig::sync(64) });
    Machine::run(&config, |machine| {
        let slow: Vec<_> = (0..50).map(|_| OpenFile::create(machine, DISK)).collect();
        for file in &slow {
            file.write(0, b"slow").expect("room");
            machine.mm.write_dirty_pages(file.file(), 0..1, 1, SyncMode::None).expect("alive");
            file.write(0, b"again").expect("room");
        }
        let fast = OpenFile::create(machine, DeviceId(2));
        fast.write(0, b"fast").expect("room");
        let mut after = 0;
        while machine.world.disks.stat(DeviceId(2)).writes == 0 && after < 600 {
            sleep(machine, 5);
            after += 5;
        }
        assert!(after <= 45, "written after {after} s");
        drop((slow, fast));
    });
}

/// DIRT-01: a page that is 30 s old is written, whatever became dirty between.
#[test]
fn old_pages_do_not_wait_for_a_younger_file() {
    Machine::run(&with_files(DiskConfig::sync(4096)), |machine| {
        machine.mm.set_dirty_ratios(60, 80);
        let old = OpenFile::create(machine, DISK);
        for index in 0..1500 {
            old.write(index * PAGE, &[1; 8]).expect("room");
        }
        sleep(machine, 21);
        let young = OpenFile::create(machine, DISK);
        young.write(0, b"young").expect("room");
        machine.mm.set_dirty_ratios(25, 80);
        sleep(machine, 7);
        assert_eq!(machine.mm.dirty_state().dirty, 1501 - 1024, "one turn");
        sleep(machine, 18);
        assert_eq!(machine.mm.dirty_state().dirty, 1, "46 s old; the younger is 25 s old");
        drop((old, young));
        machine.validate();
    });
}

/// Two mappings, next to each other, of a file that had an error between them; or one that was split.
fn with_an_error_between(
    test: impl FnOnce(&Program<'_>, &mut dyn FnMut(&Range<Vpn>) -> bool, Range<Vpn>, Range<Vpn>),
) {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 8);
        let program = Program::new(machine);
        let low = map(&program, &file, 0..2, AreaFlags::SHARED);
        machine.world.disks.configure(DISK, |disk| disk.fail_write = 1);
        file.write(5 * PAGE, b"lost").expect("room");
        assert_eq!(file.sync(), Err(FileError::Io));
        machine.world.disks.configure(DISK, |disk| disk.fail_write = 0);
        let (place, flags) = (Place::Fixed(low.end), AreaFlags::SHARED);
        let start = program
            .call(|mm| mm.mmap_file(program.space, place, Prot::READ, flags, file.file(), 2..4))
            .expect("room for an area");
        let mut reports = |range: &Range<Vpn>| {
            let done = program.call(|mm| mm.msync(program.space, range.clone(), false));
            done.expect("an area").is_err()
        };
        test(&program, &mut reports, low, start..start + 2);
        drop((program, file));
        machine.validate();
    });
}

/// DIRT-03: what one mapping has not reported is not lost when it could become one with its neighbour,
/// nor reported twice.
#[test]
fn mappings_that_know_different_errors_stay_apart() {
    let rw = Prot::READ | Prot::WRITE;
    with_an_error_between(|program, reports, low, high| {
        program.call(|mm| mm.mprotect(program.space, high.clone(), rw)).expect("an area");
        assert!(!reports(&high) && reports(&low) && !reports(&low) && !reports(&high));
    });
    with_an_error_between(|program, reports, low, _| {
        let first = low.start..low.start + 1;
        program.call(|mm| mm.mprotect(program.space, first.clone(), Prot::READ)).expect("an area");
        assert!(reports(&first));
        program.call(|mm| mm.mprotect(program.space, first.clone(), rw)).expect("an area");
        assert!(!reports(&first));
    });
}

/// A source that says that it is there, and is not.
struct Never;

impl PageSource for Never {
    fn fault_in(&mut self, _from: usize, len: usize) -> usize {
        len
    }

    fn copy(&mut self, _from: usize, _frame: Pfn, _offset: usize, _len: usize) -> usize {
        0
    }
}

/// FILE-04: a write that fails leaves nothing behind the end.
#[test]
fn a_failed_write_leaves_nothing_behind_the_end() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let file = written(machine, 1);
        let shared = OpenFile::shared_memory(machine);
        for file in [&file, &shared] {
            let done = machine.mm.write_file(file.file(), 5 * PAGE + 5, 10, &mut Never);
            assert_eq!(done, Err(FileError::BadBuffer));
        }
        assert_eq!((file.file().cached_pages(), shared.file().cached_pages()), (1, 0));
        assert_eq!(machine.world.files.used(DISK), 1);
        drop((file, shared));
        machine.validate();
    });
}

/// FILE-05: on a full device a file can be cut and punched where it has a hole.
#[test]
fn a_hole_is_cut_on_a_full_device() {
    Machine::run(&with_files(DiskConfig::later(8)), |machine| {
        let mut sparse = OpenFile::create(machine, DISK);
        sparse.truncate(100 * PAGE).expect("a size");
        let full = OpenFile::create(machine, DISK);
        assert_eq!(full.write(0, &[1; 8 * PAGE_SIZE]), Ok(8 * PAGE_SIZE));
        assert_eq!(sparse.truncate(50 * PAGE + 1), Ok(()));
        assert_eq!(machine.mm.punch_hole(sparse.file(), 10, 20 * PAGE + 10), Ok(()));
        assert_eq!(sparse.read(20 * PAGE, 20), Ok(vec![0; 20]));
        drop((sparse, full));
        machine.validate();
    });
}

/// FILE-04, FILE-05: whoever reads a file while it is cut gets what there is, and no error.
#[test]
fn a_reader_of_a_file_that_is_cut_gets_no_error() {
    for seed in 0..6 {
        let mut config = with_files(DiskConfig::later(64));
        (config.hardware.seed, config.hardware.preempt_every) = (seed, 5);
        Machine::run(&config, |machine| {
            let file = written(machine, 4);
            let shared = &file;
            machine.crowd(3, |machine, task| match task {
                0 => cut(machine, shared),
                _ => read_while_cut(shared.again()),
            });
            drop(file);
            machine.validate();
        });
    }
}

fn cut(machine: Machine<'_>, file: &OpenFile<'_>) {
    for round in 0..100 {
        let size = if round % 2 == 0 { 0 } else { 3 * PAGE + 9 };
        file.truncate(size).expect("a disk that works");
        machine.mm.drop_page_cache();
    }
}

fn read_while_cut(mut file: OpenFile<'_>) {
    for round in 0..100 {
        let page = round % 3;
        let found = file.read(page * PAGE, 2 * PAGE_SIZE).expect("no error");
        let is_zero = found.iter().all(|byte| *byte == 0);
        assert!(is_zero || found[..9] == content(file.number(), page)[..9], "round {round}");
    }
}
