//! memblock against a bitmap: after any sequence of operations the three sets, and what is
//! computed from them, hold exactly the addresses that a plain array of flags says.
//!
//! A unit is half a page, so that whole frames, half frames and borders inside frames all
//! occur. The tables start with two entries, so that nearly every case also grows them; the
//! reserved set then holds the tables' own places besides, which the model learns from the
//! memory source.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::rc::Rc;

use mm_reclaim::memblock::{
    Direction, Memblock, MemblockError, NoGrowth, Region, STATIC_REGIONS, Set, StaticTables,
    TableMemory, Unreachable,
};
use mm_reclaim::units::{PAGE_SIZE, Pfn, PhysAddr};
use proptest::prelude::*;

/// Bytes that one flag of the model stands for.
const UNIT: u64 = PAGE_SIZE as u64 / 2;
/// Units that the model covers.
const UNITS: usize = 128;

fn region(first: usize, units: usize) -> Region {
    Region::new(PhysAddr(first as u64 * UNIT), units as u64 * UNIT).unwrap()
}

fn bytes(base: u64, size: u64) -> Region {
    Region::new(PhysAddr(base), size).unwrap()
}

/// What each unit is.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
struct Unit {
    memory: bool,
    reserved: bool,
    no_map: bool,
}

impl Unit {
    fn is_free(self) -> bool {
        self.memory && !self.reserved && !self.no_map
    }
}

#[derive(Clone)]
struct Model(Vec<Unit>);

impl Model {
    fn change(&mut self, at: Region, f: impl Fn(&mut Unit)) {
        let (start, end) = ((at.start.0 / UNIT) as usize, (at.end.0 / UNIT) as usize);
        self.0[start..end].iter_mut().for_each(f);
    }

    /// The maximal runs of units with a property.
    fn runs(&self, is: impl Fn(Unit) -> bool) -> Vec<Region> {
        let mut runs = Vec::new();
        let mut start = None;
        for i in 0..=UNITS {
            let in_run = i < UNITS && is(self.0[i]);
            match start {
                None if in_run => start = Some(i),
                Some(s) if !in_run => {
                    runs.push(region(s, i - s));
                    start = None;
                }
                _ => {}
            }
        }
        runs
    }

    /// Where an allocation must land: tried address by address.
    fn find(&self, size: u64, align: u64, within: Region, dir: Direction) -> Option<u64> {
        let fits = |&start: &u64| {
            let end = start + size;
            start >= within.start.0
                && end <= within.end.0
                && end <= UNITS as u64 * UNIT
                && self.all(bytes(start, size), Unit::is_free)
        };
        let mut starts = (0..UNITS as u64 * UNIT / align).map(|i| i * align);
        match dir {
            Direction::BottomUp => starts.find(fits),
            Direction::TopDown => starts.rev().find(fits),
        }
    }

    fn all(&self, at: Region, is: impl Fn(Unit) -> bool) -> bool {
        let mut units = at.start.0 / UNIT..at.end.0.div_ceil(UNIT);
        units.all(|u| is(self.0[u as usize]))
    }

    /// How many entries the fullest of the three tables needs.
    fn most_runs(&self) -> usize {
        let runs = |is: fn(Unit) -> bool| self.runs(is).len();
        runs(|u| u.memory).max(runs(|u| u.reserved)).max(runs(|u| u.no_map))
    }

    /// The frames of which every byte is free.
    fn free_frames(&self) -> Vec<Pfn> {
        (0..UNITS / 2)
            .filter(|f| self.0[2 * f].is_free() && self.0[2 * f + 1].is_free())
            .map(|f| Pfn(f as u32))
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Add(Region),
    Remove(Region),
    Reserve(Region),
    Free(Region),
    NoMap(Region),
    Alloc { size: u64, align: u64, within: Region, dir: Direction, carve: bool },
    Truncate(u64),
    Cap(u64),
}

fn some_region() -> impl Strategy<Value = Region> {
    (0..UNITS, 0..UNITS / 6).prop_map(|(s, n)| region(s, n.min(UNITS - s)))
}

fn some_op() -> impl Strategy<Value = Op> {
    let alloc = (1..12u64, 0..5u32, 0..UNITS, 0..UNITS, any::<bool>(), any::<bool>());
    prop_oneof![
        6 => some_region().prop_map(Op::Add),
        3 => some_region().prop_map(Op::Remove),
        4 => some_region().prop_map(Op::Reserve),
        3 => some_region().prop_map(Op::Free),
        2 => some_region().prop_map(Op::NoMap),
        4 => alloc.prop_map(|(units, align, a, b, up, carve)| Op::Alloc {
            size: units * UNIT,
            align: UNIT << align,
            within: region(a.min(b), a.abs_diff(b)),
            dir: if up { Direction::BottomUp } else { Direction::TopDown },
            carve,
        }),
        1 => (UNITS as u64 / 2..UNITS as u64).prop_map(|u| Op::Truncate(u * UNIT)),
        1 => (0..UNITS as u64).prop_map(|u| Op::Cap(u * UNIT)),
    ]
}

/// Slots from the heap, noting every place that was shown.
type Places = Rc<RefCell<Vec<Region>>>;

fn heap_slots(places: &Places) -> impl FnMut(Region) -> Option<&'static mut [MaybeUninit<Region>]> {
    let places = Rc::clone(places);
    move |at| {
        places.borrow_mut().push(at);
        let slots = at.size() as usize / size_of::<Region>();
        Some(Box::leak(vec![MaybeUninit::uninit(); slots].into_boxed_slice()))
    }
}

impl Op {
    /// The range that the operation is about, and the model after it; `None` where an
    /// allocation finds no room.
    fn on_model(&self, model: &Model) -> Option<(Region, Model)> {
        let touched = match *self {
            Self::Add(r) | Self::Remove(r) | Self::Reserve(r) | Self::Free(r) | Self::NoMap(r) => r,
            Self::Alloc { size, align, within, dir, .. } => {
                bytes(model.find(size, align, within, dir)?, size)
            }
            Self::Truncate(end) => bytes(end, UNITS as u64 * UNIT - end),
            Self::Cap(limit) => {
                // The first units of memory stay: what comes after them is trimmed.
                let mut memory = (0..UNITS).filter(|&u| model.0[u].memory);
                let first = memory.nth((limit / UNIT) as usize).unwrap_or(UNITS);
                region(first, UNITS - first)
            }
        };
        Some((touched, self.on_model_at(model, touched)))
    }

    /// The model after the operation on `touched`.
    fn on_model_at(&self, model: &Model, touched: Region) -> Model {
        let mut after = model.clone();
        after.change(touched, |u| match self {
            Self::Add(_) => u.memory = true,
            Self::Reserve(_) | Self::Alloc { carve: false, .. } => u.reserved = true,
            Self::Free(_) => u.reserved = false,
            Self::NoMap(_) => u.no_map = true,
            _ => u.memory = false,
        });
        after
    }

    /// Does it; the range is the one that the operation chose, if it chooses one.
    fn on_block<T>(&self, block: &mut Memblock<'static, T>) -> Result<Option<Region>, MemblockError>
    where
        T: TableMemory<'static>,
    {
        match *self {
            Self::Add(r) => block.add(r)?,
            Self::Remove(r) => block.remove(r)?,
            Self::Reserve(r) => block.reserve(r)?,
            Self::Free(r) => block.free(r)?,
            Self::NoMap(r) => block.mark_nomap(r)?,
            Self::Truncate(end) => block.truncate(PhysAddr(end)),
            Self::Cap(limit) => block.cap(limit),
            Self::Alloc { size, align, within, dir, carve: true } => {
                return block.carve(size, align, within, dir).map(Some);
            }
            Self::Alloc { size, align, within, dir, carve: false } => {
                return block.alloc(size, align, within, dir).map(Some);
            }
        }
        Ok(None)
    }
}

/// Memblock and the model agree about how the operation ended, and about what is left.
fn step<T>(block: &mut Memblock<'static, T>, model: &mut Model, op: &Op, places: &Places)
where
    T: TableMemory<'static>,
{
    let expected = op.on_model(model);
    let result = op.on_block(block);
    for place in places.borrow_mut().drain(..) {
        let (touched, _) = expected.as_ref().expect("no room, yet a table grew");
        assert!(model.all(place, Unit::is_free), "{place:?} was taken");
        assert!(touched.intersection(place).is_empty(), "{place:?} is in the range of {op:?}");
        model.change(place, |u| u.reserved = true);
    }
    match (result, expected) {
        (Ok(chosen), Some((touched, _))) => {
            assert!(chosen.is_none_or(|c| c == touched), "{op:?} chose {chosen:?}");
            *model = op.on_model_at(model, touched);
        }
        (Err(MemblockError::NoRoom { .. }), None) => {}
        (Err(MemblockError::TableFull { capacity, why, .. }), Some((touched, after))) => {
            assert!(matches!(why, NoGrowth::NoRange { .. }), "{why:?}");
            assert!(after.most_runs() > capacity, "{op:?} fits into {capacity} entries");
            let mut off = model.clone();
            off.change(touched, |u| u.reserved = true);
            assert_eq!(off.free_frames(), [], "{op:?} could have grown");
        }
        (got, expected) => panic!("{op:?}: {got:?}, but {:?}", expected.map(|e| e.0)),
    }
    assert_same(block, model);
}

fn assert_same<T>(block: &Memblock<'_, T>, model: &Model) {
    let mapped = model.runs(|u| u.memory && !u.no_map);
    let free = model.runs(Unit::is_free);
    assert_eq!(block.memory().collect::<Vec<_>>(), model.runs(|u| u.memory));
    assert_eq!(block.reserved().collect::<Vec<_>>(), model.runs(|u| u.reserved));
    assert_eq!(block.no_map().collect::<Vec<_>>(), model.runs(|u| u.no_map));
    assert_eq!(block.mapped().collect::<Vec<_>>(), mapped);
    assert_eq!(block.free_ranges().collect::<Vec<_>>(), free);
    assert!(block.mapped().rev().eq(mapped.into_iter().rev()), "backwards");
    assert!(block.free_ranges().rev().eq(free.into_iter().rev()), "backwards");
    let frames = block.free_frames().flat_map(|r| r.start.0..r.end.0).map(Pfn);
    assert_eq!(frames.collect::<Vec<_>>(), model.free_frames());
    let units = model.0.iter().filter(|u| u.memory).count() as u64;
    assert_eq!(block.memory_size(), units * UNIT);
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// MEMB-03: with room in the tables, every operation does what set algebra says.
    #[test]
    fn every_operation_does_what_a_bitmap_does(ops in prop::collection::vec(some_op(), 1..60)) {
        let tables = Box::leak(Box::new(StaticTables::<STATIC_REGIONS>::new()));
        let mut block = Memblock::new(tables, Unreachable);
        let mut model = Model(vec![Unit::default(); UNITS]);
        for op in &ops {
            step(&mut block, &mut model, op, &Places::default());
        }
    }

    /// MEMB-04: tables with room for nearly nothing grow by themselves, into free memory
    /// that no operation is using; only where there is none does an operation fail, and
    /// then it has lost nothing.
    #[test]
    fn small_tables_grow_or_refuse_without_losing_anything(
        ops in prop::collection::vec(some_op(), 1..60),
    ) {
        let places = Places::default();
        let tables = Box::leak(Box::new(StaticTables::<2>::new()));
        let mut block = Memblock::new(tables, heap_slots(&places));
        let mut model = Model(vec![Unit::default(); UNITS]);
        for op in &ops {
            step(&mut block, &mut model, op, &places);
        }
    }
}

/// A map whose tables have four entries, over memory of 64 MiB.
fn small<T: TableMemory<'static>>(growth: T) -> Memblock<'static, T> {
    let tables = Box::leak(Box::new(StaticTables::<4>::new()));
    let mut block = Memblock::new(tables, growth);
    block.add(bytes(0, 64 << 20)).unwrap();
    block
}

/// MEMB-04: a table that outgrows a place of its own returns that place; in the end only the
/// last places are reserved, and all of the thousands of entries are there.
#[test]
fn an_outgrown_place_is_free_again() {
    let places = Places::default();
    let mut block = small(heap_slots(&places));
    for i in 0..3000 {
        block.remove(bytes(i * 8192, 4096)).unwrap();
    }
    assert_eq!(block.memory().count(), 3000);
    let places = places.borrow();
    assert!(places.len() >= 4, "{places:?}");
    let last = *places.last().unwrap();
    let kept: u64 = block.reserved().map(Region::size).sum();
    // The reserved table outgrew its first four entries at most once.
    assert!(kept <= last.size() + 4096, "{kept:#x} bytes reserved, the table has {last:?}");
}

/// MEMB-04: memory that cannot be reached yet makes a full table an error, with evidence; once
/// it can be reached the same operation succeeds.
#[test]
fn a_full_table_waits_for_the_linear_map() {
    let mut block = small(Unreachable);
    for i in 0..4 {
        block.reserve(bytes(i * 8192, 4096)).unwrap();
    }
    let fifth = bytes(4 * 8192, 4096);
    let at = bytes((64 << 20) - 4096, 4096);
    let why = NoGrowth::Refused { at };
    assert!(
        matches!(
            block.reserve(fifth),
            Err(MemblockError::TableFull { set: Set::Reserved, capacity: 4, why: w })
                if matches!(w, NoGrowth::Refused { .. })
        ),
        "not {why:?}"
    );
    assert_eq!(block.reserved().count(), 4);
    // Growing a range that is there needs no entry.
    block.reserve(bytes(3 * 8192, 8192)).unwrap();

    let places = Places::default();
    let mut block = block.with_table_memory(heap_slots(&places));
    block.reserve(bytes(6 * 8192, 4096)).unwrap();
    assert_eq!(*places.borrow(), [at]);
    assert_eq!(block.reserved().count(), 6);
}

/// MEMB-04: a range that the kernel refuses is passed over for one that it can reach.
#[test]
fn a_table_grows_into_the_highest_reachable_range() {
    let low = bytes(0, 16 << 20);
    let places = Places::default();
    let mut heap = heap_slots(&places);
    let mut block = small(move |at: Region| if at.end <= low.end { heap(at) } else { None });
    block.remove(bytes(16 << 20, 4096)).unwrap();
    for i in 0..6 {
        block.reserve(bytes((32 << 20) + i * 8192, 4096)).unwrap();
    }
    assert_eq!(*places.borrow(), [bytes((16 << 20) - 4096, 4096)]);
}

/// MEMB-03: a range that leaves the address space is an error that names it.
#[test]
fn an_overflowing_range_is_an_error() {
    let base = PhysAddr(u64::MAX - 10);
    assert_eq!(Region::new(base, 11), Err(MemblockError::Overflow { base, size: 11 }));
    assert!(Region::new(base, 10).is_ok());
}

/// MEMB-03: nonsense requests are refused, not rounded.
#[test]
fn a_senseless_allocation_is_an_error() {
    let mut block = small(Unreachable);
    for (size, align) in [(0, 4096), (4096, 0), (4096, 3)] {
        let result = block.alloc(size, align, Region::ALL, Direction::TopDown);
        assert_eq!(result, Err(MemblockError::BadRequest { size, align }));
    }
    let huge = block.alloc(u64::MAX, 1 << 63, Region::ALL, Direction::BottomUp);
    assert!(matches!(huge, Err(MemblockError::NoRoom { .. })), "{huge:?}");
}

/// MEMB-02: `no-map` holds whether the mark or the memory comes first.
#[test]
fn no_map_memory_is_neither_mapped_nor_allocated() {
    let mut block = small(Unreachable);
    block.mark_nomap(bytes(64 << 20, 64 << 20)).unwrap();
    block.add(bytes(64 << 20, 128 << 20)).unwrap();
    let mapped: Vec<_> = block.mapped().collect();
    assert_eq!(mapped, [bytes(0, 64 << 20), bytes(128 << 20, 64 << 20)]);
    let found = block.alloc(4096, 4096, bytes(0, 128 << 20), Direction::TopDown).unwrap();
    assert_eq!(found, bytes((64 << 20) - 4096, 4096));
    assert_eq!(block.memory().count(), 1, "it is memory all the same");
}

/// MEMB-02: `mem=` counts memory, not addresses: holes are free of charge.
#[test]
fn mem_trims_the_end_over_holes() {
    let mut block = small(Unreachable);
    block.add(bytes(1 << 30, 64 << 20)).unwrap();
    block.cap(80 << 20);
    let memory: Vec<_> = block.memory().collect();
    assert_eq!(memory, [bytes(0, 64 << 20), bytes(1 << 30, 16 << 20)]);
    block.cap(u64::MAX);
    assert_eq!(block.memory_size(), 80 << 20);
}

/// MEMB-05: what is handed over is the whole map.
#[test]
fn hand_over_gives_the_map_as_it_was() {
    let mut block = small(Unreachable);
    block.reserve(bytes(4096, 4096)).unwrap();
    let free: Vec<_> = block.free_ranges().collect();
    let map = block.hand_over();
    assert_eq!(map.free_ranges().collect::<Vec<_>>(), free);
    let frames: Vec<_> = map.free_frames().collect();
    assert_eq!(frames, [Pfn(0)..Pfn(1), Pfn(2)..Pfn(64 << 8)]);
}
