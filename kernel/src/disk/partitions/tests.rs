//! Tables as tools write them, and damaged ones.

use splitmix::SplitMix64;

use super::*;

/// A disk in memory.
struct Disk(Vec<u8>);

impl Disk {
    fn new(sectors: usize) -> Self {
        Self(vec![0; sectors * SECTOR])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Writes record `n` of the table in a sector.
    fn record(&mut self, sector: usize, n: usize, kind: u8, first: u32, sectors: u32) {
        let at = sector * SECTOR + 446 + 16 * n;
        self.put(at + 4, &[kind]);
        self.put(at + 8, &first.to_le_bytes());
        self.put(at + 12, &sectors.to_le_bytes());
        self.put(sector * SECTOR + 510, &[0x55, 0xaa]);
    }

    fn find(&self, block: u32) -> (Vec<Partition>, Vec<Complaint>) {
        let (mut partitions, mut complaints) = (Vec::new(), Vec::new());
        let mut reads = 0;
        let mut read = |sector: u64, bytes: &mut Sector| {
            reads += 1;
            assert!(reads < 10_000, "it reads without end");
            let at = usize::try_from(sector).unwrap() * SECTOR;
            *bytes = self.0[at..at + SECTOR].try_into().unwrap();
            Ok(())
        };
        find((self.0.len() / SECTOR) as u64, block, &mut read, &mut |finding| match finding {
            Finding::Partition(partition) => partitions.push(partition),
            Finding::Complaint(complaint) => complaints.push(complaint),
        });
        (partitions, complaints)
    }
}

fn partition(number: u16, first: u64, sectors: u64) -> Partition {
    Partition { number, first, sectors }
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            crc >> 1 ^ (0xedb8_8320 & !((crc & 1).wrapping_sub(1)))
        })
    })
}

/// Writes a header of GPT into a block, with its list of so many entries at another.
fn header(disk: &mut Disk, block: usize, size: usize, list: usize, entries: usize) {
    let mut bytes = vec![0; 92];
    bytes[..8].copy_from_slice(b"EFI PART");
    bytes[8..12].copy_from_slice(&0x1_0000u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&92u32.to_le_bytes());
    bytes[24..32].copy_from_slice(&(block as u64).to_le_bytes());
    bytes[72..80].copy_from_slice(&(list as u64).to_le_bytes());
    bytes[80..84].copy_from_slice(&(entries as u32).to_le_bytes());
    bytes[84..88].copy_from_slice(&128u32.to_le_bytes());
    let sum = crc(&disk.0[list * size..list * size + 128 * entries]);
    bytes[88..92].copy_from_slice(&sum.to_le_bytes());
    let sum = crc(&bytes);
    bytes[16..20].copy_from_slice(&sum.to_le_bytes());
    disk.put(block * size, &bytes);
}

/// A disk of so many blocks with two GPT headers, each with a list of 128 entries, and these partitions:
/// number, first and last block.
fn gpt(blocks: usize, size: usize, partitions: &[(usize, u64, u64)]) -> Disk {
    gpt_with(blocks, size, partitions, 128)
}

fn gpt_with(blocks: usize, size: usize, partitions: &[(usize, u64, u64)], entries: usize) -> Disk {
    let mut disk = Disk::new(blocks * size / SECTOR);
    disk.record(0, 0, 0xee, 1, blocks as u32 - 1);
    let list = (128 * entries).div_ceil(size);
    for start in [2, blocks - 1 - list] {
        for &(number, first, last) in partitions {
            let at = start * size + 128 * (number - 1);
            disk.put(at, &[7; 16]);
            disk.put(at + 32, &first.to_le_bytes());
            disk.put(at + 40, &last.to_le_bytes());
        }
    }
    header(&mut disk, 1, size, 2, entries);
    header(&mut disk, blocks - 1, size, blocks - 1 - list, entries);
    disk
}

#[test]
fn the_checksum_is_that_of_the_standard() {
    assert_eq!(crc(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_disk_without_a_table_has_no_partitions() {
    let nothing = (vec![], vec![]);
    assert_eq!(Disk::new(100).find(512), nothing);
    let mut swap = Disk::new(100);
    swap.put(4086, b"SWAPSPACE2");
    assert_eq!(swap.find(512), nothing);
    // A FAT's first sector: the signature, and code where a table has its records.
    let mut fat = Disk::new(100);
    fat.0[..510].fill(0xcd);
    fat.put(510, &[0x55, 0xaa]);
    assert_eq!(fat.find(512), nothing);
    assert_eq!(Disk::new(0).find(512), (vec![], vec![Complaint::Unreadable { sector: 0 }]));
}

#[test]
fn primary_and_logical_partitions_are_found() {
    let mut disk = Disk::new(10_000);
    disk.record(0, 0, 0x82, 2048, 1000);
    disk.record(0, 1, 0x05, 4000, 5000);
    disk.record(0, 3, 0x83, 9500, 500);
    // Each logical partition begins 10 sectors behind its entry.
    disk.record(4000, 0, 0x83, 10, 100);
    disk.record(4000, 1, 0x05, 1000, 500);
    disk.record(5000, 0, 0x83, 10, 200);
    let expected = vec![
        partition(1, 2048, 1000),
        partition(4, 9500, 500),
        partition(5, 4010, 100),
        partition(6, 5010, 200),
    ];
    assert_eq!(disk.find(512), (expected, vec![]));
}

#[test]
fn a_list_of_logical_partitions_that_is_wrong_ends() {
    let with_next = |next: u32| {
        let mut disk = Disk::new(10_000);
        disk.record(0, 0, 0x05, 4000, 5000);
        disk.record(4000, 0, 0x83, 10, 100);
        disk.record(4000, 1, 0x05, next, 500);
        disk.find(512)
    };
    let first = partition(5, 4010, 100);
    let (partitions, complaints) = with_next(0);
    assert_eq!((partitions.len(), complaints), (60, vec![Complaint::EndlessList]));
    for next in [100, 5000, u32::MAX] {
        let sector = 4000 + u64::from(next);
        assert_eq!(with_next(next), (vec![first], vec![Complaint::BrokenList { sector }]));
    }
}

#[test]
fn a_partition_outside_of_the_disk_is_refused() {
    for (first, sectors) in [(9000, 1001), (10_000, 1), (u32::MAX, u32::MAX), (0, 100), (5, 0)] {
        let mut disk = Disk::new(10_000);
        disk.record(0, 0, 0x83, first, sectors);
        disk.record(0, 1, 0x83, 9000, 1000);
        let (first, sectors) = (first.into(), sectors.into());
        let refused = Complaint::Outside { number: 1, first, sectors, disk: 10_000 };
        assert_eq!(disk.find(512), (vec![partition(2, 9000, 1000)], vec![refused]));
    }
    let said = Complaint::Outside { number: 1, first: 9000, sectors: 1001, disk: 10_000 };
    let expected = "partition 1, 1001 sectors from 9000 on, is not on a disk of 10000";
    assert_eq!(said.to_string(), expected);
}

#[test]
fn a_gpt_is_read_in_blocks_of_either_size() {
    let disk = gpt(1000, 512, &[(1, 40, 99), (128, 200, 200)]);
    let expected = vec![partition(1, 40, 60), partition(128, 200, 1)];
    assert_eq!(disk.find(512), (expected, vec![]));
    let disk = gpt(100, 4096, &[(2, 10, 19)]);
    assert_eq!(disk.find(4096), (vec![partition(2, 80, 80)], vec![]));
}

#[test]
fn the_backup_takes_the_place_of_a_damaged_header_or_list() {
    let whole = gpt(1000, 512, &[(1, 40, 99)]);
    let expected = vec![partition(1, 40, 60)];
    for (at, what) in [(512, "signature"), (512 + 60, "checksum"), (1024, "checksum of its list")] {
        let mut disk = Disk(whole.0.clone());
        disk.0[at] ^= 1;
        let (partitions, complaints) = disk.find(512);
        assert_eq!(partitions, expected, "{what}");
        let is_named = |c: &Complaint| matches!(c, Complaint::BadHeader { sector: 1, what: w, .. } if *w == what);
        assert!(is_named(&complaints[0]), "{complaints:?}");
        assert_eq!(complaints[1..], [Complaint::Backup]);
        disk.0[999 * SECTOR] ^= 1;
        let (partitions, complaints) = disk.find(512);
        assert_eq!(partitions, []);
        assert_eq!(complaints.last(), Some(&Complaint::NoHeader));
    }
}

#[test]
fn a_gpt_partition_outside_of_the_disk_is_refused() {
    for (first, last) in [(40, 1000), (50, 40), (0, 10), (u64::MAX, u64::MAX), (0, u64::MAX)] {
        let disk = gpt(1000, 512, &[(1, first, last), (2, 40, 41)]);
        let (partitions, complaints) = disk.find(512);
        assert_eq!(partitions, [partition(2, 40, 2)]);
        assert!(matches!(complaints[..], [Complaint::Outside { number: 1, .. }]), "{complaints:?}");
    }
}

/// Damaged tables of all kinds: whatever they say, each partition is on the disk, and reading ends.
#[test]
fn damaged_tables_give_partitions_of_the_disk_or_none() {
    let mut logical = Disk::new(2000);
    logical.record(0, 0, 0x82, 100, 100);
    logical.record(0, 1, 0x0f, 400, 1500);
    for n in 0..5 {
        logical.record(400 + 100 * n, 0, 0x83, 1, 50);
        logical.record(400 + 100 * n, 1, 0x05, 100 * (n as u32 + 1), 100);
    }
    let small = gpt_with(100, 512, &[(1, 40, 60), (2, 61, 70)], 16);
    let bases = [(logical, 512), (small, 512), (gpt_with(16, 4096, &[(1, 10, 12)], 16), 4096)];
    let mut numbers = SplitMix64::new(3);
    let mut found = 0;
    for round in 0..100_000 {
        let (base, block) = &bases[round % 3];
        let mut disk = Disk(base.0.clone());
        let len = disk.0.len();
        for _ in 0..1 + numbers.next() % 3 {
            let number = numbers.next();
            // Most of it where the tables are.
            let within = match number % 4 {
                0 => len,
                1 => SECTOR,
                _ => 3 * *block as usize,
            };
            let at = (number >> 8) as usize % within;
            let byte = (number >> 56) as u8;
            disk.0[at] = [0, 0xff, byte, disk.0[at] ^ 1 << (byte % 8)][(number >> 4) as usize % 4];
        }
        // Half of the damaged headers have a good checksum.
        if round % 3 > 0 && numbers.next() % 2 == 0 {
            let header = *block as usize;
            disk.put(header + 16, &[0; 4]);
            let sum = crc(&disk.0[header..header + 92]);
            disk.put(header + 16, &sum.to_le_bytes());
        }
        for Partition { first, sectors, .. } in disk.find(*block).0 {
            assert!(first > 0 && sectors > 0 && first + sectors <= (len / SECTOR) as u64);
            found += 1;
        }
    }
    assert!(found > 100_000, "{found}");
}
