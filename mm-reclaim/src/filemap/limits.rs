//! How much may be dirty, and how long who dirties more has to pause (DIRT-01, DIRT-02). Pure.
//!
//! A program dirties pages far faster than a device writes them. Without a limit all memory would
//! be dirty, and reclaim would find no page that it can free. A limit alone would stop all writers
//! at once, for as long as the device takes. So writers are slowed down from a point below the
//! limit on, until all of them together dirty what the device writes:
//!
//! ```text
//!   1,000,000 dirtyable pages
//!   0 ... background 100,000 ... free run 150,000 ..... setpoint 175,000 ..... hard 200,000
//!         the flusher writes     no writer pauses       a rate of 1 × base     a rate of 0
//!                                up to here: 2 × base
//! ```
//!
//! Each writer may dirty *base* × *position* pages per second. The base rate is what each of `n`
//! writers would get of the device's bandwidth; the position corrects it, so that the dirty pages
//! stay near the setpoint, whatever the error in the base rate:
//!
//! ```text
//!                       ( setpoint - dirty )3
//!   position  =  1  +   ( ---------------- )       2 at free run, 1 at the setpoint, 0 at hard
//!                       ( hard - setpoint  )
//! ```
//!
//! The cube is flat around the setpoint, where small changes should change little, and steep at
//! the ends. It is computed in integers, in units of 1/1024, as `x·x/1024·x/1024` with the
//! fraction `x` between -1024 and 1024.
//!
//! A writer that dirtied 32 pages at 190,000, with a base rate of 800 pages per second, gets
//! x = -15,000 / 25,000 = -614/1024, a position of 804/1024, 628 pages per second, and a pause of
//! 51 ms. No pause is longer than 200 ms. Below the hard limit a writer goes on after its pause;
//! at the limit it asks again, until the device has written enough.
//!
//! # The base rate
//!
//! The number of writers is not known, but what they dirtied together is. If each was allowed
//! `rate` and all of them dirtied `dirtied` pages per second, there were `dirtied / rate` of them,
//! and each should have
//!
//! ```text
//!   balanced  =  bandwidth / (dirtied / rate)  =  rate × bandwidth / dirtied
//! ```
//!
//! which needs no true base rate to begin with. A base rate of 25,600 that lets 4 writers dirty
//! 102,400 pages per second, for a device that writes 1,000, is corrected to 250. It takes an eighth
//! of that step at a time, as each measurement is noisy.
//!
//! # The bandwidth
//!
//! Pages written per second, with the weight of the last 3 s. It is measured only while the device
//! has something to write: an idle device is not a slow one.
//!
//! Counterpart in Linux: `mm/page-writeback.c`. Source of the idea: Wu Fengguang, "IO-less dirty
//! throttling", 2011.

use crate::base::units::{Nanos, PAGE_SIZE};

/// The longest pause (Linux's `MAX_PAUSE`, a fifth of a second).
pub(crate) const MAX_PAUSE: Nanos = Nanos::from_millis(200);
/// How often bandwidth and base rate are adapted (Linux's `BANDWIDTH_INTERVAL`).
pub(crate) const INTERVAL: Nanos = Nanos::from_millis(200);
/// What a device is expected to write before it was measured: 100 MB/s (Linux's `INIT_BW`).
const FIRST_BANDWIDTH: u32 = (100 << 20) / PAGE_SIZE as u32;
/// The time that a measured bandwidth remembers.
const PERIOD_MICROS: u64 = 3_000_000;
/// 1 in fixed point (Linux's `RATELIMIT_CALC_SHIFT`).
const ONE: i64 = 1 << 10;

/// From how many dirty pages on what is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    /// Above it the flusher writes.
    pub background: u32,
    /// Above it no page is dirtied.
    pub hard: u32,
}

impl Limits {
    /// Percentages of the dirtyable pages, 10 and 20 unless the knobs say something else. A
    /// background limit that is not below the hard one is half of it.
    #[doc(alias = "domain_dirty_limits")]
    pub(crate) fn of(dirtyable: u32, background_ratio: u8, ratio: u8) -> Self {
        let share = |percent: u8| (u64::from(dirtyable) * u64::from(percent.min(100)) / 100) as u32;
        let (background, hard) = (share(background_ratio), share(ratio));
        Self { background: if background < hard { background } else { hard / 2 }, hard }
    }

    /// Up to here no writer pauses.
    #[doc(alias = "dirty_freerun_ceiling")]
    pub(crate) fn free_run(&self) -> u32 {
        self.background.midpoint(self.hard)
    }

    /// The factor for the base rate in units of 1/1024, from 2 down to 0.
    #[doc(alias = "pos_ratio_polynom")]
    fn position(&self, dirty: u32) -> u64 {
        let (free_run, hard) = (i64::from(self.free_run()), i64::from(self.hard));
        let setpoint = i64::midpoint(free_run, hard);
        let x = (setpoint - i64::from(dirty)) * ONE / (hard - setpoint).max(1);
        let x = x.clamp(-ONE, ONE);
        (ONE + x * x / ONE * x / ONE) as u64
    }

    /// Pages per second that a writer may dirty.
    fn rate(&self, dirty: u32, base: u32) -> u64 {
        u64::from(base) * self.position(dirty) / ONE as u64
    }
}

/// The input of [`pause`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PaceView {
    /// Pages that are dirty or under write-back.
    pub dirty: u32,
    /// The limits of that.
    pub limits: Limits,
    /// The [`BaseRate`], in pages per second.
    pub base: u32,
    /// Pages that the task dirtied since its last pause; none counts as one.
    pub dirtied: u32,
}

/// How long a task pauses that dirtied pages; `None` if it need not.
#[doc(alias = "balance_dirty_pages")]
pub(crate) fn pause(view: &PaceView) -> Option<Nanos> {
    if view.dirty <= view.limits.free_run() {
        return None;
    }
    if view.dirty >= view.limits.hard {
        return Some(MAX_PAUSE);
    }
    let time = u64::from(view.dirtied.max(1)) * 1_000_000_000;
    let pause = time.checked_div(view.limits.rate(view.dirty, view.base));
    Some(pause.map_or(MAX_PAUSE, Nanos).min(MAX_PAUSE))
}

/// What the writers of a device did for an [`INTERVAL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Feedback {
    /// Pages that are dirty or under write-back.
    pub dirty: u32,
    /// The limits of that.
    pub limits: Limits,
    /// Pages per second that the device writes.
    pub bandwidth: u32,
    /// Pages per second that all tasks dirtied.
    pub dirtied: u32,
}

/// Pages per second that each task may dirty while the dirty pages are at the setpoint.
#[doc(alias = "dirty_ratelimit")]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BaseRate(u32);

impl BaseRate {
    /// One task has the bandwidth to itself.
    pub(crate) const fn new() -> Self {
        Self(FIRST_BANDWIDTH)
    }

    /// Pages per second.
    pub(crate) fn get(self) -> u32 {
        self.0
    }

    /// Takes one step towards the balanced rate. While writers run free, or wait at the hard limit,
    /// what they dirty is not what they were allowed: nothing is learnt.
    #[doc(alias = "wb_update_dirty_ratelimit")]
    pub(crate) fn update(&mut self, seen: &Feedback) {
        if seen.dirty <= seen.limits.free_run() || seen.dirty >= seen.limits.hard {
            return;
        }
        // With 1 more, a rate that was rounded down to 0 can rise again.
        let rate = seen.limits.rate(seen.dirty, self.0) + 1;
        let bandwidth = u64::from(seen.bandwidth.max(1));
        let balanced = rate.saturating_mul(bandwidth) / u64::from(seen.dirtied.max(1));
        let balanced = balanced.clamp(1, bandwidth) as u32;
        let step = balanced.abs_diff(self.0).div_ceil(8);
        self.0 = if balanced > self.0 { self.0 + step } else { self.0 - step };
    }
}

/// The measured bandwidth of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BandwidthMeter {
    /// Pages per second.
    rate: u32,
    /// The last measurement: when, and what had been written by then.
    at: Nanos,
    written: u64,
}

impl BandwidthMeter {
    /// A device that has written `written` pages in all.
    pub(crate) const fn new(now: Nanos, written: u64) -> Self {
        Self { rate: FIRST_BANDWIDTH, at: now, written }
    }

    /// A device that was idle begins to write: the time before does not count.
    pub(crate) fn restart(&mut self, now: Nanos, written: u64) {
        *self = Self { at: now, written, ..*self };
    }

    /// Pages per second, at least 1, for a device that has written `written` pages in all. It
    /// changes once in an [`INTERVAL`].
    #[doc(alias = "wb_update_bandwidth")]
    pub(crate) fn update(&mut self, now: Nanos, written: u64) -> u32 {
        let elapsed = now.0.saturating_sub(self.at.0);
        if elapsed >= INTERVAL.0 {
            let pages = written.saturating_sub(self.written);
            self.rate = weighted(self.rate, pages, elapsed / 1000);
            self.restart(now, written);
        }
        self.rate
    }
}

/// The mean of `old` pages per second and of `pages` in the last `micros`, by their shares in the
/// period.
fn weighted(old: u32, pages: u64, micros: u64) -> u32 {
    let remembered = u64::from(old) * PERIOD_MICROS.saturating_sub(micros);
    let sum = pages.min(u32::MAX.into()) * 1_000_000 + remembered;
    u32::try_from(sum / micros.max(PERIOD_MICROS)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests;
