//! The interrupt controller, of either version that the kernel knows.
//!
//! | file | what |
//! | --- | --- |
//! | `v2` | GICv2, as on the Raspberry Pi 4 and on QEMU's `virt` |
//! | `v3` | GICv3, as on larger machines |
//!
//! **Data.** Which version it is, written once. A handler only wakes tasks and requests
//! rescheduling: no lock of the memory management is ever taken in an interrupt.

mod v2;
mod v3;

use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use crate::arch::cpu;

/// The interrupt that asks another CPU to look at its run queue.
const RESCHEDULE_SGI: u32 = 0;
/// The interrupt numbers in this range are special and mean none.
const SPURIOUS: core::ops::Range<u32> = 1020..1024;
/// The priority of every interrupt, four at a time: the middle.
const PRIORITY: u32 = 0xa0a0_a0a0;
/// The mask that admits interrupts of every used priority.
const LOWEST_PRIORITY: u32 = 0xf0;

static VERSION: AtomicU8 = AtomicU8::new(0);
static UNKNOWN_SEEN: AtomicU32 = AtomicU32::new(0);

/// Where the registers are mapped.
#[derive(Clone, Copy, Debug)]
pub enum Controller {
    /// A GICv2.
    V2 {
        /// The distributor's address.
        distributor: usize,
        /// The CPU interface's address.
        cpu_interface: usize,
    },
    /// A GICv3.
    V3 {
        /// The distributor's address.
        distributor: usize,
        /// The redistributors' address.
        redistributors: usize,
        /// The mapped bytes of these.
        bytes: usize,
    },
}

/// Takes control of the interrupt controller, and enables it for the boot CPU.
///
/// # Safety
/// The addresses are those of such a controller's registers, mapped permanently as device memory,
/// and have no other user.
pub unsafe fn init(controller: Controller) {
    match controller {
        Controller::V2 { distributor, cpu_interface } => {
            // SAFETY: the caller's.
            unsafe { v2::init(distributor, cpu_interface) };
            VERSION.store(2, Relaxed);
        }
        Controller::V3 { distributor, redistributors, bytes } => {
            // SAFETY: the caller's.
            unsafe { v3::init(distributor, redistributors, bytes) };
            VERSION.store(3, Relaxed);
        }
    }
    init_cpu();
}

#[inline(always)]
fn is_v3() -> bool {
    VERSION.load(Relaxed) == 3
}

/// Enables the calling CPU's part.
pub fn init_cpu() {
    if is_v3() {
        v3::init_cpu();
    } else {
        v2::init_cpu();
    }
    enable(RESCHEDULE_SGI);
}

/// Enables interrupt `id`, one of this CPU's own 32.
pub fn enable(id: u32) {
    debug_assert!(id < 32, "interrupt {id} is not a CPU's own");
    if is_v3() { v3::enable(id) } else { v2::enable(id) }
}

/// Enables interrupt `id`, a shared one, for the calling CPU. For the boot: the registers that it
/// changes are those of several interrupts.
///
/// # Panics
/// If there can be no such interrupt.
pub fn enable_shared(id: u32) {
    assert!((32..1020).contains(&id), "interrupt {id} is not a shared one");
    if is_v3() { v3::enable_shared(id) } else { v2::enable_shared(id) }
}

/// Disables a shared interrupt. From any CPU, and from its handler.
pub fn disable_shared(id: u32) {
    if is_v3() { v3::disable_shared(id) } else { v2::disable_shared(id) }
}

/// Asks another CPU to look at its run queue.
pub fn send_reschedule(target: usize) {
    // Earlier stores must be visible to the other CPU first: the request is not a store to memory.
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    if is_v3() { v3::send(RESCHEDULE_SGI, target) } else { v2::send(RESCHEDULE_SGI, target) }
}

/// Handles the pending interrupts of this CPU. `device` gets each interrupt that is not handled
/// here, and returns whether it knew it.
pub fn handle(device: impl Fn(u32) -> bool) {
    loop {
        let (id, acknowledged) = if is_v3() { v3::acknowledge() } else { v2::acknowledge() };
        if SPURIOUS.contains(&id) {
            return;
        }
        match id {
            RESCHEDULE_SGI => cpu::this().add_work(cpu::WORK_RESCHED),
            id if device(id) => {}
            _ => {
                // Nothing else was enabled: it is counted, ended and otherwise ignored.
                UNKNOWN_SEEN.fetch_add(1, Relaxed);
            }
        }
        if is_v3() { v3::end(acknowledged) } else { v2::end(acknowledged) }
    }
}
