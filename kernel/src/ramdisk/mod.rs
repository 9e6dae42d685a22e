//! The swap device in memory (SWAP-06).
//!
//! | file | what |
//! | --- | --- |
//! | [`knobs`] | delay, bandwidth, faults: pure, tested on the host |
//! | [`ring`] | the bounded queue of requests: pure, tested on the host |
//! | [`extents`] | which memory is which block: pure, tested on the host |
//! | `disk` | the device: memory, submission, the task that serves the queue |
//!
//! **Data.** A few ranges of RAM that boot carved out of the zones, a queue, knobs, counters.
//! **Owner.** The device, for ever. **Lock.** One around the queue, a leaf; blocks
//! need none, since the crate never has two transfers of one block under way.
//!
//! **Two ways.** With no delay, limit or fault set, and not forced, the device is
//! synchronous: `submit` copies the page and returns the completion. Else the request is
//! queued, and a task of the device's own serves it later and hands the completion to whom
//! the boot names, which is `Mm::complete`. A submitter who finds the queue full sleeps. While a task has the device
//! plugged, its requests lie in the queue without waking that task.

pub mod extents;
pub mod knobs;
pub mod ring;

#[cfg(target_os = "none")]
mod disk;

#[cfg(target_os = "none")]
pub use disk::{
    RamDisk, StartError, discard, disk, is_congested, is_synchronous, plug, send_off, serve, start,
    submit, unplug,
};

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What a device has done.
#[derive(Debug, Default)]
pub struct Counters {
    /// Pages read.
    pub reads: AtomicU64,
    /// Pages written.
    pub writes: AtomicU64,
    /// Requests that were failed on purpose.
    pub faults: AtomicU64,
    /// Blocks that the crate gave up.
    pub discards: AtomicU64,
    /// Requests that went through the queue.
    pub queued: AtomicU64,
    /// Submissions that had to wait for room.
    pub waits: AtomicU64,
}

impl Counters {
    /// Nothing was done yet.
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

    /// One more, or several. Losing a count to a race of two CPUs is harmless here; on one
    /// CPU a preempted increment could be lost too, and is.
    #[inline(always)]
    #[cfg_attr(not(target_os = "none"), allow(dead_code, reason = "only the device counts"))]
    fn bump(counter: &AtomicU64, by: u64) {
        counter.store(counter.load(Relaxed) + by, Relaxed);
    }
}
