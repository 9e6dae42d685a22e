//! Tables of partitions: MBR with logical partitions, and GPT.
//!
//! A table is untrusted. Each number in it is checked against the disk before it is used, each loop has
//! a bound, and what is refused is reported as a [`Complaint`] with its evidence; the rest of the table
//! is used. The records are those of the crate `gpt_disk_types`, which decodes and does not judge.
//!
//! **Data.** None. Pure, tested on the host; a function reads sectors.

mod gpt;
mod mbr;

#[cfg(test)]
mod tests;

use core::fmt;

use mm_reclaim::block::IoError;

use super::SECTOR;

/// A sector's bytes.
pub type Sector = [u8; SECTOR];

/// Reads a sector of 512 bytes.
pub type Read<'a> = &'a mut dyn FnMut(u64, &mut Sector) -> Result<(), IoError>;

/// What a table is found to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finding {
    /// A partition of the disk.
    Partition(Partition),
    /// Something that is wrong.
    Complaint(Complaint),
}

/// A partition, all of which is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partition {
    /// Its number, from 1 on.
    pub number: u16,
    /// Its first sector of 512 bytes.
    pub first: u64,
    /// Its sectors; not 0.
    pub sectors: u64,
}

/// What is wrong with a table, and the value that shows it. Sectors have 512 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Complaint {
    /// A sector of the table cannot be read.
    Unreadable {
        /// The sector.
        sector: u64,
    },
    /// A partition is not, or not all, on the disk.
    Outside {
        /// Its number.
        number: u16,
        /// Its first sector.
        first: u64,
        /// Its sectors.
        sectors: u64,
        /// Those of the disk.
        disk: u64,
    },
    /// The list of logical partitions goes on where it cannot.
    BrokenList {
        /// The sector that should have its next entry.
        sector: u64,
    },
    /// The list of logical partitions is too long, or goes in a circle.
    EndlessList,
    /// A header of GPT is wrong.
    BadHeader {
        /// Its sector.
        sector: u64,
        /// What is wrong.
        what: &'static str,
        /// The value that it has.
        found: u64,
    },
    /// The backup of GPT's header is used.
    Backup,
    /// Neither header of GPT can be used.
    NoHeader,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { sector } => write!(f, "sector {sector} cannot be read"),
            Self::Outside { number, first, sectors, disk } => write!(
                f,
                "partition {number}, {sectors} sectors from {first} on, is not on a disk of {disk}"
            ),
            Self::BrokenList { sector } => {
                write!(f, "the list of logical partitions cannot go on at sector {sector}")
            }
            Self::EndlessList => write!(f, "the list of logical partitions does not end"),
            Self::BadHeader { sector, what, found } => {
                write!(f, "the GPT header in sector {sector} has a wrong {what}: {found:#x}")
            }
            Self::Backup => write!(f, "the backup of its GPT header is used"),
            Self::NoHeader => write!(f, "it has no usable GPT header"),
        }
    }
}

/// A disk whose table is read.
struct Table<'a> {
    /// Its sectors.
    sectors: u64,
    /// Sectors of a logical block, in which GPT counts.
    scale: u64,
    read: Read<'a>,
    report: &'a mut dyn FnMut(Finding),
}

impl Table<'_> {
    #[inline(never)]
    fn complain(&mut self, complaint: Complaint) {
        (self.report)(Finding::Complaint(complaint));
    }

    /// Reads a sector; `None` if that fails, which is reported.
    #[inline(never)]
    fn sector(&mut self, sector: u64) -> Option<Sector> {
        let mut bytes = [0; SECTOR];
        if sector < self.sectors && (self.read)(sector, &mut bytes).is_ok() {
            return Some(bytes);
        }
        self.complain(Complaint::Unreadable { sector });
        None
    }

    /// Reports a partition, if it is on the disk. The first sector, which has the table, is in none.
    #[inline(never)]
    fn partition(&mut self, number: u16, first: u64, sectors: u64) {
        let disk = self.sectors;
        let end = first.checked_add(sectors);
        if first > 0 && sectors > 0 && end.is_some_and(|end| end <= disk) {
            (self.report)(Finding::Partition(Partition { number, first, sectors }));
        } else {
            self.complain(Complaint::Outside { number, first, sectors, disk });
        }
    }
}

/// Reports the partitions of a disk of so many sectors of 512 bytes, and what is wrong with its table.
/// `block` is the size of its logical blocks. A disk without a table has neither.
pub fn find(sectors: u64, block: u32, read: Read<'_>, report: &mut dyn FnMut(Finding)) {
    let scale = u64::from(block).max(SECTOR as u64) / SECTOR as u64;
    let mut table = Table { sectors, scale, read, report };
    if let Some(first) = table.sector(0)
        && mbr::find(&mut table, &first)
    {
        gpt::find(&mut table);
    }
}
