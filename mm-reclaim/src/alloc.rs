//! `alloc_pages`: the one place where allocation and reclaim meet.
//!
//! Fast path: the first zone of the zonelist that keeps its LOW mark after the request.
//! Slow path, round by round: wake kswapd; try against MIN with the caller's privileges; reclaim
//! directly; try again; and after 16 rounds without progress, kill, if a last check finds no block
//! above MIN. Rounds that only evict the same few pages again and again are not progress
//! (`lru/turnover.rs`).
//!
//! ```text
//!   get_page_from_freelist(LOW) --ok--> page
//!        | no
//!        v
//!   wake kswapd -> freelist(MIN - privileges) -> may it block? -> direct reclaim
//!        ^                                                            |
//!        +---- retry while there is progress <------------------------+
//!                                             no progress: kill, then retry or fail
//! ```
//!
//! To be added later: node reclaim in the fast path, compaction (asynchronous before, direct after
//! reclaim) in the slow path for orders above zero.
//!
//! Counterpart in Linux: `__alloc_pages_slowpath`.

use crate::base::units::{Order, Pfn};
use crate::block::writeback::Writeback;
use crate::env::{Env, FrameMemory, TaskFlags, Tasks, WaitEnd};
use crate::lru::Lru;
use crate::lru::turnover::Turnover;
use crate::oom::{Oom, OomEnd};
use crate::page::memmap::MemMap;
use crate::page::pool::{Handle, Pool};
use crate::page::{FrozenPage, NewPage, Page, PageFlags, PageRef};
use crate::reclaim::{ENOUGH_FOR_ONE, MAX_RECLAIM_RETRIES, Reclaim, Tried};
use crate::space::SpaceError;
use crate::zone::gfp::Gfp;
use crate::zone::{Mark, Reach, Zones};

/// The page allocator: the zones, and what is needed to reclaim memory for them.
pub(crate) struct Alloc<'m, E: Env> {
    env: E,
    map: MemMap<'m>,
    zones: &'m Zones<'m, E>,
    lru: &'m Lru<'m, E>,
    writeback: &'m Writeback<E>,
    reclaim: &'m Reclaim<'m, E>,
    oom: &'m Oom<'m, E>,
    turnover: &'m Turnover,
}

impl<'m, E: Env> Alloc<'m, E> {
    pub(crate) fn new(
        lru: &'m Lru<'m, E>,
        writeback: &'m Writeback<E>,
        reclaim: &'m Reclaim<'m, E>,
        oom: &'m Oom<'m, E>,
        turnover: &'m Turnover,
    ) -> Self {
        let zones = lru.zones;
        Self { env: zones.env, map: zones.map, zones, lru, writeback, reclaim, oom, turnover }
    }

    /// Allocates a block of 2^`order` frames for the kernel and returns its first frame. A block of
    /// several frames is a compound page. `None` if `gfp` allows it to fail and it must.
    #[inline]
    pub fn alloc_pages(&self, gfp: Gfp, order: Order) -> Option<Pfn> {
        if order == Order::ZERO
            && let Some(new) = self.alloc_page_now(gfp)
        {
            let pfn = self.map.pfn(new.into_ref().leak());
            if gfp.contains(Gfp::ZERO) {
                self.env.frames().zero(pfn);
            }
            return Some(pfn);
        }
        self.alloc_pages_slowly(gfp, order)
    }

    /// No page is at hand, or more than one is needed.
    #[inline(never)]
    fn alloc_pages_slowly(&self, gfp: Gfp, order: Order) -> Option<Pfn> {
        let page = self.alloc_page(gfp, order)?.into_ref().leak();
        let pfn = self.map.pfn(page);
        if order != Order::ZERO {
            self.zones.make_compound(page, order);
        }
        if gfp.contains(Gfp::ZERO) {
            (0..order.pages()).for_each(|i| self.env.frames().zero(pfn + i));
        }
        Some(pfn)
    }

    /// Frees what [`Mm::alloc_pages`] returned.
    ///
    /// # Panics
    /// If the block was freed already, is in use elsewhere or has another order.
    #[inline]
    pub fn free_pages(&self, pfn: Pfn, order: Order) {
        let page = self.map.page(pfn);
        let is_plain = !page.flags().intersects(PageFlags::LRU.union(PageFlags::HEAD));
        if order == Order::ZERO && is_plain && page.freeze(1) {
            return self.zones.free_base(FrozenPage::after_last_put(page));
        }
        self.free_pages_slowly(page, order);
    }

    /// The block has several pages, or several holders, or is not the caller's.
    #[inline(never)]
    fn free_pages_slowly(&self, page: &'m Page, order: Order) {
        let pfn = self.map.pfn(page);
        assert!(page.refs() > 0, "double free of {pfn:?}: {page:?}");
        assert!(self.map.nr_pages(page) == order.pages(), "order {order:?} freed, but {page:?}");
        if page.put() {
            self.lru.free_after_last_put(page);
        }
    }

    /// A zeroed frame for a table or for the crate's own objects. Not called in reclaim.
    pub(crate) fn table_frame(&self) -> Result<(Pfn, PageRef<'m>), SpaceError> {
        let new = self.alloc_page(Gfp::KERNEL, Order::ZERO).ok_or(SpaceError::NoMemory)?;
        let pfn = self.map.pfn(new.page());
        self.env.frames().zero(pfn);
        Ok((pfn, new.into_ref()))
    }

    /// An unused object; if the pool has none, a frame of `blank` ones is added. Not called in
    /// reclaim.
    pub(crate) fn object<T, const KIND: u32>(
        &self,
        pool: &Pool<'m, E::Cpu, T, KIND>,
        blank: impl Fn() -> T,
    ) -> Result<(Handle<KIND>, &'m T), SpaceError> {
        loop {
            if let Some(taken) = pool.take() {
                return Ok(taken);
            }
            let (pfn, page) = self.table_frame()?;
            if let Some(surplus) = pool.add_chunk(pfn, page, &blank) {
                self.lru.put(surplus);
            }
        }
    }

    /// Allocates a block of frames and returns its first page; the contents are undefined.
    #[inline]
    pub(crate) fn alloc_page(&self, gfp: Gfp, order: Order) -> Option<NewPage<'m>> {
        if let Some(faults) = self.env.alloc_faults()
            && !gfp.contains(Gfp::NOFAIL)
            && faults.should_fail(order)
        {
            return None;
        }
        match self.zones.get_page_from_freelist(gfp, order, Mark::Low, Reach::empty()) {
            Some(page) => Some(page),
            None => self.alloc_slowpath(gfp, order),
        }
    }

    /// A single page if the best zone has one to spare; for callers that must not wait.
    #[inline(always)]
    pub(crate) fn alloc_page_now(&self, gfp: Gfp) -> Option<NewPage<'m>> {
        if self.env.alloc_faults().is_some() {
            return None;
        }
        self.zones.first_page(gfp)
    }

    /// The slow path (BUDY-05).
    #[cold]
    fn alloc_slowpath(&self, gfp: Gfp, order: Order) -> Option<NewPage<'m>> {
        let (mut fruitless, mut looked_at) = (0, 0);
        loop {
            if gfp.contains(Gfp::KSWAPD_RECLAIM) {
                self.reclaim.wakeup_kswapd(order, gfp.class_zone());
            }
            let flags = self.env.tasks().flags();
            let reach = gfp.reach(flags);
            if let Some(page) = self.zones.get_page_from_freelist(gfp, order, Mark::Min, reach) {
                return Some(page);
            }
            if !may_reclaim(gfp, flags) {
                return None;
            }
            match self.instead_of_circling(gfp, order) {
                None => {}
                Some(true) => continue,
                Some(false) => return None,
            }
            let tried = self.reclaim_for(gfp, order, looked_at);
            looked_at = tried.looked_at;
            self.drain_if_low(tried.freed);
            // The caller may have been killed in the meantime: it may then use more of the reserve,
            // and must not reclaim any more.
            let flags = self.env.tasks().flags();
            let reach = gfp.reach(flags) | own_part(&tried, order);
            if let Some(page) = self.zones.get_page_from_freelist(gfp, order, Mark::Min, reach) {
                return Some(page);
            }
            if gives_up(gfp, order, flags) {
                return None;
            }
            let is_fruitless = tried.freed == 0 && tried.written == 0 || order > Order::COSTLY;
            fruitless = if is_fruitless { fruitless + 1 } else { 0 };
            // Failed reclaim alone does not justify a kill: others may free memory.
            let too_early = may_kill(gfp, order) && fruitless <= MAX_RECLAIM_RETRIES;
            if too_early || self.should_reclaim_retry(gfp, order, fruitless) {
                self.wait_before_retry(tried.freed);
                continue;
            }
            if !self.last_resort(gfp, order) {
                return None;
            }
            fruitless = 0;
        }
    }

    /// Reclaims with `MEMALLOC` set: the task may use the reserves and does not recurse.
    fn reclaim_for(&self, gfp: Gfp, order: Order, looked_at: u32) -> Tried {
        let before = self.env.tasks().set_memalloc(true);
        let tried = self.reclaim.try_to_free_pages(gfp, order, looked_at);
        self.env.tasks().set_memalloc(before);
        tried
    }

    /// Drains what CPUs hold if reclaim found nothing: free pages, and batches of pages, which
    /// reclaim could not free for the batch's reference.
    fn drain_if_low(&self, freed: u64) {
        if freed == 0 {
            self.lru.drain_all();
            self.zones.drain_pcp();
        }
    }

    /// Yields between two rounds. After one that freed nothing while pages are being written, the
    /// next one would only find these again: it waits until one write has ended.
    fn wait_before_retry(&self, freed: u64) {
        if freed == 0 && self.writeback.pages() > 0 {
            let _: WaitEnd = self.writeback.wait();
        } else {
            self.env.tasks().yield_now();
        }
    }

    /// Whether another round can help: at most 16 without progress, and some zone would pass its
    /// MIN mark if all reclaimable pages were free.
    fn should_reclaim_retry(&self, gfp: Gfp, order: Order, fruitless: u32) -> bool {
        if fruitless > MAX_RECLAIM_RETRIES {
            return false;
        }
        let class = gfp.class_zone();
        self.zones.zonelist(class).any(|zone| {
            let could_be_free = zone.free() + self.reclaim.reclaimable_pages(zone);
            let need = zone.true_mark(Mark::Min) + zone.lowmem_reserve(class) + order.pages();
            could_be_free > need
        })
    }

    /// If reclaim frees only pages that come back at once, and little else could be freed in the
    /// zones of the request, invokes the killer instead of one more round; then returns whether to
    /// try again.
    fn instead_of_circling(&self, gfp: Gfp, order: Order) -> Option<bool> {
        let reclaimable = || self.reclaim.reclaimable_for(gfp.class_zone());
        let is_due = may_kill(gfp, order)
            && self.turnover.is_in_circles(reclaimable)
            && !self.zones.is_block_usable(gfp, order);
        is_due.then(|| {
            self.turnover.restart();
            self.last_resort(gfp, order)
        })
    }

    /// Invokes the killer, if the request may; returns whether to try again.
    fn last_resort(&self, gfp: Gfp, order: Order) -> bool {
        let killed = may_kill(gfp, order) && self.oom.out_of_memory(gfp, order) != OomEnd::Nobody;
        if gfp.contains(Gfp::NOFAIL) {
            self.env.tasks().yield_now();
        }
        killed || gfp.contains(Gfp::NOFAIL)
    }
}

/// Whether a process may be killed for the request: not for a costly order, nor for a request that
/// may fail.
fn may_kill(gfp: Gfp, order: Order) -> bool {
    order <= Order::COSTLY && !gfp.contains(Gfp::RETRY_MAYFAIL)
}

/// A caller that may not block never reclaims; one that is reclaiming never recurses.
fn may_reclaim(gfp: Gfp, flags: TaskFlags) -> bool {
    gfp.contains(Gfp::DIRECT_RECLAIM) && !flags.contains(TaskFlags::MEMALLOC)
}

/// A task that has scanned half as many pages as one access may wait for, and has freed one, gets
/// one even if others have taken what it freed: no more is used than before it came, and it need
/// not do all of it again (CTRL-06).
fn own_part(tried: &Tried, order: Order) -> Reach {
    let is_due = order == Order::ZERO && tried.freed > 0 && tried.looked_at >= ENOUGH_FOR_ONE / 2;
    if is_due { Reach::HARDER } else { Reach::empty() }
}

/// After one round of reclaim: whether the request should fail.
fn gives_up(gfp: Gfp, order: Order, flags: TaskFlags) -> bool {
    if gfp.contains(Gfp::NOFAIL) {
        return false;
    }
    gfp.contains(Gfp::NORETRY)
        || order > Order::COSTLY && !gfp.contains(Gfp::RETRY_MAYFAIL)
        || flags.contains(TaskFlags::DYING)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BUDY-05: which requests may go how far below MIN.
    #[test]
    fn privileges_follow_from_flags_and_task() {
        let none = TaskFlags::empty();
        let table = [
            (Gfp::KERNEL, none, Reach::empty()),
            (Gfp::ATOMIC_CONTEXT, none, Reach::HIGH | Reach::HARDER),
            (Gfp::KERNEL, TaskFlags::MEMALLOC, Reach::NO_WATERMARKS),
            (Gfp::KERNEL | Gfp::NOMEMALLOC, TaskFlags::MEMALLOC, Reach::empty()),
            (Gfp::KERNEL | Gfp::MEMALLOC, none, Reach::NO_WATERMARKS),
            (Gfp::KERNEL, TaskFlags::OOM_VICTIM | TaskFlags::DYING, Reach::OOM),
        ];
        for (gfp, flags, want) in table {
            assert_eq!(gfp.reach(flags), want, "{gfp:?} {flags:?}");
        }
    }

    /// BUDY-05: which requests never reclaim, and which give up after one round.
    #[test]
    fn those_who_may_not_block_never_reclaim() {
        let none = TaskFlags::empty();
        assert!(may_reclaim(Gfp::KERNEL, none));
        assert!(!may_reclaim(Gfp::NOWAIT, none));
        assert!(!may_reclaim(Gfp::KERNEL, TaskFlags::MEMALLOC));
        assert!(!gives_up(Gfp::KERNEL, Order::COSTLY, none));
        assert!(gives_up(Gfp::KERNEL, Order::PAGEBLOCK, none));
        assert!(!gives_up(Gfp::KERNEL | Gfp::RETRY_MAYFAIL, Order::PAGEBLOCK, none));
        assert!(gives_up(Gfp::KERNEL | Gfp::NORETRY, Order::ZERO, none));
        assert!(gives_up(Gfp::KERNEL, Order::ZERO, TaskFlags::DYING));
        assert!(!gives_up(Gfp::KERNEL | Gfp::NOFAIL, Order::ZERO, TaskFlags::DYING));
    }
}
