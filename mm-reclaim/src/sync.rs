//! The only door to atomics and locks.
//!
//! No other file of the crate names `core::sync::atomic` or `spin`: a model checker's
//! types can then take their place here, and every lock is known to stop preemption.
//!
//! A [`Lock`] is a `spin` mutex whose holder cannot be preempted: with more tasks than
//! CPUs, a preempted holder would leave the others spinning for a whole time slice. What
//! "stop preemption" means and how a waiting CPU relaxes come from the environment's
//! [`Cpu`]. No lock of the crate is ever taken in an interrupt handler, so interrupts
//! stay on.
//!
//! The order in which locks may nest is written down in `docs/decisions/0003-locks.md`.

pub use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
};

/// For [`crate::wait::SleepLock`], which only ever tries to take it.
pub(crate) use spin::mutex::{SpinMutex as RawMutex, SpinMutexGuard as RawMutexGuard};
pub(crate) use spin::{Once, RelaxStrategy};

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use spin::mutex::{SpinMutex, SpinMutexGuard};

use crate::env::Cpu;

/// Preemption is off while a value of this type lives.
#[must_use = "preemption is off only while the guard lives"]
pub struct NoPreempt<C: Cpu> {
    /// A guard belongs to the CPU that it was made on: neither `Send` nor `Sync`.
    cpu: PhantomData<(C, *const ())>,
}

impl<C: Cpu> NoPreempt<C> {
    /// Switches preemption off; nests.
    #[inline(always)]
    pub fn new() -> Self {
        C::preempt_disable();
        Self { cpu: PhantomData }
    }
}

impl<C: Cpu> Default for NoPreempt<C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Cpu> Drop for NoPreempt<C> {
    #[inline(always)]
    fn drop(&mut self) {
        C::preempt_enable();
    }
}

/// A spin lock whose holder is not preempted.
pub struct Lock<C: Cpu, T> {
    inner: SpinMutex<T, C::Relax>,
    cpu: PhantomData<fn() -> C>,
}

/// What [`Lock::lock`] gives: the data, until it is dropped.
#[must_use = "the lock is held only while the guard lives"]
pub struct LockGuard<'a, C: Cpu, T> {
    /// Declared first, so that the lock is released before preemption is allowed again.
    inner: SpinMutexGuard<'a, T, C::Relax>,
    _held: NoPreempt<C>,
}

impl<C: Cpu, T> Lock<C, T> {
    /// A lock that is not held.
    pub const fn new(value: T) -> Self {
        Self { inner: SpinMutex::new(value), cpu: PhantomData }
    }

    /// Spins until the lock is this caller's.
    #[inline(always)]
    pub fn lock(&self) -> LockGuard<'_, C, T> {
        let held = NoPreempt::new();
        LockGuard { inner: self.inner.lock(), _held: held }
    }
}

impl<C: Cpu, T> Deref for LockGuard<'_, C, T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<C: Cpu, T> DerefMut for LockGuard<'_, C, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}
