//! Mounting, and unmounting.

use core::fmt;
use core::sync::atomic::AtomicU64;

use ext2::layout::superblock::{self, Superblock};
use ext2::{Disk, Error, Ext2, MountError};
use mm_reclaim::FileError;
use mm_reclaim::env::{DeviceId, FrameMemory};
use mm_reclaim::file::FileKind;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Order, PAGE_SIZE};

use super::bits::{Bits, words_for};
use super::mounted::{self, Mounted, mounted};
use super::records::Records;
use super::store::Store;
use super::{Number, inodes};
use crate::arch::frames::{LinearFrames, frame_address};
use crate::disk::{self, SECTOR};
use crate::drivers::timer;
use crate::glue;
use crate::println;

/// Why a file system was not mounted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It is damaged, or not for this kernel.
    Mount(MountError),
    /// There is no memory for two bits a block, and a table.
    NoMemory,
    /// Another one is mounted.
    Second,
    /// Its sectors are in use for swap.
    Swap,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(error) => error.fmt(f),
            Self::NoMemory => f.write_str("no memory for the state of its blocks"),
            Self::Second => f.write_str("another file system is mounted already"),
            Self::Swap => f.write_str("its sectors are in use for swap"),
        }
    }
}

impl core::error::Error for Refused {}

/// Bits for so many blocks, in frames that stay with the mount.
fn bits(blocks: u32) -> Result<Bits<'static>, Refused> {
    let words = words_for(blocks);
    let order = Order::holding((words * 8).div_ceil(PAGE_SIZE) as u32);
    let frame = order.and_then(|order| glue::mm().alloc_pages(Gfp::KERNEL, order));
    let first = frame_address(frame.ok_or(Refused::NoMemory)?).cast::<AtomicU64>();
    for at in 0..words {
        let place = first.wrapping_add(at);
        // SAFETY: the frames were just allocated and are never freed; the words fit, and are aligned.
        unsafe { place.write(AtomicU64::new(0)) };
    }
    // SAFETY: all of them were just written; from here on they are only shared.
    Ok(Bits::new(unsafe { core::slice::from_raw_parts(first, words) }))
}

/// The superblock of a device; `None` if that is no ext2, or cannot be read.
#[inline(never)] // Its frame holds a superblock.
fn superblock_of(device: DeviceId) -> Result<Option<Superblock>, Refused> {
    let mm = glue::mm();
    let frame = mm.alloc_pages(Gfp::KERNEL, Order::ZERO).ok_or(Refused::NoMemory)?;
    let mut bytes = [0; superblock::BYTES];
    let sector = superblock::START / SECTOR as u64;
    let read = disk::read_sectors(device, sector, frame, bytes.len());
    LinearFrames::new().read(frame, 0, &mut bytes);
    mm.free_pages(frame, Order::ZERO);
    let device_bytes = disk::sectors(device).unwrap_or(0) * SECTOR as u64;
    match Superblock::parse(&bytes, device_bytes) {
        _ if read.is_err() => Ok(None),
        Ok(superblock) => Ok(Some(superblock)),
        Err(MountError::NoMagic(_)) => Ok(None),
        Err(error) => Err(Refused::Mount(error)),
    }
}

/// Mounts the ext2 on a device, for the boot; `None` if there is none.
///
/// # Errors
/// [`Refused`].
pub fn mount(device: DeviceId) -> Result<Option<&'static Mounted>, Refused> {
    let Some(superblock) = superblock_of(device)? else { return Ok(None) };
    if mounted::records().is_some() {
        return Err(Refused::Second);
    }
    let is_swap = |other| glue::mm().is_swap_in_use(other);
    if is_swap(device) || disk::is_shared(device, is_swap) {
        return Err(Refused::Swap);
    }
    disk::set_mounted(device);
    let (blocks, block_bits) = (superblock.geometry.blocks, superblock.geometry.block_bits);
    let (dirty, fresh) = (bits(blocks)?, bits(blocks)?);
    inodes::begin().map_err(|_| Refused::NoMemory)?;
    let kind = FileKind::Stored(Number::Device.as_u64());
    let size = u64::from(blocks) << block_bits;
    // The store is asked for the file's device when it is made.
    mounted::begin(device);
    glue::mount(&Store);
    let file = glue::mm().create_file(kind, size).map_err(|_| Refused::NoMemory)?;
    let epoch = superblock.time.saturating_add(1).saturating_sub(uptime());
    let records = Records { file, device, block_bits, blocks, dirty, fresh, epoch };
    let records = mounted::begin_records(records);
    let (fs, writer) =
        Ext2::mount(records, &superblock, disk::is_read_only(device)).map_err(Refused::Mount)?;
    Ok(Some(mounted::finish(fs, writer)))
}

fn uptime() -> u32 {
    (timer::now().0 / 1_000_000_000) as u32
}

impl Mounted {
    /// What was reserved and never written shows nothing of what was there before.
    fn clear_fresh(&self) -> Result<(), Error> {
        let records = self.records();
        for block in records.fresh.all() {
            records.fresh.take(block);
            records.begin(block, |bytes| bytes.fill(0))?;
        }
        Ok(())
    }
}

/// Writes everything, and waits until it is stable.
///
/// # Errors
/// If the caller was killed, or the records could not be written.
pub fn sync() -> Result<(), FileError> {
    glue::mm().sync_files()?;
    match mounted() {
        Some(mounted) => mounted.sync_records(&mut mounted.errors()),
        None => Ok(()),
    }
}

/// Unmounts the file system at the end of a run: everything is on the disk then, and `e2fsck` finds
/// nothing to do. Says what went wrong, and how many inodes are still in use.
pub fn unmount() {
    let Some(mounted) = mounted() else { return };
    let written = glue::mm().sync_files();
    let in_use = inodes::drop_all();
    if in_use > 0 {
        println!("ext2: {in_use} files are in use at the end");
    }
    let done = written.and_then(|()| {
        mounted.clear_fresh().map_err(|_| FileError::Io)?;
        mounted.sync_records(&mut mounted.errors())?;
        mounted.fs.unmount(&mounted.lock()).map_err(|_| FileError::Io)?;
        let records = mounted.records();
        glue::mm().sync_file(&records.file, 0..u32::MAX, &mut mounted.errors())?;
        disk::flush(records.device).map_err(|_| FileError::Io)
    });
    match done {
        Ok(()) => println!("ext2: unmounted"),
        Err(error) => println!("ext2: not unmounted cleanly: {error}"),
    }
}
