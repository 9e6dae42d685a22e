//! Pages of files: the second user of the page cache, under the same reclaim.

use mm_reclaim::cache::CacheError;
use mm_reclaim::env::DeviceId;
use mm_reclaim::page::{LruList, PageFlags, PageRef};
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{FileId, FilePage};
use simulator::{Config, DiskConfig, Kept, Machine, Program, World};

use mm_reclaim::env::FrameMemory;
use simulator::rng::Rng;

/// Swap, and the device that files lie on.
const DISK: DeviceId = DeviceId(1);

/// A machine of 16 MiB with such a disk for files in addition to its swap.
fn with_files(files: DiskConfig) -> Config {
    let mut config = Config::default();
    config.hardware.disks.push(DiskConfig { is_swap: false, ..files });
    config
}

/// The word that a page of a file holds at first, everywhere.
fn first_word(at: FilePage) -> u64 {
    u64::from(at.file.0 + 1) << 32 | u64::from(at.index)
}

/// A file of `pages` pages, each with its own contents.
fn create(world: &World, first: u32, pages: u32) -> FileId {
    let file = world.files.create(DISK, first, pages);
    for index in 0..pages {
        let content = [first_word(FilePage { file, index }); 512];
        world.disks.prepare(DISK, first + index, &content);
    }
    file
}

fn word(world: &World, machine: Machine<'_>, held: &PageRef<'_>) -> u64 {
    let mut bytes = [0; 8];
    world.arena.read(machine.mm.memmap().pfn(held.page()), 2048, &mut bytes);
    u64::from_le_bytes(bytes)
}

/// The word of a page, read through the cache.
fn read(machine: Machine<'_>, at: FilePage) -> Result<u64, CacheError> {
    let held = machine.mm.read_cache_page(at)?;
    let found = word(machine.world, machine, &held);
    machine.mm.put_page(held);
    Ok(found)
}

/// Stores a word in a page, which is dirty from then on.
fn write(machine: Machine<'_>, at: FilePage, value: u64) -> Result<(), CacheError> {
    let held = machine.mm.read_cache_page(at)?;
    let pfn = machine.mm.memmap().pfn(held.page());
    machine.world.arena.write(pfn, 2048, &value.to_le_bytes());
    machine.mm.set_page_dirty(&held);
    machine.mm.put_page(held);
    Ok(())
}

fn pages_of(file: FileId, pages: u32) -> impl Iterator<Item = FilePage> {
    (0..pages).map(move |index| FilePage { file, index })
}

/// A page is read once, found from then on, and is on the file lists.
#[test]
fn a_page_is_read_once() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let file = create(machine.world, 0, 10);
        for _ in 0..3 {
            for at in pages_of(file, 10) {
                assert_eq!(read(machine, at), Ok(first_word(at)));
            }
            machine.mm.lru_add_drain_all();
        }
        assert_eq!(machine.world.disks.stat(DISK).reads, 10);
        let file_pages = |list| machine.mm.lru().total(list);
        // Used three times: the second use activates.
        assert_eq!((file_pages(LruList::InactiveFile), file_pages(LruList::ActiveFile)), (0, 10));
        machine.validate();
        let beyond = FilePage { file, index: 10 };
        assert_eq!(read(machine, beyond), Err(CacheError::NoSuchPage(beyond)));
    });
}

/// A file larger than memory goes through it: clean pages are evicted without a write and leave
/// shadows, and none goes to swap.
#[test]
fn a_file_larger_than_memory_is_read_in_circles() {
    Machine::run(&with_files(DiskConfig::sync(8192)), |machine| {
        let file = create(machine.world, 0, 6000);
        for _ in 0..3 {
            for at in pages_of(file, 6000) {
                assert_eq!(read(machine, at), Ok(first_word(at)));
            }
        }
        let event = |event| machine.mm.event(event);
        assert!(event(VmEvent::PgStealFile) > 10_000);
        assert!(event(VmEvent::WorkingsetRefaultFile) > 5_000);
        assert_eq!((event(VmEvent::PswpOut), machine.world.disks.stat(DISK).writes), (0, 0));
        let evicted = pages_of(file, 6000)
            .filter(|at| matches!(machine.world.files.kept(*at), Some(Kept::Shadow(_))));
        let evicted = evicted.count();
        assert_eq!(machine.world.files.cached_pages() + evicted, 6000);
        machine.validate();
    });
}

/// A page that comes back soon belongs to the workingset, of files as of programs (LRU-09).
#[test]
fn a_page_that_comes_back_soon_is_activated() {
    Machine::run(&with_files(DiskConfig::sync(16_384)), |machine| {
        let hot = create(machine.world, 0, 1500);
        let cold = create(machine.world, 1500, 12_000);
        pages_of(hot, 1500).for_each(|at| assert_eq!(read(machine, at), Ok(first_word(at))));
        // Each is used twice, so it is active, while a stream is read once.
        pages_of(hot, 1500).for_each(|at| assert_eq!(read(machine, at), Ok(first_word(at))));
        pages_of(cold, 3000).for_each(|at| assert_eq!(read(machine, at), Ok(first_word(at))));
        for at in pages_of(cold, 12_000).skip(3000) {
            assert_eq!(read(machine, at), Ok(first_word(at)));
            let hot = FilePage { file: hot, index: at.index % 1500 };
            assert_eq!(read(machine, hot), Ok(first_word(hot)));
        }
        // The stream did not evict the hot pages: few were read again.
        let reads = machine.world.disks.stat(DISK).reads;
        assert!(reads < 13_500 + 1500, "{reads} reads");
        machine.validate();
    });
}

/// SPL-13: a dirty page is not dropped; written, it can go, and comes back as it was written.
#[test]
fn a_dirty_page_stays_until_it_is_written() {
    Machine::run(&with_files(DiskConfig::later(8192)), |machine| {
        let file = create(machine.world, 0, 6000);
        let dirty: Vec<_> = pages_of(file, 200).collect();
        for at in &dirty {
            write(machine, *at, !first_word(*at)).expect("memory");
        }
        let stream = || pages_of(file, 6000).skip(200);
        stream().for_each(|at| assert_eq!(read(machine, at), Ok(first_word(at))));
        for at in &dirty {
            assert_eq!(read(machine, *at), Ok(!first_word(*at)), "{at}");
        }
        for at in &dirty {
            machine.mm.write_cache_page(*at).expect("alive");
        }
        machine.settle();
        assert!(machine.world.disks.stat(DISK).writes >= 200);
        for _ in 0..2 {
            stream().for_each(|at| assert_eq!(read(machine, at), Ok(first_word(at))));
        }
        let gone = dirty
            .iter()
            .filter(|at| matches!(machine.world.files.kept(**at), Some(Kept::Shadow(_))));
        assert!(gone.count() > 100, "written pages go");
        for at in &dirty {
            assert_eq!(read(machine, *at), Ok(!first_word(*at)), "{at}");
        }
        machine.validate();
    });
}

/// A read that fails is an error for the caller, and the next one reads again; a write that fails
/// leaves the page clean and readable, and is recorded in the file.
#[test]
fn failures_of_the_device_are_told_and_lose_nothing_else() {
    let disk = DiskConfig { fail_read: 3, fail_write: 2, ..DiskConfig::later(64) };
    Machine::run(&with_files(disk), |machine| {
        let file = create(machine.world, 0, 30);
        let mut failed = 0;
        for at in pages_of(file, 30) {
            while let Err(error) = read(machine, at) {
                assert_eq!(error, CacheError::Read(at));
                failed += 1;
            }
            assert_eq!(read(machine, at), Ok(first_word(at)));
        }
        assert_eq!(failed, machine.world.disks.stat(DISK).failures);
        for at in pages_of(file, 10) {
            write(machine, at, 7).expect("cached");
            assert_eq!(machine.mm.write_cache_page(at), Ok(true));
            machine.settle();
            assert_eq!(machine.mm.write_cache_page(at), Ok(false), "clean, whatever happened");
            assert_eq!(read(machine, at), Ok(7));
        }
        assert_eq!(machine.world.files.errors(file), 5);
        machine.validate();
    });
}

/// A page that is dropped is gone, dirty or not, and its frame is free.
#[test]
fn what_is_dropped_is_gone() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let file = create(machine.world, 0, 8);
        let free = || {
            machine.mm.lru_add_drain_all();
            machine.mm.total_free()
        };
        let before = free();
        for at in pages_of(file, 8) {
            write(machine, at, 1).expect("memory");
        }
        machine.mm.write_cache_page(FilePage { file, index: 3 }).expect("alive");
        machine.world.files.truncate(file, 2);
        for at in pages_of(file, 8).skip(2) {
            assert_eq!(machine.mm.drop_cache_page(at), Ok(true));
            assert_eq!(machine.mm.drop_cache_page(at), Ok(false));
            assert_eq!(read(machine, at), Err(CacheError::NoSuchPage(at)));
        }
        assert_eq!(free(), before - 2);
        let held = machine.mm.read_cache_page(FilePage { file, index: 0 }).expect("there");
        assert!(held.page().has(PageFlags::DIRTY | PageFlags::FILE));
        machine.mm.put_page(held);
        machine.validate();
    });
}

/// Tasks that read, write, write back and drop pages of their own files at random, next to programs
/// that need more memory than there is, see what they wrote, whatever the schedule.
#[test]
fn files_and_programs_share_memory_without_a_loss() {
    for seed in 0..12 {
        let mut config = with_files(DiskConfig::later(8192));
        config.hardware.seed = seed;
        config.hardware.disks[0] = DiskConfig::later(16 << 10);
        Machine::run(&config, |machine| {
            let files: Vec<_> = (0..2).map(|n| create(machine.world, n * 2000, 2000)).collect();
            machine.crowd(4, |machine, task| match files.get(task) {
                Some(file) => use_file(machine, *file, seed * 8 + task as u64),
                None => {
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

fn use_file(machine: Machine<'_>, file: FileId, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut words: Vec<u64> = pages_of(file, 2000).map(first_word).collect();
    let mut unwritten = vec![false; 2000];
    for round in 0..4000 {
        let at = FilePage { file, index: rng.below(2000) as u32 };
        let i = at.index as usize;
        match rng.below(8) {
            0 => {
                words[i] = round << 40 | u64::from(at.index);
                write(machine, at, words[i]).expect("memory");
                unwritten[i] = true;
            }
            1 => {
                machine.mm.write_cache_page(at).expect("alive");
                unwritten[i] = false;
            }
            // Only what the disk has, or will have, may be dropped.
            2 if !unwritten[i] => _ = machine.mm.drop_cache_page(at).expect("alive"),
            _ => assert_eq!(read(machine, at), Ok(words[i]), "{at} in round {round}"),
        }
    }
}
