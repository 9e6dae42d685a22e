//! Tasks: preemption, kills, exits, and what a program keeps in its registers.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use kernel::arch::context::{UserState, set_user_state};
use kernel::arch::cpu;
use kernel::arch::trap::{self, TrapFrame};
use kernel::arch::usercopy::copy_to_user;
use kernel::task::{self, killed_by, signal};
use mm_reclaim::env::Prot;
use suite::Test;

use crate::support::{
    READ_WRITE, books, eventually, join, join_kernel_tasks, map, mm, nothing_leaked_since, now_ms,
    own_space, sleep_ms, spawn, spawn_with_space,
};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("tasks::a_spinning_kernel_task_is_preempted", spinning_kernel_task),
    Test::new("tasks::spinning_tasks_share_the_cpu", fair_shares),
    Test::new("tasks::who_sleeps_runs_as_soon_as_it_wakes", sleeper_beside_spinners),
    Test::new("tasks::a_spinning_program_is_preempted_and_killed", spinning_program),
    Test::new("tasks::preemption_waits_until_it_is_allowed_again", preemption_off),
    Test::new("tasks::exits_give_back_what_the_task_had", exits_leak_nothing),
    Test::new("tasks::hundreds_of_tasks_come_and_go", storm),
    Test::new("tasks::a_full_task_table_is_an_error", full_table),
    Test::new("tasks::killing_nobody_is_told", || assert!(!task::kill_process(12_345))),
];

static STOP: AtomicBool = AtomicBool::new(false);
static TURNS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Uses the CPU until it is stopped, and never yields.
pub fn spin(number: usize) {
    while !STOP.load(Relaxed) {
        TURNS[number].fetch_add(1, Relaxed);
    }
}

/// Ends every [`spin`].
pub fn stop_spinning() {
    STOP.store(true, Relaxed);
    join_kernel_tasks();
}

fn spinning_kernel_task() {
    spawn(spin, 0);
    eventually("the task spins", || TURNS[0].load(Relaxed) > 0);
    // Only a timer interrupt brings us back from each of these.
    for _ in 0..5 {
        let before = TURNS[0].load(Relaxed);
        sleep_ms(15);
        assert!(TURNS[0].load(Relaxed) > before, "the task went on spinning");
    }
    stop_spinning();
}

fn fair_shares() {
    for number in 0..3 {
        spawn(spin, number);
    }
    sleep_ms(600);
    stop_spinning();
    let turns = [0, 1, 2].map(|n| TURNS[n].load(Relaxed));
    let (least, most) = (turns.iter().min().unwrap_or(&0), turns.iter().max().unwrap_or(&0));
    assert!(least * 3 > *most, "unfair: {turns:?}");
}

/// TASK-01: no turn of the three spinning tasks comes before a task that slept.
fn sleeper_beside_spinners() {
    const SLEEPS: usize = 21;
    for number in 0..3 {
        spawn(spin, number);
    }
    let mut took = [0; SLEEPS];
    for took in &mut took {
        let start = now_ms();
        sleep_ms(1);
        *took = now_ms() - start;
    }
    stop_spinning();
    // The host may be busy sometimes, but not half of the time.
    took.sort_unstable();
    assert!(took[SLEEPS / 2] < 8, "1 ms took {took:?}");
}

/// `1: b 1b`.
const SPIN_FOREVER: u32 = 0x1400_0000;

/// Puts a program of one instruction into the address space, and runs it.
fn enter_program(instruction: usize) -> i32 {
    let page = map(1, READ_WRITE);
    let entry = page.start.addr();
    copy_to_user(entry, &(instruction as u32).to_le_bytes()).expect("the page is writable");
    mm().mprotect(own_space(), page, Prot::READ | Prot::EXEC).expect("the area is there");
    set_user_state(&task::current().thread, UserState::new(0));
    trap::enter_user(&TrapFrame::user(entry))
}

/// BUDY-10: a program that asks the kernel for nothing is preempted, and dies when killed.
fn spinning_program() {
    let before = books();
    let pid = spawn_with_space(enter_program, SPIN_FOREVER as usize);
    sleep_ms(60);
    assert!(task::exists(pid), "it spins");
    assert!(task::kill_process(pid));
    assert_eq!(join(pid), killed_by(signal::SIGKILL));
    nothing_leaked_since(&before);
}

fn preemption_off() {
    spawn(spin, 0);
    cpu::preempt_disable();
    let (before, start) = (TURNS[0].load(Relaxed), now_ms());
    while now_ms() - start < 40 {}
    assert_eq!(TURNS[0].load(Relaxed), before, "another task ran");
    cpu::preempt_enable();
    eventually("the other task runs", || TURNS[0].load(Relaxed) > before);
    stop_spinning();
}

fn touch_and_exit(status: usize) -> i32 {
    let pages = map(8, READ_WRITE);
    for vpn in pages.start.0..pages.end.0 {
        copy_to_user(u64::from(vpn) << 12, &[1]).expect("memory");
    }
    status as i32
}

fn exits_leak_nothing() {
    let before = books();
    for round in 0..20 {
        let pid = spawn_with_space(touch_and_exit, round);
        assert_eq!(join(pid), (round as i32) << 8, "the status arrives");
        spawn(|_| {}, 0);
    }
    join_kernel_tasks();
    nothing_leaked_since(&before);
}

/// Many at once, waited for in an order other than that of their exits.
fn storm() {
    let round = || {
        let mut pids = [0; 48];
        for (n, pid) in pids.iter_mut().enumerate() {
            *pid = spawn_with_space(touch_and_exit, n);
        }
        for (n, pid) in pids.into_iter().enumerate().rev() {
            assert_eq!(join(pid), (n as i32) << 8, "process {pid}");
        }
    };
    // The tables of tasks keep what they have once grown to.
    round();
    let before = books();
    (0..8).for_each(|_| round());
    nothing_leaked_since(&before);
}

/// No panic, and everything is as before once the tasks are gone.
fn full_table() {
    static HOLD: AtomicBool = AtomicBool::new(true);
    fn hold() -> ! {
        while HOLD.load(Relaxed) {
            // Hundreds that poll more often would overload a slow machine.
            sleep_ms(50);
        }
        task::exit(0)
    }
    let flags = mm_reclaim::env::TaskFlags::empty();
    let start = || task::spawn_kernel("held", flags, hold);
    let before = task::count();
    let made = (0..2 * task::MAX_TASKS).take_while(|_| start().is_ok()).count();
    assert!((task::MAX_TASKS / 2..task::MAX_TASKS).contains(&made), "{made} tasks were made");
    HOLD.store(false, Relaxed);
    eventually("they exit", || task::count() == before);
    assert!(start().is_ok(), "there is room again");
    books();
}
