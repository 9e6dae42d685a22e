//! How an operation on memblock can fail, with the evidence.

use core::fmt;

use super::Region;
use crate::base::units::PhysAddr;

/// Which of the three sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Set {
    /// What is memory.
    Memory,
    /// What is taken.
    Reserved,
    /// What must never be mapped.
    NoMap,
}

/// Why a full table could not grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoGrowth {
    /// No free range had this many bytes for the bigger table.
    NoRange {
        /// The bytes needed.
        bytes: u64,
    },
    /// [`TableMemory`](super::TableMemory) refused every fitting range; this was the last.
    Refused {
        /// The place that was refused.
        at: Region,
    },
}

/// Why an operation failed. It has changed no set (but a table that had to grow keeps its new
/// place, which is reserved).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemblockError {
    /// The range leaves the address space.
    Overflow {
        /// Where it begins.
        base: PhysAddr,
        /// Its bytes.
        size: u64,
    },
    /// An allocation of no bytes, or an alignment that is no power of two.
    BadRequest {
        /// The bytes requested.
        size: u64,
        /// The alignment requested.
        align: u64,
    },
    /// No free range fits the request.
    NoRoom {
        /// The bytes requested.
        size: u64,
        /// The alignment requested.
        align: u64,
        /// Where it was to lie.
        within: Region,
    },
    /// A table is full and could not grow.
    TableFull {
        /// Which one.
        set: Set,
        /// The entries that it holds at most.
        capacity: usize,
        /// Why not.
        why: NoGrowth,
    },
}

impl fmt::Display for MemblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overflow { base, size } => {
                write!(f, "{size:#x} bytes at {base:?} leave the address space")
            }
            Self::BadRequest { size, align } => {
                write!(f, "cannot allocate {size:#x} bytes aligned to {align:#x}")
            }
            Self::NoRoom { size, align, within } => {
                write!(f, "no free {size:#x} bytes aligned to {align:#x} within {within:?}")
            }
            Self::TableFull { set, capacity, why } => {
                write!(f, "table {set:?} is full with {capacity} regions and cannot grow: {why}")
            }
        }
    }
}

impl fmt::Display for NoGrowth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRange { bytes } => write!(f, "no range has {bytes:#x} bytes"),
            Self::Refused { at } => write!(f, "{at:?} was refused"),
        }
    }
}

impl core::error::Error for MemblockError {}
