//! The façade under loom: every execution that the memory model allows, one after another.
//!
//! Loom's objects cannot be made by a `const fn`, and the crate's are. So each is made on first
//! use. A model uses everything once before it starts its threads: otherwise a value would be
//! created by one thread and not exist from the beginning.
//!
//! The spin lock is written out here as `spin` does it, since that crate's atomics cannot be
//! replaced. So loom checks the algorithm, and that only the holder accesses the data, but not
//! `spin`'s source.

#![allow(unsafe_code, reason = "a lock hands out exclusive access to what is inside")]

use core::cell::OnceCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

use super::{Ordering, RelaxStrategy};

pub use ::loom::sync::atomic::fence;

/// A value of loom's, made on first use.
pub(super) struct Late<T>(OnceCell<T>);

// SAFETY: loom runs one thread at a time, and all of them on a single thread of the machine: there
// is no concurrent access while the cell is filled.
unsafe impl<T> Sync for Late<T> {}
// SAFETY: as above.
unsafe impl<T> Send for Late<T> {}

impl<T> Late<T> {
    pub(super) const fn new() -> Self {
        Self(OnceCell::new())
    }

    pub(super) fn get(&self, make: impl FnOnce() -> T) -> &T {
        self.0.get_or_init(make)
    }
}

macro_rules! atomic {
    ($name:ident, $value:ty, $($operation:ident),*) => {
        #[doc = concat!("loom's `", stringify!($name), "`, made on first use.")]
        pub struct $name {
            first: $value,
            late: Late<::loom::sync::atomic::$name>,
        }

        #[allow(dead_code, reason = "not every type needs every operation")]
        impl $name {
            /// As `core`'s.
            pub const fn new(first: $value) -> Self {
                Self { first, late: Late::new() }
            }

            fn get(&self) -> &::loom::sync::atomic::$name {
                self.late.get(|| ::loom::sync::atomic::$name::new(self.first))
            }

            /// As `core`'s.
            #[track_caller]
            pub fn load(&self, order: Ordering) -> $value {
                self.get().load(order)
            }

            /// As `core`'s.
            #[track_caller]
            pub fn store(&self, value: $value, order: Ordering) {
                self.get().store(value, order);
            }

            /// As `core`'s.
            #[track_caller]
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                done: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                self.get().compare_exchange(current, new, done, failed)
            }

            /// As `core`'s.
            #[track_caller]
            pub fn fetch_update(
                &self,
                done: Ordering,
                failed: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                self.get().fetch_update(done, failed, change)
            }

            $(
                /// As `core`'s.
                #[track_caller]
                pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                    self.get().$operation(value, order)
                }
            )*
        }
    };
}

macro_rules! atomic_number {
    ($name:ident, $value:ty) => {
        atomic!(
            $name, $value, swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_xor, fetch_max
        );
    };
}

atomic!(AtomicBool, bool, swap, fetch_or, fetch_and);
atomic_number!(AtomicU8, u8);
atomic_number!(AtomicU16, u16);
atomic_number!(AtomicU32, u32);
atomic_number!(AtomicU64, u64);

/// What `spin`'s mutex does, on loom's atomics.
pub(crate) struct SpinMutex<T, R> {
    held: AtomicBool,
    value: core::cell::UnsafeCell<T>,
    /// Loom checks the accesses to the value through this.
    watch: Late<::loom::cell::UnsafeCell<()>>,
    relax: PhantomData<fn() -> R>,
}

/// The data of a [`SpinMutex`], until it is dropped.
pub(crate) struct SpinMutexGuard<'a, T, R> {
    mutex: &'a SpinMutex<T, R>,
    /// Ends before the lock is released.
    access: Option<::loom::cell::MutPtr<()>>,
}

// SAFETY: the value is reached through the guard alone, and one guard exists at a time.
unsafe impl<T: Send, R> Sync for SpinMutex<T, R> {}

impl<T, R: RelaxStrategy> SpinMutex<T, R> {
    pub(crate) const fn new(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: core::cell::UnsafeCell::new(value),
            watch: Late::new(),
            relax: PhantomData,
        }
    }

    pub(crate) fn lock(&self) -> SpinMutexGuard<'_, T, R> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            R::relax();
        }
    }

    pub(crate) fn try_lock(&self) -> Option<SpinMutexGuard<'_, T, R>> {
        // Acquire pairs with the Release of the guard's end.
        self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
        let watch = self.watch.get(|| ::loom::cell::UnsafeCell::new(()));
        Some(SpinMutexGuard { mutex: self, access: Some(watch.get_mut()) })
    }
}

impl<T, R> Drop for SpinMutexGuard<'_, T, R> {
    fn drop(&mut self) {
        self.access = None;
        self.mutex.held.store(false, Ordering::Release);
    }
}

impl<T, R> Deref for SpinMutexGuard<'_, T, R> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so the lock is held and there is no other access.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T, R> DerefMut for SpinMutexGuard<'_, T, R> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and the guard is borrowed exclusively.
        unsafe { &mut *self.mutex.value.get() }
    }
}

#[cfg(test)]
mod tests;
