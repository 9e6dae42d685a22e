//! Rules that the compiler does not know, checked on the sources.
//!
//! | module | rule |
//! | --- | --- |
//! | [`length`] | a file is short, or says here why it is not |
//! | [`facade`] | `mm-reclaim` reaches atomics and locks only through its `sync` module |
//! | [`layers`] | a crate imports only downwards, by the table in its own docs |
//! | [`parts`] | the methods of `Mm` stand in its folder |
//! | [`named`] | documents name files and functions that exist |
//! | [`words`] | nothing is left to be done later |
//! | [`rows`] | a row of the specification that is named exists |
//! | [`proofs`] | a due row has a test; the specification says in which files |
//! | [`errors`] | what `mm-reclaim` returns as an error can be shown |
//! | [`dead`] | every source file belongs to a module tree |
//!
//! Each rule is a function from text to [`Finding`]s, with a test that shows that it finds
//! violations; `tests/tree.rs` checks all of them on the project as it is.

pub mod code;
pub mod dead;
pub mod errors;
pub mod facade;
pub mod layers;
pub mod length;
pub mod named;
pub mod parts;
pub mod proofs;
pub mod rows;
pub mod words;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// A place where a rule is broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The file, relative to the root of the project.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl Finding {
    fn new(source: &Source, line: usize, what: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// A file of the project.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path relative to the root of the project, with `/`.
    pub path: String,
    /// Its contents.
    pub text: String,
}

impl Source {
    /// A file that exists only in a test.
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether it is a Rust file.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Every text file under `root` that people write, in the order of their paths.
///
/// # Panics
/// If a folder cannot be read.
pub fn sources(root: &Path) -> Vec<Source> {
    let mut folders = vec![root.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the project is readable") {
            let path = entry.expect("an entry of a folder is readable").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                if !matches!(name, "target" | ".git") {
                    folders.push(path);
                }
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push(Source { path: relative(root, &path), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn relative(root: &Path, path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root).expect("it was found under the root").into();
    path.to_string_lossy().replace('\\', "/")
}
