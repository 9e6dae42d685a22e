//! The promises of [`Tasks::wait_until`]: no wakeup is lost, timeouts are kept, and a condition is
//! true once.

use mm_reclaim::env::{Clock, Cpu, Env, Tasks, WaitEnd, WaitMode};
use mm_reclaim::lock_order::SWAPON;
use mm_reclaim::units::Nanos;

use crate::{A_WHILE, Broken, KEY, OTHER_KEY, Rig, keeps, timed};

/// A condition like one that takes a lock: once it was true, it must not be evaluated again.
///
/// A real one would then be false forever, and the wait would hang. This one stays true and records
/// the call, so that the error is reported.
pub(crate) struct Once<F> {
    holds: F,
    calls: u32,
    was_true: bool,
    asked_again: bool,
}

impl<F: FnMut(u32) -> bool> Once<F> {
    /// True as soon as `holds` is true; `holds` gets the number of calls so far.
    pub(crate) fn new(holds: F) -> Self {
        Self { holds, calls: 0, was_true: false, asked_again: false }
    }

    /// Waits for it.
    pub(crate) fn wait(&mut self, tasks: &impl Tasks, mode: WaitMode) -> WaitEnd {
        tasks.wait_until(KEY, mode, &mut || {
            self.calls += 1;
            self.asked_again |= self.was_true;
            self.was_true |= (self.holds)(self.calls);
            self.was_true
        })
    }

    /// Waits for it and checks the result against what it returned.
    #[track_caller]
    pub(crate) fn check(self, tasks: &impl Tasks, mode: WaitMode) -> Result<(), Broken> {
        self.end(tasks, mode).map(drop)
    }

    /// Does the same and returns the result.
    #[track_caller]
    pub(crate) fn end(mut self, tasks: &impl Tasks, mode: WaitMode) -> Result<WaitEnd, Broken> {
        let end = self.wait(tasks, mode);
        keeps(self.calls >= 1, "the condition is asked at least once")?;
        keeps(!self.asked_again, "a condition that was true is not asked again")?;
        let ready = end == WaitEnd::Ready;
        keeps(ready || !self.was_true, "a condition that was true ends the wait as ready")?;
        keeps(!ready || self.was_true, "a wait ends as ready only if its condition was true")?;
        Ok(end)
    }
}

pub(crate) fn a_true_condition_does_not_wait<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let tasks = rig.env.tasks();
    for mode in [WaitMode::UNTIL_READY, timed(Nanos(0)), timed(A_WHILE)] {
        for killable in [false, true] {
            Once::new(|_| true).check(tasks, WaitMode { killable, ..mode })?;
        }
    }
    Ok(())
}

pub(crate) fn a_true_condition_is_not_asked_again<E: Env>(
    rig: &mut Rig<'_, E>,
) -> Result<(), Broken> {
    let tasks = rig.env.tasks();
    for looks in 1..4 {
        // Woken in each evaluation, the last one included: a wakeup is no reason to evaluate again.
        let woken = |calls| {
            tasks.wake(KEY);
            calls == looks
        };
        Once::new(woken).check(tasks, WaitMode::UNTIL_READY)?;
    }
    (rig.wake_later)(KEY, A_WHILE);
    Once::new(|calls| calls > 1).check(rig.env.tasks(), WaitMode::UNTIL_READY)?;
    Ok(())
}

pub(crate) fn a_wait_times_out<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let clock = rig.env.clock();
    for timeout in [Nanos(0), A_WHILE] {
        let before = clock.now();
        let end = Once::new(|_| false).end(rig.env.tasks(), timed(timeout))?;
        let after = clock.now();
        keeps(end == WaitEnd::TimedOut, "a condition that never holds ends by the time")?;
        keeps(after >= before + timeout, "the clock has gone on by the time waited")?;
        keeps(clock.now() >= after, "the clock never goes back")?;
    }
    Ok(())
}

/// The timeout, the wakeup and the condition coincide, in every order that a few tries produce.
pub(crate) fn a_condition_counts_more_than_the_time<E: Env>(
    rig: &mut Rig<'_, E>,
) -> Result<(), Broken> {
    let clock = rig.env.clock();
    for try_no in 0..8 {
        let start = clock.now();
        // From a quarter before the timeout to three quarters after it.
        let due = Nanos(A_WHILE.0 * (3 + try_no % 5) / 4);
        (rig.wake_later)(KEY, due);
        Once::new(|_| clock.now() >= start + due).check(rig.env.tasks(), timed(A_WHILE))?;
        // True at the second evaluation, which may be the one at the timeout.
        (rig.wake_later)(KEY, A_WHILE);
        Once::new(|calls| calls > 1).check(rig.env.tasks(), timed(A_WHILE))?;
    }
    Ok(())
}

pub(crate) fn a_wake_during_the_check_is_not_lost<E: Env>(
    rig: &mut Rig<'_, E>,
) -> Result<(), Broken> {
    let tasks = rig.env.tasks();
    let long = timed(Nanos::from_millis(10_000));
    let before = rig.env.clock().now();
    let woken = |calls| {
        if calls == 1 {
            // Between this result and the sleep a wakeup could get lost.
            tasks.wake(KEY);
        }
        calls > 1
    };
    let end = Once::new(woken).end(tasks, long)?;
    keeps(end == WaitEnd::Ready, "a wake-up before the sleep makes the waiter look again")?;
    let waited = rig.env.clock().now().0 - before.0;
    keeps(waited < Nanos::from_millis(5_000).0, "it does so at once, not when the time is up")
}

pub(crate) fn another_task_ends_a_wait<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let clock = rig.env.clock();
    let start = clock.now();
    (rig.wake_later)(KEY, A_WHILE);
    let due = |_| clock.now() >= start + A_WHILE;
    let end = Once::new(due).end(rig.env.tasks(), WaitMode::UNTIL_READY)?;
    keeps(end == WaitEnd::Ready, "a wake-up by another task ends the wait")
}

/// If a lock of the environment is held around the condition, this hangs, or a debug build
/// says which.
pub(crate) fn a_condition_may_lock_and_wake<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let (tasks, clock) = (rig.env.tasks(), rig.env.clock());
    let (flags, start) = (tasks.flags(), clock.now());
    let busy = |calls| {
        E::Cpu::preempt_disable();
        // The outermost spin lock of the crate: it may be taken inside none of the
        // environment's own.
        E::Cpu::lock_taken(SWAPON);
        tasks.wake(KEY);
        tasks.wake(OTHER_KEY);
        E::Cpu::lock_released(SWAPON);
        E::Cpu::preempt_enable();
        tasks.flags() == flags && clock.now() >= start && calls > 2
    };
    Once::new(busy).check(tasks, WaitMode::UNTIL_READY)?;
    Ok(())
}
