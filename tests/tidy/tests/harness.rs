//! The harness of the in-kernel tests, without a kernel: what it answers to cargo nextest.

use std::sync::atomic::{AtomicU32, Ordering};

use suite::{CAME_BACK, MISUSED, Test};

static RUNS: AtomicU32 = AtomicU32::new(0);

fn count() {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

fn other() {
    panic!("this test was not asked for");
}

const GROUPS: &[&[Test]] = &[
    &[Test::new("a::counts", count), Test::new("a::counts_more", other)],
    &[Test::long("b::takes_long", other)],
    &[Test::fatal("c::comes_back", "a last word", || {})],
    &[Test::new("d::is_elsewhere", other).only_if(|| false)],
];

const LIST: &str = "a::counts: test\na::counts_more: test\nc::comes_back: test\n";

fn answer(words: &str) -> (i32, String) {
    let mut said = String::new();
    let status = suite::main(words, GROUPS, &mut said);
    (status, said)
}

#[test]
fn the_list_has_the_lines_that_nextest_reads() {
    let (status, said) = answer("--list --format terse");
    assert_eq!((status, said.as_str()), (0, LIST));
    let (status, said) = answer("--list --format terse --ignored");
    assert_eq!((status, said.as_str()), (0, "b::takes_long: test\n"));
    assert_eq!(answer("--list --include-ignored").1.lines().count(), 4);
}

#[test]
fn exactly_the_named_test_runs() {
    let (status, said) = answer("a::counts --nocapture --exact");
    assert_eq!(status, 0);
    assert!(said.ends_with("test a::counts ... ok\n"), "{said}");
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);
}

#[test]
#[should_panic(expected = "this test was not asked for")]
fn a_test_that_panics_does_not_come_back() {
    answer("--exact a::counts_more");
}

#[test]
fn a_test_that_must_end_the_run_says_with_which_words_and_fails_if_it_comes_back() {
    let (status, said) = answer("c::comes_back --exact");
    assert_eq!(status, CAME_BACK);
    assert!(said.starts_with("test c::comes_back ... must end the run with: a last word\n"));
    assert!(!said.contains("ok"), "{said}");
}

#[test]
fn a_question_that_is_none_has_a_status_of_its_own() {
    for words in ["", "absent --exact", "--exact", "--what a::counts"] {
        let (status, said) = answer(words);
        assert_eq!(status, MISUSED, "{words}");
        assert!(said.starts_with("suite: "), "{said}");
    }
}
