//! Pages under write-back, and the tasks that wait for the devices.
//!
//! Data: the number of base pages being written, of writes that have ended in total, and of tasks
//! that sleep for the next end. Locks: none. A sleeper counts itself before its last test; an end
//! counts itself before it reads the number of sleepers: one of the two sees the other.
//!
//! Counterpart in Linux: `congestion_wait`, `NR_WRITEBACK`.

use crate::base::sync::{AtomicU32, Ordering};
use crate::base::units::Nanos;
use crate::base::wait::WRITEBACK_WAIT;
use crate::env::{Env, Tasks, WaitEnd, WaitMode};

/// The longest wait.
const LIMIT: Nanos = Nanos::from_millis(100);

/// The state of the writes to all devices.
pub(crate) struct Writeback<E: Env> {
    env: E,
    /// Base pages under write-back.
    pages: AtomicU32,
    /// Total writes completed.
    done: AtomicU32,
    /// Tasks that wait for a write to complete.
    stalled: AtomicU32,
    /// Ends of transfers that are being processed.
    ending: AtomicU32,
}

impl<E: Env> Writeback<E> {
    pub(crate) fn new(env: E) -> Self {
        let none = || AtomicU32::new(0);
        Self { env, pages: none(), done: none(), stalled: none(), ending: none() }
    }

    /// Base pages under write-back.
    pub(crate) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }

    /// Processes the end of a transfer, by `end`, and counts it while that runs.
    pub(crate) fn while_ending(&self, end: impl FnOnce()) {
        self.ending.fetch_add(1, Ordering::Relaxed);
        end();
        self.ending.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the end of a transfer is being processed.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed) != 0
    }

    /// Counts base pages whose write was submitted.
    #[inline(always)]
    pub(crate) fn begin(&self, pages: u32) {
        self.pages.fetch_add(pages, Ordering::Relaxed);
    }

    /// Counts a completed write of `pages` base pages and wakes the tasks that wait for the
    /// devices.
    #[inline]
    pub(crate) fn end(&self, pages: u32) {
        self.pages.fetch_sub(pages, Ordering::Relaxed);
        // SeqCst: either the sleeper's count is seen here, or the sleeper, which counts
        // itself first, sees this completion in its own test.
        self.done.fetch_add(1, Ordering::SeqCst);
        if self.stalled.load(Ordering::SeqCst) != 0 {
            self.env.tasks().wake(WRITEBACK_WAIT);
        }
    }

    /// Sleeps until a write has completed, 100 ms at most.
    #[doc(alias = "congestion_wait")]
    pub(crate) fn wait(&self) -> WaitEnd {
        let before = self.done.load(Ordering::SeqCst);
        self.stalled.fetch_add(1, Ordering::SeqCst);
        let mode = WaitMode { timeout: Some(LIMIT), killable: true };
        let end = self
            .env
            .tasks()
            .wait_until(WRITEBACK_WAIT, mode, &mut || self.done.load(Ordering::SeqCst) != before);
        self.stalled.fetch_sub(1, Ordering::SeqCst);
        end
    }
}
