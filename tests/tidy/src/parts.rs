//! The façade of `mm-reclaim` is one folder: `Mm` has methods in `mm/` and nowhere else, so that
//! each part's operations are methods of its own type.

use crate::code::{code_only, without_tests};
use crate::{Finding, Source};

const CRATE: &str = "mm-reclaim/src/";
const FOLDER: &str = "mm-reclaim/src/mm/";

/// Methods of `Mm` outside its folder.
pub fn check(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with(CRATE) || source.path.starts_with(FOLDER) || !source.is_rust() {
        return Vec::new();
    }
    let code = code_only(without_tests(&source.text));
    let lines = code.lines().enumerate();
    lines
        .filter(|(_, line)| line.starts_with("impl") && names_mm(line))
        .map(|(at, _)| Finding::new(source, at + 1, "methods of Mm stand in mm/ only"))
        .collect()
}

/// Whether the type that the block is about is `Mm`.
fn names_mm(line: &str) -> bool {
    let subject = line.split(" for ").last().unwrap_or(line);
    subject.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "Mm")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_the_facade_elsewhere_are_found() {
        let text = "impl<'m, E: Env> Zones<'m, E> {}\nimpl<'m, E: Env> Mm<'m, E> {}";
        let lines = |path| {
            let found = check(&Source::new(path, text));
            found.into_iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        assert_eq!(lines("mm-reclaim/src/zone/zones.rs"), [2]);
        assert_eq!(lines("mm-reclaim/src/mm/state.rs"), [0; 0]);
        assert_eq!(lines("kernel/src/glue.rs"), [0; 0]);
    }
}
