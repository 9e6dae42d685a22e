//! Every zone of the machine: which of them serves a request, and to which a block is freed.
//!
//! Data: the zones, lowest first. Owner: [`Mm`](crate::Mm). Locks: those of each zone; this
//! type adds none.
//!
//! This is the part that needs no reclaim: the walk of the zonelist, the freeing of unreferenced
//! blocks, and the marks. Callers that may wait for memory use [`crate::alloc`].

use super::{Mark, Reach, Watermarks, Zone, ZoneId, gfp::Gfp, min_free_kbytes};
use crate::base::storage::Storage;
use crate::base::sync::AtomicU8;
use crate::base::units::Order;
use crate::boot::plan::{Config, Plan};
use crate::env::{Cpu, Env, FrameMemory, MAX_CPUS, Tasks};
use crate::page::memmap::MemMap;
use crate::page::{FrozenPage, NewPage, Page, PageFlags};
use crate::zone::{CpuLists, FrameRange, MAX_ZONES, Pageblock};

/// The zones of the machine.
pub struct Zones<'m, E: Env> {
    pub(crate) env: E,
    pub(crate) map: MemMap<'m>,
    zones: [Zone<'m, E::Cpu>; MAX_ZONES],
    /// For each class the first zone of its zonelist that has memory.
    first: [ZoneId; MAX_ZONES],
    /// Freed frames are filled with junk.
    poison: bool,
    min_free_kbytes: Option<u32>,
}

impl<'m, E: Env> Zones<'m, E> {
    /// The zones of `plan`, all of whose frames are reserved so far.
    pub(crate) fn new(env: E, map: MemMap<'m>, plan: &Plan<'_>, storage: &mut Storage<'m>) -> Self {
        let Config { poison, min_free_kbytes, .. } = plan.config;
        let zones = ZoneId::ALL.map(|id| {
            let count = plan.pageblocks(id.index());
            let tags = storage.cut(count, |_| AtomicU8::new(0));
            let blocks = storage.cut(count, |_| Pageblock::new());
            let pcp = storage.one([const { CpuLists::new() }; MAX_CPUS]);
            let (span, present) = plan.zones[id.index()];
            Zone::new(id, span, present, map, (tags, blocks), pcp)
        });
        let first = ZoneId::ALL.map(|class| {
            let exists = |id: &ZoneId| *id <= class && zones[id.index()].present() > 0;
            ZoneId::ALL.into_iter().rev().find(exists).unwrap_or(ZoneId::Dma)
        });
        Self { env, map, zones, first, poison, min_free_kbytes }
    }

    /// One zone.
    #[inline(always)]
    pub fn zone(&self, id: ZoneId) -> &Zone<'m, E::Cpu> {
        &self.zones[id.index()]
    }

    /// The zone that a page lies in.
    #[inline(always)]
    pub fn of(&self, page: &Page) -> &Zone<'m, E::Cpu> {
        &self.zones[page.zone_index()]
    }

    /// The zones that have memory, lowest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Zone<'m, E::Cpu>> {
        self.zones.iter().filter(|z| z.managed() > 0)
    }

    /// The zones that may serve a request of class `class`, best first: its zonelist.
    #[inline]
    pub(crate) fn zonelist(&self, class: ZoneId) -> impl Iterator<Item = &Zone<'m, E::Cpu>> {
        self.zones[..class.index() + 1].iter().rev().filter(|z| z.managed() > 0)
    }

    /// Pages ever taken and given (`pgalloc`, `pgfree`).
    pub(crate) fn traffic(&self) -> (u64, u64) {
        let traffic = self.zones.iter().map(Zone::traffic);
        traffic.fold((0, 0), |(taken, given), (t, g)| (taken + t, given + g))
    }

    /// Free pages, those on the per-CPU lists included.
    pub fn total_free(&self) -> u32 {
        self.iter().map(|zone| zone.free() + zone.pcp_pages()).sum()
    }

    /// Pages that the allocator manages.
    pub fn total_managed(&self) -> u32 {
        self.zones.iter().map(Zone::managed).sum()
    }

    /// Hands free frames over from the boot allocator (`mem_init`); each frame once.
    ///
    /// # Panics
    /// If a frame does not belong to the plan, or was handed over before.
    #[doc(alias = "memblock_free_all")]
    pub(crate) fn free_bootmem(&self, range: FrameRange) {
        let mut left = range;
        // Zones ascend and do not overlap.
        for zone in &self.zones {
            let part = range.intersection(zone.span());
            if part.pages() > 0 {
                assert!(part.start == left.start, "{:?} is no memory of the plan", left.start);
                zone.free_bootmem(part);
                left.start = part.end;
            }
        }
        assert!(left.pages() == 0, "{:?} is no memory of the plan", left.start);
        self.init_watermarks();
    }

    /// BUDY-03, ZONE-03: marks and reserves from the managed pages.
    #[doc(alias = "setup_per_zone_wmarks")]
    fn init_watermarks(&self) {
        let lowmem = self.total_managed();
        let kbytes = u64::from(lowmem) * 4;
        let min_kbytes = self.min_free_kbytes.unwrap_or_else(|| min_free_kbytes(kbytes));
        for zone in &self.zones {
            zone.set_watermarks(Watermarks::new(min_kbytes / 4, zone.managed(), lowmem));
            for class in ZoneId::ALL {
                let above = self.zones.iter().filter(|z| z.id() > zone.id() && z.id() <= class);
                zone.set_lowmem_reserve(class, above.map(Zone::managed).sum());
            }
        }
    }

    // ---- taking ----

    /// BUDY-04: the block comes from the first zone of the zonelist that stays above `mark`.
    #[inline(always)]
    pub(crate) fn get_page_from_freelist(
        &self,
        gfp: Gfp,
        order: Order,
        mark: Mark,
        reach: Reach,
    ) -> Option<NewPage<'m>> {
        let class = gfp.class_zone();
        for zone in self.zonelist(class) {
            if !zone.watermark_ok(order, mark_for_allocation(zone, mark), class, reach) {
                continue;
            }
            if let Some(new) = zone.take_block(order, gfp.migrate_type()) {
                return Some(new);
            }
        }
        None
    }

    /// A single page of the first zone of the zonelist, if it stays above LOW.
    #[inline(always)]
    pub(crate) fn first_page(&self, gfp: Gfp) -> Option<NewPage<'m>> {
        let class = gfp.class_zone();
        let zone = self.zone(self.first[class.index()]);
        let mark = zone.mark(Mark::Low) + zone.lowmem_reserve(class);
        if zone.free() > mark { zone.take_page(gfp.migrate_type()) } else { None }
    }

    /// Whether the request would get its block now: the killer's last check. The per-CPU lists are
    /// drained first.
    pub(crate) fn is_block_usable(&self, gfp: Gfp, order: Order) -> bool {
        let reach = gfp.reach(self.env.tasks().flags());
        let class = gfp.class_zone();
        self.drain_pcp();
        self.zonelist(class)
            .any(|zone| zone.watermark_ok(order, zone.true_mark(Mark::Min), class, reach))
    }

    /// Returns the pages on the per-CPU lists to the zones.
    #[doc(alias = "drain_all_pages")]
    pub(crate) fn drain_pcp(&self) {
        self.iter().for_each(|zone| _ = zone.drain_pcp());
    }

    /// The block that begins at `head` becomes a compound page.
    #[doc(alias = "prep_compound_page")]
    pub(crate) fn make_compound(&self, head: &Page, order: Order) {
        let first = self.map.pfn(head);
        head.make_head();
        (1..order.pages()).for_each(|i| self.map.page(first + i).make_tail(first.0));
        self.map.page(first + 1).set_compound_order(order);
    }

    // ---- giving ----

    /// Returns a frozen page, or the compound page that it heads, to its zone.
    #[doc(alias = "free_unref_page")]
    #[inline]
    pub(crate) fn free_frozen(&self, frozen: FrozenPage<'m>) {
        let page = frozen.page();
        let order = self.map.order_of(page);
        if order != Order::ZERO {
            self.split_compound(page, order);
        }
        if self.poison {
            self.fill_with_junk(page, order);
        }
        self.of(page).give_block(frozen, order);
    }

    /// As [`Zones::free_frozen`], for a page that heads no compound page.
    #[inline(always)]
    pub(crate) fn free_base(&self, frozen: FrozenPage<'m>) {
        debug_assert!(!frozen.page().has(PageFlags::HEAD));
        if self.poison {
            self.fill_with_junk(frozen.page(), Order::ZERO);
        }
        self.of(frozen.page()).give_page(frozen);
    }

    /// As [`Zones::free_frozen`], for a page that reclaim scanned: it is cache-cold.
    #[cold]
    pub(crate) fn free_cold(&self, frozen: FrozenPage<'m>) {
        if frozen.page().has(PageFlags::HEAD) {
            return self.free_frozen(frozen);
        }
        if self.poison {
            self.fill_with_junk(frozen.page(), Order::ZERO);
        }
        self.of(frozen.page()).give_cold_page(frozen);
    }

    /// Frees frozen base pages of one zone in one go.
    #[doc(alias = "free_unref_page_list")]
    pub(crate) fn free_batch(
        &self,
        zone: &Zone<'m, E::Cpu>,
        pages: impl Iterator<Item = FrozenPage<'m>>,
    ) {
        zone.give_batch(pages.inspect(|frozen| {
            if self.poison {
                self.fill_with_junk(frozen.page(), Order::ZERO);
            }
        }));
    }

    /// The pages of a compound page become separate pages again.
    fn split_compound(&self, head: &Page, order: Order) {
        let first = self.map.pfn(head);
        head.clear_head();
        for i in 1..order.pages() {
            self.map.page(first + i).clear_tail();
        }
    }

    fn fill_with_junk(&self, page: &Page, order: Order) {
        let first = self.map.pfn(page);
        (0..order.pages()).for_each(|i| self.env.frames().poison(first + i));
    }
}

/// The boost asks kswapd for more free pages. For an allocation it only causes a wakeup of kswapd
/// where LOW would not: below that, the marks count without it.
#[inline(always)]
fn mark_for_allocation<C: Cpu>(zone: &Zone<'_, C>, mark: Mark) -> u32 {
    match mark {
        Mark::Min => zone.true_mark(mark),
        Mark::Low | Mark::High => zone.mark(mark),
    }
}
