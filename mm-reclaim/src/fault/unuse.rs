//! `swapoff`: reads every page of a device back in, or fails and loses nothing (SWAP-01).
//!
//! From the start the device allocates no more slots, so the number in use only falls: each slot is
//! named by page-table entries or the index of shared memory, by a page in the swap cache, or both.
//! Round by round every address space is walked and each entry of the device resolved as by a fault,
//! and every file of shared memory likewise; then the slots of pages left in the cache are freed. A round may miss entries that a fork copies behind it; the next one
//! finds them.
//!
//! It fails if there is no room for all pages, if memory runs out nevertheless (the caller
//! reclaims, but no process is killed), if a page cannot be read, or if the caller is killed. The
//! device is then in use as before, with fewer slots in use.
//!
//! At the end it waits for the faults of each space, one of which may be reading a block that was
//! in use when it began.
//!
//! Locks: those of a fault; the area lock of one space at a time.
//!
//! Counterpart in Linux: `try_to_unuse`.

use core::ops::Range;

use super::{Access, FaultEnd, Faults, Need, Patience, Site};
use crate::base::sync::Ordering;
use crate::base::units::{Nanos, Vpn};
use crate::base::wait::nap;
use crate::block::DeviceId;
use crate::env::{Env, PageTables, Pte, TaskFlags, Tasks, WaitEnd};
use crate::filemap::FileError;
use crate::space::SpaceOf;
use crate::swap::{NotPresent, SwapDevice, SwapEntry};

/// Why a device stays in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwapOffError {
    /// It is not in use, or another task is draining it.
    NotOn,
    /// There is no room for all its pages.
    NoMemory {
        /// Pages on the device.
        pages: u32,
        /// Pages of memory and of other devices that were free.
        room: u32,
    },
    /// A page could not be read; it is still on the device.
    Read {
        /// Where.
        slot: u32,
    },
    /// The caller was killed.
    Killed,
}

/// How long to wait for the present users of the last slots.
const ROUND_NAP: Nanos = Nanos::from_millis(1);

impl<'m, E: Env> Faults<'m, E> {
    /// Takes a device out of use. Its place and its memory for slots stay its own:
    /// `Mm::swapon_again`.
    ///
    /// # Errors
    /// If it is not in use or its pages cannot all be read in; those that were stay in memory, the
    /// others on the device, which is in use as before.
    pub fn swapoff(&self, id: DeviceId) -> Result<(), SwapOffError> {
        let found = self.swap.devices().find(|(_, d)| d.id == id);
        let (at, device) = found.ok_or(SwapOffError::NotOn)?;
        if !device.begin_drain() {
            return Err(SwapOffError::NotOn);
        }
        let end = self.try_to_unuse(at, device);
        match end {
            Ok(()) => device.end_drain(),
            Err(_) => device.cancel_drain(),
        }
        end
    }

    fn try_to_unuse(&self, at: usize, device: &SwapDevice<'m, E::Cpu>) -> Result<(), SwapOffError> {
        // The other devices: this one allocates no more slots.
        let (pages, room) = (device.used(), self.zones.total_free() + self.swap.pages().1);
        if pages > room {
            return Err(SwapOffError::NoMemory { pages, room });
        }
        while device.next_in_use(0).is_some() {
            for held in self.spaces.iter() {
                if held.space.stat().swapped > 0 {
                    self.unuse_space(held.space, at, device)?;
                }
            }
            self.unuse_shared_memory(at, device)?;
            self.unuse_cache(at, device)?;
            if device.next_in_use(0).is_some()
                && nap(self.env.tasks(), ROUND_NAP, true) == WaitEnd::Killed
            {
                return Err(SwapOffError::Killed);
            }
        }
        self.wait_for_direct_reads();
        Ok(())
    }

    /// No entry is left, but a fault that saw one may still be reading its block (`direct.rs`): it
    /// has the area lock.
    fn wait_for_direct_reads(&self) {
        for held in self.spaces.iter() {
            drop(held.space.areas.lock(self.env.tasks()));
        }
    }

    /// Brings back the pages of shared memory.
    fn unuse_shared_memory(
        &self,
        at: usize,
        device: &SwapDevice<'m, E::Cpu>,
    ) -> Result<(), SwapOffError> {
        self.filemap.unuse_shared(at).map_err(|(error, slot)| match error {
            FileError::NoMemory => self.why_not(device),
            FileError::Killed => SwapOffError::Killed,
            _ => SwapOffError::Read { slot },
        })
    }

    /// Resolves every entry of the device in one address space.
    fn unuse_space(
        &self,
        space: &'m SpaceOf<'m, E>,
        at: usize,
        device: &SwapDevice<'m, E::Cpu>,
    ) -> Result<(), SwapOffError> {
        let areas =
            space.areas.lock_shared_killable(self.env.tasks()).ok_or(SwapOffError::Killed)?;
        for place in areas.iter() {
            let area = place.view();
            let mut from = area.start;
            while let Some((vpn, entry)) = self.entry_on(space, from..area.end, at) {
                from = vpn;
                // A victim's pages are about to be freed, and the reaper needs the lock.
                if space.dying.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let site = Site { space, place, area, vpn, access: Access::Read };
                match self.swap_fault(site, entry, Need::Unuse, Patience::Waited) {
                    Ok(FaultEnd::Minor | FaultEnd::Major) => {}
                    Ok(FaultEnd::BadAddress | FaultEnd::BusError) => {
                        return Err(SwapOffError::Read { slot: entry.slot() });
                    }
                    Ok(FaultEnd::Killed) | Err(_) => return Err(self.why_not(device)),
                }
                self.env.tasks().yield_now();
            }
        }
        Ok(())
    }

    /// The first entry in `range` that names a slot of the device at `at`.
    fn entry_on(
        &self,
        space: &SpaceOf<'m, E>,
        range: Range<Vpn>,
        at: usize,
    ) -> Option<(Vpn, SwapEntry)> {
        let mut from = range.start;
        let locked = space.tables.lock();
        let tables = locked.as_ref()?;
        while let Some((vpn, pte)) = tables.next_entry(from, range.end) {
            if let Pte::NotPresent(word) = pte {
                let NotPresent::Swap(entry) = NotPresent::decode(word);
                if entry.device() == at {
                    return Some((vpn, entry));
                }
            }
            from = vpn + 1;
        }
        None
    }

    /// Frees the slots of pages in the cache that no page-table entry names.
    fn unuse_cache(&self, at: usize, device: &SwapDevice<'m, E::Cpu>) -> Result<(), SwapOffError> {
        let mut from = 0;
        while let Some(slot) = device.next_in_use(from) {
            from = slot + 1;
            let Some(held) = self.swap.lookup(SwapEntry::new(at, slot)) else { continue };
            let waited = self.zones.wait_on_page_writeback(held.page());
            let locked = self.zones.lock_page(&held);
            if let Ok(lock) = locked {
                self.swap.try_to_free_swap(&lock);
                self.zones.unlock(lock);
            }
            self.lru.put(held);
            if waited == WaitEnd::Killed || self.is_caller_dying() {
                return Err(SwapOffError::Killed);
            }
        }
        Ok(())
    }

    fn is_caller_dying(&self) -> bool {
        self.env.tasks().flags().contains(TaskFlags::DYING)
    }

    /// The error if there was no memory for a page.
    fn why_not(&self, device: &SwapDevice<'m, E::Cpu>) -> SwapOffError {
        if self.is_caller_dying() {
            return SwapOffError::Killed;
        }
        SwapOffError::NoMemory { pages: device.used(), room: self.zones.total_free() }
    }
}
