//! A GICv2 (GIC-400 on the Raspberry Pi 4): a distributor, and a CPU interface at the same address
//! for each CPU.
//!
//! **Data.** The two register blocks, never unmapped. **Owner.** The boot CPU for the shared
//! registers, each CPU for the registers that are its own. **Lock.** None: the set-enable registers
//! need no read-modify-write.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

use tock_registers::interfaces::{Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite, WriteOnly};
use tock_registers::{register_bitfields, register_structs};

use super::{LOWEST_PRIORITY, PRIORITY};
use crate::arch::cpu::{self, CPUS};

register_bitfields! { u32,
    /// Distributor and CPU interface control.
    CTLR [ ENABLE OFFSET(0) NUMBITS(1) [] ],
    /// The value that is read from the acknowledge register and written to the end register.
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
        (0x280 => icpendr: [ReadWrite<u32>; 32]),
        (0x300 => _reserved3),
        (0x380 => icactiver: [ReadWrite<u32>; 32]),
        (0x400 => ipriorityr: [ReadWrite<u32>; 256]),
        (0x800 => itargetsr: [ReadWrite<u32>; 256]),
        (0xc00 => _reserved2),
        (0xf00 => sgir: WriteOnly<u32, SGIR::Register>),
        (0xf04 => _reserved4),
        (0xf10 => cpendsgir: [ReadWrite<u32>; 4]),
        (0xf20 => @END),
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

static DISTRIBUTOR: AtomicPtr<Distributor> = AtomicPtr::new(core::ptr::null_mut());
static CPU_INTERFACE: AtomicPtr<CpuInterface> = AtomicPtr::new(core::ptr::null_mut());
/// The number of each CPU's interface, as a bit, read from the distributor's registers of that CPU;
/// 0 until the CPU runs.
static TARGETS: [AtomicU32; CPUS] = [const { AtomicU32::new(0) }; CPUS];

/// Takes control of the interrupt controller with register blocks at the two addresses.
///
/// # Safety
/// The addresses are those of a GICv2's distributor and CPU interface, mapped permanently as device
/// memory, and have no other user.
pub(super) unsafe fn init(distributor: usize, cpu_interface: usize) {
    DISTRIBUTOR.store(distributor as *mut Distributor, Relaxed);
    CPU_INTERFACE.store(cpu_interface as *mut CpuInterface, Relaxed);
    dist().ctlr.set(0);
    // ITLinesNumber: groups of 32 interrupts, less one; the first group is each CPU's own.
    let groups = 1 + (dist().typer.get() as usize & 0x1f);
    (1..groups.min(32)).for_each(forget);
    dist().ctlr.write(CTLR::ENABLE::SET);
}

/// Disables 32 interrupts, and clears what firmware left pending or active.
fn forget(group: usize) {
    dist().icenabler[group].set(u32::MAX);
    dist().icpendr[group].set(u32::MAX);
    dist().icactiver[group].set(u32::MAX);
}

/// Enables the interface of the calling CPU: the software-generated and private interrupts 0 to 31
/// have banked registers on each CPU.
pub(super) fn init_cpu() {
    forget(0);
    // Those from other CPUs have a register of their own.
    dist().cpendsgir.iter().for_each(|sources| sources.set(u32::MAX));
    for priority in &dist().ipriorityr[..8] {
        priority.set(PRIORITY);
    }
    // The first registers are banked and name only the CPU that reads them.
    let own = dist().itargetsr[..8].iter().map(|r| r.get()).find(|word| *word != 0).unwrap_or(1);
    TARGETS[cpu::this().id.load(Relaxed) as usize].store(own & 0xff, Relaxed);
    interface().pmr.set(LOWEST_PRIORITY);
    interface().bpr.set(0);
    interface().ctlr.write(CTLR::ENABLE::SET);
}

/// Enables interrupt `id` of this CPU.
pub(super) fn enable(id: u32) {
    dist().isenabler[id as usize / 32].set(1 << (id % 32));
}

/// Enables a shared interrupt, for the calling CPU, at the priority of all others.
pub(super) fn enable_shared(id: u32) {
    let (word, shift) = (id as usize / 4, 8 * (id % 4));
    let own = TARGETS[cpu::this().id.load(Relaxed) as usize].load(Relaxed);
    let targets = &dist().itargetsr[word];
    targets.set(targets.get() & !(0xff << shift) | own << shift);
    dist().ipriorityr[word].set(PRIORITY);
    enable(id);
}

/// Disables a shared interrupt.
pub(super) fn disable_shared(id: u32) {
    dist().icenabler[id as usize / 32].set(1 << (id % 32));
}

/// Interrupts another CPU.
pub(super) fn send(id: u32, target: usize) {
    let interface = TARGETS[target].load(Relaxed);
    if interface != 0 {
        dist().sgir.write(SGIR::ID.val(id) + SGIR::TARGETS.val(interface));
    }
}

/// The pending interrupt, now active: its number, and the argument for [`end`].
pub(super) fn acknowledge() -> (u32, u32) {
    let acknowledged = interface().iar.extract();
    (acknowledged.read(IAR::ID), acknowledged.get())
}

/// An interrupt was handled.
pub(super) fn end(acknowledged: u32) {
    interface().eoir.set(acknowledged);
}

fn dist() -> &'static Distributor {
    // SAFETY: `init` stored the address of registers that stay mapped.
    unsafe { &*DISTRIBUTOR.load(Relaxed) }
}

fn interface() -> &'static CpuInterface {
    // SAFETY: `init` stored the address of registers that stay mapped.
    unsafe { &*CPU_INTERFACE.load(Relaxed) }
}
