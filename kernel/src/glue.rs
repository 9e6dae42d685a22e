//! The kernel as the environment of `mm-reclaim`: everything that the crate needs, in one place,
//! and what the kernel's tasks need from the crate.
//!
//! **Data.** The [`Mm`], and the parts of its environment. **Owner.** The boot code builds it and
//! hands it over with [`install`]; from then on it is never freed. **Lock.** None here; the crate's
//! own.
//!
//! There is no policy in this file: each method is one call of the mechanism it names.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Range;
use core::ptr::NonNull;

use mm_reclaim::Mm;
use mm_reclaim::block::{Bio, Completion, IoError};
use mm_reclaim::env::{
    Asid, BlockDevice, Clock, Cpu, DeviceId, Env, FileStore, Pinned, Run, StoreError, TaskFlags,
    Tasks, TlbEntry, WaitEnd, WaitKey, WaitMode,
};
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::file::FileRef;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::space::OpenSpace;
use mm_reclaim::units::{Nanos, Order, PAGE_SIZE, Pfn, SpaceId};
use spin::RelaxStrategy;
use spin::once::Once;

use crate::arch::cpu;
use crate::arch::frames::LinearFrames;
use crate::arch::lock::Yield;
use crate::arch::paging::{self, Tables};
use crate::drivers::timer;
use crate::task::family::printable;
use crate::{disk, filedisk, println, task};

/// The memory management of this kernel.
pub type KernelMm = Mm<'static, KernelEnv>;

static MM: Once<KernelMm, Yield> = Once::new();

/// Makes `mm` the kernel's memory management.
///
/// # Panics
/// If there is one already.
pub fn install(mm: KernelMm) -> &'static KernelMm {
    assert!(!MM.is_completed(), "the memory management is there already");
    MM.call_once(|| mm)
}

/// The kernel's memory management.
///
/// # Panics
/// Before [`install`] (BOOT-07).
#[inline(always)]
pub fn mm() -> &'static KernelMm {
    MM.get().expect("memory was asked for before the memory management was there")
}

/// Resolves a fault of user mode in the space that the running task has open.
#[inline(always)]
pub fn resolve_fault<P: Pinned>(
    open: NonNull<()>,
    addr: u64,
    access: Access,
    pinned: P,
) -> FaultEnd {
    // SAFETY: `open_space` below returned it to the task, which closes it after its last fault; here
    // it is only lent.
    let space = ManuallyDrop::new(unsafe { OpenSpace::from_raw(open) });
    // SAFETY: there is the memory management, since it has opened a space.
    unsafe { MM.get_unchecked() }.handle_fault_pinned(&space, addr, access, pinned)
}

/// A reference to a file.
pub type File = FileRef<'static, ThisCpu>;

/// The memory management, if it is installed already.
pub fn try_mm() -> Option<&'static KernelMm> {
    MM.get()
}

/// Allocates a block of frames where that is rare: a call, and not the allocator's fast path. `None`
/// if there is no memory, or no such block after one round of reclaim.
#[inline(never)]
pub fn alloc_frames(order: Order) -> Option<Pfn> {
    let trying = if order == Order::ZERO { Gfp::empty() } else { Gfp::NORETRY | Gfp::NOWARN };
    mm().alloc_pages(Gfp::KERNEL | trying, order)
}

/// Frees what [`alloc_frames`] returned.
#[inline(never)]
pub fn free_frames(first: Pfn, order: Order) {
    mm().free_pages(first, order);
}

/// The parts of the crate's environment.
#[derive(Clone, Copy)]
pub struct KernelEnv {
    frames: LinearFrames,
    tasks: Scheduler,
    blocks: Disks,
    clock: GenericTimer,
}

impl KernelEnv {
    /// The environment of this machine. The linear map must exist.
    pub fn new() -> Self {
        Self { frames: LinearFrames::new(), tasks: Scheduler, blocks: Disks, clock: GenericTimer }
    }
}

impl Default for KernelEnv {
    fn default() -> Self {
        Self::new()
    }
}

impl Env for KernelEnv {
    type Cpu = ThisCpu;
    type Frames = LinearFrames;
    type Tables = Tables;
    type Tasks = Scheduler;
    type Blocks = Disks;
    type Files = FilesOnDisk;
    type Clock = GenericTimer;

    #[inline(always)]
    fn frames(&self) -> &LinearFrames {
        &self.frames
    }

    #[inline(always)]
    fn tasks(&self) -> &Scheduler {
        &self.tasks
    }

    #[inline(always)]
    fn blocks(&self) -> &Disks {
        &self.blocks
    }

    #[inline(always)]
    fn files(&self) -> &FilesOnDisk {
        &FilesOnDisk
    }

    #[inline(always)]
    fn clock(&self) -> &GenericTimer {
        &self.clock
    }

    fn new_tables(&self, root: Pfn) -> Tables {
        Tables::new(root)
    }

    fn flush_tlb(&self, stale: &[TlbEntry]) {
        paging::flush(stale);
    }

    fn flush_tlb_space(&self, asid: Asid) {
        paging::flush_space(asid);
    }
}

/// The CPU that the caller runs on.
pub struct ThisCpu;

impl Cpu for ThisCpu {
    #[inline(always)]
    fn preempt_disable() {
        cpu::preempt_disable();
    }

    #[inline(always)]
    fn preempt_enable() {
        cpu::preempt_enable();
    }

    #[inline(always)]
    fn current() -> usize {
        cpu::this().id.load(core::sync::atomic::Ordering::Relaxed) as usize
    }

    #[inline(always)]
    fn relax() {
        Yield::relax();
    }

    #[cfg(debug_assertions)]
    fn lock_taken(rank: u8) {
        cpu::lock_taken(rank);
    }

    #[cfg(debug_assertions)]
    fn lock_released(rank: u8) {
        cpu::lock_released(rank);
    }
}

/// The tasks of [`crate::task`].
#[derive(Clone, Copy)]
pub struct Scheduler;

impl Tasks for Scheduler {
    #[inline(always)]
    fn flags(&self) -> TaskFlags {
        task::current().flags()
    }

    #[inline]
    fn set_memalloc(&self, on: bool) -> bool {
        task::current().set_flag(TaskFlags::MEMALLOC, on)
    }

    fn wait_until(&self, key: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        task::wait_until(key, mode, ready)
    }

    #[inline(always)]
    fn might_sleep(&self) {
        cpu::might_sleep("what may sleep");
    }

    #[inline]
    fn wake(&self, key: WaitKey) {
        task::wake(key);
    }

    #[inline]
    fn yield_now(&self) {
        task::cond_resched();
    }

    fn kill_for_memory(&self, space: SpaceId) -> bool {
        task::kill_space(space)
    }

    fn show_oom_report(&self, report: &dyn fmt::Display) {
        println!("\n{report}");
    }

    fn write_owner(&self, space: SpaceId, out: &mut dyn fmt::Write) -> fmt::Result {
        match task::owner_of_space(space) {
            Some((pid, mut name)) => write!(out, "{} (process {pid})", printable(&mut name)),
            None => out.write_str("no process"),
        }
    }
}

/// The swap devices of [`crate::disk`].
#[derive(Clone, Copy)]
pub struct Disks;

impl BlockDevice for Disks {
    #[inline(always)]
    fn submit(&self, bio: Bio) -> Option<Completion> {
        disk::submit(bio)
    }

    #[inline]
    fn plug(&self) {
        disk::plug();
    }

    #[inline]
    fn unplug(&self) {
        disk::unplug();
    }

    #[inline]
    fn is_synchronous(&self, device: DeviceId) -> bool {
        disk::is_synchronous(device)
    }

    #[inline]
    fn read_now(&self, device: DeviceId, block: u32, frame: Pfn) -> Option<Result<(), IoError>> {
        disk::read_now(device, block, frame)
    }

    #[inline]
    fn write_now(&self, device: DeviceId, block: u32, frame: Pfn) -> Option<Result<(), IoError>> {
        disk::write_now(device, block, frame)
    }

    fn is_congested(&self, device: DeviceId) -> bool {
        disk::is_congested(device)
    }

    fn discard(&self, device: DeviceId, first: u32, blocks: u32) {
        disk::discard(device, first, blocks);
    }
}

/// The store of the file system that is mounted, which is above this module.
static MOUNTED: Once<&'static dyn FileStore, Yield> = Once::new();

/// Numbers of files from here on belong to the store that is mounted.
const FIRST_MOUNTED: u64 = 1 << 32;

/// Files whose numbers have more than 32 bits are those of `store` from now on.
///
/// # Panics
/// If there is a store already.
pub fn mount(store: &'static dyn FileStore) {
    assert!(!MOUNTED.is_completed(), "a store is mounted already");
    MOUNTED.call_once(|| store);
}

/// The files of [`crate::filedisk`], and of the store that is mounted.
#[derive(Clone, Copy)]
pub struct FilesOnDisk;

impl FilesOnDisk {
    /// The store that is mounted, if the file is its.
    #[inline]
    fn mounted(file: u64) -> Option<&'static dyn FileStore> {
        if file < FIRST_MOUNTED { None } else { MOUNTED.get().copied() }
    }
}

impl FileStore for FilesOnDisk {
    fn start(&self, run: &mut Run<'_>) {
        match Self::mounted(run.file()) {
            None => filedisk::start(run, &Disks),
            Some(store) => store.start(run),
        }
    }

    fn reserve(&self, file: u64, index: u32, part: Range<usize>) -> Result<(), StoreError> {
        match Self::mounted(file) {
            None => filedisk::reserve(file, index),
            Some(store) => store.reserve(file, index, part),
        }
    }

    fn expect(&self, file: u64, first: u32, pages: u32) {
        if let Some(store) = Self::mounted(file) {
            store.expect(file, first, pages);
        }
    }

    fn is_stored(&self, file: u64, index: u32, part: Range<usize>) -> Result<bool, StoreError> {
        match Self::mounted(file) {
            None => Ok(filedisk::has_block(file, index)),
            Some(store) => store.is_stored(file, index, part),
        }
    }

    fn block_bytes(&self, file: u64) -> usize {
        Self::mounted(file).map_or(PAGE_SIZE, |store| store.block_bytes(file))
    }

    fn resized(&self, file: u64, size: u64) {
        if let Some(store) = Self::mounted(file) {
            store.resized(file, size);
        }
    }

    fn discard(&self, file: u64, from: u32, pages: u32) {
        match Self::mounted(file) {
            None => filedisk::discard(file, from, pages),
            Some(store) => store.discard(file, from, pages),
        }
    }

    fn evict(&self, file: u64) {
        match Self::mounted(file) {
            None => filedisk::evict(file),
            Some(store) => store.evict(file),
        }
    }

    fn may_write(&self, file: u64, index: u32) -> bool {
        Self::mounted(file).is_none_or(|store| store.may_write(file, index))
    }

    fn release_private(&self, file: u64, index: u32, gfp: Gfp) -> bool {
        Self::mounted(file).is_none_or(|store| store.release_private(file, index, gfp))
    }

    fn drop_private(&self, file: u64, index: u32, frame: Pfn) -> bool {
        Self::mounted(file).is_none_or(|store| store.drop_private(file, index, frame))
    }

    fn dirty_writeback(&self, file: u64, index: u32) -> Option<(bool, bool)> {
        Self::mounted(file)?.dirty_writeback(file, index)
    }

    fn device(&self, file: u64) -> DeviceId {
        Self::mounted(file).map_or(DeviceId(0), |store| store.device(file))
    }

    fn is_congested(&self, file: u64) -> bool {
        disk::is_congested(self.device(file))
    }

    fn is_any_congested(&self) -> bool {
        let mounted = MOUNTED.get().is_some_and(|store| store.is_any_congested());
        mounted || disk::is_congested(DeviceId(0))
    }

    fn is_gone(&self, file: u64) -> bool {
        Self::mounted(file).is_some_and(|store| store.is_gone(file))
    }
}

/// The generic timer.
#[derive(Clone, Copy)]
pub struct GenericTimer;

impl Clock for GenericTimer {
    #[inline]
    fn now(&self) -> Nanos {
        timer::now()
    }
}
