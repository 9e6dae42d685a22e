//! Frames: handing over, allocating and freeing, and the pages that stand for them.

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
    /// If a frame does not belong to the plan, or was handed over before.
    #[doc(alias = "memblock_free_all")]
    pub fn free_bootmem(&self, range: FrameRange) {
        self.zones.free_bootmem(range);
    }

    /// Allocates a block of 2^`order` frames for the kernel and returns its first frame. A block of
    /// several frames is a compound page. `None` if `gfp` allows it to fail and it must.
    #[inline]
    pub fn alloc_pages(&self, gfp: Gfp, order: Order) -> Option<Pfn> {
        self.alloc.alloc_pages(gfp, order)
    }

    /// Frees what [`Mm::alloc_pages`] returned.
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

    /// Drops a reference of [`Mm::get_page`].
    pub fn put_page(&self, held: PageRef<'m>) {
        self.lru.put(held);
    }

    /// The page was used other than through a mapping (LRU-03): the first time it is marked, the
    /// second time it goes to the active list.
    pub fn mark_page_accessed(&self, held: &PageRef<'m>) {
        self.lru.mark_page_accessed(held);
    }

    /// Drains the batches of every CPU, so that each page is on its list.
    pub fn lru_add_drain_all(&self) {
        self.lru.drain_all();
    }
}
