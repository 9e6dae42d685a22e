//! Inodes: 128 bytes, and whatever follows them in a larger place.

use super::{put_u16, put_u32, u16_at, u32_at};

/// Bytes that are used.
pub const BYTES: usize = 128;
/// Block numbers in an inode.
pub const POINTERS: usize = 15;
/// Those that lead to the contents.
pub const DIRECT: u32 = 12;
/// The longest target of a symbolic link that is kept in the inode, and one byte more.
pub const LINK_BYTES: usize = 4 * POINTERS;

/// The place of the block numbers.
pub(crate) const BLOCKS_AT: usize = 40;

/// It must not be changed.
pub const IMMUTABLE: u32 = 0x10;
/// It may only be appended to.
pub const APPEND_ONLY: u32 = 0x20;
/// The directory has an index.
pub const INDEX: u32 = 0x1000;

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Contents.
    File,
    /// Names.
    Directory,
    /// The name of something else.
    Symlink,
    /// A device, a pipe or a socket.
    Special,
}

/// The kinds in the mode, in units of 4096.
const S_IFIFO: u16 = 1;
const S_IFCHR: u16 = 2;
const S_IFDIR: u16 = 4;
const S_IFBLK: u16 = 6;
const S_IFREG: u16 = 8;
const S_IFLNK: u16 = 10;
const S_IFSOCK: u16 = 12;

impl Kind {
    /// That of a mode, if it names one.
    pub fn of_mode(mode: u16) -> Option<Self> {
        match mode >> 12 {
            S_IFREG => Some(Self::File),
            S_IFDIR => Some(Self::Directory),
            S_IFLNK => Some(Self::Symlink),
            S_IFIFO | S_IFCHR | S_IFBLK | S_IFSOCK => Some(Self::Special),
            _ => None,
        }
    }

    /// The bits of a mode.
    pub const fn mode_bits(self) -> u16 {
        match self {
            Self::File => S_IFREG << 12,
            Self::Directory => S_IFDIR << 12,
            Self::Symlink => S_IFLNK << 12,
            Self::Special => S_IFSOCK << 12,
        }
    }
}

/// The number in an entry of a directory for what a mode says.
pub fn entry_type(mode: u16) -> u8 {
    match mode >> 12 {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFSOCK => 6,
        S_IFLNK => 7,
        _ => 0,
    }
}

/// An inode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inode {
    /// Kind and permissions.
    pub mode: u16,
    /// Owner and group.
    pub owner: [u32; 2],
    /// Bytes.
    pub size: u64,
    /// Times: access, change, modification, and deletion.
    pub times: [u32; 4],
    /// Names.
    pub links: u16,
    /// Sectors of 512 bytes that it takes.
    pub sectors: u32,
    /// Flags.
    pub flags: u32,
    /// Block numbers.
    pub block: [u32; POINTERS],
    /// A number that tells it from an earlier inode in its place.
    pub generation: u32,
    /// The block with its extended attributes.
    pub attributes: u32,
}

/// Places in [`Inode::times`].
pub mod time {
    /// Access.
    pub const ACCESS: usize = 0;
    /// Change of the inode.
    pub const CHANGE: usize = 1;
    /// Change of the contents.
    pub const MODIFY: usize = 2;
    /// Deletion.
    pub const DELETE: usize = 3;
}

impl Inode {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Self {
        let mode = u16_at(bytes, 0);
        let high = if mode >> 12 == S_IFREG { u32_at(bytes, 108) } else { 0 };
        let id = |low, high| u32::from(u16_at(bytes, low)) | u32::from(u16_at(bytes, high)) << 16;
        Self {
            mode,
            owner: [id(2, 120), id(24, 122)],
            size: u64::from(u32_at(bytes, 4)) | u64::from(high) << 32,
            times: core::array::from_fn(|at| u32_at(bytes, 8 + 4 * at)),
            links: u16_at(bytes, 26),
            sectors: u32_at(bytes, 28),
            flags: u32_at(bytes, 32),
            block: core::array::from_fn(|at| u32_at(bytes, BLOCKS_AT + 4 * at)),
            generation: u32_at(bytes, 100),
            attributes: u32_at(bytes, 104),
        }
    }

    /// Stores it. What it does not know of is left as it is.
    pub fn put(&self, bytes: &mut [u8]) {
        put_u16(bytes, 0, self.mode);
        for (id, (low, high)) in self.owner.iter().zip([(2, 120), (24, 122)]) {
            put_u16(bytes, low, *id as u16);
            put_u16(bytes, high, (*id >> 16) as u16);
        }
        put_u32(bytes, 4, self.size as u32);
        if self.mode >> 12 == S_IFREG {
            put_u32(bytes, 108, (self.size >> 32) as u32);
        }
        for (at, time) in self.times.iter().enumerate() {
            put_u32(bytes, 8 + 4 * at, *time);
        }
        put_u16(bytes, 26, self.links);
        put_u32(bytes, 28, self.sectors);
        put_u32(bytes, 32, self.flags);
        for (at, block) in self.block.iter().enumerate() {
            put_u32(bytes, BLOCKS_AT + 4 * at, *block);
        }
        put_u32(bytes, 100, self.generation);
        put_u32(bytes, 104, self.attributes);
    }

    /// What it is; `None` if it is not in use, or damaged.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of_mode(self.mode)
    }

    /// Whether its block numbers are such.
    pub fn has_blocks(&self, block_bytes: usize) -> bool {
        match self.kind() {
            Some(Kind::File | Kind::Directory) => true,
            Some(Kind::Symlink) => !self.is_short_link(block_bytes),
            _ => false,
        }
    }

    /// Whether it is a symbolic link whose target is in the place of the block numbers.
    pub fn is_short_link(&self, block_bytes: usize) -> bool {
        let for_attributes = if self.attributes == 0 { 0 } else { block_bytes as u32 / 512 };
        self.kind() == Some(Kind::Symlink) && self.sectors == for_attributes
    }
}
