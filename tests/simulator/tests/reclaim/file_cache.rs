//! Files through the cache: read, written, made shorter, written back, and evicted.

use mm_reclaim::FileError;
use mm_reclaim::env::DeviceId;
use mm_reclaim::page::LruList;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::PAGE_SIZE;
use simulator::{Config, DiskConfig, Machine, OpenFile, Program};

/// The device that files lie on, beside swap.
pub const DISK: DeviceId = DeviceId(1);
const PAGE: u64 = PAGE_SIZE as u64;

/// A machine of 16 MiB with such a disk for files in addition to its swap.
pub fn with_files(files: DiskConfig) -> Config {
    let mut config = Config::default();
    config.hardware.disks.push(DiskConfig { is_swap: false, ..files });
    config
}

/// Bytes that tell a page of a file from every other.
pub fn content(file: u64, index: u64) -> Vec<u8> {
    (0..PAGE_SIZE as u64 / 8)
        .flat_map(|n| {
            (file << 48 | index << 16 | n).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()
        })
        .collect()
}

/// A file of so many pages, written and synced.
pub fn written(machine: Machine<'_>, pages: u64) -> OpenFile<'_> {
    let mut file = OpenFile::create(machine, DISK);
    for index in 0..pages {
        let bytes = content(file.number(), index);
        assert_eq!(file.write(index * PAGE, &bytes), Ok(PAGE_SIZE));
    }
    file.sync().expect("a disk that works");
    file
}

fn check(file: &mut OpenFile<'_>, index: u64) {
    let want = content(file.number(), index);
    let found = file.read(index * PAGE, PAGE_SIZE).expect("a disk that works");
    assert!(found == want, "page {index} of file {}", file.number());
}

/// FILE-04: what was written is read; a read ends at the end of the file, a hole reads as zeroes.
#[test]
fn what_was_written_is_read() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = OpenFile::create(machine, DISK);
        assert_eq!(file.write(5000, b"hello"), Ok(5));
        assert_eq!(file.file().size(), 5005);
        assert_eq!(file.read(4999, 100), Ok(b"\0hello".to_vec()));
        assert_eq!(file.read(5005, 100), Ok(vec![]));
        assert_eq!(file.read(0, 3), Ok(vec![0; 3]));
        assert_eq!(file.write(4998, b"ab"), Ok(2));
        file.sync().expect("a disk that works");
        assert_eq!(machine.mm.drop_file_pages(file.file(), 0..10), 2);
        assert_eq!(file.read(4998, 4), Ok(b"abhe".to_vec()));
        drop(file);
        machine.validate();
        assert_eq!(machine.world.files.used(DISK), 0, "the last reference frees the blocks");
    });
}

/// FILE-02: a sequential reader finds most pages read ahead of it; a page is read once.
#[test]
fn a_sequential_reader_waits_seldom() {
    Machine::run(&with_files(DiskConfig::later(1024)), |machine| {
        let mut file = written(machine, 500);
        machine.mm.drop_page_cache();
        let reads = machine.world.disks.stat(DISK).reads;
        let misses = machine.mm.event(VmEvent::FileCacheMiss);
        (0..500).for_each(|index| check(&mut file, index));
        let event = |event| machine.mm.event(event);
        assert_eq!(machine.world.disks.stat(DISK).reads - reads, 500);
        let missed = event(VmEvent::FileCacheMiss) - misses;
        assert!(missed < 20, "{missed} of 500 pages were not read ahead");
        drop(file);
        machine.validate();
    });
}

/// FILE-02: random reads read one page each.
#[test]
fn a_random_reader_reads_what_it_wants() {
    Machine::run(&with_files(DiskConfig::later(1024)), |machine| {
        let mut file = written(machine, 500);
        machine.mm.drop_page_cache();
        let reads = machine.world.disks.stat(DISK).reads;
        for n in 1..50 {
            check(&mut file, n * 173 % 500);
        }
        assert_eq!(machine.world.disks.stat(DISK).reads - reads, 49);
        drop(file);
        machine.validate();
    });
}

/// LRU-03, LRU-11: a page of a file enters the inactive list, and its second use activates it.
#[test]
fn the_second_use_activates() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 10);
        machine.mm.drop_page_cache();
        let lists = |uses: u32, file: &mut OpenFile<'_>| {
            for _ in 0..uses {
                (0..10).for_each(|index| check(file, index));
            }
            machine.mm.lru_add_drain_all();
            let total = |list| machine.mm.lru().total(list);
            (total(LruList::InactiveFile), total(LruList::ActiveFile))
        };
        assert_eq!(lists(1, &mut file), (10, 0));
        assert_eq!(lists(1, &mut file), (0, 10));
        drop(file);
        machine.validate();
    });
}

/// A file larger than memory goes through it: clean pages are evicted without a write and leave
/// shadows, and none goes to swap (LRU-09, SPL-16).
#[test]
fn a_file_larger_than_memory_is_read_in_circles() {
    Machine::run(&with_files(DiskConfig::sync(8192)), |machine| {
        let mut file = written(machine, 6000);
        let writes = machine.world.disks.stat(DISK).writes;
        for _ in 0..3 {
            (0..6000).for_each(|index| check(&mut file, index));
        }
        let event = |event| machine.mm.event(event);
        assert!(event(VmEvent::PgStealFile) > 10_000);
        assert!(event(VmEvent::WorkingsetRefaultFile) > 5_000);
        assert_eq!((event(VmEvent::PswpOut), machine.world.disks.stat(DISK).writes), (0, writes));
        drop(file);
        machine.validate();
    });
}

/// A page that comes back soon belongs to the workingset, of files as of programs (LRU-09).
#[test]
fn a_page_that_comes_back_soon_is_activated() {
    Machine::run(&with_files(DiskConfig::sync(16_384)), |machine| {
        let (mut hot, mut cold) = (written(machine, 1500), written(machine, 12_000));
        machine.mm.drop_page_cache();
        let before = machine.world.disks.stat(DISK).reads;
        // Each is used twice, so it is active, while a stream is read once.
        (0..3000).for_each(|index| check(&mut hot, index % 1500));
        (0..3000).for_each(|index| check(&mut cold, index));
        for index in 3000..12_000 {
            check(&mut cold, index);
            check(&mut hot, index % 1500);
        }
        // The stream did not evict the hot pages: few were read again.
        let reads = machine.world.disks.stat(DISK).reads - before;
        assert!(reads < 13_500 + 1500, "{reads} reads");
        drop((hot, cold));
        machine.validate();
    });
}

/// FILE-05: what is behind the new end is gone, from the cache and from the store; the tail of the
/// last page reads as zeroes when the file becomes longer again.
#[test]
fn a_shorter_file_has_lost_the_rest() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 20);
        file.write(7 * PAGE, &[9; 4 * PAGE_SIZE]).expect("room");
        file.truncate(5 * PAGE + 100).expect("a disk that works");
        assert_eq!(file.file().size(), 5 * PAGE + 100);
        assert_eq!(machine.world.files.used(DISK), 6);
        file.truncate(20 * PAGE).expect("room");
        let want = content(file.number(), 5);
        let found = file.read(5 * PAGE, 2 * PAGE_SIZE).expect("a disk that works");
        assert_eq!(found[..100], want[..100]);
        assert!(found[100..].iter().all(|byte| *byte == 0));
        file.sync().expect("a disk that works");
        machine.mm.drop_page_cache();
        let found = file.read(5 * PAGE, PAGE_SIZE).expect("a disk that works");
        assert!(found[100..].iter().all(|byte| *byte == 0), "the store has the old tail");
        drop(file);
        machine.validate();
    });
}

/// FILE-05: a hole reads as zeroes, its blocks are free, and its neighbours are as they were.
#[test]
fn a_hole_reads_as_zeroes() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 20);
        let hole = 3 * PAGE + 10..8 * PAGE + 20;
        machine.mm.punch_hole(file.file(), hole.start, hole.end).expect("a disk that works");
        assert_eq!(machine.world.files.used(DISK), 16);
        for round in 0..2 {
            let found = file.read(0, 20 * PAGE_SIZE).expect("a disk that works");
            for (at, byte) in (0..).zip(&found) {
                let want = content(file.number(), at / PAGE)[(at % PAGE) as usize];
                assert_eq!(*byte, if hole.contains(&at) { 0 } else { want }, "byte {at}");
            }
            file.sync().expect("a disk that works");
            assert_eq!(machine.mm.drop_page_cache() > 0, round == 0 || !found.is_empty());
        }
        drop(file);
        machine.validate();
    });
}

/// FILE-04: what several tasks append at once is there once each, one behind the other.
#[test]
fn nothing_appended_is_overwritten() {
    const TASKS: usize = 4;
    const RECORDS: usize = 60;
    const RECORD: usize = 1777;
    Machine::run(&with_files(DiskConfig::later(256)), |machine| {
        let mut file = OpenFile::create(machine, DISK);
        let appender = &file;
        machine.crowd(TASKS, |_, task| {
            for record in 0..RECORDS {
                let bytes = [(task * RECORDS + record) as u8; RECORD];
                let (done, at) = appender.append(&bytes).expect("room");
                assert_eq!((done, at % RECORD as u64), (RECORD, 0), "a whole record");
            }
        });
        let found = file.read(0, TASKS * (RECORDS + 1) * RECORD).expect("a disk that works");
        let mut seen: Vec<_> = found.chunks(RECORD).map(|record| record[0]).collect();
        assert!(found.chunks(RECORD).all(|record| record.iter().all(|byte| *byte == record[0])));
        seen.sort_unstable();
        assert_eq!(seen, (0..(TASKS * RECORDS) as u8).collect::<Vec<_>>());
        drop(file);
        machine.validate();
    });
}

/// DIRT-03: after a failed write the page is clean and readable; each open description reports the
/// error once, and one that nobody saw is reported to the next opener.
#[test]
fn each_description_reports_a_failed_write_once() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 4);
        let (mut second, mut third) = (file.again(), file.again());
        machine.world.disks.configure(DISK, |disk| disk.fail_write = 1);
        file.write(0, b"lost").expect("room");
        assert_eq!(file.sync(), Err(FileError::Io));
        assert_eq!(file.read(0, 4), Ok(b"lost".to_vec()), "clean and readable");
        assert_eq!(file.sync(), Ok(()), "once");
        let mut late = file.again();
        assert_eq!(late.sync(), Ok(()), "it was reported before that was opened");
        assert_eq!((second.sync(), second.sync()), (Err(FileError::Io), Ok(())));
        drop((file, second));
        // Nobody asks: the error waits for the next opener.
        late.write(0, b"lost again").expect("room");
        machine.mm.sync_files().expect("alive");
        let mut opener = late.again();
        assert_eq!((opener.sync(), opener.sync()), (Err(FileError::Io), Ok(())));
        assert_eq!((third.sync(), third.sync()), (Err(FileError::Io), Ok(())));
        drop((late, opener, third));
        machine.validate();
    });
}

/// DIRT-03: a full device is found when a page is reserved: what fits is written, and no more.
#[test]
fn a_full_device_is_found_at_the_write() {
    Machine::run(&with_files(DiskConfig::later(8)), |machine| {
        let mut file = OpenFile::create(machine, DISK);
        assert_eq!(file.write(0, &[1; 10 * PAGE_SIZE]), Ok(8 * PAGE_SIZE));
        assert_eq!(file.write(8 * PAGE, &[1; 10]), Err(FileError::NoSpace));
        assert_eq!(file.sync(), Ok(()), "nothing is left to fail");
        assert_eq!(file.file().size(), 8 * PAGE);
        file.truncate(PAGE).expect("a disk that works");
        assert_eq!(file.write(PAGE, &[1; 10]), Ok(10));
        drop(file);
        machine.validate();
    });
}

/// A read that fails is an error for the caller, and the next one reads again.
#[test]
fn a_failed_read_ends_one_access() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 30);
        machine.mm.drop_page_cache();
        machine.world.disks.configure(DISK, |disk| disk.fail_read = 3);
        let mut failed = 0;
        for index in 0..30 {
            while let Err(error) = file.read(index * PAGE, PAGE_SIZE) {
                assert_eq!(error, FileError::Io);
                failed += 1;
            }
            check(&mut file, index);
        }
        assert!(failed > 0, "some page was read because it was wanted, and failed");
        drop(file);
        machine.validate();
    });
}

/// FILE-04: the source of a write may be gone when it is copied: it is made present again, and every
/// byte arrives.
#[test]
fn a_source_that_goes_away_is_fetched_again() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = OpenFile::create(machine, DISK);
        file.absent = 2;
        let bytes: Vec<u8> = (0..5 * PAGE_SIZE).map(|n| (n % 251) as u8).collect();
        assert_eq!(file.write(100, &bytes), Ok(bytes.len()));
        assert_eq!(file.read(100, bytes.len()), Ok(bytes));
        drop(file);
        machine.validate();
    });
}

/// Tasks that use files at random, next to programs that need more memory than there is, see what they
/// wrote, whatever the schedule.
#[test]
fn files_and_programs_share_memory_without_a_loss() {
    for seed in 0..12 {
        let mut config = with_files(DiskConfig::later(8192));
        config.hardware.seed = seed;
        config.hardware.disks[0] = DiskConfig::later(16 << 10);
        Machine::run(&config, |machine| {
            machine.crowd(4, |machine, task| match task {
                0 | 1 => use_file(machine, seed * 8 + task as u64),
                _ => {
                    let mut program = Program::new(machine);
                    let area = program.map(2500);
                    program.write_all(area.clone());
                    program.check_all(area.clone());
                    program.check_all(area);
                }
            });
            machine.validate();
        });
    }
}

fn use_file(machine: Machine<'_>, seed: u64) {
    let mut rng = simulator::rng::Rng::new(seed);
    let mut file = written(machine, 1500);
    let mut model: Vec<u64> = (0..1500).collect();
    for round in 0..3000 {
        let index = rng.below(1500);
        match rng.below(10) {
            0 | 1 => {
                model[index as usize] = 10_000 + round;
                let bytes = content(file.number(), 10_000 + round);
                assert_eq!(file.write(index * PAGE, &bytes), Ok(PAGE_SIZE));
            }
            2 if round % 50 == 0 => file.sync().expect("a disk that works"),
            3 => _ = machine.mm.drop_file_pages(file.file(), index as u32..index as u32 + 40),
            _ => {
                let found = file.read(index * PAGE, PAGE_SIZE).expect("a disk that works");
                let want = content(file.number(), model[index as usize]);
                assert!(found == want, "page {index} in round {round}");
            }
        }
    }
}
