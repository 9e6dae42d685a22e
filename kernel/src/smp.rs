//! The other CPUs: found in the device tree, started one after the other (BOOT-06).
//!
//! **Data.** Which CPUs run. **Owner.** The boot task starts them; each one reports that it runs.
//! **Lock.** None.
//!
//! A CPU starts as its own idle task, on that task's stack. Everything it needs to run is in place
//! before it is started: the tables, the vectors, the interrupt controller. A CPU that does not
//! report within a second is ignored; the machine runs with those that do.

use core::arch::asm;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use boot::dtb::{Conduit, CpuNode, EnableMethod};
use boot::secondary::{self, Start};
use mm_reclaim::env::TaskFlags;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Nanos, Order, PAGE_SIZE};

use crate::arch::cpu::{self, CPUS, EMERGENCY_BYTES};
use crate::arch::frames::frame_address;
use crate::arch::{mmu, paging, trap};
use crate::drivers::psci::{self, PsciError};
use crate::drivers::{gic, timer};
use crate::early::Machine;
use crate::task::{self, SpawnError};
use crate::{glue, println};

/// How long a CPU may take to report.
const PATIENCE: Nanos = Nanos::from_millis(1000);

/// CPUs that run: bit n is CPU n.
static ONLINE: AtomicU32 = AtomicU32::new(1);

/// Why a CPU does not run.
#[derive(Clone, Copy)]
enum Refusal {
    /// The tree names no method to start it.
    NoMethod,
    /// The tree requires PSCI but does not say how to call it.
    NoPsci,
    /// The firmware refused.
    Psci(PsciError),
    /// The address that it polls is not in the kernel's memory.
    Release(u64),
    /// No idle task for it.
    NoTask(SpawnError),
    /// It never reported.
    Silent,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMethod => f.write_str("the device tree names no way to start it"),
            Self::NoPsci => f.write_str("the device tree does not say how to call PSCI"),
            Self::Psci(PsciError(code)) => write!(f, "PSCI refuses with {code}"),
            Self::Release(at) => write!(f, "its release address {at:#x} is no mapped memory"),
            Self::NoTask(error) => write!(f, "no idle task: {error}"),
            Self::Silent => f.write_str("it does not report"),
        }
    }
}

/// The number of CPUs that run.
pub fn online() -> u32 {
    ONLINE.load(Ordering::Acquire).count_ones()
}

/// Stoppers that have arrived.
static STOPPED: AtomicU32 = AtomicU32::new(0);
/// Set when the stoppers may end.
static RELEASED: AtomicBool = AtomicBool::new(true);

/// Runs `f` while every other CPU does nothing. Each is stopped by a kernel task, so that none
/// holds a spin lock; a task that was preempted while holding a sleeping lock still holds it. One
/// caller at a time. `f` must not sleep.
///
/// # Errors
/// If there is no memory for the tasks that stop the others; `f` was not called.
pub fn with_others_stopped<R>(f: impl FnOnce() -> R) -> Result<R, SpawnError> {
    let here = 1 << cpu::this().id.load(Ordering::Relaxed);
    let others = ONLINE.load(Ordering::Acquire) & !here;
    RELEASED.store(false, Ordering::Relaxed);
    let (mut started, mut refused) = (0, None);
    for n in (0..CPUS).filter(|n| others & (1 << n) != 0) {
        match task::spawn_kernel_on(n, "stopper", TaskFlags::empty(), stopper) {
            Ok(_) => started += 1,
            Err(error) => refused = Some(error),
        }
    }
    while STOPPED.load(Ordering::Acquire) < started {
        task::yield_cpu();
    }
    let result = match refused {
        Some(error) => Err(error),
        None => {
            cpu::preempt_disable();
            let result = f();
            cpu::preempt_enable();
            Ok(result)
        }
    };
    RELEASED.store(true, Ordering::Release);
    while STOPPED.load(Ordering::Acquire) != 0 {
        task::yield_cpu();
    }
    result
}

/// The body of a task that stops its CPU.
fn stopper() -> ! {
    cpu::preempt_disable();
    STOPPED.fetch_add(1, Ordering::Release);
    while !RELEASED.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    STOPPED.fetch_sub(1, Ordering::Release);
    cpu::preempt_enable();
    task::exit(0)
}

/// Starts every CPU but this one, up to the kernel's limit and `maxcpus=`.
pub fn start_others(machine: &Machine) {
    let own = cpu::affinity();
    let wanted = machine.args.max_cpus.map_or(CPUS, |most| CPUS.min(most as usize));
    let others = machine.tree.cpus.iter().filter(|node| node.affinity != own);
    let mut next = 1;
    for node in others {
        if next == wanted {
            println!("CPUs: those from {:#x} on stay off", node.affinity);
            break;
        }
        match start(machine, next, *node) {
            Ok(()) => next += 1,
            Err(why) => println!("CPUs: {:#x} does not run: {why}", node.affinity),
        }
    }
    if online() > 1 {
        println!("CPUs: {} run", online());
    }
}

fn start(machine: &Machine, number: usize, node: CpuNode) -> Result<(), Refusal> {
    let method = node.enable.ok_or(Refusal::NoMethod)?;
    let stack_top = task::adopt_idle_task(number).map_err(Refusal::NoTask)?;
    let order = Order::holding((EMERGENCY_BYTES / PAGE_SIZE) as u32);
    let frame = order.and_then(|order| glue::mm().alloc_pages(Gfp::KERNEL, order));
    let frame = frame.ok_or(Refusal::NoTask(SpawnError::NoStack))?;
    cpu::set_emergency_stack(number, frame_address(frame).addr() + EMERGENCY_BYTES);
    secondary::prepare(
        number - 1,
        &Start { affinity: node.affinity, stack_top, entry: begin, argument: number as u64 },
    );
    let entry = machine.image.start.0 + secondary::entry_offset();
    match method {
        EnableMethod::Psci => {
            let conduit: Conduit = machine.tree.psci.ok_or(Refusal::NoPsci)?;
            psci::cpu_on(conduit, node.affinity, entry).map_err(Refusal::Psci)?;
        }
        EnableMethod::SpinTable { release } => write_release(release, entry)?,
    }
    wait_for(number)
}

/// Writes the entry point for a spinning CPU, which reads it with its caches off.
fn write_release(release: u64, entry: u64) -> Result<(), Refusal> {
    let at = mmu::LINEAR_BASE + release;
    if mmu::translate(at).is_none() {
        return Err(Refusal::Release(release));
    }
    // SAFETY: the address is mapped memory, which the device tree reserves for this.
    unsafe { (at as *mut u64).write_volatile(entry) };
    // SAFETY: it cleans one line of the caches and wakes CPUs that wait for an event.
    unsafe { asm!("dc civac, {}", "dsb sy", "sev", in(reg) at, options(nostack)) };
    Ok(())
}

fn wait_for(number: usize) -> Result<(), Refusal> {
    let end = timer::ticks() + timer::ticks_in(PATIENCE);
    while ONLINE.load(Ordering::Acquire) & (1 << number) == 0 {
        if timer::ticks() >= end {
            return Err(Refusal::Silent);
        }
        core::hint::spin_loop();
    }
    task::set_online(number);
    Ok(())
}

/// The first function of a secondary CPU, on the stack of its idle task.
extern "C" fn begin(number: u64) -> ! {
    let number = number as usize;
    task::begin_as(number, task::idle_of(number));
    cpu::init(number);
    trap::install();
    paging::init_cpu();
    gic::init_cpu();
    timer::init_cpu();
    // Release pairs with the Acquire of `wait_for`: once this CPU is seen, it may be given work.
    ONLINE.fetch_or(1 << number, Ordering::Release);
    task::idle()
}
