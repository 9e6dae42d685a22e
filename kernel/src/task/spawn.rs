//! How tasks come: the boot task, kernel tasks, programs, and the children of a fork.
//!
//! **Data.** A new task's slot and stack, which belong to the creator until it starts the
//! task. **Lock.** The scheduler lock, to take the slot and to start.

use core::mem::size_of;

use mm_reclaim::aspace::{SpaceError, SpaceId};
use mm_reclaim::env::TaskFlags;

use super::{TaskId, sched, stack, state};
use crate::arch::context::{self, Context, UserState};
use crate::arch::cpu;
use crate::arch::trap::TrapFrame;
use crate::glue;

/// Why a task could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpawnError {
    /// Every place of the task table is taken.
    TooManyTasks,
    /// No memory for its stack, or no address space for the stack.
    NoStack,
    /// No address space for its program.
    Space(SpaceError),
}

/// Makes the code that boots the kernel a task, and gives this CPU its idle task. The page
/// allocator works; from here on the caller may sleep.
///
/// # Errors
/// As [`spawn_kernel`].
pub fn adopt_boot_task() -> Result<(), SpawnError> {
    let this = cpu::this();
    let cpu = this.id.load(core::sync::atomic::Ordering::Relaxed) as usize;
    let idle = {
        let mut sched = state::lock();
        let boot = sched.create(cpu, true).ok_or(SpawnError::TooManyTasks)?;
        sched.adopt(cpu, boot);
        sched.family.add(boot, None, b"main", true);
        boot.task().reset(boot, TaskFlags::KERNEL);
        let task = core::ptr::from_ref(boot.task()).cast_mut();
        this.current.store(task, core::sync::atomic::Ordering::Relaxed);
        sched.create(cpu, true).ok_or(SpawnError::TooManyTasks)?
    };
    let top = prepare(idle, TaskFlags::KERNEL)?;
    idle.task().init_context(Context::kernel(sched::idle, top as usize));
    let mut sched = state::lock();
    sched.family.add(idle, None, b"idle", true);
    sched.set_idle(cpu, idle);
    Ok(())
}

/// Makes a kernel task that runs `body`. `flags` are set beside [`TaskFlags::KERNEL`].
///
/// # Errors
/// Without a free slot or stack.
pub fn spawn_kernel(name: &str, flags: TaskFlags, body: fn() -> !) -> Result<TaskId, SpawnError> {
    let id = create(TaskFlags::KERNEL | flags, |top| Context::kernel(body, top))?;
    start(id, None, name.as_bytes(), true);
    Ok(id)
}

/// Makes a user task in the address space `space`, which is its from now on. It runs `body`
/// in the kernel first, which is to load the program and enter it. The caller is its parent.
/// Returns the process number.
///
/// # Errors
/// Without a free slot or stack; the caller keeps `space`.
pub fn spawn_user(name: &[u8], space: SpaceId, body: fn() -> !) -> Result<u32, SpawnError> {
    let id = create(TaskFlags::empty(), |top| Context::kernel(body, top))?;
    attach(id, space);
    id.task().init_user_state(UserState::new(0));
    Ok(start(id, Some(super::current_id()), name, false))
}

/// Makes a copy of the running program, which returns 0 from the same system call. Returns
/// the child's process number.
///
/// # Errors
/// Without a free slot, a stack, or memory for the address space.
pub fn fork(frame: &TrapFrame) -> Result<u32, SpawnError> {
    let parent = cpu::this().current();
    let Some(space) = parent.space() else {
        return Err(SpawnError::Space(SpaceError::NoMemory));
    };
    let id = create(TaskFlags::empty(), |top| {
        let at = top - size_of::<TrapFrame>();
        let mut frame = *frame;
        frame.x[0] = 0;
        // SAFETY: the frame lies at the end of the child's stack, which nobody else uses.
        unsafe { (at as *mut TrapFrame).write(frame) };
        Context::user(at)
    })?;
    let child = match glue::mm().fork_space(space) {
        Ok(child) => child,
        Err(error) => {
            destroy(id);
            return Err(SpawnError::Space(error));
        }
    };
    context::fork_user_state(parent, id.task());
    attach(id, child);
    let name = super::name_of(parent.id());
    Ok(start(id, Some(parent.id()), &name, false))
}

/// A task that belongs to this CPU and does not run yet, with a stack.
fn create(flags: TaskFlags, begin: impl FnOnce(usize) -> Context) -> Result<TaskId, SpawnError> {
    let cpu = cpu::this().id.load(core::sync::atomic::Ordering::Relaxed) as usize;
    let kernel = flags.contains(TaskFlags::KERNEL);
    let id = state::lock().create(cpu, kernel).ok_or(SpawnError::TooManyTasks)?;
    let top = prepare(id, flags)?;
    id.task().init_context(begin(top as usize));
    Ok(id)
}

/// Resets the task and gives it a stack, whose end is returned. Frees the slot on failure.
fn prepare(id: TaskId, flags: TaskFlags) -> Result<u64, SpawnError> {
    let task = id.task();
    task.reset(id, flags);
    let Some(top) = stack::new_stack() else {
        state::lock().free(id);
        return Err(SpawnError::NoStack);
    };
    task.set_stack_top(top);
    Ok(top)
}

fn attach(id: TaskId, space: SpaceId) {
    let ttbr0 = glue::mm().with_tables(space, |tables| tables.ttbr0());
    id.task().set_space(space, ttbr0);
}

/// Undoes [`create`].
fn destroy(id: TaskId) {
    stack::free_stack(id.task());
    state::lock().free(id);
}

/// Lets a new task run; its process number.
fn start(id: TaskId, parent: Option<TaskId>, name: &[u8], kernel: bool) -> u32 {
    cpu::preempt_disable();
    let (pid, pokes) = {
        let mut sched = state::lock();
        sched.family.add(id, parent, name, kernel);
        let pid = sched.family.get(id).map_or(0, |p| p.pid);
        (pid, sched.start(id))
    };
    state::poke(pokes);
    cpu::preempt_enable();
    pid
}
