//! A task's own data, reached without a lock.
//!
//! **Data.** One [`Task`] for each place of the task table. **Owner.** The task itself; its
//! CPU's scheduler for the register contents while it does not run; its creator before it
//! runs. Others only set bits of `flags` and the number of the killing signal.
//! **Lock.** None.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU64, Ordering};

use mm_reclaim::env::TaskFlags;
use mm_reclaim::space::SpaceId;

use super::family::NAME_BYTES;
use super::{MAX_TASKS, TaskId};
use crate::arch::context::{Context, UserState};
use crate::arch::mmu::STACK_SIZE;
use crate::arch::{cpu, paging};

/// A task's own data.
#[repr(C, align(64))]
pub struct Task {
    /// [`TaskFlags`].
    flags: AtomicU8,
    /// It runs a user program.
    user: AtomicBool,
    /// It exited, and its CPU has still to say that it left its stack.
    exited: AtomicBool,
    /// The signal that a killed task dies of.
    signal: AtomicU8,
    id: AtomicU16,
    /// How many plugs it holds on the block devices.
    pub plugs: AtomicU16,
    /// The name of its address space as a number; 0 for none, so that a task that does not
    /// exist is all zeroes and the table takes no room in the image.
    space: AtomicU64,
    ttbr0: AtomicU64,
    /// The end of its stack; 0 for the boot task, whose stack is part of the image.
    stack_top: AtomicU64,
    context: UnsafeCell<Context>,
    user_state: UnsafeCell<UserState>,
}

// SAFETY: the two cells are accessed only by the owner that the module's head names: by
// raw pointers, under masked interrupts or before the task runs.
unsafe impl Sync for Task {}

static TASKS: [Task; MAX_TASKS] = [const { Task::new() }; MAX_TASKS];

impl TaskId {
    /// The task's own data.
    #[inline(always)]
    pub fn task(self) -> &'static Task {
        &TASKS[self.index()]
    }
}

/// The running task's place.
#[inline(always)]
pub fn current_id() -> TaskId {
    cpu::this().current().id()
}

/// The name of a task, filled up with zeroes.
pub fn name_of(id: TaskId) -> [u8; NAME_BYTES] {
    super::state::lock().family.get(id).map_or([0; NAME_BYTES], |p| p.name)
}

impl Task {
    const fn new() -> Self {
        Self {
            flags: AtomicU8::new(0),
            user: AtomicBool::new(false),
            exited: AtomicBool::new(false),
            signal: AtomicU8::new(0),
            id: AtomicU16::new(0),
            plugs: AtomicU16::new(0),
            space: AtomicU64::new(0),
            ttbr0: AtomicU64::new(0),
            stack_top: AtomicU64::new(0),
            context: UnsafeCell::new(Context::EMPTY),
            user_state: UnsafeCell::new(UserState::new(0)),
        }
    }

    /// Makes the place a new task's, which runs no user program yet.
    pub(super) fn reset(&self, id: TaskId, flags: TaskFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
        self.user.store(false, Ordering::Relaxed);
        self.exited.store(false, Ordering::Relaxed);
        self.signal.store(0, Ordering::Relaxed);
        self.id.store(id.0, Ordering::Relaxed);
        self.plugs.store(0, Ordering::Relaxed);
        self.stack_top.store(0, Ordering::Relaxed);
        self.clear_space();
    }

    /// The task's place in the table.
    #[inline(always)]
    pub fn id(&self) -> TaskId {
        TaskId(self.id.load(Ordering::Relaxed))
    }

    /// What the memory management knows about it.
    #[inline(always)]
    pub fn flags(&self) -> TaskFlags {
        TaskFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// Sets flags.
    pub fn add_flags(&self, flags: TaskFlags) {
        self.flags.fetch_or(flags.bits(), Ordering::Relaxed);
    }

    /// Sets or clears `flag`; returns what it was.
    #[inline]
    pub fn set_flag(&self, flag: TaskFlags, on: bool) -> bool {
        let old = if on {
            self.flags.fetch_or(flag.bits(), Ordering::Relaxed)
        } else {
            self.flags.fetch_and(!flag.bits(), Ordering::Relaxed)
        };
        old & flag.bits() != 0
    }

    /// It was killed and has not exited yet.
    #[inline(always)]
    pub fn is_dying(&self) -> bool {
        self.flags().contains(TaskFlags::DYING)
    }

    /// It runs a user program, whose registers have to be kept.
    #[inline(always)]
    pub fn is_user(&self) -> bool {
        self.user.load(Ordering::Relaxed)
    }

    /// Its address space.
    #[inline(always)]
    pub fn space(&self) -> Option<SpaceId> {
        Some(self.space.load(Ordering::Relaxed)).filter(|bits| *bits != 0).map(SpaceId::from_bits)
    }

    /// What TTBR0 is while it runs.
    #[inline(always)]
    pub fn ttbr0(&self) -> u64 {
        match self.ttbr0.load(Ordering::Relaxed) {
            0 => paging::empty_tables(),
            tables => tables,
        }
    }

    /// Gives it an address space and so makes it a user task.
    pub(super) fn set_space(&self, space: SpaceId, ttbr0: u64) {
        self.space.store(space.bits(), Ordering::Relaxed);
        self.ttbr0.store(ttbr0, Ordering::Relaxed);
        self.user.store(true, Ordering::Relaxed);
    }

    /// Takes its address space away.
    pub(super) fn clear_space(&self) -> Option<SpaceId> {
        let space = self.space();
        self.user.store(false, Ordering::Relaxed);
        self.space.store(0, Ordering::Relaxed);
        self.ttbr0.store(0, Ordering::Relaxed);
        space
    }

    /// The signal that a killed task dies of: the first one counts.
    pub(super) fn set_signal(&self, number: u8) {
        let _ = self.signal.compare_exchange(0, number, Ordering::Relaxed, Ordering::Relaxed);
    }

    pub(super) fn signal(&self) -> u8 {
        self.signal.load(Ordering::Relaxed)
    }

    pub(super) fn set_exited(&self) {
        self.exited.store(true, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(super) fn has_exited(&self) -> bool {
        self.exited.load(Ordering::Relaxed)
    }

    pub(super) fn set_stack_top(&self, top: u64) {
        self.stack_top.store(top, Ordering::Relaxed);
    }

    /// The end of its stack, if it is one that was mapped for it.
    pub(super) fn stack_top(&self) -> Option<u64> {
        Some(self.stack_top.load(Ordering::Relaxed)).filter(|top| *top != 0)
    }

    /// The lowest address of its stack; 0 where there is no guard below it.
    #[inline]
    pub fn stack_low(&self) -> u64 {
        self.stack_top.load(Ordering::Relaxed).saturating_sub(STACK_SIZE)
    }

    /// The saved registers. To be used as the module's head says.
    #[inline(always)]
    pub fn context(&self) -> *mut Context {
        self.context.get()
    }

    /// The saved registers of user mode. To be used as the module's head says.
    #[inline(always)]
    pub fn user_state(&self) -> *mut UserState {
        self.user_state.get()
    }

    /// Says where a task that never ran begins.
    pub(super) fn init_context(&self, context: Context) {
        // SAFETY: the caller is the creator of a task that does not run yet.
        unsafe { self.context.get().write(context) };
    }

    /// Says with which registers user mode begins.
    pub fn init_user_state(&self, state: UserState) {
        // SAFETY: the caller is the creator of a task that does not run yet, or the task
        // itself with interrupts masked.
        unsafe { self.user_state.get().write(state) };
    }
}
