//! Access to user memory from the kernel. No other module reads or writes it.
//!
//! **Data.** None of its own. **Lock.** None, and the caller must hold none: an access may
//! fault, and the fault may sleep until a page is read from swap.
//!
//! **How.** Every access is one of the unprivileged loads and stores (`LDTR`, `STTR`), which have
//! the permissions of user mode, whatever PAN says: a pointer into the kernel faults like any other
//! bad pointer. They lie between two labels. An abort there goes through the same fault handler as
//! one of user mode; if that fails, the exception returns to the fixup, which makes the function
//! return failure.

use core::arch::global_asm;

use mm_reclaim::units::{PAGE_SIZE, Pfn};

use super::frames;

/// A user address could not be read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault;

unsafe extern "C" {
    static usercopy_start: u8;
    static usercopy_end: u8;
    static usercopy_fixup: u8;
    /// Returns 0, or 1 after a fault.
    fn usercopy_in(to: *mut u8, from: u64, len: usize) -> usize;
    /// Returns 0, or 1 after a fault.
    fn usercopy_out(to: u64, from: *const u8, len: usize) -> usize;
}

/// Whether the instruction at `pc` is an access to user memory.
pub fn covers(pc: u64) -> bool {
    let start = (&raw const usercopy_start).addr() as u64;
    let end = (&raw const usercopy_end).addr() as u64;
    (start..end).contains(&pc)
}

/// Where a failed access continues.
pub fn fixup() -> u64 {
    (&raw const usercopy_fixup).addr() as u64
}

/// Fills `out` from the user address `from`.
///
/// # Errors
/// [`Fault`]; `out` may have been filled in part.
pub fn copy_from_user(out: &mut [u8], from: u64) -> Result<(), Fault> {
    // SAFETY: the destination is exclusively borrowed; the source is user memory, whose
    // faults are handled.
    let failed = unsafe { usercopy_in(out.as_mut_ptr(), from, out.len()) };
    if failed == 0 { Ok(()) } else { Err(Fault) }
}

/// Writes `bytes` to the user address `to`.
///
/// # Errors
/// [`Fault`]; a part may have been written.
pub fn copy_to_user(to: u64, bytes: &[u8]) -> Result<(), Fault> {
    // SAFETY: the source is borrowed; the destination is user memory, whose faults are
    // handled and which the kernel never borrows.
    let failed = unsafe { usercopy_out(to, bytes.as_ptr(), bytes.len()) };
    if failed == 0 { Ok(()) } else { Err(Fault) }
}

/// Fills a part of a frame from the user address `from`. The caller owns that part of the frame; other
/// programs may map it.
///
/// # Errors
/// [`Fault`]; a part may have been filled.
pub fn frame_from_user(frame: Pfn, offset: usize, from: u64, len: usize) -> Result<(), Fault> {
    assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset, "{len} bytes at {offset}");
    let to = frames::frame_address(frame).wrapping_add(offset);
    // SAFETY: the part lies in the frame, which is RAM in the linear map and lent by the caller; the
    // source is user memory, whose faults are handled.
    let failed = unsafe { usercopy_in(to, from, len) };
    if failed == 0 { Ok(()) } else { Err(Fault) }
}

/// Writes a part of a frame, which the caller lends, to the user address `to`.
///
/// # Errors
/// [`Fault`]; a part may have been written.
pub fn frame_to_user(to: u64, frame: Pfn, offset: usize, len: usize) -> Result<(), Fault> {
    assert!(offset <= PAGE_SIZE && len <= PAGE_SIZE - offset, "{len} bytes at {offset}");
    let from = frames::frame_address(frame).wrapping_add(offset);
    // SAFETY: the part lies in the frame, which is RAM in the linear map and lent by the caller; the
    // destination is user memory, whose faults are handled and which the kernel never borrows.
    let failed = unsafe { usercopy_out(to, from, len) };
    if failed == 0 { Ok(()) } else { Err(Fault) }
}

/// Writes numbers one after the other to the user address `to`.
///
/// # Errors
/// [`Fault`]; a part may have been written.
pub fn put_words(to: u64, words: &[u64]) -> Result<(), Fault> {
    let len = size_of_val(words);
    // SAFETY: the source is borrowed, and any word can be read as bytes; the destination is
    // user memory, whose faults are handled.
    let failed = unsafe { usercopy_out(to, words.as_ptr().cast(), len) };
    if failed == 0 { Ok(()) } else { Err(Fault) }
}

/// Reads a string of at most `out.len()` bytes that ends with a zero byte, and returns its
/// length. A longer one is truncated.
///
/// # Errors
/// [`Fault`].
pub fn string_from_user(out: &mut [u8], from: u64) -> Result<usize, Fault> {
    for i in 0..out.len() {
        let at = from.checked_add(i as u64).ok_or(Fault)?;
        copy_from_user(&mut out[i..=i], at)?;
        if out[i] == 0 {
            return Ok(i);
        }
    }
    Ok(out.len())
}

global_asm!(
    r#"
    .section .text.usercopy, "ax"
usercopy_start:
    // x0: to, x1: from (user), x2: length. 64 bytes at a time, then 8, then single ones.
usercopy_in:
    subs    x2, x2, #64
    b.lo    2f
1:  ldtr    x3, [x1]
    ldtr    x4, [x1, #8]
    ldtr    x5, [x1, #16]
    ldtr    x6, [x1, #24]
    ldtr    x7, [x1, #32]
    ldtr    x8, [x1, #40]
    ldtr    x9, [x1, #48]
    ldtr    x10, [x1, #56]
    stp     x3, x4, [x0], #64
    stp     x5, x6, [x0, #-48]
    stp     x7, x8, [x0, #-32]
    stp     x9, x10, [x0, #-16]
    add     x1, x1, #64
    subs    x2, x2, #64
    b.hs    1b
2:  adds    x2, x2, #56
    b.mi    4f
3:  ldtr    x3, [x1]
    str     x3, [x0], #8
    add     x1, x1, #8
    subs    x2, x2, #8
    b.pl    3b
4:  adds    x2, x2, #8
    b.eq    6f
5:  ldtrb   w3, [x1]
    strb    w3, [x0], #1
    add     x1, x1, #1
    subs    x2, x2, #1
    b.ne    5b
6:  mov     x0, #0
    ret

    // x0: to (user), x1: from, x2: length.
usercopy_out:
    subs    x2, x2, #64
    b.lo    12f
11: ldp     x3, x4, [x1], #64
    ldp     x5, x6, [x1, #-48]
    ldp     x7, x8, [x1, #-32]
    ldp     x9, x10, [x1, #-16]
    sttr    x3, [x0]
    sttr    x4, [x0, #8]
    sttr    x5, [x0, #16]
    sttr    x6, [x0, #24]
    sttr    x7, [x0, #32]
    sttr    x8, [x0, #40]
    sttr    x9, [x0, #48]
    sttr    x10, [x0, #56]
    add     x0, x0, #64
    subs    x2, x2, #64
    b.hs    11b
12: adds    x2, x2, #56
    b.mi    14f
13: ldr     x3, [x1], #8
    sttr    x3, [x0]
    add     x0, x0, #8
    subs    x2, x2, #8
    b.pl    13b
14: adds    x2, x2, #8
    b.eq    16f
15: ldrb    w3, [x1], #1
    sttrb   w3, [x0]
    add     x0, x0, #1
    subs    x2, x2, #1
    b.ne    15b
16: mov     x0, #0
    ret
usercopy_end:

usercopy_fixup:
    mov     x0, #1
    ret
    .text
"#
);
