//! Swap whose reads or writes fail, as `ramdisk.fail_read=` and `ramdisk.fail_write=` say:
//! children write and check more memory than there is RAM, and each of them either finds
//! every word as it wrote it, or is ended by SIGBUS for a page that could not be read.
//!
//! The parent, whose memory the children share at first, is locked into memory, so that a
//! failed read is always some child's own, and the number of children that SIGBUS ended can
//! be compared with the kernel's count of errors. A child makes no system call while it has
//! memory out, because there a failed read would be an error of the call.
//!
//! | word | value | meaning |
//! | --- | --- | --- |
//! | `children=` | 1 or more | how many at a time (4) |
//! | `percent=` | 1 or more | of RAM that they use together (150) |
//! | `total=` | 1 or more | how many in all (12) |
//! | `rounds=` | 1 or more | of writing and checking each (2) |
//! | `killed=` | 0 to 1 | whether memory may run out, as it does if every slot goes bad (0) |
#![no_std]
#![no_main]

use programs::args::Args;
use programs::pages::{Pages, lock_program, shuffled};
use programs::stock::Stock;
use programs::task::{self, End};
use programs::{FAILED, Machine, println};

programs::entry!(ioerror);

/// How the children ended.
#[derive(Default)]
struct Ends {
    whole: usize,
    bus_errors: usize,
    killed: usize,
    wrong: usize,
}

impl Ends {
    fn all(&self) -> usize {
        self.whole + self.bus_errors + self.killed + self.wrong
    }

    fn note(&mut self, end: End) {
        match end {
            End::Status(0) => self.whole += 1,
            End::Signal(task::SIGBUS) => self.bus_errors += 1,
            End::Signal(task::SIGKILL) => self.killed += 1,
            _ => {
                println!("ioerror: a child ended with {end:?}");
                self.wrong += 1;
            }
        }
    }
}

fn ioerror(args: &Args) -> i32 {
    let (children, total) = (args.number("children", 4), args.number("total", 12));
    let (percent, rounds) = (args.number("percent", 150), args.number("rounds", 2));
    let count = Machine::new().ram * percent / 100 / children;
    println!("ioerror: {total} children, {children} at a time, {count} pages each");
    lock_program();

    let before = Stock::now();
    let mut ends = Ends::default();
    let mut started = 0;
    while ends.all() < total {
        while started < total && started - ends.all() < children {
            started += 1;
            let number = started as u64;
            task::start(|| live(count, rounds, number << 32));
        }
        let (_, end) = task::wait().expect("a child runs");
        ends.note(end);
    }
    let Ends { whole, bus_errors, killed, wrong } = ends;
    println!("ioerror: whole {whole} bus_errors {bus_errors} killed {killed} wrong {wrong}");
    let allowed = if args.number("killed", 0) > 0 { usize::MAX } else { 0 };
    let is_back = before.is_back_soon(false);
    if wrong > 0 || killed > allowed || !is_back { FAILED } else { 0 }
}

/// Writes and checks every page, in order and in disorder.
fn live(count: usize, rounds: usize, version: u64) -> i32 {
    let mut pages = Pages::map(count);
    let done = (0..rounds as u64).try_for_each(|round| {
        pages.write_all(version + round);
        pages.check_all(version + round)?;
        shuffled(count).try_for_each(|page| pages.check(page, version + round))
    });
    match done {
        Ok(()) => 0,
        Err(damage) => damage.report(),
    }
}
