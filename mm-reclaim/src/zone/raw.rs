//! The allocator by itself, for benchmarks of it: no watermark is asked, nobody is reclaimed
//! from, and a block is no compound page. Kernels allocate through [`crate::Mm`].

use super::{MigrateType, Zone};
use crate::env::Cpu;
use crate::page::FrozenPage;
use crate::units::{Order, Pfn};

impl<C: Cpu> Zone<'_, C> {
    /// Takes a block of frames, by way of this CPU's list if it is a single one.
    #[doc(hidden)]
    #[inline]
    pub fn take_frames(&self, order: Order, kind: MigrateType) -> Option<Pfn> {
        let page = match order {
            Order::ZERO => self.take_page(kind),
            _ => self.take(order, kind),
        }?;
        Some(self.map.pfn(page))
    }

    /// Gives back what [`Zone::take_frames`] gave.
    ///
    /// # Panics
    /// If the block is not the caller's.
    #[doc(hidden)]
    #[inline]
    pub fn give_frames(&self, pfn: Pfn, order: Order) {
        let page = self.map.page(pfn);
        assert!(page.freeze(1), "in use elsewhere, or free: {page:?}");
        match order {
            Order::ZERO => self.give_page(FrozenPage::after_last_put(page)),
            _ => self.give(FrozenPage::after_last_put(page), order),
        }
    }

    /// Gives back what the per-CPU lists hold.
    #[doc(hidden)]
    pub fn settle(&self) {
        self.drain_pcp();
    }
}
