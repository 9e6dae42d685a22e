//! Rows of the specification, and that those that the sources name exist.
//!
//! `docs/specification.md` holds them: in tables under [`HEADING`], a row, its text, and where
//! it is proven. A row that is not implemented yet says [`PLANNED`] instead; all others are due.
//! [`crate::proofs`] maintains the last column of the due ones.

use std::collections::BTreeSet;

use crate::{Finding, Source};

/// The heading above the rows.
pub const LIST: &str = "docs/specification.md";
/// The first line of each table of rows.
pub const HEADING: &str = "| id | behaviour | proven by |";
const UNDER_HEADING: &str = "| --- | --- | --- |";
/// The last column of a row that is not implemented yet.
pub const PLANNED: &str = "planned";

/// A behaviour.
#[derive(Clone, Debug)]
pub struct Row {
    /// What tests name.
    pub id: String,
    /// The line that it stands on, from 1.
    pub line: usize,
    /// Its last column.
    pub proven_by: String,
}

impl Row {
    /// Reads a line of a table.
    fn parse(line: &str, number: usize) -> Result<Self, String> {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", id, text, proven_by, ""] = cells[..] else {
            return Err(format!("{LIST}:{number}: a row has three columns"));
        };
        if family(id).is_none() || text.is_empty() {
            return Err(format!("{LIST}:{number}: a row has an id such as ABC-01, and a text"));
        }
        Ok(Self { id: id.to_owned(), line: number, proven_by: proven_by.to_owned() })
    }

    /// Whether it need not be implemented yet.
    pub fn is_planned(&self) -> bool {
        self.proven_by.split([' ', ',']).any(|word| word == PLANNED)
    }

    pub(crate) fn finding(&self, what: &str) -> Finding {
        let what = format!("{} {what}", self.id);
        Finding { path: LIST.to_owned(), line: self.line, what }
    }
}

/// All rows, in their order.
#[derive(Debug, Default)]
pub struct Rows {
    all: Vec<Row>,
    ids: BTreeSet<String>,
    families: BTreeSet<String>,
}

impl Rows {
    /// Reads the specification.
    ///
    /// # Errors
    /// Which line is not a row, or is there twice; or that there are no rows.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rows = Self::default();
        let mut inside = false;
        for (i, line) in text.lines().enumerate() {
            inside = line == HEADING || inside && line.starts_with('|');
            if inside && line != HEADING && line != UNDER_HEADING {
                rows.add(Row::parse(line, i + 1)?)?;
            }
        }
        if rows.all.is_empty() { Err(format!("{LIST}: no rows")) } else { Ok(rows) }
    }

    fn add(&mut self, row: Row) -> Result<(), String> {
        if !self.ids.insert(row.id.clone()) {
            return Err(format!("{LIST}:{}: {} stands there twice", row.line, row.id));
        }
        self.families.extend(family(&row.id).map(str::to_owned));
        self.all.push(row);
        Ok(())
    }

    /// Those that must be implemented and have a test.
    pub fn due(&self) -> impl Iterator<Item = &Row> {
        self.all.iter().filter(|row| !row.is_planned())
    }

    /// Those that need not be implemented yet.
    pub fn planned(&self) -> impl Iterator<Item = &Row> {
        self.all.iter().filter(|row| row.is_planned())
    }

    /// The ids in a line: a known family, a hyphen, two digits.
    pub(crate) fn named_in<'a>(&'a self, line: &'a str) -> impl Iterator<Item = &'a str> {
        line.match_indices('-').filter_map(|(at, _)| {
            let start = line[..at].rfind(|c: char| !c.is_ascii_alphanumeric()).map_or(0, |i| i + 1);
            let digits = line[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
            let is_id = digits == 2 && self.families.contains(&line[start..at]);
            is_id.then(|| &line[start..at + 3])
        })
    }
}

/// The text before the hyphen and the two digits of an id.
fn family(id: &str) -> Option<&str> {
    let (family, number) = id.split_once('-')?;
    let is_family = !family.is_empty() && family.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_number = number.len() == 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_family && is_number).then_some(family)
}

/// Ids that the sources, scripts and documents name and that are no rows.
pub fn check_exist(sources: &[Source], rows: &Rows) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for (i, line) in source.text.lines().enumerate() {
            for id in rows.named_in(line).filter(|id| !rows.ids.contains(*id)) {
                findings.push(Finding::new(source, i + 1, format!("{id} is no row")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &str) -> String {
        format!("# The list\n\n{HEADING}\n{UNDER_HEADING}\n{rows}\n\n| other | table |\n")
    }

    #[test]
    fn rows_are_due_unless_they_are_planned() {
        let text =
            table("| AAA-01 | a | [x](../x.rs) |\n| AAA-02 | b | planned |\n| BB-01 | c |  |");
        let rows = Rows::parse(&text).expect("a table of rows");
        let due: Vec<(&str, usize)> = rows.due().map(|row| (row.id.as_str(), row.line)).collect();
        assert_eq!(due, [("AAA-01", 5), ("BB-01", 7)]);
        let planned: Vec<&str> = rows.planned().map(|row| row.id.as_str()).collect();
        assert_eq!(planned, ["AAA-02"]);
    }

    #[test]
    fn a_line_that_is_no_row_is_refused() {
        for line in [
            "| AAA-01 | a | b | planned |",
            "| AAA-01 | planned |",
            "| AAA-1 | a | planned |",
            "| aaa-01 | a | planned |",
            "| AAA-01 |  | planned |",
        ] {
            let error = Rows::parse(&table(line)).expect_err(line);
            assert!(error.starts_with("docs/specification.md:5: a row has"), "{error}");
        }
        let twice = "| AAA-01 | a |  |\n| AAA-01 | b | planned |";
        let error = Rows::parse(&table(twice)).expect_err("it stands there twice");
        assert_eq!(error, "docs/specification.md:6: AAA-01 stands there twice");
        assert!(Rows::parse("| AAA-01 | a | planned |").is_err());
    }

    #[test]
    fn a_row_that_does_not_exist_is_found() {
        let rows = Rows::parse(&table("| AAA-01 | a |  |\n| BB-01 | b | planned |"));
        let text = "/// AAA-01, BB-01, XX-77, AAA-100.\n/// (BB-09)";
        for path in ["a.rs", "docs/a.md", "scripts/a"] {
            let found = check_exist(&[Source::new(path, text)], rows.as_ref().expect("rows"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].line, found[0].what.as_str()), (2, "BB-09 is no row"));
        }
    }
}
