//! Files and programs share memory: which of the two reclaim takes, how much of it, and what it spares.

use std::sync::atomic::{AtomicU64, Ordering};

use mm_reclaim::Place;
use mm_reclaim::env::{Prot, Shrinker, Shrunk};
use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::LruList;
use mm_reclaim::reclaim::{ActivateReason as Activate, Reason};
use mm_reclaim::space::AreaFlags;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::PAGE_SIZE;
use mm_reclaim::zone::ZoneFlags;
use simulator::tables::Touch;
use simulator::{Config, DiskConfig, Machine, OpenFile, Program};

use crate::bench::{
    FILES, Tally, clean_file, cold, direct_round, dirty_file, event, on_list, prove, small,
    with_file_disk,
};
use crate::file_cache::{DISK, with_files, written};

const PAGE: u64 = PAGE_SIZE as u64;
const DIRTY_FILE: Reason = Reason::Activate(Activate::DirtyFile);

/// A small machine with swap of this size and a device for files.
fn both(swap: u32, swappiness: u8) -> Config {
    let mut config = small(DiskConfig::sync(swap));
    config.hardware.disks.push(DiskConfig { is_swap: false, ..DiskConfig::sync(1024) });
    config.mm.swappiness = swappiness;
    config
}

/// How often pages of each type were scanned: anon, file.
fn scans(machine: Machine<'_>) -> (u64, u64) {
    (event(machine, VmEvent::PgScanAnon), event(machine, VmEvent::PgScanFile))
}

/// SHRZ-03, SHRZ-10: without a free slot only files are reclaimed, at swappiness 0 too, and whatever it
/// is while there is plenty of file cache that is not in use. If that is in use, 200 spares it.
#[test]
fn swap_and_swappiness_and_the_cache_decide_who_is_scanned() {
    let table = [
        (2, 100, false, (false, true)),
        (2048, 0, false, (false, true)),
        (2048, 200, false, (false, true)),
        (2048, 200, true, (true, false)),
    ];
    for (swap, swappiness, in_use, want) in table {
        Machine::run(&both(swap, swappiness), |machine| {
            let (program, area) = cold(machine, 300);
            let (mut file, _) = clean_file(machine, 300);
            for index in 0..if in_use { 300 } else { 0 } {
                file.read(index * PAGE, 8).expect("cached");
            }
            let before = scans(machine);
            direct_round(machine, Gfp::KERNEL);
            let after = scans(machine);
            let scanned = (after.0 > before.0, after.1 > before.1);
            assert_eq!(scanned, want, "swap {swap}, swappiness {swappiness}, in use {in_use}");
            prove(machine);
            program.check_all(area);
            drop(file);
        });
    }
}

/// SHRZ-10, SHRZ-03: with hardly any file cache left programs are swapped out even at swappiness 0.
#[test]
fn a_tiny_file_cache_is_spared() {
    Machine::run(&both(2048, 0), |machine| {
        let (program, area) = cold(machine, 600);
        let (file, _) = clean_file(machine, 4);
        let before = scans(machine);
        direct_round(machine, Gfp::KERNEL);
        let after = scans(machine);
        assert!(after.0 > before.0, "programs are swapped out");
        assert_eq!(after.1, before.1, "the few pages of files stay");
        prove(machine);
        program.check_all(area);
        drop(file);
    });
}

/// What a program and a file that do not fit into memory together have lost: anon, file. One of the two
/// is used four times as often as the other.
fn stolen_from_both(file_is_needed: bool) -> (u64, u64) {
    let mut config = with_files(DiskConfig::sync(8192));
    config.mm.swappiness = 100;
    Machine::run(&config, |machine| {
        let mut file = written(machine, 2500);
        let mut program = Program::new(machine);
        let area = program.map(2500);
        for step in 0..200_u32 {
            let (part, is_turn_of_both) = (step % 25, step / 25 % 4 == 0);
            if !file_is_needed || is_turn_of_both {
                program.write_all(area.start + part * 100..area.start + (part + 1) * 100);
            }
            if file_is_needed || is_turn_of_both {
                let from = u64::from(part) * 100 * PAGE;
                file.read(from, 100 * PAGE_SIZE).expect("a disk that works");
            }
        }
        machine.validate();
        program.check_all(area);
        drop(file);
        (event(machine, VmEvent::PgStealAnon), event(machine, VmEvent::PgStealFile))
    })
}

/// SHRZ-03, SHRZ-04, LRU-08: of a program and a file that both need memory each gives some, and the one
/// whose pages come back less gives more.
#[test]
fn the_type_that_is_needed_less_gives_more() {
    let [needs_file, needs_anon] = [true, false].map(stolen_from_both);
    for (anon, file) in [needs_file, needs_anon] {
        assert!(anon > 0 && file > 0, "{anon} pages of programs, {file} of files");
    }
    let share = |(anon, file): (u64, u64)| anon * 100 / (anon + file);
    assert!(share(needs_file) > share(needs_anon), "{needs_file:?} {needs_anon:?}");
}

/// CTRL-03, CTRL-05: in laptop mode a scan passes dirty pages of files over, but not once reclaim is in
/// trouble, as it is where there is nothing else: then it looks at them, and calls the flusher.
#[test]
fn in_laptop_mode_dirty_files_are_looked_at_in_trouble() {
    with_file_disk(DiskConfig::sync(1024), |machine| {
        machine.mm.set_dirty_ratios(90, 95);
        let (file, _) = dirty_file(machine, 300);
        machine.mm.set_laptop_mode(true);
        let tally = Tally::new(machine);
        direct_round(machine, Gfp::KERNEL);
        assert!(tally.of(machine, DIRTY_FILE) > 0, "{:?}", tally.since(machine));
        machine.settle();
        assert!(machine.world.disks.stat(FILES).writes >= 32, "the flusher was called");
        drop(file);
        prove(machine);
    });
}

/// CTRL-05: as long as there is enough that is clean, laptop mode leaves the disk alone: the oldest pages
/// are dirty, and a round takes those behind them.
#[test]
fn in_laptop_mode_dirty_files_are_left_alone_before_trouble() {
    // A scan looks at six of so many, then at 12, then at 25: enough before there is trouble.
    const CLEAN: u32 = 26_000;
    const DIRTY: u32 = 8;
    let mut config = small(DiskConfig::sync(64));
    config.hardware.memory = std::iter::once(0..32_768).collect();
    config.hardware.disks.push(DiskConfig { is_swap: false, ..DiskConfig::sync(CLEAN + DIRTY) });
    config.mm.swappiness = 0;
    for laptop in [false, true] {
        Machine::run(&config, |machine| {
            machine.mm.set_dirty_ratios(90, 95);
            let (file, _) = dirty_file(machine, DIRTY);
            let (clean, _) = clean_file(machine, CLEAN);
            machine.mm.set_laptop_mode(laptop);
            let (tally, before) = (Tally::new(machine), machine.world.disks.stat(FILES).writes);
            direct_round(machine, Gfp::KERNEL);
            machine.settle();
            let met = tally.of(machine, DIRTY_FILE) > 0;
            let wrote = machine.world.disks.stat(FILES).writes > before;
            assert_eq!((met, wrote), (!laptop, !laptop), "{:?}", tally.since(machine));
            drop((file, clean));
            prove(machine);
        });
    }
}

/// SHRZ-07, SHRZ-11: a batch of dirty pages that nobody writes flags the zone and calls the flusher, who
/// writes as many, whatever the limits say; in balance the flag goes.
#[test]
fn the_flusher_writes_what_reclaim_found_dirty() {
    with_file_disk(DiskConfig::sync(1024), |machine| {
        let (file, _) = dirty_file(machine, 64);
        machine.settle();
        assert_eq!(machine.mm.dirty_state().dirty, 64, "below the limits, and young");
        direct_round(machine, Gfp::KERNEL);
        assert!(machine.mm.zones().all(|zone| zone.flags().contains(ZoneFlags::DIRTY)));
        machine.settle();
        assert!(machine.mm.dirty_state().dirty <= 32, "{:?}", machine.mm.dirty_state());
        assert!(machine.world.disks.stat(FILES).writes >= 32);
        drop(file);
        prove(machine);
    });
}

/// SHRZ-06: program text that was used stays on the active list when that is scanned; data does not.
#[test]
fn text_in_use_stays_active() {
    for prot in [Prot::READ, Prot::READ | Prot::EXEC] {
        with_file_disk(DiskConfig::sync(1024), |machine| {
            let (mut file, _) = clean_file(machine, 200);
            (0..200).for_each(|index| drop(file.read(index * PAGE, 8)));
            assert_eq!(on_list(machine, LruList::ActiveFile), 200);
            let (cache, _) = clean_file(machine, 150);
            let program = Program::new(machine);
            let (space, flags) = (program.space, AreaFlags::SHARED);
            let at = machine.mm.mmap_file(space, Place::Anywhere, prot, flags, file.file(), 0..200);
            let at = at.expect("room for an area");
            for index in 0..200 {
                program.touch((at + index).addr(), Touch::Load).expect("a mapped page");
            }
            direct_round(machine, Gfp::KERNEL);
            let [scanned, rotated, moved] =
                [VmEvent::PgRefill, VmEvent::NrRotated, VmEvent::PgDeactivate]
                    .map(|of| event(machine, of));
            assert!(scanned > 0 && rotated == scanned, "{rotated} of {scanned} were used");
            let is_text = prot.contains(Prot::EXEC);
            assert_eq!(moved, if is_text { 0 } else { scanned }, "text: {is_text}");
            drop((program, file, cache));
            prove(machine);
        });
    }
}

/// A stream of files does not drive out a program that is in use: of a hot set of half of memory at most
/// 2 % comes back from swap in each pass of a file larger than memory.
#[test]
fn a_stream_does_not_drive_out_the_hot_set() {
    Machine::run(&with_files(DiskConfig::sync(8192)), |machine| {
        let pages = machine.mm.total_managed();
        let mut file = written(machine, 6000);
        let mut program = Program::new(machine);
        let hot = pages / 2;
        let area = program.map(hot);
        program.write_all(area.clone());
        program.check_all(area.clone());
        for pass in 0..3 {
            let before = event(machine, VmEvent::WorkingsetRefaultAnon);
            for part in 0..12 {
                file.read(part * 500 * PAGE, 500 * PAGE_SIZE).expect("a disk that works");
                program.check_all(area.clone());
            }
            let back = event(machine, VmEvent::WorkingsetRefaultAnon) - before;
            assert!(back <= u64::from(hot) / 50, "pass {pass}: {back} of {hot} pages came back");
        }
        drop(file);
        machine.validate();
    });
}

/// LRU-09, SHRK-01: nodes that hold nothing but shadows stay below one for each eight pages of memory,
/// whatever is read: here each page that is evicted leaves a node of its own.
#[test]
fn shadows_of_a_sparse_file_take_little_memory() {
    Machine::run(&with_files(DiskConfig::sync(64)), |machine| {
        let mut file = OpenFile::create(machine, DISK);
        file.truncate(12_000 * 64 * PAGE).expect("no room is needed for holes");
        let limit = machine.mm.total_managed() / 8;
        let mut most = 0;
        for index in 0..12_000 {
            assert_eq!(file.read(index * 64 * PAGE, 1), Ok(vec![0]));
            most = most.max(machine.mm.shadow_nodes());
        }
        assert!(most > limit / 2, "{most} nodes: the test does not test");
        // Half of the surplus goes at each call, and reclaim leaves up to 32 more before the next.
        assert!(most <= limit + 64, "{most} nodes of shadows, and {limit} may be");
        drop(file);
        machine.validate();
        assert_eq!(machine.mm.shadow_nodes(), 0);
    });
}

/// A cache of objects without pages.
struct Objects {
    left: AtomicU64,
    freed: AtomicU64,
}

impl Shrinker for Objects {
    fn count(&self, _gfp: Gfp) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    fn scan(&self, objects: u64, _gfp: Gfp) -> Option<Shrunk> {
        self.left.fetch_sub(objects, Ordering::Relaxed);
        self.freed.fetch_add(objects, Ordering::Relaxed);
        Some(Shrunk { scanned: objects, pages: 0 })
    }
}

/// SHRK-01: a registered cache shrinks as the lists do: where reclaim has scanned as many pages as there
/// are, about twice as many objects as there are were scanned, of what is left each time.
#[test]
fn a_registered_cache_shrinks_with_the_lists() {
    Machine::run(&with_files(DiskConfig::sync(8192)), |machine| {
        let objects = Objects { left: AtomicU64::new(100_000), freed: AtomicU64::new(0) };
        let objects: &'static Objects = Box::leak(Box::new(objects));
        assert_eq!(machine.mm.register_shrinker(objects), Ok(()));
        let mut file = written(machine, 3000);
        file.read(0, 3000 * PAGE_SIZE).expect("a disk that works");
        assert_eq!(objects.freed.load(Ordering::Relaxed), 0, "no reclaim, no scan");
        let mut stream = written(machine, 4000);
        stream.read(0, 4000 * PAGE_SIZE).expect("a disk that works");
        let freed = objects.freed.load(Ordering::Relaxed);
        assert!((50_000..100_000).contains(&freed), "{freed} objects, {:?} pages", scans(machine));
        drop((file, stream));
        machine.validate();
    });
}
