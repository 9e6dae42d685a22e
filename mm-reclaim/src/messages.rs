//! What the crate's errors say: a sentence each, with the evidence, for a kernel's console.
//!
//! Those of [`Violation`](crate::Violation) and [`MemblockError`](crate::memblock::MemblockError)
//! are next to these types. A type that a public function returns as its error has a `Display` and
//! is a [`core::error::Error`]: `tests/tidy` checks this.

use core::error::Error;
use core::fmt::{Display, Formatter, Result};

use crate::base::errseq::WriteError;
use crate::block::IoError;
use crate::boot::plan::PlanError;
use crate::env::{NoTable, StoreError};
use crate::fault::SwapOffError;
use crate::oom::{BadOomScore, OOM_SCORE_ADJ_MAX, OOM_SCORE_ADJ_MIN};
use crate::page::pool::MOST_FRAMES;
use crate::reclaim::{MOST_SHRINKERS, TooManyShrinkers};
use crate::space::SpaceError;
use crate::swap::SwapOnError;
use crate::swap::entry::MAX_SWAP_DEVICES;
use crate::swap::header::{HeaderError, MAX_BAD_PAGES};

impl Display for PlanError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NoMemory => f.write_str("there is no whole page of memory"),
            Self::TooSparse { spanned, present } => {
                write!(f, "{present} frames of memory lie too far apart, among {spanned}")
            }
            Self::TooLarge { spanned } => {
                write!(f, "memory spans {spanned} frames, more than {MOST_FRAMES}")
            }
            Self::Overlap { common } => {
                write!(f, "two ranges of memory share {:?} to {:?}", common.start, common.end)
            }
        }
    }
}

impl Display for SpaceError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NoSuchSpace => f.write_str("there is no such address space"),
            Self::NoMemory => f.write_str("there is no memory for it"),
            Self::TableFull => f.write_str("there are as many areas or spaces as there may be"),
            Self::Locked { start } => {
                write!(f, "the area at {:#x} is locked into memory", start.addr())
            }
            Self::ReadOnly { start } => {
                write!(f, "the area at {:#x} never becomes writable", start.addr())
            }
            Self::NotAnonymous { start } => {
                write!(f, "the area at {:#x} maps a file", start.addr())
            }
            Self::BadRange { start, end } => {
                let (start, end) = (start.addr(), end.addr());
                write!(f, "{start:#x}..{end:#x} is no range of mapped user pages")
            }
            Self::NoHole { pages } => write!(f, "there is no hole of {pages} pages"),
            Self::TooManyMappings => f.write_str("a page has all the mappings that it can count"),
            Self::Killed => f.write_str("the caller was killed meanwhile"),
        }
    }
}

impl Display for SwapOnError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Header(error) => write!(f, "the swap header is wrong: {error}"),
            Self::Read => f.write_str("the swap header could not be read"),
            Self::TooManyDevices => {
                write!(f, "all {MAX_SWAP_DEVICES} places for swap devices are taken")
            }
            Self::Known => f.write_str("the device is in use, or was and has its place"),
            Self::NotOff => f.write_str("the device was never in use, or still is"),
            Self::TooLittleMemory { need, have } => {
                write!(f, "{have} words of memory for the slots, and {need} are needed")
            }
        }
    }
}

impl Display for SwapOffError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::NotOn => f.write_str("the device is not in use, or another task is at it"),
            Self::NoMemory { pages, room } => {
                write!(f, "{pages} pages are on the device, and elsewhere is room for {room}")
            }
            Self::Read { slot } => write!(f, "the page in slot {slot} could not be read"),
            Self::Killed => f.write_str("the caller was killed meanwhile"),
        }
    }
}

impl Display for HeaderError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::BadMagic(found) => {
                write!(f, "it ends with \"{}\", not with SWAPSPACE2", found.escape_ascii())
            }
            Self::BadVersion(version) => write!(f, "its version is {version}, not 1"),
            Self::BadLastPage { last, blocks } => {
                write!(f, "its last page is {last}, and the device has {blocks}")
            }
            Self::TooManyBadPages(count) => {
                write!(f, "it names {count} bad pages, and {MAX_BAD_PAGES} fit")
            }
            Self::BadBadPage(page) => write!(f, "page {page} cannot be a bad one"),
        }
    }
}

impl Display for BadOomScore {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::OutOfRange(adj) => {
                write!(f, "{adj} is not within {OOM_SCORE_ADJ_MIN} to {OOM_SCORE_ADJ_MAX}")
            }
            Self::NoSuchSpace => f.write_str("there is no such address space"),
        }
    }
}

impl Display for NoTable {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("a translation table is missing")
    }
}

impl Display for TooManyShrinkers {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "there are {MOST_SHRINKERS} shrinkers already")
    }
}

impl Display for StoreError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::NoSpace => "there is no room for the page",
            Self::Io => "the store could not be read or written",
            Self::TooLarge => "no file of the store can have the page",
        })
    }
}

impl Display for IoError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str("the transfer failed")
    }
}

impl Display for WriteError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(match self {
            Self::Io => "a page of the file could not be written",
            Self::NoSpace => "the device is full",
        })
    }
}

impl Error for PlanError {}
impl Error for SpaceError {}
impl Error for SwapOnError {}
impl Error for SwapOffError {}
impl Error for HeaderError {}
impl Error for BadOomScore {}
impl Error for NoTable {}
impl Error for StoreError {}
impl Error for TooManyShrinkers {}
impl Error for IoError {}
impl Error for WriteError {}

#[cfg(test)]
mod tests;
