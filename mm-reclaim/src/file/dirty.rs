//! Dirty pages, counted; and the calls to the task that writes them (DIRT-01).
//!
//! Data: how many pages are dirty and under write-back in all and for each device, how many writes
//! have ended, the files that have dirty pages in the order in which they became dirty, and what the
//! flusher was called for. A file's own counts are in the file.
//!
//! Locks: the counts have none, and are exact whenever no index is locked. The list has its own.

use super::File;
use super::list::FileList;
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::base::wait::{CallWord, FLUSHER_WAIT};
use crate::env::{Env, Tasks};

/// Devices that are told apart: files of the others are counted with the last.
pub(crate) const MOST_DEVICES: usize = 8;

/// The counts of a device.
pub(crate) struct Device {
    dirty: AtomicU32,
    writeback: AtomicU32,
    /// Pages that were dirtied, and writes that have ended, since the boot.
    dirtied: AtomicU64,
    written: AtomicU64,
}

/// The dirty pages of the machine.
pub(crate) struct DirtyFiles<E: Env> {
    env: E,
    pub(crate) files: FileList<E::Cpu>,
    devices: [Device; MOST_DEVICES],
    /// Pages that reclaim found dirty and wants written, plus 1 once the flusher was called at all.
    pub(crate) call: CallWord,
}

impl<E: Env> DirtyFiles<E> {
    pub(crate) fn new(env: E) -> Self {
        let zero = || AtomicU32::new(0);
        let none = || AtomicU64::new(0);
        let device =
            |_| Device { dirty: zero(), writeback: zero(), dirtied: none(), written: none() };
        Self {
            env,
            files: FileList::new(|file| &file.dirty),
            devices: core::array::from_fn(device),
            call: CallWord::new(),
        }
    }

    /// The counts of a file's device.
    #[inline(always)]
    pub(crate) fn device(&self, file: &File<E::Cpu>) -> &Device {
        &self.devices[file.device() % MOST_DEVICES]
    }

    /// Dirty pages in all.
    #[doc(alias = "NR_FILE_DIRTY")]
    pub(crate) fn pages(&self) -> u32 {
        self.devices.iter().map(Device::dirty).sum()
    }

    /// Pages of files that were dirtied, and that were written, since the boot.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        let sum = |of: fn(&Device) -> u64| self.devices.iter().map(of).sum();
        (sum(Device::dirtied), sum(Device::written))
    }

    /// Pages of files under write-back in all.
    pub(crate) fn under_writeback(&self) -> u32 {
        self.devices.iter().map(Device::writeback).sum()
    }

    /// Calls the flusher; it writes at least `pages` pages, whatever the limits say.
    #[doc(alias = "wakeup_flusher_threads")]
    pub(crate) fn call_flusher(&self, pages: u32) {
        let join = |word: u32| word.max(1).saturating_add(pages);
        if self.call.raise(join) {
            self.env.tasks().wake(FLUSHER_WAIT);
        }
    }
}

impl Device {
    /// Pages dirty.
    pub(crate) fn dirty(&self) -> u32 {
        self.dirty.load(Ordering::Relaxed)
    }

    /// Pages being written.
    pub(crate) fn writeback(&self) -> u32 {
        self.writeback.load(Ordering::Relaxed)
    }

    /// Pages that were dirtied since the boot.
    pub(crate) fn dirtied(&self) -> u64 {
        self.dirtied.load(Ordering::Relaxed)
    }

    /// Writes that have ended since the boot.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn note_dirtied(&self) {
        self.dirtied.fetch_add(1, Ordering::Relaxed);
        self.dirty.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_clean(&self) {
        self.dirty.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn note_write_begun(&self) {
        self.writeback.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_write_ended(&self) {
        self.written.fetch_add(1, Ordering::Relaxed);
        self.writeback.fetch_sub(1, Ordering::Relaxed);
    }
}
