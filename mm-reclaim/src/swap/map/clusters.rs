//! Which slot is taken next: neighbours in time are to be neighbours on the device.
//!
//! Data: for each cluster of 256 slots how many are in use, and for each group of 64 clusters how
//! many of them are used at all and how many are full. A search goes from the current cluster on;
//! it passes over a group that has nothing for it by one word, so that its length is that of 64 MiB
//! of swap and not of all.
//!
//! Lock: the device's search lock, for every change.

use core::ops::Range;

use super::{CLUSTER, SwapDevice};
use crate::base::sync::{AtomicU64, Ordering};
use crate::env::Cpu;

/// Clusters in a group: 64 MiB of swap.
pub(super) const GROUP: usize = 64;
/// In a group's word: one more cluster that is used at all.
const USED: u64 = 1 << 32;
/// In a group's word: one more cluster that is full.
const FULL: u64 = 1;
/// Slots in use in a cluster with one left.
const LAST_FREE: u64 = CLUSTER as u64 - 1;

impl<C: Cpu> SwapDevice<'_, C> {
    /// The next free slot: in the current cluster, else in an empty one, else anywhere.
    #[inline]
    pub(super) fn find_free(&self, next: u32) -> Option<u32> {
        let is_free = |slot: &u32| {
            self.slots.get(*slot as usize).is_some_and(|s| s.0.load(Ordering::Relaxed) == 0)
        };
        if !next.is_multiple_of(CLUSTER) && is_free(&next) {
            return Some(next);
        }
        self.search_clusters(next, is_free)
    }

    #[cold]
    fn search_clusters(&self, next: u32, is_free: impl Fn(&u32) -> bool) -> Option<u32> {
        let used = |c: &usize| self.clusters[*c].0.load(Ordering::Relaxed);
        let slots = |c: usize| c as u32 * CLUSTER..(c as u32 + 1) * CLUSTER;
        let current = next as usize / CLUSTER as usize % self.clusters.len();
        let rest = (next..slots(current).end).find(&is_free);
        rest.filter(|_| !next.is_multiple_of(CLUSTER))
            .or_else(|| {
                let some_empty = |run: &Range<usize>| self.group_of(run).0 < GROUP as u32;
                let mut clusters = self.runs(current).filter(some_empty).flatten();
                clusters.find(|c| used(c) == 0).and_then(|c| slots(c).find(&is_free))
            })
            .or_else(|| {
                let some_room = |run: &Range<usize>| self.group_of(run).1 < GROUP as u32;
                let clusters = self.runs(current).filter(some_room).flatten();
                let with_room = clusters.filter(|c| used(c) < u64::from(CLUSTER));
                with_room.into_iter().find_map(|c| slots(c).find(&is_free))
            })
    }

    /// All clusters from `current` on, and then those before it, in runs of one group each.
    fn runs(&self, current: usize) -> impl Iterator<Item = Range<usize>> {
        let (count, first) = (self.clusters.len(), current / GROUP);
        let run = move |group: usize| group * GROUP..((group + 1) * GROUP).min(count);
        let (here, groups) = (run(first), self.groups.len());
        core::iter::once(current..here.end)
            .chain((first + 1..groups).chain(0..first).map(run))
            .chain(core::iter::once(here.start..current))
    }

    /// How many clusters of the group that a run lies in are used at all, and how many are full.
    fn group_of(&self, run: &Range<usize>) -> (u32, u32) {
        let word = self.groups.get(run.start / GROUP).map_or(0, |g| g.0.load(Ordering::Relaxed));
        ((word >> 32) as u32, word as u32)
    }

    /// One more slot of its cluster is used. For the holder of the search lock.
    #[inline(always)]
    pub(super) fn note_used(&self, slot: u32) {
        let cluster = &self.clusters[(slot / CLUSTER) as usize].0;
        let was = cluster.load(Ordering::Relaxed);
        cluster.store(was + 1, Ordering::Relaxed);
        if was == 0 || was == LAST_FREE {
            let turn = if was == 0 { USED } else { FULL };
            self.group(slot).fetch_add(turn, Ordering::Relaxed);
        }
    }

    /// Undoes [`SwapDevice::note_used`].
    #[inline(always)]
    pub(super) fn note_unused(&self, slot: u32) {
        let cluster = &self.clusters[(slot / CLUSTER) as usize].0;
        let now = cluster.load(Ordering::Relaxed) - 1;
        cluster.store(now, Ordering::Relaxed);
        if now == 0 || now == LAST_FREE {
            let turn = if now == 0 { USED } else { FULL };
            self.group(slot).fetch_sub(turn, Ordering::Relaxed);
        }
    }

    #[cold]
    fn group(&self, slot: u32) -> &AtomicU64 {
        &self.groups[slot as usize / CLUSTER as usize / GROUP].0
    }
}
