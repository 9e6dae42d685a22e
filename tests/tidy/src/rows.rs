//! Rows of the specification: those that the sources name exist, and those that are due
//! are named by a test.
//!
//! The list of rows is `docs/spec-rows.txt`: one id a line, then `due` if the row must
//! already have a test.

use std::collections::BTreeSet;

use crate::{Finding, Source};

/// Where the list stands.
pub const LIST: &str = "docs/spec-rows.txt";

/// The rows that exist and those that are due.
#[derive(Debug, Default)]
pub struct Rows {
    all: BTreeSet<String>,
    due: BTreeSet<String>,
    families: BTreeSet<String>,
}

impl Rows {
    /// Reads the list.
    pub fn parse(text: &str) -> Self {
        let mut rows = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split_whitespace();
            let Some(id) = words.next() else { continue };
            if let Some((family, _)) = id.split_once('-') {
                rows.families.insert(family.to_owned());
            }
            if words.next() == Some("due") {
                rows.due.insert(id.to_owned());
            }
            rows.all.insert(id.to_owned());
        }
        rows
    }
}

/// Ids that the sources name and the list does not hold.
pub fn check_exist(sources: &[Source], rows: &Rows) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        for (i, line) in source.text.lines().enumerate() {
            for id in ids(line, rows).filter(|id| !rows.all.contains(*id)) {
                findings.push(Finding::new(source, i + 1, format!("{id} is no row")));
            }
        }
    }
    findings
}

/// Due ids that no test names.
pub fn check_due(sources: &[Source], rows: &Rows) -> Vec<Finding> {
    let mut missing = rows.due.clone();
    for source in sources.iter().filter(|source| holds_tests(source)) {
        for id in source.text.lines().flat_map(|line| ids(line, rows)) {
            missing.remove(id);
        }
    }
    let list = Source::new(LIST, "");
    let finding =
        |id: &String| Finding::new(&list, 0, format!("{id} is due, and no test names it"));
    missing.iter().map(finding).collect()
}

/// Whether a file holds tests: a Rust file with a test in it or of a folder of tests, or the
/// table of workloads.
fn holds_tests(source: &Source) -> bool {
    let in_folder = source.path.starts_with("tests/") || source.path.contains("/tests/");
    let listed = source.path == "tests/workloads.txt";
    listed || source.is_rust() && (in_folder || source.text.contains("#[test]")) && !is_ours(source)
}

/// This crate's own samples prove nothing.
fn is_ours(source: &Source) -> bool {
    source.path.starts_with("tests/tidy/src/")
}

/// The ids in a line: a known family, a hyphen, two digits.
fn ids<'a>(line: &'a str, rows: &'a Rows) -> impl Iterator<Item = &'a str> {
    line.match_indices('-').filter_map(|(at, _)| {
        let start = line[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |i| i + 1);
        let digits = line[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        (digits == 2 && rows.families.contains(&line[start..at])).then(|| &line[start..at + 3])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        Rows::parse("# the list\nAAA-01 due\nAAA-02\nBB-01 due\n")
    }

    #[test]
    fn a_row_that_does_not_exist_is_found() {
        let source = [Source::new("a.rs", "/// AAA-01, AAA-02, XX-77, AAA-100.\n/// (BB-09)")];
        let found = check_exist(&source, &rows());
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].line, found[0].what.as_str()), (2, "BB-09 is no row"));
    }

    #[test]
    fn a_due_row_without_a_test_is_found() {
        let tested = Source::new("tests/a.rs", "/// AAA-01");
        let mentioned = Source::new("kernel/src/lib.rs", "//! BB-01");
        let found = check_due(&[tested, mentioned], &rows());
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].what.starts_with("BB-01"));
        let unit = Source::new("kernel/src/lib.rs", "/// BB-01\n#[test]\nfn b() {}");
        assert_eq!(check_due(&[unit], &rows()).len(), 1);
    }
}
