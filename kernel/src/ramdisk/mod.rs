//! The disk in memory: swap (SWAP-06), and behind it the blocks of files.
//!
//! | file | what |
//! | --- | --- |
//! | [`knobs`] | delay, bandwidth, faults: pure, tested on the host |
//! | [`ring`] | the bounded queue of requests: pure, tested on the host |
//! | [`extents`] | which memory is which block: pure, tested on the host |
//! | `disk` | the device: memory, submission, the task that serves the queue |
//!
//! **Data.** A few ranges of RAM that the boot code carved out of memory, a queue, knobs, counters.
//! **Owner.** The device, permanently. **Lock.** One around the queue, a leaf; blocks need none,
//! since the crate never has two concurrent transfers of one block.
//!
//! **Two modes.** With no delay, limit or fault set, and not forced, the device is synchronous:
//! `submit` copies the page and returns the completion. Else the request is queued, and the
//! device's own task serves it later and passes the completion to a function that the boot code
//! sets, which is `Mm::complete`. A submitter that finds the queue full sleeps. While a task has
//! the device plugged, its requests stay in the queue without waking the device's task.

pub mod extents;
pub mod knobs;
pub mod ring;

#[cfg(target_os = "none")]
mod disk;

#[cfg(target_os = "none")]
pub use disk::{
    RamDisk, StartError, discard, disk, is_congested, is_synchronous, plug, read_now, send_off,
    serve, start, submit, transfer_part, unplug, write_now, zero,
};

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The statistics of a device.
#[derive(Debug, Default)]
pub struct Counters {
    /// Pages read.
    pub reads: AtomicU64,
    /// Pages written.
    pub writes: AtomicU64,
    /// Requests that failed on purpose.
    pub faults: AtomicU64,
    /// Blocks that the crate discarded.
    pub discards: AtomicU64,
    /// Requests that went through the queue.
    pub queued: AtomicU64,
    /// Submissions that had to wait for room.
    pub waits: AtomicU64,
}

impl Counters {
    /// All zero.
    pub const fn new() -> Self {
        Self {
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            discards: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            waits: AtomicU64::new(0),
        }
    }

    /// Adds to a counter. Losing a count to a race is harmless here: of two CPUs, or of a preempted
    /// task on one.
    #[inline(always)]
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "only the device counts"))]
    fn bump(counter: &AtomicU64, by: u64) {
        counter.store(counter.load(Relaxed) + by, Relaxed);
    }
}
