//! Per-CPU page lists: single pages at hand without the zone's lock (BUDY-07).
//!
//! Data: for each CPU and migrate type a stack of up to [`HIGH`] frames. A page on one is
//! neither allocated nor in the buddy lists: it has no reference and carries `PCP`.
//! Taking pops, freeing pushes; an empty stack is refilled with [`BATCH`] pages, a full
//! one gives as many back, under one hold of the zone's lock. The stack needs no links, so
//! a pair of operations touches the descriptor and one cache line.
//!
//! Locks: a CPU's lists have a lock of their own, which that CPU takes without contention;
//! it nests around the zone's. Whoever needs every page back drains all CPUs.
//!
//! Orders above zero go to the buddy lists directly.

use super::{MigrateType, Zone};
use crate::env::Cpu;
use crate::memmap::MemMap;
use crate::page::{FrozenPage, Page};
use crate::sync::{Lock, LockGuard};
use crate::units::Order;

/// Pages that move between a list and the buddy at a time.
const BATCH: usize = 16;
/// The most pages on a list.
const HIGH: usize = 2 * BATCH;
/// Unmovable, movable, reclaimable.
const TYPES: usize = 3;

struct Stack<'m> {
    pages: [Option<&'m Page>; HIGH],
    len: usize,
}

/// One CPU's lists, behind their lock.
struct Pcp<'m> {
    stacks: [Stack<'m>; TYPES],
    /// Pages taken and given by way of these lists, ever.
    taken: u64,
    given: u64,
}

/// One CPU's lists.
pub(crate) struct PcpLock<'m, C: Cpu>(Lock<C, Pcp<'m>>);

impl<C: Cpu> PcpLock<'_, C> {
    pub(crate) const fn new() -> Self {
        let stacks = [const { Stack { pages: [None; HIGH], len: 0 } }; TYPES];
        Self(Lock::new(Pcp { stacks, taken: 0, given: 0 }))
    }

    /// Pages on these lists.
    pub(super) fn len(&self) -> u32 {
        self.0.lock().stacks.iter().map(|stack| stack.len as u32).sum()
    }

    /// Pages ever taken and given.
    pub(super) fn traffic(&self) -> (u64, u64) {
        let pcp = self.0.lock();
        (pcp.taken, pcp.given)
    }
}

impl<'m> Stack<'m> {
    #[inline(always)]
    fn pop(&mut self) -> Option<&'m Page> {
        self.len = self.len.checked_sub(1)?;
        self.pages.get_mut(self.len)?.take()
    }

    #[inline(always)]
    fn push(&mut self, page: &'m Page) {
        self.pages[self.len] = Some(page);
        self.len += 1;
    }

    /// The pages of a block that has just left the buddy lists.
    fn push_run(&mut self, map: MemMap<'m>, first: &'m Page, order: Order) {
        for page in map.run(first, order.pages()) {
            page.enter_pcp();
            self.push(page);
        }
    }
}

impl<'m, C: Cpu> Zone<'m, C> {
    /// The lists of the CPU that this was asked on; were the task moved meanwhile, they
    /// would do as well.
    #[inline(always)]
    fn this_pcp(&self) -> LockGuard<'_, C, Pcp<'m>> {
        self.pcp[C::current() % self.pcp.len()].0.lock()
    }

    /// Takes a single page, with one reference, from this CPU's list.
    #[inline]
    pub(crate) fn take_page(&self, kind: MigrateType) -> Option<&'m Page> {
        let mut pcp = self.this_pcp();
        let stack = pcp.stacks.get_mut(kind as usize)?;
        let page = match stack.pop() {
            Some(page) => page,
            None => self.refill(stack, kind)?,
        };
        pcp.taken += 1;
        drop(pcp);
        page.leave_pcp();
        Some(page)
    }

    /// Fills an empty stack from the buddy lists; one page is the caller's.
    #[cold]
    fn refill(&self, stack: &mut Stack<'m>, kind: MigrateType) -> Option<&'m Page> {
        let mut buddy = self.buddy.lock();
        let mut fell_back = false;
        while stack.len < BATCH {
            if let Some((first, order)) = buddy.take_run((BATCH - stack.len) as u32, kind) {
                stack.push_run(self.map, first, order);
                continue;
            }
            let Some(taken) = buddy.take(Order::ZERO, kind) else { break };
            fell_back |= taken.fell_back;
            stack.push_run(self.map, taken.page, Order::ZERO);
        }
        self.publish(-(stack.len as i32));
        drop(buddy);
        if fell_back {
            self.boost();
        }
        // Handed out in the order of their frames.
        stack.pages[..stack.len].reverse();
        stack.pop()
    }

    /// Frees a single page by way of this CPU's list.
    ///
    /// # Panics
    /// If the page is still in use somewhere, or free already.
    #[inline]
    pub(crate) fn give_page(&self, frozen: FrozenPage<'m>) {
        let pfn = self.sound(frozen);
        let page = self.map.page(pfn);
        let kind = self.pageblock_type(pfn) as usize;
        let mut pcp = self.this_pcp();
        let Some(stack) = pcp.stacks.get_mut(kind) else {
            drop(pcp);
            return self.give(FrozenPage::after_last_put(page), Order::ZERO);
        };
        if stack.len == HIGH {
            self.spill(stack, BATCH);
        }
        page.enter_pcp();
        stack.push(page);
        pcp.given += 1;
    }

    /// Gives the `count` oldest pages of a stack back to the buddy lists.
    #[cold]
    fn spill(&self, stack: &mut Stack<'m>, count: usize) {
        let mut buddy = self.buddy.lock();
        for slot in &mut stack.pages[..count] {
            if let Some(page) = slot.take() {
                page.clear_pcp();
                buddy.give(self.map.pfn(page), Order::ZERO);
            }
        }
        self.publish(count as i32);
        drop(buddy);
        stack.pages[..stack.len].rotate_left(count);
        stack.len -= count;
    }

    /// Gives the pages on every CPU's lists back to the buddy lists (`drain_all_pages`).
    pub(crate) fn drain_pcp(&self) {
        for pcp in self.pcp {
            for stack in &mut pcp.0.lock().stacks {
                let all = stack.len;
                self.spill(stack, all);
            }
        }
    }
}

#[cfg(test)]
mod tests;
