//! Per-CPU page lists: blocks of up to eight pages, available without the zone's lock (BUDY-07).
//!
//! Data: for each CPU, order and migrate type a [`Stack`] of free blocks. A block on one is
//! neither allocated nor in the buddy lists: it has no state and no reference. Allocation pops,
//! freeing pushes; an empty stack is refilled to half its capacity, and a full one returns as much,
//! in one critical section of the zone's lock. A stack needs no links, so a pair of operations
//! touches the descriptor and two cache lines.
//!
//! A page of a sparse pageblock, one that is less full than those that pages are taken from now, is
//! not handed out again, or the pageblock would never become whole: it waits on a stack of its own,
//! and [`BATCH`] of them go back to the zone together.
//!
//! Locks: a stack has a lock that is only tried. Its holder may be preempted or interrupted; a task
//! that preempted the holder, or another CPU that drains, finds it held and uses the buddy lists or
//! skips the stack. The zone's lock nests inside.
//!
//! Orders above three go to the buddy lists directly.

mod stack;

use super::{Mark, MigrateType, SPARSE, Zone, note};
use crate::base::sync::Ordering;
use crate::base::units::Order;
use crate::env::{Cpu, MAX_CPUS};
use crate::page::{FrozenPage, NewPage, Page};
use stack::{HeldStack, Stack};

/// The most single pages on a stack.
const HIGH: usize = 32;
/// Single pages that move between a stack and the buddy at a time.
const BATCH: usize = HIGH / 2;
/// Unmovable, movable, reclaimable.
const TYPES: usize = 3;

/// One CPU's stacks.
#[repr(align(64))]
pub(crate) struct CpuLists<'m> {
    singles: [Stack<'m, HIGH>; TYPES],
    /// Pages of sparse pageblocks, of any type, on their way back to the zone.
    returns: Stack<'m, BATCH>,
    /// Blocks of two, four and eight pages: sixteen pages each.
    pairs: [Stack<'m, 8>; TYPES],
    fours: [Stack<'m, 4>; TYPES],
    eights: [Stack<'m, 2>; TYPES],
}

/// Does the same with each stack: `$body` sees it as `$stack`, and the order of its blocks.
macro_rules! for_each_stack {
    ($lists:expr, |$stack:ident, $order:ident| $body:expr) => {{
        let lists: &CpuLists<'_> = $lists;
        for_each_stack!(0, lists.singles.iter(), |$stack, $order| $body);
        for_each_stack!(0, core::iter::once(&lists.returns), |$stack, $order| $body);
        for_each_stack!(1, lists.pairs.iter(), |$stack, $order| $body);
        for_each_stack!(2, lists.fours.iter(), |$stack, $order| $body);
        for_each_stack!(3, lists.eights.iter(), |$stack, $order| $body);
    }};
    ($number:literal, $stacks:expr, |$stack:ident, $order:ident| $body:expr) => {
        for $stack in $stacks {
            let $order = const { Order::new($number).unwrap() };
            $body;
        }
    };
}

/// Runs `$body` with the stacks of one order, or `$else` if there are none.
macro_rules! with_order {
    ($lists:expr, $order:expr, |$stacks:ident| $body:expr, else $else:expr) => {{
        let lists: &CpuLists<'_> = $lists;
        match $order.get() {
            0 => {
                let $stacks = &lists.singles;
                $body
            }
            1 => {
                let $stacks = &lists.pairs;
                $body
            }
            2 => {
                let $stacks = &lists.fours;
                $body
            }
            3 => {
                let $stacks = &lists.eights;
                $body
            }
            _ => $else,
        }
    }};
}

impl CpuLists<'_> {
    pub(crate) const fn new() -> Self {
        Self {
            singles: [const { Stack::new() }; TYPES],
            returns: Stack::new(),
            pairs: [const { Stack::new() }; TYPES],
            fours: [const { Stack::new() }; TYPES],
            eights: [const { Stack::new() }; TYPES],
        }
    }

    /// Pages on these stacks.
    pub(super) fn len(&self) -> u32 {
        let mut pages = 0;
        for_each_stack!(self, |stack, order| pages += stack.len() * order.pages());
        pages
    }

    /// Total pages taken from these stacks.
    pub(super) fn taken(&self) -> u64 {
        let mut pages = 0;
        for_each_stack!(self, |stack, order| pages += stack.popped() * u64::from(order.pages()));
        pages
    }
}

impl<'m, C: Cpu> Zone<'m, C> {
    /// The stacks of the current CPU; if the task is moved afterwards, they still serve.
    #[inline(always)]
    fn this_cpu(&self) -> &'m CpuLists<'m> {
        &self.pcp[C::current() % MAX_CPUS]
    }

    /// Takes a block.
    #[inline(always)]
    pub(crate) fn take_block(&self, order: Order, kind: MigrateType) -> Option<NewPage<'m>> {
        if order == Order::ZERO {
            return self.take_page(kind);
        }
        self.take_larger(order, kind)
    }

    /// Takes a single page.
    #[inline(always)]
    pub(crate) fn take_page(&self, kind: MigrateType) -> Option<NewPage<'m>> {
        let stack = self.this_cpu().singles.get(kind as usize)?;
        let Some(mut held) = stack.try_hold() else { return self.take(Order::ZERO, kind) };
        let Some(page) = held.pop() else { return self.refill_singles(held, kind) };
        drop(held);
        Some(NewPage::fresh(page))
    }

    #[inline(never)]
    fn take_larger(&self, order: Order, kind: MigrateType) -> Option<NewPage<'m>> {
        let page = with_order!(self.this_cpu(), order, |stacks| {
            let Some(mut held) = stacks.get(kind as usize).and_then(Stack::try_hold) else {
                return self.take(order, kind);
            };
            held.pop().or_else(|| self.refill(&mut held, order, kind))
        }, else return self.take(order, kind))?;
        Some(NewPage::fresh(page))
    }

    /// Fills an empty stack of single pages and returns one page. What it takes for later does not
    /// bring the zone below MIN: the next request would have to reclaim all of that.
    #[inline(never)]
    fn refill_singles(
        &self,
        mut held: HeldStack<'_, 'm, HIGH>,
        kind: MigrateType,
    ) -> Option<NewPage<'m>> {
        let mut returns = self.this_cpu().returns.try_hold();
        let mut buddy = self.buddy.lock();
        if let Some(returns) = &mut returns {
            self.give_oldest(&mut buddy, returns, BATCH, Order::ZERO);
        }
        let spare = self.free().saturating_sub(self.true_mark(Mark::Min)).max(1);
        let batch = BATCH.min(spare as usize);
        let mut fell_back = false;
        while held.len() < batch {
            // No block is split for the last few pages: the next refill needs all of it.
            let (most, split) = ((batch - held.len()) as u32, held.len() < batch.div_ceil(2));
            if let Some((first, order)) = buddy.take_packed(most, split, kind) {
                held.push_run(self.map, first, order);
                continue;
            }
            if !split {
                break;
            }
            let Some(taken) = buddy.take(Order::ZERO, kind) else { break };
            fell_back |= taken.fell_back;
            held.push_run(self.map, taken.page, Order::ZERO);
        }
        self.lend(held.len() as u32);
        drop(buddy);
        if fell_back {
            self.boost();
        }
        held.pop().map(NewPage::fresh)
    }

    /// Fills an empty stack of larger blocks and returns one.
    fn refill<const N: usize>(
        &self,
        held: &mut HeldStack<'_, 'm, N>,
        order: Order,
        kind: MigrateType,
    ) -> Option<&'m Page> {
        let mut buddy = self.buddy.lock();
        let mut fell_back = false;
        while held.len() < N / 2 {
            let Some(taken) = buddy.take(order, kind) else { break };
            fell_back |= taken.fell_back;
            held.push(taken.page);
        }
        self.lend(held.len() as u32 * order.pages());
        drop(buddy);
        if fell_back {
            self.boost();
        }
        held.pop()
    }

    /// Counts pages that left the buddy lists for a stack; for the holder of the zone's lock.
    fn lend(&self, pages: u32) {
        self.publish(-(pages as i32));
        note(&self.lent, pages);
    }

    /// Frees a block, its first page frozen.
    ///
    /// # Panics
    /// If it is still in use somewhere, or free already.
    #[inline(always)]
    pub(crate) fn give_block(&self, frozen: FrozenPage<'m>, order: Order) {
        if order == Order::ZERO {
            return self.give_page(frozen);
        }
        self.give_larger(frozen, order);
    }

    /// Frees a single page.
    ///
    /// # Panics
    /// As [`Zone::give_block`].
    #[inline(always)]
    pub(crate) fn give_page(&self, frozen: FrozenPage<'m>) {
        let page = self.sound(frozen);
        // A tag that is not just one of the stacks' types selects none of them.
        let cpu = self.this_cpu();
        let Some(stack) = cpu.singles.get(usize::from(self.tag(page))) else {
            return self.give_elsewhere(page);
        };
        let Some(mut held) = stack.try_hold() else { return self.give_past(page, Order::ZERO) };
        if !held.push(page) {
            self.spill(held, page, Order::ZERO);
        }
    }

    /// Frees a single cache-cold page: it is the last of its stack to be taken.
    ///
    /// # Panics
    /// As [`Zone::give_block`].
    pub(crate) fn give_cold_page(&self, frozen: FrozenPage<'m>) {
        let page = self.sound(frozen);
        let cpu = self.this_cpu();
        let Some(stack) = cpu.singles.get(usize::from(self.tag(page))) else {
            return self.give_elsewhere(page);
        };
        match stack.try_hold() {
            Some(mut held) if held.len() < HIGH => held.push_cold(page),
            _ => self.give_past(page, Order::ZERO),
        }
    }

    #[inline(never)]
    fn give_larger(&self, frozen: FrozenPage<'m>, order: Order) {
        let page = self.sound(frozen);
        let (cpu, tag) = (self.this_cpu(), usize::from(self.tag(page)));
        with_order!(cpu, order, |stacks| {
            let Some(mut held) = stacks.get(tag).and_then(Stack::try_hold) else {
                return self.give_past(page, order);
            };
            if !held.push(page) {
                self.spill(held, page, order);
            }
        }, else self.give_past(page, order));
    }

    /// Frees a page of a sparse, reserved or isolated pageblock.
    #[inline(never)]
    fn give_elsewhere(&self, page: &'m Page) {
        if usize::from(self.tag(page) & !SPARSE) >= TYPES {
            return self.give_past(page, Order::ZERO);
        }
        let Some(mut held) = self.this_cpu().returns.try_hold() else {
            return self.give_past(page, Order::ZERO);
        };
        if !held.push(page) {
            self.spill(held, page, Order::ZERO);
        }
    }

    /// Frees a block to the buddy lists, bypassing all stacks.
    #[cold]
    fn give_past(&self, page: &'m Page, order: Order) {
        self.give(FrozenPage::after_last_put(page), order);
    }

    /// Makes room for a block on a full stack, and pushes it.
    #[cold]
    #[inline(never)]
    fn spill<const N: usize>(&self, mut held: HeldStack<'_, 'm, N>, page: &'m Page, order: Order) {
        let most = if order == Order::ZERO { BATCH } else { N / 2 };
        self.give_oldest(&mut self.buddy.lock(), &mut held, most, order);
        held.push(page);
    }

    /// Returns up to `most` blocks of a stack, the oldest, to the buddy lists.
    fn give_oldest<const N: usize>(
        &self,
        buddy: &mut super::Buddy<'m>,
        held: &mut HeldStack<'_, 'm, N>,
        most: usize,
        order: Order,
    ) {
        held.drain(most, |oldest| {
            let frames = oldest.iter().flatten().map(|page| self.map.pfn(page));
            let blocks = match order {
                Order::ZERO => buddy.give_frames(frames),
                _ => frames.map(|pfn| buddy.give(pfn, order)).count() as u32,
            };
            self.publish((blocks * order.pages()) as i32);
            note(&self.returned, blocks * order.pages());
        });
    }

    /// Returns the blocks on every CPU's stacks to the buddy lists (`drain_all_pages`); false if a
    /// stack was in use and kept its blocks.
    pub(crate) fn drain_pcp(&self) -> bool {
        let mut all = true;
        for cpu in self.pcp {
            for_each_stack!(cpu, |stack, order| match stack.try_hold() {
                Some(mut held) => {
                    self.give_oldest(&mut self.buddy.lock(), &mut held, HIGH, order);
                }
                None => all = false,
            });
        }
        all
    }

    /// Whether no CPU's stack is in use.
    pub(crate) fn is_pcp_free(&self) -> bool {
        let mut all = true;
        for cpu in self.pcp {
            for_each_stack!(cpu, |stack, _order| all &= stack.try_hold().is_some());
        }
        all
    }

    /// Total pages allocated and freed through the stacks. The second follows from what moved
    /// between them and the buddy lists, so that the fast path updates one counter.
    pub(super) fn pcp_traffic(&self) -> (u64, u64) {
        let taken: u64 = self.pcp.iter().map(CpuLists::taken).sum();
        let [lent, returned] = [&self.lent, &self.returned].map(|n| n.load(Ordering::Relaxed));
        let held = lent.saturating_sub(returned).saturating_sub(u64::from(self.pcp_pages()));
        (taken, taken.saturating_sub(held))
    }
}

#[cfg(test)]
mod tests;
