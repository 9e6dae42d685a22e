//! Programs of the initrd, as children of the test.

use kernel::arch::cpu;
use kernel::arch::frames::linear;
use kernel::task::{self, exited_with};
use kernel::{exec, monitor};
use suite::Test;

use crate::support::{books, join, machine, mm, nothing_leaked_since, sleep_ms};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("programs::a_program_runs_and_its_status_arrives", status),
    Test::new("programs::floating_point_survives_other_programs", floating_point),
    Test::new("programs::hundreds_of_forks_come_and_go", forks),
    Test::new("programs::bad_calls_and_accesses_hurt_nobody_else", faults),
    Test::new("programs::the_monitor_takes_nothing_once_a_program_runs", watched),
];

/// The archive of programs.
pub fn initrd() -> &'static [u8] {
    let at = machine().initrd().expect("the test machine has an initrd");
    // SAFETY: the initrd is reserved memory, mapped by the linear map, and never written.
    unsafe { core::slice::from_raw_parts(linear(at.start.0), at.size() as usize) }
}

fn start(name: &'static str, arguments: &'static str) -> u32 {
    exec::spawn(initrd(), name, arguments).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[track_caller]
fn run(name: &'static str, arguments: &'static str, status: i32) {
    let before = books();
    assert_eq!(join(start(name, arguments)), exited_with(status), "{name}");
    nothing_leaked_since(&before);
}

fn status() {
    run("hello", "status=42", 42);
    run("hello", "", 0);
}

/// The registers of each are its own, whatever ran in between.
fn floating_point() {
    let before = books();
    let pids = [start("fpu", "children=2 ms=300"), start("fpu", "children=1 ms=300")];
    assert_eq!(pids.map(join), [0, 0]);
    nothing_leaked_since(&before);
}

fn forks() {
    // The tables of tasks keep what they have once grown to.
    assert_eq!(join(start("storm", "")), 0);
    run("storm", "", 0);
}

fn faults() {
    run("faults", "", 0);
}

/// A program counts what is free at its start and at its end: from one to the other the
/// monitor makes no task and takes no stack.
fn watched() {
    let before = books();
    let monitor = monitor::prepare();
    let pid = start("hello", "");
    let taken = || (task::count(), mm().total_free());
    // Wherever the program runs, it comes to its end, where it waits to be joined. Then nothing
    // changes the counts but what happens on this CPU.
    let mut seen = taken();
    loop {
        sleep_ms(100);
        if taken() == seen {
            break;
        }
        seen = taken();
    }
    cpu::preempt_disable();
    let at_its_start = taken();
    let watch = monitor.watch(pid);
    let then = taken();
    cpu::preempt_enable();
    assert_eq!(at_its_start, then);
    assert_eq!(watch.finish(join(pid)), 0);
    nothing_leaked_since(&before);
}
