//! A task's own data, accessed without a lock.
//!
//! **Data.** One [`Task`] for each place of the task table, a frame full at a time as there are more. **Owner.** The task itself, and its
//! creator before it runs; for its registers see [`Thread`]. Others only set bits of `flags` and
//! the number of the killing signal. **Lock.** None.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU16, AtomicU64, Ordering};

use mm_reclaim::env::TaskFlags;
use mm_reclaim::space::SpaceId;

use super::family::NAME_BYTES;
use super::services::services;
use super::{MAX_TASKS, TaskId};
use crate::arch::context::Thread;
use crate::arch::cpu;
use crate::arch::growing::Growing;
use crate::arch::mmu::STACK_SIZE;

/// A task's own data.
#[repr(C, align(64))]
pub struct Task {
    /// [`TaskFlags`].
    flags: AtomicU8,
    /// It exited, and its CPU may still be on its stack.
    exited: AtomicBool,
    /// The signal that a killed task dies of.
    signal: AtomicU8,
    id: AtomicU16,
    /// The number of plugs that it holds on the block devices.
    pub plugs: AtomicU16,
    /// A copy from or to its memory fails rather than take a fault: it has a page locked.
    faults_off: AtomicBool,
    /// The name of its address space as a number; 0 for none, so that an unused entry is all zeroes
    /// and the table takes no room in the image.
    space: AtomicU64,
    /// The same space, open: what [`Services::open_space`](super::Services::open_space) returned, or
    /// null. Used only by the task itself, and closed by it.
    open: AtomicPtr<()>,
    /// The end of its stack; 0 for the boot task, whose stack is part of the image.
    stack_top: AtomicU64,
    /// Its processor state.
    pub thread: Thread,
}

/// Tasks that need no memory but the image's: the boot's, and the first ones.
const FIRST: usize = 16;
static FIRST_TASKS: [Task; FIRST] = [const { Task::new() }; FIRST];

type Table = Growing<Task, { MAX_TASKS.div_ceil(Growing::<Task, 1>::PER_FRAME) }>;
static TASKS: Table = Growing::new();

impl TaskId {
    /// The task's own data.
    #[inline(always)]
    pub fn task(self) -> &'static Task {
        if let Some(first) = FIRST_TASKS.get(self.index()) {
            return first;
        }
        TASKS.get(self.index()).expect("a task that was made")
    }

    /// Makes room for the task's own data; false without memory.
    pub(super) fn make_room(self) -> bool {
        let services = services();
        self.index() < FIRST
            || TASKS.grow(
                self.index(),
                || services.frame(),
                |frame| services.give_frame(frame),
                Task::new,
            )
    }
}

/// The running task.
#[inline(always)]
pub fn current() -> &'static Task {
    let task = cpu::this().current.load(Ordering::Relaxed).cast::<Task>();
    // SAFETY: only `sched` writes the pointer, first before the CPU has its per-CPU data, and
    // always a pointer to a task, of which none is ever freed.
    unsafe { &*task }
}

/// Runs `copy`, in which an access to user memory fails rather than take a fault.
#[doc(alias = "pagefault_disable")]
pub fn without_faults<R>(copy: impl FnOnce() -> R) -> R {
    let task = current();
    task.faults_off.store(true, Ordering::Relaxed);
    let done = copy();
    task.faults_off.store(false, Ordering::Relaxed);
    done
}

/// The running task's place.
#[inline(always)]
pub fn current_id() -> TaskId {
    current().id()
}

/// The name of a task, padded with zeroes.
pub fn name_of(id: TaskId) -> [u8; NAME_BYTES] {
    super::state::lock().family.get(id).map_or([0; NAME_BYTES], |p| p.name)
}

impl Task {
    const fn new() -> Self {
        Self {
            flags: AtomicU8::new(0),
            exited: AtomicBool::new(false),
            signal: AtomicU8::new(0),
            id: AtomicU16::new(0),
            plugs: AtomicU16::new(0),
            faults_off: AtomicBool::new(false),
            space: AtomicU64::new(0),
            open: AtomicPtr::new(ptr::null_mut()),
            stack_top: AtomicU64::new(0),
            thread: Thread::new(),
        }
    }

    /// Resets the place for a new task, which runs no user program yet.
    pub(super) fn reset(&self, id: TaskId, flags: TaskFlags) {
        self.flags.store(flags.bits(), Ordering::Relaxed);
        self.exited.store(false, Ordering::Relaxed);
        self.signal.store(0, Ordering::Relaxed);
        self.id.store(id.0, Ordering::Relaxed);
        self.plugs.store(0, Ordering::Relaxed);
        self.stack_top.store(0, Ordering::Relaxed);
        self.thread.clear_fp_state();
        self.clear_space();
    }

    /// Whether it is in [`without_faults`].
    pub fn has_faults_off(&self) -> bool {
        self.faults_off.load(Ordering::Relaxed)
    }

    /// The task's place in the table.
    #[inline(always)]
    pub fn id(&self) -> TaskId {
        TaskId(self.id.load(Ordering::Relaxed))
    }

    /// Its flags for the memory management.
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

    /// Whether it was killed and has not exited yet.
    #[inline(always)]
    pub fn is_dying(&self) -> bool {
        self.flags().contains(TaskFlags::DYING)
    }

    /// Whether it runs a user program.
    #[inline(always)]
    pub fn is_user(&self) -> bool {
        self.thread.is_user()
    }

    /// Its address space.
    #[inline(always)]
    pub fn space(&self) -> Option<SpaceId> {
        Some(self.space.load(Ordering::Relaxed)).filter(|bits| *bits != 0).map(SpaceId::from_bits)
    }

    /// Its address space, open.
    #[inline(always)]
    pub fn open_space(&self) -> Option<NonNull<()>> {
        NonNull::new(self.open.load(Ordering::Relaxed))
    }

    /// Gives it an address space, which is open, and so makes it a user task.
    pub(super) fn set_space(&self, space: SpaceId, open: NonNull<()>, ttbr0: u64) {
        self.space.store(space.bits(), Ordering::Relaxed);
        self.open.store(open.as_ptr(), Ordering::Relaxed);
        self.thread.set_tables(ttbr0);
    }

    /// Removes its address space: its name, and what is to be closed.
    pub(super) fn clear_space(&self) -> Option<(SpaceId, NonNull<()>)> {
        let space = self.space().zip(self.open_space());
        self.thread.clear_tables();
        self.space.store(0, Ordering::Relaxed);
        self.open.store(ptr::null_mut(), Ordering::Relaxed);
        space
    }

    /// The signal that a killed task dies of: only the first one is kept.
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

    /// The end of its stack, if that was mapped for it.
    pub(super) fn stack_top(&self) -> Option<u64> {
        Some(self.stack_top.load(Ordering::Relaxed)).filter(|top| *top != 0)
    }

    /// The lowest address of its stack; 0 if there is no guard below it.
    #[inline]
    pub fn stack_low(&self) -> u64 {
        self.stack_top.load(Ordering::Relaxed).saturating_sub(STACK_SIZE)
    }
}
