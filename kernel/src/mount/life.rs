//! Mounting, and unmounting.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

use ext2::layout::inode::time;
use ext2::layout::superblock::{self, Superblock};
use ext2::{Disk, Error, Ext2, MountError, Writer};
use mm_reclaim::env::{DeviceId, FrameMemory};
use mm_reclaim::file::FileKind;
use mm_reclaim::gfp::Gfp;
use mm_reclaim::units::{Order, PAGE_SIZE};
use mm_reclaim::{FileError, Seen, SleepGuard, SleepLock};
use spin::once::Once;

use super::bits::{Bits, words_for};
use super::records::Records;
use super::runs::Runs;
use super::store::Store;
use super::{Number, inodes};
use crate::arch::frames::{LinearFrames, frame_address};
use crate::arch::lock::{IrqLock, Yield};
use crate::disk::{self, SECTOR};
use crate::drivers::timer;
use crate::glue::{self, Scheduler};
use crate::println;

/// The file system.
pub type Fs = Ext2<&'static Records>;

/// A mounted file system.
pub struct Mounted {
    pub(super) fs: Fs,
    writer: SleepLock<Writer>,
    pub(super) runs: IrqLock<Runs>,
}

/// The device, from before there are records.
static DEVICE: AtomicU8 = AtomicU8::new(0);
static RECORDS: Once<Records, Yield> = Once::new();
static MOUNTED: Once<Mounted, Yield> = Once::new();

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
    if RECORDS.get().is_some() {
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
    DEVICE.store(device.0, Relaxed);
    glue::mount(&Store);
    let file = glue::mm().create_file(kind, size).map_err(|_| Refused::NoMemory)?;
    let epoch = superblock.time.saturating_add(1).saturating_sub(uptime());
    let records =
        RECORDS.call_once(|| Records { file, device, block_bits, blocks, dirty, fresh, epoch });
    let (fs, writer) =
        Ext2::mount(records, &superblock, disk::is_read_only(device)).map_err(Refused::Mount)?;
    Ok(Some(MOUNTED.call_once(|| Mounted {
        fs,
        writer: SleepLock::new(writer),
        runs: IrqLock::new(Runs::new()),
    })))
}

fn uptime() -> u32 {
    (timer::now().0 / 1_000_000_000) as u32
}

/// The device that is being mounted, or is.
pub(super) fn device() -> DeviceId {
    DeviceId(DEVICE.load(Relaxed))
}

/// The records of the file system that is being mounted, or is.
pub(super) fn records() -> Option<&'static Records> {
    RECORDS.get()
}

/// The file system, if there is one.
pub fn mounted() -> Option<&'static Mounted> {
    MOUNTED.get()
}

impl Mounted {
    /// The file system, for whoever looks. What looks at names holds the writer.
    pub fn fs(&self) -> &Fs {
        &self.fs
    }

    /// The right to change it. Whoever has it puts no reference to a file.
    pub fn lock(&self) -> SleepGuard<'_, Writer, Scheduler> {
        self.writer.lock(&Scheduler)
    }

    pub(super) fn records(&self) -> &'static Records {
        self.fs.disk()
    }

    /// What a call has said. The first damage that is met is told, and the superblock remembers it.
    pub fn check<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &done {
            self.note(*error);
        }
        done
    }

    pub(super) fn note(&self, error: Error) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if let Error::Corrupt { .. } = error
            && !TOLD.swap(true, Relaxed)
        {
            println!("ext2: {error}; e2fsck should look at it");
        }
    }

    /// Seconds since 1970, as far as anybody knows.
    pub fn now(&self) -> u32 {
        self.records().now()
    }

    /// The contents of an inode were changed now.
    ///
    /// # Errors
    /// If its block could not be read.
    pub fn touch(&self, number: u32) -> Result<(), Error> {
        let at = self.fs.locate(number)?;
        let _writer = self.lock();
        let mut inode = self.fs.load(at)?;
        (inode.times[time::MODIFY], inode.times[time::CHANGE]) = (self.now(), self.now());
        self.fs.store(at, &inode)
    }

    /// The caller has changed records, and holds nothing: it may have to pause, so that they are not
    /// changed faster than they are written.
    pub fn pace(&self) {
        glue::mm().balance_dirty_pages(&self.records().file);
    }

    /// An inode without a name ends, with its blocks.
    ///
    /// # Errors
    /// What went wrong first.
    pub fn end_if_unlinked(&self, number: u32) -> Result<(), Error> {
        let at = self.fs.locate(number)?;
        self.runs.lock().forget(number);
        loop {
            let mut writer = self.lock();
            if self.fs.load(at)?.links > 0 || self.fs.end_step(&mut writer, at)? {
                return Ok(());
            }
        }
    }

    /// What an opener knows of errors in writing the records.
    pub fn errors(&self) -> Seen {
        glue::mm().file_errors(&self.records().file)
    }

    /// Writes all records, and waits until everything that was written so far is stable; then reports
    /// an error that `since` has not reported.
    ///
    /// # Errors
    /// If the caller was killed, or something could not be written.
    pub fn sync_records(&self, since: &mut Seen) -> Result<(), FileError> {
        {
            let writer = self.lock();
            self.fs.sync(&writer).map_err(|_| FileError::Io)?;
        }
        glue::mm().sync_file(&self.records().file, 0..u32::MAX, since)?;
        disk::flush(self.records().device).map_err(|_| FileError::Io)
    }

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
