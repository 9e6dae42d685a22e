//! A crate imports only downwards: `mm-reclaim`, and the kernel around it.
//!
//! Its crate docs carry a table between `<!-- layers -->` and `<!-- /layers -->`: a row is
//! a layer, its first column the layer's name, its second the modules of the layer,
//! separated by commas. A module may name with `crate::` or `super::` what lies in a row
//! above its own, or left of it in its own row, or within itself. The longest entry that
//! is a prefix of a module's path decides where the module stands, so that `zone` and
//! `zone::buddy` may stand in different layers. What is defined at the crate's root itself
//! counts as the entry `lib`. Test modules are free. `super::` is taken for that of the file: a
//! module inside a file that needs it becomes a file of its own.

use crate::code::{code_only, without_tests};
use crate::{Finding, Source};

const BEGIN: &str = "<!-- layers -->";
const END: &str = "<!-- /layers -->";
/// The entry for items of the crate's root.
const LIB: &str = "lib";

/// A crate's table: entries in order, lowest first.
#[derive(Debug)]
pub struct Table {
    /// The folder of the crate's sources, with its `/`.
    folder: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    layer: String,
    module: Vec<String>,
}

impl Table {
    /// Reads the table out of the docs of a crate, whose root is the file `lib.rs`.
    ///
    /// # Errors
    /// What is wrong with the table.
    pub fn parse(root: &Source) -> Result<Self, String> {
        let Some(folder) = root.path.strip_suffix("lib.rs") else {
            return Err(format!("{} is no crate's root", root.path));
        };
        let docs: Vec<&str> = root
            .text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("//!"))
            .map(str::trim)
            .skip_while(|line| *line != BEGIN)
            .skip(1)
            .take_while(|line| *line != END)
            .collect();
        let mut table = Self { folder: folder.to_owned(), entries: Vec::new() };
        // The first two rows are the heading and the line under it.
        for row in docs.iter().filter(|line| line.starts_with('|')).skip(2) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [layer, modules, ..] = cells[..] else {
                return Err(format!("a row has two columns: {row}"));
            };
            for module in modules.split(',') {
                table.add(layer, module.trim().trim_matches('`'))?;
            }
        }
        if table.entries.is_empty() {
            return Err(format!("no table between {BEGIN} and {END}"));
        }
        Ok(table)
    }

    fn add(&mut self, layer: &str, module: &str) -> Result<(), String> {
        let module: Vec<String> = module.split("::").map(str::to_owned).collect();
        if self.entries.iter().any(|entry| entry.module == module) {
            return Err(format!("{} stands in the table twice", module.join("::")));
        }
        self.entries.push(Entry { layer: layer.to_owned(), module });
        Ok(())
    }

    /// The place of the longest entry that begins `path`.
    fn place(&self, path: &[String]) -> Option<usize> {
        let lengths = self.entries.iter().enumerate().filter(|(_, e)| path.starts_with(&e.module));
        lengths.max_by_key(|(_, entry)| entry.module.len()).map(|(place, _)| place)
    }

    /// The place of what a path names: a module of the table, or an item of the root.
    fn place_of_item(&self, path: &[String]) -> Option<usize> {
        self.place(path).or_else(|| self.place(&[LIB.to_owned()]))
    }
}

/// Names in a file of the crate that refer upwards, and files without a layer.
pub fn check(source: &Source, table: &Table) -> Vec<Finding> {
    let Some(own) = module_of(&source.path, &table.folder) else { return Vec::new() };
    let Some(place) = table.place(&own) else {
        return vec![Finding::new(source, 1, format!("{} stands in no layer", own.join("::")))];
    };
    let code = code_only(without_tests(&source.text));
    let mut findings = Vec::new();
    for (line, path) in named_paths(&code, &own) {
        let Some(other) = table.place_of_item(&path) else {
            findings.push(Finding::new(source, line, format!("{} has no layer", path.join("::"))));
            continue;
        };
        if other > place {
            let (here, there) = (&table.entries[place].layer, &table.entries[other].layer);
            let what = format!("{} is of layer {there}, above {here}", path.join("::"));
            findings.push(Finding::new(source, line, what));
        }
    }
    findings
}

/// The module that a file of the crate in `folder` holds; `None` for files that are not of the
/// crate, for its root, and for a file of nothing but tests.
fn module_of(path: &str, folder: &str) -> Option<Vec<String>> {
    let inner = path.strip_prefix(folder)?.strip_suffix(".rs")?;
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    let is_free = matches!(inner, "lib" | "tests") || inner.ends_with("/tests");
    (!is_free).then(|| inner.split('/').map(str::to_owned).collect())
}

/// Every path that begins with `crate::` or `super::`, from the crate's root, with its line.
fn named_paths(code: &str, own: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (word, base) in [("crate::", &[][..]), ("super::", &own[..own.len() - 1])] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = code[..at].lines().count().max(1);
            let mut tree = Tree { rest: &code[at + word.len()..], found: Vec::new() };
            tree.read(base.to_vec());
            found.extend(tree.found.into_iter().map(|path| (line, path)));
        }
    }
    found.sort_by_key(|(line, _)| *line);
    found
}

/// A reader of `a::{b, c::d as e}` that yields `a::b` and `a::c::d`.
struct Tree<'a> {
    rest: &'a str,
    found: Vec<Vec<String>>,
}

impl Tree<'_> {
    fn read(&mut self, mut path: Vec<String>) {
        loop {
            self.rest = self.rest.trim_start();
            if let Some(rest) = self.rest.strip_prefix('{') {
                self.rest = rest;
                return self.read_list(&path);
            }
            let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            match word {
                "super" => drop(path.pop()),
                "self" | "" => {}
                _ => path.push(word.to_owned()),
            }
            self.rest = rest;
            match self.rest.strip_prefix("::") {
                Some(rest) => self.rest = rest,
                None => return self.found.push(path),
            }
        }
    }

    fn read_list(&mut self, path: &[String]) {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() || self.rest.starts_with('}') {
                self.rest = self.rest.strip_prefix('}').unwrap_or_default();
                return;
            }
            self.read(path.to_vec());
            // What may follow a name: ` as other`, `*`, and the comma.
            let next = self.rest.find([',', '}']).unwrap_or(self.rest.len());
            self.rest = &self.rest[next..];
            self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCS: &str = "\
//! # Layers
//! <!-- layers -->
//!
//! | layer | modules |
//! | --- | --- |
//! | units | `units` |
//! | pages | `page`, `list` |
//! | zones | `zone::buddy`, `zone` |
//! | top | `reclaim`, `lib` |
//!
//! <!-- /layers -->
//! | not | this |
";

    fn table(root: &str) -> Table {
        Table::parse(&Source::new(root, DOCS)).expect("the sample table is right")
    }

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let table = table("mm-reclaim/src/lib.rs");
        check(&Source::new(path, text), &table).into_iter().map(|f| (f.line, f.what)).collect()
    }

    fn count(path: &str, text: &str) -> usize {
        found(path, text).len()
    }

    #[test]
    fn an_import_of_a_higher_layer_is_found() {
        let found =
            found("mm-reclaim/src/page/flags.rs", "use crate::units::Pfn;\nuse crate::zone::Zone;");
        assert_eq!(found, [(2, "zone::Zone is of layer zones, above pages".to_owned())]);
    }

    #[test]
    fn every_form_of_naming_is_seen() {
        let path = "mm-reclaim/src/zone/buddy.rs";
        assert_eq!(count(path, "use crate::{units::{Pfn, Order}, reclaim::{self, Why as W}};"), 2);
        assert_eq!(count(path, "use crate::{\n    page::Page,\n    reclaim,\n};"), 1);
        assert_eq!(count(path, "fn f() -> crate::reclaim::Why { todo }"), 1);
        assert_eq!(count(path, "use super::watermark::Mark;"), 1);
        assert_eq!(count(path, "use super::super::reclaim::Why;"), 1);
        assert_eq!(count(path, "use crate::Mm;"), 1);
    }

    #[test]
    fn imports_from_below_from_the_left_and_from_within_are_free() {
        assert_eq!(count("mm-reclaim/src/zone/mod.rs", "use crate::zone::buddy::Buddy;"), 0);
        assert_eq!(count("mm-reclaim/src/list.rs", "use crate::page::Page;"), 0);
        assert_eq!(count("mm-reclaim/src/page.rs", "use crate::list::List;"), 1);
        assert_eq!(
            count("mm-reclaim/src/reclaim/a.rs", "use super::b::B; use crate::reclaim::c;"),
            0
        );
        assert_eq!(
            count("mm-reclaim/src/units.rs", "// use crate::zone\nlet s = \"crate::zone\";"),
            0
        );
        let tests =
            "use crate::units::Pfn;\n#[cfg(test)]\nmod tests {\n    use crate::reclaim::X;\n}";
        assert_eq!(count("mm-reclaim/src/page.rs", tests), 0);
        assert_eq!(count("mm-reclaim/src/lib.rs", "use crate::anything;"), 0);
        assert_eq!(count("kernel/src/lib.rs", "use crate::anything;"), 0);
    }

    /// A table does not apply to another crate's modules, whatever their names.
    #[test]
    fn each_crate_has_a_table_of_its_own() {
        let upwards = |path| Source::new(path, "use crate::reclaim::Why;");
        let (kernel, library) =
            (upwards("kernel/src/page/a.rs"), upwards("mm-reclaim/src/page.rs"));
        let table = table("kernel/src/lib.rs");
        assert_eq!(check(&kernel, &table).len(), 1);
        assert_eq!(check(&library, &table), []);
        assert!(Table::parse(&Source::new("kernel/src/main.rs", DOCS)).is_err());
    }

    #[test]
    fn a_module_without_a_layer_is_found() {
        assert_eq!(count("mm-reclaim/src/other.rs", ""), 1);
    }

    #[test]
    fn a_broken_table_is_refused() {
        let parse = |docs: &str| Table::parse(&Source::new("mm-reclaim/src/lib.rs", docs));
        assert!(parse("//! no table").is_err());
        assert!(parse(&DOCS.replace("`list`", "`units`")).is_err());
        assert!(parse(&DOCS.replace("| `units` |", "")).is_err());
    }
}
