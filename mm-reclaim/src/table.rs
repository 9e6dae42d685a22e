//! Fixed tables of objects, named by 32-bit handles.
//!
//! Address spaces, areas and anon families live in tables whose memory is handed over at
//! boot: nothing is allocated later, a handle always leads to a valid object of its type,
//! and a full table is an answer, not a crash. A handle is an index plus one, so that zero
//! means "none" in a page descriptor. The free slots form a list inside the slots, under
//! one lock that nests inside every other lock.
//!
//! Objects are never moved or dropped; their fields are atomics or locks. An object that
//! was given back and taken again is the same memory: who reaches it by a stale handle
//! finds a valid object and must recheck what it holds.

use crate::env::Cpu;
use crate::lock_order::TABLE;
use crate::sync::{AtomicU32, Lock, Ordering};

/// A table's objects, with room for the list of free slots.
pub(crate) struct Slot<T> {
    /// The next free slot's handle, while this one is free.
    next_free: AtomicU32,
    value: T,
}

impl<T> Slot<T> {
    /// A free slot with a blank object.
    pub(crate) const fn new(value: T) -> Self {
        Self { next_free: AtomicU32::new(0), value }
    }
}

struct Free {
    first: u32,
}

/// A table of `T`s.
pub(crate) struct Table<'m, C: Cpu, T> {
    slots: &'m [Slot<T>],
    free: Lock<C, Free, TABLE>,
}

impl<'m, C: Cpu, T> Table<'m, C, T> {
    /// A table with every slot free.
    pub(crate) fn new(slots: &'m [Slot<T>]) -> Self {
        for (i, slot) in slots.iter().enumerate() {
            let next = if i + 1 < slots.len() { i as u32 + 2 } else { 0 };
            slot.next_free.store(next, Ordering::Relaxed);
        }
        let first = u32::from(!slots.is_empty());
        Self { slots, free: Lock::new(Free { first }) }
    }

    /// Takes a free slot; its object is as its last owner left it.
    pub(crate) fn take(&self) -> Option<(u32, &'m T)> {
        let mut free = self.free.lock();
        let handle = free.first;
        let slot = self.slots.get((handle as usize).checked_sub(1)?)?;
        free.first = slot.next_free.load(Ordering::Relaxed);
        Some((handle, &slot.value))
    }

    /// Gives a slot back.
    pub(crate) fn give(&self, handle: u32) {
        let slot = &self.slots[handle as usize - 1];
        let mut free = self.free.lock();
        slot.next_free.store(free.first, Ordering::Relaxed);
        free.first = handle;
    }

    /// The object that `handle` names.
    ///
    /// # Panics
    /// If no slot has that handle.
    #[inline(always)]
    pub(crate) fn at(&self, handle: u32) -> &'m T {
        &self.slots[(handle as usize).wrapping_sub(1)].value
    }

    /// The object that `handle` names, if any does.
    pub(crate) fn get(&self, handle: u32) -> Option<&'m T> {
        Some(&self.slots.get((handle as usize).checked_sub(1)?)?.value)
    }

    /// Every object with its handle, in use or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &'m T)> {
        self.slots.iter().enumerate().map(|(i, slot)| (i as u32 + 1, &slot.value))
    }
}

#[cfg(test)]
mod tests;
