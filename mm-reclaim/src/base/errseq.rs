//! The failed writes of a file, so that each open description reports them once (DIRT-03).
//!
//! A page is written long after `write` returned, and for all who have the file open. If that
//! fails, each of them should report it at its next `fsync`, once, although the file has no list
//! of them. So the file has one word, and each description a copy of it from when it looked
//! last. A description reports an error if the two differ, and then they agree.
//!
//! ```text
//!   31                          3   2    1   0
//!   | how many errors were seen | seen | code |
//!
//!                   the word        description A       opened later
//!   opened          0               0
//!   a write fails   0     Io        0
//!   A: fsync        0 seen Io       -> Io, 0 seen Io
//!   A: fsync        0 seen Io       -> none
//!   B opened        0 seen Io                           0 seen Io
//!   a write fails   1     Io
//!   C opened        1     Io                            0: C reports an error that it never caused
//!   B: fsync        1 seen Io                           -> Io, 1 seen Io
//! ```
//!
//! Errors that follow each other without a look in between count as one, of the last one's code:
//! only the first error after a look advances the counter. Otherwise a device that is gone would
//! take the counter around, and a description that looks again after 2^29 errors would take the
//! word for the one that it knows. As it is, that takes 2^29 looks. An error that no description
//! has seen is for the next one that is opened: its copy is then 0, which differs from every word
//! with an error.
//!
//! Data: the word holds everything, so all accesses are Relaxed. That a description sees the
//! errors of the writes it waited for is due to the wait, as an error is recorded before the end
//! of its write is.
//!
//! Counterpart in Linux: `lib/errseq.c`.

use crate::base::sync::{AtomicU32, Ordering};

const CODE: u32 = 3;
const SEEN: u32 = 1 << 2;
const ONE: u32 = 1 << 3;

/// Why a page could not be written back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// The device failed (`EIO`).
    Io = 1,
    /// The device is full (`ENOSPC`).
    NoSpace = 2,
}

impl WriteError {
    /// The error in a word that is not 0.
    const fn of(word: u32) -> Self {
        if word & CODE == Self::NoSpace as u32 { Self::NoSpace } else { Self::Io }
    }
}

/// What an open description knows of its file's errors. The default knows of none: whatever the
/// file has is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen(u32);

impl Seen {
    /// As a word, for whoever keeps it without a lock.
    pub(crate) const fn raw(self) -> u32 {
        self.0
    }

    /// The inverse of [`Seen::raw`].
    pub(crate) const fn of_raw(raw: u32) -> Self {
        Self(raw)
    }
}

/// The errors of a file.
#[doc(alias = "errseq_t")]
pub(crate) struct ErrorSeq(AtomicU32);

impl ErrorSeq {
    /// No error yet.
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Forgets every error: the word is another file's.
    pub(crate) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// A write failed.
    #[doc(alias = "errseq_set")]
    pub(crate) fn record(&self, error: WriteError) {
        let with = |word: u32| {
            let counter = word & !(CODE | SEEN);
            let step = if word & SEEN == 0 { 0 } else { ONE };
            Some(counter.wrapping_add(step) | error as u32)
        };
        let _old = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, with);
    }

    /// For a description that is opened: it will report the last error if no other has.
    #[doc(alias = "errseq_sample")]
    pub(crate) fn sample(&self) -> Seen {
        let word = self.0.load(Ordering::Relaxed);
        Seen(if word & SEEN == 0 { 0 } else { word })
    }

    /// The last error if it is later than `since`; it is not reported by that.
    #[cfg(test)]
    pub(crate) fn check(&self, since: Seen) -> Option<WriteError> {
        let word = self.0.load(Ordering::Relaxed);
        (word != since.0).then(|| WriteError::of(word))
    }

    /// The last error if it is later than `since`, which then knows of it: it is reported.
    ///
    /// An error that is recorded meanwhile either is the one that is returned, or makes a word that
    /// `since` does not know.
    #[doc(alias = "errseq_check_and_advance")]
    pub(crate) fn check_and_advance(&self, since: &mut Seen) -> Option<WriteError> {
        self.report(self.0.load(Ordering::Relaxed), since)
    }

    /// Reports the error in `word`, which may not be the last one any more.
    fn report(&self, word: u32, since: &mut Seen) -> Option<WriteError> {
        if word == since.0 {
            return None;
        }
        let seen = word | SEEN;
        // If this fails, another description saw the same error, or there is a new one.
        let _was = self.0.compare_exchange(word, seen, Ordering::Relaxed, Ordering::Relaxed);
        *since = Seen(seen);
        Some(WriteError::of(word))
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::tests::cases;

    /// DIRT-03: the table of the module's head, with a look that reports nothing.
    #[test]
    fn each_description_reports_an_error_once_and_an_unseen_one_is_for_the_next_opener() {
        let errors = ErrorSeq::new();
        let mut a = errors.sample();
        assert_eq!(errors.check_and_advance(&mut a), None);
        errors.record(WriteError::Io);
        assert_eq!(errors.check(a), Some(WriteError::Io));
        assert_eq!(errors.check_and_advance(&mut a), Some(WriteError::Io));
        assert_eq!(errors.check_and_advance(&mut a), None);
        let mut b = errors.sample();
        assert_eq!(errors.check(b), None);
        errors.record(WriteError::Io);
        let (mut c, mut d) = (errors.sample(), errors.sample());
        assert_eq!(errors.check_and_advance(&mut b), Some(WriteError::Io));
        let mut late = errors.sample();
        for (since, want) in [(&mut c, 1), (&mut d, 1), (&mut a, 1), (&mut b, 0), (&mut late, 0)] {
            assert_eq!(errors.check_and_advance(since).into_iter().count(), want);
            assert_eq!(errors.check_and_advance(since), None);
        }
    }

    /// DIRT-03: a second error before any look replaces the first one; one after a look is new,
    /// even of the same code.
    #[test]
    fn errors_without_a_look_in_between_count_as_one() {
        let errors = ErrorSeq::new();
        let mut since = Seen::default();
        errors.record(WriteError::Io);
        errors.record(WriteError::NoSpace);
        assert_eq!(errors.check_and_advance(&mut since), Some(WriteError::NoSpace));
        errors.record(WriteError::NoSpace);
        assert_eq!(errors.check_and_advance(&mut since), Some(WriteError::NoSpace));
        assert_eq!(errors.check_and_advance(&mut since), None);
    }

    /// DIRT-03: a device that is gone fails every write; what is known is not repeated by chance.
    #[test]
    fn the_counter_advances_with_the_looks_and_wraps() {
        let errors = ErrorSeq(AtomicU32::new(!CODE | WriteError::Io as u32));
        let mut since = errors.sample();
        assert_eq!(errors.check(since), None);
        (0..1000).for_each(|_| errors.record(WriteError::Io));
        assert_eq!(errors.0.load(Ordering::Relaxed), WriteError::Io as u32);
        assert_eq!(errors.check_and_advance(&mut since), Some(WriteError::Io));
        assert_eq!(errors.check(since), None);
    }

    /// DIRT-03: an error, or another description's look, between the two accesses of a look.
    #[test]
    fn an_error_that_is_recorded_during_a_look_is_reported_by_the_next_one() {
        let errors = ErrorSeq::new();
        errors.record(WriteError::Io);
        let (mut a, mut b) = (Seen::default(), Seen::default());
        let word = errors.0.load(Ordering::Relaxed);
        errors.record(WriteError::NoSpace);
        assert_eq!(errors.report(word, &mut a), Some(WriteError::Io));
        assert_eq!(errors.check_and_advance(&mut a), Some(WriteError::NoSpace));
        assert_eq!(errors.report(errors.0.load(Ordering::Relaxed), &mut a), None);
        errors.record(WriteError::Io);
        let word = errors.0.load(Ordering::Relaxed);
        assert_eq!(errors.check_and_advance(&mut b), Some(WriteError::Io));
        assert_eq!(errors.report(word, &mut a), Some(WriteError::Io));
        assert_eq!((errors.check(a), errors.check(b)), (None, None));
    }

    /// What happens to a file; the numbers choose one of its descriptions.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Fail(WriteError),
        Open,
        Check(usize),
        Advance(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Fail(WriteError::Io)),
            Just(Step::Fail(WriteError::NoSpace)),
            Just(Step::Open),
            (0..8usize).prop_map(Step::Check),
            (0..8usize).prop_map(Step::Advance),
        ]
    }

    /// A list of all errors, and of each description how many of them it has reported.
    #[derive(Default)]
    struct Model {
        errors: Vec<WriteError>,
        last_is_seen: bool,
        reported: Vec<usize>,
    }

    impl Model {
        fn fail(&mut self, error: WriteError) {
            if !self.last_is_seen {
                self.errors.pop();
            }
            self.errors.push(error);
            self.last_is_seen = false;
        }

        fn open(&mut self) {
            let unseen = usize::from(!self.last_is_seen && !self.errors.is_empty());
            self.reported.push(self.errors.len() - unseen);
        }

        fn check(&self, who: usize) -> Option<WriteError> {
            let is_behind = self.reported[who] < self.errors.len();
            is_behind.then(|| self.errors[self.errors.len() - 1])
        }

        fn advance(&mut self, who: usize) -> Option<WriteError> {
            let found = self.check(who);
            self.last_is_seen |= found.is_some();
            self.reported[who] = self.errors.len();
            found
        }
    }

    proptest! {
        #![proptest_config(cases(512))]

        /// DIRT-03: any number of descriptions, any order of failures, opens and looks.
        #[test]
        fn every_look_finds_what_a_list_of_all_errors_says(
            steps in prop::collection::vec(step(), 0..60),
        ) {
            let errors = ErrorSeq::new();
            let mut model = Model::default();
            let mut known = Vec::from([errors.sample()]);
            model.open();
            for step in steps {
                match step {
                    Step::Fail(error) => {
                        errors.record(error);
                        model.fail(error);
                    }
                    Step::Open => {
                        known.push(errors.sample());
                        model.open();
                    }
                    Step::Check(n) => {
                        let who = n % known.len();
                        prop_assert_eq!(errors.check(known[who]), model.check(who));
                    }
                    Step::Advance(n) => {
                        let who = n % known.len();
                        let found = errors.check_and_advance(&mut known[who]);
                        prop_assert_eq!(found, model.advance(who));
                    }
                }
            }
        }
    }
}
