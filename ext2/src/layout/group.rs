//! Group descriptors: 32 bytes each, in the blocks behind the superblock.

use super::{put_u16, u16_at, u32_at};

/// Bytes of a descriptor.
pub const BYTES: usize = 32;

/// A group descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Group {
    /// The block with a bit for each block of the group.
    pub block_bitmap: u32,
    /// The block with a bit for each of its inodes.
    pub inode_bitmap: u32,
    /// The first block of its inodes.
    pub inode_table: u32,
    /// Free blocks.
    pub free_blocks: u16,
    /// Free inodes.
    pub free_inodes: u16,
    /// Directories.
    pub dirs: u16,
}

impl Group {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Self {
        Self {
            block_bitmap: u32_at(bytes, 0),
            inode_bitmap: u32_at(bytes, 4),
            inode_table: u32_at(bytes, 8),
            free_blocks: u16_at(bytes, 12),
            free_inodes: u16_at(bytes, 14),
            dirs: u16_at(bytes, 16),
        }
    }

    /// Stores the counts.
    pub fn put_counts(&self, bytes: &mut [u8]) {
        put_u16(bytes, 12, self.free_blocks);
        put_u16(bytes, 14, self.free_inodes);
        put_u16(bytes, 16, self.dirs);
    }
}
