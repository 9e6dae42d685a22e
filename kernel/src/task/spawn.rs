//! How tasks start: the boot task, kernel tasks, programs, and the children of a fork.
//!
//! **Data.** A new task's slot and stack, which belong to the creator until it starts the
//! task. **Lock.** The scheduler lock, to take the slot and to start.

use core::convert::Infallible;
use core::fmt;
use core::mem::size_of;

use mm_reclaim::env::TaskFlags;
use mm_reclaim::space::{SpaceError, SpaceId};

use super::fair::{Class, Pace};
use super::services::{self, Services, services};
use super::{MAX_TASKS, TaskId, sched, stack, state};
use crate::arch::context::{self, Context, UserState};
use crate::arch::cpu;
use crate::arch::trap::TrapFrame;
use crate::drivers::timer;

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

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyTasks => write!(f, "there are {MAX_TASKS} tasks, as many as there may be"),
            Self::NoStack => f.write_str("there is no memory for its stack"),
            Self::Space(error) => write!(f, "it gets no address space: {error}"),
        }
    }
}

impl core::error::Error for SpawnError {}

/// Makes the code that boots the kernel a task, and gives this CPU its idle task. The page
/// allocator must work; from here on the caller may sleep. Tasks use `services` from now on.
///
/// # Errors
/// As [`spawn_kernel`].
pub fn adopt_boot_task(services: &'static dyn Services) -> Result<(), SpawnError> {
    services::install(services);
    {
        let mut sched = state::lock();
        sched.set_pace(Pace::new(timer::ticks_in));
        let boot = sched.create(0, true).ok_or(SpawnError::TooManyTasks)?;
        debug_assert_eq!(boot, super::current_id(), "the boot code runs as the first task");
        sched.adopt(0, boot);
        sched.family.add(boot, None, b"main", true);
        boot.task().reset(boot, TaskFlags::KERNEL);
    }
    let (idle, top) = new_idle_task(0)?;
    idle.task().thread.init_context(Context::kernel(sched::idle, top as usize));
    Ok(())
}

/// Gives the boot task a stack like any other's, and goes on there with `body` and `argument`,
/// interrupts masked. The stack that the boot ran on is no task's from then on.
///
/// # Errors
/// Without memory for the stack; the caller goes on where it was.
///
/// # Safety
/// The caller is the boot task, and nothing refers to what lies on its stack.
pub unsafe fn leave_boot_stack(
    body: extern "C" fn(usize) -> !,
    argument: usize,
) -> Result<Infallible, SpawnError> {
    let top = stack::new_stack().ok_or(SpawnError::NoStack)?;
    cpu::irqs_off();
    super::current().set_stack_top(top);
    sched::begin_as(0, super::current_id());
    // SAFETY: the stack was mapped just now, for this task; the caller promises the rest.
    unsafe { context::leave_stack(top, body, argument) }
}

/// Makes the idle task of a CPU that is about to start as that task. Returns the end of its stack.
///
/// # Errors
/// As [`spawn_kernel`].
pub fn adopt_idle_task(cpu: usize) -> Result<u64, SpawnError> {
    let (idle, top) = new_idle_task(cpu)?;
    state::lock().adopt(cpu, idle);
    Ok(top)
}

fn new_idle_task(cpu: usize) -> Result<(TaskId, u64), SpawnError> {
    let idle = state::lock().create(cpu, true).ok_or(SpawnError::TooManyTasks)?;
    let top = prepare(idle, TaskFlags::KERNEL)?;
    let mut sched = state::lock();
    sched.family.add(idle, None, b"idle", true);
    sched.set_idle(cpu, idle);
    Ok((idle, top))
}

/// The idle task of a CPU.
pub fn idle_of(cpu: usize) -> TaskId {
    state::lock().idle_of(cpu)
}

/// Allows tasks to be placed on `cpu`.
pub fn set_online(cpu: usize) {
    state::lock().set_online(cpu);
}

/// Makes a kernel task that runs `body`. `flags` are set in addition to [`TaskFlags::KERNEL`].
///
/// # Errors
/// Without a free slot or stack.
pub fn spawn_kernel(name: &str, flags: TaskFlags, body: fn() -> !) -> Result<TaskId, SpawnError> {
    spawn_kernel_on(0, name, flags, body)
}

/// Makes a kernel task of a server class.
///
/// # Errors
/// As [`spawn_kernel`].
pub fn spawn_server(
    class: Class,
    name: &str,
    flags: TaskFlags,
    body: fn() -> !,
) -> Result<TaskId, SpawnError> {
    let id = create(Some(0), TaskFlags::KERNEL | flags, |top| Context::kernel(body, top))?;
    state::lock().serve(id, class);
    start(id, None, name.as_bytes(), true);
    Ok(id)
}

/// Makes a kernel task on a given CPU, which runs.
///
/// # Errors
/// As [`spawn_kernel`].
pub fn spawn_kernel_on(
    cpu: usize,
    name: &str,
    flags: TaskFlags,
    body: fn() -> !,
) -> Result<TaskId, SpawnError> {
    let id = create(Some(cpu), TaskFlags::KERNEL | flags, |top| Context::kernel(body, top))?;
    start(id, None, name.as_bytes(), true);
    Ok(id)
}

/// Makes a user task that takes over the address space `space`. It runs `body` in the kernel first,
/// which must load the program and enter it. The caller is its parent. Returns the process number.
///
/// # Errors
/// Without a free slot or stack; the caller keeps `space`.
pub fn spawn_user(name: &[u8], space: SpaceId, body: fn() -> !) -> Result<u32, SpawnError> {
    let id = create(None, TaskFlags::empty(), |top| Context::kernel(body, top))?;
    attach(id, space);
    id.task().thread.init_user_state(UserState::new(0));
    Ok(start(id, Some(super::current_id()), name, false))
}

/// Makes a copy of the running program, which returns 0 from the same system call. Returns
/// the child's process number.
///
/// # Errors
/// Without a free slot, a stack, or memory for the address space.
pub fn fork(frame: &TrapFrame) -> Result<u32, SpawnError> {
    let parent = super::current();
    let Some(space) = parent.space() else {
        return Err(SpawnError::Space(SpaceError::NoMemory));
    };
    let id = create(None, TaskFlags::empty(), |top| {
        let at = top - size_of::<TrapFrame>();
        let mut frame = *frame;
        frame.x[0] = 0;
        // SAFETY: the frame lies at the end of the child's stack, which has no other user.
        unsafe { (at as *mut TrapFrame).write(frame) };
        Context::user(at)
    })?;
    if !services().inherit_files(parent.id(), id) {
        destroy(id);
        return Err(SpawnError::Space(SpaceError::NoMemory));
    }
    let child = match services().fork_space(space) {
        Ok(child) => child,
        Err(error) => {
            services().close_files(id);
            destroy(id);
            return Err(SpawnError::Space(error));
        }
    };
    context::fork_user_state(&parent.thread, &id.task().thread);
    attach(id, child);
    let name = super::name_of(parent.id());
    Ok(start(id, Some(parent.id()), &name, false))
}

/// A task that does not run yet, with a stack; on the CPU with the fewest programs if none is
/// named.
fn create(
    cpu: Option<usize>,
    flags: TaskFlags,
    begin: impl FnOnce(usize) -> Context,
) -> Result<TaskId, SpawnError> {
    let kernel = flags.contains(TaskFlags::KERNEL);
    let id = {
        let mut sched = state::lock();
        let cpu = cpu.unwrap_or_else(|| sched.place());
        sched.create(cpu, kernel).ok_or(SpawnError::TooManyTasks)?
    };
    let mut top = prepare(id, flags)? as usize;
    if !kernel {
        // SAFETY: the task was made just now, and its stack is freed after its last turn.
        top = unsafe { id.task().thread.place_fp_state(top) };
    }
    id.task().thread.init_context(begin(top));
    Ok(id)
}

/// Resets the task and gives it a stack, whose end is returned. Frees the slot on failure.
fn prepare(id: TaskId, flags: TaskFlags) -> Result<u64, SpawnError> {
    if !id.make_room() {
        state::lock().free(id);
        return Err(SpawnError::NoStack);
    }
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
    let open = services().open_space(space).expect("the task's own space");
    id.task().set_space(space, open, services().ttbr0(space));
}

/// Undoes [`create`].
fn destroy(id: TaskId) {
    stack::free_stack(id.task());
    state::lock().free(id);
}

/// Starts a new task; returns its process number.
fn start(id: TaskId, parent: Option<TaskId>, name: &[u8], kernel: bool) -> u32 {
    cpu::preempt_disable();
    let (pid, pokes) = {
        let mut sched = state::lock();
        sched.family.add(id, parent, name, kernel);
        let pid = sched.family.get(id).map_or(0, |p| p.pid);
        (pid, sched.start(id, parent, timer::ticks()))
    };
    state::poke(pokes);
    cpu::preempt_enable();
    pid
}
