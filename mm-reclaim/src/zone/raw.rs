//! The allocator by itself, for benchmarks: no watermark is checked, nothing is reclaimed, and a
//! block is no compound page. Kernels allocate through [`crate::Mm`].

use super::{MigrateType, Zone};
use crate::base::units::{Order, Pfn};
use crate::env::Cpu;
use crate::page::FrozenPage;

impl<C: Cpu> Zone<'_, C> {
    /// Takes a block of frames, through this CPU's lists.
    #[doc(hidden)]
    #[inline]
    pub fn take_frames(&self, order: Order, kind: MigrateType) -> Option<Pfn> {
        self.take_block(order, kind).map(|new| self.map.pfn(new.into_ref().leak()))
    }

    /// Frees what [`Zone::take_frames`] returned.
    ///
    /// # Panics
    /// If the block is not the caller's.
    #[doc(hidden)]
    #[inline]
    pub fn give_frames(&self, pfn: Pfn, order: Order) {
        let page = self.map.page(pfn);
        assert!(page.freeze(1), "in use elsewhere, or free: {page:?}");
        self.give_block(FrozenPage::after_last_put(page), order);
    }

    /// Takes a single page and frees it, `rounds` times; false if there is none.
    #[doc(hidden)]
    pub fn cycle_page(&self, times: u32) -> bool {
        (0..times).all(|_| {
            let page = self.take_page(MigrateType::Movable);
            page.is_some_and(|new| {
                let page = new.into_ref().leak();
                let last = page.put();
                self.give_page(FrozenPage::after_last_put(page));
                last
            })
        })
    }

    /// Returns what the per-CPU lists hold to the zone.
    #[doc(hidden)]
    pub fn settle(&self) {
        let _ = self.drain_pcp();
    }
}
