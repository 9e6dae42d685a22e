//! What a first touch, a page out and a page in cost.
//!
//! Under `--icount` the clock advances one nanosecond an instruction, so the figures are
//! instructions and the same in every run; without it they are nanoseconds. The clock's
//! own cost is measured first and taken off.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `pages=` | 1 or more | how many pages (8192) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::Pages;
use programs::{println, sys};

programs::entry!(measure);

fn measure(args: &Args) -> i32 {
    let count = args.number("pages", 8192);
    let mut samples = Samples::new(count);
    let mut pages = Pages::map(count);

    samples.take(|_| ());
    let clock = samples.median();
    println!("measure: {count} pages, the clock itself costs {clock}");

    samples.take(|page| pages.page_mut(page)[0] = page as u64);
    samples.report("touch", clock);

    pages.write_all(1);
    samples.take(|page| {
        let (at, bytes) = pages.page_span(page);
        sys::page_out(at, bytes).expect("madvise of an own page");
    });
    samples.report("page-out", clock);

    samples.take(|page| assert_ne!(pages.page(page)[0], 0));
    samples.report("page-in", clock);

    let (at, bytes) = pages.span();
    let start = sys::now();
    sys::page_out(at, bytes).expect("madvise of own pages");
    let whole = sys::now() - start;
    println!("page-out-batch {} instructions a page", whole / count as u64);

    match pages.check_all(1) {
        Ok(()) => 0,
        Err(damage) => damage.report(),
    }
}

/// One duration a page, in memory that is in place before the clock starts.
struct Samples {
    store: Pages,
    count: usize,
}

impl Samples {
    fn new(count: usize) -> Self {
        let mut store = Pages::map(count.div_ceil(512).max(1));
        store.write_all(0);
        Self { store, count }
    }

    fn slot(&mut self, index: usize) -> &mut u64 {
        &mut self.store.page_mut(index / 512)[index % 512]
    }

    /// Times `work` for each page.
    fn take(&mut self, mut work: impl FnMut(usize)) {
        for page in 0..self.count {
            let start = sys::now();
            work(page);
            *self.slot(page) = sys::now() - start;
        }
    }

    /// The middle duration: what lies above is a timer tick or kswapd's turn. Found by
    /// bisection on the value, since nothing here can sort.
    fn median(&mut self) -> u64 {
        let (mut low, mut high) = (0, u64::from(u32::MAX));
        while low < high {
            let middle = low + (high - low) / 2;
            let below = (0..self.count).filter(|&i| *self.slot(i) <= middle).count();
            if below * 2 >= self.count {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }

    fn mean(&mut self) -> u64 {
        let sum: u64 = (0..self.count).map(|i| *self.slot(i)).sum();
        sum / self.count as u64
    }

    fn report(&mut self, name: &str, clock: u64) {
        let median = self.median().saturating_sub(clock);
        let mean = self.mean().saturating_sub(clock);
        println!("{name} {median} instructions (median), {mean} (mean)");
    }
}
