//! What a boot of the test image is asked to do.

use core::fmt;

/// Which tests a list holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Those of every day.
    Usual,
    /// Those that are long.
    Long,
    /// All.
    All,
}

impl Which {
    pub(crate) fn includes(self, long: bool) -> bool {
        match self {
            Self::Usual => !long,
            Self::Long => long,
            Self::All => true,
        }
    }
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// List the tests.
    List(Which),
    /// Run the test of this name.
    Run(&'a str),
}

/// Why words are no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong<'a> {
    /// Neither a list nor a test is asked for.
    Nothing,
    /// A second test is asked for: a boot runs one.
    Second(&'a str),
    /// An option that the harness does not know.
    Unknown(&'a str),
}

impl fmt::Display for Wrong<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("asked for nothing"),
            Self::Second(name) => write!(f, "one test at a time: {name} is the second"),
            Self::Unknown(option) => write!(f, "{option} is unknown"),
        }
    }
}

impl<'a> Request<'a> {
    /// Reads a command line.
    ///
    /// # Errors
    /// [`Wrong`], with the wrong word.
    pub fn parse(line: &'a str) -> Result<Self, Wrong<'a>> {
        let mut which = Which::Usual;
        let mut listing = false;
        let mut name = None;
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            match word {
                "--list" => listing = true,
                "--ignored" => which = Which::Long,
                "--include-ignored" => which = Which::All,
                // There is one format, output is never captured, and names are always exact.
                "--format" => drop(words.next()),
                "--exact" | "--nocapture" => {}
                _ if word.starts_with('-') => return Err(Wrong::Unknown(word)),
                _ if name.is_some() => return Err(Wrong::Second(word)),
                _ => name = Some(word),
            }
        }
        match name {
            _ if listing => Ok(Self::List(which)),
            Some(name) => Ok(Self::Run(name)),
            None => Err(Wrong::Nothing),
        }
    }
}
