//! Memory that a device reads and writes.
//!
//! **Data.** A function that allocates frames, set once by the boot code. **Lock.** None.
//!
//! A device's address of memory is the physical one, and the kernel's its place in the linear map.
//! Devices are taken to be coherent with the caches, as QEMU's are.

use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering::Relaxed};

use mm_reclaim::env::FrameMemory;
use mm_reclaim::units::{Order, Pfn};
use virtio_drivers::{BufferDirection, Hal, PhysAddr};

use crate::arch::frames::{self, LINEAR_BASE, LinearFrames};

/// Allocates a block of frames, which stays the caller's; may sleep.
pub type Allocate = fn(Order) -> Option<Pfn>;

/// An [`Allocate`]; null until it is set.
static ALLOCATE: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Sets where memory for rings comes from.
pub(super) fn init(allocate: Allocate) {
    ALLOCATE.store(allocate as *mut (), Relaxed);
}

/// A block of at least so many frames, of zeroes.
#[inline(never)]
pub(super) fn zeroed(pages: usize) -> Option<Pfn> {
    let allocate = ALLOCATE.load(Relaxed);
    if allocate.is_null() {
        return None;
    }
    // SAFETY: `init` stored a function of this type.
    let allocate = unsafe { core::mem::transmute::<*mut (), Allocate>(allocate) };
    let order = Order::new(pages.next_power_of_two().trailing_zeros() as u8)?;
    let first = allocate(order)?;
    (0..1 << order.get()).for_each(|n| LinearFrames::new().zero(Pfn(first.0 + n)));
    Some(first)
}

/// The kernel, for the crate that has the rings.
pub struct KernelHal;

// SAFETY: `dma_alloc` returns whole frames of zeroes that have no other user, in the linear map, at
// their physical address; `share` returns the physical address of memory in the linear map, which is
// all that is shared.
unsafe impl Hal for KernelHal {
    fn dma_alloc(pages: usize, _direction: BufferDirection) -> (PhysAddr, NonNull<u8>) {
        match zeroed(pages) {
            Some(first) => (first.addr().0, LinearFrames::new().linear_map(first)),
            None => (0, NonNull::dangling()),
        }
    }

    /// Keeps the frames: a disk that was refused may still have them.
    unsafe fn dma_dealloc(_paddr: PhysAddr, _vaddr: NonNull<u8>, _pages: usize) -> i32 {
        0
    }

    unsafe fn mmio_phys_to_virt(paddr: PhysAddr, _size: usize) -> NonNull<u8> {
        NonNull::new(frames::linear(paddr)).expect("the linear map is in the upper half")
    }

    unsafe fn share(buffer: NonNull<[u8]>, _direction: BufferDirection) -> PhysAddr {
        buffer.addr().get() as u64 - LINEAR_BASE
    }

    unsafe fn unshare(_paddr: PhysAddr, _buffer: NonNull<[u8]>, _direction: BufferDirection) {}
}
