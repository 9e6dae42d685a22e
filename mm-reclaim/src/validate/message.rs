//! What a violation says: what is wrong, and the evidence.

use core::error::Error;
use core::fmt::{Debug, Display, Formatter, Result};

use super::Violation;
use super::Violation as V;

impl Display for Violation {
    #[allow(clippy::too_many_lines, reason = "a table: one message for each violation")]
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match *self {
            V::BadFlags { pfn, why } => write!(f, "{pfn:?}: flags contradict each other: {why}"),
            V::WrongList { pfn, on } => write!(f, "{pfn:?} is on {on:?}, and its flags differ"),
            V::StaleLruFlag { list, flagged, linked } => {
                write!(f, "{flagged} pages have the flags of {list:?}, and {linked} are on it")
            }
            V::ListSize { list, kept, counted } => differ(f, list, "pages", kept, counted),
            V::LeakedIsolation { flagged, counted } => {
                write!(f, "{flagged} pages are isolated and {counted} counted so, at rest")
            }
            V::LeakedLock(pfn) => write!(f, "{pfn:?} is locked at rest"),
            V::WrongMapcount { pfn, counts, found } => differ(f, pfn, "mappings", counts, found),
            V::WrongRefs { pfn, counts, holders } => differ(f, pfn, "references", counts, holders),
            V::LostPage(pfn) => write!(f, "{pfn:?} is not free, and nobody holds it"),
            V::FreeCount { zone, kept, counted } => differ(f, zone, "free pages", kept, counted),
            V::BadFreeBlock { pfn, order } => write!(f, "{pfn:?}: bad free block, {order:?}"),
            V::BrokenRmap { space, vpn, pfn } => {
                write!(f, "{space:?} maps {pfn:?} at {:#x}, which leads not back", vpn.addr())
            }
            V::BadArea { space, start } => write!(f, "{space:?}: bad area at {:#x}", start.addr()),
            V::BadFamily { space, start } => {
                write!(f, "{space:?}: the area at {:#x} and its families disagree", start.addr())
            }
            V::UnmergedAreas { space, at } => {
                write!(f, "{space:?}: the areas that meet at {:#x} should be one", at.addr())
            }
            V::BadZeroMapping { space, vpn } => {
                write!(f, "{space:?} maps the zero page wrongly at {:#x}", vpn.addr())
            }
            V::LostObjects { kind, taken, found } => {
                write!(f, "{taken} {kind} are taken from their table, and {found} found")
            }
            V::StaleMlock(pfn) => write!(f, "{pfn:?} is marked as locked, by no locked area"),
            V::Unpresent { zone, managed, present } => {
                write!(f, "zone {zone:?} manages {managed} pages, and {present} exist")
            }
            V::SpaceCounts { space, counts: (pages, swap), found } => {
                write!(f, "{space:?} counts {pages} pages and {swap} swap entries, ")?;
                write!(f, "and has {} and {}", found.0, found.1)
            }
            V::OrphanSlot(entry) => write!(f, "{entry:?} and its page do not name each other"),
            V::OrphanFilePage { pfn, at } => {
                write!(f, "{pfn:?} says that it is {at}, which is not so")
            }
            V::BadFileEntry { at } => write!(f, "what is kept of {at} and its page do not agree"),
            V::BadFileAreas(file) => {
                write!(f, "the areas that map file {} are in disorder", file.0)
            }
            V::FileCounts { file, what, counts, found } => {
                write!(f, "file {} counts {counts} {what}, and has {found}", file.0)
            }
            V::UnusedSlot(entry) => write!(f, "{entry:?} is named by a table, and not used"),
            V::SlotUses { counts, found } => {
                write!(f, "the swap slots count {counts} users, and tables name {found}")
            }
            V::FreeSlots { kept, counted } => {
                write!(f, "a swap device counts {kept} free slots, and has {counted}")
            }
            V::Busy(space) => write!(f, "{space:?} is being changed: this is no quiet moment"),
            V::BusyLists(zone) => write!(f, "zone {zone:?} is in use: this is no quiet moment"),
            V::CounterIdentity(what) => write!(f, "this does not hold between counters: {what}"),
        }
    }
}

/// The message for a stored count that differs from the real one.
fn differ<N: Display>(
    f: &mut Formatter<'_>,
    whose: impl Debug,
    what: &str,
    kept: N,
    found: N,
) -> Result {
    write!(f, "{whose:?} counts {kept} {what}, and has {found}")
}

impl Error for Violation {}
