//! Where each row of the specification is proven, and that the specification says so.
//!
//! A row is proven by the files whose tests name it. The last column of the specification
//! links to those that name it most often. It is computed, so that it does not rot when files
//! move: [`rewrite`] brings a document up to date.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::code::without_tests;
use crate::rows::{PLANNED, Row, Rows};
use crate::{Finding, Source};

/// The most files that a row links to.
pub const MOST: usize = 4;

const WORKLOADS: &str = "tests/workloads.txt";

/// The files whose tests name each row, and how often they do.
#[derive(Debug, Default)]
pub struct Proofs {
    files: BTreeMap<String, BTreeMap<String, usize>>,
}

impl Proofs {
    /// Looks through all sources.
    pub fn find(sources: &[Source], rows: &Rows) -> Self {
        let mut proofs = Self::default();
        for source in sources {
            for id in tests_of(source).lines().flat_map(|line| rows.named_in(line)) {
                let files = proofs.files.entry(id.to_owned()).or_default();
                *files.entry(source.path.clone()).or_default() += 1;
            }
        }
        proofs
    }

    /// What the last column of a due row must say; nothing if no test names it.
    pub fn column(&self, row: &Row) -> String {
        let Some(files) = self.files.get(&row.id) else { return String::new() };
        let mut files: Vec<(&str, usize)> =
            files.iter().map(|(path, times)| (path.as_str(), *times)).collect();
        files.sort_by_key(|(path, times)| (Reverse(*times), *path));
        let links: Vec<String> = files.iter().take(MOST).map(|(path, _)| link(path)).collect();
        match files.len() - links.len() {
            0 => links.join(", "),
            more => format!("{} and {more} more", links.join(", ")),
        }
    }
}

/// The part of a file that proves something: all of a Rust file in a folder of tests, and of the
/// table of workloads; of any other Rust file its tests. The samples of this crate prove nothing.
fn tests_of(source: &Source) -> &str {
    let path = source.path.as_str();
    let in_folder = path.starts_with("tests/") || path.contains("/tests/");
    if path.starts_with("tests/tidy/") {
        ""
    } else if path == WORKLOADS || source.is_rust() && in_folder {
        &source.text
    } else if source.is_rust() && source.text.contains("#[test]") {
        match &source.text[without_tests(&source.text).len()..] {
            // A module of nothing but tests, which its parent declares as such.
            "" => &source.text,
            tests => tests,
        }
    } else {
        ""
    }
}

/// A link from the folder of documents to a file.
fn link(path: &str) -> String {
    format!("[{}](../{path})", name(path))
}

/// A path without the words that carry no information: `tests/suite/tests/kernel/zones.rs` is
/// `suite/kernel/zones`.
fn name(path: &str) -> String {
    let path = path.strip_suffix(".rs").or(path.strip_suffix(".txt")).unwrap_or(path);
    let tells = |word: &&str| !matches!(*word, "src" | "bin" | "tests" | "mod" | "main" | "lib");
    path.split('/').filter(tells).collect::<Vec<_>>().join("/")
}

/// Due rows that no test names.
pub fn check_due(rows: &Rows, proofs: &Proofs) -> Vec<Finding> {
    let missing = rows.due().filter(|row| proofs.column(row).is_empty());
    missing.map(|row| row.finding("is due, and no test names it")).collect()
}

/// Planned rows that claim a proof.
pub fn check_planned(rows: &Rows) -> Vec<Finding> {
    let claiming = rows.planned().filter(|row| row.proven_by != PLANNED);
    claiming.map(|row| row.finding("is planned, and yet says where it is proven")).collect()
}

/// Due rows that are proven elsewhere than they say.
pub fn check_column(rows: &Rows, proofs: &Proofs) -> Vec<Finding> {
    let mut findings = Vec::new();
    for row in rows.due() {
        let right = proofs.column(row);
        if row.proven_by != right && !right.is_empty() {
            findings.push(row.finding(&format!("is proven by: {right}")));
        }
    }
    findings
}

/// The specification with the right last column in every due row.
pub fn rewrite(text: &str, rows: &Rows, proofs: &Proofs) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for row in rows.due() {
        let line = &mut lines[row.line - 1];
        let cells: Vec<&str> = line.split('|').collect();
        let kept = cells[..3].join("|");
        *line = format!("{kept}| {} |", proofs.column(row));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::HEADING;

    const LINKS: &str = "[kernel/mmu](../kernel/src/mmu.rs), [suite/all](../tests/suite/all.rs)";

    fn document(rows: &str) -> String {
        format!("# The list\n\n{HEADING}\n| --- | --- | --- |\n{rows}\n\nThe end.\n")
    }

    fn rows(text: &str) -> Rows {
        Rows::parse(&document(text)).expect("a table of rows")
    }

    fn sources() -> [Source; 3] {
        [
            Source::new(
                "kernel/src/mmu.rs",
                "/// BB-01\n#[cfg(test)]\nmod tests {\n// AAA-01\n#[test]\n",
            ),
            Source::new("tests/suite/all.rs", "/// AAA-01\n"),
            Source::new("tests/tidy/tests/x.rs", "/// BB-01: a sample"),
        ]
    }

    fn proven(path: &str, text: &str) -> String {
        let rows = rows("| AAA-01 | a |  |");
        let proofs = Proofs::find(&[Source::new(path, text)], &rows);
        proofs.column(rows.due().next().expect("a due row"))
    }

    #[test]
    fn a_due_row_without_a_test_is_found() {
        let rows = rows("| AAA-01 | a |  |\n| BB-01 | b |  |\n| BB-02 | c | planned |");
        let found = check_due(&rows, &Proofs::find(&sources(), &rows));
        assert_eq!(found.len(), 1, "{found:?}");
        let said = found[0].to_string();
        assert_eq!(said, "docs/specification.md:6: BB-01 is due, and no test names it");
    }

    #[test]
    fn a_planned_row_that_claims_a_proof_is_found() {
        let rows = rows("| AAA-01 | a | planned |\n| AAA-02 | b | planned, [x](../x.rs) |");
        let found = check_planned(&rows);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].what, "AAA-02 is planned, and yet says where it is proven");
    }

    #[test]
    fn a_stale_column_is_found_with_the_right_text() {
        for stale in ["", "[kernel/mmu](../kernel/src/mmu.rs)", "somewhere"] {
            let rows = rows(&format!("| AAA-01 | a | {stale} |"));
            let found = check_column(&rows, &Proofs::find(&sources(), &rows));
            assert_eq!(found.len(), 1, "{stale}: {found:?}");
            assert_eq!(found[0].what, format!("AAA-01 is proven by: {LINKS}"));
        }
        let rows = rows(&format!("| AAA-01 | a | {LINKS} |"));
        assert_eq!(check_column(&rows, &Proofs::find(&sources(), &rows)), []);
    }

    #[test]
    fn a_rewritten_column_is_right_and_all_else_stays() {
        let old = document("| AAA-01 | a | old |\n| BB-01 | b |  |\n| BB-02 | c | planned |");
        let rows = Rows::parse(&old).expect("a table of rows");
        let new = rewrite(&old, &rows, &Proofs::find(&sources(), &rows));
        assert_eq!(new, old.replace("| old |", &format!("| {LINKS} |")));
    }

    #[test]
    fn only_tests_prove_something() {
        let inline = "#[cfg(test)]\nmod tests {\n// AAA-01\n#[test]\n";
        assert_eq!(proven("a/src/b.rs", inline), "[a/b](../a/src/b.rs)");
        assert_eq!(
            proven("a/src/b/tests.rs", "//! AAA-01\n#[test]\n"),
            "[a/b](../a/src/b/tests.rs)"
        );
        assert_eq!(proven("a/tests/b/main.rs", "// AAA-01"), "[a/b](../a/tests/b/main.rs)");
        assert_eq!(proven(WORKLOADS, "# AAA-01"), "[workloads](../tests/workloads.txt)");
        let beside = "// AAA-01\n#[cfg(test)]\nmod tests {\n#[test]\n";
        assert_eq!(proven("a/src/b.rs", beside), "");
        assert_eq!(proven("a/src/b.rs", "// AAA-01"), "");
        assert_eq!(proven("tests/other.txt", "AAA-01"), "");
        assert_eq!(proven("tests/tidy/src/b.rs", inline), "");
    }

    #[test]
    fn a_handful_of_files_is_linked_the_most_frequent_first() {
        let rows = rows("| AAA-01 | a |  |");
        let file = |name: &str, times| {
            Source::new(&format!("tests/{name}.rs"), &"// AAA-01\n".repeat(times))
        };
        let sources =
            [file("a", 1), file("b", 3), file("c", 1), file("d", 2), file("e", 1), file("f", 1)];
        let row = rows.due().next().expect("a due row");
        let all = Proofs::find(&sources, &rows).column(row);
        assert_eq!(
            all,
            "[b](../tests/b.rs), [d](../tests/d.rs), [a](../tests/a.rs), [c](../tests/c.rs) and 2 more"
        );
        let some = Proofs::find(&sources[..MOST], &rows).column(row);
        assert!(some.ends_with("[c](../tests/c.rs)"), "{some}");
    }
}
