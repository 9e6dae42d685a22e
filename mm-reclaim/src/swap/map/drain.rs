//! Taking a device into use and out of use.
//!
//! ```text
//!   Off --start--> On --begin_drain--> Draining --end_drain--> Off
//!                   ^                     |
//!                   +----cancel_drain-----+
//! ```
//!
//! Slots are allocated only while a device is on, which is checked under the search lock: once it
//! is draining, the number of slots in use only falls. A device that is off has no slot in use, so
//! its table can be laid out again, for a header that may have changed.

use super::{SlotState, SwapDevice};
use crate::base::sync::Ordering;
use crate::env::Cpu;

/// Whether a device is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum DeviceUse {
    /// Every slot is free, and none is allocated.
    Off,
    /// Slots are allocated.
    On,
    /// Its pages are being read back: no slots are allocated.
    Draining,
}

impl<C: Cpu> SwapDevice<'_, C> {
    /// Whether slots are allocated.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        self.state.load(Ordering::Relaxed) == DeviceUse::On as u8
    }

    /// Whether it is on, or its pages are being read back.
    pub(crate) fn is_in_use(&self) -> bool {
        self.state.load(Ordering::Relaxed) != DeviceUse::Off as u8
    }

    /// Of the devices that are on, the one with the highest priority is used first.
    pub(crate) fn priority(&self) -> i16 {
        self.priority.load(Ordering::Relaxed).cast_signed()
    }

    /// Moves from one state to the next; false if the device is in another.
    fn step(&self, from: DeviceUse, to: DeviceUse) -> bool {
        let _search = self.search.lock();
        let is_there = self.state.load(Ordering::Relaxed) == from as u8;
        if is_there {
            self.state.store(to as u8, Ordering::Relaxed);
        }
        is_there
    }

    /// Stops the allocation of slots; false if the device is not on.
    pub(crate) fn begin_drain(&self) -> bool {
        self.step(DeviceUse::On, DeviceUse::Draining)
    }

    /// Slots are allocated again; the remaining pages stay in swap.
    pub(crate) fn cancel_drain(&self) {
        let was = self.step(DeviceUse::Draining, DeviceUse::On);
        debug_assert!(was, "only the task that drains a device may cancel it");
    }

    /// No slot is in use any more.
    pub(crate) fn end_drain(&self) {
        debug_assert_eq!(self.next_in_use(0), None, "a drained device has no slot in use");
        let was = self.step(DeviceUse::Draining, DeviceUse::Off);
        debug_assert!(was, "only the task that drains a device may end it");
    }

    /// The first slot from `from` that a page-table entry names or a page is cached in.
    pub(crate) fn next_in_use(&self, from: u32) -> Option<u32> {
        (from..self.blocks()).find(|slot| self.state(*slot).is_in_use())
    }

    /// Slots in use; those that are retired are not.
    pub(crate) fn used(&self) -> u32 {
        self.iter().filter(|(_, state)| state.is_in_use()).count() as u32
    }

    /// Lays the slots out and allows their allocation from now on: of `blocks` slots, 0 (the
    /// header) and `bad` are never used, nor is what the table has beyond. False if the device is
    /// not off.
    pub(crate) fn start(&self, priority: i16, blocks: u32, bad: impl Iterator<Item = u32>) -> bool {
        let mut search = self.search.lock();
        if self.state.load(Ordering::Relaxed) != DeviceUse::Off as u8 {
            return false;
        }
        let mut usable = self.blocks();
        self.slots.iter().for_each(|s| s.0.store(SlotState::FREE.encode(), Ordering::Relaxed));
        self.clusters.iter().chain(self.groups).for_each(|c| c.0.store(0, Ordering::Relaxed));
        for slot in core::iter::once(0).chain(bad).chain(blocks..self.blocks()) {
            let was = self.slots[slot as usize].0.swap(SlotState::BAD.encode(), Ordering::Relaxed);
            if was == SlotState::FREE.encode() {
                self.note_used(slot);
                usable -= 1;
            }
        }
        search.next = 1;
        self.usable.store(usable, Ordering::Relaxed);
        self.free.store(usable, Ordering::Relaxed);
        self.priority.store(priority.cast_unsigned(), Ordering::Relaxed);
        self.state.store(DeviceUse::On as u8, Ordering::Relaxed);
        true
    }
}
