//! Private data: a store that keeps the state of blocks with pages, which reclaim has released, and
//! pages that it still uses when their file has lost them.

use mm_reclaim::gfp::Gfp;
use mm_reclaim::page::{LruList, PageFlags};
use mm_reclaim::reclaim::{ActivateReason as Activate, FreeReason, Reason, ScanRequest};
use mm_reclaim::space::AreaFlags;
use mm_reclaim::units::{PAGE_SIZE, Pfn};
use simulator::tables::Touch;
use simulator::{DiskConfig, Machine, OpenFile, Program};

use crate::bench::{
    FILES, HeldLock, HeldPage, anything, clean_file, direct, direct_round, has, look, on_list,
    page, prove, small, with_file_disk,
};
use crate::file_maps::map;

const DISK: DiskConfig = DiskConfig::sync(1024);
const PAGE: u64 = PAGE_SIZE as u64;
const BUSY: Reason = Reason::Activate(Activate::PrivateBusy);
const CLEAN: Reason = Reason::Free(FreeReason::Clean);

/// A file of clean pages that carry private data of so many bytes each.
fn with_blocks(machine: Machine<'_>, count: u32, bytes: u64) -> (OpenFile<'_>, Vec<Pfn>) {
    let (mut file, _) = clean_file(machine, count);
    assert_eq!(machine.mm.drop_page_cache(), count);
    machine.world.files.keep_blocks(bytes);
    file.read(0, count as usize * PAGE_SIZE).expect("a disk that works");
    machine.mm.lru_add_drain_all();
    let frame = |index| machine.mm.file_frame(file.file(), index).expect("a cached page");
    let frames: Vec<Pfn> = (0..count).map(frame).collect();
    assert!(frames.iter().all(|pfn| has(machine, *pfn, PageFlags::PRIVATE)));
    assert_eq!(machine.world.files.private_pages(), count as usize);
    (file, frames)
}

/// SPL-15: the store is asked with the caller's rights; what it refuses is activated, and freed once it
/// agrees.
#[test]
fn private_data_is_released_with_the_rights_of_the_caller() {
    with_file_disk(DISK, |machine| {
        let (file, frames) = with_blocks(machine, 2, 0);
        machine.world.files.set_busy(true);
        for gfp in [Gfp::NOIO, Gfp::NOFS, Gfp::KERNEL] {
            let seen = look(machine, &frames, direct(gfp));
            assert_eq!(seen.verdicts, [(BUSY, 2)]);
            assert_eq!(machine.world.files.asked_with(gfp), 2);
        }
        assert_eq!(on_list(machine, LruList::ActiveFile), 2);
        machine.world.files.set_busy(false);
        assert_eq!(look(machine, &frames, anything()).verdicts, [(CLEAN, 2)]);
        assert_eq!(machine.world.files.private_pages(), 0);
        drop(file);
        prove(machine);
    });
}

/// FILE-06: blocks are clean or dirty one by one; with the last of them the page is clean, whatever its
/// flag says: it is freed without a write, and nothing is lost.
#[test]
fn a_page_of_clean_blocks_is_clean() {
    with_file_disk(DISK, |machine| {
        let (mut file, frames) = with_blocks(machine, 1, 0);
        assert_eq!(file.write(2000, b"block"), Ok(5));
        let (number, writes) = (file.number(), machine.world.disks.stat(FILES).writes);
        machine.world.commit(number, 0, frames[0], 0..3);
        let seen = look(machine, &frames, anything());
        assert_eq!(seen.verdicts, [(Reason::Activate(Activate::DirtyFile), 1)], "one is dirty");
        assert_eq!((seen.stat.dirty, seen.stat.unqueued), (1, 1));
        machine.world.commit(number, 0, frames[0], 3..4);
        assert!(has(machine, frames[0], PageFlags::DIRTY | PageFlags::PRIVATE));
        let seen = look(machine, &frames, anything());
        assert_eq!((&seen.verdicts[..], seen.stat.dirty), (&[(CLEAN, 1)][..], 0));
        assert_eq!(machine.mm.dirty_state().dirty, 0, "the flag went with the page");
        assert_eq!(machine.world.disks.stat(FILES).writes, writes);
        assert_eq!(file.read(1999, 7), Ok(b"\x01block\x01".to_vec()));
        drop(file);
        prove(machine);
    });
}

/// FILE-06: a store after the blocks were written makes them dirty again, by a write of the file or
/// through a mapping that was writable all the time.
#[test]
fn a_store_after_the_blocks_were_written_is_not_lost() {
    for hardware in [false, true] {
        let mut config = small(DiskConfig::sync(64));
        config.hardware.disks.push(DiskConfig { is_swap: false, ..DISK });
        (config.hardware.sets_flags, config.mm.swappiness) = (hardware, 0);
        Machine::run(&config, |machine| {
            let (mut file, frames) = with_blocks(machine, 1, 0);
            let program = Program::new(machine);
            let at = map(&program, &file, 0..1, AreaFlags::SHARED).start.addr();
            let commit = || machine.world.commit(file.number(), 0, frames[0], 0..4);
            program.touch(at, Touch::Store(1)).expect("a mapped page");
            commit();
            program.touch(at, Touch::Store(2)).expect("still writable");
            let seen = look(machine, &frames, ScanRequest::proactive());
            assert_eq!(seen.verdicts, [(Reason::Activate(Activate::DirtyFile), 1)], "{hardware}");
            commit();
            assert_eq!(file.write(8, &3_u64.to_le_bytes()), Ok(8));
            let seen = look(machine, &frames, ScanRequest::proactive());
            assert_eq!(seen.verdicts, [(Reason::Activate(Activate::DirtyFile), 1)], "{hardware}");
            file.sync().expect("a disk that works");
            assert_eq!(machine.mm.drop_file_pages(file.file(), 0..1), 1);
            let words = [2_u64.to_le_bytes(), 3_u64.to_le_bytes()].concat();
            assert_eq!(file.read(0, 16), Ok(words));
            drop((program, file));
            prove(machine);
        });
    }
}

/// FILE-06, FILE-05: truncation takes private data with the page, dirty blocks or not.
#[test]
fn truncation_takes_private_data_along() {
    with_file_disk(DISK, |machine| {
        let free = machine.mm.total_free();
        let (file, _) = with_blocks(machine, 4, 0);
        assert_eq!(file.write(PAGE, &[2; PAGE_SIZE]), Ok(PAGE_SIZE));
        file.truncate(PAGE / 2).expect("a disk that works");
        assert_eq!((machine.world.files.private_pages(), machine.world.files.orphans()), (1, 0));
        prove(machine);
        drop(file);
        prove(machine);
        assert_eq!(machine.world.files.private_pages(), 0);
        assert!(machine.mm.total_free() + 8 > free, "what is left is the crate's own");
    });
}

/// SPL-15, FILE-06: pages that the store uses when their file goes are orphans: they stay, whatever
/// becomes of the file, until reclaim meets them and the store agrees.
#[test]
fn orphans_stay_until_the_store_agrees() {
    with_file_disk(DISK, |machine| {
        let (file, frames) = with_blocks(machine, 3, 0);
        machine.world.files.set_busy(true);
        drop(file);
        assert_eq!(machine.world.files.orphans(), 3);
        assert_eq!(look(machine, &frames, anything()).verdicts, [(BUSY, 3)]);
        prove(machine);
        assert!(frames.iter().all(|pfn| page(machine, *pfn).refs() == 1));
        machine.world.files.set_busy(false);
        let held = HeldPage::of(machine, frames[2]);
        let free = machine.mm.total_free();
        let seen = look(machine, &frames, direct(Gfp::NOFS));
        assert_eq!(seen.verdicts, [(Reason::Free(FreeReason::Orphan), 3)]);
        assert_eq!(machine.world.files.asked_with(Gfp::NOFS), 3);
        assert_eq!(seen.stat.reclaimed, 3, "one of them is its holder's to free");
        assert_eq!(machine.mm.total_free() - free, 2);
        drop(held);
        assert_eq!(machine.mm.total_free() - free, 3);
        assert_eq!(machine.world.files.orphans(), 0);
        prove(machine);
    });
}

/// SHRZ-06: a page of the active list keeps its private data while that takes up to a tenth of memory;
/// above, it is released, without any right to wait, unless the page is locked.
#[test]
fn private_data_beyond_a_tenth_of_memory_is_stripped_from_active_pages() {
    for above in [0, 1] {
        with_file_disk(DISK, |machine| {
            let limit = u64::from(machine.mm.total_managed()) * PAGE / 10;
            let count = 64;
            let (mut file, frames) = with_blocks(machine, count, limit / u64::from(count) + above);
            for index in 0..u64::from(count) {
                file.read(index * PAGE, 8).expect("cached");
            }
            assert_eq!(on_list(machine, LruList::ActiveFile), count, "each was used twice");
            let locks: Vec<_> = frames[..8].iter().map(|f| HeldLock::of(machine, *f)).collect();
            file.write(8 * PAGE, &[1; 8]).expect("room");
            direct_round(machine, Gfp::KERNEL);
            drop(locks);
            // Others were evicted, their data with them.
            let is_stripped = |pfn: &&Pfn| {
                has(machine, **pfn, PageFlags::FILE) && !has(machine, **pfn, PageFlags::PRIVATE)
            };
            let asked = machine.world.files.asked_with(Gfp::empty());
            assert_eq!(asked > 0, above > 0, "{asked}");
            assert!(!frames[..9].iter().any(|pfn| is_stripped(&pfn)), "locked, or dirty");
            drop(file);
            prove(machine);
        });
    }
}
