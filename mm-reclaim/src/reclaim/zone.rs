//! `shrink_zones` and `shrink_zone`: from the zonelist down to one zone's lists.
//!
//! Later parts are to be added here: memory control groups are the lruvecs that the loop of
//! [`Reclaim::shrink_zone`] visits, before the shrinkers; compaction is asked before it whether it
//! could already satisfy the order. There is one group and no compaction yet; for orders above zero
//! only [`should_continue_reclaim`] decides.

use super::{BatchStat, DEF_PRIORITY, Reclaim, ReclaimKind, Scan, ScanProgress, ScanRequest};
use crate::base::units::Order;
use crate::env::Env;
use crate::lru::Lruvec;
use crate::page::{IsolatedPages, LruList, PageType};
use crate::zone::{Zone, ZoneId};

impl<'m, E: Env> Reclaim<'m, E> {
    /// Walks the zonelist up to the class zone (SHRZ-01); the zones nearest to the class
    /// come first, as they serve most requests.
    pub(crate) fn shrink_zones(&self, request: &ScanRequest, progress: &mut ScanProgress) {
        for zone in self.zones.zonelist(request.class) {
            let may_skip = request.is_global() && progress.priority < DEF_PRIORITY;
            if may_skip && self.is_unreclaimable(zone) {
                continue;
            }
            if self.shrink_zone(zone, request, progress) {
                self.note_reclaim_success();
            }
            if request.kind == ReclaimKind::Direct && progress.is_enough_for_one() {
                return;
            }
        }
    }

    fn is_unreclaimable(&self, zone: &Zone<'m, E::Cpu>) -> bool {
        is_unreclaimable(zone.looked_at_in_vain(), self.reclaimable_pages(zone))
    }

    /// Pages that reclaim could free in a zone: file pages, and anonymous ones as far as they have
    /// a slot or there is one for them.
    pub(crate) fn reclaimable_pages(&self, zone: &Zone<'m, E::Cpu>) -> u32 {
        let (_, free_slots) = self.swap.pages();
        let reclaimable = |lruvec: &Lruvec<'m, E::Cpu>| {
            let size = |list| lruvec.size(list);
            let file = size(LruList::InactiveFile) + size(LruList::ActiveFile);
            let anon = size(LruList::InactiveAnon) + size(LruList::ActiveAnon);
            file + anon.min(free_slots.saturating_add(lruvec.swapcached()))
        };
        self.lru.set.of_zone(zone.id()).map(reclaimable).sum()
    }

    /// Pages that reclaim could free in the zones of a class.
    pub(crate) fn reclaimable_for(&self, class: ZoneId) -> u32 {
        self.zones.zonelist(class).map(|zone| self.reclaimable_pages(zone)).sum()
    }

    /// Whether an anonymous page of the lruvec could be reclaimed (`can_reclaim_anon_pages`):
    /// one that has a slot needs none, so that they count when swap is full.
    pub(super) fn can_reclaim_anon(&self, lruvec: &Lruvec<'m, E::Cpu>) -> bool {
        self.swap.has_free() || lruvec.swapcached() > 0
    }

    fn inactive_pages(&self, zone: &Zone<'m, E::Cpu>) -> u32 {
        let inactive = |lruvec: &Lruvec<'m, E::Cpu>| {
            let anon = self.can_reclaim_anon(lruvec);
            let anon = if anon { lruvec.size(LruList::InactiveAnon) } else { 0 };
            lruvec.size(LruList::InactiveFile) + anon
        };
        self.lru.set.of_zone(zone.id()).map(inactive).sum()
    }

    /// Reclaims from the lists of one zone, group by group, until the order's need is met or a
    /// round was fruitless (SHRZ-02's loop); true if any round freed something.
    pub(crate) fn shrink_zone(
        &self,
        zone: &Zone<'m, E::Cpu>,
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> bool {
        let mut any = false;
        loop {
            let (before, looked_at) = (progress.reclaimed, progress.looked_at);
            for lruvec in self.lru.set.of_zone(zone.id()) {
                Scan { reclaim: self, zone, lruvec, request, progress }.shrink_lruvec();
            }
            if self.is_class_zone(zone.id(), request) {
                let scanned = progress.looked_at - looked_at;
                progress.reclaimed += self.shrink_slab(zone, request.gfp, scanned);
            }
            let freed = (progress.reclaimed - before) as u32;
            any |= freed > 0;
            let left = self.inactive_pages(zone);
            if !should_continue_reclaim(request.order, progress.priority, freed, left) {
                return any;
            }
        }
    }

    /// Reclaims exactly the given pages of one type of one lruvec, whatever their references, and
    /// puts the others back (`reclaim_pages`).
    pub(crate) fn reclaim_pages(
        &self,
        pages: &mut IsolatedPages<'m>,
        lruvec: &Lruvec<'m, E::Cpu>,
        kind: PageType,
    ) -> u32 {
        let (request, mut progress) = (ScanRequest::proactive(), ScanProgress::default());
        self.shrink_isolated(pages, lruvec, kind, &request, &mut progress).reclaimed
    }

    /// A scan of isolated pages with the request and the progress of the caller.
    pub(super) fn shrink_isolated(
        &self,
        pages: &mut IsolatedPages<'m>,
        lruvec: &Lruvec<'m, E::Cpu>,
        kind: PageType,
        request: &ScanRequest,
        progress: &mut ScanProgress,
    ) -> BatchStat {
        let zone = self.zones.zone(lruvec.zone());
        Scan { reclaim: self, zone, lruvec, request, progress }.shrink_isolated(pages, kind)
    }
}

/// SHRZ-01: there is nothing to reclaim in a zone, or six times as much was scanned since a page
/// was last freed there.
fn is_unreclaimable(looked_at: u32, reclaimable: u32) -> bool {
    u64::from(looked_at) >= 6 * u64::from(reclaimable)
}

/// SHRZ-09, without compaction to ask: `freed` by the last round, `inactive` pages left.
fn should_continue_reclaim(order: Order, priority: u8, freed: u32, inactive: u32) -> bool {
    let costly = order > Order::COSTLY || order > Order::ZERO && priority < DEF_PRIORITY - 2;
    let wanted = order.pages() * 2;
    costly && freed > 0 && freed < wanted && inactive > wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHRZ-01: nothing to reclaim, or six times as much scanned without success.
    #[test]
    fn a_zone_is_unreclaimable_after_six_times_its_pages() {
        for (looked_at, reclaimable, want) in
            [(0, 0, true), (0, 1, false), (5, 1, false), (6, 1, true), (599, 100, false)]
        {
            assert_eq!(is_unreclaimable(looked_at, reclaimable), want, "{looked_at} {reclaimable}");
        }
    }

    /// SHRZ-09: each condition on its own ends the loop.
    #[test]
    fn reclaim_goes_on_for_costly_orders_only_while_it_pays() {
        let order = |n| Order::new(n).expect("an order");
        assert!(should_continue_reclaim(order(4), 12, 1, 1000));
        assert!(should_continue_reclaim(order(1), 9, 1, 1000));
        assert!(!should_continue_reclaim(order(1), 10, 1, 1000));
        assert!(!should_continue_reclaim(order(3), 12, 1, 1000));
        assert!(!should_continue_reclaim(order(0), 0, 1, 1000));
        assert!(!should_continue_reclaim(order(4), 12, 0, 1000));
        assert!(!should_continue_reclaim(order(4), 12, 32, 1000));
        assert!(!should_continue_reclaim(order(4), 12, 1, 32));
    }
}
