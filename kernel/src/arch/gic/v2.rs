//! The interrupt controller: a GICv2 (GIC-400 on the Raspberry Pi 4).
//!
//! **Data.** The two register blocks, mapped for ever. **Owner.** This module. **Lock.**
//! None: the distributor is set up by the boot CPU before others run, its set-enable
//! registers need no read-modify-write, and the CPU interface is private to each CPU.
//!
//! A handler only wakes tasks and asks for rescheduling: no lock of the memory management
//! is ever taken in an interrupt.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

use crate::arch::cpu;

register_bitfields! { u32,
    /// Distributor and CPU interface control.
    CTLR [ ENABLE OFFSET(0) NUMBITS(1) [] ],
    /// What the acknowledge register gives and the end register takes back.
    IAR [ ID OFFSET(0) NUMBITS(10) [], SOURCE OFFSET(10) NUMBITS(3) [] ],
    /// Software-generated interrupt.
    SGIR [
        ID OFFSET(0) NUMBITS(4) [],
        TARGETS OFFSET(16) NUMBITS(8) [],
        FILTER OFFSET(24) NUMBITS(2) [ List = 0 ]
    ]
}

register_structs! {
    /// The distributor's registers.
    Distributor {
        (0x000 => ctlr: ReadWrite<u32, CTLR::Register>),
        (0x004 => typer: ReadOnly<u32>),
        (0x008 => _reserved0),
        (0x080 => igroupr: [ReadWrite<u32>; 32]),
        (0x100 => isenabler: [ReadWrite<u32>; 32]),
        (0x180 => icenabler: [ReadWrite<u32>; 32]),
        (0x200 => _reserved1),
        (0x400 => ipriorityr: [ReadWrite<u32>; 256]),
        (0x800 => _reserved2),
        (0xf00 => sgir: WriteOnly<u32, SGIR::Register>),
        (0xf04 => @END),
    }
}

register_structs! {
    /// The registers of a CPU interface.
    CpuInterface {
        (0x00 => ctlr: ReadWrite<u32, CTLR::Register>),
        (0x04 => pmr: ReadWrite<u32>),
        (0x08 => bpr: ReadWrite<u32>),
        (0x0c => iar: ReadOnly<u32, IAR::Register>),
        (0x10 => eoir: WriteOnly<u32>),
        (0x14 => @END),
    }
}

/// The interrupt that asks another CPU to look at its run queue.
const RESCHEDULE_SGI: u32 = 0;
/// From this number on, the acknowledged interrupt is none.
const SPURIOUS: u32 = 1020;
/// The priority of every interrupt: the middle.
const PRIORITY: u32 = 0xa0a0_a0a0;

static DISTRIBUTOR: AtomicPtr<Distributor> = AtomicPtr::new(core::ptr::null_mut());
static CPU_INTERFACE: AtomicPtr<CpuInterface> = AtomicPtr::new(core::ptr::null_mut());
static SPURIOUS_SEEN: AtomicU32 = AtomicU32::new(0);

/// Takes possession of the controller whose register blocks are mapped at the two
/// addresses, and switches it on for the boot CPU.
///
/// # Safety
/// The addresses are those of a GICv2's distributor and CPU interface, mapped as device
/// memory for ever, and nobody else uses them.
pub unsafe fn init(distributor: usize, cpu_interface: usize) {
    DISTRIBUTOR.store(distributor as *mut Distributor, Relaxed);
    CPU_INTERFACE.store(cpu_interface as *mut CpuInterface, Relaxed);
    dist().ctlr.write(CTLR::ENABLE::SET);
    init_cpu();
}

/// Switches the interface of the calling CPU on: the software-generated and private
/// interrupts 0 to 31 have registers of their own on each CPU.
pub fn init_cpu() {
    for priority in &dist().ipriorityr[..8] {
        priority.set(PRIORITY);
    }
    dist().isenabler[0].set(1 << RESCHEDULE_SGI);
    interface().pmr.set(0xf0);
    interface().bpr.set(0);
    interface().ctlr.write(CTLR::ENABLE::SET);
}

/// Lets interrupt `id` of this CPU through.
///
/// # Panics
/// If there is no such interrupt.
pub fn enable(id: u32) {
    dist().isenabler[id as usize / 32].set(1 << (id % 32));
}

/// Asks another CPU to look at its run queue.
pub fn send_reschedule(target: usize) {
    if DISTRIBUTOR.load(Relaxed).is_null() {
        return;
    }
    dist().sgir.write(SGIR::ID.val(RESCHEDULE_SGI) + SGIR::TARGETS.val(1 << target));
}

/// Handles the pending interrupts of this CPU. `device` is offered each interrupt that is
/// not the controller's own business, and says whether it knew it.
pub fn handle(device: impl Fn(u32) -> bool) {
    loop {
        let acknowledged = interface().iar.extract();
        let id = acknowledged.read(IAR::ID);
        if id >= SPURIOUS {
            return;
        }
        match id {
            RESCHEDULE_SGI => cpu::this().add_work(cpu::WORK_RESCHED),
            id if device(id) => {}
            _ => {
                // Nothing else was enabled: it is noted, ended and else ignored.
                SPURIOUS_SEEN.fetch_add(1, Relaxed);
            }
        }
        interface().eoir.set(acknowledged.get());
    }
}

fn dist() -> &'static Distributor {
    // SAFETY: `init` stored the address of registers that stay mapped.
    unsafe { &*DISTRIBUTOR.load(Relaxed) }
}

fn interface() -> &'static CpuInterface {
    // SAFETY: `init` stored the address of registers that stay mapped.
    unsafe { &*CPU_INTERFACE.load(Relaxed) }
}
