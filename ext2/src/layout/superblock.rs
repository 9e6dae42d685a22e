//! The superblock: 1024 bytes, 1024 bytes from the start of the device.

use super::features::{self, Unknown};
use super::{put_u16, put_u32, u16_at, u32_at};
use crate::error::MountError;

/// Where it is, and how long it is.
pub const START: u64 = 1024;
/// Bytes of it.
pub const BYTES: usize = 1024;

/// It was unmounted cleanly.
pub const VALID: u16 = 1;
/// Errors were found in it.
pub const ERRORS: u16 = 2;

const MAGIC: u16 = 0xef53;

const FREE_BLOCKS: usize = 12;
const FREE_INODES: usize = 16;
const MOUNT_TIME: usize = 44;
const WRITE_TIME: usize = 48;
const MOUNTS: usize = 52;
const STATE: usize = 58;
const REVISION: usize = 76;
const FIRST_INODE: usize = 84;
const INODE_SIZE: usize = 88;
const RO_COMPAT: usize = 100;

/// The numbers that do not change while it is mounted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Geometry {
    /// Inodes in all.
    pub inodes: u32,
    /// Blocks in all, those before the first group's included.
    pub blocks: u32,
    /// The first block of the first group.
    pub first_block: u32,
    /// The binary logarithm of the bytes of a block: 10 to 12.
    pub block_bits: u32,
    /// Blocks of a group.
    pub blocks_per_group: u32,
    /// Inodes of a group.
    pub inodes_per_group: u32,
    /// Bytes of an inode.
    pub inode_bytes: u32,
    /// The first inode that is not reserved.
    pub first_inode: u32,
    /// Groups.
    pub groups: u32,
    /// Entries of directories name the kind of file.
    pub has_filetype: bool,
    /// Blocks that only root may take.
    pub reserved_blocks: u32,
}

impl Geometry {
    /// Bytes of a block.
    pub const fn block_bytes(&self) -> usize {
        1 << self.block_bits
    }

    /// Block numbers that a block holds.
    pub const fn pointers(&self) -> u32 {
        1 << (self.block_bits - 2)
    }

    /// Sectors of 512 bytes in a block.
    pub const fn sectors(&self) -> u32 {
        1 << (self.block_bits - 9)
    }

    /// The block that the superblock is in, and its place there.
    pub const fn superblock(&self) -> (u32, usize) {
        if self.block_bits == 10 { (1, 0) } else { (0, BYTES) }
    }

    /// The group that a block is in.
    pub const fn group_of(&self, block: u32) -> u32 {
        (block - self.first_block) / self.blocks_per_group
    }

    /// The first block of a group, and how many it has.
    pub fn group_blocks(&self, group: u32) -> (u32, u32) {
        let first = self.first_block + group * self.blocks_per_group;
        (first, self.blocks_per_group.min(self.blocks - first))
    }

    /// Blocks that the inodes of a group take.
    pub const fn table_blocks(&self) -> u32 {
        (self.inodes_per_group * self.inode_bytes).div_ceil(1 << self.block_bits)
    }

    /// Whether there can be something in the block.
    pub const fn has_block(&self, block: u32) -> bool {
        block >= self.first_block && block < self.blocks
    }
}

/// What a superblock says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// The numbers that do not change.
    pub geometry: Geometry,
    /// [`VALID`] and [`ERRORS`].
    pub state: u16,
    /// The latest time in it.
    pub time: u32,
    /// Features that forbid to change anything.
    pub read_only: Option<Unknown>,
}

fn within(
    name: &'static str,
    value: u32,
    range: core::ops::RangeInclusive<u32>,
) -> Result<u32, MountError> {
    if range.contains(&value) { Ok(value) } else { Err(MountError::Field { name, value }) }
}

impl Superblock {
    /// Reads a superblock, and checks that its numbers go together. `device_bytes` is the size of the
    /// device.
    ///
    /// # Errors
    /// What is wrong with it, or not known.
    pub fn parse(bytes: &[u8], device_bytes: u64) -> Result<Self, MountError> {
        let long = |at| u32_at(bytes, at);
        let magic = u16_at(bytes, 56);
        if magic != MAGIC {
            return Err(MountError::NoMagic(magic));
        }
        let revision = within("s_rev_level", long(REVISION), 0..=1)?;
        let feature = |at| if revision == 0 { 0 } else { long(at) };
        if let Some(unknown) = features::unknown_incompat(feature(96)) {
            return Err(MountError::Features(unknown));
        }
        let block_bits = 10 + within("s_log_block_size", long(24), 0..=2)?;
        let block_bytes = 1_u32 << block_bits;
        let first = u32::from(block_bits == 10);
        let first_block = within("s_first_data_block", long(20), first..=first)?;
        within("s_log_cluster_size", long(28), block_bits - 10..=block_bits - 10)?;
        let in_bitmap = 8 * block_bytes;
        let blocks_per_group = within("s_blocks_per_group", long(32), 8..=in_bitmap)?;
        let inodes_per_group = within("s_inodes_per_group", long(40), 8..=in_bitmap)?;
        let device_blocks = u32::try_from(device_bytes >> block_bits).unwrap_or(u32::MAX);
        let blocks = within("s_blocks_count", long(4), first_block + 8..=device_blocks)?;
        let groups = (blocks - first_block).div_ceil(blocks_per_group);
        let all = u64::from(groups) * u64::from(inodes_per_group);
        let all = u32::try_from(all).unwrap_or(0);
        let inodes = within("s_inodes_count", long(0), all..=all)?;
        let (inode_bytes, first_inode) = match revision {
            0 => (128, 11),
            _ => (u32::from(u16_at(bytes, INODE_SIZE)), long(FIRST_INODE)),
        };
        within("s_inode_size", inode_bytes, 128..=block_bytes)?;
        if !inode_bytes.is_power_of_two() {
            return Err(MountError::Field { name: "s_inode_size", value: inode_bytes });
        }
        within("s_first_ino", first_inode, 11..=inodes)?;
        let geometry = Geometry {
            inodes,
            blocks,
            first_block,
            block_bits,
            blocks_per_group,
            inodes_per_group,
            inode_bytes,
            first_inode,
            groups,
            has_filetype: feature(96) & features::FILETYPE != 0,
            reserved_blocks: long(8),
        };
        let time = [MOUNT_TIME, WRITE_TIME, 64, 264].map(long).into_iter().max().unwrap_or(0);
        let read_only = features::unknown_ro_compat(feature(RO_COMPAT));
        Ok(Self { geometry, state: u16_at(bytes, STATE), time, read_only })
    }
}

/// What is stored in a superblock while it is mounted.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Free blocks.
    pub free_blocks: u32,
    /// Free inodes.
    pub free_inodes: u32,
    /// [`VALID`] and [`ERRORS`].
    pub state: u16,
    /// Now.
    pub time: u32,
    /// It is being mounted.
    pub is_mount: bool,
    /// A file has 2 GiB or more.
    pub has_large_file: bool,
}

impl Update {
    /// Stores it.
    pub fn put(&self, bytes: &mut [u8]) {
        put_u32(bytes, FREE_BLOCKS, self.free_blocks);
        put_u32(bytes, FREE_INODES, self.free_inodes);
        put_u16(bytes, STATE, self.state);
        put_u32(bytes, WRITE_TIME, self.time);
        if self.is_mount {
            put_u32(bytes, MOUNT_TIME, self.time);
            let mounts = u16_at(bytes, MOUNTS).saturating_add(1);
            put_u16(bytes, MOUNTS, mounts);
        }
        if self.has_large_file {
            if u32_at(bytes, REVISION) == 0 {
                // The first revision has no features: with what it implies, this is the second.
                put_u32(bytes, REVISION, 1);
                put_u32(bytes, FIRST_INODE, 11);
                put_u16(bytes, INODE_SIZE, 128);
            }
            let features = u32_at(bytes, RO_COMPAT) | features::LARGE_FILE;
            put_u32(bytes, RO_COMPAT, features);
        }
    }
}
