//! GPT: a header behind the first block and one in the last, each with a list of entries.

use crc::{CRC_32_ISO_HDLC, Crc, Digest, NoTable};
use gpt_disk_types::{GptHeader, GptPartitionEntry};

use super::{Complaint, Sector, Table};
use crate::disk::SECTOR;

/// Slow and small: a list has 16 KiB.
const CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);
/// Where a header has its own checksum, which counts as zeroes.
const CHECKSUM: core::ops::Range<usize> = 16..20;
/// The most entries of a list: eight times as many as usual.
const MOST_ENTRIES: u32 = 1024;

#[inline(never)]
fn add(digest: &mut Digest<'_, u32, NoTable>, bytes: &[u8]) {
    digest.update(bytes);
}

/// A list of entries.
struct List {
    /// Its first sector of 512 bytes.
    first: u64,
    entries: u32,
    /// Bytes of an entry: a power of two that divides a sector.
    size: usize,
}

impl List {
    /// The sectors of the list, and the bytes of each that belong to it.
    fn sectors(&self) -> impl Iterator<Item = (u64, usize)> + use<> {
        let (first, bytes) = (self.first, self.entries as usize * self.size);
        let starts = (0..bytes).step_by(SECTOR);
        (first..).zip(starts.map(move |start| (bytes - start).min(SECTOR)))
    }
}

/// Reports the partitions of the first header that is good.
pub(super) fn find(table: &mut Table<'_>) {
    let blocks = table.sectors / table.scale;
    if blocks < 2 {
        return table.complain(Complaint::NoHeader);
    }
    let list = good_list(table, 1).or_else(|| {
        let list = good_list(table, blocks - 1);
        table.complain(if list.is_some() { Complaint::Backup } else { Complaint::NoHeader });
        list
    });
    if let Some(list) = list {
        entries(table, &list);
    }
}

/// The list of the header in this block, if header and list are good.
fn good_list(table: &mut Table<'_>, block: u64) -> Option<List> {
    let sector = block * table.scale;
    let bytes = table.sector(sector)?;
    let list = match list_of(&bytes, block, table) {
        Ok(list) => list,
        Err((what, found)) => {
            table.complain(Complaint::BadHeader { sector, what, found });
            return None;
        }
    };
    let mut digest = CRC.digest();
    for (at, len) in list.sectors() {
        add(&mut digest, &table.sector(at)?[..len]);
    }
    let found = digest.finalize();
    let header: GptHeader = bytemuck::pod_read_unaligned(&bytes[..size_of::<GptHeader>()]);
    if header.partition_entry_array_crc32.0.to_u32() == found {
        return Some(list);
    }
    let what = "checksum of its list";
    table.complain(Complaint::BadHeader { sector, what, found: found.into() });
    None
}

/// What a header says of its list.
///
/// # Errors
/// What is wrong with the header, and the value.
fn list_of(bytes: &Sector, block: u64, table: &Table<'_>) -> Result<List, (&'static str, u64)> {
    let header: GptHeader = bytemuck::pod_read_unaligned(&bytes[..size_of::<GptHeader>()]);
    if !header.is_signature_valid() {
        return Err(("signature", header.signature.to_u64()));
    }
    let size = header.header_size.to_u32() as usize;
    if !(size_of::<GptHeader>()..=SECTOR).contains(&size) {
        return Err(("size", size as u64));
    }
    let mut digest = CRC.digest();
    add(&mut digest, &bytes[..CHECKSUM.start]);
    add(&mut digest, &[0; CHECKSUM.end - CHECKSUM.start]);
    add(&mut digest, &bytes[CHECKSUM.end..size]);
    let checksum = digest.finalize();
    if header.header_crc32.0.to_u32() != checksum {
        return Err(("checksum", checksum.into()));
    }
    if header.my_lba.to_u64() != block {
        return Err(("block number", header.my_lba.to_u64()));
    }
    let entries = header.number_of_partition_entries.to_u32();
    let size = header.size_of_partition_entry.to_u32();
    if !(1..=MOST_ENTRIES).contains(&entries) {
        return Err(("number of entries", entries.into()));
    }
    if !size.is_power_of_two() || !(128..=SECTOR as u32).contains(&size) {
        return Err(("size of entries", size.into()));
    }
    let start = header.partition_entry_lba.to_u64();
    let length = u64::from(entries * size).div_ceil(SECTOR as u64);
    let first = start.checked_mul(table.scale);
    let fits =
        first.and_then(|first| first.checked_add(length)).is_some_and(|e| e <= table.sectors);
    match first {
        Some(first) if fits && start > 0 => Ok(List { first, entries, size: size as usize }),
        _ => Err(("place of its list", start)),
    }
}

fn entries(table: &mut Table<'_>, list: &List) {
    let mut number = 0;
    for (at, len) in list.sectors() {
        let Some(bytes) = table.sector(at) else { return };
        for entry in bytes[..len].chunks_exact(list.size) {
            number += 1;
            let entry = &entry[..size_of::<GptPartitionEntry>()];
            partition(table, number, &bytemuck::pod_read_unaligned(entry));
        }
    }
}

fn partition(table: &mut Table<'_>, number: u16, entry: &GptPartitionEntry) {
    if !entry.is_used() {
        return;
    }
    let scale = table.scale;
    let (first, last) = (entry.starting_lba.to_u64(), entry.ending_lba.to_u64());
    // One that cannot be: its numbers are reported, as far as they can be.
    let sectors = last.checked_sub(first).and_then(|n| n.checked_add(1)?.checked_mul(scale));
    let (first, sectors) = (first.saturating_mul(scale), sectors.unwrap_or(0));
    table.partition(number, first, sectors);
}
