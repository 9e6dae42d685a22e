//! The order of the locks, which a debug build checks.

use kernel::arch::cpu;
use kernel::arch::lock::IrqLock;
use kernel::println;
use mm_reclaim::space::SpaceId;
use suite::Test;

use crate::support::{mm, sleep_ms};

/// The tests of this file; those that must panic do so in a debug build.
pub const TESTS: &[Test] = &[
    Test::fatal(
        "locks::an_inversion_names_both_locks",
        "lock order: a page-table lock is taken inside a kernel's leaf lock",
        tables_inside_a_leaf,
    )
    .only_if(is_debug),
    Test::fatal(
        "locks::the_console_is_outside_the_locks_of_memory",
        "lock order: a kernel's outer lock is taken inside a page-table lock",
        message_inside_tables,
    )
    .only_if(is_debug),
    Test::fatal(
        "locks::who_holds_a_lock_of_memory_must_not_sleep",
        "a wait with a page-table lock held",
        sleep_inside_tables,
    )
    .only_if(is_debug),
    Test::fatal(
        "locks::who_holds_a_lock_of_the_kernel_must_not_sleep",
        "a wait with a kernel's leaf lock held",
        sleep_inside_a_leaf,
    )
    .only_if(is_debug),
    Test::fatal(
        "locks::who_stopped_preemption_must_not_do_what_may_sleep",
        "what may sleep while preemption is off",
        exit_without_preemption,
    )
    .only_if(is_debug),
    Test::fatal(
        "locks::who_masked_interrupts_must_not_do_what_may_sleep",
        "what may sleep while interrupts are masked",
        exit_with_interrupts_masked,
    )
    .only_if(is_debug),
    Test::fatal(
        "locks::what_may_sleep_is_refused_also_where_it_need_not",
        "what may sleep with a page-table lock held",
        exit_inside_tables,
    )
    .only_if(is_debug),
];

static LEAF: IrqLock<()> = IrqLock::new(());

fn is_debug() -> bool {
    cfg!(debug_assertions)
}

fn space() -> SpaceId {
    mm().create_space().expect("room for a space")
}

fn tables_inside_a_leaf() {
    let space = space();
    let _held = LEAF.lock();
    mm().with_tables(space, |_| ());
}

fn message_inside_tables() {
    mm().with_tables(space(), |_| println!("hello"));
}

fn sleep_inside_tables() {
    mm().with_tables(space(), |_| sleep_ms(1));
}

fn sleep_inside_a_leaf() {
    let _held = LEAF.lock();
    sleep_ms(1);
}

/// The end of a space takes an area lock, which may be another's at the moment.
fn exit_inside_tables() {
    let other = space();
    mm().with_tables(space(), |_| mm().destroy_space(other)).expect("no other task ends it");
}

/// As above: where it would really have slept, the scheduler would refuse it anyway.
fn exit_with_interrupts_masked() {
    let other = space();
    cpu::irqs_off();
    mm().destroy_space(other).expect("no other task ends it");
}

fn exit_without_preemption() {
    let other = space();
    cpu::preempt_disable();
    mm().destroy_space(other).expect("no other task ends it");
}
