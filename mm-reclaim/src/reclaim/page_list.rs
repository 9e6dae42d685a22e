//! `shrink_page_list`: gets verdicts for a batch of isolated pages and carries them out.
//!
//! The ladder decides, this loop acts: one exhaustive `match` bumps the counters and moves
//! the page. Pages that were unmapped wait, locked, until sixteen do or all have been judged; then the
//! TLB is flushed once for all of them (RMAP-06), and they climb the rest of the ladder: they are
//! written and freed. Freed pages are gathered and returned to their zone in one go (SPL-18); the rest goes
//! back to the caller.
//!
//! Locks: those of the pages that wait, which were only tried. A write may sleep until the device's
//! queue has room, with the others still locked; the end of a transfer waits for no page lock.

use super::ladder::Judge;
use super::references::ReferenceRule;
use super::verdict::Terms;
use super::{
    BatchStat, FreeReason, Reason, Reclaim, SWAP_CLUSTER_MAX, Scan, Verdict, VerdictCounters,
};
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::env::{BlockDevice, Cpu, Env, Tasks};
use crate::page::{FrozenPage, IsolatedPages, ListChoice, LockedPage, MOST_ISOLATED, TokenArray};
use crate::rmap::RmapBatch;

impl<'m, E: Env> Scan<'_, 'm, E> {
    /// Reclaims what it can of `pages`, which are of the scan's lruvec; the others are left
    /// there, each with the flags of the list that it now belongs to.
    pub(super) fn shrink_page_list(&mut self, pages: &mut IsolatedPages<'m>) -> BatchStat {
        let reclaim = self.reclaim;
        let mut judge = Judge {
            reclaim,
            request: self.request,
            zone: self.zone,
            may: self.may(),
            nr: 1,
            stat: BatchStat::default(),
            pressure: 0,
            cached: 0,
            walks: RmapBatch::new(),
            passed_over: self.progress.passed_over,
        };
        let mut fates = Fates::of(pages);
        reclaim.env.blocks().plug();
        while let Some(page) = fates.pages.pop() {
            reclaim.env.tasks().yield_now();
            if fates.are_full() {
                self.settle(&mut judge, &mut fates);
            }
            match judge.judge(page) {
                Verdict::Unmapped(page, terms) => fates.wait(page, terms),
                verdict => reclaim.carry_out(verdict, &mut fates),
            }
        }
        self.settle(&mut judge, &mut fates);
        fates.counted.flush(&reclaim.verdicts);
        fates.pages.rewind();
        reclaim.rmap.finish(&mut judge.walks);
        reclaim.env.blocks().unplug();
        self.lruvec.add_swapcached(judge.cached);
        self.progress.scanned += judge.pressure;
        self.progress.passed_over = judge.passed_over;
        reclaim.count_batch(&judge.stat);
        judge.stat
    }

    /// No CPU can use a page of the batch after the flush: those that wait for it are written and
    /// freed.
    #[inline]
    fn settle(&self, judge: &mut Judge<'_, 'm, E>, fates: &mut Fates<'_, 'm>) {
        judge.walks.stale.flush(&self.reclaim.env);
        for at in 0.. {
            let Some(page) = fates.unmapped.pop() else { break };
            match judge.finish(page, fates.terms[at % WAITING]) {
                Verdict::Free(page, why) => {
                    fates.freed.push(page);
                    fates.counted.add(Reason::Free(why), &self.reclaim.verdicts);
                }
                verdict => self.reclaim.carry_out(verdict, fates),
            }
        }
        fates.unmapped.rewind();
        judge.stat.reclaimed += fates.freed.len() as u32;
        if !fates.freed.is_empty() {
            let freed = core::iter::from_fn(|| fates.freed.pop());
            self.reclaim.zones.free_batch(self.zone, freed);
            fates.freed.rewind();
        }
    }
}

/// Pages that wait for the flush of their batch, at most.
const WAITING: usize = SWAP_CLUSTER_MAX as usize / 2;

const _: () = assert!(MOST_ISOLATED == SWAP_CLUSTER_MAX as usize);

/// Where the pages of a batch go.
struct Fates<'a, 'm> {
    /// The batch; those that stay are kept in it.
    pages: &'a mut IsolatedPages<'m>,
    /// No longer mapped, and locked until they are written or leave their cache after the flush.
    unmapped: TokenArray<'m, LockedPage<'m>, WAITING>,
    /// On which terms they go on.
    terms: [Terms; WAITING],
    /// To be freed.
    freed: TokenArray<'m, FrozenPage<'m>, WAITING>,
    counted: Counted,
}

/// How often the last reason came in a row: most pages of a batch have the same.
struct Counted {
    reason: Reason,
    times: u64,
}

impl Counted {
    const NONE: Self = Self { reason: Reason::Free(FreeReason::Clean), times: 0 };

    #[inline(always)]
    fn add<C: Cpu>(&mut self, reason: Reason, counters: &VerdictCounters<C>) {
        if self.reason != reason {
            self.flush(counters);
            self.reason = reason;
        }
        self.times += 1;
    }

    fn flush<C: Cpu>(&mut self, counters: &VerdictCounters<C>) {
        if self.times > 0 {
            counters.add(self.reason.index(), self.times);
            self.times = 0;
        }
    }
}

impl<'a, 'm> Fates<'a, 'm> {
    fn of(pages: &'a mut IsolatedPages<'m>) -> Self {
        Self {
            pages,
            unmapped: TokenArray::new(),
            terms: [Terms::Free; WAITING],
            freed: TokenArray::new(),
            counted: Counted::NONE,
        }
    }

    /// Whether there is no room for what becomes of one page more.
    fn are_full(&self) -> bool {
        self.unmapped.is_full()
    }

    #[inline(always)]
    fn wait(&mut self, page: LockedPage<'m>, terms: Terms) {
        self.terms[self.unmapped.len()] = terms;
        self.unmapped.push(page);
    }
}

impl<'m, E: Env> Reclaim<'m, E> {
    fn count_batch(&self, stat: &BatchStat) {
        let activated = u64::from(stat.activate[0] + stat.activate[1]);
        if activated > 0 {
            self.events.count(VmEvent::PgActivate, activated);
        }
        if stat.pageout > 0 {
            self.events.count(VmEvent::NrVmscanWrite, u64::from(stat.pageout));
        }
        if stat.swapped_now > 0 {
            self.events.count(VmEvent::PswpOut, u64::from(stat.swapped_now));
        }
    }

    /// Moves a page where its verdict sends it, and counts the reason.
    fn carry_out(&self, verdict: Verdict<'m>, fates: &mut Fates<'_, 'm>) {
        let reason = match verdict {
            Verdict::Keep(page, why) => {
                fates.pages.keep(page);
                Reason::Keep(why)
            }
            Verdict::Activate(page, why) => {
                page.page().choose_list(ListChoice::Active);
                fates.pages.keep(page);
                Reason::Activate(why)
            }
            Verdict::Cull(page, why) => {
                page.page().choose_list(ListChoice::Unevictable);
                fates.pages.keep(page);
                self.events.count(VmEvent::UnevictablePgsCulled, 1);
                Reason::Cull(why)
            }
            Verdict::Free(page, why) => {
                fates.freed.push(page);
                Reason::Free(why)
            }
            Verdict::Left(why) => Reason::Free(why),
            Verdict::Unmapped(page, terms) => return fates.wait(page, terms),
        };
        fates.counted.add(reason, &self.verdicts);
    }

    /// What one reference to an anonymous page does for it.
    pub fn reference_rule(&self) -> ReferenceRule {
        match self.activate_anon.load(Ordering::Relaxed) {
            true => ReferenceRule::ActivateAnon,
            false => ReferenceRule::SecondChance,
        }
    }

    /// Sets [`Reclaim::reference_rule`].
    pub fn set_reference_rule(&self, rule: ReferenceRule) {
        let activate = rule == ReferenceRule::ActivateAnon;
        self.activate_anon.store(activate, Ordering::Relaxed);
    }

    /// The count of a reason.
    pub fn verdict_count(&self, reason: Reason) -> u64 {
        self.verdicts.read(reason.index())
    }
}
