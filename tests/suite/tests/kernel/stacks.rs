//! How deep kernel stacks get: that it is measured, and what a call of the crate takes of one.

use core::hint::black_box;

use kernel::arch::mmu::STACK_SIZE;
use kernel::println;
use kernel::task;
use mm_reclaim::env::{MOST_STACK, Prot};
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::mmap::Advice;
use mm_reclaim::stat::VmEvent;
use mm_reclaim::units::{Order, Vpn};
use suite::Test;

use crate::memory::{give_all, take_all};
use crate::support::{
    READ_WRITE, join_kernel_tasks, map, mm, own_space, sleep_ms, spawn, with_space,
};
use crate::swap::each;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("stacks::the_deepest_use_is_measured", measured),
    Test::new("stacks::a_call_of_the_crate_takes_no_more_than_it_says", needed),
];

/// Uses this many times 1000 bytes of stack, and returns.
#[inline(never)]
fn dig(thousands: usize) {
    let used = black_box([1_u8; 1000]);
    if thousands > 1 {
        dig(thousands - 1);
    }
    assert_eq!(black_box(&used)[999], 1);
}

/// A task's use is known when it is gone, and the deepest counts.
fn measured() {
    task::measure_stacks();
    for thousands in [2, 9, 5] {
        spawn(dig, thousands);
        join_kernel_tasks();
        // The task is freed as soon as its CPU runs another.
        sleep_ms(20);
        let most = if thousands == 2 { 2 } else { 9 };
        let found = task::deepest_stack();
        assert!((most * 1000..most * 1000 + 3000).contains(&found), "{found} of {most} thousand");
    }
}

fn fault(vpn: Vpn, access: Access) {
    let end = mm().handle_fault(own_space(), vpn.addr(), access);
    assert!(matches!(end, FaultEnd::Minor | FaultEnd::Major), "{end:?}");
}

fn needed() {
    task::measure_stacks();
    with_space(labour, 0);
}

/// What a kernel requests from the crate, with more pages than there are frames.
fn labour(_: usize) -> i32 {
    let start = black_box(0_u64);
    let depth = task::current().stack_low() + STACK_SIZE - (&raw const start).addr() as u64;
    let (blocks, _) = take_all(Order::MAX);
    let pages = map(mm().total_free() + 2000, READ_WRITE);
    for access in [Access::Write, Access::Read, Access::Write] {
        each(&pages).for_each(|vpn| fault(vpn, access));
    }
    // For larger blocks the caller reclaims by itself.
    let (more, _) = take_all(Order::COSTLY);
    give_all(Order::COSTLY, more);
    let child = mm().fork_space(own_space()).expect("memory for tables");
    each(&pages).for_each(|vpn| fault(vpn, Access::Write));
    let part = |from: u32, to: u32| pages.start + from..pages.start + to;
    mm().madvise(own_space(), part(0, 500), Advice::PageOut).expect("an area");
    mm().mlock(own_space(), part(100, 300)).expect("memory");
    mm().mprotect(own_space(), part(200, 600), Prot::READ).expect("an area");
    mm().munmap(own_space(), part(250, 1000)).expect("an area");
    mm().destroy_space(child).expect("made above");
    give_all(Order::MAX, blocks);
    let [direct, read] = [VmEvent::PgStealDirect, VmEvent::PswpIn].map(|event| mm().event(event));
    assert!(direct > 0 && read > 1000, "freed {direct}, read {read}");
    let taken = task::own_stack().saturating_sub(depth) as usize;
    println!("a call of the crate took {taken} bytes of stack, of {MOST_STACK}");
    assert!(taken > MOST_STACK / 4, "not measured");
    assert!(taken <= MOST_STACK, "too deep");
    0
}
