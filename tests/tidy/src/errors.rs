//! The errors of the public functions of `mm-reclaim` can be displayed and passed on.
//!
//! A type declared there, whose name ends in `Error` or that a `pub fn` or a function of the
//! environment's traits names as the error of its `Result`, has an `impl … Error for` it, which the
//! compiler accepts only together with a `Display`.

use crate::code::code_only;
use crate::{Finding, Source};

const FOLDER: &str = "mm-reclaim/src/";
/// All of its functions are the environment's.
const ENVIRONMENT: &str = "mm-reclaim/src/env.rs";

/// Errors that are none to the compiler, each at its declaration.
pub fn check(tree: &[Source]) -> Vec<Finding> {
    let is_crate = |source: &&Source| source.path.starts_with(FOLDER) && source.is_rust();
    let crate_files: Vec<(&Source, String)> =
        tree.iter().filter(is_crate).map(|source| (source, code_only(&source.text))).collect();
    let returned: Vec<&str> =
        crate_files.iter().flat_map(|(source, code)| returned_errors(source, code)).collect();
    let is_error = |name: &str| {
        let implemented = format!("Error for {name} ");
        crate_files.iter().any(|(_, code)| code.contains(&implemented))
    };
    let mut findings = Vec::new();
    for (source, code) in &crate_files {
        for (line, name) in declared(code) {
            let is_due = name.ends_with("Error") || returned.contains(&name);
            if is_due && !is_error(name) {
                let what = format!("{name} is returned as an error and has no `impl Error`");
                findings.push(Finding::new(source, line, what));
            }
        }
    }
    findings
}

/// The public types that a file declares, with their lines.
fn declared(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().filter_map(|(i, line)| {
        let rest = line.strip_prefix("pub enum ").or_else(|| line.strip_prefix("pub struct "))?;
        Some((i + 1, word(rest)))
    })
}

/// The error type in the `Result` of each public function.
fn returned_errors<'a>(source: &Source, code: &'a str) -> Vec<&'a str> {
    let start = if source.path == ENVIRONMENT { " fn " } else { "pub fn " };
    let mut found = Vec::new();
    for (at, _) in code.match_indices(start) {
        let end = code[at..].find(['{', ';']).map_or(code.len(), |length| at + length);
        let Some((_, result)) = code[at..end].rsplit_once("-> Result<") else { continue };
        if let Some(error) = last_argument(result) {
            found.push(word(error.trim_start()));
        }
    }
    found
}

/// The last of the arguments up to the `>` that closes them.
fn last_argument(text: &str) -> Option<&str> {
    let (mut depth, mut last) = (0, None);
    for (i, c) in text.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            '>' if depth == 0 => return last.map(|from| &text[from..i]),
            '>' | ')' | ']' => depth -= 1,
            ',' if depth == 0 => last = Some(i + 1),
            _ => {}
        }
    }
    None
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let tree: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        check(&tree).into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn an_error_by_name_or_by_use_must_be_one() {
        let by_name = found(&[("mm-reclaim/src/a.rs", "pub enum AError {\n}")]);
        assert_eq!(by_name.len(), 1);
        let text = "pub fn f(\n    x: u8,\n) -> Result<(u8, Option<u8>), Broken> {\n}";
        let by_use =
            found(&[("mm-reclaim/src/a.rs", text), ("mm-reclaim/src/b.rs", "pub struct Broken;")]);
        assert_eq!(by_use, ["Broken is returned as an error and has no `impl Error`"]);
        let text = "pub struct Gone;\n    fn set(&mut self) -> Result<(), Gone>;";
        assert_eq!(found(&[("mm-reclaim/src/env.rs", text)]).len(), 1);
    }

    #[test]
    fn what_is_an_error_or_is_returned_by_none_is_free() {
        let text = "pub struct Broken;\npub fn f() -> Result<(), Broken> {}";
        let shown = "impl Error for Broken {}\n";
        let files = [("mm-reclaim/src/a.rs", text), ("mm-reclaim/src/b.rs", shown)];
        assert_eq!(found(&files).len(), 0);
        let inside = "pub enum End {\n}\npub(crate) fn f() -> Result<u8, End> {}";
        assert_eq!(found(&[("mm-reclaim/src/a.rs", inside)]).len(), 0);
        assert_eq!(found(&[("kernel/src/a.rs", "pub enum AError {}")]).len(), 0);
        let prose = "/// pub fn f() -> Result<(), Slot>\npub struct Slot;";
        assert_eq!(found(&[("mm-reclaim/src/a.rs", prose)]).len(), 0);
    }
}
