//! The flusher, and those who dirty pages faster than it writes them (DIRT-01, DIRT-02).
//!
//! The flusher is a task. It sleeps for five seconds at a time, or until it is called: by a writer
//! that finds more pages dirty than the background limit, or by reclaim that meets only dirty pages.
//! Each time it writes, file by file in the order in which they became dirty,
//!
//! 1. as many pages as reclaim scanned, whatever limits and ages say;
//! 2. more, until fewer are dirty than the background limit;
//! 3. the files that have been dirty for thirty seconds.
//!
//! A writer asks after each 32 pages that were dirtied on the machine whether it must pause, and for
//! how long ([`super::limits`]). It does not wait for a device that is gone.
//!
//! Data: for each device, what it was measured to write and what a writer may dirty ([`Pace`]), under
//! a lock of its own. Counterpart in Linux: `wb_workfn`, `balance_dirty_pages`.

use super::limits::{BandwidthMeter, BaseRate, Feedback, INTERVAL, Limits, PaceView, pause};
use super::writeback::SyncMode;
use super::{FileError, Filemap, Of};
use crate::base::lock_order::FILE_LIST;
use crate::base::sync::{AtomicU32, AtomicU64, Lock, Ordering};
use crate::base::units::Nanos;
use crate::base::wait::{FLUSHER_WAIT, nap};
use crate::env::{Clock, Env, FileStore, Tasks, WaitEnd, WaitMode};
use crate::file::dirty::{Device, MOST_DEVICES};
use crate::page::LruList;
use crate::zone::Mark;

/// How often the flusher looks (`dirty_writeback_centisecs`).
const EVERY: Nanos = Nanos::from_millis(5_000);
/// The age at which a dirty file is written (`dirty_expire_centisecs`).
const EXPIRED: Nanos = Nanos::from_millis(30_000);
/// Pages of one file that are written before it is the next one's turn.
const TURN: u32 = 1024;
/// Pages that are dirtied before a writer asks whether it must pause (`ratelimit_pages`).
const RATE_LIMIT: u32 = 32;

/// What is known of the writers of a device.
struct Pace {
    meter: BandwidthMeter,
    base: BaseRate,
    /// When the base rate was adapted last, and what had been dirtied by then.
    at: Nanos,
    dirtied: u64,
}

/// The state of the flusher and of the pacing.
pub(super) struct Flusher<E: Env> {
    paces: [Lock<E::Cpu, Pace, FILE_LIST>; MOST_DEVICES],
    /// Pages that were dirtied since a writer asked last.
    unasked: AtomicU32,
    /// The longest pause so far, in nanoseconds.
    longest_pause: AtomicU64,
    /// Percentages of the dirtyable pages: background and hard.
    ratios: [AtomicU32; 2],
}

/// The dirty pages of the machine, and their limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DirtyState {
    /// Pages of files that are dirty.
    pub dirty: u32,
    /// Pages of files that are being written.
    pub writeback: u32,
    /// Pages that could be dirty.
    pub dirtyable: u32,
    /// Above it the flusher writes.
    pub background: u32,
    /// Above it no page is dirtied.
    pub hard: u32,
    /// The longest that a writer was told to pause.
    pub longest_pause: Nanos,
}

impl<E: Env> Flusher<E> {
    pub(super) fn new() -> Self {
        let pace = |_| {
            Lock::new(Pace {
                meter: BandwidthMeter::new(Nanos(0), 0),
                base: BaseRate::new(),
                at: Nanos(0),
                dirtied: 0,
            })
        };
        Self {
            paces: core::array::from_fn(pace),
            unasked: AtomicU32::new(0),
            longest_pause: AtomicU64::new(0),
            ratios: [AtomicU32::new(10), AtomicU32::new(20)],
        }
    }
}

impl<'m, E: Env> Filemap<'m, E> {
    /// The body of the flusher task; its [`crate::env::TaskFlags`] is `KERNEL`.
    pub(crate) fn flusher(&self) -> ! {
        loop {
            let (mut word, mode) = (0, WaitMode { timeout: Some(EVERY), killable: false });
            let call = &self.files.dirty.call;
            let _: WaitEnd = self.env.tasks().wait_until(FLUSHER_WAIT, mode, &mut || {
                word = call.take();
                word != 0
            });
            self.end_gone_files();
            self.flush(word.saturating_sub(1));
        }
    }

    /// Writes `asked` pages, then what is above the background limit, then what is old.
    fn flush(&self, mut asked: u32) {
        while asked > 0 {
            let wrote = self.flush_turn(asked.min(TURN), |_| true);
            if wrote == 0 {
                break;
            }
            asked = asked.saturating_sub(wrote);
        }
        while self.is_over_background() && self.flush_turn(TURN, |_| true) > 0 {}
        let now = self.env.clock().now();
        let is_old = |when: u64| now.0.saturating_sub(when) >= EXPIRED.0;
        while self.flush_turn(TURN, is_old) > 0 {}
    }

    /// Writes pages of the file that has had its last turn longest ago, of those that are due since they
    /// became dirty; returns how many. If all that is due is being written, waits for one write.
    fn flush_turn(&self, most: u32, is_due: impl Fn(u64) -> bool) -> u32 {
        let (files, pool) = (&self.files.dirty.files, &self.files.pool);
        let (mut next, mut is_stuck) = (files.first(pool), false);
        while let Some(file) = next.take() {
            let due = is_due(file.dirtied_when.load(Ordering::Relaxed));
            next = files.after(pool, &file);
            let wrote = if due { self.flush_file(&file, most) } else { Some(0) };
            is_stuck |= wrote.is_none();
            self.put_file(file);
            if let Some(wrote @ 1..) = wrote {
                next.into_iter().for_each(|file| self.put_file(file));
                return wrote;
            }
        }
        if is_stuck {
            let _: WaitEnd = self.files.cache.writeback.wait();
        }
        0
    }

    /// Writes pages of a file; how many. It goes behind the others then. `None`, and it keeps its place, if
    /// it is dirty and nothing could be written: all of it is locked, or under write-back and dirty again.
    fn flush_file(&self, file: Of<'_, 'm, E>, most: u32) -> Option<u32> {
        let wrote = self.write_dirty(file, 0..u32::MAX, most, SyncMode::None).unwrap_or(0);
        self.env.tasks().yield_now();
        if wrote == 0 && file.nr_dirty.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if !self.files.take_turn(file) && wrote < most {
            // What is dirty now became so meanwhile.
            file.dirtied_when.store(self.env.clock().now().0, Ordering::Relaxed);
        }
        Some(wrote)
    }

    fn is_over_background(&self) -> bool {
        self.files.dirty.pages() > self.dirty_limits().background
    }

    // ---- limits ----

    /// Pages that could be dirty: free ones above the HIGH marks, and those of files.
    #[doc(alias = "global_dirtyable_memory")]
    fn dirtyable(&self) -> u32 {
        let free: u32 =
            self.zones.iter().map(|zone| zone.free().saturating_sub(zone.mark(Mark::High))).sum();
        let total = |list| self.lru.set.total(list);
        free + total(LruList::InactiveFile) + total(LruList::ActiveFile)
    }

    fn dirty_limits(&self) -> Limits {
        let [background, hard] =
            [0, 1].map(|i| self.flusher.ratios[i].load(Ordering::Relaxed) as u8);
        Limits::of(self.dirtyable(), background, hard)
    }

    /// Sets what percentage of the dirtyable pages may be dirty before the flusher writes, and before
    /// writers wait.
    pub(crate) fn set_dirty_ratios(&self, background: u8, hard: u8) {
        for (ratio, value) in self.flusher.ratios.iter().zip([background, hard]) {
            ratio.store(u32::from(value.min(100)), Ordering::Relaxed);
        }
    }

    /// The dirty pages, and their limits.
    pub(crate) fn dirty_state(&self) -> DirtyState {
        let limits = self.dirty_limits();
        DirtyState {
            dirty: self.files.dirty.pages(),
            writeback: self.files.dirty.under_writeback(),
            dirtyable: self.dirtyable(),
            background: limits.background,
            hard: limits.hard,
            longest_pause: Nanos(self.flusher.longest_pause.load(Ordering::Relaxed)),
        }
    }

    // ---- writers ----

    /// The caller has dirtied a page of the file, and holds no page: it may have to pause.
    #[doc(alias = "balance_dirty_pages_ratelimited")]
    pub(crate) fn balance_dirty_pages(&self, file: Of<'_, 'm, E>) {
        if file.is_shared_memory() {
            return;
        }
        let unasked = self.flusher.unasked.fetch_add(1, Ordering::Relaxed) + 1;
        if unasked >= RATE_LIMIT {
            self.flusher.unasked.store(0, Ordering::Relaxed);
            self.pace(file, unasked);
        }
    }

    fn pace(&self, file: Of<'_, 'm, E>, dirtied: u32) {
        loop {
            let view = self.look(file, dirtied);
            if view.dirty > view.limits.background {
                self.files.dirty.call_flusher(0);
            }
            let Some(time) = pause(&view) else { return };
            if self.env.files().is_gone(file.store()) {
                return;
            }
            self.flusher.longest_pause.fetch_max(time.0, Ordering::Relaxed);
            let end = nap(self.env.tasks(), time, true);
            if end == WaitEnd::Killed || view.dirty < view.limits.hard {
                return;
            }
        }
    }

    /// What the device of a file has to do, measured anew where it is time.
    fn look(&self, file: Of<'_, 'm, E>, dirtied: u32) -> PaceView {
        let dirty = self.files.dirty.pages() + self.files.dirty.under_writeback();
        let (limits, device) = (self.dirty_limits(), self.files.dirty.device(file));
        let mut pace = self.flusher.paces[file.device() % MOST_DEVICES].lock();
        pace.measure(self.env.clock().now(), device, dirty, limits);
        PaceView { dirty, limits, base: pace.base.get(), dirtied }
    }
}

impl Pace {
    fn measure(&mut self, now: Nanos, device: &Device, dirty: u32, limits: Limits) {
        if device.writeback() == 0 {
            self.meter.restart(now, device.written());
        }
        let bandwidth = self.meter.update(now, device.written());
        let elapsed = now.0.saturating_sub(self.at.0);
        if elapsed >= INTERVAL.0 {
            let pages = device.dirtied().saturating_sub(self.dirtied);
            let a_second = pages.saturating_mul(1_000_000_000) / elapsed;
            let dirtied = u32::try_from(a_second).unwrap_or(u32::MAX);
            self.base.update(&Feedback { dirty, limits, bandwidth, dirtied });
            (self.at, self.dirtied) = (now, device.dirtied());
        }
    }
}

impl<'m, E: Env> Filemap<'m, E> {
    /// Drops the clean pages of every file that nobody uses; returns how many (`drop_caches` = 1).
    #[doc(alias = "drop_pagecache_sb")]
    pub(crate) fn drop_page_cache(&self) -> u32 {
        let mut dropped = 0;
        let all: Result<(), FileError> = self.for_each_file(|file| {
            dropped += self.invalidate(file, 0..u32::MAX);
            Ok(())
        });
        debug_assert!(all.is_ok(), "dropping pages cannot fail");
        dropped
    }
}
