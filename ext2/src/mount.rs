//! A file system is taken into use, and given back clean.

use crate::ROOT;
use crate::disk::Disk;
use crate::error::{Error, MountError};
use crate::layout::features::Unknown;
use crate::layout::group::{self, Group};
use crate::layout::inode::Kind;
use crate::layout::superblock::{BYTES, ERRORS, Geometry, Superblock, Update, VALID};

/// What may be done with a file system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Everything.
    Writable,
    /// It may only be read: the device can do no more, or nobody asked for more.
    ReadOnly,
    /// It may only be read, since it has features that are not known here.
    Features(Unknown),
}

/// A file system in use.
#[derive(Debug)]
pub struct Ext2<D> {
    pub(crate) disk: D,
    pub(crate) geometry: Geometry,
    mode: Mode,
    was_clean: bool,
}

/// The right to change a file system, of which there is one; and what is not stored at once.
#[derive(Debug)]
pub struct Writer {
    pub(crate) free_blocks: u32,
    pub(crate) free_inodes: u32,
    pub(crate) has_large_file: bool,
    /// A number for the next inode.
    pub(crate) generation: u32,
    /// What the superblock says at the end: as clean as it was found.
    state: u16,
}

/// How much room there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Blocks, and those of them that are free.
    pub blocks: [u32; 2],
    /// Inodes, and those of them that are free.
    pub inodes: [u32; 2],
    /// Bytes of a block.
    pub block_bytes: u32,
}

impl Writer {
    /// Damage was found: the superblock will say so, and `e2fsck` look.
    pub fn note_damage(&mut self) {
        self.state |= ERRORS;
    }
}

impl<D: Disk> Ext2<D> {
    /// Takes a file system into use, whose superblock [`Superblock::parse`] has accepted. From here on,
    /// if it may be changed, the superblock on the disk says that it is in use.
    ///
    /// # Errors
    /// If it could not be read, or is damaged.
    pub fn mount(
        disk: D,
        superblock: &Superblock,
        read_only: bool,
    ) -> Result<(Self, Writer), MountError> {
        let mode = match superblock.read_only {
            Some(unknown) => Mode::Features(unknown),
            None if read_only => Mode::ReadOnly,
            None => Mode::Writable,
        };
        let was_clean = superblock.state & (VALID | ERRORS) == VALID;
        let fs = Self { disk, geometry: superblock.geometry, mode, was_clean };
        let (free_blocks, free_inodes) = fs.check_groups()?;
        let state = superblock.state;
        let generation = superblock.time;
        let writer = Writer { free_blocks, free_inodes, has_large_file: false, generation, state };
        let root = fs.inode(ROOT).map_err(|_| MountError::NoRoot)?.1;
        if root.kind() != Some(Kind::Directory) {
            return Err(MountError::NoRoot);
        }
        if fs.mode == Mode::Writable {
            let in_use = writer.state & !VALID;
            fs.put_superblock(&writer, in_use, true).map_err(|_| MountError::Io)?;
        }
        Ok((fs, writer))
    }

    /// Checks every group descriptor; returns how many blocks and inodes are free.
    fn check_groups(&self) -> Result<(u32, u32), MountError> {
        let (mut blocks, mut inodes) = (0_u32, 0_u32);
        let geometry = &self.geometry;
        let descriptors = (geometry.groups as usize * group::BYTES) >> geometry.block_bits;
        if descriptors as u32 + 1 >= geometry.blocks - geometry.first_block {
            return Err(MountError::Field { name: "s_blocks_count", value: geometry.blocks });
        }
        for at in 0..geometry.groups {
            let group = self.read_group(at).map_err(|_| MountError::Io)?;
            self.check_group(at, &group).map_err(|what| MountError::Group { group: at, what })?;
            blocks = blocks.saturating_add(group.free_blocks.into());
            inodes = inodes.saturating_add(group.free_inodes.into());
        }
        Ok((blocks, inodes))
    }

    fn check_group(&self, at: u32, group: &Group) -> Result<(), &'static str> {
        let (first, count) = self.geometry.group_blocks(at);
        let holds = |block: u32, blocks: u32| {
            block >= first && blocks <= count && block - first <= count - blocks
        };
        if !holds(group.block_bitmap, 1) || !holds(group.inode_bitmap, 1) {
            Err("a bitmap is outside of the group")
        } else if !holds(group.inode_table, self.geometry.table_blocks()) {
            Err("the inodes are outside of the group")
        } else if u32::from(group.free_blocks) > count
            || u32::from(group.free_inodes) > self.geometry.inodes_per_group
        {
            Err("more is free than it has")
        } else {
            Ok(())
        }
    }

    /// The block and place of a group's descriptor.
    pub(crate) fn group_place(&self, at: u32) -> (u32, usize) {
        let bytes = at as usize * group::BYTES;
        let block = self.geometry.superblock().0 + 1 + (bytes >> self.geometry.block_bits) as u32;
        (block, bytes % self.geometry.block_bytes())
    }

    fn read_group(&self, at: u32) -> Result<Group, Error> {
        let (block, place) = self.group_place(at);
        let parse = |bytes: &[u8]| Group::parse(bytes.get(place..).unwrap_or(&[]));
        Ok(self.disk.look(block, parse)?)
    }

    /// A group's descriptor, checked.
    pub(crate) fn group(&self, at: u32) -> Result<Group, Error> {
        let group = self.read_group(at)?;
        self.check_group(at, &group).map_err(|what| Error::Corrupt { what, at })?;
        Ok(group)
    }

    /// What the superblock counts is stored, while the file system stays in use.
    ///
    /// # Errors
    /// If the block could not be read.
    pub fn sync(&self, writer: &Writer) -> Result<(), Error> {
        match self.mode {
            Mode::Writable => self.put_superblock(writer, writer.state & !VALID, false),
            _ => Ok(()),
        }
    }

    /// The end: everything else is on the disk, and the superblock says what it said at the start. The
    /// caller writes it, and does not use the file system again.
    ///
    /// # Errors
    /// If the block could not be read.
    pub fn unmount(&self, writer: &Writer) -> Result<(), Error> {
        match self.mode {
            Mode::Writable => self.put_superblock(writer, writer.state, false),
            _ => Ok(()),
        }
    }

    fn put_superblock(&self, writer: &Writer, state: u16, is_mount: bool) -> Result<(), Error> {
        let update = Update {
            free_blocks: writer.free_blocks,
            free_inodes: writer.free_inodes,
            state,
            time: self.disk.now(),
            is_mount,
            has_large_file: writer.has_large_file,
        };
        let (block, at) = self.geometry.superblock();
        self.disk.change(block, |bytes| {
            if let Some(bytes) = bytes.get_mut(at..at + BYTES) {
                update.put(bytes);
            }
        })?;
        if is_mount {
            self.disk.settle(block)?;
        }
        Ok(())
    }

    /// Whether it was clean when it was mounted.
    pub fn was_clean(&self) -> bool {
        self.was_clean
    }

    /// What may be done with it.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The numbers that do not change.
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The disk.
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// How much room there is.
    #[doc(alias = "statfs")]
    pub fn space(&self, writer: &Writer) -> Space {
        Space {
            blocks: [self.geometry.blocks, writer.free_blocks],
            inodes: [self.geometry.inodes, writer.free_inodes],
            block_bytes: self.geometry.block_bytes() as u32,
        }
    }

    /// Refuses whoever wants to change what may only be read.
    pub(crate) fn writable(&self) -> Result<(), Error> {
        if self.mode == Mode::Writable { Ok(()) } else { Err(Error::ReadOnly) }
    }
}
