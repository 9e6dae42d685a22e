//! Documents name what exists.
//!
//! In the documents of `docs` and in the README, what stands between backticks is a promise:
//!
//! - `folder/file.rs` is a file of the project, from its root or from a folder of sources;
//! - `Type::name` has a `name` in the sources, if a type of the crate or the kernel has that name.
//!
//! Text between lines of three backticks is a picture and free.

use std::collections::BTreeSet;

use crate::code::code_only;
use crate::{Finding, Source};

/// Where a path in a document may begin.
const BASES: [&str; 4] = ["", "mm-reclaim/src/", "kernel/src/", "tests/simulator/tests/reclaim/"];

/// Names in documents that do not exist.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let known = Known::of(sources);
    let is_document =
        |path: &str| path == "README.md" || path.starts_with("docs/") && path.ends_with(".md");
    let documents = sources.iter().filter(|source| is_document(&source.path));
    documents.flat_map(|document| check_document(document, &known)).collect()
}

struct Known {
    paths: BTreeSet<String>,
    types: BTreeSet<String>,
    names: BTreeSet<String>,
}

impl Known {
    fn of(sources: &[Source]) -> Self {
        let mut known = Self {
            paths: sources.iter().map(|source| source.path.clone()).collect(),
            types: BTreeSet::new(),
            names: BTreeSet::new(),
        };
        let has_code = |s: &&Source| {
            s.is_rust() && (s.path.starts_with("mm-reclaim/") || s.path.starts_with("kernel/"))
        };
        for source in sources.iter().filter(has_code) {
            let code = code_only(&source.text);
            let words: Vec<&str> = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            for pair in words.windows(2) {
                if matches!(pair[0], "struct" | "enum" | "trait" | "type" | "union") {
                    known.types.insert(pair[1].to_owned());
                }
            }
            known.names.extend(words.into_iter().map(str::to_owned));
        }
        known
    }

    fn has_file(&self, path: &str) -> bool {
        BASES.iter().any(|base| self.paths.contains(&format!("{base}{path}")))
    }
}

fn check_document(document: &Source, known: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_picture = false;
    for (number, line) in document.text.lines().enumerate() {
        in_picture ^= line.trim_start().starts_with("```");
        if in_picture {
            continue;
        }
        for quoted in line.split('`').skip(1).step_by(2) {
            if let Some(what) = wrong(quoted, known) {
                findings.push(Finding::new(document, number + 1, what));
            }
        }
    }
    findings
}

fn wrong(quoted: &str, known: &Known) -> Option<String> {
    if quoted.ends_with(".rs") && quoted.contains('/') && !quoted.contains(['{', '*', ' ']) {
        return (!known.has_file(quoted)).then(|| format!("there is no file {quoted}"));
    }
    let (owner, rest) = quoted.split_once("::")?;
    if !known.types.contains(owner) {
        return None;
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let name = rest.split(|c| !is_word(c)).next().unwrap_or_default();
    (!name.is_empty() && !known.names.contains(name))
        .then(|| format!("{owner} has no {name}, and nothing else has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<usize> {
        let sources = [
            Source::new(
                "mm-reclaim/src/zone/mod.rs",
                "pub struct Zones; impl Zones { fn of() {} }",
            ),
            Source::new("kernel/src/main.rs", "// struct Gone"),
            Source::new("docs/guide.md", text),
        ];
        check(&sources).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_file_that_is_gone_is_found() {
        assert_eq!(found("`zone/mod.rs`, `kernel/src/main.rs`\nsee `zone/gone.rs`"), [2]);
        assert_eq!(found("`mod.rs` and `lru/` and `mm-reclaim/src/{a,b}.rs`"), []);
    }

    #[test]
    fn a_name_that_is_gone_is_found_at_a_type_that_exists() {
        assert_eq!(found("`Zones::of(page)` and\n`Zones::gone` and `Other::gone`"), [2]);
        assert_eq!(found("`Gone::gone` is named in a comment only"), []);
    }

    #[test]
    fn pictures_are_free() {
        assert_eq!(found("```text\n`zone/gone.rs`\n```\n`zone/gone.rs`"), [4]);
    }
}
