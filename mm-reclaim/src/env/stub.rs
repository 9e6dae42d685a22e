//! Stubs, for users of only the zones and the buddy allocator: an environment without page tables,
//! swap or time, whose one task never sleeps.
//!
//! [`Bare`] is that environment, generic over CPUs and frames; [`OneCpu`] and [`Bytes`] are the
//! simplest of those. Nothing is ever reclaimed: when memory runs out, allocations that may fail
//! do. No address space can be made.
//!
//! ```
//! use mm_reclaim::env::stub::{Bare, Bytes, OneCpu};
//! use mm_reclaim::gfp::Gfp;
//! use mm_reclaim::units::{Order, Pfn};
//! use mm_reclaim::zone::FrameRange;
//! use mm_reclaim::{Config, Mm, Plan};
//!
//! // Frames 0x1000 and so on lie in an array of 4 MiB.
//! let mut memory = vec![0; 4 << 20];
//! let frames = Bytes::new(&mut memory, Pfn(0x1000));
//! let all = [FrameRange { start: frames.range().start, end: frames.range().end }];
//!
//! let plan = Plan::new(&all, Config::default())?;
//! let layout = plan.storage_layout::<Bare<OneCpu, Bytes>>();
//! let mut block = Box::new_uninit_slice(layout.size() + layout.align());
//! let mm = Mm::new(Bare::<OneCpu, _>::new(&frames), plan, &mut block);
//! mm.free_bootmem(all[0]);
//!
//! let eight = Order::holding(8).expect("a small block");
//! let free = mm.total_free();
//! let block = mm.alloc_pages(Gfp::KERNEL | Gfp::ZERO, eight).expect("memory");
//! assert!(block.0 % 8 == 0 && mm.total_free() == free - 8);
//! mm.free_pages(block, eight);
//!
//! let taken = std::iter::from_fn(|| mm.alloc_pages(Gfp::KERNEL, Order::ZERO)).count();
//! assert!(taken as u32 > mm.total_managed() / 2);
//! mm.validate()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![allow(unsafe_code, reason = "frames are memory that is reached by address")]

use core::marker::PhantomData;
use core::ops::Range;
use core::ptr::NonNull;

use super::{
    Asid, BlockDevice, Clock, Cpu, DeviceId, EntryAt, Env, FrameMemory, NoFiles, NoTable,
    PageTables, Pte, TaskFlags, Tasks, TlbEntry, WaitEnd, WaitKey, WaitMode,
};
use crate::base::units::{Nanos, PAGE_SIZE, Pfn, SpaceId, Vpn};
use crate::block::bio::{Bio, Completion};

/// CPUs and frames, and nothing else.
#[derive(Debug)]
pub struct Bare<'f, C, F> {
    frames: &'f F,
    cpu: PhantomData<fn() -> C>,
}

impl<'f, C: Cpu, F: FrameMemory> Bare<'f, C, F> {
    /// The environment of these frames.
    pub const fn new(frames: &'f F) -> Self {
        Self { frames, cpu: PhantomData }
    }
}

impl<C, F> Clone for Bare<'_, C, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C, F> Copy for Bare<'_, C, F> {}

impl<C: Cpu, F: FrameMemory> Env for Bare<'_, C, F> {
    type Cpu = C;
    type Frames = F;
    type Tables = NoTables;
    type Tasks = Nothing;
    type Blocks = Nothing;
    type Files = NoFiles;
    type Clock = Nothing;

    fn frames(&self) -> &F {
        self.frames
    }

    fn tasks(&self) -> &Nothing {
        &Nothing
    }

    fn blocks(&self) -> &Nothing {
        &Nothing
    }

    fn files(&self) -> &NoFiles {
        &NoFiles
    }

    fn clock(&self) -> &Nothing {
        &Nothing
    }

    /// # Panics
    /// Always: no address space can be made here.
    fn new_tables(&self, _root: Pfn) -> NoTables {
        panic!("this environment has no page tables");
    }

    fn flush_tlb(&self, _stale: &[TlbEntry]) {}

    fn flush_tlb_space(&self, _asid: Asid) {}
}

/// The only CPU, with one task that is never interrupted.
#[derive(Clone, Copy, Debug)]
pub struct OneCpu;

impl Cpu for OneCpu {
    #[inline(always)]
    fn preempt_disable() {}

    #[inline(always)]
    fn preempt_enable() {}

    #[inline(always)]
    fn current() -> usize {
        0
    }

    /// # Panics
    /// Always: the only task would wait for itself.
    fn relax() {
        panic!("a lock is held twice");
    }
}

/// The whole frames of a byte array.
#[derive(Debug)]
pub struct Bytes<'m> {
    first: NonNull<u8>,
    range: (Pfn, Pfn),
    memory: PhantomData<&'m mut [u8]>,
}

// SAFETY: it has exclusive access to plain bytes.
unsafe impl Send for Bytes<'_> {}
// SAFETY: only the owner of a frame accesses its bytes: `FrameMemory`.
unsafe impl Sync for Bytes<'_> {}

impl<'m> Bytes<'m> {
    /// The frames that lie in `memory`, the first with the number `first`. They belong to the `Mm`
    /// that they are handed to.
    pub fn new(memory: &'m mut [u8], first: Pfn) -> Self {
        let skipped = memory.as_ptr().align_offset(PAGE_SIZE);
        let memory = memory.get_mut(skipped..).unwrap_or_default();
        let end = first + (memory.len() / PAGE_SIZE) as u32;
        Self { first: NonNull::from(memory).cast(), range: (first, end), memory: PhantomData }
    }

    /// The numbers of the frames.
    pub const fn range(&self) -> Range<Pfn> {
        self.range.0..self.range.1
    }

    /// The address of `len` bytes of a frame.
    fn at(&self, frame: Pfn, offset: usize, len: usize) -> *mut u8 {
        assert!(self.range().contains(&frame) && offset + len <= PAGE_SIZE, "{frame:?}");
        // SAFETY: the frame lies in the array.
        unsafe { self.first.as_ptr().add((frame - self.range.0) as usize * PAGE_SIZE + offset) }
    }
}

// SAFETY: the array is borrowed for as long as the environment lives, and holds the frames one
// after the other from an aligned one on. The methods stay within the frame that is named.
unsafe impl FrameMemory for Bytes<'_> {
    fn linear_map(&self, first: Pfn) -> NonNull<u8> {
        let distance = i64::from(first.0) - i64::from(self.range.0.0);
        let place = self.first.as_ptr().wrapping_offset(distance as isize * PAGE_SIZE as isize);
        NonNull::new(place).expect("an array does not begin at 0")
    }

    fn zero(&self, frame: Pfn) {
        // SAFETY: the frame is the caller's.
        unsafe { self.at(frame, 0, PAGE_SIZE).write_bytes(0, PAGE_SIZE) };
    }

    fn copy(&self, to: Pfn, from: Pfn) {
        let from = self.at(from, 0, PAGE_SIZE);
        // SAFETY: both frames are the caller's.
        unsafe { self.at(to, 0, PAGE_SIZE).copy_from(from, PAGE_SIZE) };
    }

    fn poison(&self, frame: Pfn) {
        // SAFETY: the frame is unused.
        unsafe { self.at(frame, 0, PAGE_SIZE).write_bytes(0x6b, PAGE_SIZE) };
    }

    fn read(&self, frame: Pfn, offset: usize, out: &mut [u8]) {
        let from = self.at(frame, offset, out.len());
        // SAFETY: the frame is the caller's.
        unsafe { from.copy_to(out.as_mut_ptr(), out.len()) };
    }

    fn write(&self, frame: Pfn, offset: usize, bytes: &[u8]) {
        let to = self.at(frame, offset, bytes.len());
        // SAFETY: the frame is the caller's.
        unsafe { to.copy_from(bytes.as_ptr(), bytes.len()) };
    }
}

/// The tables of an address space, which cannot be made.
#[derive(Debug)]
pub enum NoTables {}

impl PageTables for NoTables {
    type Entry<'t>
        = EntryAt<'t, Self>
    where
        Self: 't;

    fn asid(&self) -> Asid {
        match *self {}
    }

    fn get(&self, _vpn: Vpn) -> Pte {
        match *self {}
    }

    fn entry(&mut self, _vpn: Vpn) -> Option<EntryAt<'_, Self>> {
        match *self {}
    }

    fn set(&mut self, _vpn: Vpn, _pte: Pte) -> Result<(), NoTable> {
        match *self {}
    }

    fn replace(&mut self, _vpn: Vpn, _new: Pte) -> Pte {
        match *self {}
    }

    fn test_and_clear_young(&mut self, _vpn: Vpn) -> bool {
        match *self {}
    }

    fn mark_accessed(&mut self, _vpn: Vpn, _write: bool) {
        match *self {}
    }

    fn next_entry(&self, _from: Vpn, _end: Vpn) -> Option<(Vpn, Pte)> {
        match *self {}
    }

    fn install_table(&mut self, _vpn: Vpn, _frame: Pfn) -> Option<Pfn> {
        match *self {}
    }

    fn unlink_tables(
        &mut self,
        _range: Range<Vpn>,
        _free: &Range<Vpn>,
        _take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Option<Vpn> {
        match *self {}
    }

    fn table_frames(&self) -> u32 {
        match *self {}
    }

    fn release(&mut self, _give: &mut dyn FnMut(Pfn)) {
        match *self {}
    }
}

/// No device, a clock that does not advance, and a task that never sleeps.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

impl Tasks for Nothing {
    fn flags(&self) -> TaskFlags {
        TaskFlags::KERNEL
    }

    fn set_memalloc(&self, _on: bool) -> bool {
        false
    }

    /// Time does not advance, so a timeout expires at once.
    ///
    /// # Panics
    /// If there is no timeout: there is no other task to wake this one.
    fn wait_until(&self, _: WaitKey, mode: WaitMode, ready: &mut dyn FnMut() -> bool) -> WaitEnd {
        if ready() {
            return WaitEnd::Ready;
        }
        assert!(mode.timeout.is_some(), "there is no task to wake this one");
        WaitEnd::TimedOut
    }

    fn wake(&self, _key: WaitKey) {}

    fn yield_now(&self) {}

    fn kill_for_memory(&self, _space: SpaceId) -> bool {
        false
    }
}

impl BlockDevice for Nothing {
    /// # Panics
    /// Always: there is no device.
    fn submit(&self, bio: Bio) -> Option<Completion> {
        panic!("there is no device for {bio:?}");
    }

    fn plug(&self) {}

    fn unplug(&self) {}

    fn is_congested(&self, _device: DeviceId) -> bool {
        false
    }

    fn discard(&self, _device: DeviceId, _first: u32, _blocks: u32) {}
}

impl Clock for Nothing {
    fn now(&self) -> Nanos {
        Nanos(0)
    }
}

#[cfg(test)]
mod tests;
