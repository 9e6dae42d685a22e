//! Frames: handed over, taken and given back, and the pages that stand for them.

use super::Mm;
use crate::base::units::{Order, Pfn};
use crate::env::Env;
use crate::lru::LruSet;
use crate::page::PageRef;
use crate::page::memmap::MemMap;
use crate::zone::gfp::Gfp;
use crate::zone::{FrameRange, Zone, ZoneId};

impl<'m, E: Env> Mm<'m, E> {
    /// The memory map.
    pub fn memmap(&self) -> MemMap<'m> {
        self.map
    }

    /// One zone.
    #[inline(always)]
    pub fn zone(&self, id: ZoneId) -> &Zone<'m, E::Cpu> {
        self.zones.zone(id)
    }

    /// The zones that have memory, lowest first.
    pub fn zones(&self) -> impl DoubleEndedIterator<Item = &Zone<'m, E::Cpu>> {
        self.zones.iter()
    }

    /// The lists of every zone.
    pub fn lru(&self) -> &LruSet<'m, E::Cpu> {
        &self.lru.set
    }

    /// Hands free frames over from the boot allocator (`mem_init`); each frame once.
    ///
    /// # Panics
    /// If a frame is none of the plan's, or was handed over before.
    #[doc(alias = "memblock_free_all")]
    pub fn free_bootmem(&self, range: FrameRange) {
        self.zones.free_bootmem(range);
    }

    /// Allocates a block of 2^`order` frames for the kernel; its first frame. A block of
    /// several frames is a compound page. `None` if `gfp` allows it to fail and it must.
    #[inline]
    pub fn alloc_pages(&self, gfp: Gfp, order: Order) -> Option<Pfn> {
        self.alloc.alloc_pages(gfp, order)
    }

    /// Gives back what [`Mm::alloc_pages`] gave.
    ///
    /// # Panics
    /// If the block was freed already, is in use elsewhere or has another order.
    #[inline]
    pub fn free_pages(&self, pfn: Pfn, order: Order) {
        self.alloc.free_pages(pfn, order);
    }

    /// Free pages, those on the per-CPU lists included.
    pub fn total_free(&self) -> u32 {
        self.zones.total_free()
    }

    /// Pages that the allocator manages.
    pub fn total_managed(&self) -> u32 {
        self.zones.total_managed()
    }

    /// A reference to the page in `pfn`, unless it is free.
    pub fn get_page(&self, pfn: Pfn) -> Option<PageRef<'m>> {
        self.map.get(pfn)?.get_unless_zero()
    }

    /// Gives a reference of [`Mm::get_page`] back.
    pub fn put_page(&self, held: PageRef<'m>) {
        self.lru.put(held);
    }

    /// A user of the page, other than a page table, has used it (LRU-03): the first time it is
    /// marked, the second time it goes to the active list.
    pub fn mark_page_accessed(&self, held: &PageRef<'m>) {
        self.lru.mark_page_accessed(held);
    }

    /// Empties the batches of every CPU, so that each page is on its list.
    pub fn lru_add_drain_all(&self) {
        self.lru.drain_all();
    }
}
