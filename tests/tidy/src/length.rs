//! Short files: at most [`MOST`] lines of Rust.

use crate::{Finding, Source};

/// The most lines that a Rust file may have without an exception.
pub const MOST: usize = 500;

/// A file that may be longer, and why.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// The file.
    pub path: &'static str,
    /// The sentence that justifies it.
    pub why: &'static str,
}

/// Files that are too long, and exceptions that are not needed or not justified.
pub fn check(sources: &[Source], exceptions: &[Exception]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.is_rust()) {
        let lines = source.text.lines().count();
        let exception = exceptions.iter().find(|exception| exception.path == source.path);
        match exception {
            None if lines > MOST => {
                findings.push(Finding::new(source, lines, format!("longer than {MOST} lines")));
            }
            Some(_) if lines <= MOST => {
                findings.push(Finding::new(source, lines, "short now: needs no exception"));
            }
            Some(exception) if !exception.why.ends_with('.') => {
                findings.push(Finding::new(source, lines, "an exception needs its sentence"));
            }
            _ => {}
        }
    }
    for exception in exceptions {
        if !sources.iter().any(|source| source.path == exception.path) {
            let gone = Source::new(exception.path, "");
            findings.push(Finding::new(&gone, 0, "has an exception, but does not exist"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_unless_it_has_a_justified_exception() {
        let long = [Source::new("a.rs", &"x\n".repeat(MOST + 1))];
        assert_eq!(check(&long, &[]).len(), 1);
        let why = "It is one table.";
        assert_eq!(check(&long, &[Exception { path: "a.rs", why }]).len(), 0);
        assert_eq!(check(&long, &[Exception { path: "a.rs", why: "" }]).len(), 1);
    }

    #[test]
    fn a_needless_exception_is_found() {
        let short = [Source::new("a.rs", &"x\n".repeat(MOST))];
        assert_eq!(check(&short, &[]).len(), 0);
        let why = "It was long.";
        let needless = [Exception { path: "a.rs", why }, Exception { path: "gone.rs", why }];
        assert_eq!(check(&short, &needless).len(), 2);
    }
}
