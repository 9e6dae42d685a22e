//! Limits and pauses by table, and writers, a device and the feedback in a closed loop.

use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::{
    BandwidthMeter, BaseRate, FIRST_BANDWIDTH, Feedback, INTERVAL, Limits, MAX_PAUSE, ONE,
    PaceView, pause,
};
use crate::base::units::Nanos;
use crate::tests::cases;

const LIMITS: Limits = Limits { background: 100_000, hard: 200_000 };
const VIEW: PaceView = PaceView { dirty: 190_000, limits: LIMITS, base: 800, dirtied: 32 };

/// DIRT-01: 10 and 20 per cent, and a background limit that stays below the hard one.
#[test]
fn limits_are_shares_of_the_dirtyable_pages() {
    for (dirtyable, background_ratio, ratio, background, hard) in [
        (1_000_000, 10, 20, 100_000, 200_000),
        (u32::MAX, 10, 20, 429_496_729, 858_993_459),
        (1000, 20, 20, 100, 200),
        (1000, 50, 20, 100, 200),
        (1000, 0, 20, 0, 200),
        (1000, 10, 0, 0, 0),
        (1000, 10, 255, 100, 1000),
        (3, 10, 20, 0, 0),
        (0, 10, 20, 0, 0),
    ] {
        let limits = Limits::of(dirtyable, background_ratio, ratio);
        assert_eq!(limits, Limits { background, hard }, "{dirtyable} {background_ratio} {ratio}");
    }
}

/// DIRT-02: the number at the module's head, and the points around it.
#[test]
fn writers_run_free_up_to_the_middle_and_pause_more_and_more_up_to_the_limit() {
    let millis =
        |dirty| pause(&PaceView { dirty, ..VIEW }).map(|pause| (pause.0 + 500_000) / 1_000_000);
    for (dirty, want) in [
        (0, None),
        (150_000, None),
        (150_001, Some(20)),
        (175_000, Some(40)),
        (180_000, Some(40)),
        (190_000, Some(51)),
        (197_000, Some(125)),
        (199_999, Some(200)),
        (200_000, Some(200)),
        (u32::MAX, Some(200)),
    ] {
        assert_eq!(millis(dirty), want, "{dirty}");
    }
}

/// DIRT-02: at the hard limit the pause is the longest, whatever the rate.
#[test]
fn pauses_are_in_proportion_and_have_a_maximum() {
    let at = |dirtied, base| pause(&PaceView { dirty: 175_000, dirtied, base, ..VIEW });
    assert_eq!(at(10, 1000), Some(Nanos::from_millis(10)));
    assert_eq!(at(20, 1000), Some(Nanos::from_millis(20)));
    assert_eq!(at(0, 1000), Some(Nanos::from_millis(1)));
    assert_eq!(at(201, 1000), Some(MAX_PAUSE));
    assert_eq!(at(1, 0), Some(MAX_PAUSE));
    let full = PaceView { dirty: 200_000, dirtied: 1, base: u32::MAX, ..VIEW };
    assert_eq!(pause(&full), Some(MAX_PAUSE));
}

/// DIRT-02: the position at the points that define it.
#[test]
fn the_position_is_two_at_free_run_one_at_the_setpoint_and_nothing_at_the_limit() {
    let position = [150_000, 162_500, 175_000, 187_500, 190_000, 200_000, 300_000]
        .map(|dirty| LIMITS.position(dirty));
    assert_eq!(position, [2048, 1152, 1024, 896, 804, 0, 0]);
}

/// DIRT-02: the step of the example at the module's head is an eighth of the way.
#[test]
fn the_base_rate_goes_an_eighth_of_the_way_to_a_fair_share() {
    let seen = Feedback { dirty: 175_000, limits: LIMITS, bandwidth: 1000, dirtied: 102_400 };
    let mut base = BaseRate::new();
    base.update(&seen);
    assert_eq!(base.get(), FIRST_BANDWIDTH - (FIRST_BANDWIDTH - 250u32).div_ceil(8));
    for dirty in [0, 150_000, 200_000] {
        let before = base;
        base.update(&Feedback { dirty, ..seen });
        assert_eq!(base, before, "{dirty}");
    }
}

/// DIRT-02: a base rate reaches its bounds, however it began.
#[test]
fn the_base_rate_is_at_least_one_page_and_at_most_the_bandwidth() {
    let mut base = BaseRate::new();
    let seen = Feedback { dirty: 199_999, limits: LIMITS, bandwidth: 1000, dirtied: u32::MAX };
    (0..200).for_each(|_| base.update(&seen));
    assert_eq!(base.get(), 1);
    (0..200).for_each(|_| base.update(&Feedback { dirtied: 0, ..seen }));
    assert_eq!(base.get(), 1000);
    let most = Feedback { dirty: 150_001, bandwidth: u32::MAX, dirtied: 0, ..seen };
    (0..200).for_each(|_| base.update(&most));
    assert_eq!(base.get(), u32::MAX);
}

/// DIRT-02: 100 MB/s before anything is measured; then the mean of the last 3 s.
#[test]
fn the_bandwidth_is_that_of_the_last_seconds() {
    let mut meter = BandwidthMeter::new(Nanos::from_millis(1000), 500);
    assert_eq!(meter.update(Nanos::from_millis(1199), 900), 25_600);
    // 400 pages in 0.2 s, and 25,600 pages per second in the 2.8 s before.
    assert_eq!(meter.update(Nanos::from_millis(1200), 900), (400 * 10 + 25_600 * 28) / 30);
    // A period without any update counts as a whole.
    assert_eq!(meter.update(Nanos::from_millis(7200), 12_900), 2000);
    meter.restart(Nanos::from_millis(90_000), 12_900);
    assert_eq!(meter.update(Nanos::from_millis(90_200), 13_300), 2000);
    // A device that writes nothing is slow if it was not idle.
    assert_eq!(meter.update(Nanos::from_millis(93_200), 13_300), 1);
    assert_eq!(meter.update(Nanos::from_millis(0), 0), 1);
    assert_eq!(meter.update(Nanos(u64::MAX), u64::MAX), 1);
}

/// Some writers and a device, in steps of a millisecond.
struct Loop {
    /// In milliseconds.
    now: u64,
    dirty: u32,
    /// What the device has written, in thousandths of a page.
    written: u64,
    dirtied: u64,
    /// When each writer goes on.
    ready: Vec<Nanos>,
    base: BaseRate,
    meter: BandwidthMeter,
    /// The most dirty pages, since the last reset.
    peak: u32,
}

const SMALL: Limits = Limits { background: 10_000, hard: 20_000 };
/// Pages that a writer dirties before it asks.
const CHUNK: u32 = 8;

impl Loop {
    fn new(writers: usize) -> Self {
        Self {
            now: 0,
            dirty: 0,
            written: 0,
            dirtied: 0,
            ready: vec![Nanos(0); writers],
            base: BaseRate::new(),
            meter: BandwidthMeter::new(Nanos(0), 0),
            peak: 0,
        }
    }

    /// What a writer does in the last millisecond: at most 1,000 pages.
    fn write(&mut self, writer: usize) {
        let (begin, end) = (Nanos::from_millis(self.now - 1), Nanos::from_millis(self.now));
        let mut ready = self.ready[writer].max(begin);
        let mut dirtied = 0;
        while self.dirty < SMALL.hard && ready < end && dirtied < 1000 {
            self.dirty += CHUNK;
            dirtied += CHUNK;
            let base = self.base.get();
            let view = PaceView { dirty: self.dirty, limits: SMALL, base, dirtied: CHUNK };
            ready = ready + pause(&view).unwrap_or_default();
        }
        self.ready[writer] = ready;
        self.dirtied += u64::from(dirtied);
    }

    fn step(&mut self, bandwidth: u32) {
        self.now += 1;
        (0..self.ready.len()).for_each(|writer| self.write(writer));
        self.peak = self.peak.max(self.dirty);
        let before = self.written / 1000;
        self.written += u64::from(bandwidth).min(u64::from(self.dirty) * 1000);
        self.dirty -= (self.written / 1000 - before) as u32;
        if self.now.is_multiple_of(INTERVAL.0 / 1_000_000) {
            let bandwidth = self.meter.update(Nanos::from_millis(self.now), self.written / 1000);
            let dirtied = (core::mem::take(&mut self.dirtied) * 5) as u32;
            let seen = Feedback { dirty: self.dirty, limits: SMALL, bandwidth, dirtied };
            self.base.update(&seen);
        }
    }

    fn run(&mut self, seconds: u32, bandwidth: u32) {
        self.peak = 0;
        (0..seconds * 1000).for_each(|_| self.step(bandwidth));
    }
}

/// DIRT-02: some writers and devices of several speeds settle between free run and limit, the
/// device always busy, and each writer with its share.
#[test]
#[cfg_attr(miri, ignore = "a minute of simulated time")]
fn writers_settle_at_the_bandwidth_of_the_device() {
    for (writers, bandwidth) in [(1, 2000), (4, 2000), (16, 2000), (1, 20_000), (4, 50_000)] {
        let mut machine = Loop::new(writers);
        machine.run(60, bandwidth);
        let written = machine.written;
        machine.run(60, bandwidth);
        assert!(machine.peak < SMALL.hard, "{writers} {bandwidth}: {}", machine.peak);
        assert!(machine.dirty > SMALL.free_run(), "{writers} {bandwidth}: {}", machine.dirty);
        assert_eq!(machine.written - written, 60_000 * u64::from(bandwidth), "it was idle");
        let share = bandwidth / writers as u32;
        let base = machine.base.get();
        assert!(base.abs_diff(share) <= share / 3, "{writers} {bandwidth}: {base} of {share}");
    }
}

/// DIRT-02: a device that becomes ten times slower or faster stays busy, and the limit is kept.
#[test]
#[cfg_attr(miri, ignore = "minutes of simulated time")]
fn a_change_of_the_device_is_followed() {
    let mut machine = Loop::new(4);
    for bandwidth in [20_000, 2000, 20_000] {
        machine.run(30, bandwidth);
        let written = machine.written;
        machine.run(30, bandwidth);
        assert!(machine.peak < SMALL.hard, "{bandwidth}: {}", machine.peak);
        assert_eq!(machine.written - written, 30_000 * u64::from(bandwidth), "it was idle");
    }
}

proptest! {
    #![proptest_config(cases(512))]

    /// DIRT-02: whatever the numbers, more dirty pages never make a pause shorter, and none is
    /// longer than the longest.
    #[test]
    fn pauses_never_shrink_with_more_dirty_pages(
        (dirtyable, background, ratio) in (any::<u32>(), any::<u8>(), any::<u8>()),
        (base, dirtied) in (any::<u32>(), any::<u32>()),
        mut dirty in prop::collection::vec(any::<u32>(), 2..20),
    ) {
        let limits = Limits::of(dirtyable, background, ratio);
        prop_assert!(limits.background < limits.hard || limits.hard <= 1);
        prop_assert!(limits.free_run() <= limits.hard);
        dirty.extend([limits.free_run(), limits.hard, limits.hard.saturating_sub(1)]);
        dirty.sort_unstable();
        let mut last = None;
        for dirty in dirty {
            let now = pause(&PaceView { dirty, limits, base, dirtied });
            prop_assert!(now >= last && now <= Some(MAX_PAUSE));
            prop_assert_eq!(now.is_none(), dirty <= limits.free_run());
            prop_assert!(limits.position(dirty) <= 2 * ONE as u64);
            last = now;
        }
    }

    /// DIRT-02: the feedback keeps a base rate within its bounds, whatever it sees.
    #[test]
    fn the_base_rate_stays_between_one_and_what_a_device_can_do(
        seen in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>()), 0..100),
    ) {
        let mut base = BaseRate::new();
        let mut fastest = FIRST_BANDWIDTH;
        for (dirty, bandwidth, dirtied) in seen {
            fastest = fastest.max(bandwidth);
            let dirty = LIMITS.free_run() + dirty % 50_000;
            base.update(&Feedback { dirty, limits: LIMITS, bandwidth, dirtied });
            prop_assert!((1..=fastest).contains(&base.get()));
        }
    }
}
