//! Kernel stacks: four frames each, mapped with a guard page below.

use mm_reclaim::units::{PAGE_SIZE, Pfn};

use super::Task;
use super::services::services;
use crate::arch::mmu;

/// Frames of a kernel stack.
const STACK_FRAMES: usize = mmu::STACK_SIZE as usize / PAGE_SIZE;

/// Four frames, mapped with a guard below; the stack's end.
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
    if top.is_none() {
        give(&frames);
    }
    top
}

/// Maps a stack. The frames that new tables may need are got beforehand: the allocator may
/// sleep, and the kernel map is locked meanwhile.
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

/// Gives the stack of a task back that nobody runs on.
pub(super) fn free_stack(task: &Task) {
    if let Some(top) = task.stack_top() {
        give(&mmu::unmap_stack(top));
    }
}
