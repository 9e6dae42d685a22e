//! How many objects of a cache to scan when so much of the LRU lists was scanned (SHRK-01). Pure.
//!
//! A kernel's caches of small objects should shrink as the page lists do. If reclaim looks at a
//! hundredth of the pages, it looks at about a hundredth of the objects too. An object that is
//! dear to make again counts less: `seeks` is the price, and the factor 4 makes the usual price of
//! 2 a pressure of twice that of the pages:
//!
//! ```text
//!            4 × scanned          objects
//!   delta = ------------- × -----------------
//!               seeks         list pages + 1
//!
//!   320 of 10,000 pages scanned, 5,000 objects, seeks 2:  640 × 5,000 / 10,001 = 319 objects
//! ```
//!
//! Objects that cost nothing to make again (`seeks` 0) are halved at each call.
//!
//! A cache is scanned in *batches*. What is less than a batch is not scanned but *deferred* to the
//! next call, and so is the whole work of a shrinker that refuses, for example in a request that
//! may not enter the file system. Much can be deferred by many small requests. It would then empty
//! the cache at the first request that may scan it, so the total is limited:
//!
//! | delta | most objects in one call |
//! | --- | --- |
//! | below a quarter of the objects | half of them |
//! | more | twice their number |
//!
//! What is deferred is not more than twice the number of objects either, and an empty cache defers
//! nothing: the deferred work does not grow during a long life.
//!
//! Counterpart in Linux: `do_shrink_slab`, with the formula from before it was shifted by the
//! priority.

/// Objects scanned at a time by a shrinker that names no number (`SHRINK_BATCH`).
const BATCH: u64 = 128;

/// The work of one call of a shrinker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "what is not scanned must be deferred"]
pub(crate) struct Shrink {
    /// Objects still to scan in this call.
    pub total: u64,
    /// Objects to defer to the next call, if this one ends now.
    pub deferred: u64,
    /// Objects to scan at a time.
    batch: u64,
    /// Fewer than a batch are scanned if they are all that there are.
    freeable: u64,
}

/// The work for a shrinker that has `freeable` objects and deferred `deferred` of them, after
/// reclaim looked at `scanned` of `list_pages` pages. A `batch` of 0 is the usual one.
pub(crate) fn to_scan(
    freeable: u64,
    scanned: u64,
    list_pages: u64,
    seeks: u32,
    deferred: u64,
    batch: u64,
) -> Shrink {
    let delta = delta(freeable, scanned, list_pages, seeks);
    let twice = freeable.saturating_mul(2);
    let deferred = deferred.saturating_add(delta).min(twice);
    let most = if delta < freeable / 4 { freeable / 2 } else { twice };
    let batch = if batch == 0 { BATCH } else { batch };
    Shrink { total: deferred.min(most), deferred, batch, freeable }
}

/// The pressure of this call alone.
fn delta(freeable: u64, scanned: u64, list_pages: u64, seeks: u32) -> u64 {
    let Some(share) = (u128::from(scanned) * 4).checked_div(seeks.into()) else {
        return freeable / 2;
    };
    let delta = share.saturating_mul(freeable.into()) / (u128::from(list_pages) + 1);
    u64::try_from(delta).unwrap_or(u64::MAX)
}

impl Shrink {
    /// How many objects to scan next; `None` at the end of the call.
    pub(crate) fn next(&self) -> Option<u64> {
        let is_enough = self.total >= self.batch || self.total >= self.freeable;
        (is_enough && self.total > 0).then(|| self.total.min(self.batch))
    }

    /// `objects` were scanned, freed or not.
    pub(crate) fn note_scanned(&mut self, objects: u64) {
        self.total = self.total.saturating_sub(objects);
        self.deferred = self.deferred.saturating_sub(objects);
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::tests::cases;

    /// Scans as long as there is something to scan; returns the sizes of the batches.
    fn run(shrink: &mut Shrink) -> Vec<u64> {
        let mut batches = Vec::new();
        while let Some(objects) = shrink.next() {
            batches.push(objects);
            shrink.note_scanned(objects);
        }
        batches
    }

    /// SHRK-01: the formula, from the head's number on.
    #[test]
    fn pressure_is_proportional_to_what_was_scanned_of_the_lists() {
        for (freeable, scanned, list_pages, seeks, want) in [
            (5000, 320, 10_000, 2, 319),
            (5000, 640, 10_000, 2, 639),
            (10_000, 320, 10_000, 2, 639),
            (5000, 320, 10_000, 8, 79),
            (5000, 320, 0, 2, 640 * 5000),
            (5000, 1, 1_000_000, 2, 0),
            (5000, 0, 10_000, 2, 0),
            (0, 320, 10_000, 2, 0),
            (5001, 1, 10_000, 0, 2500),
            (u64::MAX, u64::MAX, 0, 1, u64::MAX),
        ] {
            assert_eq!(delta(freeable, scanned, list_pages, seeks), want, "{freeable} {scanned}");
        }
    }

    /// SHRK-01: what the deferred work may add.
    #[test]
    fn deferred_work_is_added_within_limits() {
        // Pages scanned of 999, what was deferred, and the total and the rest to defer.
        for (scanned, deferred, total, rest) in [
            (10, 0, 20, 20),
            (10, 100, 120, 120),
            (10, 900, 500, 920),
            (10, 90_000, 500, 2000),
            (124, 900, 500, 1148),
            (125, 900, 1150, 1150),
            (125, 90_000, 2000, 2000),
            (90_000, 0, 2000, 2000),
        ] {
            let shrink = to_scan(1000, scanned, 999, 2, deferred, 0);
            assert_eq!((shrink.total, shrink.deferred), (total, rest), "{scanned} {deferred}");
        }
    }

    /// SHRK-01: less than a batch waits until there is one, or until it is all that is left.
    #[test]
    fn objects_are_scanned_in_batches_and_the_rest_is_deferred() {
        let mut shrink = to_scan(1000, 150, 999, 2, 0, 0);
        assert_eq!(run(&mut shrink), [128, 128]);
        assert_eq!(shrink.deferred, 300 - 256);
        let mut small = to_scan(1000, 10, 999, 2, 0, 0);
        assert_eq!((run(&mut small), small.deferred), (Vec::from([]), 20));
        let mut last = to_scan(20, 500, 999, 2, 0, 0);
        assert_eq!((run(&mut last), last.deferred), (Vec::from([20]), 0));
        let mut fine = to_scan(1000, 10, 999, 2, 0, 7);
        assert_eq!((run(&mut fine), fine.deferred), (Vec::from([7, 7]), 6));
    }

    /// SHRK-01: a shrinker that refuses is given its work later.
    #[test]
    fn work_that_was_refused_is_done_later() {
        let mut deferred = 0;
        for _ in 0..20 {
            deferred = to_scan(1000, 10, 999, 2, deferred, 0).deferred;
        }
        assert_eq!(deferred, 400);
        let mut shrink = to_scan(1000, 10, 999, 2, deferred, 0);
        assert_eq!(run(&mut shrink), [128, 128, 128]);
        assert_eq!(shrink.deferred, 420 - 3 * 128);
    }

    /// SHRK-01: nothing accumulates during a long life.
    #[test]
    fn deferred_work_is_bounded_however_often_it_is_refused() {
        let after = |calls| {
            (0..calls).fold(0, |deferred, _| to_scan(1000, 500, 999, 2, deferred, 0).deferred)
        };
        assert_eq!((after(1000), after(100_000)), (2000, 2000));
        assert_eq!(to_scan(0, 500, 999, 2, 2000, 0).deferred, 0);
    }

    proptest! {
        #![proptest_config(cases(512))]

        /// SHRK-01: whatever the numbers, the work is limited, ends, and is accounted for.
        #[test]
        fn scanned_and_deferred_make_up_the_work(
            freeable in prop_oneof![0..100_000u64, any::<u64>()],
            (scanned, list_pages) in (any::<u64>(), any::<u64>()),
            seeks in 0..5u32,
            deferred in prop_oneof![0..100_000u64, any::<u64>()],
            batch in prop_oneof![Just(0), 1..5000u64, any::<u64>()],
        ) {
            let begin = to_scan(freeable, scanned, list_pages, seeks, deferred, batch);
            prop_assert!(begin.total <= freeable.saturating_mul(2));
            prop_assert!(begin.total <= begin.deferred);
            let mut shrink = begin;
            for _ in 0..1000 {
                let Some(objects) = shrink.next() else { break };
                prop_assert!(objects >= 1 && objects <= shrink.total);
                shrink.note_scanned(objects);
            }
            prop_assert_eq!(begin.total - shrink.total, begin.deferred - shrink.deferred);
            if shrink.next().is_none() {
                prop_assert!(shrink.total < shrink.batch);
            }
        }
    }
}
