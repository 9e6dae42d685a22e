//! The accessed and dirty flags, kept by the processor or by faults, on real tables.

use core::arch::asm;

use kernel::arch::usercopy::{copy_from_user, copy_to_user};
use mm_reclaim::env::{Env, Mapping, PageTables, Pte, TlbEntry};
use mm_reclaim::mmap::Advice;
use mm_reclaim::units::Vpn;
use suite::Test;

use crate::support::{READ_WRITE, map, mm, own_space, with_space};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("flags::an_access_right_after_clear_and_flush_is_seen", || with_space(seen, 0)),
    Test::new("flags::an_access_right_after_reclaim_looked_is_seen", || with_space(seen_cold, 0)),
    Test::new("flags::a_read_makes_young_and_not_dirty", || with_space(read_is_clean, 0)),
    Test::new("flags::a_write_to_a_clean_page_makes_dirty", || with_space(write_is_dirty, 0)),
    Test::new("flags::a_write_to_a_page_that_was_given_up_is_seen", || with_space(given_up, 0)),
    Test::new("flags::faults_keep_the_flags_where_the_processor_does_not", || {
        with_space(who_keeps_them, 0);
    }),
];

/// One page that was written to.
fn page() -> Vpn {
    let vpn = map(1, READ_WRITE).start;
    store(vpn);
    vpn
}

fn store(vpn: Vpn) {
    copy_to_user(vpn.addr(), &[7; 8]).expect("the page is writable");
}

fn load(vpn: Vpn) {
    let mut bytes = [0; 8];
    copy_from_user(&mut bytes, vpn.addr()).expect("the page is readable");
    assert_eq!(bytes, [7; 8]);
}

fn entry(vpn: Vpn) -> Mapping {
    match mm().with_tables(own_space(), |tables| tables.get(vpn)) {
        Pte::Present(mapping) => mapping,
        other => panic!("{vpn:?} is {other:?}"),
    }
}

/// Clears the young flag as reclaim does; whether it was set.
fn clear_young(vpn: Vpn) -> bool {
    let (young, asid) =
        mm().with_tables(own_space(), |tables| (tables.test_and_clear_young(vpn), tables.asid()));
    mm().env().flush_tlb(&[TlbEntry { asid, vpn }]);
    young
}

/// Makes the page clean, as it is after it was written to swap.
fn clean(vpn: Vpn) {
    let asid = mm().with_tables(own_space(), |tables| {
        let Pte::Present(mapping) = tables.get(vpn) else { panic!("{vpn:?} is not present") };
        tables.replace(vpn, Pte::Present(Mapping { dirty: false, ..mapping }));
        tables.asid()
    });
    mm().env().flush_tlb(&[TlbEntry { asid, vpn }]);
}

/// RMAP-02: clear, access, test, with no switch between.
fn seen(_: usize) -> i32 {
    let vpn = page();
    assert!(clear_young(vpn), "it was written to");
    for round in 0..100 {
        assert!(!clear_young(vpn), "it was not used since round {round}");
        load(vpn);
        assert!(clear_young(vpn), "the access of round {round} was not seen");
    }
    0
}

/// RMAP-02: by the crate's own scan, whose invalidations are batched.
fn seen_cold(_: usize) -> i32 {
    let pages = map(40, READ_WRITE);
    let each = || (pages.start.0..pages.end.0).map(Vpn);
    each().for_each(store);
    for round in 0..20 {
        mm().madvise(own_space(), pages.clone(), Advice::Cold).expect("it is mapped");
        assert!(each().all(|vpn| !entry(vpn).young), "round {round}");
        each().for_each(load);
        assert!(each().all(|vpn| entry(vpn).young), "an access of round {round} was not seen");
    }
    0
}

/// RMAP-03.
fn read_is_clean(_: usize) -> i32 {
    let vpn = page();
    clean(vpn);
    clear_young(vpn);
    load(vpn);
    assert!(entry(vpn).young && !entry(vpn).dirty, "{:?}", entry(vpn));
    0
}

/// RMAP-03: the right to write stays although the page is temporarily mapped read-only.
fn write_is_dirty(_: usize) -> i32 {
    let vpn = page();
    for _ in 0..20 {
        clean(vpn);
        load(vpn);
        assert!(!entry(vpn).dirty && entry(vpn).prot == READ_WRITE);
        store(vpn);
        assert!(entry(vpn).young && entry(vpn).dirty, "{:?}", entry(vpn));
    }
    0
}

/// SPL-10, RMAP-03: right after the call, with no switch between; and reclaim drops no page that
/// was written since.
fn given_up(_: usize) -> i32 {
    let pages = map(40, READ_WRITE);
    let each = || (pages.start.0..pages.end.0).map(Vpn);
    for round in 0..20 {
        each().for_each(store);
        let given = mm().madvise(own_space(), pages.clone(), Advice::Free);
        assert!(given.is_ok_and(|given| given == 40), "{given:?} in round {round}");
        assert!(each().all(|vpn| !entry(vpn).young && !entry(vpn).dirty), "round {round}");
        each().step_by(2).for_each(store);
        assert!(each().step_by(2).all(|vpn| entry(vpn).dirty), "a store of round {round} was lost");
        mm().madvise(own_space(), pages.clone(), Advice::PageOut).expect("it is mapped");
        each().step_by(2).for_each(load);
        let gone = |vpn| mm().with_tables(own_space(), |tables| tables.get(vpn)) == Pte::None;
        assert!(each().skip(1).step_by(2).all(gone), "round {round}");
    }
    0
}

/// What ID_AA64MMFR1_EL1 offers: 1 the accessed flag, 2 the dirty state as well.
fn offered() -> u64 {
    let features: u64;
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, id_aa64mmfr1_el1", out(reg) features, options(nomem, nostack)) };
    features & 0xf
}

/// RMAP-03: a fault each where the processor offers nothing, none where it does.
fn who_keeps_them(_: usize) -> i32 {
    let faults = || mm().space_stat(own_space()).min_faults;
    let vpn = page();
    let before = faults();
    clear_young(vpn);
    load(vpn);
    let for_access = faults() - before;
    clean(vpn);
    store(vpn);
    let for_dirty = faults() - before - for_access;
    let expected = |kept: bool| u64::from(!kept);
    assert_eq!(for_access, expected(offered() >= 1), "faults for the accessed flag");
    assert_eq!(for_dirty, expected(offered() >= 2), "faults for the dirty flag");
    assert!(entry(vpn).young && entry(vpn).dirty);
    0
}
