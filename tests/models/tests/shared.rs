//! Models of the protocols of shared memory, as `files.rs` has those of files.
#![cfg(shuttle)]

use models::disk::Pace;
use models::explore::explore;
use models::files::OpenFile;
use models::machine::{Body, Machine, task};
use models::program::Program;

/// So many pages of shared memory, which two programs map; each holds 100 and its number.
fn in_two_programs<'m>(
    machine: Machine<'m>,
    pages: u32,
) -> (OpenFile<'m>, Program<'m>, Program<'m>) {
    machine.mm.set_page_cluster(0);
    let file = machine.shared_memory(pages);
    let (one, other) = (file.map(pages, true), file.map(pages, true));
    for page in 0..pages {
        one.try_store(page, 100 + u64::from(page));
    }
    machine.mm.lru_add_drain_all();
    (file, one, other)
}

/// SHM-01: pages of shared memory are moved to swap while programs fault on them, and back.
#[test]
fn shared_swap_out_against_fault() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let (file, one, other) = in_two_programs(machine, 4);
        machine.press(40);
        file.close();
        let stores = move |_: Machine<'_>| {
            for round in 1..3 {
                (0..2).for_each(|page| {
                    assert!(one.try_store(page, round).is_some());
                    one.page_out(page);
                    assert_eq!(one.load(page), Some(round));
                });
            }
            one.exit();
        };
        let loads = move |_: Machine<'_>| {
            for _ in 0..2 {
                (0..2).for_each(|page| assert!(other.load(page).is_some()));
                (2..4).for_each(|page| {
                    assert_eq!(other.load(page), Some(100 + u64::from(page)));
                    other.page_out(page);
                });
            }
            other.exit();
        };
        vec![task(stores), task(loads), task(|machine| machine.press(60))]
    }
    explore("shared_swap_out_against_fault", &[], || {
        Machine::run_with_files(40, Pace::Later, tasks);
    });
}

/// SHM-01, FILE-05: shared memory is cut off, and loses its last user, while its pages are on their
/// way to swap or back.
#[test]
fn shared_swap_out_against_last_put() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let (file, one, other) = in_two_programs(machine, 4);
        (0..2).for_each(|page| one.page_out(page));
        let cuts = move |_: Machine<'_>| {
            file.set_pages(1);
            (1..4).for_each(|page| {
                assert_eq!(one.load(page), None, "page {page} is mapped");
            });
            file.close();
            assert_eq!(one.load(0), Some(100));
            one.exit();
        };
        let faults = move |_: Machine<'_>| {
            for page in (0..4).rev() {
                other.load(page);
            }
            other.page_out(0);
            other.exit();
        };
        vec![task(cuts), task(faults), task(|machine| machine.press(60))]
    }
    explore("shared_swap_out_against_last_put", &[], || {
        Machine::run_with_files(40, Pace::AtOnce, tasks);
    });
}

/// SHM-01: swap goes away while pages of shared memory are on their way to it or back.
#[test]
fn shared_memory_against_swapoff() {
    fn tasks(machine: Machine<'_>) -> Vec<Body<'_>> {
        let (file, one, other) = in_two_programs(machine, 3);
        (0..3).for_each(|page| one.page_out(page));
        let stores = move |_: Machine<'_>| {
            one.try_store(0, 7);
            one.page_out(0);
            assert_eq!(one.load(0), Some(7));
            one.exit();
        };
        let loads = move |_: Machine<'_>| {
            for _ in 0..2 {
                (1..3).for_each(|page| assert_eq!(other.load(page), Some(100 + u64::from(page))));
                other.page_out(2);
            }
            other.exit();
        };
        let ends = move |machine: Machine<'_>| {
            machine.swap_off_for_a_moment();
            file.close();
        };
        vec![task(stores), task(loads), task(ends)]
    }
    explore("shared_memory_against_swapoff", &[], || {
        Machine::run_with_files(40, Pace::AtOnce, tasks);
    });
}
