//! Rounds and refaults, as plain numbers.

use std::vec::Vec;

use super::{FEW, ROUNDS, Reading, Turnover};
use crate::lru::workingset::Shadow;
use crate::zone::MAX_ZONES;

/// Lists that only evict, all in one zone.
#[derive(Default)]
struct Lists {
    clock: u32,
}

impl Lists {
    fn evict(&mut self) -> Shadow {
        self.clock += 1;
        Shadow { clock: self.clock - 1, zone: 1, workingset: false }
    }

    /// A round that evicts `pages`; returns their shadows.
    fn round(&mut self, turnover: &Turnover, pages: u32) -> Vec<Shadow> {
        let gone = (0..pages).map(|_| self.evict()).collect();
        let mut clocks = [0; MAX_ZONES];
        clocks[1] = self.clock;
        turnover.note_round(|| FEW, || Reading { clocks, evictions: self.clock.into() });
        gone
    }
}

fn circles(turnover: &Turnover) -> bool {
    turnover.is_in_circles(|| FEW)
}

/// OOM-02: pages evicted in one round and refaulted before the next are no progress, as soon as two
/// times sixteen rounds are over and the pages of the older ones are known to be back.
#[test]
fn pages_that_come_back_are_no_progress() {
    let (turnover, mut lists) = (Turnover::new(), Lists::default());
    for round in 1..=10 * ROUNDS {
        for gone in lists.round(&turnover, 3) {
            turnover.note_refault(gone, lists.clock);
        }
        assert_eq!(circles(&turnover), round >= 3 * ROUNDS, "round {round}");
        assert_eq!(turnover.is_watching(), round >= ROUNDS);
    }
    assert!(!turnover.is_in_circles(|| FEW + 1), "not while there is more to reclaim");
    turnover.restart();
    assert!(!circles(&turnover));
}

/// OOM-02: one page that stays away is progress, and so are pages that come back later.
#[test]
fn pages_that_stay_away_are_progress() {
    for (back_after, pages) in [(u32::MAX, 1), (3 * ROUNDS, 2)] {
        let (turnover, mut lists) = (Turnover::new(), Lists::default());
        let mut away = std::collections::VecDeque::new();
        for round in 1..=20 * ROUNDS {
            let gone = lists.round(&turnover, pages);
            // All but the first page of a round come back at once.
            gone[1..].iter().for_each(|gone| turnover.note_refault(*gone, lists.clock));
            away.push_back((round, gone[0]));
            while let Some((_, gone)) = away.pop_front_if(|(at, _)| round - *at >= back_after) {
                turnover.note_refault(gone, lists.clock);
            }
            assert!(!circles(&turnover), "round {round}");
        }
    }
}

/// OOM-02: rounds that free nothing are counted by the request itself, not here.
#[test]
fn rounds_that_free_nothing_are_no_circles() {
    let (turnover, mut lists) = (Turnover::new(), Lists::default());
    for _ in 0..10 * ROUNDS {
        lists.round(&turnover, 0);
        assert!(!circles(&turnover));
    }
}

/// OOM-02: progress ends the cycle, and a clock that wraps does no harm.
#[test]
fn progress_ends_the_circles() {
    let (turnover, mut lists) = (Turnover::new(), Lists { clock: (1 << 29) - 40 });
    for round in 1..=6 * ROUNDS {
        let gone = lists.round(&turnover, 2);
        gone.iter().for_each(|gone| turnover.note_refault(*gone, lists.clock));
        assert_eq!(circles(&turnover), round >= 3 * ROUNDS, "round {round}");
    }
    for _ in 0..3 * ROUNDS {
        lists.round(&turnover, 2);
    }
    assert!(!circles(&turnover));
}
