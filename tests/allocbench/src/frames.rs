//! The two allocators behind one interface: 1 GiB of frames, allocated singly and in pageblocks.

use buddy_system_allocator::FrameAllocator;
use mm_reclaim::units::{Order, Pfn, PhysAddr};
use mm_reclaim::zone::{FrameRange, MigrateType, ZoneId, ZoneLimits};
use mm_reclaim::{Config, Mm, Plan};

use crate::env::{Idle, Nowhere};

/// Frames of a pageblock.
pub const BLOCK: usize = Order::PAGEBLOCK.pages() as usize;
/// Pageblocks.
pub const BLOCKS: usize = 512;
/// Frames.
pub const FRAMES: usize = BLOCKS * BLOCK;
/// One more than the largest order of both.
const ORDERS: usize = Order::COUNT;

/// An allocator of frames.
pub trait Frames {
    /// A single frame.
    fn take_one(&mut self) -> Option<usize>;
    /// Frees a single frame.
    fn give_one(&mut self, frame: usize);
    /// A pageblock: 512 frames, aligned.
    fn take_block(&mut self) -> Option<usize>;
    /// Frees a pageblock.
    fn give_block(&mut self, frame: usize);
    /// Frees what is cached for the next single request.
    fn settle(&mut self);
}

/// The zone of this project, as pages for user programs are allocated from it.
pub struct Ours(Mm<'static, Idle>);

impl Ours {
    /// All frames are free.
    pub fn new() -> Self {
        // One zone: everything lies below where DMA32 ends and above where DMA does.
        let zone_limits = ZoneLimits { dma_end: PhysAddr(0), dma32_end: PhysAddr(1 << 32) };
        let range = FrameRange { start: Pfn(FRAMES as u32), end: Pfn(2 * FRAMES as u32) };
        let ranges = [range];
        let plan = Plan::new(&ranges, Config { zone_limits, ..Config::default() });
        let plan = plan.expect("memory that can be managed");
        let layout = plan.storage_layout::<Idle>();
        // The run's only machine lives as long as the run.
        let block = Box::leak(Box::new_uninit_slice(layout.size() + layout.align()));
        let mm = Mm::new(Idle::new(&Nowhere), plan, block);
        mm.free_bootmem(range);
        Self(mm)
    }

    #[inline(always)]
    fn take(&self, order: Order) -> Option<usize> {
        let zone = self.0.zone(ZoneId::Dma32);
        Some(zone.take_frames(order, MigrateType::Movable)?.0 as usize)
    }

    #[inline(always)]
    fn give(&self, frame: usize, order: Order) {
        self.0.zone(ZoneId::Dma32).give_frames(Pfn(frame as u32), order);
    }
}

impl Frames for Ours {
    #[inline(always)]
    fn take_one(&mut self) -> Option<usize> {
        self.take(Order::ZERO)
    }

    #[inline(always)]
    fn give_one(&mut self, frame: usize) {
        self.give(frame, Order::ZERO);
    }

    #[inline(always)]
    fn take_block(&mut self) -> Option<usize> {
        self.take(Order::PAGEBLOCK)
    }

    #[inline(always)]
    fn give_block(&mut self, frame: usize) {
        self.give(frame, Order::PAGEBLOCK);
    }

    fn settle(&mut self) {
        self.0.zone(ZoneId::Dma32).settle();
    }
}

/// The frame allocator of `buddy_system_allocator`: a set of free blocks for each order, on
/// the heap, the lowest first. It has no lock: the algorithms are compared.
pub struct Theirs(FrameAllocator<ORDERS>);

impl Theirs {
    /// All frames are free.
    pub fn new() -> Self {
        let mut frames = FrameAllocator::new();
        frames.add_frame(FRAMES, 2 * FRAMES);
        Self(frames)
    }
}

impl Frames for Theirs {
    #[inline(always)]
    fn take_one(&mut self) -> Option<usize> {
        self.0.alloc(1)
    }

    #[inline(always)]
    fn give_one(&mut self, frame: usize) {
        self.0.dealloc(frame, 1);
    }

    #[inline(always)]
    fn take_block(&mut self) -> Option<usize> {
        self.0.alloc(BLOCK)
    }

    #[inline(always)]
    fn give_block(&mut self, frame: usize) {
        self.0.dealloc(frame, BLOCK);
    }

    fn settle(&mut self) {}
}
