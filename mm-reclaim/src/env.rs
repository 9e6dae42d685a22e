//! What a kernel (or a test) supplies: the environment.
//!
//! [`Env`] is one aggregate trait, so that everything above stays generic over a single
//! `E: Env`. Its parts are small and are each tested by the suite in `tests/conformance`,
//! which runs against the host simulator and against the AArch64 kernel alike.
//!
//! | part | called by | may sleep |
//! | --- | --- | --- |
//! | [`Cpu`] | every lock | no |
//! | [`FrameMemory`] | faults, checks | no |
//! | [`PageTables`] | faults, rmap, under the page-table lock | no |
//! | [`Tasks`] | waits, throttling, out-of-memory | `wait_until`, `yield_now` |
//! | [`BlockDevice`] | swap | `submit`, when its queue is full |
//! | [`FileStore`] | the page cache | `start`, `reserve`, `discard`, `evict` |
//! | [`Clock`] | delays, statistics | no |
//!
//! None may call back into the crate, except as [`BlockDevice`] says about completions.
//!
//! # Interrupts
//!
//! The crate masks none, takes no lock in one, and calls none of the above from one. An interrupt
//! may come at any moment, even while locks of the crate are held. So its handler must not wait for
//! a task or call methods of [`Mm`](crate::Mm); it wakes a task that does. What a kernel's own
//! handlers may do with its environment:
//!
//! | part | in a handler |
//! | --- | --- |
//! | [`Cpu`] | it reads the count of [`Cpu::preempt_disable`], and reschedules only while that is 0 |
//! | [`FrameMemory`] | nothing: frames belong to the interrupted code |
//! | [`PageTables`] | nothing; one that carries out another CPU's [`Env::flush_tlb`] takes no lock that is held around that call, such as a page-table lock |
//! | [`Tasks`] | what the kernel's scheduler allows; the crate itself never wakes or kills there |
//! | [`BlockDevice`] | it notes that a transfer has ended, and wakes the task that calls `Mm::complete` |
//! | [`FileStore`] | nothing: its lock may be held by the interrupted code |
//! | [`Clock`] | anything |
//!
//! # Stack
//!
//! [`MOST_STACK`] says how much a call takes. Nothing recurses: reclaim inside of reclaim is
//! stopped by [`TaskFlags::MEMALLOC`].

mod shrinker;
mod storage;
pub mod stub;
mod tables;

pub use shrinker::{Shrinker, Shrunk};
pub use storage::{BlockDevice, FileStore, NoFiles, Run, StoreError};
pub use tables::{EntryAt, Mapping, NoTable, PageEntry, PageTables, Prot, Pte};

use core::fmt;
use core::ptr::NonNull;

use crate::base::units::{Nanos, Order, Pfn, SpaceId, Vpn};
pub use crate::block::bio::DeviceId;

/// The most CPUs that a machine may have.
pub const MAX_CPUS: usize = 8;

/// The most bytes of stack that a call of the crate takes, and the body of kswapd: that is what a
/// fault needs that reclaims, unmaps and writes to swap before it gets its page.
///
/// Measured on AArch64 in this project's kernel: 3.0 KiB optimised, 3.3 KiB with assertions,
/// including the environment and an interrupt on top. A test there fails above this. An environment
/// that needs more for [`Tasks::show_oom_report`] or in its handlers adds that.
pub const MOST_STACK: usize = 5 << 10;

/// The environment as one type. It is passed by value: a reference to the parts of a machine, or a
/// zero-sized type.
pub trait Env: Copy + Sync + Sized {
    /// CPUs, preemption and spinning.
    type Cpu: Cpu;
    /// Access to the contents of frames.
    type Frames: FrameMemory;
    /// One address space's translation tables.
    type Tables: PageTables;
    /// Tasks, waiting and killing.
    type Tasks: Tasks;
    /// The swap devices.
    type Blocks: BlockDevice;
    /// Files.
    type Files: FileStore;
    /// Monotonic time.
    type Clock: Clock;

    /// Access to the contents of frames.
    fn frames(&self) -> &Self::Frames;
    /// Tasks, waiting and killing.
    fn tasks(&self) -> &Self::Tasks;
    /// The swap devices.
    fn blocks(&self) -> &Self::Blocks;
    /// Files.
    fn files(&self) -> &Self::Files;
    /// Monotonic time.
    fn clock(&self) -> &Self::Clock;

    /// Empty translation tables whose top level is `root`, a zeroed frame that the tables
    /// own until [`PageTables::release`] frees it.
    fn new_tables(&self, root: Pfn) -> Self::Tables;

    /// Invalidates cached translations on every CPU and returns when no CPU can use them
    /// any more. An empty slice does nothing. The entries of upper levels that led to them may
    /// stay cached.
    fn flush_tlb(&self, stale: &[TlbEntry]);

    /// Invalidates every cached translation of one address space on every CPU, with what is
    /// cached of the tables' upper levels, and returns when no CPU can use them any more: a table
    /// that was unlinked before is not walked afterwards.
    fn flush_tlb_space(&self, asid: Asid);

    /// What makes allocations fail although there is memory (fault injection, for tests).
    #[inline(always)]
    fn alloc_faults(&self) -> Option<&dyn AllocFaults> {
        None
    }
}

/// Selects allocations that fail. If there is one, every allocation takes the slow path and calls
/// this once; one that must not fail does not.
pub trait AllocFaults {
    /// Whether this allocation of 2^`order` pages fails.
    fn should_fail(&self, order: Order) -> bool;
}

/// Which CPU this is, and how to stay on it.
pub trait Cpu: 'static {
    /// Disables preemption of the caller on this CPU; nests.
    fn preempt_disable();
    /// Undoes one [`Cpu::preempt_disable`]; a due reschedule may happen here.
    fn preempt_enable();
    /// This CPU's number, below [`MAX_CPUS`]; stable while preemption is off.
    fn current() -> usize;

    /// What a CPU does between two attempts at a lock that another one holds. An environment whose
    /// CPUs are tasks or threads yields here.
    #[inline(always)]
    fn relax() {
        core::hint::spin_loop();
    }

    /// Called by debug builds for each spin lock that is about to be taken, with its rank, so that
    /// [`crate::base::lock_order::HeldLocks`] can check the order. Preemption is off.
    #[inline(always)]
    fn lock_taken(_rank: u8) {}
    /// Called by debug builds for each spin lock that was released. Preemption is still off.
    #[inline(always)]
    fn lock_released(_rank: u8) {}
}

/// The calling task is not preempted while such a value lives, and does not sleep: what a fault
/// begins with ([`Mm::handle_fault_pinned`](crate::Mm::handle_fault_pinned)).
///
/// An exception handler gets there for nothing: interrupts are masked on entry. A fault that needs
/// no more than a page that is at hand ends so, and the value with it. Any other fault first
/// releases it.
pub trait Pinned {
    /// From here on the task may be preempted, and may sleep.
    fn release(self);
}

/// Access to the contents of frames.
///
/// # Implementation safety
/// The crate keeps objects of its own in frames that it has allocated, and reaches them through
/// [`FrameMemory::linear_map`]. The guarantees of that method must hold for as long as any [`Mm`]
/// that was made with this environment lives, and the implementation itself must access a frame
/// only in its other methods, or for a device's transfer.
///
/// [`Mm`]: crate::Mm
#[allow(unsafe_code, reason = "the crate's objects lie in what an implementation points at")]
pub unsafe trait FrameMemory: Sync {
    /// The address of frame `first`, the first of the memory map, whether it exists or not. Every
    /// frame that is handed to `Mm::free_bootmem` can be read and written by ordinary loads and
    /// stores at its offset from there: 4096 bytes for each frame number. Frames are aligned to
    /// their size, and the addresses do not wrap.
    fn linear_map(&self, first: Pfn) -> NonNull<u8>;

    /// Fills a frame with zeroes.
    fn zero(&self, frame: Pfn);
    /// Copies a whole frame.
    fn copy(&self, to: Pfn, from: Pfn);
    /// Copies a whole frame to which programs may be storing meanwhile: one of a file.
    fn copy_shared(&self, to: Pfn, from: Pfn) {
        self.copy(to, from);
    }
    /// Fills a freed frame with junk, so that a use after free shows.
    fn poison(&self, frame: Pfn);
    /// Reads `out.len()` bytes from `offset`; both stay within the frame.
    fn read(&self, frame: Pfn, offset: usize, out: &mut [u8]);
    /// Writes `bytes` at `offset`; both stay within the frame.
    fn write(&self, frame: Pfn, offset: usize, bytes: &[u8]);
}

/// The number by which the TLB distinguishes address spaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Asid(pub u16);

/// A translation that may be cached and must be invalidated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TlbEntry {
    /// The address space.
    pub asid: Asid,
    /// The page.
    pub vpn: Vpn,
}

/// What a wait or a wakeup is for: an opaque number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WaitKey(pub u64);

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a wait may end without its condition"]
pub enum WaitEnd {
    /// The condition held.
    Ready,
    /// The timeout expired first.
    TimedOut,
    /// The waiter was killed (only a killable wait ends so).
    Killed,
}

/// How a wait may end early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitMode {
    /// Give up after this long.
    pub timeout: Option<Nanos>,
    /// Give up when the waiter is killed.
    pub killable: bool,
}

impl WaitMode {
    /// Waits until the condition holds, whatever happens.
    pub const UNTIL_READY: Self = Self { timeout: None, killable: false };
}

bitflags::bitflags! {
    /// What the crate needs to know about the calling task.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct TaskFlags: u8 {
        /// It is reclaiming (`PF_MEMALLOC`): it may use the reserves and never recurses.
        const MEMALLOC = 1;
        /// It is the kswapd task.
        const KSWAPD = 2;
        /// It was killed and has not exited yet.
        const DYING = 4;
        /// It was killed because memory ran out: it may use half of the reserves.
        const OOM_VICTIM = 8;
        /// It runs no user program.
        const KERNEL = 16;
    }
}

/// Tasks: the running task, waiting, and killing.
pub trait Tasks: Sync {
    /// The flags of the calling task.
    fn flags(&self) -> TaskFlags;

    /// Sets or clears [`TaskFlags::MEMALLOC`] of the calling task; returns what it was.
    fn set_memalloc(&self, on: bool) -> bool;

    /// Sleeps until `ready` returns true, the time is up or the task is killed.
    ///
    /// **How often `ready` is called.** At least once, even if the time is up or the task was
    /// killed before; and again after every [`Tasks::wake`] of `key` that follows the start of the
    /// call: no wakeup is lost. A wakeup of another key may cause a spurious call. Once it has
    /// returned true it is not called again: it may have taken a lock, and a second call would not
    /// get it.
    ///
    /// **Its result decides.** The wait ends as [`WaitEnd::Ready`] exactly if the last call
    /// returned true, even if the time is up or the task was killed in the meantime.
    ///
    /// **What may be locked around it.** `ready` runs in the calling task, does not sleep, and
    /// may take spin locks of the crate, try its other locks, and call [`Tasks::wake`],
    /// [`Tasks::flags`] and [`Clock::now`]. So an implementation calls it with no lock held
    /// that any method of the environment takes: neither its scheduler's nor that of its
    /// queues. A waiter is on its queue before `ready` is called, and stays there when the lock of
    /// the queue is released for the call.
    ///
    /// What the task has plugged on a block device is submitted before it sleeps. Never called
    /// with a lock held.
    fn wait_until(&self, key: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd;

    /// Debug builds call this where the caller may have to wait, even if it need not this time: a
    /// place to check that it holds no spin lock.
    #[inline(always)]
    fn might_sleep(&self) {}

    /// Makes every task that waits for `key` call its `ready` again. May be called with locks held.
    fn wake(&self, key: WaitKey);

    /// Lets other tasks run (`cond_resched`), if the caller's time slice is used up.
    fn yield_now(&self);

    /// Kills the task that owns address space `space` because memory ran out: it gets
    /// [`TaskFlags::DYING`] and [`TaskFlags::OOM_VICTIM`], its killable waits end, and it exits
    /// instead of returning to user mode. False if no task owns the space (any more): the crate
    /// then chooses another victim. Called with a spin lock held.
    fn kill_for_memory(&self, space: SpaceId) -> bool;

    /// Shows the killer's report: the state of memory, the candidates, the victim.
    fn show_oom_report(&self, _report: &dyn fmt::Display) {}

    /// Writes the owner of address space `space`, in a few words, for the killer's report.
    ///
    /// # Errors
    /// Those of `out`.
    fn write_owner(&self, _space: SpaceId, _out: &mut dyn fmt::Write) -> fmt::Result {
        Ok(())
    }
}

/// Monotonic time.
pub trait Clock: Sync {
    /// Nanoseconds since a fixed moment.
    fn now(&self) -> Nanos;
}
