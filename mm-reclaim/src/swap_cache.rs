//! The swap cache: pages that have a slot, and transfers to and from it.
//!
//! A page is in the cache while its slot's word names its frame and its `SWAPCACHE` flag
//! and `private` name the slot; both change under the page lock. The cache holds one
//! reference. A fault finds the page by the slot, even under write-back; reclaim finds
//! the slot by the page.
//!
//! A lookup holds nothing at first: it reads the word, takes a reference unless the page
//! is free or frozen, and reads the word again. If it still names the frame, the page was
//! in the cache while the reference was taken.
//!
//! A completion runs in task context and takes the lruvec's lock at most.
//!
//! Counterpart in Linux: `mm/swap_state.c`, `mm/swapfile.c`, `mm/page_io.c`.

use crate::env::{BlockDevice, Cpu, DeviceId, Env};
use crate::lru::Relocation;
use crate::mm::Mm;
use crate::page::{Page, PageFlags, PageLock, PageRef};
use crate::stat::VmEvent;
use crate::swap::entry::MAX_SWAP_DEVICES;
use crate::swap::header::{Header, HeaderError};
use crate::swap::io::{Bio, Completion, Direction};
use crate::swap::map::{Held, Slot, SlotState, words_for};
use crate::swap::{SwapDevice, SwapEntry};
use crate::sync::{Ordering, RelaxStrategy};
use crate::units::{PAGE_SIZE, Pfn};
use core::mem::MaybeUninit;

/// Why a device was not taken into use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SwapOnError {
    /// Its header is not that of a swap area.
    Header(HeaderError),
    /// Reading the header failed.
    Read,
    /// As many devices as there can be are in use.
    TooManyDevices,
    /// The device is in use, or was: [`Mm::swapon_again`] takes it into use again.
    Known,
    /// The device was never in use, or still is.
    NotOff,
    /// The memory for the slots holds fewer words than the device needs.
    TooLittleMemory {
        /// Words needed.
        need: usize,
        /// Words given.
        have: usize,
    },
}

impl<'m, E: Env> Mm<'m, E> {
    /// Words of memory that [`Mm::swapon`] wants for a device of `blocks` pages.
    pub const fn swap_words(blocks: u32) -> usize {
        words_for(blocks)
    }

    /// Takes a device of `blocks` pages into use, with the header page already read from
    /// its block 0. Returns the usable slots.
    ///
    /// # Errors
    /// If the header is wrong or there is no place; nothing has changed then.
    pub fn swapon(
        &self,
        device: DeviceId,
        blocks: u32,
        header: &[u8; PAGE_SIZE],
        memory: &'m mut [MaybeUninit<Slot>],
        priority: i16,
    ) -> Result<u32, SwapOnError> {
        let header = Header::parse(header, blocks).map_err(SwapOnError::Header)?;
        let pages = header.last_page + 1;
        let (need, have) = (words_for(pages), memory.len());
        if have < need {
            return Err(SwapOnError::TooLittleMemory { need, have });
        }
        let _one_at_a_time = self.swapon_lock.lock();
        if self.swap_devices().any(|(_, d)| d.id == device) {
            return Err(SwapOnError::Known);
        }
        let at = self.swap.count.load(Ordering::Relaxed) as usize;
        if at == MAX_SWAP_DEVICES {
            return Err(SwapOnError::TooManyDevices);
        }
        let new = SwapDevice::new(device, priority, pages, memory, header.bad_pages());
        let usable = self.swap.devices[at].call_once(|| new).usable();
        // Release pairs with the Acquire of `swap_devices`.
        self.swap.count.store(at as u32 + 1, Ordering::Release);
        Ok(usable)
    }

    /// Takes a device into use again after [`Mm::swapoff`], with its place and its memory
    /// for slots, and the header page that its block 0 has now. Returns the usable slots.
    ///
    /// # Errors
    /// If the header is wrong, the device is not off, or it has become larger than its
    /// memory for slots; nothing has changed then.
    pub fn swapon_again(
        &self,
        device: DeviceId,
        header: &[u8; PAGE_SIZE],
        priority: i16,
    ) -> Result<u32, SwapOnError> {
        let (_, known) =
            self.swap_devices().find(|(_, d)| d.id == device).ok_or(SwapOnError::NotOff)?;
        let header = Header::parse(header, known.blocks()).map_err(SwapOnError::Header)?;
        match known.start(priority, header.last_page + 1, header.bad_pages()) {
            true => Ok(known.usable()),
            false => Err(SwapOnError::NotOff),
        }
    }

    /// The devices that are or were in use, with their positions.
    pub(crate) fn swap_devices(&self) -> impl Iterator<Item = (usize, &SwapDevice<'m, E::Cpu>)> {
        let count = self.swap.count.load(Ordering::Acquire) as usize;
        self.swap.devices[..count].iter().enumerate().filter_map(|(i, d)| Some((i, d.get()?)))
    }

    #[inline(always)]
    pub(crate) fn swap_device(&self, entry: SwapEntry) -> &SwapDevice<'m, E::Cpu> {
        self.swap.devices[entry.device()].get().expect("an entry of a device in use")
    }

    /// Swap slots in all and those that are free, of the devices that hand them out.
    pub fn swap_pages(&self) -> (u32, u32) {
        let on = self.swap_devices().filter(|(_, d)| d.is_on());
        on.fold((0, 0), |(t, f), (_, d)| (t + d.usable(), f + d.free()))
    }

    /// Whether a page could get a slot now.
    #[inline]
    pub(crate) fn has_free_swap(&self) -> bool {
        let has_free = |d: &SwapDevice<'m, E::Cpu>| d.is_on() && d.free() > 0;
        if self.swap.count.load(Ordering::Acquire) > 1 {
            return self.swap_devices().any(|(_, d)| has_free(d));
        }
        self.swap.devices[0].get().is_some_and(has_free)
    }

    /// Whether more than half of swap is used, so that slots are given back early.
    #[inline]
    pub(crate) fn vm_swap_full(&self) -> bool {
        if self.swap.count.load(Ordering::Acquire) > 1 {
            let (total, free) = self.swap_pages();
            return free < total / 2;
        }
        self.swap.devices[0].get().is_some_and(|d| d.is_on() && d.free() < d.usable() / 2)
    }

    /// A slot of the device with the highest priority that has one.
    #[inline]
    fn allocate_slot(&self, frame: Pfn, memcg: u16) -> Option<SwapEntry> {
        if self.swap.count.load(Ordering::Acquire) > 1 {
            return self.allocate_among(frame, memcg);
        }
        self.swap.devices[0].get()?.allocate(frame, memcg).map(|slot| SwapEntry::new(0, slot))
    }

    /// The highest priority first; equal priorities take turns.
    fn allocate_among(&self, frame: Pfn, memcg: u16) -> Option<SwapEntry> {
        let usable = || self.swap_devices().filter(|(_, d)| d.is_on() && d.free() > 0);
        let best = usable().map(|(_, d)| d.priority()).max()?;
        let equal = || usable().filter(|(_, d)| d.priority() == best);
        let turn = self.swap.turn.fetch_add(1, Ordering::Relaxed) as usize % equal().count().max(1);
        let in_turn = equal().skip(turn).chain(equal().take(turn));
        in_turn.into_iter().find_map(|(at, device)| {
            device.allocate(frame, memcg).map(|slot| SwapEntry::new(at, slot))
        })
    }

    /// Gives an anonymous page a slot and enters it into the cache; it is dirty from then
    /// on. False if no slot is free. The caller keeps count of the pages in the cache.
    pub(crate) fn add_to_swap(&self, lock: &PageLock<'m>) -> bool {
        let page = lock.page();
        let Some(entry) = self.allocate_slot(self.map.pfn(page), page.memcg()) else {
            return false;
        };
        page.get().leak();
        page.enter_swap_cache(entry.raw());
        page.set_dirty();
        true
    }

    /// Takes a page out of the cache; its contents are nowhere else from now on. The
    /// caller holds the page lock and a reference, and the page is not under write-back.
    pub(crate) fn delete_from_swap_cache(&self, lock: &PageLock<'m>) {
        let page = lock.page();
        let entry = SwapEntry::from_raw(page.private());
        page.leave_swap_cache();
        self.lru.of(page).add_swapcached(-1);
        page.set_dirty();
        self.swap_uncache(entry, self.map.pfn(page), None);
        let last = page.put();
        debug_assert!(!last, "the caller holds a reference");
    }

    /// Gives the slot of a page back if no page-table entry names it (`try_to_free_swap`).
    pub(crate) fn try_to_free_swap(&self, lock: &PageLock<'m>) -> bool {
        let page = lock.page();
        let flags = page.flags();
        if !flags.contains(PageFlags::SWAPCACHE) || flags.contains(PageFlags::WRITEBACK) {
            return false;
        }
        if self.slot_uses(page) > 0 {
            return false;
        }
        self.delete_from_swap_cache(lock);
        true
    }

    /// Page-table entries that name the slot of a page in the cache.
    pub(crate) fn slot_uses(&self, page: &Page) -> u32 {
        let entry = SwapEntry::from_raw(page.private());
        self.swap_device(entry).state(entry.slot()).uses
    }

    /// One more page-table entry names `raw`; false if the count is full.
    #[inline]
    pub(crate) fn swap_duplicate(&self, raw: u32) -> bool {
        let entry = SwapEntry::from_raw(raw);
        self.swap_device(entry).add_use(entry.slot())
    }

    /// Writing to the slot of a page in the cache has failed.
    pub(crate) fn is_slot_broken(&self, page: &Page) -> bool {
        self.has_write_failed(SwapEntry::from_raw(page.private()))
    }

    /// Writing to a slot has failed, be it in use still or retired since.
    pub(crate) fn has_write_failed(&self, entry: SwapEntry) -> bool {
        let state = self.swap_device(entry).state(entry.slot());
        state.broken || state.held == Held::Bad
    }

    /// One page-table entry less names `entry`; what the slot was before.
    #[inline]
    pub(crate) fn swap_free(&self, entry: SwapEntry) -> SlotState {
        let device = self.swap_device(entry);
        device.put_use(entry.slot(), || self.discard(device, entry))
    }

    /// One page-table entry less names `entry`, and will not name it again
    /// (`free_swap_and_cache`): a page that waits in the cache for nobody leaves it.
    pub(crate) fn free_swap_and_cache(&self, entry: SwapEntry) {
        self.swap_free(entry);
        let state = self.swap_device(entry).state(entry.slot());
        if state.uses == 0
            && matches!(state.held, Held::Page(_))
            && let Some(held) = self.swap_lookup(entry)
        {
            self.drop_unwanted(held.page());
            self.put(held);
        }
    }

    /// Takes a page, to which the caller has a reference, out of the cache if no page-table
    /// entry leads to it: its slot need not wait until reclaim comes by. One that is locked
    /// is left to whoever has the lock.
    pub(crate) fn drop_unwanted(&self, page: &'m Page) {
        if page.is_mapped() || !page.has(PageFlags::SWAPCACHE) {
            return;
        }
        if let Some(lock) = page.try_lock() {
            self.try_to_free_swap(&lock);
            self.unlock(lock);
        }
    }

    /// The page in `frame` leaves the slot, and perhaps a shadow in its place.
    #[inline]
    pub(crate) fn swap_uncache(&self, entry: SwapEntry, frame: Pfn, shadow: Option<u32>) {
        let device = self.swap_device(entry);
        device.uncache(entry.slot(), frame, shadow, || self.discard(device, entry));
    }

    fn discard(&self, device: &SwapDevice<'m, E::Cpu>, entry: SwapEntry) {
        self.env.blocks().discard(device.id, entry.slot(), 1);
    }

    /// The page of a slot, if it is in the cache (`lookup_swap_cache`).
    pub(crate) fn swap_lookup(&self, entry: SwapEntry) -> Option<PageRef<'m>> {
        let device = self.swap_device(entry);
        loop {
            let pfn = device.cached(entry.slot())?;
            let Some(found) = self.map.page(pfn).get_unless_zero() else {
                // Frozen: on its way out of the cache or back; look again.
                <<E::Cpu as Cpu>::Relax as RelaxStrategy>::relax();
                continue;
            };
            if device.cached(entry.slot()) == Some(pfn) {
                return Some(found);
            }
            self.put(found);
        }
    }

    // ---- transfers ----

    /// Starts writing a page of the cache: clears dirty, sets write-back, drops the page
    /// lock (SPL-20).
    pub(crate) fn swap_writepage(&self, lock: PageLock<'m>) {
        let page = lock.page();
        let entry = SwapEntry::from_raw(page.private());
        page.clear_dirty();
        page.begin_writeback();
        self.reclaim.writeback.fetch_add(page.nr_pages(), Ordering::Relaxed);
        self.unlock(lock);
        self.submit(Direction::Write, entry, page);
        self.count(VmEvent::PswpOut, 1);
    }

    /// Starts reading a page of the cache; the end of the transfer gives the lock back.
    pub(crate) fn swap_readpage(&self, lock: PageLock<'m>) {
        let page = lock.page();
        let entry = SwapEntry::from_raw(page.private());
        lock.pass_on();
        self.submit(Direction::Read, entry, page);
        self.count(VmEvent::PswpIn, 1);
    }

    #[inline]
    fn submit(&self, direction: Direction, entry: SwapEntry, page: &'m Page) {
        let device = self.swap_device(entry).id;
        let bio = Bio::new(direction, device, entry, self.map.pfn(page));
        if let Some(completion) = self.env.blocks().submit(bio) {
            self.complete(completion);
        }
    }

    /// Ends a transfer. Called by the device's task, or inline for a synchronous device.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a completion is proof of a transfer's end: it must be used up"
    )]
    pub fn complete(&self, end: Completion) {
        let Completion { direction, entry, frame, result } = end;
        let page = self.map.page(frame);
        match direction {
            Direction::Read => self.end_swap_read(page, result.is_ok()),
            Direction::Write => self.end_swap_write(page, entry, result.is_ok()),
        }
    }

    fn end_swap_read(&self, page: &'m Page, ok: bool) {
        if !ok {
            self.count(VmEvent::SwapReadError, 1);
        }
        page.end_read(ok);
        let held = page.get();
        self.unlock(PageLock::adopt(page));
        self.drop_if_last_user_went(page);
        self.put(held);
    }

    /// The last user of a page's slot may have gone while the device had the page.
    fn drop_if_last_user_went(&self, page: &'m Page) {
        if page.has(PageFlags::SWAPCACHE) && self.slot_uses(page) == 0 {
            self.drop_unwanted(page);
        }
    }

    /// A write that failed leaves the page dirty and active, its slot never to be used
    /// again; one that succeeded moves a page that reclaim waits for to the tail (LRU-07).
    fn end_swap_write(&self, page: &'m Page, entry: SwapEntry, ok: bool) {
        // The cache's reference lasts until write-back ends; this one a little longer.
        let held = page.get();
        if !ok {
            self.write_failed(page, entry);
        }
        let was = page.end_writeback();
        self.reclaim.writeback.fetch_sub(page.nr_pages(), Ordering::Relaxed);
        self.note_write_done();
        if ok && was.contains(PageFlags::RECLAIM) && was.contains(PageFlags::LRU) {
            let moved = self.lru.of(page).relocate(page, Relocation::InactiveTail);
            self.count(VmEvent::PgRotated, u64::from(moved));
            // What reclaim has looked at was not in vain: this page can be freed now.
            self.zones[page.zone_index()].forget_vain_looks();
        }
        if page.take_waiters() {
            self.wake_waiters(page);
        }
        self.drop_if_last_user_went(page);
        self.put(held);
    }

    /// SWAP-07: the page stays, dirty and active. One that is off its list at the moment is
    /// marked, and becomes active when it is put back.
    #[cold]
    fn write_failed(&self, page: &'m Page, entry: SwapEntry) {
        self.swap_device(entry).mark_broken(entry.slot());
        self.count(VmEvent::SwapWriteError, 1);
        page.note_write_error();
        let lruvec = self.lru.of(page);
        if lruvec.relocate(page, Relocation::Activate) || page.has(PageFlags::LRU) {
            page.take_write_error();
        }
    }
}

#[cfg(test)]
mod tests;
