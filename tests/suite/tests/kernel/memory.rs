//! The page allocator on the real machine, by tasks that preempt one another.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use mm_reclaim::env::Env;
use mm_reclaim::env::FrameMemory;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Order, PAGE_SIZE, Pfn};
use suite::Test;

use crate::support::{books, join_kernel_tasks, mm, nothing_leaked_since, spawn};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("memory::tasks_churn_blocks_of_all_orders", churn),
    Test::new("memory::all_that_was_allocated_can_be_freed_and_merges", exhaustion),
    Test::new("memory::a_page_asked_for_with_zero_is_zero", zeroed),
    Test::new("memory::a_caller_that_may_not_block_gets_none_and_returns", no_blocking),
];

/// Blocks that a task of the churn holds at most.
const HELD: usize = 24;

/// Numbers without a pattern (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn mark(block: Pfn, order: Order, owner: u64) {
    for frame in [block, block + (order.pages() - 1)] {
        mm().env().frames().write(
            frame,
            PAGE_SIZE - 8,
            &(owner ^ u64::from(frame.0)).to_le_bytes(),
        );
    }
}

fn check(block: Pfn, order: Order, owner: u64) {
    for frame in [block, block + (order.pages() - 1)] {
        let mut bytes = [0; 8];
        mm().env().frames().read(frame, PAGE_SIZE - 8, &mut bytes);
        assert_eq!(u64::from_le_bytes(bytes), owner ^ u64::from(frame.0), "{block:?} {order:?}");
    }
}

fn churn_task(number: usize) {
    let mut random = Random(0x9e37_79b9 + number as u64);
    let mut held: [Option<(Pfn, Order)>; HELD] = [None; HELD];
    for round in 0..3000 {
        let slot = random.next() as usize % HELD;
        let owner = (number * HELD + slot) as u64 + 1;
        if let Some((block, order)) = held[slot].take() {
            check(block, order, owner);
            mm().free_pages(block, order);
        } else {
            let order = Order::new((random.next() % Order::COUNT as u64) as u8).unwrap_or_default();
            let gfp = [Gfp::KERNEL, Gfp::HIGHUSER_MOVABLE, Gfp::NOWAIT][round % 3] | Gfp::NORETRY;
            held[slot] = mm().alloc_pages(gfp, order).map(|block| (block, order));
            held[slot].inspect(|(block, order)| mark(*block, *order, owner));
            SERVED.fetch_add(u32::from(held[slot].is_some()), Relaxed);
        }
    }
    for (slot, (block, order)) in held.into_iter().enumerate().filter_map(|(i, b)| Some((i, b?))) {
        check(block, order, (number * HELD + slot) as u64 + 1);
        mm().free_pages(block, order);
    }
}

static SERVED: AtomicU32 = AtomicU32::new(0);

/// BUDY-01, BUDY-08: no block is allocated twice, and validation succeeds afterwards.
fn churn() {
    let before = books();
    for number in 0..4 {
        spawn(churn_task, number);
    }
    join_kernel_tasks();
    assert!(SERVED.load(Relaxed) > 4000, "{} requests were served", SERVED.load(Relaxed));
    nothing_leaked_since(&before);
}

/// Takes every block of an order that is available after one round of reclaim each; the blocks,
/// chained by their first words, and how many.
pub fn take_all(order: Order) -> (Option<Pfn>, u32) {
    take_with(Gfp::KERNEL | Gfp::NORETRY | Gfp::NOWARN, order)
}

/// The same with other rights, which must let the allocation fail.
pub fn take_with(gfp: Gfp, order: Order) -> (Option<Pfn>, u32) {
    let (mut chain, mut count) = (None, 0);
    while let Some(block) = mm().alloc_pages(gfp, order) {
        let link = chain.map_or(u32::MAX, |Pfn(n)| n);
        mm().env().frames().write(block, 0, &link.to_le_bytes());
        chain = Some(block);
        count += 1;
    }
    (chain, count)
}

/// Frees them.
pub fn give_all(order: Order, mut chain: Option<Pfn>) {
    while let Some(block) = chain {
        let mut link = [0; 4];
        mm().env().frames().read(block, 0, &mut link);
        mm().free_pages(block, order);
        chain = Some(Pfn(u32::from_le_bytes(link))).filter(|pfn| pfn.0 != u32::MAX);
    }
}

/// BUDY-01: as many blocks of the largest order as before.
fn exhaustion() {
    let before = books();
    let largest = || -> u32 { mm().zones().map(|zone| zone.free_blocks(Order::MAX)).sum() };
    let blocks_before = largest();
    let (blocks, large) = take_all(Order::MAX);
    let (pages, small) = take_all(Order::ZERO);
    assert!(large > blocks_before / 2 && small > 0, "{large} blocks and {small} pages");
    give_all(Order::ZERO, pages);
    give_all(Order::MAX, blocks);
    nothing_leaked_since(&before);
    // Per-CPU lists were drained by the validation.
    assert_eq!(largest(), blocks_before, "freed memory merges to the blocks it came from");
}

/// BUDY-09.
fn zeroed() {
    let frames = mm().env().frames();
    let order = Order::new(2).expect("an order");
    for _ in 0..50 {
        let dirty = mm().alloc_pages(Gfp::KERNEL, order).expect("a block");
        (0..order.pages()).for_each(|i| frames.poison(dirty + i));
        mm().free_pages(dirty, order);
        let clean = mm().alloc_pages(Gfp::KERNEL | Gfp::ZERO, order).expect("a block");
        for i in 0..order.pages() {
            let mut bytes = [1; 64];
            for at in (0..PAGE_SIZE).step_by(bytes.len()) {
                frames.read(clean + i, at, &mut bytes);
                assert_eq!(bytes, [0; 64], "page {i} at {at}");
            }
        }
        mm().free_pages(clean, order);
    }
}

/// BUDY-05: with the rest of the memory gone, too.
fn no_blocking() {
    let mut held = [Pfn(0); 64];
    let mut got = 0;
    while let Some(block) = mm().alloc_pages(Gfp::NOWAIT | Gfp::NOWARN, Order::MAX) {
        held[got] = block;
        got += 1;
    }
    assert!(got > 0 && got < held.len(), "{got} blocks");
    assert_eq!(mm().alloc_pages(Gfp::NOWAIT, Order::MAX), None);
    held[..got].iter().for_each(|block| mm().free_pages(*block, Order::MAX));
    books();
}
