//! Mapped files: what is stored, copied, written back and lost, against what must be.

use std::collections::BTreeMap;
use std::ops::Range;

use mm_reclaim::env::{PageTables, Prot, Pte};
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::AreaFlags;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{PAGE_SIZE, Vpn};
use mm_reclaim::{Place, SyncMode};
use simulator::rng::Rng;
use simulator::tables::Touch;
use simulator::{Death, DiskConfig, Machine, OpenFile, Program};

use crate::file_cache::{DISK, content, with_files, written};

const PAGE: u64 = PAGE_SIZE as u64;
const RW: Prot = Prot::READ.union(Prot::WRITE);

/// Maps pages of a file in a program.
pub fn map<'m>(
    program: &Program<'m>,
    file: &OpenFile<'m>,
    pages: Range<u32>,
    flags: AreaFlags,
) -> Range<Vpn> {
    let len = pages.end - pages.start;
    let start = program
        .call(|mm| mm.mmap_file(program.space, Place::Anywhere, RW, flags, file.file(), pages));
    let start = start.expect("room for an area");
    start..start + len
}

fn word_of(file: &OpenFile<'_>, index: u64) -> u64 {
    u64::from_le_bytes(content(file.number(), index)[..8].try_into().expect("eight bytes"))
}

fn at(area: &Range<Vpn>, page: u32) -> u64 {
    (area.start + page).addr()
}

fn store(program: &Program<'_>, addr: u64, value: u64) {
    assert!(program.touch(addr, Touch::Store(value)).is_ok(), "a store at {addr:#x}");
}

fn entry(machine: Machine<'_>, program: &Program<'_>, vpn: Vpn) -> Pte {
    machine.mm.with_tables(program.space, |tables| tables.get(vpn))
}

/// FILE-03: a store to a shared mapping reaches the file; after write-back the mapping is read-only
/// and clean, and a later store is seen again.
#[test]
fn a_store_after_writeback_is_seen() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 8);
        let program = Program::new(machine);
        let area = map(&program, &file, 0..8, AreaFlags::SHARED);
        let writes = || machine.world.disks.stat(DISK).writes;
        for round in 1..4 {
            let before = writes();
            store(&program, at(&area, 3), round);
            assert_eq!(machine.mm.dirty_state().dirty, 1);
            assert_eq!(file.read(3 * PAGE, 8), Ok(round.to_le_bytes().to_vec()));
            file.sync().expect("a disk that works");
            assert_eq!((writes() - before, machine.mm.dirty_state().dirty), (1, 0));
            let Pte::Present(mapping) = entry(machine, &program, area.start + 3) else {
                panic!("write-back unmaps nothing")
            };
            assert!(!mapping.prot.contains(Prot::WRITE) && !mapping.dirty, "{mapping:?}");
        }
        drop((program, file));
        machine.validate();
    });
}

/// FILE-03: a private mapping sees the file until its first store, which the file never sees; the
/// copy goes to swap like any anonymous page.
#[test]
fn a_private_store_stays_private() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 8);
        let program = Program::new(machine);
        let area = map(&program, &file, 0..8, AreaFlags::empty());
        assert_eq!(program.touch(at(&area, 2), Touch::Load), Ok(word_of(&file, 2)));
        store(&program, at(&area, 2), 42);
        store(&program, at(&area, 5), 43);
        assert_eq!(machine.mm.dirty_state().dirty, 0);
        program.call(|mm| mm.madvise(program.space, area.clone(), Advice::PageOut)).expect("areas");
        assert!(machine.mm.event(VmEvent::PswpOut) >= 2);
        for (page, want) in [(2, 42), (5, 43), (3, word_of(&file, 3))] {
            assert_eq!(program.touch(at(&area, page), Touch::Load), Ok(want));
        }
        assert_eq!(file.read(2 * PAGE, PAGE_SIZE), Ok(content(file.number(), 2)));
        let child = program.fork().expect("memory");
        store(&child, at(&area, 2), 44);
        assert_eq!(program.touch(at(&area, 2), Touch::Load), Ok(42));
        drop((program, child, file));
        machine.validate();
    });
}

/// FILE-04, FILE-05: an access behind the last page is a bus error, also after the file became
/// shorter under the mapping; private copies behind the end are gone.
#[test]
fn an_access_behind_the_end_is_a_bus_error() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let file = written(machine, 8);
        let program = Program::new(machine);
        let shared = map(&program, &file, 0..10, AreaFlags::SHARED);
        let private = map(&program, &file, 0..10, AreaFlags::empty());
        for area in [&shared, &private] {
            assert_eq!(program.touch(at(area, 8), Touch::Load), Err(Death::BusError));
            store(&program, at(area, 7), 7);
            store(&program, at(area, 4), 4);
        }
        file.truncate(4 * PAGE + 8).expect("a disk that works");
        for area in [&shared, &private] {
            assert_eq!(program.touch(at(area, 7), Touch::Load), Err(Death::BusError));
            assert_eq!(program.touch(at(area, 5), Touch::Store(1)), Err(Death::BusError));
            assert_eq!(program.touch(at(area, 4), Touch::Load), Ok(4));
        }
        drop((program, file));
        machine.validate();
    });
}

/// FILE-05: the file lives as long as a mapping of it, whoever closes it; then its blocks are free.
#[test]
fn a_mapping_keeps_the_file() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let file = written(machine, 8);
        let (number, want) = (file.number(), word_of(&file, 1));
        let program = Program::new(machine);
        let area = map(&program, &file, 0..8, AreaFlags::SHARED);
        let child = program.fork().expect("memory");
        drop((file, program));
        assert_eq!(child.touch(at(&area, 1), Touch::Load), Ok(want));
        store(&child, at(&area, 6), 6);
        assert!(!machine.world.files.is_evicted(number));
        drop(child);
        assert!(machine.world.files.is_evicted(number));
        assert_eq!(machine.world.files.used(DISK), 0);
        machine.validate();
    });
}

/// FILE-02: a fault maps up to 15 resident neighbours, read-only; they cost no fault of their own.
#[test]
fn a_fault_maps_resident_neighbours() {
    Machine::run(&with_files(DiskConfig::later(64)), |machine| {
        let mut file = written(machine, 64);
        file.read(0, 64 * PAGE_SIZE).expect("cached");
        let program = Program::new(machine);
        let area = map(&program, &file, 0..64, AreaFlags::SHARED);
        for page in 0..64 {
            assert_eq!(
                program.touch(at(&area, page), Touch::Load),
                Ok(word_of(&file, page.into()))
            );
        }
        let stat = machine.mm.space_stat(program.space);
        assert!(stat.min_faults <= 64 / 16 + 2, "{stat:?}");
        assert_eq!((stat.maj_faults, stat.resident), (0, 64));
        store(&program, at(&area, 9), 9);
        assert_eq!(machine.mm.dirty_state().dirty, 1, "neighbours are mapped read-only");
        drop((program, file));
        machine.validate();
    });
}

/// FILE-02, RMAP-03: a neighbour that nobody touched counts as unused where the processor would say
/// that it was used; elsewhere it has the benefit of the doubt.
#[test]
fn a_neighbour_is_young_only_where_nobody_can_tell() {
    for sets_flags in [false, true] {
        let mut config = with_files(DiskConfig::later(64));
        config.hardware.sets_flags = sets_flags;
        Machine::run(&config, |machine| {
            let file = written(machine, 16);
            let program = Program::new(machine);
            let area = map(&program, &file, 0..16, AreaFlags::SHARED);
            program.touch(at(&area, 3), Touch::Load).expect("a mapped page");
            let is_young = |page| match entry(machine, &program, area.start + page) {
                Pte::Present(mapping) => mapping.young,
                other => panic!("page {page} is {other:?}"),
            };
            assert!(is_young(3));
            assert_eq!(is_young(4), !sets_flags);
            drop((program, file));
            machine.validate();
        });
    }
}

/// RMAP-01: the mappings of one file in many places are found from each page, whatever is split,
/// merged, moved apart or forked; reclaim takes pages that any of them maps.
#[test]
fn all_mappings_of_a_page_are_found() {
    Machine::run(&with_files(DiskConfig::later(4096)), |machine| {
        let file = written(machine, 400);
        let programs: Vec<_> = (0..4).map(|_| Program::new(machine)).collect();
        let mut rng = Rng::new(11);
        let mut maps = Vec::new();
        for n in 0..120 {
            let first = rng.below(390) as u32;
            let len = 1 + rng.below(u64::from(400 - first).min(40)) as u32;
            let shared = if n % 3 == 0 { AreaFlags::empty() } else { AreaFlags::SHARED };
            let program = &programs[n % 4];
            maps.push((n % 4, first, map(program, &file, first..first + len, shared)));
        }
        for _ in 0..3 {
            for (who, first, area) in &maps {
                for page in 0..area.end - area.start {
                    let want = word_of(&file, u64::from(first + page));
                    assert_eq!(programs[*who].touch(at(area, page), Touch::Load), Ok(want));
                }
            }
            machine.validate();
            let child = programs[1].fork().expect("memory");
            for (who, _, area) in &maps {
                let middle = area.start..area.start + (area.end - area.start).div_ceil(2);
                let program = &programs[*who];
                program.call(|mm| mm.mprotect(program.space, middle, Prot::READ)).expect("an area");
            }
            machine.validate();
            drop(child);
            for (who, _, area) in &maps {
                let program = &programs[*who];
                program.call(|mm| mm.mprotect(program.space, area.clone(), RW)).expect("an area");
            }
        }
        drop((programs, file));
        machine.validate();
    });
}

/// Words of a file, by their place; others are 0.
struct Model {
    words: BTreeMap<u64, u64>,
    size: u64,
}

impl Model {
    fn cut(&mut self, range: Range<u64>) {
        self.words.retain(|at, _| !range.contains(at));
    }
}

/// Pages that a file of [`use_at_random`] may have.
const MOST: u64 = 1400;

/// FILE-03, FILE-04, FILE-05: files that are read, written, mapped, made shorter, punched, synced and
/// dropped at random, next to programs that need more memory than there is, are what a plain map of
/// words says.
#[test]
fn random_uses_of_files_agree_with_a_flat_model() {
    for seed in 0..10 {
        let mut config = with_files(DiskConfig::later(8192));
        config.hardware.seed = 100 + seed;
        if seed % 2 == 0 {
            config.hardware.disks[0] = DiskConfig::later(16 << 10);
        } else {
            config.hardware.disks[1] = DiskConfig { is_swap: false, ..DiskConfig::sync(8192) };
        }
        Machine::run(&config, |machine| {
            machine.crowd(4, |machine, task| match task {
                0..3 => use_at_random(machine, seed * 8 + task as u64),
                _ => {
                    let mut program = Program::new(machine);
                    let area = program.map(2500);
                    program.write_all(area.clone());
                    program.check_all(area);
                }
            });
            machine.validate();
        });
    }
}

fn use_at_random(machine: Machine<'_>, seed: u64) {
    let mut rng = Rng::new(seed);
    let is_stored = !seed.is_multiple_of(3);
    let mut file = match is_stored {
        true => OpenFile::create(machine, DISK),
        false => OpenFile::shared_memory(machine),
    };
    let mut model = Model { words: BTreeMap::new(), size: 0 };
    let program = Program::new(machine);
    let area = map(&program, &file, 0..MOST as u32, AreaFlags::SHARED);
    for round in 0..2500 {
        let place = rng.below(MOST) * PAGE + [0, 8, 2048, 4088][rng.below(4) as usize];
        one_use(machine, &mut file, &mut model, &program, &area, (round, place), &mut rng);
    }
    for page in 0..MOST {
        for place in [0, 8, 2048, 4088].map(|offset| page * PAGE + offset) {
            read_word(&mut file, &model, place, 9999);
        }
    }
    file.sync().expect("a disk that works");
}

fn read_word(file: &mut OpenFile<'_>, model: &Model, place: u64, round: u64) {
    let found = file.read(place, 8).expect("a disk that works");
    let len = model.size.saturating_sub(place).min(8) as usize;
    let want = model.words.get(&place).copied().unwrap_or(0).to_le_bytes();
    assert_eq!(found, want[..len], "word {place} in round {round}");
}

fn one_use<'m>(
    machine: Machine<'m>,
    file: &mut OpenFile<'m>,
    model: &mut Model,
    program: &Program<'_>,
    area: &Range<Vpn>,
    (round, place): (u64, u64),
    rng: &mut Rng,
) {
    let value = round << 32 | place;
    let addr = area.start.addr() + place;
    let is_mapped = place / PAGE < model.size.div_ceil(PAGE);
    match rng.below(24) {
        0..4 => {
            assert_eq!(file.write(place, &value.to_le_bytes()), Ok(8));
            model.words.insert(place, value);
            model.size = model.size.max(place + 8);
        }
        4..10 => {
            let stored = program.touch(addr, Touch::Store(value));
            assert_eq!(stored.err(), (!is_mapped).then_some(Death::BusError));
            if place + 8 <= model.size {
                model.words.insert(place, value);
            }
        }
        10..16 => {
            let want = if place < model.size {
                Ok(model.words.get(&place).copied().unwrap_or(0))
            } else if is_mapped {
                return;
            } else {
                Err(Death::BusError)
            };
            assert_eq!(program.touch(addr, Touch::Load), want, "word {place} in round {round}");
        }
        16 if round % 4 == 0 => {
            file.truncate(place).expect("a disk that works");
            model.cut(place..u64::MAX);
            model.size = place;
        }
        17 => {
            let end = place + rng.below(20) * PAGE;
            machine.mm.punch_hole(file.file(), place, end).expect("a disk that works");
            model.cut(place..end);
        }
        18 if round % 8 == 0 => file.sync().expect("a disk that works"),
        19 => {
            let range = (place / PAGE) as u32..(place / PAGE) as u32 + 100;
            let wrote = machine.mm.write_dirty_pages(file.file(), range, 50, SyncMode::None);
            assert!(wrote.is_ok());
        }
        20 => _ = machine.mm.drop_file_pages(file.file(), 0..MOST as u32),
        21 => {
            let from = area.start + (place / PAGE) as u32;
            let range = from..(from + 64).min(area.end);
            program.call(|mm| mm.madvise(program.space, range, Advice::PageOut)).expect("an area");
        }
        _ => read_word(file, model, place, round),
    }
}
