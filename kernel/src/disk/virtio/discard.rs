//! What a disk allows of discards, and the requests that one is done with. Pure.

use core::ops::Range;

use crate::disk::SECTOR;

/// The most sectors of a request, 128 MiB: a device takes its time for one, and other requests have to
/// end in time too.
const MOST: u32 = (128 << 20) / SECTOR as u32;
/// The least that a device must take at a time, 1 MiB: nobody can end the task that waits for all of a
/// discard, so that it must not be millions of requests.
const LEAST: u32 = (1 << 20) / SECTOR as u32;

/// What a disk allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discard {
    /// The most sectors of a request, a multiple of `step`.
    most: u32,
    /// Each request begins and ends at a multiple of this.
    step: u32,
}

impl Discard {
    /// From what the device says: the most sectors of a request, 0 for no limit, and the sectors of which
    /// ends are multiples, 0 for those of a block. `None` if so little is allowed that it is of no use.
    /// The other limit of the standard, how many stretches a request has, does not matter: it has one.
    pub(super) fn new(most: u32, alignment: u32, block: u32) -> Option<Self> {
        let block = block / SECTOR as u32;
        // One that is not whole blocks cannot be kept.
        let step = if alignment.is_multiple_of(block) { alignment.max(block) } else { block };
        let most = if most == 0 { MOST } else { most.min(MOST) };
        let most = most - most % step;
        (most >= LEAST).then_some(Self { most, step })
    }

    /// The requests for the sectors `range` of the disk, each with its first sector and how many. What is
    /// no whole step at the ends is left out.
    pub fn requests(self, range: Range<u64>) -> impl Iterator<Item = (u64, u32)> {
        let step = u64::from(self.step);
        let end = range.end - range.end % step;
        let mut next = range.start.checked_next_multiple_of(step).unwrap_or(end);
        core::iter::from_fn(move || {
            let (first, left) = (next, end.saturating_sub(next));
            let sectors = left.min(self.most.into()) as u32;
            next += u64::from(sectors);
            (sectors > 0).then_some((first, sectors))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(discard: Option<Discard>, range: Range<u64>) -> Vec<(u64, u32)> {
        discard.expect("it is allowed").requests(range).collect()
    }

    #[test]
    fn limits_that_make_no_sense_are_none() {
        assert_eq!(Discard::new(LEAST - 1, 1, 512), None, "too little at a time");
        assert_eq!(Discard::new(u32::MAX, u32::MAX, 512), None, "no request is whole steps");
        assert_eq!(Discard::new(3000, 2000, 512), None, "one step is too little");
        let usual = Some(Discard { most: MOST, step: 8 });
        for (most, alignment) in [(0, 0), (u32::MAX, 8), (MOST, 0), (MOST + 1, 7)] {
            assert_eq!(Discard::new(most, alignment, 4096), usual, "{most} {alignment}");
        }
    }

    #[test]
    fn a_discard_is_whole_steps_within_its_range() {
        let discard = Discard::new(5000, 16, 512);
        assert_eq!(requests(discard, 1..10_001), [(16, 4992), (5008, 4992)]);
        assert_eq!(requests(discard, 0..32), [(0, 32)]);
        for nothing in [0..0, 1..16, 17..31, u64::MAX - 5..u64::MAX] {
            assert_eq!(requests(discard, nothing.clone()), [], "{nothing:?}");
        }
        let last = u64::MAX - 15;
        assert_eq!(requests(discard, last - 16..u64::MAX), [(last - 16, 16)]);
    }
}
