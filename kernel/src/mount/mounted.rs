//! The file system that is mounted: what looks at it, what changes it, and how its records become
//! stable.

use core::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use ext2::layout::inode::time;
use ext2::{Disk, Error, Ext2, Writer};
use mm_reclaim::env::DeviceId;
use mm_reclaim::{FileError, Seen, SleepGuard, SleepLock};
use spin::once::Once;

use super::records::Records;
use super::runs::Runs;
use crate::arch::lock::{IrqLock, Yield};
use crate::disk;
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
/// Damage was found.
static DAMAGED: AtomicBool = AtomicBool::new(false);

/// A device is being mounted: the store is asked for it before there are records.
pub(super) fn begin(device: DeviceId) {
    DEVICE.store(device.0, Relaxed);
}

/// The records are there, and can be read.
pub(super) fn begin_records(records: Records) -> &'static Records {
    RECORDS.call_once(|| records)
}

/// The file system is mounted.
pub(super) fn finish(fs: Fs, writer: Writer) -> &'static Mounted {
    let runs = IrqLock::new(Runs::new());
    MOUNTED.call_once(|| Mounted { fs, writer: SleepLock::new(writer), runs })
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

/// A call has failed. The first damage that is met is told, and the superblock remembers it.
pub fn note(error: Error) {
    if let Error::Corrupt { .. } = error
        && !DAMAGED.swap(true, Relaxed)
    {
        println!("ext2: {error}; e2fsck should look at it");
    }
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

    /// What a call has said; damage is noted ([`note`]).
    pub fn check<T>(&self, done: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &done {
            note(*error);
        }
        done
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
            let mut writer = self.lock();
            if DAMAGED.load(Relaxed) {
                writer.note_damage();
            }
            self.fs.sync(&writer).map_err(|_| FileError::Io)?;
        }
        glue::mm().sync_file(&self.records().file, 0..u32::MAX, since)?;
        disk::flush(self.records().device).map_err(|_| FileError::Io)
    }
}
