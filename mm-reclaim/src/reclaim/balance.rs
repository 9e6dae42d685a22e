//! How much of each list to scan (`get_scan_count`, SHRZ-03), and what the reclaimer may
//! do to which type (SHRZ-10). Pure.
//!
//! The balance between anon and file follows what reclaiming each has cost lately: pages
//! written for lack of room, and refaults of the workingset. `swappiness` weighs the two:
//! at 100 both count the same.

use crate::page::{LruList, PageType};

/// The input of the decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanView {
    /// Base pages on the four evictable lists, by [`LruList`].
    pub sizes: [u32; 4],
    /// What reclaiming anon and file has cost.
    pub costs: (u64, u64),
    /// 0 to 200.
    pub swappiness: u8,
    /// From 12 down to 0.
    pub priority: u8,
    /// Swapping is allowed, and a slot is free or some page has one already.
    pub can_swap: bool,
    /// The machine is short of memory, not a group.
    pub global: bool,
    /// There is hardly any file cache.
    pub file_is_tiny: bool,
    /// There is plenty of inactive file cache.
    pub cache_trim: bool,
}

/// Which lists are scanned and how the pressure is shared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScanBalance {
    /// Every list in full.
    Equal,
    /// Shared by swappiness and cost: anon, file and their sum.
    Fraction {
        /// Anon's share.
        anon: u64,
        /// File's share.
        file: u64,
    },
    /// Anonymous pages only.
    Anon,
    /// File pages only.
    File,
}

/// The first rule that matches.
pub fn scan_balance(view: &ScanView) -> ScanBalance {
    if !view.can_swap || !view.global && view.swappiness == 0 {
        ScanBalance::File
    } else if view.priority == 0 && view.swappiness > 0 {
        ScanBalance::Equal
    } else if view.global && view.file_is_tiny {
        ScanBalance::Anon
    } else if view.cache_trim {
        ScanBalance::File
    } else {
        shares(view)
    }
}

fn shares(view: &ScanView) -> ScanBalance {
    let (anon_cost, file_cost) = view.costs;
    let total = anon_cost + file_cost;
    let (a, f) = (total + anon_cost, total + file_cost);
    let t = a + f;
    let swappiness = u64::from(view.swappiness);
    ScanBalance::Fraction {
        anon: swappiness * (t + 1) / (a + 1),
        file: (200 - swappiness) * (t + 1) / (f + 1),
    }
}

/// Base pages to scan of each evictable list.
pub fn get_scan_count(view: &ScanView) -> [u32; 4] {
    let balance = scan_balance(view);
    core::array::from_fn(|i| {
        let is_anon = LruList::EVICTABLE[i].page_type() == Some(PageType::Anon);
        let scan = view.sizes[i] >> view.priority;
        match balance {
            ScanBalance::Equal => scan,
            ScanBalance::Anon => {
                if is_anon {
                    scan
                } else {
                    0
                }
            }
            ScanBalance::File => {
                if is_anon {
                    0
                } else {
                    scan
                }
            }
            ScanBalance::Fraction { anon, file } => {
                let share = if is_anon { anon } else { file };
                (u64::from(scan) * share / (anon + file).max(1)) as u32
            }
        }
    })
}

/// The state of a zone's file cache, and of deactivation (SHRZ-10).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allowance {
    /// Anon, file.
    pub may_deactivate: [bool; 2],
    /// Look at file pages only.
    pub cache_trim: bool,
    /// Look at anonymous pages only.
    pub file_is_tiny: bool,
}

/// The input of [`allowance`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AllowanceView {
    /// Base pages on the four evictable lists, by [`LruList`].
    pub sizes: [u32; 4],
    /// Free pages of the zone.
    pub free: u32,
    /// Its HIGH mark.
    pub high: u32,
    /// From 12 down to 0.
    pub priority: u8,
    /// Anon, file: refault activations moved since the last snapshot.
    pub refaults_moved: [bool; 2],
    /// Anon, file: the inactive list is low.
    pub inactive_is_low: [bool; 2],
    /// Deactivate whatever the sizes say.
    pub force_deactivate: bool,
}

/// Which types may be deactivated and whether only one of them is scanned.
pub fn allowance(view: &AllowanceView) -> Allowance {
    let [anon, file] =
        [0, 1].map(|i| view.force_deactivate || view.inactive_is_low[i] || view.refaults_moved[i]);
    let inactive = |list: LruList| view.sizes[list as usize] >> view.priority;
    let all_file =
        view.sizes[LruList::InactiveFile as usize] + view.sizes[LruList::ActiveFile as usize];
    Allowance {
        may_deactivate: [anon, file],
        cache_trim: !file && inactive(LruList::InactiveFile) > 0,
        file_is_tiny: all_file + view.free <= view.high
            && !anon
            && inactive(LruList::InactiveAnon) > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: ScanView = ScanView {
        sizes: [4096, 8192, 16384, 32768],
        costs: (0, 0),
        swappiness: 60,
        priority: 0,
        can_swap: true,
        global: true,
        file_is_tiny: false,
        cache_trim: false,
    };

    /// SHRZ-03: the rules in their order, each one shown to take precedence over those below it.
    #[test]
    fn the_first_matching_rule_wins() {
        let all = ScanView { file_is_tiny: true, cache_trim: true, ..VIEW };
        assert_eq!(scan_balance(&ScanView { can_swap: false, ..all }), ScanBalance::File);
        let limit = ScanView { global: false, swappiness: 0, ..all };
        assert_eq!(scan_balance(&limit), ScanBalance::File);
        assert_eq!(scan_balance(&all), ScanBalance::Equal);
        let tiny = ScanView { swappiness: 0, ..all };
        assert_eq!(scan_balance(&tiny), ScanBalance::Anon);
        let trim = ScanView { file_is_tiny: false, swappiness: 0, ..all };
        assert_eq!(scan_balance(&trim), ScanBalance::File);
        let group = ScanView { priority: 12, global: false, cache_trim: false, ..all };
        assert!(matches!(scan_balance(&group), ScanBalance::Fraction { .. }));
    }

    /// SHRZ-03: without costs the shares are swappiness to the rest of 200.
    #[test]
    fn without_costs_swappiness_alone_decides() {
        let view = ScanView { priority: 4, ..VIEW };
        let want = ScanBalance::Fraction { anon: 60, file: 140 };
        assert_eq!(scan_balance(&view), want);
        let quotas = get_scan_count(&view);
        assert_eq!(quotas, [76, 153, 716, 1433]);
    }

    /// SHRZ-03: the type that costs more is scanned less.
    #[test]
    fn a_type_that_was_dear_to_reclaim_is_scanned_less() {
        let view = ScanView { priority: 4, costs: (1000, 10), swappiness: 100, ..VIEW };
        let ScanBalance::Fraction { anon, file } = scan_balance(&view) else {
            panic!("shares expected")
        };
        assert_eq!((anon, file), (100 * 3031 / 2011, 100 * 3031 / 1021));
    }

    /// SHRZ-03: a list's quota is its size shifted by the priority.
    #[test]
    fn quotas_shrink_with_the_priority() {
        let view = ScanView { file_is_tiny: true, priority: 12, ..VIEW };
        assert_eq!(get_scan_count(&view), [1, 2, 0, 0]);
        assert_eq!(get_scan_count(&VIEW), [4096, 8192, 16384, 32768]);
    }

    const CALM: AllowanceView = AllowanceView {
        sizes: [1000, 1000, 1000, 1000],
        free: 500,
        high: 100,
        priority: 2,
        refaults_moved: [false; 2],
        inactive_is_low: [false; 2],
        force_deactivate: false,
    };

    /// SHRZ-10: each condition of deactivation on its own.
    #[test]
    fn deactivation_needs_a_low_list_or_moved_refaults() {
        assert_eq!(allowance(&CALM).may_deactivate, [false, false]);
        let low = AllowanceView { inactive_is_low: [true, false], ..CALM };
        assert_eq!(allowance(&low).may_deactivate, [true, false]);
        let moved = AllowanceView { refaults_moved: [false, true], ..CALM };
        assert_eq!(allowance(&moved).may_deactivate, [false, true]);
        let forced = AllowanceView { force_deactivate: true, ..CALM };
        assert_eq!(allowance(&forced).may_deactivate, [true, true]);
    }

    /// SHRZ-10: cache-trim and tiny, each condition removed once.
    #[test]
    fn plenty_and_want_of_file_cache_are_told() {
        assert!(allowance(&CALM).cache_trim);
        assert!(!allowance(&AllowanceView { priority: 10, ..CALM }).cache_trim);
        assert!(!allowance(&AllowanceView { refaults_moved: [false, true], ..CALM }).cache_trim);
        let tiny = AllowanceView { sizes: [1000, 1000, 20, 30], free: 50, ..CALM };
        assert!(allowance(&tiny).file_is_tiny);
        assert!(!allowance(&AllowanceView { free: 51, ..tiny }).file_is_tiny);
        assert!(!allowance(&AllowanceView { priority: 10, ..tiny }).file_is_tiny);
        let low = AllowanceView { inactive_is_low: [true, false], ..tiny };
        assert!(!allowance(&low).file_is_tiny);
    }
}
