//! Which device a slot comes from (SWAP-02), and how full swap is.

use super::{Swap, SwapDevice, SwapEntry};
use crate::base::sync::Ordering;
use crate::base::units::Pfn;
use crate::block::DeviceId;
use crate::env::{BlockDevice, Env};

impl<'m, E: Env> Swap<'m, E> {
    /// The devices that are or were in use, with their positions.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (usize, &SwapDevice<'m, E::Cpu>)> {
        let count = self.count.load(Ordering::Acquire) as usize;
        self.devices[..count].iter().enumerate().filter_map(|(i, d)| Some((i, d.get()?)))
    }

    #[inline(always)]
    pub(crate) fn device(&self, entry: SwapEntry) -> &SwapDevice<'m, E::Cpu> {
        self.devices[entry.device()].get().expect("an entry of a device in use")
    }

    /// All and free swap slots of the devices that are on.
    pub fn pages(&self) -> (u32, u32) {
        let on = self.devices().filter(|(_, d)| d.is_on());
        on.fold((0, 0), |(t, f), (_, d)| (t + d.usable(), f + d.free()))
    }

    /// Whether a device is in use for swap; one that is being taken out of use still is.
    pub fn is_in_use(&self, device: DeviceId) -> bool {
        self.devices().any(|(_, d)| d.id == device && d.is_in_use())
    }

    /// Whether a page could get a slot now.
    #[doc(alias = "get_nr_swap_pages")]
    #[inline]
    pub(crate) fn has_free(&self) -> bool {
        let has_free = |d: &SwapDevice<'m, E::Cpu>| d.is_on() && d.free() > 0;
        if self.count.load(Ordering::Acquire) > 1 {
            return self.devices().any(|(_, d)| has_free(d));
        }
        self.devices[0].get().is_some_and(has_free)
    }

    /// Whether more than half of swap is used, so that slots are freed early.
    #[doc(alias = "vm_swap_full")]
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        if self.count.load(Ordering::Acquire) > 1 {
            let (total, free) = self.pages();
            return free < total / 2;
        }
        self.devices[0].get().is_some_and(|d| d.is_on() && d.free() < d.usable() / 2)
    }

    /// Allocates a slot of the device with the highest priority that has one.
    #[doc(alias = "get_swap_pages")]
    #[inline(always)]
    pub(super) fn allocate_slot(&self, frame: Pfn, memcg: u16, uses: u32) -> Option<SwapEntry> {
        if self.count.load(Ordering::Acquire) > 1 {
            return self.allocate_among(frame, memcg, uses);
        }
        self.devices[0].get()?.allocate(frame, memcg, uses).map(|slot| SwapEntry::new(0, slot))
    }

    /// The highest priority first; equal priorities take turns.
    fn allocate_among(&self, frame: Pfn, memcg: u16, uses: u32) -> Option<SwapEntry> {
        let usable = || self.devices().filter(|(_, d)| d.is_on() && d.free() > 0);
        let best = usable().map(|(_, d)| d.priority()).max()?;
        let equal = || usable().filter(|(_, d)| d.priority() == best);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize % equal().count().max(1);
        let in_turn = equal().skip(turn).chain(equal().take(turn));
        in_turn.into_iter().find_map(|(at, device)| {
            device.allocate(frame, memcg, uses).map(|slot| SwapEntry::new(at, slot))
        })
    }

    /// Whether any device is congested.
    pub(crate) fn is_any_congested(&self) -> bool {
        self.devices().any(|(_, d)| self.env.blocks().is_congested(d.id))
    }
}
