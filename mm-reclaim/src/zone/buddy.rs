//! The buddy allocator of one zone: free blocks of 2^order pages, by migrate type.
//!
//! Data: a list for each order and migrate type; a free block's first page carries
//! `BUDDY`, its order and the type of the list that it is on. A mask for each type says
//! which orders have blocks. Everything sits inside the zone's lock.
//!
//! Straight path: take the smallest block that fits, give back its unused halves. Freeing
//! merges with the buddy (the neighbour whose frame number differs in bit `order` alone)
//! as long as that is a free block of the same order.
//!
//! When a type has no block left, it takes the largest block of another type and, if that
//! is at least half a pageblock, takes the pageblock over: the next requests of the same
//! type then stay together (Gorman and Whitcroft, "The what, the why and the where to of
//! anti-fragmentation", 2006).
//!
//! Counterpart in Linux: `__free_one_page`, `__rmqueue_smallest`, `__rmqueue_fallback`.

use super::{FrameRange, MigrateType, pageblock_index, pageblock_type};
use crate::list::PageList;
use crate::memmap::MemMap;
use crate::page::{Page, PageFlags};
use crate::sync::{AtomicU8, Ordering};
use crate::units::{Order, Pfn};

/// From which types a type may steal, best first.
const FALLBACKS: [[MigrateType; 2]; 3] = [
    [MigrateType::Reclaimable, MigrateType::Movable],
    [MigrateType::Reclaimable, MigrateType::Unmovable],
    [MigrateType::Unmovable, MigrateType::Movable],
];

/// A block that left the free lists.
pub(super) struct Taken<'m> {
    pub(super) page: &'m Page,
    /// Less than a pageblock was stolen from another type: two types now share one.
    pub(super) fell_back: bool,
}

/// The free blocks of a zone.
pub(super) struct Buddy<'m> {
    lists: [[PageList<'m>; MigrateType::COUNT]; Order::COUNT],
    /// Bit `o` of a type's mask is set while its list of order `o` has blocks.
    nonempty: [u16; MigrateType::COUNT],
    /// The migrate type of each pageblock of the zone.
    blocks: &'m [AtomicU8],
    span: FrameRange,
    map: MemMap<'m>,
}

impl<'m> Buddy<'m> {
    pub(super) fn new(map: MemMap<'m>, span: FrameRange, blocks: &'m [AtomicU8]) -> Self {
        let list = |_| PageList::new(map);
        Self {
            lists: core::array::from_fn(|_| core::array::from_fn(list)),
            nonempty: [0; MigrateType::COUNT],
            blocks,
            span,
            map,
        }
    }

    /// Changes the type of every pageblock that a free block of `order` covers or lies in.
    fn retag(&self, pfn: Pfn, order: Order, to: MigrateType) {
        let blocks = (order.pages() >> Order::PAGEBLOCK.get()).max(1) as usize;
        let first = pageblock_index(self.span, pfn);
        for block in &self.blocks[first..first + blocks] {
            block.store(to as u8, Ordering::Relaxed);
        }
    }

    #[inline]
    fn link(&mut self, page: &'m Page, order: Order, kind: MigrateType) {
        page.enter_buddy(order, kind as u8);
        self.lists[order.index()][kind as usize].push_front(page);
        self.nonempty[kind as usize] |= 1 << order.index();
    }

    #[inline]
    fn note_removal(&mut self, order: Order, kind: MigrateType) {
        if self.lists[order.index()][kind as usize].is_empty() {
            self.nonempty[kind as usize] &= !(1 << order.index());
        }
    }

    fn pop(&mut self, order: Order, kind: MigrateType) -> Option<&'m Page> {
        let page = self.lists[order.index()][kind as usize].pop_front()?;
        self.note_removal(order, kind);
        page.leave_buddy();
        Some(page)
    }

    fn unlink(&mut self, page: &'m Page, order: Order) {
        let kind = MigrateType::from_raw(page.index() as u8);
        self.lists[order.index()][kind as usize].remove(page);
        self.note_removal(order, kind);
        page.leave_buddy();
    }

    /// Free blocks of an order that anybody but the isolated types may use.
    pub(super) fn blocks_of(&self, order: Order) -> u32 {
        let usable = &self.lists[order.index()][..MigrateType::HighAtomic as usize];
        usable.iter().map(PageList::len).sum()
    }

    /// Free blocks of one order and type.
    pub(super) fn blocks_of_type(&self, order: Order, kind: MigrateType) -> u32 {
        self.lists[order.index()][kind as usize].len()
    }

    /// The free blocks of one list, for `validate()`.
    pub(super) fn iter(
        &self,
        order: Order,
        kind: MigrateType,
    ) -> impl Iterator<Item = &'m Page> + '_ {
        self.lists[order.index()][kind as usize].iter()
    }

    /// Takes a block of `order` for a request of type `kind`.
    #[inline]
    pub(super) fn take(&mut self, order: Order, kind: MigrateType) -> Option<Taken<'m>> {
        if let Some(page) = self.take_smallest(order, kind) {
            return Some(Taken { page, fell_back: false });
        }
        let (page, found) = self.take_fallback(order, kind)?;
        Some(Taken { page, fell_back: found < Order::PAGEBLOCK })
    }

    /// Takes the smallest block of a type, or as much of it as `most` pages: small blocks are
    /// used up before large ones are broken.
    pub(super) fn take_run(&mut self, most: u32, kind: MigrateType) -> Option<(&'m Page, Order)> {
        let smallest = Order::new(self.nonempty[kind as usize].trailing_zeros() as u8)?;
        let want = smallest.min(Order::new(most.checked_ilog2()? as u8)?);
        let page = self.pop(smallest, kind)?;
        self.expand(page, smallest, want, kind);
        Some((page, want))
    }

    #[inline]
    fn take_smallest(&mut self, order: Order, kind: MigrateType) -> Option<&'m Page> {
        let fitting = self.nonempty[kind as usize] >> order.index();
        if fitting == 0 {
            return None;
        }
        let found = Order::new(order.get() + fitting.trailing_zeros() as u8)?;
        let page = self.pop(found, kind)?;
        self.expand(page, found, order, kind);
        Some(page)
    }

    /// Gives back the upper halves of a block that is larger than asked for.
    #[inline]
    fn expand(&mut self, page: &'m Page, have: Order, want: Order, kind: MigrateType) {
        if have == want {
            return;
        }
        let pfn = self.map.pfn(page);
        for order in (want.get()..have.get()).rev().filter_map(Order::new) {
            let half = self.map.page(pfn + order.pages());
            self.link(half, order, kind);
        }
    }

    fn take_fallback(&mut self, order: Order, kind: MigrateType) -> Option<(&'m Page, Order)> {
        let wanted = !0u16 << order.index();
        let sources = FALLBACKS.get(kind as usize)?;
        let largest = |s: &MigrateType| {
            let orders = self.nonempty[*s as usize] & wanted;
            orders.checked_ilog2().and_then(|o| Some((Order::new(o as u8)?, *s)))
        };
        // The largest block of all; among equals, the source that is listed first.
        let (found, from) = sources.iter().rev().filter_map(largest).max_by_key(|(o, _)| *o)?;
        let page = self.pop(found, from)?;
        let takes_over = found.get() + 1 >= Order::PAGEBLOCK.get();
        if takes_over {
            self.retag(self.map.pfn(page), found, kind);
        }
        self.expand(page, found, order, if takes_over { kind } else { from });
        Some((page, found))
    }

    /// Gives a block back, merging it with its buddies.
    #[inline]
    pub(super) fn give(&mut self, pfn: Pfn, order: Order) {
        let kind = pageblock_type(self.blocks, self.span, pfn);
        let (mut pfn, mut order) = (pfn, order);
        while let Some((low, up)) = self.merge(pfn, order) {
            (pfn, order) = (low, up);
        }
        self.link(self.map.page(pfn), order, kind);
    }

    /// Unlinks the free buddy of a block; the merged block.
    #[inline]
    fn merge(&mut self, pfn: Pfn, order: Order) -> Option<(Pfn, Order)> {
        let up = Order::new(order.get() + 1)?;
        let buddy = Pfn(pfn.0 ^ order.pages());
        if buddy < self.span.start || buddy + order.pages() > self.span.end {
            return None;
        }
        let page = self.map.page(buddy);
        let free = page.has(PageFlags::BUDDY) && page.private() == u32::from(order.get());
        if !free {
            return None;
        }
        self.unlink(page, order);
        Some((Pfn(pfn.0 & buddy.0), up))
    }
}

#[cfg(test)]
mod tests;
