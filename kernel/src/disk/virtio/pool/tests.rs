//! Waiting transfers become chains; tickets end once, when all of their transfers have.

use std::collections::BTreeMap;

use splitmix::SplitMix64;

use super::*;

const PAGE: u32 = 4096;

fn page(op: Op, page: u64, address: usize) -> Transfer {
    Transfer { op, sector: 8 * page, address, bytes: PAGE }
}

/// A pool in which these pages wait, the n-th with the number n and at a frame of its own.
fn waiting(op: Op, pages: &[u64]) -> Pool<usize> {
    let mut pool = Pool::new();
    for (n, &at) in pages.iter().enumerate() {
        pool.add(n, &[page(op, at, 0x10_0000 + n * 0x2000)]).unwrap();
    }
    pool
}

/// The first page and the number of pages of each chain.
fn chains(pool: &mut Pool<usize>, transfers: usize, buffers: usize) -> Vec<(u64, u32)> {
    let next = || pool.take(transfers, buffers, true);
    std::iter::from_fn(next).map(|chain| (chain.sector / 8, chain.bytes / PAGE)).collect()
}

#[test]
fn pages_next_to_each_other_are_one_request() {
    let mut pool = waiting(Op::Write, &[7, 8, 100, 9, 101, 50, 10]);
    assert_eq!(chains(&mut pool, MOST_CHAINED, 32), [(7, 4), (100, 2), (50, 1)]);
    assert!(!pool.has_waiting());
    let mut pool = waiting(Op::Read, &[8, 7, 6]);
    assert_eq!(chains(&mut pool, MOST_CHAINED, 32), [(8, 1), (7, 1), (6, 1)], "only forwards");
}

#[test]
fn a_request_has_one_direction_and_32_pages_at_most() {
    let mut pool = waiting(Op::Write, &[1]);
    pool.add(9, &[page(Op::Read, 2, 0)]).unwrap();
    assert_eq!(chains(&mut pool, MOST_CHAINED, 32), [(1, 1), (2, 1)]);
    let mut pool = waiting(Op::Write, &(0..70).collect::<Vec<_>>());
    assert_eq!(chains(&mut pool, MOST_CHAINED, 32), [(0, 32), (32, 32), (64, 6)]);
    let mut pool = waiting(Op::Write, &(0..10).collect::<Vec<_>>());
    assert_eq!(chains(&mut pool, MOST_CHAINED, 4), [(0, 4), (4, 4), (8, 2)]);
    let mut pool = waiting(Op::Write, &[0]);
    assert_eq!(pool.take(MOST_CHAINED, 0, true), None, "without room it waits");
    assert!(pool.has_waiting());
    let mut pool = Pool::new();
    for n in 0..3 {
        pool.add(n, &[Transfer::FLUSH]).unwrap();
    }
    assert_eq!(chains(&mut pool, MOST_CHAINED, 32), [(0, 0); 3], "flushes stay apart");
}

#[test]
fn memory_that_touches_is_one_stretch_if_the_device_can() {
    for (joins, expected) in [
        (true, vec![(0x5000, 0x2000), (0x9000, 0x1000)]),
        (false, vec![(0x5000, 0x1000), (0x6000, 0x1000), (0x9000, 0x1000)]),
    ] {
        let mut pool = Pool::new();
        for (n, address) in [0x5000, 0x6000, 0x9000].into_iter().enumerate() {
            pool.add(n, &[page(Op::Read, n as u64, address)]).unwrap();
        }
        let chain = pool.take(MOST_CHAINED, 32, joins).unwrap();
        let mut found = Vec::new();
        pool.stretches(&chain, joins, |start, bytes| found.push((start, bytes)));
        assert_eq!(found, expected);
        assert_eq!(usize::from(chain.buffers), found.len());
    }
}

#[test]
fn a_page_of_parts_ends_with_its_last_and_fails_with_any() {
    let mut pool = Pool::new();
    let parts = [0, 100, 200].map(|sector| Transfer { bytes: 1024, ..page(Op::Read, sector, 0) });
    pool.add("page", &parts).unwrap();
    let chains: Vec<_> = std::iter::from_fn(|| pool.take(MOST_CHAINED, 32, true)).collect();
    assert_eq!(chains.len(), 3);
    for (n, failed) in [(2, false), (0, true)] {
        pool.end(&chains[n], failed);
        assert_eq!(pool.take_ended(), None);
    }
    pool.end(&chains[1], false);
    assert_eq!(pool.take_ended(), Some(("page", true)));
    assert_eq!(pool.take_ended(), None);
}

#[test]
fn a_full_table_gives_the_owner_back() {
    let mut pool = waiting(Op::Write, &[3; ROOM]);
    assert!(pool.is_congested() && !pool.has_room(1));
    assert_eq!(pool.add(999, &[page(Op::Write, 0, 0)]), Err(999));
    pool.fail_waiting();
    assert_eq!(std::iter::from_fn(|| pool.take_ended()).count(), ROOM);
    assert!(pool.has_room(ROOM) && !pool.is_congested());
    assert_eq!(pool.add(1, &[]), Err(1), "a ticket without transfers would never end");
}

/// Random histories: each ticket ends exactly once, as a failure if one of its transfers was one, and
/// in the end the tables are empty.
#[test]
fn every_ticket_ends_once() {
    let mut numbers = SplitMix64::new(20);
    let mut pool = Pool::<u64>::new();
    let mut fails = BTreeMap::<u64, bool>::new();
    let mut parts_of = BTreeMap::<u64, u64>::new();
    let mut flying = Vec::new();
    for step in 0..100_000u64 {
        let number = numbers.next();
        match number % 4 {
            0 | 1 => {
                let count = 1 + (number >> 8) as usize % MOST_PARTS;
                let at = (number >> 16) % 64;
                let list: Vec<_> = (0..count as u64).map(|n| page(Op::Write, at + n, 0)).collect();
                if pool.add(step, &list).is_ok() {
                    fails.insert(step, false);
                    parts_of.insert(step, count as u64);
                }
            }
            2 => flying.extend(pool.take(MOST_CHAINED, 1 + (number >> 8) as usize % 34, false)),
            _ if flying.is_empty() => {}
            _ => {
                let chain = flying.swap_remove((number >> 8) as usize % flying.len());
                let failed = number >> 60 == 0;
                let mut at = chain.first;
                for _ in 0..chain.count {
                    let place = pool.places[at as usize];
                    let owner = pool.tickets[place.ticket as usize].owner.unwrap();
                    *fails.get_mut(&owner).unwrap() |= failed;
                    *parts_of.get_mut(&owner).unwrap() -= 1;
                    at = place.next;
                }
                pool.end(&chain, failed);
            }
        }
        while let Some((owner, failed)) = pool.take_ended() {
            assert_eq!(fails.remove(&owner), Some(failed), "step {step}");
            assert_eq!(parts_of.remove(&owner), Some(0), "step {step}");
        }
    }
    pool.fail_waiting();
    flying.iter().for_each(|chain| pool.end(chain, true));
    while let Some((owner, _)) = pool.take_ended() {
        assert!(fails.remove(&owner).is_some());
    }
    assert!(fails.is_empty());
    assert_eq!((pool.free_places, pool.free_tickets), (u128::MAX, u128::MAX));
}
