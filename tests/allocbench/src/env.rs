//! A machine on which nothing happens but allocation: one CPU, and frames without memory.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use mm_reclaim::env::stub::Bare;
use mm_reclaim::env::{Cpu, FrameMemory};
use mm_reclaim::units::Pfn;

/// That machine, and nothing else.
pub type Idle = Bare<'static, OneCpu, Nowhere>;

/// One CPU, whose preemption is a counter, as in a kernel.
pub struct OneCpu;

static PREEMPT_OFF: AtomicU32 = AtomicU32::new(0);

impl Cpu for OneCpu {
    #[inline(always)]
    fn preempt_disable() {
        PREEMPT_OFF.store(PREEMPT_OFF.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn preempt_enable() {
        PREEMPT_OFF.store(PREEMPT_OFF.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn current() -> usize {
        0
    }

    /// There is only one task, so a lock is never contended.
    fn relax() {
        panic!("a lock is held twice");
    }
}

/// Frames without memory.
pub struct Nowhere;

// SAFETY: no address space is ever made here, so that the crate keeps no objects in frames and
// never goes where this points.
#[allow(unsafe_code, reason = "promises memory that is never used")]
unsafe impl FrameMemory for Nowhere {
    fn linear_map(&self, _first: Pfn) -> NonNull<u8> {
        NonNull::dangling()
    }

    fn zero(&self, _frame: Pfn) {}

    fn copy(&self, _to: Pfn, _from: Pfn) {}

    fn poison(&self, _frame: Pfn) {}

    fn read(&self, _frame: Pfn, _offset: usize, out: &mut [u8]) {
        out.fill(0);
    }

    fn write(&self, _frame: Pfn, _offset: usize, _bytes: &[u8]) {}
}
