//! No dead files: a file that no `mod` line names is neither compiled nor tested.

use crate::code::code_only;
use crate::{Finding, Source};

/// Module files that no parent declares.
pub fn check(sources: &[Source]) -> Vec<Finding> {
    let is_declared = |source: &&Source| is_root(&source.path) || declared(&source.path, sources);
    sources
        .iter()
        .filter(|source| source.is_rust())
        .filter(|source| !is_declared(source))
        .map(|source| Finding::new(source, 1, "no module declares this file"))
        .collect()
}

/// Files that cargo finds by itself.
fn is_root(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let by_folder = ["src/bin", "tests", "benches", "examples"];
    matches!(name, "lib.rs" | "main.rs" | "build.rs")
        || by_folder.iter().any(|end| folder == *end || folder.ends_with(&format!("/{end}")))
}

fn declared(path: &str, sources: &[Source]) -> bool {
    let path = path.trim_end_matches("/mod.rs").trim_end_matches(".rs");
    let Some((folder, name)) = path.rsplit_once('/') else { return false };
    let parents = [
        format!("{folder}/mod.rs"),
        format!("{folder}/lib.rs"),
        format!("{folder}/main.rs"),
        format!("{folder}.rs"),
    ];
    let line = format!("mod {name};");
    sources.iter().any(|source| {
        let is_parent = parents.contains(&source.path)
            || is_root(&source.path) && in_folder(&source.path, folder);
        is_parent && code_only(&source.text).contains(&line)
    })
}

/// Whether a root such as `tests/x.rs` lies directly in `folder`.
fn in_folder(root: &str, folder: &str) -> bool {
    root.rsplit_once('/').is_some_and(|(parent, _)| parent == folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_nobody_declares_is_found() {
        let sources = [
            Source::new("a/src/lib.rs", "pub mod b;\npub mod c;\n// mod dead;"),
            Source::new("a/src/b.rs", "mod inner;"),
            Source::new("a/src/b/inner.rs", ""),
            Source::new("a/src/c/mod.rs", ""),
            Source::new("a/src/bin/tool.rs", ""),
            Source::new("a/tests/whole.rs", "mod common;"),
            Source::new("a/tests/common/mod.rs", ""),
            Source::new("a/src/dead.rs", ""),
        ];
        let found = check(&sources);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].path, "a/src/dead.rs");
    }
}
