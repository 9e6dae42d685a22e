//! A list of fixed capacity.

use core::fmt;
use core::ops::Deref;

/// Up to `N` values in their order; it dereferences to a slice.
#[derive(Clone)]
pub struct List<T, const N: usize> {
    slots: [T; N],
    len: usize,
}

impl<T: Copy + Default, const N: usize> List<T, N> {
    /// An empty list.
    pub fn new() -> Self {
        Self { slots: [T::default(); N], len: 0 }
    }

    /// Appends a value, unless the list is full.
    ///
    /// # Errors
    /// Returns the value if there are `N` already.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        let slot = self.slots.get_mut(self.len).ok_or(value)?;
        *slot = value;
        self.len += 1;
        Ok(())
    }
}

impl<T: Copy + Default, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const N: usize> Deref for List<T, N> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.slots[..self.len]
    }
}

impl<T: PartialEq, const N: usize> PartialEq for List<T, N> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq, const N: usize> Eq for List<T, N> {}

impl<T: fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
