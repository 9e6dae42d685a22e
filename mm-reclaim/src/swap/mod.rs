//! Swap: entries, the table of slots, devices, and requests to them.
//!
//! Data: a device's slots live in one fixed table of 64-bit words, handed over with the
//! device. A word holds the use count (page-table entries that name the slot), the memory
//! control group, and either the frame of the page in the swap cache or the shadow that an
//! eviction left. The swap cache thus needs no tree and no allocation.
//!
//! Locks: a slot's word changes by compare-and-swap; the lock of a device guards the
//! search for free slots. It nests inside everything but the zone's.

mod cache;
pub mod entry;
pub mod header;
pub mod map;
mod on_off;
mod shared;
mod slots;
mod transfer;

pub(crate) use cache::Ahead;
pub use entry::{NotPresent, SwapEntry};
pub use header::HeaderError;
pub use map::{Slot, SwapDevice};
pub use on_off::SwapOnError;

use crate::base::lock_order::SWAPON;
use crate::base::stat::VmEvents;
use crate::base::sync::{AtomicU8, AtomicU32, Lock, Once, Ordering};
use crate::cache::Cache;
use crate::env::{Env, Pte};
use crate::file::Files;
use crate::lru::Lru;
use crate::page::memmap::MemMap;
use crate::zone::Zones;
use entry::MAX_SWAP_DEVICES;

impl From<NotPresent> for Pte {
    #[inline(always)]
    fn from(why: NotPresent) -> Self {
        Self::NotPresent(why.encode())
    }
}

/// The swap devices of the machine, and the pages that have slots.
pub(crate) struct Swap<'m, E: Env> {
    env: E,
    map: MemMap<'m>,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    cache: &'m Cache<'m, E>,
    files: &'m Files<'m, E>,
    events: &'m VmEvents<E::Cpu>,
    /// Devices by position; a position is taken once.
    devices: [Once<SwapDevice<'m, E::Cpu>>; MAX_SWAP_DEVICES],
    /// Positions that are taken.
    count: AtomicU32,
    /// The next position in the round-robin among equal priorities.
    turn: AtomicU32,
    /// The most pages of a read-ahead, as a power of two; 0 switches it off.
    page_cluster: AtomicU8,
    /// Held while a device is taken into use.
    on_off: Lock<E::Cpu, (), SWAPON>,
}

impl<'m, E: Env> Swap<'m, E> {
    /// No device yet.
    pub(crate) fn new(files: &'m Files<'m, E>) -> Self {
        let cache = files.cache;
        let (zones, lru) = (cache.zones, cache.lru);
        Self {
            env: zones.env,
            map: zones.map,
            zones,
            lru,
            cache,
            files,
            events: lru.events,
            devices: [const { Once::new() }; MAX_SWAP_DEVICES],
            count: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            page_cluster: AtomicU8::new(3),
            on_off: Lock::new(()),
        }
    }

    /// The most pages that a swap-in reads, as a power of two; 0 for just that one.
    pub(crate) fn page_cluster(&self) -> u8 {
        self.page_cluster.load(Ordering::Relaxed)
    }

    /// Sets [`Swap::page_cluster`].
    pub(crate) fn set_page_cluster(&self, cluster: u8) {
        self.page_cluster.store(cluster.min(5), Ordering::Relaxed);
    }
}
