//! Nothing is left to be done later: neither in code nor in a comment.

use crate::{Finding, Source};

/// Concatenated here, so that this file does not match itself.
const LATER: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
];

/// Lines of sources and scripts that put something off.
pub fn check(source: &Source) -> Vec<Finding> {
    let is_script = source.path.starts_with("scripts/") || source.path.starts_with(".ci/");
    let is_code = [".rs", ".s", ".ld", ".toml"].iter().any(|end| source.path.ends_with(end));
    if !is_script && !is_code {
        return Vec::new();
    }
    let later = |line: &str| LATER.into_iter().find(|word| line.contains(word));
    source
        .text
        .lines()
        .enumerate()
        .filter_map(|(i, line)| Some(Finding::new(source, i + 1, format!("says {}", later(line)?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn putting_something_off_is_found_in_code_and_scripts_only() {
        for word in LATER {
            for path in ["boot/src/entry.s", "kernel/src/lib.rs", "scripts/run", ".ci/run"] {
                assert_eq!(check(&Source::new(path, &format!("a\n// {word}: b"))).len(), 1);
            }
            assert_eq!(check(&Source::new("README.md", word)).len(), 0);
        }
    }
}
