//! What the kernel must not do to itself: each ends the run with a decoded report (BOOT-05), and so
//! proves that the tables take effect (BOOT-04).

use core::arch::asm;
use core::hint::black_box;

use boot::image;
use kernel::arch::mmu::{self, LINEAR_BASE};
use kernel::task;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::Order;
use suite::Test;

use crate::support::{mm, spawn};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::fatal(
        "fatal::a_store_to_text",
        "data abort in the kernel (class 0x25): permission fault on a write, level 3",
        store_to_text,
    ),
    Test::fatal(
        "fatal::a_store_to_text_by_the_linear_map",
        "data abort in the kernel (class 0x25): permission fault on a write, level 3",
        store_to_text_alias,
    ),
    Test::fatal(
        "fatal::a_store_to_a_constant",
        "data abort in the kernel (class 0x25): permission fault on a write, level 3",
        store_to_constant,
    ),
    Test::fatal(
        "fatal::a_jump_into_data",
        "instruction abort in the kernel (class 0x21): permission fault on a fetch, level 3",
        jump_to_data,
    ),
    Test::fatal(
        "fatal::a_jump_into_text_by_the_linear_map",
        "instruction abort in the kernel (class 0x21): permission fault on a fetch, level 3",
        jump_to_text_alias,
    ),
    Test::fatal(
        "fatal::a_load_from_nowhere",
        "data abort in the kernel (class 0x25): translation fault on a read, level 1",
        load_from_nowhere,
    ),
    Test::fatal("fatal::a_report_names_the_address", "FAR 0x00000000000dead0", || load(0xdead0)),
    Test::fatal("fatal::a_report_has_a_backtrace", "  returns to 0xffffff", load_from_nowhere),
    Test::fatal("fatal::an_undefined_instruction", "undefined instruction", undefined),
    Test::fatal("fatal::a_stack_overflow", "kernel stack overflow on CPU 0", overflow),
    Test::fatal("fatal::a_panic", "panicked at", || panic!("as asked for")),
    Test::fatal("fatal::a_double_free_names_the_page", "double free of pfn", double_free),
    Test::fatal("fatal::a_free_of_another_order", "freed, but", wrong_order),
    Test::fatal(
        "fatal::sleeping_with_preemption_off",
        "while preemption is off",
        sleep_with_a_lock,
    ),
];

fn store(va: u64) {
    // SAFETY: the tables refuse the store; were it done, the test would fail and the run end.
    unsafe { asm!("str wzr, [{}]", in(reg) va, options(nostack)) };
}

fn load(va: u64) {
    // SAFETY: nothing is there.
    unsafe { asm!("ldr {0}, [{0}]", inout(reg) va => _, options(nostack, readonly)) };
}

fn jump(va: u64) {
    // SAFETY: the tables refuse the fetch; were it done, the test would fail and the run end.
    unsafe { asm!("blr {}", in(reg) va, clobber_abi("C")) };
}

fn alias(va: u64) -> u64 {
    LINEAR_BASE + mmu::translate(va).expect("the image is mapped").pa.0
}

fn store_to_text() {
    store(image::text().start);
}

fn store_to_text_alias() {
    store(alias(image::text().start));
}

fn store_to_constant() {
    store(image::rodata().start);
}

/// `ret`.
const RETURN: u32 = 0xd65f_03c0;

fn jump_to_data() {
    let mut code = [RETURN; 4];
    jump(black_box(&mut code).as_ptr().addr() as u64);
}

fn jump_to_text_alias() {
    jump(alias(returns as *const () as u64));
}

#[inline(never)]
fn returns() {}

fn load_from_nowhere() {
    load(0x10);
}

fn undefined() {
    // SAFETY: the instruction is defined to be undefined; it changes nothing.
    unsafe { asm!("udf #0", options(nostack)) };
}

/// BOOT-05: in a task with a guard below its stack.
fn overflow() {
    spawn(|_| assert_ne!(recurse(1), 0), 0);
    crate::support::join_kernel_tasks();
}

#[expect(unconditional_recursion, reason = "the guard page is what ends it")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 16]);
    recurse(frame[3] + 1) + frame[5]
}

/// BUDY-01: reported with its descriptor.
fn double_free() {
    let page = mm().alloc_pages(Gfp::KERNEL, Order::ZERO).expect("a page");
    mm().free_pages(page, Order::ZERO);
    mm().free_pages(page, Order::ZERO);
}

/// BUDY-08: a block is freed as a whole.
fn wrong_order() {
    let order = Order::new(3).expect("an order");
    let block = mm().alloc_pages(Gfp::KERNEL, order).expect("a block");
    mm().free_pages(block, Order::ZERO);
}

fn sleep_with_a_lock() {
    kernel::arch::cpu::preempt_disable();
    task::sleep(mm_reclaim::units::Nanos::from_millis(1));
}
