//! `shrink_lruvec`: divides the work among the lists of one lruvec (SHRZ-03 to SHRZ-05).
//!
//! Each list has a quota. Each list is scanned in rounds of [`SWAP_CLUSTER_MAX`] pages, until the
//! quotas are used up or the target is met. Once the target is met the proportions between anon and
//! file are kept: the smaller type ends, and the other one is cut to the same fraction of its
//! quota.

use super::balance::{AllowanceView, ScanView, allowance, get_scan_count};
use super::{DEF_PRIORITY, May, ReclaimKind, SWAP_CLUSTER_MAX, Scan};
use crate::base::sync::Ordering;
use crate::env::{BlockDevice, Env, Tasks};
use crate::page::{LruList, PageType};
use crate::zone::Mark;

/// Quotas of the four evictable lists, by [`LruList`].
type Quotas = [u32; 4];

/// What a round counts as at least for kswapd's pauses: isolating and flushing cost as much as some
/// pages, however few are scanned.
const LEAST_ROUND: u32 = SWAP_CLUSTER_MAX / 2;

const ANON: [usize; 2] = [LruList::InactiveAnon as usize, LruList::ActiveAnon as usize];
const FILE: [usize; 2] = [LruList::InactiveFile as usize, LruList::ActiveFile as usize];

impl<'m, E: Env> Scan<'_, 'm, E> {
    /// Scans the lists by their quotas; returns the base pages freed.
    pub(super) fn shrink_lruvec(&mut self) -> u32 {
        self.prepare_allowance();
        let targets = get_scan_count(&self.scan_view());
        let mut quotas = targets;
        let mut reclaimed = 0;
        // The first pass of direct reclaim scans its whole quota: the lists age evenly.
        let mut keep_proportions = !(self.request.is_global()
            && self.request.kind == ReclaimKind::Direct
            && self.progress.priority == DEF_PRIORITY);
        self.reclaim.env.blocks().plug();
        while wants_more(&quotas) {
            let before = self.progress.looked_at;
            reclaimed += self.shrink_round(&mut quotas);
            if self.is_enough_for_one() {
                break;
            }
            self.let_others_run((self.progress.looked_at - before).max(LEAST_ROUND));
            if keep_proportions && reclaimed >= self.request.nr_to_reclaim {
                if !cut_to_proportion(&targets, &mut quotas) {
                    break;
                }
                keep_proportions = false;
            }
        }
        self.reclaim.env.blocks().unplug();
        if !self.is_enough_for_one() {
            self.age_active_anon();
        }
        self.reclaim.throttle_vm_writeout(self.request);
        reclaimed
    }

    /// Whether a task that reclaims for its own request has done its part: it has got
    /// something, and has looked at as many pages as one access may wait for (CTRL-06).
    fn is_enough_for_one(&self) -> bool {
        self.request.kind == ReclaimKind::Direct && self.progress.is_enough_for_one()
    }

    /// How many pages of an active list may be scanned now: a task that reclaims for its own request
    /// does not age more than its part, as long as it finds others to reclaim.
    fn left_to_age(&self, kind: PageType) -> u32 {
        let for_one = self.request.kind == ReclaimKind::Direct;
        match for_one && self.lruvec.size(kind.inactive()) > 0 {
            true => self.progress.left_to_age(),
            false => u32::MAX,
        }
    }

    /// Between two rounds, of which the last looked at `pages`: nothing is locked.
    fn let_others_run(&self, pages: u32) {
        match self.request.kind {
            ReclaimKind::Kswapd => self.reclaim.give_way(self.zone, pages),
            ReclaimKind::Direct | ReclaimKind::Proactive => self.reclaim.env.tasks().yield_now(),
        }
    }

    /// One batch of each list that has quota left.
    fn shrink_round(&mut self, quotas: &mut Quotas) -> u32 {
        let mut reclaimed = 0;
        for list in LruList::EVICTABLE {
            let quota = &mut quotas[list as usize];
            if *quota > 0 {
                let want = (*quota).min(SWAP_CLUSTER_MAX);
                *quota -= want;
                reclaimed += self.shrink_list(want, list);
            }
        }
        reclaimed
    }

    /// SHRZ-05: an active list is scanned only while its type may be deactivated.
    fn shrink_list(&mut self, want: u32, list: LruList) -> u32 {
        if !list.is_active() {
            return self.shrink_inactive_list(want, list);
        }
        let kind = list.page_type().unwrap_or(PageType::Anon);
        let want = want.min(self.left_to_age(kind));
        if want == 0 {
            return 0;
        }
        if self.lruvec.inactive_is_low(kind) || self.progress.may_deactivate[kind as usize] {
            self.shrink_active_list(want, list);
        } else {
            self.progress.skipped_deactivate = true;
        }
        0
    }

    /// Anonymous pages age even while only file pages are reclaimed.
    fn age_active_anon(&mut self) {
        let low = self.lruvec.inactive_is_low(PageType::Anon);
        let want = SWAP_CLUSTER_MAX.min(self.left_to_age(PageType::Anon));
        if low && want > 0 && self.reclaim.can_reclaim_anon(self.lruvec) {
            self.shrink_active_list(want, LruList::ActiveAnon);
        }
    }

    fn evictable_sizes(&self) -> [u32; 4] {
        LruList::EVICTABLE.map(|list| self.lruvec.size(list))
    }

    fn prepare_allowance(&mut self) {
        let lruvec = self.lruvec;
        let moved = |kind: PageType| {
            let at = kind as usize;
            lruvec.refaults[at].load(Ordering::Relaxed)
                != lruvec.refaults_seen[at].load(Ordering::Relaxed)
        };
        let got = allowance(&AllowanceView {
            sizes: self.evictable_sizes(),
            free: self.zone.free(),
            high: self.zone.mark(Mark::High),
            priority: self.progress.priority,
            refaults_moved: PageType::ALL.map(moved),
            inactive_is_low: PageType::ALL.map(|kind| lruvec.inactive_is_low(kind)),
            force_deactivate: self.progress.force_deactivate,
        });
        self.progress.may_deactivate = got.may_deactivate;
        self.progress.cache_trim = got.cache_trim;
        self.progress.file_is_tiny = got.file_is_tiny && self.request.is_global();
    }

    fn scan_view(&self) -> ScanView {
        let (request, progress) = (self.request, &*self.progress);
        ScanView {
            sizes: self.evictable_sizes(),
            costs: self.lruvec.costs(),
            swappiness: self.reclaim.swappiness(),
            priority: progress.priority,
            can_swap: request.may.contains(May::SWAP) && self.reclaim.can_reclaim_anon(self.lruvec),
            global: request.is_global(),
            file_is_tiny: progress.file_is_tiny,
            cache_trim: progress.cache_trim,
        }
    }
}

/// SHRZ-04: active anon alone does not keep the loop going.
fn wants_more(quotas: &Quotas) -> bool {
    let [inactive_anon, _, inactive_file, active_file] = *quotas;
    inactive_anon > 0 || inactive_file > 0 || active_file > 0
}

/// The target is met: the type with less left ends, the other is cut to the same part of
/// its quota. False if one type is used up already.
fn cut_to_proportion(targets: &Quotas, quotas: &mut Quotas) -> bool {
    let sum = |of: &Quotas, at: [usize; 2]| of[at[0]] + of[at[1]];
    let (anon, file) = (sum(quotas, ANON), sum(quotas, FILE));
    if anon == 0 || file == 0 {
        return false;
    }
    let (smaller, larger, rest) = if file > anon { (ANON, FILE, anon) } else { (FILE, ANON, file) };
    let percent = u64::from(rest) * 100 / (u64::from(sum(targets, smaller)) + 1);
    smaller.into_iter().for_each(|i| quotas[i] = 0);
    for i in larger {
        let scanned = targets[i] - quotas[i];
        let keep = u64::from(targets[i]) * (100 - percent.min(100)) / 100;
        quotas[i] = (keep as u32).saturating_sub(scanned);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHRZ-04: active anon alone does not keep the loop going; any other list does.
    #[test]
    fn active_anon_alone_ends_the_loop() {
        assert!(!wants_more(&[0, 100, 0, 0]));
        for i in [0, 2, 3] {
            let mut quotas = [0; 4];
            quotas[i] = 1;
            assert!(wants_more(&quotas), "list {i}");
        }
    }

    /// SHRZ-04: the smaller type ends and the larger is cut by the same percentage.
    #[test]
    fn the_proportion_of_the_quotas_is_kept() {
        let targets = [100, 100, 1000, 1000];
        // 64 of 200 anon pages are left: 31 %; file may go to 69 %, 690 each.
        let mut quotas = [36, 28, 900, 950];
        assert!(cut_to_proportion(&targets, &mut quotas));
        assert_eq!(quotas, [0, 0, 690 - 100, 690 - 50]);
    }

    /// SHRZ-04: with equal remainders it is file that ends.
    #[test]
    fn of_two_equal_rests_file_ends() {
        let mut quotas = [50, 0, 50, 0];
        assert!(cut_to_proportion(&[100, 0, 200, 0], &mut quotas));
        // 50 of 200 file pages are left: 24 %; anon may go to 76.
        assert_eq!(quotas, [76 - 50, 0, 0, 0]);
    }

    /// SHRZ-04: never below zero, and nothing to do once a type is used up.
    #[test]
    fn a_spent_type_stops_and_a_late_cut_leaves_nothing() {
        let targets = [100, 0, 100, 0];
        assert!(!cut_to_proportion(&targets, &mut [0, 0, 50, 0]));
        assert!(!cut_to_proportion(&targets, &mut [50, 0, 0, 0]));
        let mut late = [90, 0, 95, 0];
        assert!(cut_to_proportion(&targets, &mut late));
        assert_eq!(late, [0, 0, 6, 0]);
        let mut over = [90, 0, 90, 0];
        assert!(cut_to_proportion(&targets, &mut over));
        assert_eq!(over, [1, 0, 0, 0]);
    }
}
