//! Per-CPU page lists: single pages at hand without the zone's lock (BUDY-07).
//!
//! Data: for each CPU and migrate type a stack of up to [`HIGH`] frames. A page on one is
//! neither allocated nor in the buddy lists: it has no reference and carries `PCP`.
//! Taking pops, freeing pushes; an empty stack is refilled with [`BATCH`] pages, a full
//! one gives as many back, under one hold of the zone's lock. The stack needs no links, so
//! a pair of operations touches the descriptor and one cache line.
//!
//! A page of a sparse pageblock, one that is less full than those that pages come from now,
//! is not handed out again, or the pageblock would never become whole: it waits on a stack
//! of its own, and [`BATCH`] of them go back to the zone together.
//!
//! Locks: a CPU's lists have a lock of their own, which that CPU takes without contention;
//! it nests around the zone's. Whoever needs every page back drains all CPUs.
//!
//! Orders above zero go to the buddy lists directly.

use super::buddy::Buddy;
use super::{MigrateType, SPARSE, Zone, pageblock_index};
use crate::env::{Cpu, MAX_CPUS};
use crate::lock_order::CPU_PAGES;
use crate::memmap::MemMap;
use crate::page::{FrozenPage, Page};
use crate::sync::{Lock, LockGuard, Ordering};
use crate::units::Order;

/// Pages that move between a list and the buddy at a time.
const BATCH: usize = 16;
/// The most pages on a list.
const HIGH: usize = 2 * BATCH;
/// Unmovable, movable, reclaimable.
const TYPES: usize = 3;

struct Stack<'m, const N: usize> {
    pages: [Option<&'m Page>; N],
    len: usize,
}

/// One CPU's lists, behind their lock.
struct Pcp<'m> {
    stacks: [Stack<'m, HIGH>; TYPES],
    /// Pages of sparse pageblocks, of any type, on their way back to the zone.
    returns: Stack<'m, BATCH>,
    /// Pages taken and given by way of these lists, ever.
    taken: u64,
    given: u64,
}

/// One CPU's lists.
pub(crate) struct PcpLock<'m, C: Cpu>(Lock<C, Pcp<'m>, CPU_PAGES>);

impl<C: Cpu> PcpLock<'_, C> {
    pub(crate) const fn new() -> Self {
        let stacks = [const { Stack::new() }; TYPES];
        Self(Lock::new(Pcp { stacks, returns: Stack::new(), taken: 0, given: 0 }))
    }

    /// Pages on these lists.
    pub(super) fn len(&self) -> u32 {
        let pcp = self.0.lock();
        pcp.stacks.iter().map(|stack| stack.len).sum::<usize>() as u32 + pcp.returns.len as u32
    }

    /// Pages ever taken and given.
    pub(super) fn traffic(&self) -> (u64, u64) {
        let pcp = self.0.lock();
        (pcp.taken, pcp.given)
    }
}

impl<'m, const N: usize> Stack<'m, N> {
    const fn new() -> Self {
        Self { pages: [None; N], len: 0 }
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<&'m Page> {
        self.len = self.len.checked_sub(1)?;
        *self.pages.get(self.len)?
    }

    /// False if the stack is full.
    #[inline(always)]
    fn push(&mut self, page: &'m Page) -> bool {
        let Some(place) = self.pages.get_mut(self.len) else { return false };
        *place = Some(page);
        self.len += 1;
        true
    }

    /// The pages of a block that has just left the buddy lists, to be handed out in the order
    /// of their frames. There is room for them.
    fn push_run(&mut self, map: MemMap<'m>, first: &'m Page, order: Order) {
        let run = map.run(first, order.pages());
        let places = &mut self.pages[self.len..self.len + run.len()];
        for (place, page) in places.iter_mut().zip(run.iter().rev()) {
            page.enter_pcp();
            *place = Some(page);
        }
        self.len += run.len();
    }
}

impl<'m, C: Cpu> Zone<'m, C> {
    /// The lists of the CPU that this was asked on; were the task moved meanwhile, they
    /// would do as well.
    #[inline(always)]
    fn this_pcp(&self) -> LockGuard<'_, C, Pcp<'m>, CPU_PAGES> {
        self.pcp[C::current() % MAX_CPUS].0.lock()
    }

    /// Takes a single page, with one reference, from this CPU's list.
    #[inline]
    pub(crate) fn take_page(&self, kind: MigrateType) -> Option<&'m Page> {
        let mut pcp = self.this_pcp();
        let page = match pcp.stacks.get_mut(kind as usize)?.pop() {
            Some(page) => page,
            None => self.refill(&mut pcp, kind)?,
        };
        pcp.taken += 1;
        drop(pcp);
        page.leave_pcp();
        Some(page)
    }

    /// Fills an empty stack from the buddy lists; one page is the caller's.
    #[cold]
    fn refill(&self, pcp: &mut Pcp<'m>, kind: MigrateType) -> Option<&'m Page> {
        let stack = &mut pcp.stacks[kind as usize];
        let mut buddy = self.buddy.lock();
        let mut delta = 0;
        if pcp.returns.len > 0 {
            delta += self.give_oldest(&mut buddy, &mut pcp.returns, BATCH) as i32;
        }
        let mut fell_back = false;
        while stack.len < BATCH {
            // No block is split for the last few pages: the next refill needs all of it.
            let (most, split) = ((BATCH - stack.len) as u32, stack.len < BATCH / 2);
            if let Some((first, order)) = buddy.take_packed(most, split, kind) {
                stack.push_run(self.map, first, order);
                continue;
            }
            if !split {
                break;
            }
            let Some(taken) = buddy.take(Order::ZERO, kind) else { break };
            fell_back |= taken.fell_back;
            stack.push_run(self.map, taken.page, Order::ZERO);
        }
        self.publish(delta - stack.len as i32);
        drop(buddy);
        if fell_back {
            self.boost();
        }
        stack.pop()
    }

    /// Frees a single page by way of this CPU's list.
    ///
    /// # Panics
    /// If the page is still in use somewhere, or free already.
    #[inline]
    pub(crate) fn give_page(&self, frozen: FrozenPage<'m>) {
        let page = self.sound(frozen);
        let pfn = self.map.pfn(page);
        let tag = self.tags[pageblock_index(self.span, pfn)].load(Ordering::Relaxed);
        let mut pcp = self.this_pcp();
        // A tag that says more than a type of the stacks leads to none of them.
        let Some(stack) = pcp.stacks.get_mut(usize::from(tag)) else {
            return self.give_elsewhere(pcp, page, tag);
        };
        page.enter_pcp();
        if !stack.push(page) {
            self.spill_for(stack, page);
        }
        pcp.given += 1;
    }

    /// Frees a page of a sparse pageblock, or of one that is not for everybody.
    #[inline(never)]
    fn give_elsewhere(
        &self,
        mut pcp: LockGuard<'_, C, Pcp<'m>, CPU_PAGES>,
        page: &'m Page,
        tag: u8,
    ) {
        if usize::from(tag & !SPARSE) >= TYPES {
            drop(pcp);
            return self.give(FrozenPage::after_last_put(page), Order::ZERO);
        }
        page.enter_pcp();
        if !pcp.returns.push(page) {
            self.spill_for(&mut pcp.returns, page);
        }
        pcp.given += 1;
    }

    /// Makes room for a page on a full stack, and pushes it.
    #[cold]
    fn spill_for<const N: usize>(&self, stack: &mut Stack<'m, N>, page: &'m Page) {
        self.spill(stack, BATCH);
        stack.push(page);
    }

    /// Gives up to `most` pages of a stack, the oldest, back to the buddy lists.
    fn spill<const N: usize>(&self, stack: &mut Stack<'m, N>, most: usize) {
        let mut buddy = self.buddy.lock();
        let given = self.give_oldest(&mut buddy, stack, most);
        self.publish(given as i32);
    }

    /// What [`Zone::spill`] does under the zone's lock; how many pages it was.
    fn give_oldest<const N: usize>(
        &self,
        buddy: &mut Buddy<'m>,
        stack: &mut Stack<'m, N>,
        most: usize,
    ) -> usize {
        let count = most.min(stack.len);
        let pages = stack.pages[..count].iter().flatten();
        buddy.give_frames(pages.inspect(|page| page.clear_pcp()).map(|page| self.map.pfn(page)));
        stack.pages.copy_within(count..stack.len, 0);
        stack.len -= count;
        count
    }

    /// Gives the pages on every CPU's lists back to the buddy lists (`drain_all_pages`).
    pub(crate) fn drain_pcp(&self) {
        for pcp in self.pcp {
            let mut pcp = pcp.0.lock();
            for stack in &mut pcp.stacks {
                self.spill(stack, HIGH);
            }
            self.spill(&mut pcp.returns, BATCH);
        }
    }
}

#[cfg(test)]
mod tests;
