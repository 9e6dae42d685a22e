//! Long runs: what a cycle frees, it frees while the program runs (BUDY-12).
//!
//! Each cycle runs many rounds; what the machine has taken after a thousand is what it has taken
//! at the end. `TEST_LONG=1` makes it a hundred thousand rounds of each.

use mm_reclaim::Place;
use mm_reclaim::env::Prot;
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::{AreaFlags, SpaceId, SpaceStat};
use mm_reclaim::units::Vpn;
use simulator::{DiskConfig, Machine, Program};

use crate::bench::{on, prove};
use crate::campaigns::{is_long, swap_on};

const RW: Prot = Prot::READ.union(Prot::WRITE);
/// After this many rounds the state no longer changes.
const SETTLED: u32 = 1000;

/// What the machine has taken.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Taken {
    free: u32,
    free_slots: u32,
    census: mm_reclaim::Census,
    space: (u32, u32, u32),
}

impl Taken {
    fn of(machine: Machine<'_>, program: &Program<'_>) -> Self {
        prove(machine);
        machine.mm.trim_tables();
        let census = machine.mm.validate().expect("sound");
        let SpaceStat { resident, swapped, table_frames, .. } =
            machine.mm.space_stat(program.space);
        Self {
            free: machine.mm.total_free(),
            free_slots: machine.mm.swap_pages().1,
            census,
            space: (resident, swapped, table_frames),
        }
    }
}

/// Runs a cycle: few rounds every day, a hundred thousand in a long run.
fn lives(everyday: u32, mut round: impl FnMut(Machine<'_>, &mut Program<'_>, u32)) {
    on(DiskConfig::sync(1024), |machine| {
        let mut program = Program::new(machine);
        let area = program.map(8);
        program.write_all(area.clone());
        let rounds = if is_long() { 100_000 } else { everyday.max(2 * SETTLED) };
        let mut settled = None;
        for number in 1..=rounds {
            round(machine, &mut program, number);
            if number == SETTLED {
                settled = Some(Taken::of(machine, &program));
            }
        }
        assert_eq!(settled, Some(Taken::of(machine, &program)));
        program.check_all(area);
    });
}

/// BUDY-12: a page mapped and unmapped in a different 2 MiB each time leaves no table behind.
#[test]
fn tables_of_mappings_that_are_gone_come_back() {
    lives(20_000, |_, program, number| {
        // Up and down through 100 GiB.
        let at = Vpn(0x1_0000 + (number % 50_000) * 512);
        program.map_at(Place::Fixed(at), 1).expect("room");
        program.write(at).expect("alive");
        program.unmap(at..at + 1).expect("mapped");
    });
}

/// BUDY-12: rights removed and restored page by page leave the areas as they were.
#[test]
fn areas_whose_rights_come_back_are_one_again() {
    lives(20_000, |machine, program, number| {
        let area =
            machine.mm.mmap(program.space, Place::Hint(Vpn(0x8000)), 64, RW, AreaFlags::empty());
        let start = area.expect("room");
        let page = start + number % 64;
        machine.mm.mprotect(program.space, page..page + 1, Prot::empty()).expect("mapped");
        machine.mm.mprotect(program.space, page..page + 1, RW).expect("mapped");
        program.write(page).expect("alive");
        program.unmap(start..start + 64).expect("mapped");
    });
}

/// BUDY-12: locking and unlocking in steps leaves neither areas nor marks.
#[test]
fn locking_in_steps_leaves_nothing() {
    let mut area = None;
    lives(10_000, |_, program, number| {
        let area = area.get_or_insert_with(|| program.map(64)).clone();
        let page = area.start + number % 62;
        program.lock(page..page + 2, true).expect("memory");
        program.lock(page..page + 1, false).expect("mapped");
        program.lock(page + 1..page + 2, false).expect("mapped");
        program.advise(page..page + 2, Advice::DontNeed).expect("mapped");
    });
}

/// BUDY-12: children start and end, with and without pages of their own.
#[test]
fn children_that_are_gone_leave_nothing() {
    lives(5_000, |_, program, number| {
        let mut child = program.fork().expect("a child");
        let page = child.map(3).start;
        child.write(page + number % 3).expect("alive");
        child.exit();
    });
}

/// BUDY-12, RMAP-01: generations too, of which each ends when it has a child, and leaves another
/// child that ends a little later. Families and links are as many as after the first ones.
#[test]
fn generations_that_are_gone_leave_nothing() {
    let mut aunt: Option<SpaceId> = None;
    lives(5_000, |machine, program, number| {
        let child = program.fork().expect("a child");
        let other = machine.mm.fork_space(program.space).expect("a second one");
        *program = child;
        let gone = aunt.replace(other);
        // Now and then no process is left, as when the totals are read.
        let last = aunt.take_if(|_| number % 100 == 0);
        for space in gone.into_iter().chain(last) {
            machine.mm.destroy_space(space).expect("it exists");
        }
    });
}

/// BUDY-12: so do pages on their way to swap and back.
#[test]
fn pages_that_go_and_come_back_leave_no_slot() {
    let mut area = None;
    lives(10_000, |_, program, number| {
        let area = area.get_or_insert_with(|| program.map(4)).clone();
        program.write(area.start + number % 4).expect("alive");
        program.advise(area.clone(), Advice::PageOut).expect("mapped");
        program.check_all(area);
    });
}

/// BUDY-12: a device that goes out of use and comes back, with pages on it each time.
#[test]
fn a_device_that_goes_and_comes_leaves_nothing() {
    let mut area = None;
    lives(2_000, |machine, program, _| {
        let area = area.get_or_insert_with(|| program.map(4)).clone();
        program.write_all(area.clone());
        program.advise(area, Advice::PageOut).expect("mapped");
        machine.mm.swapoff(simulator::FIRST_DISK).expect("room");
        swap_on(machine, simulator::FIRST_DISK);
    });
}

/// BUDY-12: a space with as many areas as one may have: `munmap` in the middle of one is refused
/// there and nowhere before, and everything comes back.
#[test]
fn sixty_five_thousand_areas_come_and_go() {
    let mut config = crate::bench::small(DiskConfig::sync(64));
    config.hardware.memory = std::iter::once(0..8192).collect();
    Machine::run(&config, |machine| {
        let free = crate::bench::free_between_programs(machine);
        let mut program = Program::new(machine);
        let start = Vpn(0x10_0000);
        let most = mm_reclaim::space::MAX_MAP_COUNT;
        for i in 0..most / 2 {
            let at = Place::Fixed(start + 4 * i);
            machine.mm.mmap(program.space, at, 3, RW, AreaFlags::empty()).expect("room");
        }
        for i in 0..most / 2 {
            let middle = start + 4 * i + 1;
            program.unmap(middle..middle + 1).expect("one more area");
        }
        let taken = machine.mm.validate().expect("sound");
        assert_eq!(taken.areas, most);
        let flags = AreaFlags::empty();
        let refused = machine.mm.mmap(program.space, Place::Anywhere, 2, RW, flags);
        assert_eq!(refused, Err(mm_reclaim::space::SpaceError::TableFull));
        // In the middle it would be one too many; at an end it succeeds.
        let last = start + 4 * (most / 2 - 1);
        program.write(last).expect("alive");
        program.unmap(last..last + 1).expect("a whole area");
        let one = machine.mm.mmap(program.space, Place::Fixed(last), 3, RW, flags);
        assert_eq!(
            one,
            Err(mm_reclaim::space::SpaceError::BadRange { start: last, end: last + 3 })
        );
        machine.mm.mmap(program.space, Place::Fixed(Vpn(0x8000)), 3, RW, flags).expect("room");
        assert_eq!(program.unmap(Vpn(0x8001)..Vpn(0x8002)), refused.map(drop));
        program.unmap(Vpn(0x8002)..Vpn(0x8003)).expect("an end");
        drop(program);
        assert_eq!(crate::bench::free_between_programs(machine), free);
    });
}
