//! Kernel stacks: four frames each, mapped with a guard page below.
//!
//! **Measured** stacks are painted when they are made: the part below the deepest call ever made
//! still has the paint.
//!
//! **Data.** Whether stacks are painted, and the deepest use of those that were freed.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use mm_reclaim::env::TaskFlags;
use mm_reclaim::units::{PAGE_SIZE, Pfn};

use super::services::services;
use super::table::State;
use super::{MAX_TASKS, Task, TaskId, state};
use crate::arch::cpu;
use crate::arch::mmu::{self, STACK_SIZE};

/// Frames of a kernel stack.
const STACK_FRAMES: usize = STACK_SIZE as usize / PAGE_SIZE;
/// The value of every unused word of a painted stack.
const PAINT: u64 = 0x756e_7573_6564_2121;

static PAINTED: AtomicBool = AtomicBool::new(false);
static DEEPEST: AtomicU64 = AtomicU64::new(0);

/// Makes stacks that are allocated from now on measured.
pub fn measure_stacks() {
    PAINTED.store(true, Relaxed);
}

/// The most bytes ever used of a measured stack, of all that were freed and of those of kernel
/// tasks.
pub fn deepest_stack() -> u64 {
    for id in (0..MAX_TASKS as u16).map(TaskId) {
        // Kernel tasks stay, but for the monitor, which may be about to exit: not while the task
        // that asks, on the same CPU, is not preempted.
        cpu::preempt_disable();
        let runs =
            matches!(state::lock().state(id), State::Ready | State::Running | State::Blocked);
        if runs && id.task().flags().contains(TaskFlags::KERNEL) {
            DEEPEST.fetch_max(used(id.task()), Relaxed);
        }
        cpu::preempt_enable();
    }
    DEEPEST.load(Relaxed)
}

/// The most bytes of its stack that the running task ever used, if that is measured.
pub fn own_stack() -> u64 {
    used(super::current())
}

/// The words of a stack that is mapped, lowest first.
fn words(top: u64) -> impl Iterator<Item = &'static AtomicU64> {
    (top - STACK_SIZE..top).step_by(size_of::<u64>()).map(|at| {
        // SAFETY: an aligned word of a stack that stays mapped during the access. The task that
        // runs on it may write the word concurrently: it is read atomically.
        unsafe { AtomicU64::from_ptr(at as *mut u64) }
    })
}

/// How much of a task's stack calls have used; 0 if it was not painted. A use beyond the last word
/// would have hit the guard.
fn used(task: &Task) -> u64 {
    let Some(top) = task.stack_top() else { return 0 };
    match words(top).position(|word| word.load(Relaxed) != PAINT) {
        Some(0) | None => 0,
        Some(unused) => {
            let lowest = top - STACK_SIZE + (unused * size_of::<u64>()) as u64;
            task.thread.stack_end(top).saturating_sub(lowest)
        }
    }
}

/// Allocates four frames and maps them with a guard below; returns the stack's end.
pub(super) fn new_stack() -> Option<u64> {
    let mut frames = [Pfn(0); STACK_FRAMES];
    for got in 0..STACK_FRAMES {
        match services().frame() {
            Some(frame) => frames[got] = frame,
            None => {
                give(&frames[..got]);
                return None;
            }
        }
    }
    let top = map_stack(frames);
    match top {
        Some(top) if PAINTED.load(Relaxed) => {
            words(top).for_each(|word| word.store(PAINT, Relaxed));
        }
        Some(_) => {}
        None => give(&frames),
    }
    top
}

/// Maps a stack. The frames that new tables may need are allocated beforehand: the allocator may
/// sleep, which is not allowed under the kernel map's lock.
fn map_stack(frames: [Pfn; STACK_FRAMES]) -> Option<u64> {
    if let Ok(top) = mmu::map_stack(frames, &mut []) {
        return Some(top);
    }
    let mut spare = [services().frame(), services().frame()];
    let top = mmu::map_stack(frames, &mut spare).ok();
    for frame in spare.into_iter().flatten() {
        give(&[frame]);
    }
    top
}

fn give(frames: &[Pfn]) {
    for frame in frames {
        services().give_frame(*frame);
    }
}

/// Frees the stack of a task, which must not be in use.
pub(super) fn free_stack(task: &Task) {
    if let Some(top) = task.stack_top() {
        if PAINTED.load(Relaxed) {
            DEEPEST.fetch_max(used(task), Relaxed);
        }
        give(&mmu::unmap_stack(top));
    }
}
