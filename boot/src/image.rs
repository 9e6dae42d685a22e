//! Where the linker put the parts of the image.
//!
//! The addresses of linker symbols are the only data here; the symbols themselves are never read.
//! `linker.ld` ensures that they are page-aligned and in this order.

#![expect(unsafe_code, reason = "linker symbols are foreign items")]

use core::ops::Range;

use crate::layout::KIMAGE_BASE;

macro_rules! symbol {
    ($name:ident) => {{
        unsafe extern "C" {
            static $name: u8;
        }
        (&raw const $name).addr() as u64
    }};
}

/// The whole image at its link address, BSS included.
pub fn all() -> Range<u64> {
    symbol!(_image_start)..symbol!(_image_end)
}

/// Executable code.
pub fn text() -> Range<u64> {
    symbol!(_image_start)..symbol!(_text_end)
}

/// Constants; follows the text directly.
pub fn rodata() -> Range<u64> {
    symbol!(_text_end)..symbol!(_rodata_end)
}

/// The stack that the boot CPU starts on; the page below it is not mapped.
pub fn boot_stack() -> Range<u64> {
    symbol!(_boot_stack_bottom)..symbol!(_boot_stack_top)
}

/// The stack of the early exception handler.
pub fn trap_stack() -> Range<u64> {
    symbol!(_trap_stack_bottom)..symbol!(_trap_stack_top)
}

/// The level-1 table that TTBR1 holds, as an offset into the image.
pub fn kernel_root_offset() -> u64 {
    symbol!(_kernel_root) - KIMAGE_BASE
}

/// An always empty table for TTBR0, as an offset into the image.
pub fn empty_root_offset() -> u64 {
    symbol!(_empty_root) - KIMAGE_BASE
}
