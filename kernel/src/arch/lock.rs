//! A spin lock that any context may take, from the first Rust function on.
//!
//! Interrupts are masked while it is held, so its holder is neither interrupted nor
//! preempted, and an interrupt handler may take it too. It needs no per-CPU data, unlike
//! the locks of the memory management. Hold it briefly.
//!
//! Debug builds check each against the order of `docs/decisions/0003-locks.md`, once the CPU has
//! its per-CPU data: a lock is a leaf unless its type says otherwise.

use core::ops::{Deref, DerefMut};

use mm_reclaim::lock_order::KERNEL_LEAF;
use spin::RelaxStrategy;
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// What a CPU does while it waits: `YIELD`, on which single-threaded emulation runs another CPU.
pub struct Yield;

impl RelaxStrategy for Yield {
    #[inline(always)]
    fn relax() {
        #[cfg(target_os = "none")]
        instructions::relax();
    }
}

/// Interrupts are masked while a value of this type lives.
#[must_use = "interrupts are masked only while the guard lives"]
struct Masked {
    /// `DAIF` as it was.
    daif: u64,
    /// Belongs to the CPU that it was made on.
    cpu: core::marker::PhantomData<*const ()>,
}

impl Masked {
    fn new() -> Self {
        #[cfg(target_os = "none")]
        let daif = instructions::mask();
        #[cfg(not(target_os = "none"))]
        let daif = 0;
        Self { daif, cpu: core::marker::PhantomData }
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        #[cfg(target_os = "none")]
        instructions::restore(self.daif);
        #[cfg(not(target_os = "none"))]
        let _ = self.daif;
    }
}

#[cfg(target_os = "none")]
mod instructions {
    use core::arch::asm;

    pub(super) fn mask() -> u64 {
        let daif: u64;
        // SAFETY: reading and setting interrupt masks touches nothing that compiled code
        // relies on; memory is taken as clobbered, so that the section stays inside.
        unsafe { asm!("mrs {}, daif", "msr daifset, #2", out(reg) daif, options(nostack)) };
        daif
    }

    #[inline(always)]
    pub(super) fn relax() {
        // SAFETY: a hint.
        unsafe { asm!("yield", options(nomem, nostack, preserves_flags)) };
    }

    pub(super) fn restore(daif: u64) {
        // SAFETY: it restores what `mask` saved.
        unsafe { asm!("msr daif, {}", in(reg) daif, options(nostack)) };
    }
}

/// The CPU knows of a lock of this rank while a value of this type lives.
#[cfg(debug_assertions)]
struct Ranked<const RANK: u8>;

#[cfg(debug_assertions)]
impl<const RANK: u8> Ranked<RANK> {
    fn new() -> Self {
        #[cfg(target_os = "none")]
        super::cpu::lock_taken(RANK);
        Self
    }
}

#[cfg(debug_assertions)]
impl<const RANK: u8> Drop for Ranked<RANK> {
    fn drop(&mut self) {
        #[cfg(target_os = "none")]
        super::cpu::lock_released(RANK);
    }
}

/// A spin lock that masks interrupts, of a rank in the lock order.
pub struct IrqLock<T, const RANK: u8 = KERNEL_LEAF> {
    inner: SpinMutex<T, Yield>,
}

/// The guard of [`IrqLock::lock`], which gives access to the data until it is dropped.
#[must_use = "the lock is held only while the guard lives"]
pub struct IrqLockGuard<'a, T, const RANK: u8 = KERNEL_LEAF> {
    /// Declared first, so that the lock is released before interrupts are restored.
    inner: SpinMutexGuard<'a, T, Yield>,
    /// Also dropped before interrupts are restored.
    #[cfg(debug_assertions)]
    _ranked: Ranked<RANK>,
    _masked: Masked,
}

impl<T, const RANK: u8> IrqLock<T, RANK> {
    /// A lock that is not held.
    pub const fn new(value: T) -> Self {
        Self { inner: SpinMutex::new(value) }
    }

    /// Masks interrupts and spins until the caller has the lock.
    pub fn lock(&self) -> IrqLockGuard<'_, T, RANK> {
        let masked = Masked::new();
        // Reported before the wait: an inversion then panics instead of hanging.
        #[cfg(debug_assertions)]
        let ranked = Ranked::new();
        IrqLockGuard {
            inner: self.inner.lock(),
            #[cfg(debug_assertions)]
            _ranked: ranked,
            _masked: masked,
        }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<IrqLockGuard<'_, T, RANK>> {
        let masked = Masked::new();
        let inner = self.inner.try_lock()?;
        Some(IrqLockGuard {
            inner,
            #[cfg(debug_assertions)]
            _ranked: Ranked::new(),
            _masked: masked,
        })
    }
}

impl<T, const RANK: u8> Deref for IrqLockGuard<'_, T, RANK> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T, const RANK: u8> DerefMut for IrqLockGuard<'_, T, RANK> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
