//! Typed memory straight from the kernel: sized at run time, zero at first, page aligned.

use core::ops::{Deref, DerefMut, Range};
use core::ptr::NonNull;

use crate::sys::{self, Errno, number};

/// Linux's number of the advice that the contents are not needed any more.
const MADV_DONTNEED: usize = 4;

/// Types of which zeroed memory holds values.
///
/// # Safety
/// All bits zero is a value, the alignment is at most a page's, and dropping does nothing.
pub unsafe trait Plain: Copy {}

// SAFETY: integers of all zeroes are values.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: a double of all zeroes is 0.0.
unsafe impl Plain for f64 {}
// SAFETY: an array is its elements.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// A slice in a mapping of its own, which it owns.
pub struct Array<T: Plain> {
    base: NonNull<T>,
    count: usize,
}

impl<T: Plain> Array<T> {
    /// Maps `count` zeroed values; no page of them is touched yet.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let mapped = sys::mmap(count * size_of::<T>()).expect("room for an array");
        let base = NonNull::new(mapped.cast()).expect("mmap never answers address 0");
        Self { base, count }
    }

    /// Maps `count` zeroed values and locks them.
    ///
    /// # Panics
    /// If the kernel refuses.
    #[must_use]
    pub fn locked(count: usize) -> Self {
        let array = Self::new(count);
        array.lock().expect("mlock of an array");
        array
    }

    /// Locks all of it into memory.
    ///
    /// # Errors
    /// The kernel's.
    pub fn lock(&self) -> Result<(), Errno> {
        let (at, bytes) = self.span();
        sys::mlock(at, bytes)
    }

    /// Frees the memory of some values; they are zero again.
    ///
    /// # Panics
    /// If the range is not in the array, or does not lie on whole pages.
    pub fn discard(&mut self, range: Range<usize>) {
        let values = &mut self[range];
        let (at, bytes) = (values.as_mut_ptr() as usize, size_of_val(values));
        // SAFETY: the values are borrowed exclusively and become zero, which is a value
        // (`Plain`).
        let discarded = unsafe { sys::call(number::MADVISE, [at, bytes, MADV_DONTNEED, 0, 0, 0]) };
        assert_eq!(discarded, Ok(0), "madvise of an own mapping");
    }

    /// The address and size in bytes, for system calls.
    #[must_use]
    pub fn span(&self) -> (*const u8, usize) {
        (self.base.as_ptr().cast(), self.count * size_of::<T>())
    }
}

impl<T: Plain> Deref for Array<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the mapping holds `count` values, since zeroes are values (`Plain`), and
        // no other value has its address.
        unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.count) }
    }
}

impl<T: Plain> DerefMut for Array<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the exclusive borrow of `self` makes this one exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr(), self.count) }
    }
}

impl<T: Plain> Drop for Array<T> {
    fn drop(&mut self) {
        let (at, bytes) = self.span();
        // SAFETY: no borrow of the mapping outlives the value that owns it.
        let unmapped = unsafe { sys::munmap(at.cast_mut(), bytes) };
        assert_eq!(unmapped, Ok(()), "munmap of an own mapping");
    }
}
