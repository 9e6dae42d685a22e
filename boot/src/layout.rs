//! The kernel half of the virtual address space: 39-bit addresses, 4 KiB granule.
//!
//! | base | what |
//! | --- | --- |
//! | [`LINEAR_BASE`] | linear map of RAM below 256 GiB: address = base + physical address |
//! | [`KIMAGE_BASE`] | the kernel image; `linker.ld` links it here |
//! | [`FIXMAP_BASE`] | the device tree, then the window through which table frames are written |
//! | [`VSTACK_BASE`] | kernel stacks with unmapped guard pages |
//! | [`DEVICE_BASE`] | device registers |

/// Bytes in a page, the smallest unit of translation.
pub const PAGE_SIZE: u64 = 4096;
/// Bytes that a level-2 block covers.
pub const MEGA_BLOCK: u64 = 2 << 20;
/// Bytes that a level-1 block covers.
pub const GIGA_BLOCK: u64 = 1 << 30;

/// The end of the physical addresses that a descriptor can hold.
pub const PHYSICAL_END: u64 = 1 << 48;

/// The start of the kernel half and of the linear map of RAM.
pub const LINEAR_BASE: u64 = 0xffff_ff80_0000_0000;
/// Bytes of the linear map; RAM at or above this physical address stays unused.
pub const LINEAR_SIZE: u64 = 256 << 30;
/// Where the kernel image is linked.
pub const KIMAGE_BASE: u64 = 0xffff_ffc0_0000_0000;
/// The most bytes that a kernel image may have, its BSS included: what the early tables
/// cover. `linker.ld` asserts the same number.
pub const KIMAGE_MAX: u64 = 16 << 20;
/// The slot where the device tree is mapped.
pub const FIXMAP_BASE: u64 = 0xffff_ffd0_0000_0000;
/// Kernel stacks.
pub const VSTACK_BASE: u64 = 0xffff_ffe0_0000_0000;
/// Device registers.
pub const DEVICE_BASE: u64 = 0xffff_fff0_0000_0000;

/// The most bytes that a device tree may have (the arm64 boot protocol's limit).
pub const DTB_MAX: u64 = 2 << 20;

const _: () = assert!(LINEAR_BASE + LINEAR_SIZE == KIMAGE_BASE);
