//! Atomics and locks of `mm-reclaim` come through its `sync` module, so that a model checker can
//! replace them and every lock disables preemption.

use crate::code::code_only;
use crate::{Finding, Source};

const FOLDER: &str = "mm-reclaim/src/";
const DOOR: &str = "mm-reclaim/src/base/sync.rs";
const FORBIDDEN: [&str; 3] = ["core::sync::atomic", "std::sync", "spin::"];

/// Lines of the crate, outside that module, that name atomics or locks.
pub fn check(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with(FOLDER) || !source.is_rust() || source.path == DOOR {
        return Vec::new();
    }
    let code = code_only(&source.text);
    let named = |line: &str| FORBIDDEN.into_iter().find(|name| names(line, name));
    code.lines()
        .enumerate()
        .filter_map(|(i, line)| {
            let name = named(line)?;
            Some(Finding::new(source, i + 1, format!("names {name} outside `sync`")))
        })
        .collect()
}

/// Whether the line holds `name` as a path of its own, not as the end of a longer word.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&Source::new(path, text)).len()
    }

    #[test]
    fn an_atomic_or_a_lock_past_the_door_is_found() {
        assert_eq!(found("mm-reclaim/src/zone/buddy.rs", "use core::sync::atomic::AtomicU8;"), 1);
        assert_eq!(
            found("mm-reclaim/src/base/stat.rs", "x: spin::Mutex<u8>,\nlet y: std::sync::Once"),
            2
        );
        assert_eq!(found("mm-reclaim/src/env.rs", "type Relax: spin::RelaxStrategy;"), 1);
    }

    #[test]
    fn the_door_prose_and_other_crates_are_free() {
        assert_eq!(
            found("mm-reclaim/src/base/sync.rs", "pub use core::sync::atomic::AtomicU8;"),
            0
        );
        assert_eq!(
            found("mm-reclaim/src/base/stat.rs", "// not core::sync::atomic\nno_spin::x()"),
            0
        );
        assert_eq!(found("kernel/src/lib.rs", "use core::sync::atomic::AtomicU8;"), 0);
    }
}
