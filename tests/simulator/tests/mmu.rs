//! The software MMU: flags by fault or by itself, and stale translations that really reach
//! the old frame.

use mm_reclaim::env::{Env, Mapping, PageTables, Prot, Pte, TlbEntry};
use mm_reclaim::units::{Pfn, Vpn};
use simulator::mmu::Fate;
use simulator::tables::{Fault, SoftTables, Touch};
use simulator::{Hardware, World};

const PAGE: Vpn = Vpn(0x1234);
const ADDR: u64 = 0x0123_40f8;

/// A world whose space maps `PAGE` to frame 10, with these flags.
fn mapped(world: &World, prot: Prot, young: bool, dirty: bool) -> SoftTables<'_> {
    let mut tables = world.new_tables(Pfn(1));
    let pte = Pte::Present(Mapping { pfn: Pfn(10), prot, young, dirty });
    for table in 2.. {
        if tables.set(PAGE, pte).is_ok() {
            return tables;
        }
        assert_eq!(tables.install_table(PAGE, Pfn(table)), None);
    }
    unreachable!("three levels end");
}

fn flags(tables: &SoftTables<'_>) -> (bool, bool) {
    match tables.get(PAGE) {
        Pte::Present(m) => (m.young, m.dirty),
        other => panic!("{other:?}"),
    }
}

/// RMAP-03: without help from hardware a first access faults, and so does a first store.
#[test]
fn software_flags_fault_and_stay_as_they_were() {
    let world = &World::new(&Hardware::default());
    let mut tables = mapped(world, Prot::READ | Prot::WRITE, false, false);
    assert_eq!(tables.touch(ADDR, Touch::Load), Err(Fault));
    assert_eq!(flags(&tables), (false, false));
    tables.mark_accessed(PAGE, false);
    assert_eq!(tables.touch(ADDR, Touch::Load), Ok(0));
    assert_eq!(tables.touch(ADDR, Touch::Store(5)), Err(Fault));
    assert_eq!(flags(&tables), (true, false));
    tables.mark_accessed(PAGE, true);
    assert_eq!(tables.touch(ADDR, Touch::Store(5)), Ok(0));
    assert_eq!(tables.touch(ADDR, Touch::Load), Ok(5));
}

/// RMAP-03: hardware that keeps the flags sets them at the access and does not fault.
#[test]
fn hardware_flags_are_set_by_the_access() {
    let world = &World::new(&Hardware { sets_flags: true, ..Hardware::default() });
    let mut tables = mapped(world, Prot::READ | Prot::WRITE, false, false);
    assert_eq!(tables.touch(ADDR, Touch::Load), Ok(0));
    assert_eq!(flags(&tables), (true, false));
    assert_eq!(tables.touch(ADDR, Touch::Store(5)), Ok(0));
    assert_eq!(flags(&tables), (true, true));
}

/// RMAP-02: a young flag that is cleared without a flush stays clear through later accesses;
/// after a flush the next access sets it again.
#[test]
fn a_cached_translation_hides_accesses_until_it_is_flushed() {
    let world = &World::new(&Hardware { sets_flags: true, ..Hardware::default() });
    let mut tables = mapped(world, Prot::READ, false, false);
    assert_eq!(tables.touch(ADDR, Touch::Load), Ok(0));
    assert!(tables.test_and_clear_young(PAGE));
    assert_eq!(tables.touch(ADDR, Touch::Load), Ok(0));
    assert_eq!(flags(&tables), (false, false), "the TLB hid the access");
    world.flush_tlb(&[TlbEntry { asid: tables.asid(), vpn: PAGE }]);
    assert_eq!(tables.touch(ADDR, Touch::Load), Ok(0));
    assert_eq!(flags(&tables), (true, false));
}

/// RMAP-06: until the flush, a store through a dirty cached translation reaches the frame
/// that the page no longer has; a clean one must look at the tables and faults.
#[test]
fn a_stale_translation_reaches_the_old_frame() {
    for dirty in [true, false] {
        let world = &World::new(&Hardware { sets_flags: true, ..Hardware::default() });
        let mut tables = mapped(world, Prot::READ | Prot::WRITE, true, dirty);
        assert_eq!(tables.touch(ADDR, Touch::Load), Ok(0));
        tables.replace(PAGE, Pte::NotPresent(9));
        let stored = tables.touch(ADDR, Touch::Store(6));
        assert_eq!(stored.is_ok(), dirty, "{stored:?}");
        assert_eq!(world.arena.is_zero(Pfn(10)), !dirty);
        world.flush_tlb_space(tables.asid());
        assert_eq!(tables.touch(ADDR, Touch::Load), Err(Fault));
        assert_eq!(tables.get(PAGE), Pte::NotPresent(9), "a fault changes nothing");
    }
}

/// An access that the rights forbid faults, whatever the flags and the hardware.
#[test]
fn rights_are_kept() {
    for sets_flags in [false, true] {
        let world = &World::new(&Hardware { sets_flags, ..Hardware::default() });
        let mut tables = mapped(world, Prot::READ, true, true);
        assert_eq!(tables.touch(ADDR, Touch::Load), Ok(0));
        assert_eq!(tables.touch(ADDR, Touch::Store(1)), Err(Fault));
        assert_eq!(tables.touch(ADDR, Touch::Fetch), Err(Fault));
        assert_eq!(tables.touch(1 << 39, Touch::Load), Err(Fault), "no user address");
        assert_eq!(tables.touch(ADDR + 4096, Touch::Load), Err(Fault), "nothing mapped");
    }
}

/// After the last ASID the first free one follows, and translations of its last owner are
/// gone.
#[test]
fn asids_are_reused_without_their_translations() {
    let world = &World::new(&Hardware { max_asid: 2, ..Hardware::default() });
    let mut tables = mapped(world, Prot::READ, true, false);
    assert_eq!(tables.touch(ADDR, Touch::Load), Ok(0));
    let first = tables.asid();
    tables.replace(PAGE, Pte::None);
    drop(tables);
    let second = world.new_tables(Pfn(20));
    assert_ne!(second.asid(), first);
    let mut third = world.new_tables(Pfn(21));
    assert_eq!(third.asid(), first);
    assert_eq!(third.touch(ADDR, Touch::Load), Err(Fault));
}

/// A table frame that was freed too early is noticed by the next walk.
#[test]
#[should_panic(expected = "a table frame was overwritten or freed")]
fn a_freed_table_is_noticed() {
    use mm_reclaim::env::FrameMemory;
    let world = &World::new(&Hardware::default());
    let tables = mapped(world, Prot::READ, true, false);
    world.arena.poison(Pfn(2));
    tables.get(PAGE);
}

/// A translation stays until it is flushed, however many others there are: nothing but the flush
/// makes a frame safe to free, to reuse or to write out (RMAP-06).
#[test]
fn no_translation_is_forgotten_without_a_flush() {
    let world = &World::new(&Hardware { sets_flags: true, ..Hardware::default() });
    let mut tables = mapped(world, Prot::READ | Prot::WRITE, true, true);
    assert_eq!(tables.touch(ADDR, Touch::Store(1)), Ok(0));
    tables.replace(PAGE, Pte::None);
    let others = (0..500).map(|i| Vpn(PAGE.0 / 512 * 512 + i)).filter(|vpn| *vpn != PAGE);
    for vpn in others {
        let new = Mapping { pfn: Pfn(11), prot: Prot::READ, young: true, dirty: false };
        tables.set(vpn, Pte::Present(new)).expect("the table is there");
        assert_eq!(tables.touch(vpn.addr(), Touch::Load), Ok(0));
    }
    let refused = |frame: u32, fate| {
        let check = || world.mmu.assert_unreachable(Pfn(frame), fate);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).is_err()
    };
    for fate in [Fate::Freed, Fate::Reused, Fate::Written] {
        assert!(refused(10, fate), "{fate:?}");
    }
    assert!(refused(11, Fate::Freed) && !refused(11, Fate::Written), "loads do no harm there");
    world.flush_tlb(&[TlbEntry { asid: tables.asid(), vpn: PAGE }]);
    assert!(!refused(10, Fate::Freed));
    let table = (2..10).find(|frame| refused(*frame, Fate::Freed));
    assert!(table.is_some(), "a table that is walked");
    world.flush_tlb_space(tables.asid());
    assert!((2..12).all(|frame| !refused(frame, Fate::Freed)));
}
