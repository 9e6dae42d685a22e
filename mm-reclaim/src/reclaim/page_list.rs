//! `shrink_page_list`: gets verdicts for a batch of isolated pages and carries them out.
//!
//! The ladder decides, this loop acts: one exhaustive `match` bumps the counters and moves
//! the page. Freed pages are gathered and returned to their zone in one go, after the TLB was
//! flushed (SPL-18, RMAP-06); the rest goes back to the caller.

use super::ladder::Judge;
use super::references::ReferenceRule;
use super::{BatchStat, Reason, Reclaim, Scan, Verdict};
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::env::{BlockDevice, Env, Tasks};
use crate::page::{FrozenList, IsolatedList, ListChoice};
use crate::rmap::RmapBatch;

impl<'m, E: Env> Scan<'_, 'm, E> {
    /// Reclaims what it can of `pages`, which are of the scan's lruvec; the others are left
    /// there, each with the flags of the list that it now belongs to.
    pub(super) fn shrink_page_list(&mut self, pages: &mut IsolatedList<'m>) -> BatchStat {
        let reclaim = self.reclaim;
        let mut judge = Judge {
            reclaim,
            request: self.request,
            zone: self.zone,
            may: self.may(),
            stat: BatchStat::default(),
            pressure: 0,
            cached: 0,
            walks: RmapBatch::new(),
            passed_over: self.progress.passed_over,
        };
        let mut back = IsolatedList::new(reclaim.map);
        let mut freed = FrozenList::new(reclaim.map);
        reclaim.env.blocks().plug();
        while let Some(page) = pages.pop() {
            reclaim.env.tasks().yield_now();
            let verdict = judge.judge(page);
            reclaim.carry_out(verdict, &mut back, &mut freed);
        }
        let Judge { mut stat, pressure, cached, walks, passed_over, .. } = judge;
        reclaim.rmap.finish(walks);
        reclaim.env.blocks().unplug();
        self.lruvec.add_swapcached(cached);
        self.progress.scanned += pressure;
        self.progress.passed_over = passed_over;
        stat.reclaimed = freed.len();
        if stat.reclaimed > 0 {
            reclaim.zones.free_batch(self.zone, core::iter::from_fn(|| freed.pop()));
        }
        reclaim.count_batch(&stat);
        *pages = back;
        stat
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
    }

    /// Moves a page where its verdict sends it, and counts the reason.
    #[inline]
    fn carry_out(
        &self,
        verdict: Verdict<'m>,
        back: &mut IsolatedList<'m>,
        freed: &mut FrozenList<'m>,
    ) {
        let reason = match verdict {
            Verdict::Keep(page, why) => {
                back.push(page);
                Reason::Keep(why)
            }
            Verdict::Activate(page, why) => {
                page.page().choose_list(ListChoice::Active);
                back.push(page);
                Reason::Activate(why)
            }
            Verdict::Cull(page, why) => {
                page.page().choose_list(ListChoice::Unevictable);
                back.push(page);
                self.events.count(VmEvent::UnevictablePgsCulled, 1);
                Reason::Cull(why)
            }
            Verdict::Free(page, why) => {
                freed.push(page);
                Reason::Free(why)
            }
        };
        self.verdicts.add(reason.index(), 1);
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
