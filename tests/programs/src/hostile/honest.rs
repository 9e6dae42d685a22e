//! Honest neighbours of hostile programs, and the supervisor's part: start all of them,
//! end what does not end by itself, and check that everything is freed.
//!
//! The neighbours together use more than RAM, so that their pages come and go all the time,
//! and check every word. They run as long as a process that only sleeps exists; the supervisor
//! kills it to make them stop.

use super::calls::{LAST_HONEST, PATH};
use crate::pages::Pages;
use crate::random::Random;
use crate::stock::Stock;
use crate::sys::{self, files::unlink};
use crate::task::{self, Child, End};
use crate::{FAILED, Machine, println};

/// Neighbours.
const NEIGHBOURS: usize = 2;
/// Between two looks at the children.
const GLANCE: u64 = 2_000_000;

/// The processes that must come to no harm.
pub struct Honest {
    before: Stock,
    sleeper: Child,
    neighbours: [Child; NEIGHBOURS],
}

impl Honest {
    /// Starts the neighbours, with `percent` of RAM together.
    #[must_use]
    pub fn start(percent: usize) -> Self {
        let before = Stock::now();
        let sleeper = task::start(|| {
            loop {
                sys::sleep(u64::MAX);
            }
        });
        let pages = Machine::new().ram * percent / 100 / NEIGHBOURS;
        let neighbours = [(); NEIGHBOURS].map(|()| task::start(|| be_honest(sleeper, pages)));
        assert!(neighbours.iter().all(|Child(number)| *number <= LAST_HONEST));
        Self { before, sleeper, neighbours }
    }

    fn is_neighbour(&self, child: Child) -> bool {
        self.neighbours.contains(&child)
    }

    /// Lets the neighbours finish and checks whether everything was freed; what was wrong is said
    /// and counted.
    #[must_use]
    pub fn finish(self) -> usize {
        let Child(sleeper) = self.sleeper;
        sys::kill(sleeper).expect("the sleeper sleeps");
        let mut wrong = 0;
        while let Ok((child, end)) = task::wait() {
            let expected = match child {
                child if child == self.sleeper => End::Signal(task::SIGKILL),
                child if self.is_neighbour(child) => End::Status(0),
                _ => continue,
            };
            if end != expected {
                println!("the honest process {} ended with {end:?}", child.0);
                wrong += 1;
            }
        }
        // It may be off by now. If it is not, or there is none, nothing changes.
        let _ = sys::swapon(c"/dev/ram0", 0);
        // What is cached of the file is no loss; it goes with the name.
        let _ = unlink(PATH);
        wrong + usize::from(!self.before.is_back_soon(true))
    }

    /// Runs `work` in a child and ends that after `nanos`, if it has not ended by then; how it
    /// ended. Its own children are left to end by themselves.
    ///
    /// # Errors
    /// A neighbour that has ended, and how.
    pub fn supervise(&self, nanos: u64, work: impl FnOnce() -> i32) -> Result<End, (Child, End)> {
        let Ok(child) = task::spawn(work) else { return Ok(End::Status(0)) };
        let until = sys::now() + nanos;
        loop {
            match task::try_wait() {
                Ok(Some((ended, end))) if ended == child => return Ok(end),
                Ok(Some((ended, end))) if ended == self.sleeper || self.is_neighbour(ended) => {
                    return Err((ended, end));
                }
                // A child of a hostile program that came to us.
                Ok(Some(_)) => continue,
                Ok(None) | Err(_) => {}
            }
            if sys::now() > until {
                // It may have ended just now.
                let _ = sys::kill(child.0);
            }
            sys::sleep(GLANCE);
        }
    }
}

/// Writes and checks pages until the sleeper is gone.
fn be_honest(sleeper: Child, count: usize) -> i32 {
    // When memory runs out, the largest program goes, and that need not be a hostile one.
    if sys::set_oom_score_adj(-1000).is_err() {
        println!("the honest cannot be spared by the out-of-memory killer");
        return FAILED;
    }
    let mut pages = Pages::map(count);
    let mut random = Random::new(count, sleeper.0);
    pages.write_all(0);
    let mut version = 0;
    while sys::is_running(sleeper.0) {
        if let Err(damage) = pages.check_all(version) {
            return damage.report();
        }
        if random.once_in(4) {
            version += 1;
            pages.write_all(version);
        }
    }
    match pages.check_all(version) {
        Ok(()) => 0,
        Err(damage) => damage.report(),
    }
}
