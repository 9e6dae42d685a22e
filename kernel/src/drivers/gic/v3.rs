//! A GICv3: a distributor, a redistributor for each CPU, and a CPU interface in system
//! registers.
//!
//! **Data.** The register blocks, never unmapped; which redistributor belongs to which CPU.
//! **Owner.** The boot CPU for the distributor, each CPU for its redistributor and its system
//! registers. **Lock.** None.
//!
//! Affinity routing is on, so that CPUs are named by their affinity. Every interrupt is in group 1,
//! that of the operating system.

use core::arch::asm;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering::Relaxed};

use tock_registers::interfaces::{ReadWriteable, Readable, Writeable};
use tock_registers::registers::{ReadOnly, ReadWrite};
use tock_registers::{register_bitfields, register_structs};

use super::{LOWEST_PRIORITY, PRIORITY};
use crate::arch::cpu::{self, CPUS};

register_bitfields! { u32,
    /// Distributor control.
    DCTLR [ GROUP1 OFFSET(1) NUMBITS(1) [], ARE OFFSET(4) NUMBITS(1) [], RWP OFFSET(31) NUMBITS(1) [] ],
    /// Redistributor control.
    RCTLR [ RWP OFFSET(3) NUMBITS(1) [] ],
    /// Redistributor power.
    WAKER [ SLEEP OFFSET(1) NUMBITS(1) [], CHILDREN_ASLEEP OFFSET(2) NUMBITS(1) [] ]
}

register_bitfields! { u64,
    /// The type of a redistributor.
    TYPER [
        VLPIS OFFSET(1) NUMBITS(1) [],
        LAST OFFSET(4) NUMBITS(1) [],
        AFFINITY OFFSET(32) NUMBITS(32) []
    ]
}

register_structs! {
    /// The distributor's registers.
    Distributor {
        (0x000 => ctlr: ReadWrite<u32, DCTLR::Register>),
        (0x004 => typer: ReadOnly<u32>),
        (0x008 => _reserved0),
        (0x080 => igroupr: [ReadWrite<u32>; 32]),
        (0x100 => isenabler: [ReadWrite<u32>; 32]),
        (0x180 => icenabler: [ReadWrite<u32>; 32]),
        (0x200 => _reserved1),
        (0x280 => icpendr: [ReadWrite<u32>; 32]),
        (0x300 => _reserved2),
        (0x380 => icactiver: [ReadWrite<u32>; 32]),
        (0x400 => ipriorityr: [ReadWrite<u32>; 256]),
        (0x800 => _reserved3),
        (0x6000 => irouter: [ReadWrite<u64>; 1020]),
        (0x7fe0 => @END),
    }
}

register_structs! {
    /// A redistributor's registers: its own, and those of interrupts 0 to 31.
    Redistributor {
        (0x00000 => ctlr: ReadWrite<u32, RCTLR::Register>),
        (0x00004 => _reserved0),
        (0x00008 => typer: ReadOnly<u64, TYPER::Register>),
        (0x00010 => _reserved1),
        (0x00014 => waker: ReadWrite<u32, WAKER::Register>),
        (0x00018 => _reserved2),
        (0x10080 => igroupr0: ReadWrite<u32>),
        (0x10084 => _reserved3),
        (0x10100 => isenabler0: ReadWrite<u32>),
        (0x10104 => _reserved4),
        (0x10180 => icenabler0: ReadWrite<u32>),
        (0x10184 => _reserved5),
        (0x10280 => icpendr0: ReadWrite<u32>),
        (0x10284 => _reserved6),
        (0x10380 => icactiver0: ReadWrite<u32>),
        (0x10384 => _reserved7),
        (0x10400 => ipriorityr: [ReadWrite<u32>; 8]),
        (0x10420 => @END),
    }
}

/// Bytes that a redistributor's registers take, and twice that with virtual interrupts.
const STRIDE: usize = 0x2_0000;

static DISTRIBUTOR: AtomicPtr<Distributor> = AtomicPtr::new(core::ptr::null_mut());
/// The address and the mapped bytes of the redistributors.
static REGION: AtomicUsize = AtomicUsize::new(0);
static REGION_BYTES: AtomicUsize = AtomicUsize::new(0);
static OWN: [AtomicPtr<Redistributor>; CPUS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; CPUS];
/// Each CPU's affinity plus one; 0 until it runs.
static TARGETS: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

/// Takes control of the interrupt controller with register blocks at the two addresses, that of the
/// redistributors of `bytes` bytes.
///
/// # Safety
/// The addresses are those of a GICv3's distributor and redistributors, mapped permanently as
/// device memory, and have no other user.
pub(super) unsafe fn init(distributor: usize, redistributors: usize, bytes: usize) {
    DISTRIBUTOR.store(distributor as *mut Distributor, Relaxed);
    REGION.store(redistributors, Relaxed);
    REGION_BYTES.store(bytes, Relaxed);
    // SAFETY: the caller's.
    let dist = unsafe { &*(distributor as *const Distributor) };
    dist.ctlr.write(DCTLR::ARE::SET);
    while dist.ctlr.is_set(DCTLR::RWP) {}
    forget_shared(dist);
    dist.ctlr.write(DCTLR::ARE::SET + DCTLR::GROUP1::SET);
    while dist.ctlr.is_set(DCTLR::RWP) {}
}

/// Disables the interrupts that no CPU owns, and clears what firmware, or a previous kernel, left
/// pending or active: no driver here would ever quiet their devices.
fn forget_shared(dist: &Distributor) {
    // ITLinesNumber: groups of 32 interrupts, less one; the first group is each CPU's own.
    let groups = 1 + (dist.typer.get() as usize & 0x1f);
    for group in 1..groups.min(32) {
        dist.icenabler[group].set(u32::MAX);
        dist.icpendr[group].set(u32::MAX);
        dist.icactiver[group].set(u32::MAX);
    }
    while dist.ctlr.is_set(DCTLR::RWP) {}
}

/// Does the same for the interrupts of one CPU.
fn forget_own(own: &Redistributor) {
    own.icenabler0.set(u32::MAX);
    while own.ctlr.is_set(RCTLR::RWP) {}
    own.icpendr0.set(u32::MAX);
    own.icactiver0.set(u32::MAX);
}

/// Enables the redistributor and the interface of the calling CPU.
///
/// # Panics
/// If there is no redistributor for this CPU.
pub(super) fn init_cpu() {
    let number = cpu::this().id.load(Relaxed) as usize;
    let affinity = cpu::affinity();
    let own = find(affinity).expect("a redistributor for each CPU");
    OWN[number].store(core::ptr::from_ref(own).cast_mut(), Relaxed);
    own.waker.modify(WAKER::SLEEP::CLEAR);
    while own.waker.is_set(WAKER::CHILDREN_ASLEEP) {}
    forget_own(own);
    own.igroupr0.set(u32::MAX);
    own.ipriorityr.iter().for_each(|priority| priority.set(PRIORITY));
    // ICC_SRE_EL1.SRE; then the mask, the binary point, and EOImode 0, so that one write both drops
    // the priority and deactivates; then group 1. SAFETY: the registers are this CPU's interface to
    // interrupts, which are masked.
    unsafe {
        asm!("msr s3_0_c12_c12_5, {one}", "isb", "msr s3_0_c4_c6_0, {mask}",
             "msr s3_0_c12_c12_3, xzr", "msr s3_0_c12_c12_4, xzr",
             "msr s3_0_c12_c12_7, {one}", "isb",
             one = in(reg) 1u64, mask = in(reg) u64::from(LOWEST_PRIORITY), options(nostack));
    }
    TARGETS[number].store(affinity + 1, Relaxed);
}

/// The redistributor of the CPU with this affinity.
fn find(affinity: u64) -> Option<&'static Redistributor> {
    // Affinity level 3 lies in bits 39:32 of MPIDR_EL1, and in 31:24 here.
    let wanted = affinity & 0xff_ffff | affinity >> 8 & 0xff00_0000;
    let (start, bytes) = (REGION.load(Relaxed), REGION_BYTES.load(Relaxed));
    let mut offset = 0;
    while offset + STRIDE <= bytes {
        // SAFETY: the frame lies within the range that was passed to `init` as mapped.
        let frame = unsafe { &*((start + offset) as *const Redistributor) };
        let typer = frame.typer.extract();
        if typer.read(TYPER::AFFINITY) == wanted {
            return Some(frame);
        }
        if typer.is_set(TYPER::LAST) {
            break;
        }
        offset += if typer.is_set(TYPER::VLPIS) { 2 * STRIDE } else { STRIDE };
    }
    None
}

/// Enables interrupt `id`, below 32, of this CPU.
pub(super) fn enable(id: u32) {
    let own = OWN[cpu::this().id.load(Relaxed) as usize].load(Relaxed);
    // SAFETY: `init_cpu` stored the address of registers that stay mapped.
    unsafe { &*own }.isenabler0.set(1 << id);
}

/// Enables a shared interrupt, for the calling CPU, at the priority of all others.
pub(super) fn enable_shared(id: u32) {
    // SAFETY: `init` stored the address of registers that stay mapped.
    let dist = unsafe { &*DISTRIBUTOR.load(Relaxed) };
    let (word, bit) = (id as usize / 32, 1 << (id % 32));
    dist.irouter[id as usize].set(cpu::affinity());
    dist.igroupr[word].set(dist.igroupr[word].get() | bit);
    dist.ipriorityr[id as usize / 4].set(PRIORITY);
    dist.isenabler[word].set(bit);
}

/// Disables a shared interrupt.
pub(super) fn disable_shared(id: u32) {
    // SAFETY: `init` stored the address of registers that stay mapped.
    let dist = unsafe { &*DISTRIBUTOR.load(Relaxed) };
    dist.icenabler[id as usize / 32].set(1 << (id % 32));
}

/// Interrupts another CPU.
pub(super) fn send(id: u32, target: usize) {
    let Some(affinity) = TARGETS[target].load(Relaxed).checked_sub(1) else { return };
    let level = |n: u32| affinity >> (8 * n) & 0xff;
    // One of the sixteen CPUs that share the higher levels.
    let list = 1 << (level(0) % 16) | (level(0) / 16) << 44;
    let word = list | level(1) << 16 | level(2) << 32 | level(4) << 48 | u64::from(id) << 24;
    // SAFETY: ICC_SGI1R_EL1 sends an interrupt and does nothing else.
    unsafe { asm!("msr s3_0_c12_c11_5, {}", "isb", in(reg) word, options(nostack)) };
}

/// The pending interrupt, now active: its number, and the argument for [`end`].
pub(super) fn acknowledge() -> (u32, u32) {
    let id: u64;
    // SAFETY: ICC_IAR1_EL1 makes the interrupt active; the barrier orders what follows.
    unsafe { asm!("mrs {}, s3_0_c12_c12_0", "dsb sy", out(reg) id, options(nostack)) };
    (id as u32 & 0xff_ffff, id as u32)
}

/// An interrupt was handled.
pub(super) fn end(acknowledged: u32) {
    // SAFETY: ICC_EOIR1_EL1 ends the interrupt that `acknowledge` began.
    unsafe {
        asm!("msr s3_0_c12_c12_1, {}", "isb", in(reg) u64::from(acknowledged), options(nostack));
    }
}
