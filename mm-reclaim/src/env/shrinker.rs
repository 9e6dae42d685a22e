//! Caches of a kernel's own that reclaim can make smaller.

use crate::base::gfp::Gfp;

/// What a call of [`Shrinker::scan`] has done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shrunk {
    /// Objects scanned, freed or not.
    pub scanned: u64,
    /// Pages that went back to the allocator.
    pub pages: u64,
}

/// A cache of small objects, which reclaim scans in proportion to the lists of pages
/// ([`Mm::register_shrinker`](crate::Mm::register_shrinker)).
///
/// It is called in the task that reclaims, with no lock held, and may free memory but not allocate
/// any.
#[doc(alias = "shrinker")]
pub trait Shrinker: Sync {
    /// Objects that could be freed at this moment.
    #[doc(alias = "count_objects")]
    fn count(&self, gfp: Gfp) -> u64;

    /// Scans `objects` objects, and frees those that are not in use. `None` if it must not do so for a
    /// request with these flags: the work is then done at a later call.
    #[doc(alias = "scan_objects")]
    fn scan(&self, objects: u64, gfp: Gfp) -> Option<Shrunk>;

    /// What it costs to make an object again, where a page costs 1; 0 if nothing.
    fn seeks(&self) -> u32 {
        2
    }

    /// Objects to scan at a time.
    fn batch(&self) -> u64 {
        128
    }
}
