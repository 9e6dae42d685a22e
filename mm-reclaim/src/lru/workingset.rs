//! Workingset detection: was a page that comes back evicted too early?
//!
//! A clock advances with every eviction and every activation. An evicted page leaves its clock
//! value behind, the *shadow*. When it comes back, the clock has advanced by the *refault
//! distance*: the number of inactive pages that were evicted or activated in between. If the
//! inactive list had been longer by that many pages, the page would still be in memory. That room
//! could only come from the rest of memory, the workingset:
//!
//! ```text
//!                evicted                          refault
//!   clock  ------- 1000 ---------------------------- 1300 ---->  distance 300
//!   active anon 500  ->  300 <= 500: pages on the active list may be used less often
//!                        than this one, so let it compete with them: activate.
//! ```
//!
//! A shadow is 32 bits: 29 of the clock, 2 for the zone whose lists evicted the page, 1 that says
//! whether the page was then part of the workingset. A clock that has wrapped makes a very old page
//! look recent: that takes 2^29 evictions and is harmless.
//!
//! Counterpart in Linux: `mm/workingset.c`. Source of the idea: Johannes Weiner,
//! "Thrash detection-based file cache sizing", 2013.

use crate::page::{LruList, PageType};

const CLOCK_BITS: u32 = 29;
const CLOCK_MASK: u32 = (1 << CLOCK_BITS) - 1;

/// What an evicted page leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shadow {
    /// The clock at eviction, truncated to 29 bits.
    pub clock: u32,
    /// The zone whose lists evicted the page.
    pub zone: u8,
    /// The page was part of the workingset.
    pub workingset: bool,
}

impl Shadow {
    /// Encodes it for the slot table.
    pub const fn encode(self) -> u32 {
        (self.clock & CLOCK_MASK) << 3 | (self.zone as u32 & 3) << 1 | self.workingset as u32
    }

    /// Decodes it from the slot table.
    pub const fn decode(raw: u32) -> Self {
        Self { clock: raw >> 3, zone: (raw >> 1 & 3) as u8, workingset: raw & 1 != 0 }
    }

    /// The number of evictions and activations since then.
    pub const fn distance(self, clock_now: u32) -> u32 {
        clock_now.wrapping_sub(self.clock) & CLOCK_MASK
    }
}

/// The pages that a refault of type `kind` may compete with.
pub fn workingset_size(kind: PageType, size: impl Fn(LruList) -> u32, swap_is_free: bool) -> u32 {
    let mut pages = size(LruList::ActiveFile);
    if kind == PageType::Anon {
        pages += size(LruList::InactiveFile);
    }
    if swap_is_free {
        pages += size(LruList::ActiveAnon);
        if kind == PageType::File {
            pages += size(LruList::InactiveAnon);
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LRU-09: encoding keeps a shadow, and a distance is right across a wrap-around.
    #[test]
    fn distances_survive_encoding_and_wrapping() {
        for (then, now, want) in [(1000, 1300, 300), (CLOCK_MASK, 4, 5), (5, 5, 0)] {
            for workingset in [false, true] {
                let shadow = Shadow { clock: then, zone: 2, workingset };
                let back = Shadow::decode(shadow.encode());
                assert_eq!(back, shadow);
                assert_eq!(back.distance(now), want);
            }
        }
    }

    /// LRU-09: which lists count, by type and by free swap.
    #[test]
    fn the_workingset_counts_what_could_make_room() {
        let size = |list| match list {
            LruList::InactiveAnon => 1,
            LruList::ActiveAnon => 10,
            LruList::InactiveFile => 100,
            LruList::ActiveFile => 1000,
            LruList::Unevictable => 10_000,
        };
        assert_eq!(workingset_size(PageType::Anon, size, true), 1110);
        assert_eq!(workingset_size(PageType::Anon, size, false), 1100);
        assert_eq!(workingset_size(PageType::File, size, true), 1011);
        assert_eq!(workingset_size(PageType::File, size, false), 1000);
    }
}
