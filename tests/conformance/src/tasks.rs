//! The promises of [`Tasks`] about flags and killing.

use mm_reclaim::env::{Clock, Env, TaskFlags, Tasks, WaitEnd, WaitKey, WaitMode};
use mm_reclaim::units::{Nanos, SpaceId};

use crate::waits::Once;
use crate::{A_WHILE, Broken, KEY, Rig, keeps, timed};

/// An address space number that no test has.
const NOBODY: SpaceId = SpaceId::from_bits(0);

pub(crate) fn memalloc_is_set_and_cleared<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    let tasks = rig.env.tasks();
    let before = tasks.flags();
    let was = tasks.set_memalloc(true);
    let set = tasks.flags();
    let then = tasks.set_memalloc(was);
    keeps(was == before.contains(TaskFlags::MEMALLOC), "set_memalloc returns the old state")?;
    keeps(then, "set_memalloc returns what it set")?;
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
    let end = Once::new(|_| false).end(tasks, mode)?;
    keeps(end == WaitEnd::TimedOut, "a task that was not killed waits its time")
}

/// How a task waits that may be killed.
const KILLABLE: WaitMode = WaitMode { timeout: None, killable: true };

/// A key that nothing else uses: a wait for it ends by its timeout only.
const NAP_KEY: WaitKey = WaitKey(KEY.0 + 2);

fn is_dying<E: Env>(env: &E) -> bool {
    env.tasks().flags().contains(TaskFlags::DYING)
}

/// Naps until the task was killed.
fn until_killed<E: Env>(env: &E) -> Result<(), Broken> {
    for _ in 0..10_000 {
        if is_dying(env) {
            return Ok(());
        }
        let _time = env.tasks().wait_until(NAP_KEY, timed(Nanos::from_millis(1)), &mut || false);
    }
    keeps(false, "a task that was killed is dying")
}

pub(crate) fn a_kill_ends_a_killable_wait<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    (rig.kill_during)(A_WHILE, |env| {
        let end = Once::new(|_| false).end(env.tasks(), KILLABLE)?;
        keeps(end == WaitEnd::Killed, "a kill ends a killable wait")?;
        let both = TaskFlags::DYING | TaskFlags::OOM_VICTIM;
        keeps(env.tasks().flags().contains(both), "a killed task is dying, for lack of memory")?;
        let end = Once::new(|_| false).end(env.tasks(), KILLABLE)?;
        keeps(end == WaitEnd::Killed, "a killable wait that begins after the kill ends at once")
    })
}

pub(crate) fn a_kill_does_not_end_another_wait<E: Env>(rig: &mut Rig<'_, E>) -> Result<(), Broken> {
    (rig.kill_during)(Nanos(A_WHILE.0 / 2), |env| {
        let end = Once::new(|_| false).end(env.tasks(), timed(A_WHILE))?;
        keeps(end == WaitEnd::TimedOut, "a kill does not end a wait that is not killable")?;
        until_killed(env)?;
        let end = Once::new(|_| false).end(env.tasks(), timed(A_WHILE))?;
        keeps(end == WaitEnd::TimedOut, "the dying wait their time, too")
    })
}

/// The kill comes before the check that is true, and at about the same time.
pub(crate) fn a_condition_counts_more_than_a_kill<E: Env>(
    rig: &mut Rig<'_, E>,
) -> Result<(), Broken> {
    (rig.kill_during)(Nanos(0), |env| {
        until_killed(env)?;
        for mode in [KILLABLE, WaitMode { timeout: Some(Nanos(0)), killable: true }] {
            let end = Once::new(|_| true).end(env.tasks(), mode)?;
            keeps(end == WaitEnd::Ready, "a condition that holds counts more than a kill")?;
        }
        Ok(())
    })?;
    // True as soon as the task is dying: whichever is read first, condition or killed flag, the
    // result must match the condition.
    (rig.kill_during)(A_WHILE, |env| Once::new(|_| is_dying(env)).check(env.tasks(), KILLABLE))?;
    // Kill, timeout and condition coincide, in every order that a few tries produce.
    for quarters in 2..6 {
        (rig.kill_during)(Nanos(A_WHILE.0 * quarters / 4), |env| {
            let clock = env.clock();
            let due = clock.now() + A_WHILE;
            let mode = WaitMode { timeout: Some(A_WHILE), killable: true };
            Once::new(|_| clock.now() >= due).check(env.tasks(), mode)?;
            Once::new(|calls| calls > 1).check(env.tasks(), mode)
        })?;
    }
    Ok(())
}
