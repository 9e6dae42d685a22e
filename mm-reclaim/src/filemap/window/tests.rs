//! The windows of readers: alone, interleaved, at random, and at the end of all files.

use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::{Cause, MOST, Pattern, Plan, ReadAhead, Run, first_size};
use crate::tests::cases;

/// A file's pages in memory, and one reader's or several readers' descriptions of it.
#[derive(Default)]
struct Cache {
    pages: BTreeSet<u32>,
    marks: BTreeSet<u32>,
    /// Requests to the device, as first page and pages.
    requests: Vec<(u32, u32)>,
    /// Reads that found their page missing.
    misses: u32,
}

impl Cache {
    fn run(&self, at: u32, run: Run, most: u32) -> u32 {
        let has = |i: &u32| match run {
            Run::Before => at.checked_sub(i + 1).is_some_and(|page| self.pages.contains(&page)),
            Run::From => at.checked_add(*i).is_some_and(|page| self.pages.contains(&page)),
        };
        (0..most).take_while(has).count() as u32
    }

    /// Reads what is not there yet, as one request.
    fn fill(&mut self, plan: Plan) {
        let end = u64::from(plan.start) + u64::from(plan.pages);
        let new: Vec<u32> = (u64::from(plan.start)..end)
            .map(|page| u32::try_from(page).expect("an index"))
            .filter(|page| self.pages.insert(*page))
            .collect();
        self.marks.extend(plan.mark.filter(|mark| new.contains(mark)));
        self.requests.extend(new.first().map(|first| (*first, new.len() as u32)));
    }

    fn ask(&mut self, by: &mut ReadAhead, at: u32, wanted: u32, cause: Cause, pattern: Pattern) {
        let plan = by.plan(at, wanted, cause, pattern, |run, most| self.run(at, run, most));
        self.fill(plan);
    }

    /// Reads `wanted` pages from `at` on.
    fn read(&mut self, by: &mut ReadAhead, at: u32, wanted: u32, pattern: Pattern) {
        let end = at + wanted;
        for page in at..end {
            if !self.pages.contains(&page) {
                self.misses += 1;
                self.ask(by, page, end - page, Cause::Missed, pattern);
            }
            assert!(self.pages.contains(&page), "page {page} was not read");
            if self.marks.remove(&page) {
                self.ask(by, page, end - page, Cause::Marked, pattern);
            }
            by.note_use(page);
        }
    }
}

fn read_in_order(pages: u32, at_once: u32, pattern: Pattern) -> Cache {
    let (mut cache, mut reader) = (Cache::default(), ReadAhead::new());
    (0..pages).step_by(at_once as usize).for_each(|at| {
        cache.read(&mut reader, at, at_once, pattern);
    });
    cache
}

/// FILE-02: the picture at the module's head.
#[test]
fn a_sequential_reader_has_windows_that_double_and_waits_once() {
    let cache = read_in_order(60, 1, Pattern::Normal);
    assert_eq!(cache.requests, [(0, 4), (4, 8), (12, 16), (28, 32), (60, 32)]);
    assert_eq!(cache.misses, 1);
    let cache = read_in_order(60, 1, Pattern::Sequential);
    assert_eq!(cache.requests, [(0, 4), (4, 8), (12, 16), (28, 32), (60, 64)]);
    assert_eq!(cache.misses, 1);
    let requests = read_in_order(1000, 1, Pattern::Normal).requests;
    assert_eq!(requests.iter().filter(|(first, _)| *first < 1000).count(), 34);
}

/// FILE-02: what is wanted rounds the first window up, and reads larger than any window go on
/// from window to window.
#[test]
fn larger_reads_start_with_larger_windows() {
    let sizes = [1, 2, 3, 4, 5, 8, 9, 32, 100, u32::MAX].map(|wanted| first_size(wanted, MOST));
    assert_eq!(sizes, [4, 4, 8, 8, 16, 16, 32, 32, 32, 32]);
    assert_eq!([1, 2, 3, 16, 17].map(|wanted| first_size(wanted, 64)), [4, 8, 8, 32, 64]);
    let cache = read_in_order(400, 100, Pattern::Normal);
    assert_eq!(cache.misses, 1);
    assert!(cache.requests.iter().all(|(_, pages)| *pages == 32), "{:?}", cache.requests);
}

/// FILE-02: a random read reads what is wanted, and a sequential reader of the same description
/// finds its window again.
#[test]
fn random_reads_read_what_is_wanted_and_leave_the_window_alone() {
    let mut cache = Cache::default();
    let mut reader = ReadAhead::new();
    (0..5).for_each(|at| cache.read(&mut reader, at, 1, Pattern::Normal));
    let window = reader;
    cache.requests.clear();
    for at in [900, 500, 700, 100, 503] {
        cache.read(&mut reader, at, 2, Pattern::Normal);
    }
    assert_eq!(cache.requests, [(900, 2), (500, 2), (700, 2), (100, 2), (503, 2)]);
    assert_eq!(ReadAhead { next: window.next, ..reader }, window);
    cache.read(&mut reader, 12, 1, Pattern::Normal);
    assert_eq!(cache.requests.last(), Some(&(28, 32)));
}

/// FILE-02: advice of random reading switches it off, even for a sequential reader.
#[test]
fn a_reader_that_says_random_gets_no_window() {
    let cache = read_in_order(40, 2, Pattern::Random);
    assert_eq!(cache.misses, 20);
    assert!(cache.requests.iter().all(|(_, pages)| *pages == 2));
    assert_eq!(cache.marks.len(), 0);
}

/// FILE-02: a miss is sequential or not, by each of the rules.
#[test]
fn a_miss_is_sequential_by_its_place_or_its_history() {
    let used = |at| {
        let mut reader = ReadAhead::new();
        reader.note_use(at);
        reader
    };
    // The reader, the page, what is wanted, the cached pages before it, and the plan.
    for (mut reader, at, wanted, before, want) in [
        (ReadAhead::new(), 0, 1, 0, (4, Some(1))),
        (used(6), 7, 1, 0, (4, Some(8))),
        (used(7), 7, 1, 0, (4, Some(8))),
        (used(5), 7, 1, 0, (1, None)),
        (used(8), 7, 1, 0, (1, None)),
        (used(0), 70, 33, 0, (32, Some(86))),
        (used(0), 70, 3, 3, (3, None)),
        (used(0), 70, 3, 4, (7, Some(76))),
        (used(0), 70, 3, 32, (32, Some(101))),
        (used(0), 7, 1, 7, (15, Some(21))),
        (ReadAhead { start: 90, size: 8, ..used(0) }, 98, 1, 0, (32, Some(114))),
        (ReadAhead { start: 94, size: 4, ..used(0) }, 98, 1, 0, (24, Some(106))),
        (ReadAhead { start: 90, size: 8, ..used(0) }, 97, 1, 0, (1, None)),
    ] {
        let plan = reader.plan(at, wanted, Cause::Missed, Pattern::Normal, |run, most| {
            assert_eq!(run, Run::Before);
            before.min(most)
        });
        assert_eq!((plan.start, plan.pages, plan.mark), (at, want.0, want.1), "{at} {wanted}");
    }
}

/// FILE-02: another reader's mark starts the next window behind what is cached, once.
#[test]
fn a_mark_of_another_window_is_continued() {
    // Pages cached from the mark on, and the plan.
    for (run, want) in [(1, (71, 4, Some(71))), (3, (73, 8, Some(73))), (32, (102, 32, Some(102)))]
    {
        let mut reader = ReadAhead::new();
        let plan = reader.plan(70, 1, Cause::Marked, Pattern::Normal, |_, most| run.min(most));
        assert_eq!((plan.start, plan.pages, plan.mark), want);
    }
    let mut reader = ReadAhead::new();
    let plan = reader.plan(70, 1, Cause::Marked, Pattern::Normal, |_, most| most);
    assert_eq!((plan.pages, plan.mark, reader), (0, None, ReadAhead::new()));
}

/// FILE-02: two streams through one description wait no more often than their windows need to
/// grow.
#[test]
fn interleaved_streams_keep_their_windows() {
    let mut cache = Cache::default();
    let mut reader = ReadAhead::new();
    for i in 0..1000 {
        cache.read(&mut reader, i, 1, Pattern::Normal);
        cache.read(&mut reader, 5000 + i, 1, Pattern::Normal);
    }
    assert!(cache.misses <= 8, "{} misses", cache.misses);
    assert!(cache.requests.len() <= 80, "{} requests", cache.requests.len());
}

/// FILE-02: windows end with the last index that there is.
#[test]
fn nothing_overflows_at_the_last_index() {
    const LAST: u32 = u32::MAX;
    let mut reader = ReadAhead::new();
    reader.note_use(LAST - 2);
    let missed =
        |reader: &mut ReadAhead, at| reader.plan(at, 1, Cause::Missed, Pattern::Normal, |_, _| 0);
    let plan = missed(&mut reader, LAST - 1);
    assert_eq!((plan.start, plan.pages, plan.mark), (LAST - 1, 2, Some(LAST)));
    let plan = reader.plan(LAST, 1, Cause::Marked, Pattern::Normal, |_, most| most);
    assert_eq!((plan.start, plan.pages, plan.mark), (LAST, 0, None));
    reader.note_use(LAST);
    let plan = missed(&mut reader, LAST);
    assert_eq!((plan.start, plan.pages, plan.mark), (LAST, 1, None));
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![Just(Pattern::Normal), Just(Pattern::Random), Just(Pattern::Sequential)]
}

/// A page near one of the ends, or anywhere.
fn index() -> impl Strategy<Value = u32> {
    prop_oneof![0..200u32, u32::MAX - 200..=u32::MAX, any::<u32>()]
}

proptest! {
    #![proptest_config(cases(512))]

    /// FILE-02: whatever is asked, a plan begins with the missed page, is no larger than the
    /// largest window, marks one of its own pages, and stays among the indices.
    #[test]
    fn every_plan_is_within_its_bounds(
        steps in prop::collection::vec(
            (index(), prop_oneof![0..70u32, any::<u32>()], any::<bool>(), pattern(), 0..70u32),
            1..60,
        ),
        jump in vec![any::<bool>(); 60],
    ) {
        let mut reader = ReadAhead::new();
        for ((mut at, wanted, missed, pattern, cached), jump) in steps.into_iter().zip(jump) {
            if !jump {
                at = if missed { reader.end() } else { reader.mark() }.unwrap_or(at);
            }
            let cause = if missed { Cause::Missed } else { Cause::Marked };
            let plan = reader.plan(at, wanted, cause, pattern, |_, most| cached.min(most).min(at));
            let most = pattern.most().unwrap_or(wanted.max(1));
            prop_assert!(plan.pages <= most);
            prop_assert!(u64::from(plan.start) + u64::from(plan.pages) <= 1 << 32);
            if cause == Cause::Missed {
                prop_assert!(plan.start == at && plan.pages >= 1);
            }
            if let Some(mark) = plan.mark {
                prop_assert!(mark >= plan.start && mark - plan.start < plan.pages);
                prop_assert!(cause == Cause::Marked || mark > at);
            }
            reader.note_use(at);
        }
    }

    /// FILE-02: a sequential reader, however much it reads at a time, misses its first page only,
    /// and no page is read twice.
    #[test]
    fn sequential_readers_wait_once(
        chunks in prop::collection::vec(1..40u32, 1..60),
        start in prop_oneof![Just(0u32), 1..100_000u32],
    ) {
        let mut cache = Cache::default();
        let mut reader = ReadAhead::new();
        reader.note_use(start.saturating_sub(1));
        let mut at = start;
        for wanted in chunks {
            cache.read(&mut reader, at, wanted, Pattern::Normal);
            at += wanted;
        }
        prop_assert_eq!(cache.misses, 1);
        let read: u32 = cache.requests.iter().map(|(_, pages)| pages).sum();
        prop_assert_eq!(read as usize, cache.pages.len());
        prop_assert!(read <= at - start + 2 * MOST);
    }
}
