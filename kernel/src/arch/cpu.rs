//! Per-CPU data, the preemption count and the masking of interrupts.
//!
//! **Data.** One [`PerCpu`] per CPU, in a static table; `TPIDR_EL1` points to this CPU's.
//! **Owner.** The CPU itself: only code that runs on it, and its interrupt handlers, write the
//! fields. The one exception is [`PerCpu::work`], in which other CPUs set bits. **Lock.** None: a
//! field is one aligned word, and the words are atomics only so that an interrupt handler may read
//! them. **Why a count in memory is enough.** Tasks never move to another CPU. The pointer in
//! `TPIDR_EL1` is therefore constant for a task, the compiler may keep it, and a plain load, add
//! and store is a correct increment: a task that is preempted between the load and the store finds
//! the count as it left it, because the count is 0 at every switch.

use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{
    AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed, compiler_fence,
};

use crate::arch::context::Thread;

#[cfg(debug_assertions)]
mod order;
#[cfg(debug_assertions)]
pub use order::{lock_released, lock_taken};

/// CPUs that the kernel is written for.
pub const CPUS: usize = 4;

/// Bit of [`PerCpu::work`]: another task should run.
pub const WORK_RESCHED: u32 = 1;
/// Bit of [`PerCpu::work`]: the current task was killed and must not return to user mode.
pub const WORK_KILLED: u32 = 2;

/// Bytes of the stack on which an overflow of a kernel stack is reported.
pub const EMERGENCY_BYTES: usize = 8192;

/// The data of one CPU. The vectors know the offsets of the first fields.
#[repr(C, align(64))]
pub struct PerCpu {
    /// How many times preemption was disabled and not yet enabled again.
    pub preempt: AtomicU32,
    /// What is to be done before the CPU returns to user mode: `WORK_` bits.
    pub work: AtomicU32,
    /// The lowest address of the current kernel stack.
    pub stack_low: AtomicUsize,
    /// The end of the stack for reports of a stack overflow.
    pub emergency: AtomicUsize,
    /// The running task: only the scheduler knows the type.
    pub current: AtomicPtr<()>,
    /// The user task whose floating-point state the registers hold, or null.
    pub fp_owner: AtomicPtr<Thread>,
    /// When the running task's time slice ends, in counter ticks.
    pub slice_end: AtomicU64,
    /// This CPU's number.
    pub id: AtomicU32,
    /// The spin locks that it holds.
    #[cfg(debug_assertions)]
    held: order::Held,
}

/// Offset of [`PerCpu::preempt`].
pub const PREEMPT: usize = offset_of!(PerCpu, preempt);
/// Offset of [`PerCpu::work`].
pub const WORK: usize = offset_of!(PerCpu, work);
/// Offset of [`PerCpu::stack_low`].
pub const STACK_LOW: usize = offset_of!(PerCpu, stack_low);
/// Offset of [`PerCpu::emergency`].
pub const EMERGENCY: usize = offset_of!(PerCpu, emergency);

static PER_CPU: [PerCpu; CPUS] = [const { PerCpu::new() }; CPUS];

#[repr(C, align(16))]
struct EmergencyStack([AtomicU64; EMERGENCY_BYTES / 8]);

/// That of the CPU that boots; the others get theirs from the page allocator.
static EMERGENCY_STACK: EmergencyStack =
    EmergencyStack([const { AtomicU64::new(0) }; EMERGENCY_BYTES / 8]);

impl PerCpu {
    const fn new() -> Self {
        Self {
            preempt: AtomicU32::new(0),
            work: AtomicU32::new(0),
            stack_low: AtomicUsize::new(0),
            emergency: AtomicUsize::new(0),
            current: AtomicPtr::new(core::ptr::null_mut()),
            fp_owner: AtomicPtr::new(core::ptr::null_mut()),
            slice_end: AtomicU64::new(0),
            id: AtomicU32::new(0),
            #[cfg(debug_assertions)]
            held: order::Held::new(),
        }
    }

    /// Requests work before the return to user mode.
    pub fn add_work(&self, bits: u32) {
        self.work.fetch_or(bits, Relaxed);
    }

    /// Clears work that was done.
    pub fn clear_work(&self, bits: u32) {
        self.work.fetch_and(!bits, Relaxed);
    }
}

unsafe extern "C" {
    /// Lets another task run, if one should run first: a symbol of the scheduler, in a layer above.
    safe fn reschedule();
}

/// Gives CPU `id`, which is not the first, its stack for reports of a stack overflow, before it starts:
/// [`EMERGENCY_BYTES`] up to `top`.
///
/// # Panics
/// If there is no such CPU.
pub fn set_emergency_stack(id: usize, top: usize) {
    PER_CPU[id].emergency.store(top, Relaxed);
}

/// Makes `TPIDR_EL1` point to the data of CPU `id`, in which the scheduler has set the current
/// task, and lets user mode use floating point. To be called on that CPU before it takes any lock
/// of the memory management.
///
/// # Panics
/// If there is no such CPU.
pub fn init(id: usize) {
    let cpu = &PER_CPU[id];
    cpu.id.store(id as u32, Relaxed);
    if id == 0 {
        cpu.emergency.store((&raw const EMERGENCY_STACK).addr() + EMERGENCY_BYTES, Relaxed);
    }
    // SAFETY: the register is for the kernel's own use, and only this function writes it.
    unsafe { asm!("msr tpidr_el1, {}", in(reg) cpu, options(nostack, preserves_flags)) };
    // CPACR_EL1.FPEN = 3: no trap on floating point. The kernel itself uses none. SAFETY: it
    // changes no state that compiled code uses.
    unsafe { asm!("msr cpacr_el1, {}", "isb", in(reg) 3u64 << 20, options(nostack)) };
    keep_out_of_user_memory();
}

/// Where the CPU has PAN, makes every ordinary access of the kernel to user memory fault:
/// now and, with SCTLR_EL1.SPAN clear, after each exception.
fn keep_out_of_user_memory() {
    let features: u64;
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, id_aa64mmfr1_el1", out(reg) features, options(nomem, nostack)) };
    if (features >> 20) & 0xf == 0 {
        return;
    }
    // The instruction is `msr pan, #1`, which the baseline assembler does not know.
    // SAFETY: the kernel reaches user memory by unprivileged loads and stores only, which
    // PAN does not concern.
    unsafe {
        asm!("mrs {0}, sctlr_el1", "bic {0}, {0}, #(1 << 23)", "msr sctlr_el1, {0}", "isb",
             ".inst 0xd500419f", out(reg) _, options(nostack));
    }
}

/// This CPU's data.
#[inline(always)]
pub fn this() -> &'static PerCpu {
    let cpu: *const PerCpu;
    // SAFETY: it only reads a register. `pure` and `nomem` hold because a task stays on its
    // CPU, so that the value never changes under it.
    unsafe {
        asm!("mrs {}, tpidr_el1", out(reg) cpu, options(pure, nomem, nostack, preserves_flags));
    }
    // SAFETY: `init` stored a reference to a static there, before anything else ran.
    unsafe { &*cpu }
}

/// The data of CPU `id`.
pub fn of(id: usize) -> &'static PerCpu {
    &PER_CPU[id]
}

/// Disables preemption; nests.
#[inline(always)]
pub fn preempt_disable() {
    let count = &this().preempt;
    count.store(count.load(Relaxed) + 1, Relaxed);
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
}

/// Undoes one [`preempt_disable`]; a due reschedule happens here.
#[inline(always)]
pub fn preempt_enable() {
    compiler_fence(core::sync::atomic::Ordering::SeqCst);
    let cpu = this();
    let count = cpu.preempt.load(Relaxed).wrapping_sub(1);
    cpu.preempt.store(count, Relaxed);
    if count == 0 && cpu.work.load(Relaxed) != 0 {
        reschedule_if_due();
    }
}

/// The part of [`preempt_enable`] that is rarely needed. With interrupts masked nothing is done:
/// the code that unmasks them checks again.
#[cold]
#[inline(never)]
fn reschedule_if_due() {
    if this().work.load(Relaxed) & WORK_RESCHED != 0 && !irqs_masked() {
        reschedule();
    }
}

/// The caller is about to do `what`, which may sleep: debug builds check that it holds no spin lock
/// and did not disable preemption, even if it would not have slept.
#[inline(always)]
pub fn might_sleep(what: &str) {
    #[cfg(debug_assertions)]
    order::assert_may_sleep(what);
    #[cfg(not(debug_assertions))]
    let _ = what;
}

/// The affinity bits of this CPU's `MPIDR_EL1`: its name in the device tree and for the firmware.
pub fn affinity() -> u64 {
    let mpidr: u64;
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack, preserves_flags)) };
    mpidr & 0xff_00ff_ffff
}

/// Whether interrupts are masked on this CPU.
pub fn irqs_masked() -> bool {
    let daif: u64;
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, daif", out(reg) daif, options(nomem, nostack, preserves_flags)) };
    daif & (1 << 7) != 0
}

/// Unmasks interrupts, for a task that runs for the first time or an exception handler
/// that has saved what it needs.
#[inline(always)]
pub fn irqs_on() {
    // SAFETY: handlers keep every register that compiled code relies on.
    unsafe { asm!("msr daifclr, #2", options(nostack, preserves_flags)) };
}

/// Masks interrupts.
#[inline(always)]
pub fn irqs_off() {
    // SAFETY: masking interrupts delays handlers and does nothing else.
    unsafe { asm!("msr daifset, #2", options(nostack, preserves_flags)) };
}

/// Interrupts are masked while a value of this type lives.
#[must_use = "interrupts are masked only while the guard lives"]
pub struct IrqGuard {
    daif: u64,
    /// Belongs to the CPU that it was made on.
    cpu: core::marker::PhantomData<*const ()>,
}

impl IrqGuard {
    /// Masks interrupts; nests.
    pub fn new() -> Self {
        let daif: u64;
        // SAFETY: reading and masking interrupts touches nothing that compiled code uses.
        unsafe {
            asm!("mrs {}, daif", "msr daifset, #2", out(reg) daif, options(nostack));
        }
        Self { daif, cpu: core::marker::PhantomData }
    }
}

impl Default for IrqGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for IrqGuard {
    fn drop(&mut self) {
        // SAFETY: it puts back what `new` found.
        unsafe { asm!("msr daif, {}", in(reg) self.daif, options(nostack)) };
    }
}

/// Sleeps until an interrupt is pending, masked or not.
pub fn wait_for_interrupt() {
    // SAFETY: it only waits.
    unsafe { asm!("wfi", options(nomem, nostack, preserves_flags)) };
}

/// Counts the instructions that this CPU executes, from the first call on: the low 32 bits. `None` if
/// it has no counter for them.
pub fn instructions() -> Option<u32> {
    /// The architecture's number of the event, and its bit among those that are supported.
    const INST_RETIRED: u64 = 8;
    let (features, supported): (u64, u64);
    // SAFETY: it only reads a register.
    unsafe { asm!("mrs {}, id_aa64dfr0_el1", out(reg) features, options(nomem, nostack)) };
    if !(1..15).contains(&(features >> 8 & 0xf)) {
        return None;
    }
    // SAFETY: there are counters, so that the register exists; it only reads it.
    unsafe { asm!("mrs {}, pmceid0_el0", out(reg) supported, options(nomem, nostack)) };
    if supported >> INST_RETIRED & 1 == 0 {
        return None;
    }
    let count: u64;
    // SAFETY: the first counter and what it counts concern nobody else.
    unsafe {
        asm!(
            "msr pmevtyper0_el0, {event}",
            "mrs {count}, pmcr_el0",
            "orr {count}, {count}, #1",
            "msr pmcr_el0, {count}",
            "msr pmcntenset_el0, {first}",
            "isb",
            "mrs {count}, pmevcntr0_el0",
            event = in(reg) INST_RETIRED,
            first = in(reg) 1_u64,
            count = out(reg) count,
            options(nostack)
        );
    }
    Some(count as u32)
}
