//! Shrinkers: the caches that are no pages on lists, scanned in proportion to these (SHRK-01).
//!
//! Data: the registered shrinkers, which stay, each with the work that was deferred. The first of them
//! is the crate's own, of the nodes that hold nothing but the shadows of evicted pages of files.
//!
//! They run in global reclaim, once for each round over the class zone, with the pages that this has
//! looked at and those on the zone's lists. Locks: the shrinkers' own.
//!
//! Counterpart in Linux: `shrink_slab`, `do_shrink_slab`.

use super::shrink_math::to_scan;
use super::{Reclaim, ScanRequest};
use crate::base::sync::{AtomicU32, AtomicU64, Once, Ordering};
use crate::env::{Env, Shrinker, Shrunk};
use crate::file::Files;
use crate::file::shadow::surplus_nodes;
use crate::page::LruList;
use crate::zone::gfp::Gfp;
use crate::zone::{Zone, ZoneId};

/// The most shrinkers that a kernel can register.
pub const MOST_SHRINKERS: usize = 8;

/// There are as many shrinkers as there can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooManyShrinkers;

/// The registered shrinkers.
pub(super) struct Shrinkers<'m> {
    slots: [Once<&'m dyn Shrinker>; MOST_SHRINKERS],
    taken: AtomicU32,
    /// Work deferred, by shrinker; the crate's own is the last.
    deferred: [AtomicU64; MOST_SHRINKERS + 1],
}

impl<'m> Shrinkers<'m> {
    pub(super) fn new() -> Self {
        Self {
            slots: [const { Once::new() }; MOST_SHRINKERS],
            taken: AtomicU32::new(0),
            deferred: [const { AtomicU64::new(0) }; MOST_SHRINKERS + 1],
        }
    }
}

/// The crate's own shrinker: nodes of shadows, beyond those that memory is large enough for.
struct ShadowNodes<'a, 'm, E: Env> {
    files: &'a Files<'m, E>,
    /// Pages that these are compared with.
    pages: u32,
}

impl<E: Env> Shrinker for ShadowNodes<'_, '_, E> {
    fn count(&self, _gfp: Gfp) -> u64 {
        surplus_nodes(self.files.shadow_nodes(), self.pages).into()
    }

    fn scan(&self, objects: u64, _gfp: Gfp) -> Option<Shrunk> {
        let frames = || self.files.nodes().usage().1;
        let before = frames();
        self.files.drop_shadow_nodes(objects as u32);
        let pages = before.saturating_sub(frames()).into();
        Some(Shrunk { scanned: objects, pages })
    }

    /// Shadows cost nothing to do without.
    fn seeks(&self) -> u32 {
        0
    }
}

impl<'m, E: Env> Reclaim<'m, E> {
    /// Registers a cache that is to be scanned from now on.
    ///
    /// # Errors
    /// If there are as many as there can be.
    pub(crate) fn register_shrinker(
        &self,
        shrinker: &'m dyn Shrinker,
    ) -> Result<(), TooManyShrinkers> {
        let Shrinkers { slots, taken, .. } = &self.shrinkers;
        let at = taken.fetch_add(1, Ordering::Relaxed) as usize;
        let slot = slots.get(at).ok_or(TooManyShrinkers)?;
        slot.call_once(|| shrinker);
        Ok(())
    }

    /// Whether the shrinkers run for this zone: it is the highest that the request may use.
    pub(super) fn is_class_zone(&self, zone: ZoneId, request: &ScanRequest) -> bool {
        let class = self.zones.zonelist(request.class).next();
        request.is_global() && class.is_some_and(|class| class.id() == zone)
    }

    /// Scans the registered caches, after a round that looked at `scanned` pages of the zone; returns
    /// the pages that they freed.
    pub(super) fn shrink_slab(&self, zone: &Zone<'m, E::Cpu>, gfp: Gfp, scanned: u32) -> u64 {
        if self.shrinkers.taken.load(Ordering::Relaxed) == 0 && self.files.shadow_nodes() == 0 {
            return 0;
        }
        let on_lists = |list: &LruList| self.lru.set.total(*list);
        let pages = LruList::EVICTABLE.iter().map(on_lists).sum();
        let of_zone: u32 = self
            .lru
            .set
            .of_zone(zone.id())
            .map(|lruvec| LruList::EVICTABLE.iter().map(|list| lruvec.size(*list)).sum::<u32>())
            .sum();
        let own = ShadowNodes { files: self.files, pages };
        let own: &dyn Shrinker = &own;
        let Shrinkers { slots, deferred, .. } = &self.shrinkers;
        let others = slots.iter().map_while(|slot| slot.get().copied());
        let mut freed = 0;
        for (shrinker, deferred) in others.zip(deferred) {
            freed += do_shrink_slab(shrinker, deferred, gfp, scanned, of_zone);
        }
        freed + do_shrink_slab(own, &deferred[MOST_SHRINKERS], gfp, scanned, of_zone)
    }
}

/// One call of one shrinker; returns the pages that it freed.
fn do_shrink_slab(
    shrinker: &dyn Shrinker,
    deferred: &AtomicU64,
    gfp: Gfp,
    scanned: u32,
    list_pages: u32,
) -> u64 {
    let objects = shrinker.count(gfp);
    if objects == 0 {
        return 0;
    }
    let before = deferred.swap(0, Ordering::Relaxed);
    let (seeks, batch) = (shrinker.seeks(), shrinker.batch());
    let mut work = to_scan(objects, scanned.into(), list_pages.into(), seeks, before, batch);
    let mut freed = 0;
    while let Some(next) = work.next() {
        let Some(did) = shrinker.scan(next, gfp) else { break };
        // A shrinker that scans nothing must not be asked for ever.
        work.note_scanned(did.scanned.max(1));
        freed += did.pages;
    }
    deferred.fetch_add(work.deferred, Ordering::Relaxed);
    freed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::AtomicBool;

    /// A cache that notes what it is asked for.
    struct Cache {
        objects: AtomicU64,
        scanned: AtomicU64,
        refuses: AtomicBool,
    }

    impl Cache {
        fn new(objects: u64) -> Self {
            let (objects, scanned) = (AtomicU64::new(objects), AtomicU64::new(0));
            Self { objects, scanned, refuses: AtomicBool::new(false) }
        }
    }

    impl Shrinker for Cache {
        fn count(&self, _gfp: Gfp) -> u64 {
            self.objects.load(Ordering::Relaxed)
        }

        fn scan(&self, objects: u64, gfp: Gfp) -> Option<Shrunk> {
            assert!(objects <= 128, "more than a batch");
            if self.refuses.load(Ordering::Relaxed) && !gfp.contains(Gfp::FS) {
                return None;
            }
            self.scanned.fetch_add(objects, Ordering::Relaxed);
            Some(Shrunk { scanned: objects, pages: objects / 16 })
        }
    }

    /// SHRK-01: a cache is scanned in proportion to the lists; what it refuses is deferred, and done
    /// when it may.
    #[test]
    fn refused_work_is_done_later() {
        let (cache, deferred) = (Cache::new(10_000), AtomicU64::new(0));
        let call = |gfp| do_shrink_slab(&cache, &deferred, gfp, 320, 10_000);
        // 4 × 320 / 2 of 10,001 pages: 639 objects, of which 4 batches are scanned now.
        assert_eq!(call(Gfp::KERNEL), 32);
        assert_eq!(cache.scanned.load(Ordering::Relaxed), 512);
        assert_eq!(deferred.load(Ordering::Relaxed), 639 - 512);
        cache.refuses.store(true, Ordering::Relaxed);
        assert_eq!(call(Gfp::NOFS), 0);
        assert_eq!(deferred.load(Ordering::Relaxed), 639 - 512 + 639);
        call(Gfp::KERNEL);
        assert_eq!(cache.scanned.load(Ordering::Relaxed), 512 + 1280);
    }

    /// SHRK-01: an empty cache is not scanned.
    #[test]
    fn an_empty_cache_is_left_alone() {
        let (cache, deferred) = (Cache::new(0), AtomicU64::new(77));
        assert_eq!(do_shrink_slab(&cache, &deferred, Gfp::KERNEL, 1000, 1000), 0);
        assert_eq!(cache.scanned.load(Ordering::Relaxed), 0);
    }
}
