//! A machine on which nothing happens but allocation: the environment that `Mm` asks for,
//! of which only [`OneCpu`] is ever used.

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use mm_reclaim::block::{Bio, Completion};
use mm_reclaim::env::{
    Asid, BlockDevice, Clock, Cpu, DeviceId, Env, FrameMemory, NoFiles, NoTable, PageTables, Pte,
    TaskFlags, Tasks, TlbEntry, WaitEnd, WaitKey, WaitMode,
};
use mm_reclaim::units::{Nanos, Pfn, SpaceId, Vpn};

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

    /// Nobody else runs, so nobody waits.
    fn relax() {
        panic!("a lock is held twice");
    }
}

/// The rest of the machine.
#[derive(Clone, Copy)]
pub struct Idle;

impl Env for Idle {
    type Cpu = OneCpu;
    type Frames = Self;
    type Tables = Self;
    type Tasks = Self;
    type Blocks = Self;
    type Files = NoFiles;
    type Clock = Self;

    fn frames(&self) -> &Self {
        self
    }

    fn tasks(&self) -> &Self {
        self
    }

    fn blocks(&self) -> &Self {
        self
    }

    fn files(&self) -> &NoFiles {
        &NoFiles
    }

    fn clock(&self) -> &Self {
        self
    }

    fn new_tables(&self, _root: Pfn) -> Self {
        Self
    }

    fn flush_tlb(&self, _stale: &[TlbEntry]) {}

    fn flush_tlb_space(&self, _asid: Asid) {}
}

// SAFETY: no address space is ever made here, so that the crate keeps no objects in frames and
// never goes where this points.
#[allow(unsafe_code, reason = "promises memory that is never used")]
unsafe impl FrameMemory for Idle {
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

impl PageTables for Idle {
    fn asid(&self) -> Asid {
        Asid(0)
    }

    fn get(&self, _vpn: Vpn) -> Pte {
        Pte::None
    }

    fn set(&mut self, _vpn: Vpn, _pte: Pte) -> Result<(), NoTable> {
        Err(NoTable)
    }

    fn replace(&mut self, _vpn: Vpn, _new: Pte) -> Pte {
        Pte::None
    }

    fn test_and_clear_young(&mut self, _vpn: Vpn) -> bool {
        false
    }

    fn mark_accessed(&mut self, _vpn: Vpn, _write: bool) {}

    fn next_entry(&self, _from: Vpn, _end: Vpn) -> Option<(Vpn, Pte)> {
        None
    }

    fn install_table(&mut self, _vpn: Vpn, frame: Pfn) -> Option<Pfn> {
        Some(frame)
    }

    fn unlink_tables(
        &mut self,
        _range: Range<Vpn>,
        _free: &Range<Vpn>,
        _take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Option<Vpn> {
        None
    }

    fn table_frames(&self) -> u32 {
        0
    }

    fn release(&mut self, _give: &mut dyn FnMut(Pfn)) {}
}

impl Tasks for Idle {
    fn flags(&self) -> TaskFlags {
        TaskFlags::KERNEL
    }

    fn set_memalloc(&self, _on: bool) -> bool {
        false
    }

    /// Time stands still, and so is up at once.
    fn wait_until(&self, _: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        if ready() {
            return WaitEnd::Ready;
        }
        assert!(mode.timeout.is_some(), "nobody will ever wake this task");
        WaitEnd::TimedOut
    }

    fn wake(&self, _key: WaitKey) {}

    fn yield_now(&self) {}

    fn kill_for_memory(&self, _space: SpaceId) -> bool {
        false
    }
}

impl BlockDevice for Idle {
    fn submit(&self, _bio: Bio) -> Option<Completion> {
        None
    }

    fn plug(&self) {}

    fn unplug(&self) {}

    fn is_congested(&self, _device: DeviceId) -> bool {
        false
    }

    fn discard(&self, _device: DeviceId, _first: u32, _blocks: u32) {}
}

impl Clock for Idle {
    fn now(&self) -> Nanos {
        Nanos(0)
    }
}
