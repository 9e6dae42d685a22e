//! The project as it is, held against every rule of this crate.

use std::path::Path;

use tidy::length::Exception;
use tidy::{Finding, Source, dead, facade, layers, length, rows, sources, words};

/// Files that may be longer than the rule says, each with its sentence.
const LONG_FILES: &[Exception] = &[];

fn tree() -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("it is here");
    sources(folder.ancestors().nth(2).expect("two folders below the root"))
}

fn file<'a>(tree: &'a [Source], path: &str) -> &'a Source {
    match tree.iter().find(|source| source.path == path) {
        Some(source) => source,
        None => panic!("{path} does not exist"),
    }
}

fn assert_none(findings: &[Finding]) {
    let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

fn each(check: impl Fn(&Source) -> Vec<Finding>) {
    assert_none(&tree().iter().flat_map(check).collect::<Vec<_>>());
}

#[test]
fn files_are_short() {
    assert_none(&length::check(&tree(), LONG_FILES));
}

#[test]
fn atomics_and_locks_come_through_the_facade() {
    each(facade::check);
}

#[test]
fn layers_import_only_downwards() {
    let tree = tree();
    for root in ["mm-reclaim/src/lib.rs", "kernel/src/lib.rs"] {
        let table = layers::Table::parse(file(&tree, root)).expect("the crate's docs carry it");
        let findings: Vec<Finding> =
            tree.iter().flat_map(|source| layers::check(source, &table)).collect();
        assert_none(&findings);
    }
}

#[test]
fn nothing_is_left_for_later() {
    each(words::check);
}

#[test]
fn every_row_that_is_named_exists() {
    let tree = tree();
    let rows = rows::Rows::parse(&file(&tree, rows::LIST).text);
    assert_none(&rows::check_exist(&tree, &rows));
}

#[test]
fn every_due_row_has_a_test() {
    let tree = tree();
    let rows = rows::Rows::parse(&file(&tree, rows::LIST).text);
    assert_none(&rows::check_due(&tree, &rows));
}

#[test]
fn no_file_is_dead() {
    assert_none(&dead::check(&tree()));
}
