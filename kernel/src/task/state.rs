//! The scheduler's state and its lock, and how other CPUs are notified of a change.

use core::sync::atomic::Ordering::Relaxed;

use super::table::{Pokes, Sched};
use crate::arch::cpu::{self, CPUS};
use crate::arch::lock::{IrqLock, IrqLockGuard};
use crate::drivers::gic;

static SCHED: IrqLock<Sched> = IrqLock::new(Sched::new());

/// The scheduler's state.
pub(super) fn lock() -> IrqLockGuard<'static, Sched> {
    SCHED.lock()
}

/// Makes the CPUs in `pokes` check their run queues.
pub(super) fn poke(pokes: Pokes) {
    if pokes == 0 {
        return;
    }
    let here = cpu::this().id.load(Relaxed) as usize;
    for target in (0..CPUS).filter(|n| pokes & (1 << n) != 0) {
        if target == here {
            cpu::this().add_work(cpu::WORK_RESCHED);
        } else {
            gic::send_reschedule(target);
        }
    }
}
