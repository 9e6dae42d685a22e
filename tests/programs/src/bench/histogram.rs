//! Durations, counted in classes whose width is at most 1/64 of their value.

use super::array::Array;

/// Classes an octave, and the values below which every value has a class of its own.
const FINE: u64 = 64;
const FINE_BITS: u32 = FINE.trailing_zeros();
/// Octaves above the finest; the last class is far beyond an hour in nanoseconds.
const OCTAVES: usize = 40;

/// How long something took, each time.
pub struct Histogram {
    classes: Array<u32>,
    /// Durations counted.
    pub count: u64,
    /// The sum of all durations.
    pub sum: u64,
    /// The longest.
    pub max: u64,
}

impl Histogram {
    /// An empty one, in locked memory: counting must not disturb what is measured.
    #[must_use]
    pub fn new() -> Self {
        Self { classes: Array::locked(FINE as usize * OCTAVES), count: 0, sum: 0, max: 0 }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.classes.fill(0);
        (self.count, self.sum, self.max) = (0, 0, 0);
    }

    /// Counts one duration.
    pub fn add(&mut self, duration: u64) {
        self.count += 1;
        self.sum += duration;
        self.max = self.max.max(duration);
        if let Some(class) = self.classes.get_mut(class_of(duration)) {
            *class += 1;
        }
    }

    /// The mean, rounded down; 0 without any.
    #[must_use]
    pub fn mean(&self) -> u64 {
        self.sum.checked_div(self.count).unwrap_or(0)
    }

    /// The least value of the class that the duration at rank `permille` of a thousand
    /// falls in; 0 without any.
    #[must_use]
    pub fn permille(&self, permille: u64) -> u64 {
        let rank = (self.count * permille).div_ceil(1000);
        let mut below = 0;
        let class = self.classes.iter().position(|&class| {
            below += u64::from(class);
            below >= rank
        });
        if self.count == 0 { 0 } else { class.map_or(self.max, value_of) }
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

fn class_of(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let octave = value.ilog2() - FINE_BITS;
    // The highest bit is the octave's; the bits after it select the class.
    ((u64::from(octave) + 1) * FINE + ((value >> octave) & (FINE - 1))) as usize
}

fn value_of(class: usize) -> u64 {
    let class = class as u64;
    if class < FINE {
        return class;
    }
    let octave = class / FINE - 1;
    (FINE + class % FINE) << octave
}
