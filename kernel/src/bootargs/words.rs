//! The table of words and of their values.
//!
//! The table is the file `words.md`, which `scripts/run` reads too (`scripts/words.sh`), so that a
//! word or a value that the kernel would refuse is refused before anything is built. The entries of
//! the column "value":
//!
//! | value | what is accepted |
//! | --- | --- |
//! | nothing | the word alone |
//! | `NAME` | any text |
//! | `N to M`, `N or more` | a decimal number of that range |
//! | `SIZE` | bytes, with an optional suffix K, M or G |
//! | `SIZE,SIZE` | two sizes in ascending order |
//! | `SIZE,OPTION...` | a size, options, or both; an option is a word that begins with a comma |
//! | `this/that` | one of these |
//!
//! Pure.

use core::fmt;

/// The table, in Markdown.
const TABLE: &str = include_str!("words.md");

/// What is wrong with a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Not a decimal number.
    NotANumber,
    /// Not a number with an optional suffix K, M or G.
    NotASize,
    /// A size beyond that of any machine.
    TooLarge,
    /// A number below the first or above the second of these.
    OutOfRange(u32, u32),
    /// `zones=` needs two limits in ascending order.
    NotTwoLimits,
    /// No option of this word.
    UnknownOption,
    /// None of the values in the table, separated by slashes.
    NotOneOf(&'static str),
    /// A value is missing after `=`.
    Empty,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => f.write_str("not a decimal number"),
            Self::NotASize => f.write_str("not a size such as 4096, 64K, 32M or 1G"),
            Self::TooLarge => f.write_str("too large"),
            Self::OutOfRange(least, u32::MAX) => write!(f, "out of range: {least} or more"),
            Self::OutOfRange(least, most) => write!(f, "out of range: {least} to {most}"),
            Self::NotTwoLimits => f.write_str("not two limits in ascending order"),
            Self::UnknownOption => f.write_str("an unknown option"),
            Self::NotOneOf(values) => write!(f, "not one of {values}"),
            Self::Empty => f.write_str("the value is missing"),
        }
    }
}

/// The words of the table, each with its entry in the column "value".
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter_map(|line| {
        let (word, rest) = line.strip_prefix("| `")?.split_once("` |")?;
        Some((word, rest.split_once('|')?.0.trim()))
    })
}

/// The table's entry for a word, which ends in `=` if a value follows.
fn value_of(word: &str) -> Option<&'static str> {
    all().find(|(known, _)| *known == word).map(|(_, value)| value)
}

/// A word and its value; the word keeps its `=`.
pub(super) fn split(word: &str) -> (&str, &str) {
    word.split_at(word.find('=').map_or(word.len(), |at| at + 1))
}

/// Whether the table knows the word.
///
/// # Errors
/// What is wrong with the value of a known word.
pub(super) fn check(word: &str) -> Result<bool, Why> {
    let (name, value) = split(word);
    match value_of(name) {
        Some(kind) => check_value(kind, value).map(|()| true),
        None => Ok(false),
    }
}

fn check_value(kind: &'static str, value: &str) -> Result<(), Why> {
    if kind.is_empty() {
        return Ok(());
    }
    if value.is_empty() {
        return Err(Why::Empty);
    }
    match kind {
        "NAME" => Ok(()),
        "SIZE" => size(value).map(drop),
        "SIZE,SIZE" => limits(value).map(drop),
        "SIZE,OPTION..." => check_options(value),
        _ => match range(kind) {
            Some((least, most)) => check_number(value, least, most),
            None if kind.split('/').any(|known| known == value) => Ok(()),
            None => Err(Why::NotOneOf(kind)),
        },
    }
}

/// `N to M` or `N or more`.
fn range(kind: &str) -> Option<(u32, u32)> {
    match kind.split_once(' ')? {
        (least, "or more") => Some((least.parse().ok()?, u32::MAX)),
        (least, most) => Some((least.parse().ok()?, most.strip_prefix("to ")?.parse().ok()?)),
    }
}

fn check_number(value: &str, least: u32, most: u32) -> Result<(), Why> {
    let number = digits(value, Why::NotANumber)?;
    let fits = number.is_some_and(|n| (u64::from(least)..=u64::from(most)).contains(&n));
    if fits { Ok(()) } else { Err(Why::OutOfRange(least, most)) }
}

/// The first part may be an option, too: `ramdisk=async` leaves the size to another word.
fn check_options(value: &str) -> Result<(), Why> {
    for (nth, part) in value.split(',').enumerate() {
        match option(part) {
            Some((kind, value)) => check_value(kind, value)?,
            None if nth == 0 => size(part).map(drop)?,
            None => return Err(Why::UnknownOption),
        }
    }
    Ok(())
}

/// The table's entry for an option, and its value.
fn option(part: &str) -> Option<(&'static str, &str)> {
    let (name, value) = split(part);
    let known = |(word, _): &(&str, &str)| word.strip_prefix(',') == Some(name);
    all().find(known).map(|(_, kind)| (kind, value))
}

/// A number that [`check`] accepted.
///
/// # Errors
/// [`Why::NotANumber`] if it is none, or does not fit its type.
pub(super) fn number<T: TryFrom<u64>>(value: &str) -> Result<T, Why> {
    let number = digits(value, Why::NotANumber)?.ok_or(Why::NotANumber)?;
    T::try_from(number).map_err(|_| Why::NotANumber)
}

/// Bytes, with an optional suffix.
pub(super) fn size(value: &str) -> Result<u64, Why> {
    let (text, shift) = match value.as_bytes().last() {
        Some(b'K' | b'k') => (&value[..value.len() - 1], 10),
        Some(b'M' | b'm') => (&value[..value.len() - 1], 20),
        Some(b'G' | b'g') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    digits(text, Why::NotASize)?.and_then(|n| n.checked_mul(1 << shift)).ok_or(Why::TooLarge)
}

/// Two sizes, the second not below the first.
pub(super) fn limits(value: &str) -> Result<(u64, u64), Why> {
    let (first, second) = value.split_once(',').ok_or(Why::NotTwoLimits)?;
    let (first, second) = (size(first)?, size(second)?);
    if first <= second { Ok((first, second)) } else { Err(Why::NotTwoLimits) }
}

/// Digits only, since `parse` would take a sign; `None` for more than fit.
fn digits(text: &str, otherwise: Why) -> Result<Option<u64>, Why> {
    match text {
        "" => Err(Why::Empty),
        _ if !text.bytes().all(|byte| byte.is_ascii_digit()) => Err(otherwise),
        _ => Ok(text.parse().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_row_by_row() {
        assert_eq!(all().next(), Some(("init=", "NAME")));
        assert_eq!(all().count(), TABLE.lines().count() - 2);
        assert_eq!(value_of("test.hooks"), Some(""));
        assert_eq!(value_of("end="), Some("halt/reset/off"));
        assert_eq!(value_of("end"), None);
    }

    /// A misspelled entry in the table would accept no value.
    #[test]
    fn every_value_of_the_table_is_understood() {
        for (word, kind) in all() {
            let known = ["", "NAME", "SIZE", "SIZE,SIZE", "SIZE,OPTION..."].contains(&kind);
            assert!(known || range(kind).is_some() || kind.contains('/'), "{word}: {kind}");
        }
    }

    #[test]
    fn a_number_is_accepted_inside_its_range_only() {
        assert_eq!(check("swappiness=0"), Ok(true));
        assert_eq!(check("swappiness=200"), Ok(true));
        for (word, least, most) in [
            ("swappiness=201", 0, 200),
            ("swappiness=9999", 0, 200),
            ("swappiness=99999999999999999999", 0, 200),
            ("min_free_kbytes=4294967295", 0, 262_144),
            ("maxcpus=0", 1, u32::MAX),
            ("maxcpus=4294967296", 1, u32::MAX),
        ] {
            assert_eq!(check(word), Err(Why::OutOfRange(least, most)), "{word}");
        }
    }

    #[test]
    fn options_are_words_of_the_table_too() {
        assert_eq!(check("ramdisk=1M,async,delay=5,bw=9"), Ok(true));
        assert_eq!(check("ramdisk=async"), Ok(true));
        assert_eq!(check("ramdisk=1M,slow"), Err(Why::UnknownOption));
        assert_eq!(check("ramdisk=1M,bw=0"), Err(Why::OutOfRange(1, u32::MAX)));
        assert_eq!(check("ramdisk=1M,delay="), Err(Why::Empty));
        assert_eq!(check("ramdisk=slow"), Err(Why::NotASize));
    }

    #[test]
    fn a_word_that_the_table_does_not_hold_is_unknown_and_no_error() {
        for word in ["ramdsk.async", "swappiness", "async", "test.hooks=1", "=", ""] {
            assert_eq!(check(word), Ok(false), "{word}");
        }
    }
}
