//! Waiting: no wakeup is lost, timeouts are kept, a kill ends what it may end.

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use kernel::task::{self, killed_by, signal};
use mm_reclaim::env::{WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::Nanos;
use suite::Test;

use crate::support::{
    eventually, join, join_kernel_tasks, now_ms, sleep_ms, spawn, spawn_with_space,
};
use crate::tasks::{spin, stop_spinning};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("waits::no_wake_up_is_lost_between_two_tasks", ping_pong),
    Test::new("waits::no_wake_up_is_lost_under_load", ping_pong_under_load),
    Test::new("waits::every_waiter_of_a_key_is_woken", many_waiters),
    Test::new("waits::keys_of_one_bucket_do_not_steal_wake_ups", collisions),
    Test::new("waits::a_timeout_comes_in_time", timeouts),
    Test::new("waits::sleepers_wake_in_the_order_of_their_times", sleepers),
    Test::new("waits::a_kill_ends_a_killable_wait", killable),
    Test::new("waits::a_kill_does_not_end_another_wait", unkillable),
    Test::new("waits::a_task_that_was_killed_before_does_not_wait", killed_before),
];

const KEY: WaitKey = WaitKey(0x7761_6974_0000_0001);

/// Whose turn it is: even numbers are the test's, odd ones the partner's.
static TURN: AtomicU32 = AtomicU32::new(0);

/// With a limit, so that a lost wakeup shows as such.
fn wait_for(condition: &mut dyn FnMut() -> bool) {
    let mode = WaitMode { timeout: Some(Nanos::from_millis(10_000)), killable: false };
    let end = task::wait_until(KEY, mode, condition);
    assert_eq!(end, WaitEnd::Ready, "a wakeup was lost in turn {}", TURN.load(Relaxed));
}

fn play(mine: u32, rounds: u32) {
    for _ in 0..rounds {
        wait_for(&mut || TURN.load(Relaxed) % 2 == mine);
        TURN.fetch_add(1, Relaxed);
        task::wake(KEY);
    }
}

fn partner(rounds: usize) {
    play(1, rounds as u32);
}

fn ping_pong() {
    spawn(partner, 20_000);
    play(0, 20_000);
    join_kernel_tasks();
    assert_eq!(TURN.load(Relaxed), 40_000);
}

/// PAGE-01: with others on the CPU, so that every step of the protocol gets preempted.
fn ping_pong_under_load() {
    spawn(spin, 0);
    spawn(spin, 1);
    spawn(partner, 60);
    play(0, 60);
    stop_spinning();
}

static WOKEN: AtomicU32 = AtomicU32::new(0);

fn many_waiters() {
    const WAITERS: u32 = 40;
    for _ in 0..WAITERS {
        spawn(
            |_| {
                wait_for(&mut || TURN.load(Relaxed) == 1);
                WOKEN.fetch_add(1, Relaxed);
            },
            0,
        );
    }
    sleep_ms(5);
    assert_eq!(WOKEN.load(Relaxed), 0);
    TURN.store(1, Relaxed);
    task::wake(KEY);
    join_kernel_tasks();
    assert_eq!(WOKEN.load(Relaxed), WAITERS);
}

/// PAGE-01: more keys than there are buckets; each waiter is woken by its own.
fn collisions() {
    const KEYS: usize = 150;
    fn key(n: usize) -> WaitKey {
        WaitKey(0x7761_6974_0001_0000 + n as u64)
    }
    for n in 0..KEYS {
        spawn(
            |n| {
                let ready = &mut || TURN.load(Relaxed) as usize > n;
                let _ = task::wait_until(key(n), WaitMode::UNTIL_READY, ready);
                WOKEN.fetch_add(1, Relaxed);
            },
            n,
        );
    }
    for n in 0..KEYS {
        TURN.store(n as u32 + 1, Relaxed);
        task::wake(key(n));
        eventually("the waiter is woken", || WOKEN.load(Relaxed) as usize > n);
        assert_eq!(WOKEN.load(Relaxed) as usize, n + 1, "another waiter was done as well");
    }
    join_kernel_tasks();
}

fn timeouts() {
    for ms in [1, 7, 30] {
        let start = now_ms();
        let mode = WaitMode { timeout: Some(Nanos::from_millis(ms)), killable: false };
        assert_eq!(task::wait_until(KEY, mode, &mut || false), WaitEnd::TimedOut);
        let took = now_ms() - start;
        assert!((ms..ms + 500).contains(&took), "{ms} ms took {took}");
    }
}

static ORDER: AtomicU64 = AtomicU64::new(0);

fn sleepers() {
    for tens in [9, 3, 6] {
        spawn(
            |tens| {
                sleep_ms(tens as u64 * 10);
                ORDER.update(Relaxed, Relaxed, |order| order * 10 + tens as u64);
            },
            tens,
        );
    }
    join_kernel_tasks();
    assert_eq!(ORDER.load(Relaxed), 369);
}

static ENDS: [AtomicU32; 3] = [const { AtomicU32::new(0) }; 3];

/// Waits in the kernel for what never happens; records how that ended.
fn wait_in_vain(killable: usize) -> i32 {
    let killable = killable == 1;
    let timeout = if killable { None } else { Some(Nanos::from_millis(120)) };
    WOKEN.fetch_add(1, Relaxed);
    let end = task::wait_until(KEY, WaitMode { timeout, killable }, &mut || false);
    ENDS[end as usize].fetch_add(1, Relaxed);
    task::exit_killed()
}

fn start_waiting(killable: bool) -> u32 {
    let pid = spawn_with_space(wait_in_vain, usize::from(killable));
    eventually("it waits", || WOKEN.load(Relaxed) == 1);
    sleep_ms(10);
    pid
}

/// BUDY-10.
fn killable() {
    let pid = start_waiting(true);
    assert!(task::kill_process(pid));
    assert_eq!(join(pid), killed_by(signal::SIGKILL));
    assert_eq!(ENDS[WaitEnd::Killed as usize].load(Relaxed), 1);
}

fn unkillable() {
    let (pid, start) = (start_waiting(false), now_ms());
    assert!(task::kill_process(pid));
    assert_eq!(join(pid), killed_by(signal::SIGKILL));
    assert_eq!(ENDS[WaitEnd::TimedOut as usize].load(Relaxed), 1);
    assert!(now_ms() - start >= 80, "the kill ended the wait");
}

/// BUDY-10: a wait that begins after the kill ends at once.
fn killed_before() {
    fn wait_later(_: usize) -> i32 {
        WOKEN.fetch_add(1, Relaxed);
        sleep_ms(50);
        wait_in_vain(1)
    }
    let pid = spawn_with_space(wait_later, 0);
    eventually("it sleeps", || WOKEN.load(Relaxed) == 1);
    assert!(task::kill_process(pid));
    assert_eq!(join(pid), killed_by(signal::SIGKILL));
    assert_eq!(ENDS[WaitEnd::Killed as usize].load(Relaxed), 1);
}
