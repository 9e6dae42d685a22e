//! Writers in trouble: more than the limits allow, on devices that are slow, full or failing; and very
//! many files.

use mm_reclaim::FileError;
use mm_reclaim::units::{Nanos, PAGE_SIZE};
use simulator::disk::Pace;
use simulator::rng::Rng;
use simulator::{DiskConfig, Machine, OpenFile, Program};

use crate::file_cache::{DISK, content, with_files, written};

const PAGE: u64 = PAGE_SIZE as u64;
const WRITERS: usize = 4;
/// Pages that each of them writes: together four times the memory.
const EACH: u64 = 4000;
const LONGEST: Nanos = Nanos::from_millis(200);

/// A device that takes so many microseconds for each page.
fn taking(micros: u64, blocks: u32) -> DiskConfig {
    let pace = Pace::Async { latency: 20_000..200_000, per_page: micros * 1000 };
    DiskConfig { pace, ..DiskConfig::sync(blocks) }
}

/// Pages that are dirty or being written are never more than the hard limit, but for what every
/// writer may add before it looks at it, and what a change of the limit takes away.
fn assert_limited(machine: Machine<'_>) {
    let state = machine.mm.dirty_state();
    let most = state.hard + state.hard / 4 + 32 * WRITERS as u32;
    assert!(state.dirty + state.writeback <= most, "{state:?}");
}

/// DIRT-02: four writers beyond the hard limit end, none is ever told to pause for more than 200 ms,
/// dirty pages stay within the limits, and every byte arrives, whatever the device's speed.
#[test]
fn four_writers_beyond_the_hard_limit_pause_briefly() {
    for micros in [1, 50, 20_000] {
        let config = with_files(taking(micros, WRITERS as u32 * EACH as u32));
        Machine::run(&config, |machine| {
            machine.crowd(WRITERS, |machine, _| {
                let file = OpenFile::create(machine, DISK);
                for index in 0..EACH {
                    let bytes = content(file.number(), index);
                    assert_eq!(file.write(index * PAGE, &bytes), Ok(PAGE_SIZE));
                    assert_limited(machine);
                }
                let mut reader = file.again();
                for index in (0..EACH).step_by(7) {
                    let want = content(file.number(), index);
                    assert!(reader.read(index * PAGE, PAGE_SIZE) == Ok(want), "page {index}");
                }
            });
            let longest = machine.mm.dirty_state().longest_pause;
            assert!(longest > Nanos(0), "nobody was paced: the test does not test");
            assert!(longest <= LONGEST, "somebody was told to pause for {longest:?}");
            machine.validate();
        });
    }
}

/// DIRT-02: nobody waits for a device that is gone: what it had is dropped, and writers go on.
#[test]
fn writers_leave_a_device_that_is_gone() {
    Machine::run(&with_files(taking(50, 4 * EACH as u32)), |machine| {
        let mut file = OpenFile::create(machine, DISK);
        for index in 0..2 * EACH {
            if index == 500 {
                machine.world.files.lose(DISK);
                machine.world.disks.configure(DISK, |disk| disk.fail_write = 1);
            }
            assert_eq!(file.write(index * PAGE, &content(0, index)), Ok(PAGE_SIZE));
        }
        assert_eq!(file.sync(), Err(FileError::Io));
        drop(file);
        machine.validate();
    });
}

/// What goes wrong with a device.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    FailsEvery(u64),
    Slow,
    Full,
}

/// DIRT-03: whatever goes wrong with the device, dirty pages never fill memory, a program next to the
/// writers keeps every byte, each description reports an error at most once for each write that
/// failed, and once the device is well again everything is as it was written last.
#[test]
fn pages_that_cannot_be_written_never_fill_memory() {
    use Trouble::{FailsEvery, Full, Slow};
    for (seed, trouble) in
        [FailsEvery(1), FailsEvery(3), FailsEvery(50), Slow, Full].iter().enumerate()
    {
        let blocks = if matches!(trouble, Full) { 1000 } else { WRITERS as u32 * EACH as u32 };
        let mut config =
            with_files(taking(if matches!(trouble, Slow) { 2000 } else { 20 }, blocks));
        config.hardware.seed = seed as u64;
        Machine::run(&config, |machine| {
            if let FailsEvery(n) = *trouble {
                machine.world.disks.configure(DISK, |disk| disk.fail_write = n);
            }
            let before = machine.mm.total_free();
            machine.crowd(WRITERS, |machine, task| match task {
                0 => beside(machine),
                _ => write_in_trouble(machine, *trouble, (seed * WRITERS + task) as u64),
            });
            machine.validate();
            machine.mm.drop_page_cache();
            let back = machine.mm.total_free();
            assert!(back + 64 >= before, "{trouble:?}: {back} of {before} pages are free");
        });
    }
}

/// A program of half of memory, which comes and goes.
fn beside(machine: Machine<'_>) {
    let mut program = Program::new(machine);
    let area = program.map(machine.mm.total_managed() / 2);
    for _ in 0..4 {
        program.write_all(area.clone());
        program.check_all(area.clone());
    }
}

/// Writes at random, and syncs with several descriptions of the same file.
fn write_in_trouble(machine: Machine<'_>, trouble: Trouble, seed: u64) {
    let mut rng = Rng::new(seed);
    let file = OpenFile::create(machine, DISK);
    let mut known = [file.again(), file.again(), file.again()];
    for round in 0..EACH {
        let index = rng.below(EACH / 2);
        match file.write(index * PAGE, &content(file.number(), round)) {
            Ok(PAGE_SIZE) => {}
            Err(FileError::NoSpace) if matches!(trouble, Trouble::Full) => {}
            other => panic!("{trouble:?}: a write of page {index} ended with {other:?}"),
        }
        assert_limited(machine);
        if rng.below(200) == 0 {
            let seen = known.each_mut().map(OpenFile::sync);
            match trouble {
                // The first finds what is dirty; the others may only learn of it.
                Trouble::FailsEvery(1) => assert_eq!(seen, [seen[0]; 3], "each reports it"),
                Trouble::FailsEvery(_) => {}
                Trouble::Slow | Trouble::Full => assert_eq!(seen, [Ok(()); 3]),
            }
            // Everything was written or lost: nothing is left that could fail.
            assert_eq!(known[0].sync(), Ok(()), "{trouble:?}: reported twice");
        }
    }
}

/// A hundred thousand small files, a few hundred of them open at a time: what was written to each is
/// read, and in the end nothing is left of them.
#[test]
fn a_hundred_thousand_small_files_come_and_go() {
    const FILES: usize = 100_000;
    const OPEN: usize = 2000;
    Machine::run(&with_files(DiskConfig::later(4 * OPEN as u32)), |machine| {
        let before = machine.mm.total_free();
        machine.crowd(WRITERS, |machine, task| {
            let mut open: Vec<Option<OpenFile<'_>>> = (0..OPEN / WRITERS).map(|_| None).collect();
            let mut rng = Rng::new(task as u64);
            for number in 0..FILES / WRITERS {
                let place = rng.below(open.len() as u64) as usize;
                if let Some(mut file) = open[place].take() {
                    let want = file.number().to_le_bytes();
                    assert_eq!(file.read(3000, 8), Ok(want.to_vec()), "file {number}");
                }
                let file = OpenFile::create(machine, DISK);
                assert_eq!(file.write(3000, &file.number().to_le_bytes()), Ok(8));
                open[place] = Some(file);
            }
        });
        machine.validate();
        assert_eq!(machine.world.files.used(DISK), 0);
        machine.mm.drop_page_cache();
        let back = machine.mm.total_free();
        assert!(back + 16 >= before, "{back} of {before} pages are free");
    });
}

/// LRU-09: a file of twice the memory, read in circles: every pass reads what is on the disk, and the
/// passes cost alike: no cache of the past slows the later ones down.
#[test]
fn a_file_of_twice_the_memory_is_read_in_a_loop() {
    Machine::run(&with_files(DiskConfig::sync(16_384)), |machine| {
        let pages = 2 * u64::from(machine.mm.total_managed());
        let mut file = written(machine, pages);
        let mut reads = machine.world.disks.stat(DISK).reads;
        for pass in 0..4 {
            for index in 0..pages {
                let want = content(file.number(), index);
                assert!(file.read(index * PAGE, PAGE_SIZE) == Ok(want), "page {index}");
            }
            let now = machine.world.disks.stat(DISK).reads;
            assert!(now - reads <= pages + pages / 50, "pass {pass}: {} reads", now - reads);
            reads = now;
        }
        drop(file);
        machine.validate();
    });
}
