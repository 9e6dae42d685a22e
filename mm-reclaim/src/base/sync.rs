//! The only source of atomics and locks.
//!
//! No other file of the crate names `core::sync::atomic` or `spin`: a model checker's
//! types can then take their place here, and every lock is known to disable preemption.
//!
//! | built with | atomics and locks | what runs on them |
//! | --- | --- | --- |
//! | nothing special | `core`'s and `spin`'s, as they are | kernels, simulators, Miri |
//! | `--cfg shuttle` | the same, each operation a point at which tasks may switch | the machine of `tests/models` |
//! | `--cfg loom` | loom's, in every order that the memory model allows | the primitives, in this module's tests |
//!
//! `docs/concurrency.md` says what is proved with them.
//!
//! A [`Lock`] is a `spin` mutex whose holder cannot be preempted: with more tasks than
//! CPUs, a preempted holder would leave the others spinning for a whole time slice. The
//! environment's [`Cpu`] disables preemption and relaxes a waiting CPU. No lock of the crate is
//! ever taken in an interrupt handler, so interrupts stay on.
//!
//! A [`WordLock`] and a [`ShareLock`] are the exceptions: no task spins for them, so their holders
//! may be preempted.
//!
//! The order in which locks may nest is written down in `docs/decisions/0003-locks.md`. A
//! lock's type says its rank ([`crate::base::lock_order`]); debug builds report each lock that is
//! taken and released to the environment, so that it can check the order.

mod share_lock;
#[cfg(loom)]
mod under_loom;
#[cfg(shuttle)]
mod under_shuttle;
mod word_lock;

#[cfg(not(any(loom, shuttle)))]
pub use core::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, fence,
};
#[cfg(not(any(loom, shuttle)))]
use spin::mutex::{SpinMutex, SpinMutexGuard};

#[cfg(any(loom, shuttle))]
pub use core::sync::atomic::Ordering;
#[cfg(loom)]
pub use under_loom::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence};
#[cfg(loom)]
use under_loom::{SpinMutex, SpinMutexGuard};
#[cfg(shuttle)]
pub use under_shuttle::{
    AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, fence, pass, pass_acts, pass_points,
};
#[cfg(shuttle)]
use under_shuttle::{SpinMutex, SpinMutexGuard};

/// The machine's own types, for the modules that wrap them.
#[cfg(shuttle)]
use {core::sync::atomic as machine, spin::mutex as machine_mutex};

pub(crate) use share_lock::{Exclusive, ShareLock, Shared};
pub(crate) use word_lock::{Held, WordLock};

/// Written once, by the holder of a lock: the models need no version of their own.
pub(crate) use spin::Once;
use spin::RelaxStrategy;

use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use crate::base::lock_order::UNRANKED;
use crate::env::{Cpu, Pinned};

/// [`Cpu::relax`], in the form that `spin` needs: that crate is not visible outside.
struct Relax<C>(PhantomData<C>);

impl<C: Cpu> RelaxStrategy for Relax<C> {
    #[inline(always)]
    fn relax() {
        C::relax();
    }
}

/// Preemption is off while a value of this type lives.
#[must_use = "preemption is off only while the guard lives"]
pub struct NoPreempt<C: Cpu> {
    /// A guard belongs to the CPU that it was made on: neither `Send` nor `Sync`.
    cpu: PhantomData<(C, *const ())>,
}

impl<C: Cpu> NoPreempt<C> {
    /// Disables preemption; nests.
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

impl<C: Cpu> Pinned for NoPreempt<C> {
    #[inline(always)]
    fn release(self) {}
}

/// The proof that a [`Pinned`] lives, in nothing but its lifetime.
#[derive(Clone, Copy)]
pub struct Proof<'p> {
    /// Belongs to the CPU that the task is pinned to: neither `Send` nor `Sync`.
    pinned: PhantomData<(&'p (), *const ())>,
}

impl<'p> Proof<'p> {
    /// The proof that `pinned` lives.
    #[inline(always)]
    pub fn of<P: Pinned>(_pinned: &'p P) -> Self {
        Self { pinned: PhantomData }
    }
}

/// A spin lock whose holder is not preempted, of a rank in the lock order.
pub struct Lock<C: Cpu, T, const RANK: u8 = UNRANKED> {
    inner: SpinMutex<T, Relax<C>>,
    cpu: PhantomData<fn() -> C>,
}

/// The guard of [`Lock::lock`], which gives access to the data until it is dropped. `H` is why its
/// holder is not preempted.
#[must_use = "the lock is held only while the guard lives"]
pub struct LockGuard<'a, C: Cpu, T, const RANK: u8 = UNRANKED, H = NoPreempt<C>> {
    /// Declared first, so that the lock is released before preemption is allowed again.
    inner: SpinMutexGuard<'a, T, Relax<C>>,
    /// Also dropped before preemption is allowed again.
    #[cfg(debug_assertions)]
    _ranked: Ranked<C, RANK>,
    _held: H,
}

impl<C: Cpu, T, const RANK: u8> Lock<C, T, RANK> {
    /// A lock that is not held.
    pub const fn new(value: T) -> Self {
        Self { inner: SpinMutex::new(value), cpu: PhantomData }
    }

    /// Spins until the caller has the lock.
    #[inline(always)]
    pub fn lock(&self) -> LockGuard<'_, C, T, RANK> {
        self.lock_while(NoPreempt::new())
    }

    /// As [`Lock::lock`], for a caller that is not preempted anyway.
    #[inline(always)]
    pub fn lock_pinned<'a>(&'a self, pinned: Proof<'a>) -> LockGuard<'a, C, T, RANK, Proof<'a>> {
        self.lock_while(pinned)
    }

    #[inline(always)]
    fn lock_while<H>(&self, held: H) -> LockGuard<'_, C, T, RANK, H> {
        // Reported before the wait: an inversion then panics instead of hanging.
        #[cfg(debug_assertions)]
        let ranked = Ranked::new();
        LockGuard {
            inner: self.inner.lock(),
            #[cfg(debug_assertions)]
            _ranked: ranked,
            _held: held,
        }
    }
}

impl<C: Cpu, T, const RANK: u8, H> LockGuard<'_, C, T, RANK, H> {
    /// The holder of a lock is not preempted: it takes others without counting that again.
    #[inline(always)]
    pub fn proof(&self) -> Proof<'_> {
        Proof { pinned: PhantomData }
    }
}

/// The environment knows of a lock of this rank while a value of this type lives.
#[cfg(debug_assertions)]
struct Ranked<C: Cpu, const RANK: u8>(PhantomData<C>);

#[cfg(debug_assertions)]
impl<C: Cpu, const RANK: u8> Ranked<C, RANK> {
    fn new() -> Self {
        C::lock_taken(RANK);
        Self(PhantomData)
    }
}

#[cfg(debug_assertions)]
impl<C: Cpu, const RANK: u8> Drop for Ranked<C, RANK> {
    fn drop(&mut self) {
        C::lock_released(RANK);
    }
}

impl<C: Cpu, T, const RANK: u8, H> Deref for LockGuard<'_, C, T, RANK, H> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<C: Cpu, T, const RANK: u8, H> DerefMut for LockGuard<'_, C, T, RANK, H> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
