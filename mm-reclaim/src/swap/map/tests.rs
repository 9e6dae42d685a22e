//! The slots of a device against a plain table of their states.

use std::boxed::Box;
use std::collections::BTreeSet;
use std::vec::Vec;

use core::mem::MaybeUninit;

use proptest::prelude::*;

use super::{CLUSTER, Held, MAX_USES, Slot, SlotState, SwapDevice, words_for};
use crate::base::units::Pfn;
use crate::env::DeviceId;
use crate::tests::{TestCpu, cases};

type Device<'m> = SwapDevice<'m, TestCpu>;

fn memory(blocks: u32) -> Box<[MaybeUninit<Slot>]> {
    Box::new_uninit_slice(words_for(blocks))
}

fn with_device(blocks: u32, bad: &[u32], body: impl for<'m> FnOnce(Device<'m>)) {
    let mut memory = memory(blocks);
    body(Device::new(DeviceId(3), -2, blocks, &mut memory, bad.iter().copied()));
}

/// Steps on a slot, which is chosen among those in use.
#[derive(Clone, Copy, Debug)]
enum Op {
    Allocate,
    AddUse,
    PutUse,
    Cache,
    Uncache(Option<u32>),
    Break,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => Just(Op::Allocate),
        3 => Just(Op::AddUse),
        3 => Just(Op::PutUse),
        2 => Just(Op::Cache),
        3 => any::<Option<u32>>().prop_map(Op::Uncache),
        1 => Just(Op::Break),
    ]
}

const FREE: SlotState = SlotState { uses: 0, memcg: 0, broken: false, held: Held::Nothing };
const BAD: SlotState = SlotState { held: Held::Bad, ..FREE };

/// A device and the expected state of each slot.
struct Driver<'m> {
    device: Device<'m>,
    model: Vec<SlotState>,
    /// The next frame that enters the cache: each is used once.
    frame: u32,
}

impl<'m> Driver<'m> {
    fn new(device: Device<'m>, bad: &[u32]) -> Self {
        let blocks = device.blocks();
        let state = |slot| if slot == 0 || bad.contains(&slot) { BAD } else { FREE };
        Self { device, model: (0..blocks).map(state).collect(), frame: 100 }
    }

    fn free(&self) -> u32 {
        self.model.iter().filter(|state| **state == FREE).count() as u32
    }

    fn next_frame(&mut self) -> Pfn {
        self.frame += 1;
        Pfn(self.frame)
    }

    fn allocate(&mut self) {
        let (frame, memcg, free) = (self.next_frame(), self.frame as u16, self.free());
        match self.device.allocate(frame, memcg, 0) {
            Some(slot) => {
                let before = self.model[slot as usize];
                assert_eq!(before, FREE, "slot {slot} was handed out");
                self.model[slot as usize] = SlotState { memcg, held: Held::Page(frame), ..FREE };
            }
            None => assert_eq!(free, 0, "refused although slots are free"),
        }
    }

    /// The slot loses its last use and contents; returns whether it is free then.
    fn vacate(&mut self, slot: u32) -> bool {
        let state = &mut self.model[slot as usize];
        let vacant = state.uses == 0 && !matches!(state.held, Held::Page(_));
        if vacant {
            *state = if state.broken { BAD } else { FREE };
        }
        *state == FREE
    }

    fn step(&mut self, slot: u32, op: Op) {
        let device = &self.device;
        let state = &mut self.model[slot as usize];
        match op {
            Op::Allocate => self.allocate(),
            Op::AddUse => {
                assert!(device.add_use(slot));
                state.uses += 1;
            }
            Op::PutUse if state.uses > 0 => {
                state.uses -= 1;
                let freed = device.put_use(slot, || {}).is_freed_by_put();
                assert_eq!(freed, self.vacate(slot));
            }
            Op::PutUse => {}
            Op::Cache => self.cache(slot),
            Op::Uncache(shadow) => {
                let Held::Page(frame) = state.held else { return };
                state.held = shadow.map_or(Held::Nothing, Held::Shadow);
                let freed = device.uncache(slot, frame, shadow, || {});
                assert_eq!(freed, self.vacate(slot));
            }
            Op::Break => {
                device.mark_broken(slot);
                state.broken = true;
            }
        }
    }

    fn cache(&mut self, slot: u32) {
        let frame = self.next_frame();
        let state = &mut self.model[slot as usize];
        let got = self.device.cache(slot, frame);
        match state.held {
            Held::Nothing => assert_eq!(got, Ok(None)),
            Held::Shadow(shadow) => assert_eq!(got, Ok(Some(shadow))),
            Held::Page(_) | Held::Bad => return assert_eq!(got, Err(*state)),
        }
        state.held = Held::Page(frame);
    }

    fn in_use(&self) -> Vec<u32> {
        let slots = self.model.iter().enumerate();
        slots.filter(|(_, s)| **s != FREE && **s != BAD).map(|(slot, _)| slot as u32).collect()
    }

    fn check(&self) {
        for (slot, state) in self.device.iter() {
            assert_eq!(state, self.model[slot as usize], "slot {slot}");
            assert_eq!(state.is_free(), state == FREE);
        }
        assert_eq!(self.device.free(), self.free());
    }
}

proptest! {
    #![proptest_config(cases(128))]

    /// SWAP-02, SWAP-03, SWAP-04: a slot lives as long as an entry names it or a page is in
    /// it; only free slots are allocated, and all of them can be; bad and broken ones never are.
    #[test]
    fn slots_live_as_long_as_they_are_named_or_hold_a_page(
        blocks in 2..if cfg!(miri) { 40 } else { 700u32 },
        bad in prop::collection::vec(1..700u32, 0..6),
        ops in prop::collection::vec(
            (op(), any::<prop::sample::Index>()),
            0..if cfg!(miri) { 30 } else { 300 },
        ),
    ) {
        let bad: Vec<u32> = bad.into_iter().filter(|slot| *slot < blocks).collect();
        with_device(blocks, &bad, |device| {
            let distinct: BTreeSet<u32> = bad.iter().copied().collect();
            assert_eq!(device.usable(), blocks - 1 - distinct.len() as u32);
            let mut driver = Driver::new(device, &bad);
            for (op, which) in ops {
                let slots = driver.in_use();
                match slots.is_empty() {
                    true => driver.allocate(),
                    false => driver.step(slots[which.index(slots.len())], op),
                }
            }
            driver.check();
            // Every slot that is left can be allocated, and not one more.
            for _ in 0..=driver.free() {
                driver.allocate();
            }
            driver.check();
        });
    }

    /// SWAP-03: a slot's word holds count, group and contents without loss.
    #[test]
    fn a_slot_is_read_back_as_it_was_written(
        uses in 0..=MAX_USES, memcg: u16, broken: bool, kind in 0..4, value: u32,
    ) {
        let held = match kind {
            0 => Held::Nothing,
            1 => Held::Page(Pfn(value)),
            2 => Held::Shadow(value),
            _ => Held::Bad,
        };
        let state = SlotState { uses, memcg, broken, held };
        prop_assert_eq!(SlotState::decode(state.encode()), state);
    }
}

fn take(device: &Device<'_>, count: u32) -> Vec<u32> {
    (0..count).map_while(|i| device.allocate(Pfn(i), 0, 0)).collect()
}

/// Frees a slot that has no user, only a page.
fn free(device: &Device<'_>, slot: u32) {
    let Held::Page(frame) = device.state(slot).held else { panic!("slot {slot} holds no page") };
    assert!(device.uncache(slot, frame, None, || {}));
}

/// SWAP-02: the pages of a batch land in neighbouring blocks.
#[test]
fn an_empty_device_hands_its_slots_out_in_a_row() {
    with_device(4 * CLUSTER, &[], |device| {
        assert_eq!(take(&device, 4 * CLUSTER), (1..4 * CLUSTER).collect::<Vec<_>>());
        assert_eq!((device.free(), device.allocate(Pfn(1), 0, 0)), (0, None));
    });
}

/// SWAP-02: once a cluster is used up, an empty one is preferred to scattered slots, which
/// are nevertheless found when there is nothing else.
#[test]
fn an_empty_cluster_goes_before_scattered_slots() {
    with_device(6 * CLUSTER, &[], |device| {
        let all = take(&device, 6 * CLUSTER);
        let scattered: Vec<u32> = all.iter().copied().filter(|s| s % 7 == 1).collect();
        let cluster = 3 * CLUSTER..4 * CLUSTER;
        scattered.iter().filter(|slot| !cluster.contains(slot)).for_each(|s| free(&device, *s));
        cluster.clone().for_each(|slot| free(&device, slot));
        assert_eq!(take(&device, CLUSTER), cluster.clone().collect::<Vec<_>>());
        let mut rest = take(&device, 6 * CLUSTER);
        rest.sort_unstable();
        assert!(rest.iter().eq(scattered.iter().filter(|slot| !cluster.contains(slot))));
    });
}

/// SWAP-02: a cluster that was begun is finished, whatever was freed behind it.
#[test]
fn a_batch_goes_on_where_the_last_one_ended() {
    with_device(4 * CLUSTER, &[], |device| {
        let batch = take(&device, CLUSTER + 20);
        batch[..100].iter().for_each(|slot| free(&device, *slot));
        let next = *batch.last().expect("a slot") + 1;
        assert!(take(&device, 100).into_iter().eq(next..next + 100));
    });
}

/// SWAP-02: the next empty cluster is taken, and not one behind it that has become empty: a slot is
/// not rewritten at once.
#[test]
fn the_search_goes_on_from_where_it_is() {
    with_device(1 + 4 * CLUSTER, &[], |device| {
        let first = take(&device, 2 * CLUSTER - 1);
        assert_eq!(first.last(), Some(&(2 * CLUSTER - 1)));
        first.iter().for_each(|slot| free(&device, *slot));
        assert_eq!(take(&device, 2), [2 * CLUSTER, 2 * CLUSTER + 1]);
        // A cluster that was begun is finished even if a slot of it further on is in use.
        let taken = take(&device, CLUSTER - 3);
        free(&device, taken[0]);
        assert_eq!(take(&device, 2), [3 * CLUSTER - 1, 3 * CLUSTER]);
    });
}

/// SWAP-02: a cluster with a bad block is never empty, so it comes after those that are; the batch
/// then skips the bad block.
#[test]
fn a_bad_block_is_gone_around() {
    let bad = CLUSTER + 40;
    with_device(4 * CLUSTER, &[bad], |device| {
        let order = [1..CLUSTER, 2 * CLUSTER..4 * CLUSTER, CLUSTER..bad, bad + 1..2 * CLUSTER];
        assert!(take(&device, 4 * CLUSTER).into_iter().eq(order.into_iter().flatten()));
    });
}

/// SWAP-01: the last cluster of a device may be a small one, and all of it is used.
#[test]
fn every_slot_of_a_small_device_is_used() {
    for blocks in [2, 3, CLUSTER - 1, CLUSTER, CLUSTER + 1, 2 * CLUSTER + 7] {
        with_device(blocks, &[], |device| {
            let mut slots = take(&device, blocks);
            slots.sort_unstable();
            assert_eq!(slots, (1..blocks).collect::<Vec<_>>());
        });
    }
    with_device(1, &[], |device| assert_eq!(take(&device, 1), []));
}

/// SWAP-03: a full count refuses another user and does not change.
#[test]
fn the_use_count_refuses_at_its_maximum() {
    with_device(8, &[], |device| {
        let slot = device.allocate(Pfn(9), 5, 0).expect("a slot");
        assert!((0..MAX_USES).all(|_| device.add_use(slot)));
        assert!(!device.add_use(slot) && !device.add_use(slot));
        let full = SlotState { uses: MAX_USES, memcg: 5, broken: false, held: Held::Page(Pfn(9)) };
        assert_eq!(device.state(slot), full);
        assert!(!device.put_use(slot, || {}).is_freed_by_put() && device.add_use(slot));
    });
}

/// SWAP-04: only a stored page can be brought back, and only once.
#[test]
fn a_slot_holds_one_page_at_a_time() {
    with_device(8, &[2], |device| {
        let slot = device.allocate(Pfn(9), 0, 0).expect("a slot");
        assert!(device.cache(slot, Pfn(10)).is_err(), "a page is in it");
        assert!(device.add_use(slot) && !device.uncache(slot, Pfn(9), Some(77), || {}));
        assert_eq!(device.state(slot).held, Held::Shadow(77));
        assert_eq!(device.cache(slot, Pfn(11)), Ok(Some(77)));
        assert!(device.cache(slot, Pfn(12)).is_err(), "another page is in it");
        for unused in [2, 5, 0] {
            assert!(device.cache(unused, Pfn(13)).is_err(), "slot {unused} is not stored");
        }
    });
}

/// SWAP-03: a slot is discarded before it can be allocated again, and only when it is free.
#[test]
fn a_slot_is_discarded_before_it_is_handed_out_again() {
    with_device(2, &[], |device| {
        let gone = |slot| {
            assert_eq!((device.free(), device.allocate(Pfn(8), 0, 0)), (0, None));
            assert!(!device.state(slot).is_free());
        };
        let never = || panic!("it is still used");
        for by_user in [false, true] {
            let slot = device.allocate(Pfn(7), 0, 0).expect("the only slot");
            assert!(device.add_use(slot));
            if by_user {
                assert!(!device.uncache(slot, Pfn(7), None, never));
                assert!(device.put_use(slot, || gone(slot)).is_freed_by_put());
            } else {
                assert!(!device.put_use(slot, never).is_freed_by_put());
                assert!(device.uncache(slot, Pfn(7), Some(1), || gone(slot)));
            }
            assert!(device.state(slot).is_free() && device.free() == 1);
        }
    });
}

/// SWAP-07: a slot whose block failed is kept by its present users and gets no new ones.
#[test]
fn a_broken_slot_is_never_handed_out_again() {
    with_device(4, &[], |device| {
        let slots = take(&device, 3);
        for slot in &slots {
            device.mark_broken(*slot);
        }
        assert!(device.add_use(slots[0]), "it can still be shared");
        assert!(
            !device.uncache(slots[0], Pfn(0), None, || {})
                && !device.put_use(slots[0], || {}).is_freed_by_put()
        );
        assert!(!device.uncache(slots[1], Pfn(1), None, || {}), "not free, but bad");
        assert_eq!(device.state(slots[0]), BAD);
        assert_eq!((device.free(), device.allocate(Pfn(9), 0, 0)), (0, None));
        assert_eq!(device.state(slots[2]).held, Held::Page(Pfn(2)));
    });
}

/// Allocates a slot, uses it, and frees it, `rounds` times.
fn use_often(device: &Device<'_>, cpu: u32, rounds: u32) {
    for mine in (0..rounds).map(|i| Pfn(cpu << 16 | i)) {
        let Some(slot) = device.allocate(mine, 0, 0) else { continue };
        assert!(device.add_use(slot));
        assert_eq!(device.state(slot).held, Held::Page(mine));
        assert!(!device.put_use(slot, || {}).is_freed_by_put());
        assert!(device.uncache(slot, mine, None, || {}));
    }
}

/// SWAP-02: concurrent allocations on several CPUs never get the same slot, and none is lost.
#[test]
fn takers_on_several_cpus_share_the_slots() {
    let rounds = if cfg!(miri) { 20 } else { 3000 };
    with_device(3, &[], |device| {
        std::thread::scope(|scope| {
            for cpu in 0..3u32 {
                let device = &device;
                scope.spawn(move || use_often(device, cpu, rounds));
            }
        });
        assert_eq!((device.free(), take(&device, 3).len()), (2, 2));
    });
}

/// SWAP-02, CTRL-06: groups of clusters that are full, or have no empty cluster, are passed over, and
/// what is free behind them is found.
#[test]
fn a_slot_behind_full_groups_is_found() {
    let blocks = 3 * 64 * CLUSTER;
    with_device(blocks, &[], |device| {
        let held = take(&device, blocks - 1);
        assert_eq!((held.len() as u32, device.allocate(Pfn(1), 0, 0)), (blocks - 1, None));
        // The search stands at the end: a slot of the first group, one of the last, a whole cluster.
        let single = [300, 2 * 64 * CLUSTER + 5];
        let mut cluster = 70 * CLUSTER..71 * CLUSTER;
        for slot in single.into_iter().chain(cluster.clone()) {
            free(&device, slot);
        }
        let next = || device.allocate(Pfn(2), 0, 0);
        assert!(cluster.all(|slot| next() == Some(slot)), "an empty cluster comes first");
        let mut last = [next(), next()].map(|slot| slot.expect("a free slot"));
        last.sort_unstable();
        assert_eq!((last, next()), (single, None));
    });
}
