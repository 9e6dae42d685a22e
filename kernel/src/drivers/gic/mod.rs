//! The interrupt controller, of either version that the kernel knows.
//!
//! | file | what |
//! | --- | --- |
//! | `v2` | GICv2, as on the Raspberry Pi 4 and on QEMU's `virt` |
//! | `v3` | GICv3, as on larger machines |
//!
//! **Data.** Which version it is, written once. A handler only wakes tasks and asks for
//! rescheduling: no lock of the memory management is ever taken in an interrupt.

mod v2;
mod v3;

use core::arch::asm;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};

use crate::arch::cpu;

/// The interrupt that asks another CPU to look at its run queue.
const RESCHEDULE_SGI: u32 = 0;
/// The interrupts from this number up to the next are none.
const SPURIOUS: core::ops::Range<u32> = 1020..1024;
/// The priority of every interrupt, four at a time: the middle.
const PRIORITY: u32 = 0xa0a0_a0a0;
/// Interrupts of every priority that is used are let through.
const LOWEST_PRIORITY: u32 = 0xf0;

static VERSION: AtomicU8 = AtomicU8::new(0);
static UNKNOWN_SEEN: AtomicU32 = AtomicU32::new(0);

/// Where the registers are mapped.
#[derive(Clone, Copy, Debug)]
pub enum Controller {
    /// A GICv2.
    V2 {
        /// Of its distributor.
        distributor: usize,
        /// Of its CPU interface.
        cpu_interface: usize,
    },
    /// A GICv3.
    V3 {
        /// Of its distributor.
        distributor: usize,
        /// Of its redistributors.
        redistributors: usize,
        /// How many bytes of these are mapped.
        bytes: usize,
    },
}

/// Takes possession of the controller, and switches it on for the boot CPU.
///
/// # Safety
/// The addresses are those of such a controller's registers, mapped as device memory for
/// ever, and nobody else uses them.
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

/// Switches on what belongs to the calling CPU.
pub fn init_cpu() {
    if is_v3() {
        v3::init_cpu();
    } else {
        v2::init_cpu();
    }
    enable(RESCHEDULE_SGI);
}

/// Lets interrupt `id`, one of this CPU's own 32, through.
pub fn enable(id: u32) {
    debug_assert!(id < 32, "interrupt {id} is not a CPU's own");
    if is_v3() { v3::enable(id) } else { v2::enable(id) }
}

/// Asks another CPU to look at its run queue.
pub fn send_reschedule(target: usize) {
    // What the other CPU is to see must be visible first: the request is no store to memory.
    // SAFETY: a barrier.
    unsafe { asm!("dsb ishst", options(nostack, preserves_flags)) };
    if is_v3() { v3::send(RESCHEDULE_SGI, target) } else { v2::send(RESCHEDULE_SGI, target) }
}

/// Handles the pending interrupts of this CPU. `device` is offered each interrupt that is
/// not the controller's own business, and says whether it knew it.
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
                // Nothing else was enabled: it is noted, ended and else ignored.
                UNKNOWN_SEEN.fetch_add(1, Relaxed);
            }
        }
        if is_v3() { v3::end(acknowledged) } else { v2::end(acknowledged) }
    }
}
