//! What the entry code hands to the kernel.

/// The state of the machine when Rust code starts.
///
/// It proves neither that the device tree is valid nor that its address is RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handover {
    /// The physical address of the device tree, as the firmware put it into x0.
    pub dtb: u64,
    /// The physical address of the first byte of the image: of a page, by the boot protocol a
    /// multiple of 2 MiB.
    pub image_base: u64,
}

/// An exception taken through the early vectors, before the kernel installed its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trap {
    /// `ESR_EL1`: the class and syndrome.
    pub syndrome: u64,
    /// `ELR_EL1`: where it happened.
    pub pc: u64,
    /// `FAR_EL1`: the faulting address, if the class has one.
    pub address: u64,
    /// The frame pointer at that moment.
    pub frame: u64,
}

/// Names the Rust entry point of an image, and the handler of exceptions until the kernel has
/// vectors of its own. Used once per image:
///
/// ```no_run
/// boot::entry!(start, early_trap);
///
/// fn start(_handover: boot::Handover) -> ! {
///     loop {}
/// }
///
/// fn early_trap(_trap: boot::Trap) -> ! {
///     loop {}
/// }
/// # fn main() {}
/// ```
///
/// `start` runs at its high address on the boot stack, exceptions masked. `early_trap` runs
/// on a stack of its own, so that an overflow of the boot stack is reported too.
#[macro_export]
macro_rules! entry {
    ($main:path, $trap:path) => {
        const _: () = {
            // SAFETY: the entry code of crate `boot` is the only caller and declares the
            // same signature; no other item of the image has that name.
            #[unsafe(export_name = "kernel_entry")]
            extern "C" fn __kernel_entry(dtb: u64, image_base: u64) -> ! {
                let main: fn($crate::Handover) -> ! = $main;
                main($crate::Handover { dtb, image_base })
            }

            // SAFETY: the early vectors of crate `boot` are the only caller and declare the
            // same signature; no other item of the image has that name.
            #[unsafe(export_name = "early_trap")]
            extern "C" fn __early_trap(syndrome: u64, pc: u64, address: u64, frame: u64) -> ! {
                let trap: fn($crate::Trap) -> ! = $trap;
                trap($crate::Trap { syndrome, pc, address, frame })
            }
        };
    };
}
