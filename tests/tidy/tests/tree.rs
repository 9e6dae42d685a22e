//! The project as it is, checked by every rule of this crate.

use std::path::{Path, PathBuf};
use std::{env, fs};

use tidy::length::Exception;
use tidy::proofs::Proofs;
use tidy::rows::Rows;
use tidy::{
    Finding, Source, dead, errors, facade, layers, length, named, parts, proofs, rows, sources,
    words,
};

/// Files that may be longer than the rule says, each with its reason.
const LONG_FILES: &[Exception] = &[];

/// What to type after moving a test.
const UPDATE: &str = "UPDATE_PROOFS=1 cargo test --target host-tuple -p tidy proven";

fn root() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).canonicalize().expect("it is here");
    folder.ancestors().nth(2).expect("two folders below the root").to_path_buf()
}

fn tree() -> Vec<Source> {
    sources(&root())
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
fn the_facade_is_one_folder() {
    each(parts::check);
}

#[test]
fn documents_name_what_exists() {
    assert_none(&named::check(&tree()));
}

#[test]
fn nothing_is_left_for_later() {
    each(words::check);
}

/// The rows of the specification, and the files whose tests name them.
fn specification(tree: &[Source]) -> (Rows, Proofs) {
    let rows = Rows::parse(&file(tree, rows::LIST).text);
    let rows = rows.unwrap_or_else(|error| panic!("{error}"));
    let proofs = Proofs::find(tree, &rows);
    (rows, proofs)
}

#[test]
fn every_row_that_is_named_exists() {
    let tree = tree();
    assert_none(&rows::check_exist(&tree, &specification(&tree).0));
}

#[test]
fn every_due_row_has_a_test_and_no_planned_row_claims_one() {
    let (rows, proofs) = specification(&tree());
    assert_none(&proofs::check_due(&rows, &proofs));
    assert_none(&proofs::check_planned(&rows));
}

/// With `UPDATE_PROOFS` in the environment it rewrites the column.
#[test]
fn every_due_row_says_where_it_is_proven() {
    let tree = tree();
    let (rows, proofs) = specification(&tree);
    let stale = proofs::check_column(&rows, &proofs);
    if env::var_os("UPDATE_PROOFS").is_some() {
        let text = proofs::rewrite(&file(&tree, rows::LIST).text, &rows, &proofs);
        fs::write(root().join(rows::LIST), text).expect("the specification is writable");
        return;
    }
    if !stale.is_empty() {
        println!("this rewrites the column:\n    {UPDATE}");
    }
    assert_none(&stale);
}

#[test]
fn what_is_returned_as_an_error_can_be_shown() {
    assert_none(&errors::check(&tree()));
}

/// Everything that is published of a crate is in the crate's folder.
#[test]
fn what_may_be_published_brings_its_licences() {
    let tree = tree();
    let may_be = |source: &&Source| {
        source.path.ends_with("/Cargo.toml") && !source.text.contains("publish = false")
    };
    let published: Vec<&Source> = tree.iter().filter(may_be).collect();
    assert!(!published.is_empty());
    for manifest in published {
        let folder = manifest.path.strip_suffix("Cargo.toml").expect("as it was found");
        for licence in ["LICENSE-MIT", "LICENSE-APACHE"] {
            let copy = file(&tree, &format!("{folder}{licence}"));
            assert_eq!(copy.text, file(&tree, licence).text, "{}", copy.path);
        }
        assert!(manifest.text.contains("readme = "), "{}", manifest.path);
        for name in manifest.text.lines().filter_map(|line| line.strip_suffix(".workspace = true"))
        {
            let start = format!("{name} = {{ path = ");
            let workspace = &file(&tree, "Cargo.toml").text;
            let local = workspace.lines().find(|line| line.starts_with(&start));
            assert!(local.is_none_or(|line| line.contains("version = ")), "{name}: no version");
        }
    }
}

#[test]
fn no_file_is_dead() {
    assert_none(&dead::check(&tree()));
}
