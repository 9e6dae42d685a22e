//! The handling of each exception.
//!
//! [`crate::arch::trap`] has entry and return. Only its vectors call the functions of this file, by
//! their symbols. `report` has the last words of a kernel that took an exception it cannot handle.
//!
//! **Data.** Only the trap frame. **Locks.** None is held on entry: a system call runs with
//! interrupts on and preemption allowed, an interrupt with both off. A data abort begins with
//! interrupts masked ([`Arrival`]).

mod report;

use core::cell::Cell;

use mm_reclaim::env::Pinned;
use mm_reclaim::fault::{Access, FaultEnd};

use crate::arch::trap::decode::{self, Syndrome};
use crate::arch::trap::{Arrival, NotYet, TrapFrame};
use crate::arch::{cpu, usercopy};
use crate::drivers::{gic, timer};
use crate::task::{self, signal};
use crate::{disk, glue, syscall};

/// A data abort from user mode, with interrupts masked.
// SAFETY: only the vectors call it, with these arguments; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn user_abort(far: u64, esr: u64, frame: &mut TrapFrame) -> NotYet {
    let (syndrome, released) = (Syndrome(esr), Cell::new(false));
    let access = if syndrome.is_write() { Access::Write } else { Access::Read };
    let arrival = Arrival::new(frame, &released);
    let end = match task::current().open_space() {
        Some(space) if syndrome.is_translation_or_permission() => {
            glue::resolve_fault(space, far, access, arrival)
        }
        _ => {
            arrival.release();
            FaultEnd::BusError
        }
    };
    if !matches!(end, FaultEnd::Minor | FaultEnd::Major) {
        unresolved(end, syndrome, far, frame);
    }
    NotYet::after(&released)
}

/// Calls the fault handler of the memory management for `addr` of the current task.
fn resolve(addr: u64, access: Access) -> FaultEnd {
    match task::current().space() {
        Some(space) => glue::mm().handle_fault(space, addr, access),
        None => FaultEnd::BadAddress,
    }
}

#[cold]
fn unresolved(end: FaultEnd, syndrome: Syndrome, far: u64, frame: &TrapFrame) {
    match end {
        FaultEnd::BadAddress => die(signal::SIGSEGV, syndrome, far, frame),
        FaultEnd::BusError => die(signal::SIGBUS, syndrome, far, frame),
        // The work flags of the return to user mode end a killed task.
        _ => task::kill_current(signal::SIGKILL),
    }
}

/// Any other synchronous exception from user mode.
// SAFETY: only the vectors call it, with these arguments; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn user_exception(far: u64, esr: u64, frame: &mut TrapFrame) {
    let syndrome = Syndrome(esr);
    let number = match syndrome.class() {
        decode::EC_INSTRUCTION_ABORT_USER if syndrome.is_translation_or_permission() => {
            match resolve(far, Access::Exec) {
                FaultEnd::Minor | FaultEnd::Major => return,
                end => return unresolved(end, syndrome, far, frame),
            }
        }
        decode::EC_INSTRUCTION_ABORT_USER | 0x22 | 0x26 => signal::SIGBUS,
        0x3c => signal::SIGTRAP,
        0x2c => signal::SIGFPE,
        _ => signal::SIGILL,
    };
    die(number, syndrome, far, frame);
}

/// A system call.
// SAFETY: only the vectors call it, with these arguments; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn user_syscall(frame: &mut TrapFrame) {
    syscall::dispatch(frame);
}

#[cold]
fn die(number: u8, syndrome: Syndrome, far: u64, frame: &TrapFrame) {
    report::user(number, syndrome, far, frame);
    task::kill_current(number);
}

/// The work flags were set on the way to user mode. Interrupts are masked.
// SAFETY: only the vectors call it, with these arguments; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn user_work() {
    let this = cpu::this();
    loop {
        let work = this.work.load(core::sync::atomic::Ordering::Relaxed);
        if work == 0 {
            return;
        }
        cpu::irqs_on();
        if work & cpu::WORK_KILLED != 0 {
            task::exit_killed();
        }
        task::reschedule();
        cpu::irqs_off();
    }
}

/// An interrupt, from either mode.
// SAFETY: only the vectors call it, with these arguments; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn interrupt() {
    gic::handle(|id| {
        let is_timer = id == timer::interrupt();
        if is_timer {
            task::timer_interrupt();
        }
        is_timer || disk::interrupt(id)
    });
}

/// A synchronous exception of the kernel: a fault of the user copy, or fatal.
// SAFETY: only the vectors call it, with these arguments; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn kernel_exception(far: u64, esr: u64, frame: &mut TrapFrame) {
    let syndrome = Syndrome(esr);
    let in_usercopy = syndrome.class() == decode::EC_DATA_ABORT_KERNEL
        && usercopy::covers(frame.elr)
        && cpu::this().preempt.load(core::sync::atomic::Ordering::Relaxed) == 0;
    if !in_usercopy {
        report::kernel("exception", syndrome, far, frame);
    }
    if task::current().has_faults_off() || !copy_fault(far, syndrome) {
        frame.elr = usercopy::fixup();
    }
}

/// Handles a fault of the user copy; false if the address is bad.
fn copy_fault(far: u64, syndrome: Syndrome) -> bool {
    if !syndrome.is_translation_or_permission() {
        return false;
    }
    cpu::irqs_on();
    let access = if syndrome.is_write() { Access::Write } else { Access::Read };
    match resolve(far, access) {
        FaultEnd::Minor | FaultEnd::Major => true,
        FaultEnd::Killed => {
            task::kill_current(signal::SIGKILL);
            false
        }
        _ => false,
    }
}

/// A push below the end of a kernel stack.
// SAFETY: only the vectors call it, with these arguments; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn stack_overflow(far: u64, esr: u64, frame: &mut TrapFrame) -> ! {
    report::kernel("stack overflow", Syndrome(esr), far, frame)
}

/// An asynchronous error of the memory system.
// SAFETY: only the vectors call it, with these arguments; no other item has its name.
#[unsafe(no_mangle)]
extern "C" fn system_error(far: u64, esr: u64, frame: &mut TrapFrame) -> ! {
    report::kernel("system error", Syndrome(esr), far, frame)
}
