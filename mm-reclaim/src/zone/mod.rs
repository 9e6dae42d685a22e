//! Zones: ranges of frames with an allocator, watermarks and a place in the fallback order.
//!
//! Data: a [`Zone`] owns the free blocks of its span. Its free count is mirrored in an
//! atomic, so that the watermark check of the fast path takes no lock. Spanned ≥ present ≥
//! managed: holes are spanned but not present, what the boot code kept is present but not managed.
//!
//! Locks: one spin lock per zone guards the buddy lists and nothing else. It nests inside every
//! other lock, and no other lock is taken while it is held.
//!
//! The zonelist is an order, not a table: a request of class zone `c` tries `c` and then
//! every zone below it. A lower zone holds back `lowmem_reserve` pages from requests that
//! could have been served higher up.

mod buddy;
pub mod gfp;
mod looks;
mod migrate;
mod page_wait;
mod partial;
mod pcp;
mod raw;
mod watermark;
mod zones;

pub use crate::boot::zoning::{FrameRange, MAX_ZONES, ZoneId, ZoneLimits};
pub use migrate::MigrateType;
pub use watermark::{
    FreeView, Mark, Reach, Watermarks, boost_after_fallback, min_free_kbytes, watermark_ok,
};

use bitflags::bitflags;

use crate::base::lock_order::ZONE;
use crate::base::sync::{AtomicU8, AtomicU32, AtomicU64, Lock, Ordering};
use crate::base::units::{Order, Pfn};
use crate::env::{Cpu, MAX_CPUS, WaitKey};
use crate::page::memmap::MemMap;
use crate::page::{FrozenPage, NewPage, Page};
use buddy::Buddy;
pub(crate) use partial::Pageblock;
pub(crate) use pcp::CpuLists;
pub(crate) use zones::Zones;

/// A zone reserves a 256th of the memory above it.
const LOWMEM_RESERVE_RATIO: u32 = 256;

bitflags! {
    /// What reclaim noticed about a zone.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ZoneFlags: u8 {
        /// The inactive tail is full of pages on a congested device.
        const CONGESTED = 1;
        /// The inactive tail is full of dirty pages that are not under write-back.
        const DIRTY = 2;
        /// The inactive tail is full of pages under write-back.
        const WRITEBACK = 4;
    }
}

/// One zone.
pub struct Zone<'m, C: Cpu> {
    id: ZoneId,
    span: FrameRange,
    present: u32,
    managed: AtomicU32,
    buddy: Lock<C, Buddy<'m>, ZONE>,
    /// Free pages; changed under the lock, read without it.
    free: AtomicU32,
    marks: [AtomicU32; 3],
    boost: AtomicU32,
    /// What the zone holds back from each class.
    reserve: [AtomicU32; MAX_ZONES],
    flags: AtomicU8,
    /// The per-CPU lists.
    pcp: &'m [CpuLists<'m>; MAX_CPUS],
    /// The tag of each pageblock: its migrate type, and [`SPARSE`]; changed under the buddy's
    /// lock.
    tags: &'m [AtomicU8],
    /// Where the descriptors of the first pageblock begin, even if that is below the zone.
    first_block: usize,
    /// Total pages allocated from and freed to the buddy; changed under its lock.
    taken: AtomicU64,
    given: AtomicU64,
    /// Total pages moved from the buddy to a CPU's list and back; changed under its lock.
    lent: AtomicU64,
    returned: AtomicU64,
    /// Base pages of this zone that reclaim looked at and freed, ever.
    scanned: AtomicU64,
    stolen: AtomicU64,
    /// Base pages that reclaim looked at since a page was last freed here.
    in_vain: AtomicU32,
    /// Buckets of the hashed wait table; a power of two.
    wait_buckets: u32,
    map: MemMap<'m>,
}

impl<'m, C: Cpu> Zone<'m, C> {
    pub(crate) fn new(
        id: ZoneId,
        span: FrameRange,
        present: u32,
        map: MemMap<'m>,
        (tags, blocks): (&'m [AtomicU8], &'m [Pageblock]),
        pcp: &'m [CpuLists<'m>; MAX_CPUS],
    ) -> Self {
        for tag in tags {
            tag.store(MigrateType::Movable as u8, Ordering::Relaxed);
        }
        Self {
            id,
            span,
            present,
            managed: AtomicU32::new(0),
            buddy: Lock::new(Buddy::new(map, span, tags, blocks)),
            free: AtomicU32::new(0),
            marks: [const { AtomicU32::new(0) }; 3],
            boost: AtomicU32::new(0),
            reserve: [const { AtomicU32::new(0) }; MAX_ZONES],
            flags: AtomicU8::new(0),
            pcp,
            tags,
            first_block: map.address(Pfn(span.start.0 & !(Order::PAGEBLOCK.pages() - 1))),
            taken: AtomicU64::new(0),
            given: AtomicU64::new(0),
            lent: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            scanned: AtomicU64::new(0),
            stolen: AtomicU64::new(0),
            in_vain: AtomicU32::new(0),
            wait_buckets: (span.pages() / 256).next_power_of_two().clamp(4, 4096),
            map,
        }
    }

    /// Which zone it is.
    pub fn id(&self) -> ZoneId {
        self.id
    }

    /// From its first to its last frame, holes included.
    pub fn span(&self) -> FrameRange {
        self.span
    }

    /// Frames that exist.
    pub fn present(&self) -> u32 {
        self.present
    }

    /// Frames given to the allocator.
    #[inline(always)]
    pub fn managed(&self) -> u32 {
        self.managed.load(Ordering::Relaxed)
    }

    /// Free pages.
    #[inline(always)]
    pub fn free(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    /// Pages on the per-CPU lists: free, but not counted in [`Zone::free`].
    pub fn pcp_pages(&self) -> u32 {
        self.pcp.iter().map(CpuLists::len).sum()
    }

    /// Total pages allocated and freed (`pgalloc`, `pgfree`).
    pub(crate) fn traffic(&self) -> (u64, u64) {
        let at = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let (taken, given) = self.pcp_traffic();
        (at(&self.taken) + taken, at(&self.given) + given)
    }

    /// Free blocks of an order, without those of the reserved and isolated types.
    pub fn free_blocks(&self, order: Order) -> u32 {
        self.buddy.lock().blocks_of(order)
    }

    /// Free blocks of an order and type (`/proc/pagetypeinfo`).
    pub fn free_blocks_of_type(&self, order: Order, kind: MigrateType) -> u32 {
        self.buddy.lock().blocks_of_type(order, kind)
    }

    /// The marks as they are, without boost: what an allocation may count on.
    pub fn watermarks(&self) -> Watermarks {
        let at = |mark: Mark| self.marks[mark as usize].load(Ordering::Relaxed);
        Watermarks { min: at(Mark::Min), low: at(Mark::Low), high: at(Mark::High) }
    }

    /// One mark as it is, without the boost.
    #[inline(always)]
    pub fn true_mark(&self, mark: Mark) -> u32 {
        self.marks[mark as usize].load(Ordering::Relaxed)
    }

    /// One mark, with the boost: below LOW kswapd is woken, up to HIGH it works.
    /// [`Zone::true_mark`] says how deep an allocation may go.
    #[inline(always)]
    pub fn mark(&self, mark: Mark) -> u32 {
        self.true_mark(mark) + self.boost.load(Ordering::Relaxed)
    }

    /// What the zone holds back from requests of `class`.
    #[inline(always)]
    pub fn lowmem_reserve(&self, class: ZoneId) -> u32 {
        self.reserve[class.index()].load(Ordering::Relaxed)
    }

    pub(crate) fn set_watermarks(&self, marks: Watermarks) {
        for mark in [Mark::Min, Mark::Low, Mark::High] {
            self.marks[mark as usize].store(marks.get(mark), Ordering::Relaxed);
        }
    }

    /// `above`: managed pages of the zones over this one, up to and with `class`.
    pub(crate) fn set_lowmem_reserve(&self, class: ZoneId, above: u32) {
        self.reserve[class.index()].store(above / LOWMEM_RESERVE_RATIO, Ordering::Relaxed);
    }

    /// Whether a block of `order` may be taken for a request of `class`.
    #[inline(always)]
    pub fn watermark_ok(&self, order: Order, mark: u32, class: ZoneId, reach: Reach) -> bool {
        let free = self.free();
        let reserve = self.lowmem_reserve(class);
        if order == Order::ZERO && free > mark + reserve {
            return true;
        }
        self.watermark_ok_slowly(order, mark, reserve, reach)
    }

    fn watermark_ok_slowly(&self, order: Order, mark: u32, reserve: u32, reach: Reach) -> bool {
        // The last pages may be on this CPU's list, which the free count does not include.
        if order == Order::ZERO && reach.contains(Reach::NO_WATERMARKS) {
            return true;
        }
        let blocks = |o: Order| self.free_blocks(o);
        watermark_ok(FreeView { free: self.free(), reserve, blocks: &blocks }, order, mark, reach)
    }

    /// What reclaim noticed.
    pub fn flags(&self) -> ZoneFlags {
        ZoneFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    pub(crate) fn set_flags(&self, flags: ZoneFlags) {
        self.flags.fetch_or(flags.bits(), Ordering::Relaxed);
    }

    pub(crate) fn clear_flags(&self, flags: ZoneFlags) {
        self.flags.fetch_and(!flags.bits(), Ordering::Relaxed);
    }

    /// The bucket of the zone's hashed wait table in which sleepers for `page` wait.
    ///
    /// Pages that share a bucket wake each other's sleepers, which test their page again.
    pub(crate) fn wait_key(&self, page: &Page) -> WaitKey {
        let hash = self.map.pfn(page).0.wrapping_mul(0x9E37_79B1) >> 16;
        let bucket = u64::from(hash & (self.wait_buckets - 1));
        WaitKey(1 << 63 | (self.id as u64) << 32 | bucket)
    }

    /// Mirrors the free count; for the holder of the lock. `delta` pages were added (or removed).
    #[inline(always)]
    fn publish(&self, delta: i32) {
        let free = self.free.load(Ordering::Relaxed).wrapping_add_signed(delta);
        self.free.store(free, Ordering::Relaxed);
        if delta > 0 {
            self.forget_vain_looks();
        }
    }

    /// Takes a block.
    pub(crate) fn take(&self, order: Order, kind: MigrateType) -> Option<NewPage<'m>> {
        let mut buddy = self.buddy.lock();
        let taken = buddy.take(order, kind)?;
        self.publish(-(order.pages() as i32));
        note(&self.taken, order.pages());
        drop(buddy);
        if taken.fell_back {
            self.boost();
        }
        Some(NewPage::fresh(taken.page))
    }

    /// One type stole from another: boosts the marks, because more free pages help grouping.
    #[cold]
    fn boost(&self) {
        let high = self.marks[Mark::High as usize].load(Ordering::Relaxed);
        let boost = self.boost.load(Ordering::Relaxed);
        self.boost.store(boost_after_fallback(boost, high, self.managed()), Ordering::Relaxed);
    }

    /// Removes the boost after kswapd has freed as much.
    pub(crate) fn clear_boost(&self) {
        self.boost.store(0, Ordering::Relaxed);
    }

    /// Frees frozen pages in one go.
    pub(crate) fn give_batch(&self, pages: impl Iterator<Item = FrozenPage<'m>>) {
        let mut buddy = self.buddy.lock();
        let count = buddy.give_frames(pages.map(|frozen| self.map.pfn(self.sound(frozen))));
        self.publish(count as i32);
        note(&self.given, count);
    }

    /// Frees a frozen block; `page` is its first page.
    pub(crate) fn give(&self, page: FrozenPage<'m>, order: Order) {
        let pfn = self.map.pfn(self.sound(page));
        let mut buddy = self.buddy.lock();
        buddy.give(pfn, order);
        self.publish(order.pages() as i32);
        note(&self.given, order.pages());
    }

    /// Clears the state of a page that is about to be free.
    ///
    /// # Panics
    /// If the page is still in use somewhere, or free already.
    #[inline(always)]
    fn sound(&self, frozen: FrozenPage<'m>) -> &'m Page {
        let page = frozen.leak();
        if !page.prepare_free() {
            self.complain(page);
        }
        page
    }

    #[cold]
    fn complain(&self, page: &Page) -> ! {
        panic!("bad page at free, {:?}: {page:?}", self.map.pfn(page));
    }

    /// Hands a range over from the boot allocator, in the largest blocks that fit.
    ///
    /// # Panics
    /// If a frame is no memory, or was handed over before.
    pub(crate) fn free_bootmem(&self, range: FrameRange) {
        let pages = self.map.run(self.map.page(range.start), range.pages());
        let refused = |page: &Page| !page.unreserve();
        // Every frame of the machine passes here at boot: several in a round.
        let (rounds, rest) = pages.as_chunks::<8>();
        let of_rounds = rounds.iter().find_map(|round| round.iter().find(|page| refused(page)));
        if let Some(page) = of_rounds.or_else(|| rest.iter().find(|page| refused(page))) {
            panic!("{:?} is no memory of the plan, or was handed over before", self.map.pfn(page));
        }
        let mut buddy = self.buddy.lock();
        buddy.give_range(range);
        self.publish(range.pages() as i32);
        self.managed.fetch_add(range.pages(), Ordering::Relaxed);
    }

    /// Visits every free block: its first page, its order and its list's type. Returns the
    /// free count as it is kept at that moment.
    pub(crate) fn for_each_free(&self, mut visit: impl FnMut(&'m Page, Order, MigrateType)) -> u32 {
        let buddy = self.buddy.lock();
        for order in Order::all() {
            for kind in MigrateType::ALL {
                buddy.iter(order, kind).for_each(|page| visit(page, order, kind));
            }
        }
        self.free()
    }

    /// The migrate type of the pageblock around `pfn`.
    #[inline]
    pub fn pageblock_type(&self, pfn: Pfn) -> MigrateType {
        tag_type(&self.tags[pageblock_index(self.span, pfn)])
    }

    /// The tag of the pageblock around a page of this zone.
    #[inline(always)]
    fn tag(&self, page: &Page) -> u8 {
        let block = size_of::<Page>() * Order::PAGEBLOCK.pages() as usize;
        let offset = (page as *const Page).addr().wrapping_sub(self.first_block);
        self.tags[offset / block].load(Ordering::Relaxed)
    }

    /// Shifts the free count, for tests of `validate()`.
    #[doc(hidden)]
    pub fn corrupt_free_count(&self, delta: i32) {
        self.publish(delta);
    }
}

/// Adds to a count that a lock guards.
#[inline(always)]
fn note(count: &AtomicU64, pages: u32) {
    count.store(count.load(Ordering::Relaxed) + u64::from(pages), Ordering::Relaxed);
}

/// The position of the pageblock around `pfn` in the table of a zone.
#[inline(always)]
fn pageblock_index(span: FrameRange, pfn: Pfn) -> usize {
    let block = Order::PAGEBLOCK.get();
    ((pfn.0 >> block) - (span.start.0 >> block)) as usize
}

/// In a pageblock's tag: it is less full than those that single pages come from.
const SPARSE: u8 = 0x80;

/// The migrate type that a pageblock's tag names.
#[inline(always)]
fn tag_type(tag: &AtomicU8) -> MigrateType {
    MigrateType::from_raw(tag.load(Ordering::Relaxed) & !SPARSE)
}

#[cfg(test)]
mod tests;
