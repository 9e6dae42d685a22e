//! Batches of stale translations: what is flushed, and when.

use std::vec::Vec;

use super::{CAPACITY, TlbBatch};
use crate::base::units::Vpn;
use crate::env::{Asid, TlbEntry};
use crate::tests::{Asked, TestEnv, panic_of};

fn entries(range: core::ops::Range<u32>) -> Vec<TlbEntry> {
    range.map(|n| TlbEntry { asid: Asid(n as u16 % 3), vpn: Vpn(n) }).collect()
}

fn gather(batch: &mut TlbBatch, env: &TestEnv, range: core::ops::Range<u32>) {
    for entry in entries(range) {
        batch.gather(&env, entry.asid, entry.vpn);
    }
}

/// RMAP-06: one flush for the whole batch, with every pair of space and page in it.
#[test]
fn a_batch_is_flushed_in_one_go_and_once() {
    let env = &TestEnv::new();
    let mut batch = TlbBatch::new();
    gather(&mut batch, env, 0..5);
    assert_eq!(env.take_asked(), []);
    batch.flush(&env);
    assert_eq!(env.take_asked(), [Asked::Flush(entries(0..5))]);
    batch.flush(&env);
    assert_eq!(env.take_asked(), []);
}

/// RMAP-06: a full batch is flushed before it takes another entry, and loses none.
#[test]
fn a_full_batch_is_flushed_before_it_overflows() {
    let env = &TestEnv::new();
    let mut batch = TlbBatch::new();
    let full = CAPACITY as u32;
    gather(&mut batch, env, 0..full);
    assert_eq!(env.take_asked(), []);
    gather(&mut batch, env, full..full + 1);
    assert_eq!(env.take_asked(), [Asked::Flush(entries(0..full))]);
    batch.flush(&env);
    assert_eq!(env.take_asked(), [Asked::Flush(entries(full..full + 1))]);
}

/// RMAP-06: translations that were not flushed are noticed.
#[test]
fn a_batch_that_is_dropped_unflushed_panics() {
    let env = &TestEnv::new();
    let mut batch = TlbBatch::new();
    gather(&mut batch, env, 0..2);
    assert_eq!(panic_of(|| drop(batch)), "2 stale translations were forgotten");
}
