//! The memory in which the crate keeps objects of its own: whole frames, unlike the one word
//! that a program's page has.

#![allow(unsafe_code, reason = "hands out plain memory, like a kernel's linear map")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use mm_reclaim::units::{PAGE_SIZE, Pfn};

/// What a freed frame holds: as a lock it is held, as a handle it leads out of the memory map.
const POISON: u8 = 0x6b;

/// One block of frames, from frame 0 on.
pub(crate) struct Objects {
    first: NonNull<u8>,
    layout: Layout,
}

// SAFETY: it owns the block; who accesses a frame is decided by who owns that.
unsafe impl Send for Objects {}
// SAFETY: as above.
unsafe impl Sync for Objects {}

impl Objects {
    pub(crate) fn new(frames: u32) -> Self {
        let size = frames as usize * PAGE_SIZE;
        let layout = Layout::from_size_align(size, PAGE_SIZE).expect("a small machine");
        // SAFETY: a machine has frames.
        let first = NonNull::new(unsafe { alloc_zeroed(layout) });
        Self { first: first.unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }

    pub(crate) fn first(&self) -> NonNull<u8> {
        self.first
    }

    /// Fills a freed frame with junk.
    pub(crate) fn poison(&self, frame: Pfn) {
        // SAFETY: the frame lies in the block.
        let frame = unsafe { self.first.add(frame.0 as usize * PAGE_SIZE) };
        // SAFETY: the caller owns the frame, which is being freed.
        unsafe { frame.write_bytes(POISON, PAGE_SIZE) };
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // SAFETY: it was allocated with this layout.
        unsafe { dealloc(self.first.as_ptr(), self.layout) };
    }
}
