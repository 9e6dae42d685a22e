//! The promises of [`Tasks`] and [`Clock`].

use mm_reclaim::env::{Clock, Env, TaskFlags, Tasks, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, SpaceId};

use crate::{Broken, Rig, keeps};

/// A key that nothing else uses: the crate's own keys are small numbers or addresses.
const KEY: WaitKey = WaitKey(0xc0f0_0000_0000_0001);

/// Long enough to be seen, short enough to be waited for.
const A_WHILE: Nanos = Nanos::from_millis(2);

/// An address space number that no test has.
const NOBODY: SpaceId = SpaceId::from_bits(0);

fn timed(timeout: Nanos) -> WaitMode {
    WaitMode { timeout: Some(timeout), killable: false }
}

pub(crate) fn a_true_condition_does_not_wait<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let mut calls = 0;
    let end = rig.env.tasks().wait_until(KEY, WaitMode::UNTIL_READY, &mut || {
        calls += 1;
        true
    });
    keeps(end == WaitEnd::Ready, "a condition that holds ends the wait")?;
    keeps(calls >= 1, "the condition is asked at least once")?;
    let end = rig.env.tasks().wait_until(KEY, timed(Nanos(0)), &mut || true);
    keeps(end == WaitEnd::Ready, "a condition that holds counts more than the time")
}

pub(crate) fn a_wait_times_out<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let clock = rig.env.clock();
    let before = clock.now();
    let mut calls = 0;
    let end = rig.env.tasks().wait_until(KEY, timed(A_WHILE), &mut || {
        calls += 1;
        false
    });
    let after = clock.now();
    keeps(end == WaitEnd::TimedOut, "a condition that never holds ends by the time")?;
    keeps(calls >= 1, "the condition is asked at least once")?;
    keeps(after >= before + A_WHILE, "the clock has gone on by the time waited")?;
    keeps(clock.now() >= after, "the clock never goes back")
}

pub(crate) fn a_wake_during_the_check_is_not_lost<E: Env>(
    rig: &mut Rig<'_, E>,
) -> Result<(), Broken> {
    let tasks = rig.env.tasks();
    let mut calls = 0;
    let long = timed(Nanos::from_millis(10_000));
    let before = rig.env.clock().now();
    let end = tasks.wait_until(KEY, long, &mut || {
        calls += 1;
        if calls == 1 {
            // Between this answer and the sleep lies the moment in which wake-ups get lost.
            tasks.wake(KEY);
        }
        calls > 1
    });
    keeps(end == WaitEnd::Ready, "a wake-up before the sleep makes the waiter look again")?;
    let waited = rig.env.clock().now().0 - before.0;
    keeps(waited < Nanos::from_millis(5_000).0, "it does so at once, not when the time is up")
}

pub(crate) fn another_task_ends_a_wait<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let clock = rig.env.clock();
    let start = clock.now();
    (rig.wake_later)(KEY, A_WHILE);
    let end = rig
        .env
        .tasks()
        .wait_until(KEY, WaitMode::UNTIL_READY, &mut || clock.now() >= start + A_WHILE);
    keeps(end == WaitEnd::Ready, "a wake-up by another task ends the wait")
}

pub(crate) fn memalloc_is_set_and_cleared<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let tasks = rig.env.tasks();
    let before = tasks.flags();
    let was = tasks.set_memalloc(true);
    let set = tasks.flags();
    let then = tasks.set_memalloc(was);
    keeps(was == before.contains(TaskFlags::MEMALLOC), "set_memalloc tells what it was")?;
    keeps(then, "set_memalloc tells what it set")?;
    keeps(set == before | TaskFlags::MEMALLOC, "set_memalloc changes that flag alone")?;
    keeps(tasks.flags() == before, "the flag can be put back")
}

pub(crate) fn killing_nobody_harms_nobody<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let tasks = rig.env.tasks();
    let before = tasks.flags();
    tasks.kill_for_memory(NOBODY);
    tasks.yield_now();
    keeps(tasks.flags() == before, "killing the owner of an unknown space kills no other")?;
    let mode = WaitMode { timeout: Some(A_WHILE), killable: true };
    let end = tasks.wait_until(KEY, mode, &mut || false);
    keeps(end == WaitEnd::TimedOut, "a task that was not killed waits its time")
}
