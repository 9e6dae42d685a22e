//! The kernel's half of the address space.
//!
//! | file | what |
//! | --- | --- |
//! | [`table`] | walking, mapping, unmapping; portable |
//! | [`linear`] | what the linear map covers and how; portable |
//! | [`slots`] | address space for kernel stacks; portable |
//! | [`mod@audit`] | reads the tables back and looks for W^X violations; portable |
//! | `memory` | how the kernel accesses its own tables, and the TLB |
//! | `kernel_map` | the kernel map and its lock: the interface for callers |
//!
//! **Data.** The tables below the root that the entry code made. **Owner.** `kernel_map`.
//! **Lock.** One interrupt-masking lock around all changes; it is a leaf: no other lock is taken
//! under it and nothing sleeps. Frames for new tables are therefore allocated before it is taken,
//! and `map_device` and `map_stack` take them as a slice, not as a function. `map_ram` gets them
//! from memblock, which has no lock.
//!
//! **Order of a boot** (BOOT-03, BOOT-04): the entry code maps the image with its final
//! permissions; `init` links the static tables of the fixmap and of the device region;
//! `map_dtb` maps the device tree, and `cut_dtb` unmaps what it does not use; `map_ram` builds the linear map through the early window;
//! `finish` switches to the linear map for access to tables, closes the window and drops the
//! identity map.
//!
//! No live entry is ever replaced (see [`table`]), the image's mapping never changes, and
//! only text is executable, at one address.

pub mod audit;
pub mod linear;
pub mod slots;
pub mod table;

#[cfg(target_os = "none")]
mod kernel_map;
#[cfg(target_os = "none")]
mod memory;

pub use boot::layout::{
    DEVICE_BASE, FIXMAP_BASE, KIMAGE_BASE, LINEAR_BASE, LINEAR_SIZE, VSTACK_BASE,
};
pub use slots::STACK_SIZE;
pub use table::{MapError, Translation, most_tables};

#[cfg(target_os = "none")]
pub use kernel_map::{
    audit, cut_dtb, empty_root, finish, image_frames, init, map_device, map_dtb, map_ram,
    map_stack, translate, unmap_boot_stack, unmap_stack,
};
