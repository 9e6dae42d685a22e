//! `Mm`: the machine's memory, as one value that owns every structure.
//!
//! There is no global state: a kernel has one `Mm`, a test may have many. The structures
//! below are each guarded as their own modules say; `Mm` adds no lock. Later layers give
//! it its behaviour, each in its own file: rmap, swap cache, reclaim, kswapd, allocation,
//! faults. This file has what all of them need: construction, references, the page lock.

use core::mem::MaybeUninit;

use crate::aspace::{AddressSpace, AnonVmas, Areas, Directory, Spaces};
use crate::env::{Env, FrameMemory, MAX_CPUS, Tasks, WaitEnd, WaitKey, WaitMode};
use crate::lock_order::SWAPON;
use crate::lru::{LruBatches, LruSet, Relocation};
use crate::memmap::MemMap;
use crate::page::{FrozenPage, Page, PageFlags, PageLock, PageRef};
use crate::plan::{Config, Plan};
use crate::pool::{Pool, Window};
use crate::reclaim::verdict::VerdictCounters;
use crate::stat::{VmEvent, VmEvents};
use crate::storage::Storage;
use crate::swap::SwapDevice;
use crate::swap::entry::MAX_SWAP_DEVICES;
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Lock, Once, Ordering};
use crate::turnover::{Reading, Turnover};
use crate::units::{Nanos, Order, Pfn};
use crate::wait::CallWord;
use crate::zone::{CpuLists, FrameRange, MAX_ZONES, Pageblock, Zone, ZoneId};

/// The tables that swap entries lead to.
pub(crate) struct SwapSet<'m, C: crate::env::Cpu> {
    /// Devices by position; a position is taken once.
    pub(crate) devices: [Once<SwapDevice<'m, C>>; MAX_SWAP_DEVICES],
    pub(crate) count: AtomicU32,
    /// Where the round among equal priorities goes on.
    pub(crate) turn: AtomicU32,
    /// Pages of a read-ahead cluster, as a power of two; 0 switches it off.
    pub(crate) page_cluster: AtomicU8,
}

/// What the drivers of reclaim share.
pub(crate) struct ReclaimState {
    /// What kswapd was woken for, in one word; 0 if it was not.
    pub(crate) kswapd_call: CallWord,
    /// Fruitless rounds in a row.
    pub(crate) kswapd_failures: AtomicU32,
    /// A task is inside the killer.
    pub(crate) oom_running: AtomicBool,
    /// The reference rule of Linux 4.x: any referenced anonymous page is activated.
    pub(crate) activate_anon: AtomicBool,
    /// Base pages on their way to a device.
    pub(crate) writeback: AtomicU32,
    /// Writes completed, ever; what throttled reclaimers watch.
    pub(crate) writes_done: AtomicU32,
    /// Reclaimers that wait for a write to complete.
    pub(crate) stalled: AtomicU32,
    /// Reclaimers that wait for others to put isolated pages back.
    pub(crate) isolation_stalled: AtomicU32,
    /// Reclaim writes as little as it can (`laptop_mode`).
    pub(crate) laptop_mode: AtomicBool,
}

/// The machine's memory.
pub struct Mm<'m, E: Env> {
    pub(crate) env: E,
    pub(crate) config: Config,
    pub(crate) map: MemMap<'m>,
    pub(crate) zones: &'m [Zone<'m, E::Cpu>],
    pub(crate) lru: LruSet<'m, E::Cpu>,
    pub(crate) batches: &'m LruBatches<'m, E::Cpu>,
    pub(crate) window: Window<'m>,
    pub(crate) space_ids: Directory<'m, E::Cpu>,
    pub(crate) spaces: Spaces<'m, E::Cpu, E::Tables>,
    pub(crate) areas: Areas<'m, E::Cpu>,
    pub(crate) anons: AnonVmas<'m, E::Cpu>,
    /// The frame of the zero page, or [`NO_ZERO_PAGE`].
    pub(crate) zero_page: AtomicU32,
    pub(crate) swap: SwapSet<'m, E::Cpu>,
    pub(crate) events: &'m VmEvents,
    pub(crate) verdicts: &'m VerdictCounters,
    pub(crate) reclaim: ReclaimState,
    pub(crate) turnover: Turnover,
    pub(crate) swappiness: AtomicU8,
    pub(crate) swapon_lock: Lock<E::Cpu, (), SWAPON>,
}

/// In [`Mm::zero_page`]: there is none yet.
pub(crate) const NO_ZERO_PAGE: u32 = u32::MAX;

/// kswapd sleeps here.
pub(crate) const KSWAPD_WAIT: WaitKey = WaitKey(1 << 62);
/// Direct reclaimers throttled for want of reserves sleep here (`pfmemalloc_wait`).
pub(crate) const PFMEMALLOC_WAIT: WaitKey = WaitKey(1 << 62 | 1);
/// Naps that nothing ends early.
pub(crate) const NAP_WAIT: WaitKey = WaitKey(1 << 62 | 2);
/// Reclaimers that wait for the devices to catch up sleep here.
pub(crate) const WRITEBACK_WAIT: WaitKey = WaitKey(1 << 62 | 3);
/// Reclaimers that find too many pages isolated sleep here.
pub(crate) const ISOLATION_WAIT: WaitKey = WaitKey(1 << 62 | 5);
/// The reaper sleeps here.
pub(crate) const REAPER_WAIT: WaitKey = WaitKey(1 << 62 | 4);

impl<'m, E: Env> Mm<'m, E> {
    /// Zones, zonelists and descriptors for `plan` (`bootmem_init`): everything is
    /// reserved until [`Mm::free_bootmem`] hands it over.
    ///
    /// `block` is what [`Plan::storage_layout`] asked for.
    ///
    /// # Panics
    /// If `block` is too small.
    pub fn new(env: E, plan: Plan<'_>, block: &'m mut [MaybeUninit<u8>]) -> Self {
        let mut storage = Storage::new(block);
        let config = plan.config;
        let zone_of = |pfn: Pfn| {
            ZoneId::ALL.iter().position(|z| config.zone_limits.range(*z).contains(pfn)).unwrap_or(2)
        };
        let page = |i| {
            let pfn = plan.span.start + i as u32;
            Page::reserved(zone_of(pfn) as u8, plan.is_present(pfn))
        };
        let map = MemMap::new(storage.cut(plan.span.pages() as usize, page), plan.span.start);
        let window = Window::new(env.frames().linear_map(plan.span.start));
        let space_ids = Directory::new(storage.cut(plan.spaces, |_| AtomicU64::new(0)));
        let parts = ZoneId::ALL.map(|id| {
            let count = plan.pageblocks(id.index());
            let tags = storage.cut(count, |_| AtomicU8::new(0));
            let blocks = storage.cut(count, |_| Pageblock::new());
            ((tags, blocks), storage.one(|| [const { CpuLists::new() }; MAX_CPUS]))
        });
        let zones = storage.cut(MAX_ZONES, |i| {
            let ((span, present), (blocks, pcp)) = (plan.zones[i], parts[i]);
            Zone::new(ZoneId::ALL[i], span, present, map, blocks, pcp)
        });
        Self {
            env,
            config,
            map,
            zones,
            lru: LruSet::new(map),
            batches: storage.one(LruBatches::new),
            window,
            space_ids,
            spaces: Pool::new(map, window),
            areas: Pool::new(map, window),
            anons: Pool::new(map, window),
            zero_page: AtomicU32::new(NO_ZERO_PAGE),
            swap: SwapSet {
                devices: [const { Once::new() }; MAX_SWAP_DEVICES],
                count: AtomicU32::new(0),
                turn: AtomicU32::new(0),
                page_cluster: AtomicU8::new(3),
            },
            events: storage.one(VmEvents::new),
            verdicts: storage.one(VerdictCounters::new),
            reclaim: ReclaimState {
                kswapd_call: CallWord::new(),
                kswapd_failures: AtomicU32::new(0),
                oom_running: AtomicBool::new(false),
                activate_anon: AtomicBool::new(false),
                writeback: AtomicU32::new(0),
                writes_done: AtomicU32::new(0),
                stalled: AtomicU32::new(0),
                isolation_stalled: AtomicU32::new(0),
                laptop_mode: AtomicBool::new(false),
            },
            turnover: Turnover::new(),
            swappiness: AtomicU8::new(config.swappiness),
            swapon_lock: Lock::new(()),
        }
    }

    /// The environment.
    pub fn env(&self) -> &E {
        &self.env
    }

    /// The memory map.
    pub fn memmap(&self) -> MemMap<'m> {
        self.map
    }

    /// One zone.
    #[inline(always)]
    pub fn zone(&self, id: ZoneId) -> &Zone<'m, E::Cpu> {
        &self.zones[id.index()]
    }

    /// The zones that have memory, lowest first.
    pub fn zones(&self) -> impl DoubleEndedIterator<Item = &Zone<'m, E::Cpu>> {
        self.zones.iter().filter(|z| z.managed() > 0)
    }

    /// The zones that may serve a request of class `class`, best first: its zonelist.
    #[inline]
    pub(crate) fn zonelist(&self, class: ZoneId) -> impl Iterator<Item = &Zone<'m, E::Cpu>> {
        self.zones[..class.index() + 1].iter().rev().filter(|z| z.managed() > 0)
    }

    /// The lists of a zone.
    pub fn lru(&self) -> &LruSet<'m, E::Cpu> {
        &self.lru
    }

    /// How often `event` happened. Allocations and faults are counted where they happen,
    /// under the locks that they hold anyway.
    pub fn event(&self, event: VmEvent) -> u64 {
        let elsewhere = match event {
            VmEvent::PgAlloc => self.zones.iter().map(|z| z.traffic().0).sum(),
            VmEvent::PgFree => self.zones.iter().map(|z| z.traffic().1).sum(),
            VmEvent::PgFault => self.of_live_spaces(|s| s.stat().min_faults + s.stat().maj_faults),
            VmEvent::PgMajFault => self.of_live_spaces(|s| s.stat().maj_faults),
            VmEvent::SwapRaHit => self.of_live_spaces(|s| s.ra_hits.load(Ordering::Relaxed)),
            _ => 0,
        };
        self.events.read(event as usize) + elsewhere
    }

    fn of_live_spaces(&self, figure: impl Fn(&AddressSpace<'m, E::Cpu, E::Tables>) -> u64) -> u64 {
        let live = self.held_spaces().filter(|held| held.space.live.load(Ordering::Acquire));
        live.map(|held| figure(held.space)).sum()
    }

    #[inline(always)]
    pub(crate) fn count(&self, event: VmEvent, n: u64) {
        self.events.add::<E::Cpu>(event as usize, n);
    }

    /// Hands free frames over from the boot allocator (`mem_init`); each frame once.
    ///
    /// # Panics
    /// If a frame is none of the plan's, or was handed over before.
    pub fn free_bootmem(&self, range: FrameRange) {
        for pfn in (range.start.0..range.end.0).map(Pfn) {
            let known = self.map.get(pfn).is_some_and(Page::is_boot_memory);
            assert!(known, "{pfn:?} is no memory of the plan, or was handed over before");
        }
        for zone in self.zones {
            let part = range.intersection(zone.span());
            if part.pages() > 0 {
                zone.free_bootmem(part);
            }
        }
        self.init_watermarks();
    }

    // ---- references ----

    /// Gives a reference back; the last one frees the page.
    #[inline]
    pub(crate) fn put(&self, reference: PageRef<'m>) {
        let page = reference.leak();
        if page.put() {
            self.free_after_last_put(page);
        }
    }

    /// The last reference of `page` is gone: off its list and back to its zone.
    pub(crate) fn free_after_last_put(&self, page: &'m Page) {
        if page.has(PageFlags::LRU) {
            self.lru.of(page).remove_freed(page);
        }
        let order = self.order_of(page);
        self.free_frozen(FrozenPage::after_last_put(page), order);
    }

    /// As [`Mm::free_after_last_put`], for a page that reclaim looked at: no cache holds it.
    #[cold]
    pub(crate) fn free_cold_after_last_put(&self, page: &'m Page) {
        if page.has(PageFlags::HEAD) {
            return self.free_after_last_put(page);
        }
        if page.has(PageFlags::LRU) {
            self.lru.of(page).remove_freed(page);
        }
        if self.config.poison {
            self.poison(page, Order::ZERO);
        }
        self.zones[page.zone_index()].give_cold_page(FrozenPage::after_last_put(page));
    }

    fn order_of(&self, page: &Page) -> Order {
        if page.has(PageFlags::HEAD) {
            Order::new(page.private() as u8).unwrap_or(Order::ZERO)
        } else {
            Order::ZERO
        }
    }

    /// Returns a frozen block to its zone.
    #[inline]
    pub(crate) fn free_frozen(&self, page: FrozenPage<'m>, order: Order) {
        let zone = &self.zones[page.page().zone_index()];
        if order != Order::ZERO {
            self.split_compound(page.page(), order);
        }
        if self.config.poison {
            self.poison(page.page(), order);
        }
        zone.give_block(page, order);
    }

    /// The pages of a compound page are pages of their own again.
    fn split_compound(&self, head: &Page, order: Order) {
        let first = self.map.pfn(head);
        head.clear_head();
        for i in 1..order.pages() {
            self.map.page(first + i).clear_tail();
        }
    }

    pub(crate) fn poison(&self, page: &Page, order: Order) {
        use crate::env::FrameMemory;
        let first = self.map.pfn(page);
        for i in 0..order.pages() {
            self.env.frames().poison(first + i);
        }
    }

    // ---- the page lock and write-back, and their sleepers (PAGE-01) ----

    /// Gives the page lock back and wakes who waits for it.
    #[inline]
    pub(crate) fn unlock(&self, lock: PageLock<'m>) {
        if let Some(page) = lock.unlock() {
            self.wake_waiters(page);
        }
    }

    #[cold]
    pub(crate) fn wake_waiters(&self, page: &Page) {
        let zone = &self.zones[page.zone_index()];
        self.env.tasks().wake(zone.wait_key(page));
    }

    /// Sleeps until the page lock is the caller's, or the caller is killed.
    ///
    /// # Errors
    /// The caller was killed.
    #[inline]
    pub(crate) fn lock_page(&self, held: &PageRef<'m>) -> Result<PageLock<'m>, WaitEnd> {
        #[cfg(debug_assertions)]
        self.env.tasks().might_sleep();
        match held.page().try_lock() {
            Some(lock) => Ok(lock),
            None => self.lock_page_slowly(held.page()),
        }
    }

    #[cold]
    fn lock_page_slowly(&self, page: &'m Page) -> Result<PageLock<'m>, WaitEnd> {
        let key = self.zones[page.zone_index()].wait_key(page);
        let mode = WaitMode { timeout: None, killable: true };
        let mut got = None;
        let end = self.env.tasks().wait_until(key, mode, &mut || {
            // Announced first: an unlock from now on either lets `try_lock` succeed or
            // finds WAITERS set and wakes.
            page.announce_waiter();
            got = page.try_lock();
            got.is_some()
        });
        got.ok_or(end)
    }

    /// Sleeps until nobody is writing the page out, or the caller is killed.
    #[cold]
    pub(crate) fn wait_on_page_writeback(&self, page: &'m Page) -> WaitEnd {
        let key = self.zones[page.zone_index()].wait_key(page);
        let mode = WaitMode { timeout: None, killable: true };
        self.env.tasks().wait_until(key, mode, &mut || {
            // Announced first, as for the page lock.
            page.announce_waiter();
            !page.has(PageFlags::WRITEBACK)
        })
    }

    /// Sleeps for `time`, or until killed if `killable`.
    pub(crate) fn nap(&self, time: Nanos, killable: bool) -> WaitEnd {
        let mode = WaitMode { timeout: Some(time), killable };
        self.env.tasks().wait_until(NAP_WAIT, mode, &mut || false)
    }

    // ---- LRU batches ----

    /// Puts a new page on the list that its flags name, by way of this CPU's batch.
    #[inline]
    pub(crate) fn lru_add(&self, page: &'m Page) {
        self.lru_add_held(page.get());
    }

    /// Like [`Mm::lru_add`], with a reference that the batch takes over.
    #[inline(always)]
    pub(crate) fn lru_add_held(&self, held: PageRef<'m>) {
        self.batches.add(&self.lru, held, |r| self.put(r));
    }

    /// A user of the page, other than a mapping, has used it (LRU-03): the first time it is
    /// marked, the second time it goes to the active list.
    pub fn mark_page_accessed(&self, held: &PageRef<'m>) {
        let page = held.page();
        let flags = page.flags();
        if !flags.contains(PageFlags::REFERENCED) {
            page.mark_referenced();
        } else if !flags.intersects(PageFlags::ACTIVE | PageFlags::UNEVICTABLE) {
            if !flags.contains(PageFlags::LRU) {
                self.lru_add_drain();
            }
            let lruvec = self.lru.of(page);
            if lruvec.relocate(page, Relocation::Activate) {
                page.take_referenced();
                lruvec.age(page.nr_pages());
                self.count(VmEvent::PgActivate, u64::from(page.nr_pages()));
            }
        }
    }

    /// A reference to the page in `pfn`, unless it is free.
    pub fn get_page(&self, pfn: Pfn) -> Option<PageRef<'m>> {
        self.map.get(pfn)?.get_unless_zero()
    }

    /// Gives a reference of [`Mm::get_page`] back.
    pub fn put_page(&self, held: PageRef<'m>) {
        self.put(held);
    }

    pub(crate) fn lru_add_drain(&self) {
        self.batches.drain(&self.lru, |r| self.put(r));
    }

    /// Empties the batches of every CPU, so that each page is on its list.
    pub fn lru_add_drain_all(&self) {
        self.batches.drain_all(&self.lru, |r| self.put(r));
    }

    /// Where the lists of all zones stand, for [`Turnover`].
    pub(crate) fn read_clocks(&self) -> Reading {
        Reading {
            clocks: ZoneId::ALL.map(|id| self.lru.in_zone(id).clock.load(Ordering::Relaxed)),
            evictions: self.zones.iter().map(|zone| zone.reclaim_counts().1).sum(),
        }
    }

    /// Whether reclaim spares the device: it writes nothing until it is in trouble (below
    /// priority 10), so that a disk may stand still.
    pub fn laptop_mode(&self) -> bool {
        self.reclaim.laptop_mode.load(Ordering::Relaxed)
    }

    /// Sets [`Mm::laptop_mode`].
    pub fn set_laptop_mode(&self, on: bool) {
        self.reclaim.laptop_mode.store(on, Ordering::Relaxed);
    }

    /// How strongly reclaim prefers swapping, 0 to 200.
    pub fn swappiness(&self) -> u8 {
        self.swappiness.load(Ordering::Relaxed)
    }

    /// Sets [`Mm::swappiness`]; more than 200 counts as 200.
    pub fn set_swappiness(&self, value: u8) {
        self.swappiness.store(value.min(200), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
