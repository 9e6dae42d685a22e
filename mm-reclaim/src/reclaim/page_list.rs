//! `shrink_page_list`: judges a batch of isolated pages and carries the verdicts out.
//!
//! The ladder decides, this loop acts: one exhaustive `match` bumps the counters and moves
//! the page. Freed pages are gathered and given to their zone in one go, after the TLB was
//! flushed (SPL-18, RMAP-06); the rest goes back to the caller.

use super::ladder::Judge;
use super::references::ReferenceRule;
use super::{BatchStat, Reason, ScanProgress, ScanRequest, Verdict};
use crate::env::{BlockDevice, Env, Tasks};
use crate::list::PageList;
use crate::lru::IsolatedList;
use crate::mm::Mm;
use crate::page::FrozenPage;
use crate::rmap::RmapBatch;
use crate::stat::VmEvent;
use crate::sync::Ordering;
use crate::units::Order;
use crate::zone::Zone;

impl<'m, E: Env> Mm<'m, E> {
    /// Reclaims what it can of `pages`; the others are left there, each with the flags of
    /// the list that it now belongs to.
    pub(super) fn shrink_page_list(
        &self,
        pages: &mut IsolatedList<'m>,
        zone: &Zone<'m, E::Cpu>,
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> BatchStat {
        let mut judge = Judge {
            mm: self,
            request,
            zone,
            may: progress.may(request),
            stat: BatchStat::default(),
            pressure: 0,
            cached: 0,
            walks: RmapBatch::new(),
        };
        let mut back = IsolatedList::new(self.map);
        let mut freed = PageList::new(self.map);
        self.env.blocks().plug();
        while let Some(page) = pages.pop() {
            self.env.tasks().yield_now();
            let verdict = judge.judge(page);
            self.carry_out(verdict, &mut back, &mut freed);
        }
        let Judge { mut stat, pressure, cached, walks, .. } = judge;
        walks.finish(self);
        self.env.blocks().unplug();
        self.lru.in_zone(zone.id()).add_swapcached(cached);
        progress.scanned += pressure;
        stat.reclaimed = freed.len();
        self.free_batch(freed);
        let activated = u64::from(stat.activate[0] + stat.activate[1]);
        if activated > 0 {
            self.count(VmEvent::PgActivate, activated);
        }
        if stat.pageout > 0 {
            self.count(VmEvent::NrVmscanWrite, u64::from(stat.pageout));
        }
        *pages = back;
        stat
    }

    /// Moves a page where its verdict sends it, and counts the reason.
    #[inline]
    fn carry_out(
        &self,
        verdict: Verdict<'m>,
        back: &mut IsolatedList<'m>,
        freed: &mut PageList<'m>,
    ) {
        let reason = match verdict {
            Verdict::Keep(page, why) => {
                back.push(page);
                Reason::Keep(why)
            }
            Verdict::Activate(page, why) => {
                page.page().choose_list(true, false);
                back.push(page);
                Reason::Activate(why)
            }
            Verdict::Cull(page, why) => {
                page.page().choose_list(false, true);
                back.push(page);
                self.count(VmEvent::UnevictablePgsCulled, 1);
                Reason::Cull(why)
            }
            Verdict::Free(page, why) => {
                freed.push_back(page.leak());
                Reason::Free(why)
            }
        };
        self.verdicts.add::<E::Cpu>(reason.index(), 1);
    }

    /// Gives frozen pages of one zone back in one go.
    fn free_batch(&self, mut freed: PageList<'m>) {
        if freed.is_empty() {
            return;
        }
        let Some(zone) = freed.back().map(|p| &self.zones[p.zone_index()]) else { return };
        if self.config.poison {
            freed.iter().for_each(|page| self.poison(page, Order::ZERO));
        }
        zone.give_batch(core::iter::from_fn(|| freed.pop_front().map(FrozenPage::after_last_put)));
    }

    /// What one reference to an anonymous page earns it.
    pub fn reference_rule(&self) -> ReferenceRule {
        match self.reclaim.activate_anon.load(Ordering::Relaxed) {
            true => ReferenceRule::ActivateAnon,
            false => ReferenceRule::SecondChance,
        }
    }

    /// Sets [`Mm::reference_rule`].
    pub fn set_reference_rule(&self, rule: ReferenceRule) {
        let activate = rule == ReferenceRule::ActivateAnon;
        self.reclaim.activate_anon.store(activate, Ordering::Relaxed);
    }

    /// How often each reason decided about a page.
    pub fn verdict_count(&self, reason: Reason) -> u64 {
        self.verdicts.read(reason.index())
    }
}
