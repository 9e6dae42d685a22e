//! What was written and flushed, and the images that a cut of power may leave.
//!
//! What was answered before a flush that succeeded is stable. Of the writes behind it, any may have
//! reached the disk: a disk has a cache, and no order of its own.

use splitmix::SplitMix64;

/// Something that changed the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Bytes were written at a place.
    Write {
        /// The place.
        at: usize,
        /// The bytes.
        data: Vec<u8>,
    },
    /// All of the before is stable.
    Flush,
}

/// Events in the order in which they were answered.
#[derive(Clone, Debug, Default)]
pub struct Log(pub Vec<Event>);

/// A cut of power.
#[derive(Clone, Debug)]
pub struct Cut {
    /// What the disk holds then.
    pub contents: Vec<u8>,
    /// The events that had been answered.
    pub answered: usize,
}

impl Log {
    /// How many flushes there were.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.0.iter().filter(|event| **event == Event::Flush).count()
    }

    /// The power is cut at some moment that the number decides, of a disk that held `before` at the
    /// start: everything up to the last flush is there, and of what came later nothing, about half, or all.
    #[must_use]
    pub fn cut(&self, before: &[u8], random: &mut SplitMix64) -> Cut {
        let answered = (random.next() % (self.0.len() as u64 + 1)) as usize;
        let past = &self.0[..answered];
        let stable = past.iter().rposition(|event| *event == Event::Flush).unwrap_or(0);
        let mut contents = before.to_vec();
        let (chance, mut draw) = (random.next() % 3, || random.next() % 2);
        for (number, event) in past.iter().enumerate() {
            if let Event::Write { at, data } = event
                && (number < stable || draw() < chance)
            {
                contents[*at..*at + data.len()].copy_from_slice(data);
            }
        }
        Cut { contents, answered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cut has what was flushed; what was not is there in some and not in others.
    #[test]
    fn a_cut_keeps_what_was_flushed() {
        let write = |at, byte| Event::Write { at, data: vec![byte] };
        let log = Log(vec![write(0, 1), Event::Flush, write(0, 2), write(1, 3)]);
        let mut random = SplitMix64::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let cut = log.cut(&[0, 0], &mut random);
            assert!(cut.answered < 2 || cut.contents[0] > 0);
            seen.insert(cut.contents);
        }
        let all = [[0, 0], [1, 0], [1, 3], [2, 0], [2, 3]].map(|bytes| bytes.to_vec());
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
    }
}
