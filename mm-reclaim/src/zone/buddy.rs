//! The buddy allocator of one zone: free blocks of 2^order pages, by migrate type.
//!
//! Data: a list for each order and migrate type; a free block's first page carries
//! `BUDDY`, its order and the type of the list that it is on. A mask for each type says
//! which orders have blocks. In addition, the partly free pageblocks by fullness. The zone's lock
//! guards all of it.
//!
//! Fast path: take the smallest block that fits, and free its unused halves. Freeing merges with
//! the buddy (the neighbour whose frame number differs in bit `order` alone) as long as that is a
//! free block of the same order.
//!
//! Single pages, which are most requests, come from the fullest pageblock instead
//! ([`Buddy::take_packed`]), so that the emptier ones become whole. A pageblock that is less full
//! than those that pages come from is *sparse*, and its tag says so: the per-CPU lists do not hand
//! its pages out again, but return them.
//!
//! When a type has no block left, it takes the largest block of another type and, if that
//! is at least half a pageblock, takes the pageblock over: the next requests of the same
//! type then stay together (Gorman and Whitcroft, "The what, the why and the where to of
//! anti-fragmentation", 2006).
//!
//! Counterpart in Linux: `__free_one_page`, `__rmqueue_smallest`, `__rmqueue_fallback`.

use super::partial::{CLASSES, Pageblock, Partial, class_of};
use super::{FrameRange, MigrateType, SPARSE, pageblock_index, tag_type};
use crate::base::sync::{AtomicU8, Ordering};
use crate::base::units::{Order, Pfn};
use crate::page::list::PageList;
use crate::page::memmap::MemMap;
use crate::page::{Page, PageFlags};

/// The types that a type may steal from, best first.
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
    /// The tag of each pageblock of the zone: its migrate type and [`SPARSE`].
    tags: &'m [AtomicU8],
    partial: Partial<'m>,
    /// The class of the pageblock that single pages of a type came from last.
    source: [usize; MigrateType::COUNT],
    span: FrameRange,
    map: MemMap<'m>,
}

impl<'m> Buddy<'m> {
    pub(super) fn new(
        map: MemMap<'m>,
        span: FrameRange,
        tags: &'m [AtomicU8],
        blocks: &'m [Pageblock],
    ) -> Self {
        let list = |_| PageList::new(map);
        Self {
            lists: core::array::from_fn(|_| core::array::from_fn(list)),
            nonempty: [0; MigrateType::COUNT],
            tags,
            partial: Partial::new(blocks),
            source: [CLASSES; MigrateType::COUNT],
            span,
            map,
        }
    }

    /// Changes the type of every pageblock that a free block of `order` covers or lies in.
    fn retag(&mut self, pfn: Pfn, order: Order, to: MigrateType) {
        let blocks = (order.pages() >> Order::PAGEBLOCK.get()).max(1) as usize;
        let first = pageblock_index(self.span, pfn);
        for at in first..first + blocks {
            self.tags[at].store(to as u8, Ordering::Relaxed);
            let block = self.partial.at(at);
            self.partial.set_loose(at, block, block.loose(), to);
        }
    }

    /// The pageblock around `pfn`.
    #[inline]
    fn block_of(&self, pfn: Pfn) -> &'m Pageblock {
        self.partial.at(pageblock_index(self.span, pfn))
    }

    /// Lists a free block, which lies in the pageblock `around` it if it is smaller than one.
    #[inline]
    fn link(&mut self, pfn: Pfn, order: Order, kind: MigrateType, around: &Pageblock) {
        let page = self.map.page(pfn);
        page.enter_buddy(order, kind as u8);
        if order < Order::PAGEBLOCK {
            around.set_head(pfn);
        }
        self.lists[order.index()][kind as usize].push_front(page);
        self.nonempty[kind as usize] |= 1 << order.index();
    }

    /// Notes that `page`, the block at `pfn`, has left its list.
    #[inline]
    fn note_removal(&mut self, page: &Page, order: Order, kind: MigrateType) {
        page.leave_buddy();
        if self.lists[order.index()][kind as usize].is_empty() {
            self.nonempty[kind as usize] &= !(1 << order.index());
        }
    }

    fn pop(&mut self, order: Order, kind: MigrateType) -> Option<(&'m Page, Pfn)> {
        let page = self.lists[order.index()][kind as usize].pop_front()?;
        let pfn = self.map.pfn(page);
        self.note_removal(page, order, kind);
        if order < Order::PAGEBLOCK {
            self.block_of(pfn).clear_head(pfn);
        }
        Some((page, pfn))
    }

    #[inline]
    fn unlink(&mut self, page: &'m Page, pfn: Pfn, order: Order, around: &Pageblock) {
        let kind = MigrateType::from_raw(page.index() as u8);
        self.lists[order.index()][kind as usize].remove(page);
        self.note_removal(page, order, kind);
        if order < Order::PAGEBLOCK {
            around.clear_head(pfn);
        }
    }

    /// The block of order `want` at `pfn` was taken out of a free block of order `found`; the rest
    /// is on the lists.
    #[inline]
    fn note_taken(&mut self, pfn: Pfn, found: Order, want: Order) {
        if want >= Order::PAGEBLOCK {
            return;
        }
        let at = pageblock_index(self.span, pfn);
        let whole = found >= Order::PAGEBLOCK;
        let block = self.partial.at(at);
        let had = if whole { Order::PAGEBLOCK.pages() } else { block.loose() };
        let kind = tag_type(&self.tags[at]);
        self.partial.set_loose(at, block, had - want.pages(), kind);
    }

    /// Free blocks of an order, without those of the reserved and isolated types.
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

    /// Takes up to `most` pages, in one block, where that keeps the most pageblocks whole: from the
    /// fullest of the type's partly free pageblocks, else from its smallest block. Also `None` if a
    /// block would have to be split and `split` forbids it.
    pub(super) fn take_packed(
        &mut self,
        most: u32,
        split: bool,
        kind: MigrateType,
    ) -> Option<(&'m Page, Order)> {
        let most = Order::new(most.checked_ilog2()? as u8)?;
        let page = self.packed(kind)?;
        let have = Order::new(page.private() as u8)?;
        if have > most && !split {
            return None;
        }
        let (pfn, want) = (self.map.pfn(page), have.min(most));
        let at = pageblock_index(self.span, pfn);
        let around = self.partial.at(at);
        self.unlink(page, pfn, have, around);
        self.expand(pfn, have, want, kind);
        self.note_taken(pfn, have, want);
        let tag = tag_type(&self.tags[at]) as u8;
        self.tags[at].store(tag, Ordering::Relaxed);
        Some((page, want))
    }

    /// The block that single pages of a type come from next.
    fn packed(&mut self, kind: MigrateType) -> Option<&'m Page> {
        if let Some((at, class, frame)) = self.partial.fullest(kind) {
            self.source[kind as usize] = class;
            let first = (self.span.start.0 >> Order::PAGEBLOCK.get()) + at as u32;
            return Some(self.map.page(Pfn((first << Order::PAGEBLOCK.get()) + frame)));
        }
        self.source[kind as usize] = CLASSES;
        let smallest = Order::new(self.nonempty[kind as usize].trailing_zeros() as u8)?;
        self.iter(smallest, kind).next()
    }

    #[inline]
    fn take_smallest(&mut self, order: Order, kind: MigrateType) -> Option<&'m Page> {
        let fitting = self.nonempty[kind as usize] >> order.index();
        if fitting == 0 {
            return None;
        }
        let found = Order::new(order.get() + fitting.trailing_zeros() as u8)?;
        let (page, pfn) = self.pop(found, kind)?;
        self.expand(pfn, found, order, kind);
        self.note_taken(pfn, found, order);
        Some(page)
    }

    /// Frees the upper halves of a block that is larger than requested.
    #[inline]
    fn expand(&mut self, pfn: Pfn, have: Order, want: Order, kind: MigrateType) {
        let around = self.block_of(pfn);
        for order in (want.get()..have.get()).rev().filter_map(Order::new) {
            self.link(pfn + order.pages(), order, kind, around);
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
        let (page, pfn) = self.pop(found, from)?;
        let takes_over = found.get() + 1 >= Order::PAGEBLOCK.get();
        if takes_over {
            self.retag(pfn, found, kind);
        }
        self.expand(pfn, found, order, if takes_over { kind } else { from });
        self.note_taken(pfn, found, order);
        Some((page, found))
    }

    /// Frees a block, merging it with its buddies.
    #[inline]
    pub(super) fn give(&mut self, pfn: Pfn, order: Order) {
        let at = pageblock_index(self.span, pfn);
        let (around, kind) = (self.partial.at(at), tag_type(&self.tags[at]));
        let (mut start, mut merged) = (pfn, order);
        while let Some((low, up)) = self.merge(start, merged, around) {
            (start, merged) = (low, up);
        }
        self.link(start, merged, kind, around);
        if order >= Order::PAGEBLOCK {
            return;
        }
        let whole = merged >= Order::PAGEBLOCK;
        let loose = if whole { 0 } else { around.loose() + order.pages() };
        self.partial.set_loose(at, around, loose, kind);
        let sparse = loose > 0 && class_of(loose) > self.source[kind as usize];
        let tag = kind as u8 | if sparse { SPARSE } else { 0 };
        self.tags[at].store(tag, Ordering::Relaxed);
    }

    /// Frees a range in the largest blocks that fit.
    pub(super) fn give_range(&mut self, range: FrameRange) {
        let mut pfn = range.start;
        while pfn < range.end {
            let align = pfn.0.trailing_zeros().min(u32::from(Order::MAX.get()));
            let order = align.min((range.end - pfn).ilog2());
            let order = Order::new(order as u8).unwrap_or(Order::ZERO);
            self.give(pfn, order);
            pfn = pfn + order.pages();
        }
    }

    /// Frees single frames and returns their number. Consecutive neighbours, which are common
    /// because pages taken together are often freed together, are freed as one range.
    pub(super) fn give_frames(&mut self, frames: impl Iterator<Item = Pfn>) -> u32 {
        let mut count = 0;
        let mut run = FrameRange::default();
        for pfn in frames {
            count += 1;
            if pfn == run.end {
                run.end = pfn + 1;
            } else if pfn + 1 == run.start {
                run.start = pfn;
            } else {
                self.give_range(run);
                run = FrameRange { start: pfn, end: pfn + 1 };
            }
        }
        self.give_range(run);
        count
    }

    /// Unlinks the free buddy of a block and returns the merged block.
    #[inline]
    fn merge(&mut self, pfn: Pfn, order: Order, around: &Pageblock) -> Option<(Pfn, Order)> {
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
        self.unlink(page, buddy, order, around);
        Some((Pfn(pfn.0 & buddy.0), up))
    }
}

#[cfg(test)]
mod tests;
