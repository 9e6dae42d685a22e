//! Fixed tables: handles, and what a stale one leads to.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::prelude::*;

use super::{Slot, Table};
use crate::sync::{AtomicU32, Ordering};
use crate::tests::{TestCpu, cases, panic_of};

fn slots(count: u32) -> Vec<Slot<AtomicU32>> {
    (0..count).map(|_| Slot::new(AtomicU32::new(0))).collect()
}

proptest! {
    #![proptest_config(cases(128))]

    /// A slot has one taker at a time, every slot can be taken, and a full table says so.
    #[test]
    fn handles_are_unique_until_they_are_given_back(
        count in 0..20u32,
        ops in prop::collection::vec(any::<Option<prop::sample::Index>>(), 0..80),
    ) {
        let slots = slots(count);
        let table = Table::<TestCpu, _>::new(&slots);
        let mut taken: Vec<u32> = Vec::new();
        for op in ops {
            match op {
                None => match table.take() {
                    Some((handle, value)) => {
                        prop_assert!(handle != 0 && !taken.contains(&handle));
                        prop_assert!(core::ptr::eq(value, table.at(handle)));
                        value.store(handle, Ordering::Relaxed);
                        taken.push(handle);
                    }
                    None => prop_assert_eq!(taken.len() as u32, count),
                },
                Some(index) if !taken.is_empty() => {
                    table.give(taken.swap_remove(index.index(taken.len())));
                }
                Some(_) => {}
            }
            for handle in &taken {
                prop_assert_eq!(table.at(*handle).load(Ordering::Relaxed), *handle);
            }
        }
    }
}

#[test]
fn zero_and_numbers_behind_the_end_name_nothing() {
    let slots = slots(3);
    let table = Table::<TestCpu, _>::new(&slots);
    assert!(table.get(0).is_none() && table.get(4).is_none() && table.get(u32::MAX).is_none());
    assert!((1..=3).all(|handle| table.get(handle).is_some()));
    for wrong in [0, 4] {
        panic_of(|| {
            table.at(wrong);
        });
    }
}

#[test]
fn a_stale_handle_leads_to_the_object_as_it_was_left() {
    let slots = slots(1);
    let table = Table::<TestCpu, _>::new(&slots);
    let (handle, value) = table.take().expect("a free slot");
    value.store(7, Ordering::Relaxed);
    table.give(handle);
    assert_eq!(table.at(handle).load(Ordering::Relaxed), 7);
    assert_eq!(table.take().map(|(h, v)| (h, v.load(Ordering::Relaxed))), Some((handle, 7)));
}

#[test]
fn iteration_visits_every_object_by_its_handle() {
    let slots = slots(5);
    let table = Table::<TestCpu, _>::new(&slots);
    assert_eq!(table.iter().map(|(handle, _)| handle).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert!(table.iter().all(|(handle, value)| core::ptr::eq(value, table.at(handle))));
}

type Numbers<'m> = Table<'m, TestCpu, AtomicU32>;

/// Takes a slot and gives it back, so many times.
fn take_often(table: &Numbers<'_>, rounds: u32) {
    for _ in 0..rounds {
        let Some((handle, value)) = table.take() else { continue };
        assert_eq!(value.fetch_add(1, Ordering::Relaxed), 0, "slot {handle} is shared");
        std::thread::yield_now();
        value.fetch_sub(1, Ordering::Relaxed);
        table.give(handle);
    }
}

#[test]
fn takers_on_several_cpus_never_share_a_slot() {
    let slots = slots(2);
    let table = Numbers::new(&slots);
    let rounds = if cfg!(miri) { 20 } else { 2000 };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| take_often(&table, rounds));
        }
    });
    let left: BTreeSet<u32> = core::iter::from_fn(|| table.take()).map(|(h, _)| h).collect();
    assert_eq!(left, (1..=2).collect());
}
