//! The table in the first sector of a disk, and the list of logical partitions.

use core::mem::offset_of;

use gpt_disk_types::{MasterBootRecord, MbrPartitionRecord};

use super::{Complaint, Sector, Table};

/// Where the four records are, and the signature behind them.
const RECORDS: usize = offset_of!(MasterBootRecord, partitions);
const SIGNATURE_AT: usize = offset_of!(MasterBootRecord, signature);
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Kinds of partitions: none, the list of logical ones, and all of the disk on behalf of GPT.
const EMPTY: u8 = 0;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
const PROTECTIVE: u8 = 0xee;
/// The number of the first logical partition.
const FIRST_LOGICAL: u16 = 5;
/// The most logical partitions.
const MOST_LOGICAL: u16 = 60;

/// A record, its sectors as numbers.
#[derive(Clone, Copy)]
struct Record {
    kind: u8,
    /// Bit 7 says that it is booted from; the others are 0.
    indicator: u8,
    first: u64,
    sectors: u64,
}

/// The records of a sector, if it has the signature.
fn records(sector: &Sector) -> Option<[Record; 4]> {
    (sector[SIGNATURE_AT..] == SIGNATURE).then(|| {
        [0, 1, 2, 3].map(|n| {
            let at = RECORDS + n * size_of::<MbrPartitionRecord>();
            let bytes = &sector[at..at + size_of::<MbrPartitionRecord>()];
            let record: MbrPartitionRecord = bytemuck::pod_read_unaligned(bytes);
            Record {
                kind: record.os_indicator,
                indicator: record.boot_indicator,
                first: record.starting_lba.to_u32().into(),
                sectors: record.size_in_lba.to_u32().into(),
            }
        })
    })
}

/// Reports the partitions of the table in the first sector. Returns whether the disk has a GPT instead.
pub(super) fn find(table: &mut Table<'_>, first: &Sector) -> bool {
    let Some(records) = records(first) else { return false };
    // A file system's first sector may have the same signature, with other bytes here.
    if records.iter().any(|record| record.indicator & 0x7f != 0) {
        return false;
    }
    if records.iter().any(|record| record.kind == PROTECTIVE) {
        return true;
    }
    let used = || (1..).zip(records).filter(|(_, record)| record.kind != EMPTY);
    let scale = table.scale;
    for (number, record) in used().filter(|(_, record)| !EXTENDED.contains(&record.kind)) {
        table.partition(number, record.first * scale, record.sectors * scale);
    }
    if let Some((_, extended)) = used().find(|(_, record)| EXTENDED.contains(&record.kind)) {
        logical(table, &extended);
    }
    false
}

/// Walks the list of logical partitions. Each entry is a table like the first, of which one record is
/// the partition, from the entry on, and one the next entry, from the beginning of the list on.
fn logical(table: &mut Table<'_>, list: &Record) {
    let scale = table.scale;
    let mut at = list.first;
    for number in FIRST_LOGICAL..FIRST_LOGICAL + MOST_LOGICAL {
        let inside = (list.first..list.first + list.sectors).contains(&at);
        let entry = if inside && at > 0 { table.sector(at * scale) } else { None };
        let Some(records) = entry.as_ref().and_then(records) else {
            return table.complain(Complaint::BrokenList { sector: at * scale });
        };
        let used = || records.iter().filter(|record| record.kind != EMPTY);
        if let Some(record) = used().find(|record| !EXTENDED.contains(&record.kind)) {
            table.partition(number, (at + record.first) * scale, record.sectors * scale);
        }
        match used().find(|record| EXTENDED.contains(&record.kind)) {
            Some(next) => at = list.first + next.first,
            None => return,
        }
    }
    table.complain(Complaint::EndlessList);
}
