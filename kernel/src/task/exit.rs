//! How tasks end: exit, kill, cleanup, and the parent's wait.
//!
//! **Data.** The scheduler's state. **Lock.** The scheduler lock. **Order of an exit.** The task
//! releases its address space, then leaves the set of living tasks, then the CPU; the task that
//! runs next frees its stack and notifies the parent.
//!
//! A kill (BUDY-10) sets flags and ends the victim's killable waits; it takes effect at the
//! victim's next return to user mode.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use mm_reclaim::env::{TaskFlags, WaitEnd, WaitMode};
use mm_reclaim::space::SpaceId;

use super::family::{INIT_PID, NAME_BYTES, NoChild, Which};
use super::services::{self, services};
use super::table::{Leave, Pokes, Sched};
use super::{TaskId, killed_by, sched, signal, state, wait, wake};
use crate::arch::{context, cpu, paging};
use crate::drivers::timer;

/// Whether the first program was killed because memory ran out.
static INIT_KILLED_FOR_MEMORY: AtomicBool = AtomicBool::new(false);

/// Ends the running task. `status` is what its parent's `wait4` reports.
pub fn exit(status: i32) -> ! {
    let task = super::current();
    services::send_off(task);
    services().close_files(task.id());
    leave_space(task);
    let heir = {
        let mut sched = state::lock();
        sched.set_kernel(task.id(), true);
        let heir = sched.family.exit(task.id(), status);
        while let Some(orphan) = sched.family.abandoned() {
            sched.free(orphan);
        }
        heir
    };
    if let Some(heir) = heir {
        wake(wake::child_key(heir));
    }
    sched::leave(Leave::Exited);
    unreachable!("a task that exited was run again");
}

/// Ends the running task, which was killed.
pub fn exit_killed() -> ! {
    let number = match super::current().signal() {
        0 => signal::SIGKILL,
        number => number,
    };
    exit(killed_by(number))
}

fn leave_space(task: &'static super::Task) {
    let space = {
        let _masked = cpu::IrqGuard::new();
        context::forget_fp(&task.thread);
        let space = task.clear_space();
        paging::use_tables(paging::empty_tables());
        space
    };
    if let Some((space, open)) = space {
        services().close_space(open);
        services().destroy_space(space).expect("the task's own space");
    }
}

/// Makes the running task die of signal `number` at its return to user mode.
pub fn kill_current(number: u8) {
    kill(|_| Some(super::current_id()), number, TaskFlags::empty());
}

/// Kills the task that `find` returns, under the same lock hold, so that it is still the same task;
/// false if there is none.
fn kill(find: impl FnOnce(&Sched) -> Option<TaskId>, number: u8, flags: TaskFlags) -> bool {
    cpu::preempt_disable();
    let pokes = {
        let mut sched = state::lock();
        find(&sched).map(|id| kill_one(&mut sched, id, number, flags))
    };
    state::poke(pokes.unwrap_or(0));
    cpu::preempt_enable();
    pokes.is_some()
}

fn kill_one(sched: &mut Sched, id: TaskId, number: u8, flags: TaskFlags) -> Pokes {
    id.task().set_signal(number);
    id.task().add_flags(TaskFlags::DYING | flags);
    let mut pokes = 0;
    if let Some(cpu) = sched.cpu_running(id) {
        cpu::of(cpu).add_work(cpu::WORK_KILLED);
        if id != super::current_id() {
            // It may be running on another CPU: it must enter the kernel to notice.
            pokes = 1 << cpu;
        }
    }
    let (bucket, woken) = sched.wake_killed(id, timer::ticks());
    if let Some(bucket) = bucket {
        wake::one_left(bucket);
    }
    pokes | woken
}

/// Kills the process with number `pid`; false if there is none.
pub fn kill_process(pid: u32) -> bool {
    kill(|sched| sched.family.find(pid), signal::SIGKILL, TaskFlags::empty())
}

/// Kills the task of an address space because memory ran out; false if it has none.
pub fn kill_space(space: SpaceId) -> bool {
    let find = |sched: &Sched| {
        let id = task_of_space(sched, space)?;
        // Set before the kill: the victim may be gone as soon as the lock is released.
        if sched.family.get(id).is_some_and(|person| person.pid == INIT_PID) {
            INIT_KILLED_FOR_MEMORY.store(true, Relaxed);
        }
        Some(id)
    };
    kill(find, signal::SIGKILL, TaskFlags::OOM_VICTIM)
}

/// Whether the first program, process 1, was killed because memory ran out.
pub fn init_was_killed_for_memory() -> bool {
    INIT_KILLED_FOR_MEMORY.load(Relaxed)
}

/// Kills every program; returns how many were still alive.
pub fn kill_programs() -> usize {
    let alive = |sched: &Sched| sched.living().filter(|id| id.task().is_user()).count();
    let before = alive(&state::lock());
    // One that is being forked concurrently is found the next time.
    for nth in (0..before).rev() {
        let find = |sched: &Sched| sched.living().filter(|id| id.task().is_user()).nth(nth);
        kill(find, signal::SIGKILL, TaskFlags::empty());
    }
    before
}

fn task_of_space(sched: &Sched, space: SpaceId) -> Option<TaskId> {
    sched.living().find(|id| id.task().space() == Some(space))
}

/// The process number and the name, padded with zeroes, of the task of an address space.
pub fn owner_of_space(space: SpaceId) -> Option<(u32, [u8; NAME_BYTES])> {
    let sched = state::lock();
    let owner = sched.family.get(task_of_space(&sched, space)?)?;
    Some((owner.pid, owner.name))
}

/// Waits for a child of the running task to exit, and returns its process number and status.
/// `Ok(None)`: none has, and `block` is false or the caller was killed.
///
/// # Errors
/// [`NoChild`] if there is no such child.
pub fn wait_child(which: Which, block: bool) -> Result<Option<(u32, i32)>, NoChild> {
    let me = super::current_id();
    let mut found = reap(me, which);
    if block && found == Ok(None) {
        let mode = WaitMode { timeout: None, killable: true };
        let end = wait::wait_until(wake::child_key(me), mode, &mut || {
            found = reap(me, which);
            found != Ok(None)
        });
        debug_assert!(end != WaitEnd::TimedOut, "a wait without a timeout timed out");
    }
    found
}

fn reap(parent: TaskId, which: Which) -> Result<Option<(u32, i32)>, NoChild> {
    let mut sched = state::lock();
    let Some((id, pid, status)) = sched.family.reapable(parent, which)? else {
        return Ok(None);
    };
    sched.free(id);
    Ok(Some((pid, status)))
}

/// The process number of the running task, and of its parent.
pub fn pids() -> (u32, u32) {
    let sched = state::lock();
    let me = sched.family.get(super::current_id());
    let parent = me.and_then(|m| m.parent).and_then(|p| sched.family.get(p));
    (me.map_or(0, |m| m.pid), parent.map_or(0, |p| p.pid))
}

/// Renames the running task.
pub fn rename_current(name: &[u8]) {
    state::lock().family.rename(super::current_id(), name);
}

/// Whether the running task was killed.
pub fn is_killed() -> bool {
    cpu::this().work.load(Relaxed) & cpu::WORK_KILLED != 0
}

/// Whether there is a process with number `pid` that has not exited.
pub fn exists(pid: u32) -> bool {
    state::lock().family.find(pid).is_some()
}

/// Tasks that have not exited.
pub fn count() -> usize {
    state::lock().living().count()
}

/// The name of the process with number `pid`, padded with zeroes.
pub fn name_of_process(pid: u32) -> Option<[u8; NAME_BYTES]> {
    let id = state::lock().family.find(pid)?;
    Some(super::name_of(id))
}
