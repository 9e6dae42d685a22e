//! Why a device tree was refused.

use core::fmt;

use dtoolkit::error::{FdtParseError, PropertyError};

use super::Span;

/// Why a device tree was refused, with the evidence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DtbError<'a> {
    /// The firmware passed no address.
    Missing,
    /// The address is not a multiple of 8.
    Misaligned {
        /// The address.
        address: u64,
    },
    /// The address is beyond what a translation can reach.
    OutOfReach {
        /// The address.
        address: u64,
    },
    /// The blob does not start with the magic number.
    BadMagic {
        /// What is there instead.
        found: u32,
    },
    /// The header's total size is impossible.
    BadSize {
        /// The size.
        size: u32,
    },
    /// The blob's structure is broken.
    Malformed(FdtParseError),
    /// A property does not have the form that its name requires.
    BadProperty {
        /// The node.
        node: &'a str,
        /// The property.
        property: &'static str,
        /// What is wrong with it.
        why: PropertyError,
    },
    /// A cell count that addresses of this machine cannot have.
    BadCells {
        /// The node.
        node: &'a str,
        /// `#address-cells` or `#size-cells`.
        property: &'static str,
        /// The count.
        cells: u32,
    },
    /// A range of addresses that ends beyond the last one.
    BadSpan {
        /// The node.
        node: &'a str,
        /// The first address.
        base: u64,
        /// Bytes.
        size: u64,
    },
    /// A range of addresses that ends before it starts.
    BadEnds {
        /// The node.
        node: &'a str,
        /// The first address.
        start: u64,
        /// The first address beyond.
        end: u64,
    },
    /// Registers that the kernel would write to are where none can be.
    BadRegisters {
        /// Of what.
        what: &'static str,
        /// Where.
        at: Span,
    },
    /// More entries than the summary has room for.
    TooMany {
        /// Entries of what.
        what: &'static str,
        /// The capacity.
        capacity: usize,
    },
    /// No memory node has a range.
    NoMemory,
    /// There is memory, but none that may be used.
    NoUsableMemory,
}

impl fmt::Display for DtbError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "no device tree: x0 was 0"),
            Self::Misaligned { address } => {
                write!(f, "device tree address {address:#x} is not a multiple of 8")
            }
            Self::OutOfReach { address } => {
                write!(f, "device tree address {address:#x} is no physical address")
            }
            Self::BadMagic { found } => {
                write!(f, "no device tree at x0: it starts with {found:#010x}, not 0xd00dfeed")
            }
            Self::BadSize { size } => {
                write!(f, "device tree of {size} bytes: not between 40 and 2 MiB")
            }
            Self::Malformed(error) => write!(f, "device tree is malformed: {error}"),
            Self::BadProperty { node, property, why } => {
                write!(f, "device tree node \"{node}\", property \"{property}\": {why}")
            }
            Self::BadCells { node, property, cells } => {
                write!(f, "device tree node \"{node}\": {property} of {cells} is not 1 or 2")
            }
            Self::BadSpan { node, base, size } => {
                write!(f, "device tree node \"{node}\": {size:#x} bytes at {base:#x} overflow")
            }
            Self::BadEnds { node, start, end } => {
                write!(f, "device tree node \"{node}\": {start:#x}..{end:#x} ends before it starts")
            }
            Self::BadRegisters { what, at } => {
                write!(f, "device tree: the {what}'s registers at {at:?} are memory or misaligned")
            }
            Self::TooMany { what, capacity } => {
                write!(f, "device tree has more than {capacity} {what}")
            }
            Self::NoMemory => write!(f, "device tree describes no memory"),
            Self::NoUsableMemory => write!(f, "device tree lets no memory be used"),
        }
    }
}

impl core::error::Error for DtbError<'_> {}
