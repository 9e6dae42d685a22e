//! The names of objects in pools.
//!
//! The type of a name says which pool it belongs to: the handle of an area is no handle of a
//! family. A [`HandleCell`] stores one, or none; the structure that contains it says which lock
//! guards it.

use core::fmt;
use core::num::NonZeroU32;

use crate::base::sync::{AtomicU32, Ordering};

/// The name of an object in the pool whose chunks are of `KIND`: its place in memory, in lines of
/// 64 bytes from the first frame of the memory map.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Handle<const KIND: u32>(NonZeroU32);

impl<const KIND: u32> Handle<KIND> {
    /// The handle that [`Handle::raw`] encoded; `None` for 0.
    #[inline(always)]
    pub(crate) const fn new(raw: u32) -> Option<Self> {
        match NonZeroU32::new(raw) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }

    /// The handle of the object in line `line`, which is not the first one: that holds the head of
    /// a chunk, or no chunk at all.
    #[inline(always)]
    pub(super) const fn of_line(line: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(line - 1))
    }

    /// The handle as a number, for a page that belongs to the object. Not 0.
    #[inline(always)]
    pub(crate) const fn raw(self) -> u32 {
        self.0.get()
    }
}

impl<const KIND: u32> fmt::Debug for Handle<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "handle {:#x}", self.0)
    }
}

/// Stores a handle, or none.
#[repr(transparent)]
pub(crate) struct HandleCell<const KIND: u32>(AtomicU32);

impl<const KIND: u32> HandleCell<KIND> {
    /// An empty cell.
    pub(crate) const fn none() -> Self {
        Self(AtomicU32::new(0))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Option<Handle<KIND>> {
        Handle::new(self.0.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn put(&self, handle: Option<Handle<KIND>>) {
        self.0.store(handle.map_or(0, Handle::raw), Ordering::Relaxed);
    }
}
