//! The façade under shuttle: the machine's own atomics and locks, with a point before each
//! operation at which shuttle may switch to another task.
//!
//! Shuttle's own types would do the same, but they are larger than the types they replace and own
//! memory: a page descriptor would not have 32 bytes, and tables that are never dropped would leak.
//! Like shuttle's, these are sequentially consistent, whatever ordering is given.
//!
//! A scheduling point is expensive in shuttle, and at most points the same task continues. So the
//! scheduler says beforehand for how many points that is so ([`pass_points`]), and these cost next
//! to nothing.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

use super::{Ordering, RelaxStrategy, machine, machine_mutex};

std::thread_local! {
    /// All tasks of a schedule, and its scheduler, run on one thread.
    static PASSES: Cell<u64> = const { Cell::new(0) };
    static ACTS: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// At the next `points` points the running task continues without a scheduling decision.
pub fn pass_points(points: u64) {
    PASSES.set(points);
}

/// Whether the running task continues at this point, as was said beforehand.
pub fn pass() -> bool {
    let left = PASSES.get();
    PASSES.set(left.saturating_sub(1));
    left > 0
}

/// After `acts` locks and conditional changes the next of them is a scheduling point, whatever
/// [`pass_points`] said: a task that is about to act has tested something, which other tasks may
/// change.
pub fn pass_acts(acts: u64) {
    ACTS.set(acts);
}

/// A point before a lock is taken or a conditional change.
fn act() {
    let left = ACTS.get();
    ACTS.set(left.saturating_sub(1));
    if left == 0 {
        PASSES.set(0);
    }
    point();
}

/// Another task may be scheduled here. Not while unwinding: the failure is reported as it is.
fn point() {
    if !pass() && !std::thread::panicking() {
        // Shuttle has no time: this is only a scheduling point.
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Shuttle does not reorder, so a fence has nothing to do.
pub fn fence(_order: Ordering) {
    point();
}

macro_rules! atomic {
    ($name:ident, $value:ty, $($operation:ident),*) => {
        #[doc = concat!("[`core::sync::atomic::", stringify!($name), "`], with scheduling points.")]
        #[repr(transparent)]
        pub struct $name(machine::$name);

        #[allow(dead_code, reason = "not every type needs every operation")]
        impl $name {
            /// As `core`'s.
            pub const fn new(value: $value) -> Self {
                Self(machine::$name::new(value))
            }

            /// As `core`'s.
            pub fn load(&self, order: Ordering) -> $value {
                point();
                self.0.load(order)
            }

            /// As `core`'s.
            pub fn store(&self, value: $value, order: Ordering) {
                point();
                self.0.store(value, order);
            }

            /// As `core`'s.
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                done: Ordering,
                failed: Ordering,
            ) -> Result<$value, $value> {
                act();
                self.0.compare_exchange(current, new, done, failed)
            }

            /// As `core`'s; the loop succeeds at once, since no task runs in between.
            pub fn fetch_update(
                &self,
                done: Ordering,
                failed: Ordering,
                change: impl FnMut($value) -> Option<$value>,
            ) -> Result<$value, $value> {
                act();
                self.0.fetch_update(done, failed, change)
            }

            $(
                /// As `core`'s.
                pub fn $operation(&self, value: $value, order: Ordering) -> $value {
                    point();
                    self.0.$operation(value, order)
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

/// `spin`'s mutex, with scheduling points.
pub(crate) struct SpinMutex<T, R>(machine_mutex::SpinMutex<T, R>);

/// The data of a [`SpinMutex`], until it is dropped.
pub(crate) struct SpinMutexGuard<'a, T, R>(machine_mutex::SpinMutexGuard<'a, T, R>);

impl<T, R: RelaxStrategy> SpinMutex<T, R> {
    pub(crate) const fn new(value: T) -> Self {
        Self(machine_mutex::SpinMutex::new(value))
    }

    /// Spins with `R`, which must let the other tasks run.
    pub(crate) fn lock(&self) -> SpinMutexGuard<'_, T, R> {
        act();
        SpinMutexGuard(self.0.lock())
    }
}

impl<T, R> Drop for SpinMutexGuard<'_, T, R> {
    fn drop(&mut self) {
        // Changes made under the lock can be seen while it is still held.
        point();
    }
}

impl<T, R> Deref for SpinMutexGuard<'_, T, R> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T, R> DerefMut for SpinMutexGuard<'_, T, R> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
