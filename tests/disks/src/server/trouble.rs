//! Which requests come to harm.

use std::time::Duration;

use splitmix::SplitMix64;
use treeops::poison;

use super::protocol::{Action, Request};

/// How long a disk is silent: longer than the half minute after which the kernel
/// gives it up, and the five seconds between its checks.
pub const SILENCE: Duration = Duration::from_secs(40);

/// The harm that a disk does; by default none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Trouble {
    /// Requests that are answered well in any case, at the start: the mount is among them.
    pub spared: u32,
    /// Every so many-th request fails that reads; 0 for none. The same for those below.
    pub reads: u32,
    /// That writes.
    pub writes: u32,
    /// That flushes.
    pub flushes: u32,
    /// After so many requests none is answered any more; the connection ends [`SILENCE`] later, as
    /// QEMU waits for its requests when the machine resets the disk.
    pub silent_after: Option<u32>,
    /// After so many requests the connection ends.
    pub dropped_after: Option<u32>,
    /// Each request takes so long.
    pub delay: Duration,
    /// Requests with poison fail ([`treeops::poison`]).
    pub poison: bool,
    /// Requests that wait together are answered in an order that the seed decides.
    pub out_of_order: bool,
    /// Decides what is decided at random.
    pub seed: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say everything")]
pub enum Fate {
    Succeeds,
    Fails,
    Silent,
    Dropped,
}

impl Trouble {
    pub(super) const fn random(&self) -> SplitMix64 {
        SplitMix64::new(self.seed)
    }

    /// What becomes of the request behind so many others. Which of them fail is decided at random, as
    /// often as it says: otherwise only the requests at the same place in a pattern would.
    pub(super) fn fate(&self, seen: u32, request: &Request, contents: &[u8]) -> Fate {
        if self.dropped_after.is_some_and(|after| seen >= after) {
            return Fate::Dropped;
        }
        if self.silent_after.is_some_and(|after| seen >= after) {
            return Fate::Silent;
        }
        if self.poison && is_poisoned(request, contents) {
            return Fate::Fails;
        }
        let every = match request.action {
            Action::Read => self.reads,
            Action::Write(_) => self.writes,
            Action::Flush => self.flushes,
            Action::Trim => 0,
        };
        let drawn = splitmix::mix(self.seed ^ u64::from(seen).wrapping_mul(0x9e37_79b9));
        let fails = seen >= self.spared && every > 0 && drawn.is_multiple_of(u64::from(every));
        if fails { Fate::Fails } else { Fate::Succeeds }
    }
}

fn is_poisoned(request: &Request, contents: &[u8]) -> bool {
    match &request.action {
        Action::Write(data) => poison::is_in(data, poison::WRITE),
        Action::Read => request
            .range(contents.len())
            .is_some_and(|range| poison::is_in(&contents[range], poison::READ)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_spared_and_then_some_fail() {
        let flush = Request { action: Action::Flush, cookie: 0, at: 0, len: 0 };
        let trouble = Trouble { spared: 10, flushes: 3, ..Trouble::default() };
        let fates: Vec<Fate> = (0..310).map(|seen| trouble.fate(seen, &flush, &[])).collect();
        assert!(fates[..10].iter().all(|fate| *fate == Fate::Succeeds));
        let failed = fates.iter().filter(|fate| **fate == Fate::Fails).count();
        assert!((60..140).contains(&failed), "{failed} of 300");
        let read = Request { action: Action::Read, ..flush };
        assert!((0..310).all(|seen| trouble.fate(seen, &read, &[]) == Fate::Succeeds));
    }
}
