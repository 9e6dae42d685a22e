//! The promises of [`Tasks::wait_until`]: no wake-up is lost, times are kept, and a condition
//! is used once.

use mm_reclaim::env::{Clock, Cpu, Env, Tasks, WaitEnd, WaitMode};
use mm_reclaim::lock_order::SWAPON;
use mm_reclaim::units::Nanos;

use crate::{A_WHILE, Broken, KEY, OTHER_KEY, Rig, keeps, timed};

/// A condition as one is that takes a lock: once it has been true, nobody may ask again.
///
/// A real one would then be false, for ever, and the wait hang. This one stays true and
/// remembers, so that the breach is told.
pub(crate) struct Once<F> {
    holds: F,
    calls: u32,
    was_true: bool,
    asked_again: bool,
}

impl<F: FnMut(u32) -> bool> Once<F> {
    /// True as soon as `holds`, which is told how many times it was asked, is true.
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

    /// Waits for it and holds the end against what it said.
    #[track_caller]
    pub(crate) fn check(self, tasks: &impl Tasks, mode: WaitMode) -> Result<(), Broken> {
        self.end(tasks, mode).map(drop)
    }

    /// Likewise; how it ended.
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
        // Woken in each look, the last one included: a wake-up is no reason to ask again.
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

/// The time, the wake-up and the condition come together, in every order that a few tries bring.
pub(crate) fn a_condition_counts_more_than_the_time<E: Env>(
    rig: &mut Rig<'_, E>,
) -> Result<(), Broken> {
    let clock = rig.env.clock();
    for try_no in 0..8 {
        let start = clock.now();
        // A quarter before the time is up, up to three quarters after it.
        let due = Nanos(A_WHILE.0 * (3 + try_no % 5) / 4);
        (rig.wake_later)(KEY, due);
        Once::new(|_| clock.now() >= start + due).check(rig.env.tasks(), timed(A_WHILE))?;
        // True at the second look, which may come when the time is up.
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
            // Between this answer and the sleep lies the moment in which wake-ups get lost.
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
