//! The workloads, as traces of accesses that are the same on every machine.

use splitmix::SplitMix64;

use super::array::Array;
use super::double::{exp, ln};

/// The number of free frames for which [`Workload::known_hash`] knows the trace.
pub const TARGET: usize = 16384;
/// Accesses of the skewed part of [`Workload::Zipf`].
const DRAWS: usize = 1_000_000;
/// The skew: the page of rank i is drawn with weight i^-0.99.
const SKEW: f64 = 0.99;
/// Draws of a hundred that write.
const WRITES: u32 = 30;

/// Accesses to memory in use before each to memory that is read once.
const HOT: usize = 15;

/// The workloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// First touches without pressure, then the same pages again, which costs no fault.
    Touch,
    /// First touches until far beyond memory.
    SwapOut,
    /// All pages are paged out, then read in order.
    SwapIn,
    /// All pages are paged out, then read in a random order.
    SwapInRandom,
    /// Twice the memory is read in a circle: the worst case of least recently used.
    SeqCycle,
    /// One and a half times the memory, used with a skew.
    Zipf,
    /// Half the memory is in use while twice the memory is read once, in order. Not measured on
    /// Linux.
    HotCold,
}

/// The order in which a segment takes the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Order {
    /// Each page for the first time, from this page on.
    Fill(usize),
    /// In order, from the first again after the last.
    Circle,
    /// Each once, shuffled.
    Shuffled,
    /// By rank, with a skew; some accesses write.
    Skewed,
    /// Each page below this one in order, and before each one some of the others.
    HotCold(usize),
}

/// A part of a workload that is reported on its own.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Its name.
    pub name: &'static str,
    /// Its number of accesses.
    pub count: usize,
    /// Whether all pages are paged out (`MADV_PAGEOUT`) before it.
    pub after_page_out: bool,
    order: Order,
}

impl Segment {
    const fn new(name: &'static str, order: Order, count: usize) -> Self {
        Self { name, count, after_page_out: false, order }
    }

    const fn after_page_out(self) -> Self {
        Self { after_page_out: true, ..self }
    }
}

impl Workload {
    /// Every workload, with its name.
    pub const ALL: [(&'static str, Self); 7] = [
        ("touch", Self::Touch),
        ("swapout", Self::SwapOut),
        ("swapin", Self::SwapIn),
        ("swapinrnd", Self::SwapInRandom),
        ("seqcycle", Self::SeqCycle),
        ("zipf", Self::Zipf),
        ("hotcold", Self::HotCold),
    ];

    /// The hash over the trace for [`TARGET`] frames, from the program for Linux if that has it.
    #[must_use]
    pub fn known_hash(self) -> u64 {
        match self {
            Self::Touch | Self::SwapIn => 7_819_041_723_068_129_280,
            Self::SwapOut => 6_594_286_564_114_083_840,
            Self::SwapInRandom => 10_673_081_864_065_213_166,
            Self::SeqCycle => 1_575_400_413_798_662_144,
            Self::Zipf => 14_806_215_457_318_744_666,
            Self::HotCold => 1_204_037_869_570_666_842,
        }
    }

    /// Pages that it uses where `target` frames are free.
    #[must_use]
    pub fn pages(self, target: usize) -> usize {
        match self {
            Self::Touch | Self::SwapIn | Self::SwapInRandom => target / 2,
            Self::SwapOut | Self::Zipf => target + target / 2,
            Self::SeqCycle => 2 * target,
            Self::HotCold => 2 * target + target / 2,
        }
    }

    /// Its segments; one of no accesses stands for none.
    fn segments(self, target: usize) -> [Segment; 3] {
        let pages = self.pages(target);
        let fill = Segment::new("fill", Order::Fill(0), pages);
        let none = Segment::new("", Order::Circle, 0);
        match self {
            Self::Touch => [
                Segment { name: "touch", ..fill },
                Segment::new("rehit", Order::Circle, pages),
                none,
            ],
            Self::SwapOut => {
                let edge = target * 3 / 4;
                [
                    Segment::new("upto", Order::Fill(0), edge),
                    Segment::new("edge", Order::Fill(edge), target - edge),
                    Segment::new("beyond", Order::Fill(target), pages - target),
                ]
            }
            Self::SwapIn => {
                [fill, Segment::new("read", Order::Circle, pages).after_page_out(), none]
            }
            Self::SwapInRandom => {
                [fill, Segment::new("read", Order::Shuffled, pages).after_page_out(), none]
            }
            Self::SeqCycle => [fill, Segment::new("read3", Order::Circle, 3 * pages), none],
            Self::Zipf => [fill, Segment::new("run", Order::Skewed, DRAWS), none],
            Self::HotCold => {
                let cold = 2 * target;
                [fill, Segment::new("run", Order::HotCold(cold), cold * (1 + HOT)), none]
            }
        }
    }
}

/// One access: a page, and what is done to it.
#[derive(Clone, Copy, Debug)]
pub struct Step(u32);

impl Step {
    const FILL: u32 = 1 << 31;
    const WRITE: u32 = 1 << 30;

    /// The page, counted from the first of the workload.
    #[inline]
    #[must_use]
    pub fn page(self) -> u32 {
        self.0 & !(Self::FILL | Self::WRITE)
    }

    /// Whether it is the first access to the page ever.
    #[inline]
    #[must_use]
    pub fn fills(self) -> bool {
        self.0 & Self::FILL != 0
    }

    /// Whether it writes.
    #[inline]
    #[must_use]
    pub fn writes(self) -> bool {
        self.0 & Self::WRITE != 0
    }
}

/// All accesses of a workload.
pub struct Trace {
    steps: Array<u32>,
    segments: [Segment; 3],
    pages: usize,
}

impl Trace {
    /// The trace for `target` free frames, in locked memory.
    #[must_use]
    pub fn new(workload: Workload, target: usize) -> Self {
        let pages = workload.pages(target);
        let segments = workload.segments(target);
        let steps = Array::locked(segments.iter().map(|segment| segment.count).sum());
        let mut trace = Self { steps, segments, pages };
        let mut random = Random(SplitMix64::new(0x5eed * 1_000_003 + pages as u64));
        let mut rest = &mut trace.steps[..];
        for segment in segments {
            let (steps, after) = rest.split_at_mut(segment.count);
            match segment.order {
                Order::Fill(first) => {
                    fill_with(steps, |i| (first + i) as u32 | Step::FILL | Step::WRITE);
                }
                Order::Circle => fill_with(steps, |i| (i % pages) as u32),
                Order::Shuffled => shuffle(steps, &mut random),
                Order::Skewed => skewed(steps, pages, &mut random),
                Order::HotCold(cold) => fill_with(steps, |i| match i % (1 + HOT) {
                    HOT => (i / (1 + HOT)) as u32,
                    _ => cold as u32 + random.below((pages - cold) as u32),
                }),
            }
            rest = after;
        }
        trace
    }

    /// The number of pages that are used.
    #[must_use]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The hash that shows whether this is the intended trace.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.steps
            .iter()
            .fold(0, |hash: u64, &step| hash.wrapping_mul(1_000_003).wrapping_add(u64::from(step)))
    }

    /// Every segment with its accesses.
    pub fn segments(&self) -> impl Iterator<Item = (Segment, impl Iterator<Item = Step>)> {
        let mut start = 0;
        self.segments.iter().filter(|segment| segment.count > 0).map(move |&segment| {
            let steps = &self.steps[start..][..segment.count];
            start += segment.count;
            (segment, steps.iter().map(|&step| Step(step)))
        })
    }

    /// How often each page is rewritten after it was filled.
    #[must_use]
    pub fn rewrites(&self) -> Array<u32> {
        let mut counts = Array::new(self.pages);
        for step in self.steps.iter().map(|&step| Step(step)) {
            if step.writes() && !step.fills() {
                counts[step.page() as usize] += 1;
            }
        }
        counts
    }
}

fn fill_with(steps: &mut [u32], mut step: impl FnMut(usize) -> u32) {
    for (i, place) in steps.iter_mut().enumerate() {
        *place = step(i);
    }
}

/// Fills `numbers` with 0, 1, 2 … and shuffles them.
fn shuffle(numbers: &mut [u32], random: &mut Random) {
    fill_with(numbers, |i| i as u32);
    for i in (1..numbers.len()).rev() {
        numbers.swap(i, random.below(i as u32 + 1) as usize);
    }
}

/// Draws pages by the cumulated weights of their ranks; which page has which rank is
/// shuffled.
fn skewed(steps: &mut [u32], pages: usize, random: &mut Random) {
    let mut ranks = Array::<u32>::new(pages);
    shuffle(&mut ranks, random);
    let mut weights = Array::<f64>::new(pages);
    let mut sum = 0.0;
    for (i, weight) in weights.iter_mut().enumerate() {
        sum += exp(-SKEW * ln((i + 1) as f64));
        *weight = sum;
    }
    for step in steps {
        let drawn = random.unit() * sum;
        let rank = weights[..pages - 1].partition_point(|&weight| weight <= drawn);
        let write = if random.below(100) < WRITES { Step::WRITE } else { 0 };
        *step = ranks[rank] | write;
    }
}

/// SplitMix64, whose numbers are made smaller as in `tests/foreign/trace.h`.
struct Random(SplitMix64);

impl Random {
    /// A number below `bound`.
    fn below(&mut self, bound: u32) -> u32 {
        (((self.0.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// A number from 0 up to, but without, 1: 53 random bits.
    fn unit(&mut self) -> f64 {
        (self.0.next() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }
}
