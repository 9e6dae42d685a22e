//! Counters and reasons of reclaim, grouped, each with a phrase. Pure.
//!
//! The name and the number of a counter are next to each other, and no phrase contains the name of
//! another: `scripts/test` and `scripts/bench` rely on that.

use core::fmt::{self, Write};

use mm_reclaim::reclaim::{ActivateReason, CullReason, FreeReason, KeepReason, Reason};
use mm_reclaim::stat::VmEvent::{self, *};

/// Counters that belong together.
struct Group {
    title: &'static str,
    counters: &'static [(VmEvent, &'static str)],
}

const GROUPS: &[Group] = &[
    Group {
        title: "faults",
        counters: &[
            (PgFault, "page faults"),
            (PgMajFault, "those that waited for a disk"),
            (FaultAround, "file pages mapped besides"),
            (CowCopy, "shared pages copied for a write"),
            (CowReuse, "shared pages that a write could keep"),
        ],
    },
    Group {
        title: "allocation",
        counters: &[
            (PgAlloc, "pages allocated"),
            (PgFree, "pages freed"),
            (AllocStallDma, "direct reclaims for zone DMA"),
            (AllocStallDma32, "direct reclaims for zone DMA32"),
            (AllocStallNormal, "direct reclaims for zone Normal"),
            (ReclaimDelay, "microseconds spent in them"),
            (PgScanDirectMost, "the most pages looked at for one"),
            (PgScanDirectThrottle, "waits since the reserves were low"),
            (OomKill, "programs killed: out of memory"),
            (OomReaped, "pages taken from them at once"),
        ],
    },
    Group {
        title: "reclaim",
        counters: &[
            (PageOutRun, "times that kswapd set to work"),
            (PgScanKswapd, "pages that kswapd looked at"),
            (PgStealKswapd, "pages that it freed"),
            (PgScanDirect, "pages that waiting programs looked at"),
            (PgStealDirect, "pages that they freed"),
            (PgScanProactive, "pages looked at on request"),
            (PgStealProactive, "pages freed on request"),
            (PgScanAnon, "anonymous ones of those looked at"),
            (PgStealAnon, "anonymous ones of those freed"),
            (PgScanFile, "file pages of those looked at"),
            (PgStealFile, "file pages of those freed"),
            (PgRefill, "active pages looked at"),
            (NrRotated, "those used since the look before"),
            (PgDeactivate, "moves to an inactive list"),
            (PgActivate, "moves to an active list"),
            (PgRotated, "moves to the end, to go next"),
            (PgLazyFree, "pages freed lazily"),
            (PgLazyFreed, "lazily freed pages taken"),
        ],
    },
    Group {
        title: "files",
        counters: &[
            (FileCacheHit, "pages that a reader found in the cache"),
            (FileCacheMiss, "pages that it did not"),
            (FileRa, "pages read ahead of their use"),
            (NrDirtied, "pages dirtied"),
            (NrWritten, "pages written back"),
            (NrVmscanImmediateReclaim, "dirty ones that reclaim only marked"),
        ],
    },
    Group {
        title: "swap",
        counters: &[
            (PswpOut, "pages written"),
            (PswpIn, "pages read"),
            (SwapRa, "pages read ahead of a fault"),
            (SwapRaHit, "those that a fault then wanted"),
            (SwapRaMiss, "those that left memory before"),
            (NrVmscanWrite, "writes that reclaim began"),
            (SwapWriteError, "writes that failed"),
            (SwapReadError, "reads that failed"),
            (SwapBusError, "accesses that failed for that"),
        ],
    },
    Group {
        title: "pages that came back",
        counters: &[
            (WorkingsetRefaultAnon, "anonymous ones, known by their shadow"),
            (WorkingsetActivateAnon, "activated at once: back soon"),
            (WorkingsetRestoreAnon, "were active when they went"),
            (WorkingsetRefaultFile, "file pages, known by their shadow"),
            (WorkingsetActivateFile, "activated at once: back soon"),
            (WorkingsetRestoreFile, "were active when they went"),
        ],
    },
    Group {
        title: "locked memory",
        counters: &[
            (UnevictablePgsMlocked, "pages locked"),
            (UnevictablePgsMunlocked, "pages unlocked"),
            (UnevictablePgsCulled, "pages put on the unevictable list"),
            (UnevictablePgsRescued, "pages that came back from it"),
        ],
    },
];

/// The title of the last group: counters that are in no other.
const REST: &str = "other";

const REASONS: &[(Reason, &str)] = &[
    (Reason::Keep(KeepReason::LockedElsewhere), "its lock was held"),
    (Reason::Keep(KeepReason::MayNotUnmap), "mapped, and may not be unmapped"),
    (Reason::Keep(KeepReason::Referenced), "used since the last look"),
    (Reason::Keep(KeepReason::NoIo), "no slot yet, and I/O is not allowed"),
    (Reason::Keep(KeepReason::ReferencedDirty), "used and dirty"),
    (Reason::Keep(KeepReason::MayNotEnter), "file systems are not allowed"),
    (Reason::Keep(KeepReason::MayNotWrite), "writing is not allowed"),
    (Reason::Keep(KeepReason::SlotUnused), "its slot has no user any more"),
    (Reason::Keep(KeepReason::InFlight), "is being written"),
    (Reason::Keep(KeepReason::DirtyAgain), "dirtied while it was written"),
    (Reason::Keep(KeepReason::LockLost), "locked while it was written"),
    (Reason::Keep(KeepReason::NoMapping), "belongs to no cache"),
    (Reason::Keep(KeepReason::ExtraReference), "something else holds it"),
    (Reason::Keep(KeepReason::FoundDirty), "dirtied at the last moment"),
    (Reason::Keep(KeepReason::LazyFreeBusy), "lazily freed, but in use again"),
    (Reason::Activate(ActivateReason::Referenced), "used often"),
    (Reason::Activate(ActivateReason::ImmediateWriteback), "written while too many are"),
    (Reason::Activate(ActivateReason::UnderWriteback), "is being written"),
    (Reason::Activate(ActivateReason::NoSlot), "swap has no free slot"),
    (Reason::Activate(ActivateReason::UnmapFailed), "could not be unmapped"),
    (Reason::Activate(ActivateReason::DirtyFile), "dirty, left to the flusher"),
    (Reason::Activate(ActivateReason::PageoutFailed), "writing it could not begin"),
    (Reason::Activate(ActivateReason::WriteFailed), "an earlier write of it failed"),
    (Reason::Activate(ActivateReason::PrivateBusy), "its private data is in use"),
    (Reason::Activate(ActivateReason::LazyFreeDirty), "lazily freed, then written"),
    (Reason::Cull(CullReason::Unevictable), "found locked into memory"),
    (Reason::Cull(CullReason::LockedMapping), "found locked when it was to go"),
    (Reason::Free(FreeReason::Clean), "its disk holds it already"),
    (Reason::Free(FreeReason::Written), "was written for this"),
    (Reason::Free(FreeReason::Overdue), "used lately, as was all before"),
    (Reason::Free(FreeReason::LazyFreed), "the program had given it up"),
    (Reason::Free(FreeReason::Orphan), "had no user any more"),
];

/// Every counter that is not zero.
pub struct CounterTable<'a> {
    /// The counters.
    pub count: &'a dyn Fn(VmEvent) -> u64,
}

impl fmt::Display for CounterTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in GROUPS {
            self.write_group(f, group.title, group.counters.iter().copied())?;
        }
        let rest = VmEvent::ALL.iter().filter(|event| !is_grouped(**event));
        self.write_group(f, REST, rest.map(|event| (*event, "")))
    }
}

impl CounterTable<'_> {
    fn write_group(
        &self,
        f: &mut fmt::Formatter<'_>,
        title: &str,
        counters: impl Iterator<Item = (VmEvent, &'static str)>,
    ) -> fmt::Result {
        let mut shown = counters.filter(|(event, _)| (self.count)(*event) > 0).peekable();
        if shown.peek().is_some() {
            writeln!(f, "{title}")?;
        }
        shown.try_for_each(|(event, phrase)| {
            writeln!(f, "  {:<24} {:>10}  {phrase}", event.name(), (self.count)(event))
        })
    }
}

fn is_grouped(event: VmEvent) -> bool {
    let mut counters = GROUPS.iter().flat_map(|group| group.counters);
    counters.any(|(known, _)| *known == event)
}

/// Every reason that decided at least once.
pub struct ReasonTable<'a> {
    /// The count of each.
    pub count: &'a dyn Fn(Reason) -> u64,
}

impl fmt::Display for ReasonTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in Reason::all().filter(|reason| (self.count)(*reason) > 0) {
            let known = REASONS.iter().find(|(known, _)| *known == reason);
            let phrase = known.map_or("", |(_, phrase)| *phrase);
            writeln!(f, "  {:<28} {:>10}  {phrase}", Name(reason), (self.count)(reason))?;
        }
        Ok(())
    }
}

/// The column with the reason.
struct Name(Reason);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = Buffer { bytes: [0; 48], len: 0 };
        write!(buffer, "{:?}", self.0)?;
        f.pad(core::str::from_utf8(&buffer.bytes[..buffer.len]).unwrap_or("?"))
    }
}

struct Buffer {
    bytes: [u8; 48],
    len: usize,
}

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            *self.bytes.get_mut(self.len).ok_or(fmt::Error)? = byte;
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_stands_in_one_group_with_a_phrase() {
        for event in VmEvent::ALL {
            let counters = GROUPS.iter().flat_map(|group| group.counters);
            let found: Vec<_> = counters.filter(|(known, _)| known == event).collect();
            assert_eq!(found.len(), 1, "{event:?}: {found:?}");
            assert!(!found[0].1.is_empty(), "{event:?}");
        }
    }

    #[test]
    fn every_reason_has_a_phrase() {
        for reason in Reason::all() {
            let found = REASONS.iter().filter(|(known, _)| *known == reason).count();
            assert_eq!(found, 1, "{reason:?}");
        }
    }

    #[test]
    fn counters_that_are_zero_are_left_out_and_so_is_the_title_of_their_group() {
        let count = |event| if event == PswpIn { 7 } else { 0 };
        let said = CounterTable { count: &count }.to_string();
        assert_eq!(said, "swap\n  pswpin                            7  pages read\n");
    }

    #[test]
    fn no_line_exceeds_79_columns() {
        let most = u64::from(u32::MAX);
        let said = CounterTable { count: &|_| most }.to_string()
            + &ReasonTable { count: &|_| most }.to_string();
        let wide: Vec<_> = said.lines().filter(|line| line.len() > 79).collect();
        assert!(wide.is_empty(), "{wide:?}");
    }

    /// Scripts take the last number that follows a name.
    #[test]
    fn no_phrase_holds_the_name_of_a_counter() {
        let phrases = GROUPS.iter().flat_map(|group| group.counters).map(|(_, phrase)| phrase);
        for phrase in phrases.chain(REASONS.iter().map(|(_, phrase)| phrase)) {
            let named = VmEvent::ALL.iter().find(|event| phrase.contains(event.name()));
            assert_eq!(named, None, "{phrase}");
        }
    }
}
