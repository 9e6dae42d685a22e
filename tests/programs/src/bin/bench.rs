//! What pages cost, by workloads that Linux was measured with too.
//!
//! A hog locks memory until `target` frames are free. Then every access of the workload is
//! timed on its own; one that took longer than `slow` nanoseconds is looked up in the kernel's
//! count of faults, and the cost of that is taken off again. Under `--icount` a nanosecond is
//! an instruction, and every run prints the same.
//!
//! Each line of the result is a name, a value and a unit; the name begins with the workload
//! and its segment. At the end all words of all pages are checked.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `workload=` | touch/swapout/swapin/swapinrnd/seqcycle/zipf | the accesses that are timed (touch) |
//! | `target=` | 1 or more | frames that are left free (16384) |
//! | `slow=` | 1 or more | nanoseconds from which on an access is looked up (150) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::bench::array::Array;
use programs::bench::histogram::Histogram;
use programs::bench::machine::{Clock, Hog, Page, free_frames, lock_program};
use programs::bench::pattern::{self, Access};
use programs::bench::trace::{Segment, Step, TARGET, Trace, Workload};
use programs::{DAMAGED, FAILED, println, sys};

/// Longer than an access without a fault, shorter than any fault.
const SLOW: usize = 150;

programs::entry!(bench);

fn bench(args: &Args) -> i32 {
    let wanted = args.text("workload").unwrap_or("touch");
    let Some(&(name, workload)) = Workload::ALL.iter().find(|(name, _)| *name == wanted) else {
        println!("bench: no workload is called {wanted}");
        return FAILED;
    };
    let target = args.number("target", TARGET);
    let trace = Trace::new(workload, target);
    let hash = trace.hash();
    println!("{name}.trace_hash {hash} hash");
    if target == TARGET && hash != workload.known_hash() {
        println!("bench: the accesses are not those of {name}: {}", workload.known_hash());
        return FAILED;
    }

    lock_program();
    let mut run = Run::new(name, &trace, args.number("slow", SLOW) as u64);
    let hog = Hog::leaving(target);
    run.calibrate();
    println!("{name}.free {} frames", free_frames());
    println!("{name}.hog {} pages", hog.held());
    for (segment, steps) in trace.segments() {
        if segment.after_page_out {
            run.page_out(target);
        }
        run.segment(segment, steps);
    }
    run.verify(&trace)
}

/// A workload while it runs.
struct Run {
    name: &'static str,
    clock: Clock,
    pages: Array<Page>,
    slow: u64,
    /// What one look at the count of faults costs.
    probe: u64,
    major: Histogram,
    minor: Histogram,
    other: Histogram,
    damaged: usize,
}

/// What the kernel counts.
#[derive(Clone, Copy, Default)]
struct Faults {
    minor: u64,
    major: u64,
}

impl Faults {
    fn now() -> Self {
        let usage = sys::getrusage().expect("getrusage works");
        Self { minor: usage.minflt, major: usage.majflt }
    }
}

impl Run {
    fn new(name: &'static str, trace: &Trace, slow: u64) -> Self {
        Self {
            name,
            clock: Clock::new(),
            pages: Array::new(trace.pages()),
            slow,
            probe: 0,
            major: Histogram::new(),
            minor: Histogram::new(),
            other: Histogram::new(),
            damaged: 0,
        }
    }

    fn calibrate(&mut self) {
        self.probe = self.clock.least(|| {
            Faults::now();
        });
        println!("{}.probe {} instructions", self.name, self.probe);
        println!("{}.clock {} instructions", self.name, self.clock.least(|| ()));
    }

    /// Pages everything out by one call, and times it.
    fn page_out(&mut self, target: usize) {
        let (at, bytes) = self.pages.span();
        let start = self.clock.now();
        sys::page_out(at, bytes).expect("madvise of own pages");
        let took = self.clock.now() - start;
        println!("{}.pageout.each {} instructions", self.name, took / self.pages.len() as u64);
        // Behind a device that is not synchronous the pages may still be in the swap cache.
        // What takes nearly all free frames pushes them out.
        let mut others = Array::<Page>::new(target - target / 16);
        for page in &mut *others {
            page[0] = 1;
        }
    }

    fn segment(&mut self, segment: Segment, steps: impl Iterator<Item = Step>) {
        for histogram in [&mut self.major, &mut self.minor, &mut self.other] {
            histogram.clear();
        }
        let before = Faults::now();
        let start = self.clock.now();
        let probes = self.walk(steps);
        let took = self.clock.now() - start - probes * self.probe;
        let after = Faults::now();
        self.report(segment, took, before, after);
    }

    /// Takes every step; returns how often it looked at the count of faults.
    fn walk(&mut self, steps: impl Iterator<Item = Step>) -> u64 {
        let mut known = Faults::now();
        let mut probes = 0;
        for step in steps {
            let Access { took, is_intact } = self.access(step);
            self.damaged += usize::from(!is_intact);
            if took > self.slow {
                let faults = Faults::now();
                probes += 1;
                let histogram = if faults.major > known.major {
                    &mut self.major
                } else if faults.minor > known.minor {
                    &mut self.minor
                } else {
                    &mut self.other
                };
                histogram.add(took);
                known = faults;
            }
        }
        probes
    }

    #[inline]
    fn access(&mut self, step: Step) -> Access {
        let page = step.page();
        let words = &mut self.pages[page as usize];
        if step.fills() {
            pattern::fill(self.clock, words, page)
        } else if step.writes() {
            pattern::rewrite(self.clock, words, page)
        } else {
            pattern::read(self.clock, words, page)
        }
    }

    fn report(&self, segment: Segment, took: u64, before: Faults, after: Faults) {
        let (name, part) = (self.name, segment.name);
        println!("{name}.{part}.each {} instructions", took / segment.count as u64);
        println!("{name}.{part}.minor_faults {} faults", after.minor - before.minor);
        println!("{name}.{part}.major_faults {} faults", after.major - before.major);
        println!("{name}.{part}.free_after {} frames", free_frames());
        let kinds = [("minor", &self.minor), ("major", &self.major), ("other", &self.other)];
        for (kind, histogram) in kinds.iter().filter(|(_, histogram)| histogram.count > 0) {
            let figures = [
                ("mean", histogram.mean()),
                ("p50", histogram.permille(500)),
                ("p99", histogram.permille(990)),
                ("p999", histogram.permille(999)),
                ("max", histogram.max),
            ];
            println!("{name}.{part}.{kind}_count {} accesses", histogram.count);
            for (figure, value) in figures {
                println!("{name}.{part}.{kind}_{figure} {value} instructions");
            }
        }
    }

    /// Checks every word, each page at the version that the trace leaves it at.
    fn verify(&mut self, trace: &Trace) -> i32 {
        let versions = trace.rewrites();
        for (page, (words, &version)) in self.pages.iter().zip(&*versions).enumerate() {
            if !pattern::is_whole(words, page as u32, u64::from(version)) {
                println!("DAMAGED page {page}");
                self.damaged += 1;
            }
        }
        println!("{}.damaged {} pages", self.name, self.damaged);
        if self.damaged == 0 { 0 } else { DAMAGED }
    }
}
