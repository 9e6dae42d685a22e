//! The structures on the disk, in the machine's own types: pure.
//!
//! All numbers there are little-endian. Fields that the crate does not use are left as they are.

pub mod entry;
pub mod features;
pub mod group;
pub mod inode;
pub mod superblock;

/// The two bytes at `at`; zero behind the end.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]))
}

/// The four bytes at `at`; zero behind the end.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4);
    four.map_or(0, |four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
}

/// Stores two bytes; nothing behind the end.
pub(crate) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(two) = bytes.get_mut(at..at + 2) {
        two.copy_from_slice(&value.to_le_bytes());
    }
}

/// Stores four bytes; nothing behind the end.
pub(crate) fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(four) = bytes.get_mut(at..at + 4) {
        four.copy_from_slice(&value.to_le_bytes());
    }
}
