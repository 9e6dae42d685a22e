//! Inodes: where they are, and how they begin and end.

use crate::ROOT;
use crate::disk::Disk;
use crate::error::Error;
use crate::layout::inode::{BYTES, Inode, Kind, time};
use crate::layout::{put_u32, u32_at};
use crate::mount::{Ext2, Writer};

/// Blocks of a file that are freed in one step.
const STEP: u32 = 4096;

/// Where an inode is: it stays there as long as it exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InodeAt {
    /// Its number.
    pub number: u32,
    pub(crate) block: u32,
    pub(crate) at: usize,
}

/// What a new inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct New {
    /// Its kind and permissions.
    pub mode: u16,
    /// Owner and group.
    pub owner: [u32; 2],
}

impl<D: Disk> Ext2<D> {
    /// Where the inode of a number is.
    ///
    /// # Errors
    /// If there is none that programs can use.
    pub fn locate(&self, number: u32) -> Result<InodeAt, Error> {
        let is_usable = number == ROOT || number >= self.geometry.first_inode;
        if !is_usable || number > self.geometry.inodes {
            return Err(Error::Corrupt { what: "an inode that does not exist", at: number });
        }
        let (group, place) = self.inode_bit(number);
        let bytes = place * self.geometry.inode_bytes;
        let block = self.group(group)?.inode_table + (bytes >> self.geometry.block_bits);
        let at = bytes as usize % self.geometry.block_bytes();
        Ok(InodeAt { number, block, at })
    }

    /// Reads an inode that was located.
    ///
    /// # Errors
    /// If it could not be read.
    pub fn load(&self, at: InodeAt) -> Result<Inode, Error> {
        Ok(self.disk.look(at.block, |bytes| Inode::parse(bytes.get(at.at..).unwrap_or(&[])))?)
    }

    /// Stores an inode, for the holder of the [`Writer`].
    ///
    /// # Errors
    /// If its block could not be read.
    pub fn store(&self, at: InodeAt, inode: &Inode) -> Result<(), Error> {
        self.writable()?;
        Ok(self.disk.change(at.block, |bytes| {
            if let Some(bytes) = bytes.get_mut(at.at..at.at + BYTES) {
                inode.put(bytes);
            }
        })?)
    }

    /// An inode in use, and where it is.
    ///
    /// # Errors
    /// If it could not be read, or is free or damaged.
    pub fn inode(&self, number: u32) -> Result<(InodeAt, Inode), Error> {
        let at = self.locate(number)?;
        let inode = self.load(at)?;
        match inode.kind() {
            Some(_) if inode.links > 0 => Ok((at, inode)),
            _ => Err(Error::Corrupt { what: "an inode that is not in use", at: number }),
        }
    }

    /// Stores the size of a file, and that it was changed now.
    ///
    /// # Errors
    /// If its block could not be read.
    pub fn set_size(&self, writer: &mut Writer, at: InodeAt, size: u64) -> Result<(), Error> {
        const LARGE: u64 = 1 << 31;
        let mut inode = self.load(at)?;
        writer.has_large_file |= size >= LARGE;
        inode.size = size;
        inode.times[time::MODIFY] = self.disk.now();
        inode.times[time::CHANGE] = inode.times[time::MODIFY];
        self.store(at, &inode)
    }

    /// The most bytes of a file: as many as blocks can be counted for.
    pub fn most_bytes(&self) -> u64 {
        let each = u64::from(self.geometry.pointers());
        let blocks = 12 + each + each * each + each * each * each;
        // The sectors of a file are counted in 32 bits, those of its tree included.
        let by_sectors = (u64::from(u32::MAX) << 9) / 1026 * 1024;
        (blocks << self.geometry.block_bits).min(by_sectors)
    }

    /// Makes an inode, which has `links` names; its directory is in the group `home`.
    pub(crate) fn new_inode(
        &self,
        writer: &mut Writer,
        home: u32,
        new: New,
        links: u16,
    ) -> Result<(InodeAt, Inode), Error> {
        let is_dir = Kind::of_mode(new.mode) == Some(Kind::Directory);
        let number = self.take_inode(writer, home, is_dir)?;
        let now = self.disk.now();
        writer.generation = writer.generation.wrapping_add(1);
        let inode = Inode {
            mode: new.mode,
            owner: new.owner,
            times: [now, now, now, 0],
            links,
            generation: writer.generation,
            ..Inode::default()
        };
        let made = self.locate(number).and_then(|at| {
            let bytes = self.geometry.inode_bytes as usize;
            self.disk.change(at.block, |block| {
                if let Some(place) = block.get_mut(at.at..at.at + bytes) {
                    place.fill(0);
                    inode.put(place);
                }
            })?;
            Ok(at)
        });
        match made {
            Ok(at) => Ok((at, inode)),
            Err(error) => {
                self.give_inode(writer, number, is_dir)?;
                Err(error)
            }
        }
    }

    /// A step of the end of an inode without a name that nobody uses: some of its blocks go, and at last
    /// itself. True when it is gone.
    ///
    /// # Errors
    /// What went wrong; it is not to be called again then.
    pub fn end_step(&self, writer: &mut Writer, at: InodeAt) -> Result<bool, Error> {
        self.writable()?;
        let mut inode = self.load(at)?;
        if inode.has_blocks(self.geometry.block_bytes()) && inode.block.iter().any(|b| *b != 0) {
            // Not by its size: there may be no more than holes for long.
            let from = self.last_block(&inode) / STEP * STEP;
            if from > 0 && inode.sectors / self.geometry.sectors() > STEP {
                self.cut(writer, at, from..u32::MAX)?;
                inode = self.load(at)?;
                inode.size = inode.size.min(u64::from(from) << self.geometry.block_bits);
                self.store(at, &inode)?;
                return Ok(false);
            }
            let done = self.cut(writer, at, 0..u32::MAX);
            inode = self.load(at)?;
            self.finish(writer, at, inode)?;
            return done.map(|()| true);
        }
        self.finish(writer, at, inode)?;
        Ok(true)
    }

    fn finish(&self, writer: &mut Writer, at: InodeAt, inode: Inode) -> Result<(), Error> {
        let mut inode = inode;
        if inode.attributes != 0 {
            let block = core::mem::take(&mut inode.attributes);
            self.drop_attributes(writer, block)?;
            inode.sectors = inode.sectors.saturating_sub(self.geometry.sectors());
        }
        let is_dir = inode.kind() == Some(Kind::Directory);
        inode.times[time::DELETE] = self.disk.now();
        (inode.size, inode.links) = (0, 0);
        self.store(at, &inode)?;
        self.give_inode(writer, at.number, is_dir)
    }

    /// Extended attributes lose an inode; they may be shared by others.
    fn drop_attributes(&self, writer: &mut Writer, block: u32) -> Result<(), Error> {
        const MAGIC: u32 = 0xea02_0000;
        const USERS: usize = 4;
        let block = self.checked(block)?;
        let (magic, users) =
            self.disk.look(block, |bytes| (u32_at(bytes, 0), u32_at(bytes, USERS)))?;
        if magic != MAGIC {
            return Err(Error::Corrupt { what: "no extended attributes", at: block });
        }
        if users > 1 {
            return Ok(self.disk.change(block, |bytes| put_u32(bytes, USERS, users - 1))?);
        }
        self.give_blocks(writer, block, 1)
    }
}
