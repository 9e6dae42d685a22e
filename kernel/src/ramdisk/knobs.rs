//! Configurable misbehaviour of a RAM disk: delay, low bandwidth, faults.
//!
//! **Data.** A few numbers, set at boot or while it runs. **Owner.** The device. **Lock.**
//! None: each number is an atomic of its own, and [`Knobs::direct`] is derived from the
//! others whenever one of them is set.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use mm_reclaim::block::Direction;
use mm_reclaim::units::{Nanos, PAGE_SIZE};

/// The knobs of one device. A value of 0 means off.
#[derive(Debug)]
pub struct Knobs {
    direct: AtomicBool,
    queue: AtomicBool,
    delay_us: AtomicU32,
    kib_per_second: AtomicU32,
    fail_read: Fault,
    fail_write: Fault,
}

/// Requests of a direction fail: every n-th, or one in n at random.
#[derive(Debug)]
struct Fault {
    every: AtomicU32,
    random: AtomicBool,
    count: AtomicU32,
}

impl Fault {
    const fn new() -> Self {
        Self { every: AtomicU32::new(0), random: AtomicBool::new(false), count: AtomicU32::new(0) }
    }

    fn set(&self, every: u32, random: bool) {
        self.count.store(0, Relaxed);
        self.random.store(random, Relaxed);
        self.every.store(every, Relaxed);
    }

    fn is_due(&self) -> bool {
        let every = self.every.load(Relaxed);
        if every == 0 {
            return false;
        }
        let count = self.count.fetch_add(1, Relaxed) + 1;
        let number = if self.random.load(Relaxed) { scattered(count) } else { count };
        number.is_multiple_of(every)
    }
}

/// A bijective scrambling of numbers, so that there is no pattern that a workload could match (the
/// finalizer of MurmurHash3).
const fn scattered(count: u32) -> u32 {
    let mut x = count;
    x = (x ^ (x >> 16)).wrapping_mul(0x85eb_ca6b);
    x = (x ^ (x >> 13)).wrapping_mul(0xc2b2_ae35);
    x ^ (x >> 16)
}

impl Knobs {
    /// A fast, faultless, synchronous device.
    pub const fn new() -> Self {
        Self {
            direct: AtomicBool::new(true),
            queue: AtomicBool::new(false),
            delay_us: AtomicU32::new(0),
            kib_per_second: AtomicU32::new(0),
            fail_read: Fault::new(),
            fail_write: Fault::new(),
        }
    }

    /// Whether the device completes requests inline.
    #[inline(always)]
    pub fn direct(&self) -> bool {
        self.direct.load(Relaxed)
    }

    /// Sets whether every request goes through the queue.
    pub fn set_queue(&self, on: bool) {
        self.queue.store(on, Relaxed);
        self.derive();
    }

    /// Sets the least time that a request takes.
    pub fn set_delay_us(&self, delay: u32) {
        self.delay_us.store(delay, Relaxed);
        self.derive();
    }

    /// Limits the KiB transferred per second.
    pub fn set_bandwidth(&self, kib_per_second: u32) {
        self.kib_per_second.store(kib_per_second, Relaxed);
        self.derive();
    }

    /// Makes every `every`-th request of the direction fail, counted from now on.
    pub fn set_fault(&self, direction: Direction, every: u32) {
        self.fault(direction).set(every, false);
        self.derive();
    }

    /// Makes one in `n` requests of the direction fail, without a pattern; the same ones each time.
    pub fn set_random_fault(&self, direction: Direction, n: u32) {
        self.fault(direction).set(n, true);
        self.derive();
    }

    fn fault(&self, direction: Direction) -> &Fault {
        match direction {
            Direction::Read => &self.fail_read,
            Direction::Write => &self.fail_write,
        }
    }

    fn derive(&self) {
        let slow = self.delay_us.load(Relaxed) != 0 || self.kib_per_second.load(Relaxed) != 0;
        let failing =
            self.fail_read.every.load(Relaxed) != 0 || self.fail_write.every.load(Relaxed) != 0;
        self.direct.store(!(self.queue.load(Relaxed) || slow || failing), Relaxed);
    }

    /// Counts a request of the direction; returns whether it must fail.
    pub fn fails(&self, direction: Direction) -> bool {
        self.fault(direction).is_due()
    }

    /// The time for a page.
    pub fn time_of_page(&self) -> Nanos {
        let delay = u64::from(self.delay_us.load(Relaxed)) * 1000;
        let transfer = match u64::from(self.kib_per_second.load(Relaxed)) {
            0 => 0,
            rate => (PAGE_SIZE as u64 / 1024) * 1_000_000_000 / rate,
        };
        Nanos(delay + transfer)
    }
}

impl Default for Knobs {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SWAP-06: the device is synchronous only with no delay, limit or fault set and not
    /// forced into its queue, and is so again when they are reset.
    #[test]
    fn any_knob_makes_the_device_asynchronous() {
        type Turn = fn(&Knobs, bool);
        let turns: [Turn; 5] = [
            |k, on| k.set_queue(on),
            |k, on| k.set_delay_us(u32::from(on)),
            |k, on| k.set_bandwidth(u32::from(on)),
            |k, on| k.set_fault(Direction::Read, u32::from(on)),
            |k, on| k.set_fault(Direction::Write, u32::from(on)),
        ];
        let knobs = Knobs::new();
        for turn in turns {
            assert!(knobs.direct());
            turn(&knobs, true);
            assert!(!knobs.direct());
            turn(&knobs, false);
        }
        assert!(knobs.direct());
    }

    /// SWAP-07: exactly every n-th request of the direction fails, and none of the other.
    #[test]
    fn every_nth_request_fails() {
        let knobs = Knobs::new();
        knobs.set_fault(Direction::Write, 3);
        for n in 1..=9 {
            assert_eq!(knobs.fails(Direction::Write), n % 3 == 0, "request {n}");
            assert!(!knobs.fails(Direction::Read));
        }
    }

    /// SWAP-07: one in n fails, at irregular distances, and the same ones again.
    #[test]
    fn one_in_n_fails_at_random() {
        let failing = || {
            let knobs = Knobs::new();
            knobs.set_random_fault(Direction::Read, 10);
            (0..10_000).filter(|_| knobs.fails(Direction::Read)).collect::<Vec<u32>>()
        };
        let first = failing();
        assert!((900..1100).contains(&first.len()), "{}", first.len());
        let distances: std::collections::BTreeSet<u32> =
            first.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(distances.len() > 20, "{distances:?}");
        assert_eq!(first, failing());
    }

    /// SWAP-06: delay and transfer time add up.
    #[test]
    fn a_slow_narrow_device_takes_both_times() {
        let knobs = Knobs::new();
        knobs.set_delay_us(50);
        knobs.set_bandwidth(4000);
        assert_eq!(knobs.time_of_page(), Nanos(50_000 + 1_000_000));
    }
}
