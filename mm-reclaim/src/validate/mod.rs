//! `validate()`: checks at a quiet moment that all records are consistent.
//!
//! *Every page is somewhere*: free, on a list, mapped or cached, or owned by the kernel.
//! The checks walk every descriptor, every list, every address space and every slot, and
//! compare what each says about the others. Nothing is allocated, so a check that would
//! need a table of counts compares sums instead.
//!
//! A moment is quiet when no other task is inside the crate and no transfer is under way;
//! [`Mm::is_quiet`](crate::Mm::is_quiet) detects most of that. The first violation found is
//! returned; which one that is depends on the order of the checks, so a test that damages something
//! expects a variant, not a position.

mod files;
mod message;
mod pages;
mod quiet;
mod spaces;
mod swap;

use crate::base::stat::VmEvent;
use crate::base::units::{FileId, FilePage, Order, Pfn, Vpn};
use crate::env::Env;
use crate::file::Files;
use crate::lru::Lru;
use crate::page::LruList;
use crate::page::memmap::MemMap;
use crate::rmap::Rmap;
use crate::space::{SpaceId, Spaces};
use crate::swap::{Swap, SwapEntry};
use crate::zone::{ZoneId, Zones};

/// What is wrong, with the evidence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// Flags that exclude each other.
    BadFlags {
        /// The frame.
        pfn: Pfn,
        /// Why they are invalid.
        why: &'static str,
    },
    /// A page is on one list while its flags name another, or none.
    WrongList {
        /// The frame.
        pfn: Pfn,
        /// The list that it is on.
        on: LruList,
    },
    /// Pages say that they are on a list, but the list does not have them.
    StaleLruFlag {
        /// The list that the flags name.
        list: LruList,
        /// Pages with the flag, and pages on the list.
        flagged: u32,
        /// Pages on the list.
        linked: u32,
    },
    /// The stored size of a list is not the list's.
    ListSize {
        /// The list.
        list: LruList,
        /// The stored count.
        kept: u32,
        /// Base pages on the list.
        counted: u32,
    },
    /// A page is isolated, or counted as isolated, although no task reclaims.
    LeakedIsolation {
        /// Pages flagged as isolated.
        flagged: u32,
        /// Pages counted as isolated.
        counted: u32,
    },
    /// A page's lock is held although no task is using the page.
    LeakedLock(Pfn),
    /// A page counts another number of mappings than there are.
    WrongMapcount {
        /// The frame.
        pfn: Pfn,
        /// What the page counts.
        counts: u16,
        /// Mappings that its family leads to.
        found: u16,
    },
    /// A page counts another number of references than there are holders.
    WrongRefs {
        /// The frame.
        pfn: Pfn,
        /// What the page counts.
        counts: u32,
        /// Mappings and the swap cache.
        holders: u32,
    },
    /// A page is neither free nor referenced.
    LostPage(Pfn),
    /// The free count of a zone is not that of its lists.
    FreeCount {
        /// The zone.
        zone: ZoneId,
        /// The stored count.
        kept: u32,
        /// Pages on its free lists.
        counted: u32,
    },
    /// A free block that is not aligned, leaves its zone, or is in use.
    BadFreeBlock {
        /// Its first frame.
        pfn: Pfn,
        /// The order of its list.
        order: Order,
    },
    /// A page-table entry leads to a page that does not lead back.
    BrokenRmap {
        /// The address space.
        space: SpaceId,
        /// The page of it.
        vpn: Vpn,
        /// The frame that is mapped there.
        pfn: Pfn,
    },
    /// Areas overlap, are empty, or belong to another space.
    BadArea {
        /// The address space.
        space: SpaceId,
        /// The start of the area.
        start: Vpn,
    },
    /// An area is not in the families that it must be in, or these do not know of it.
    BadFamily {
        /// The address space.
        space: SpaceId,
        /// The start of the area.
        start: Vpn,
    },
    /// Two neighbouring areas agree in everything and are not merged.
    UnmergedAreas {
        /// The address space.
        space: SpaceId,
        /// Where the upper one begins.
        at: Vpn,
    },
    /// The zero page is mapped in a wrong way: writable, dirty or locked.
    BadZeroMapping {
        /// The address space.
        space: SpaceId,
        /// The page of it.
        vpn: Vpn,
    },
    /// More objects are taken from a table than are found in use.
    LostObjects {
        /// Objects of this kind.
        kind: &'static str,
        /// Taken and not returned.
        taken: u32,
        /// Found.
        found: u32,
    },
    /// A page is marked as locked into memory, and no locked area maps it.
    StaleMlock(Pfn),
    /// More pages are managed than there are.
    Unpresent {
        /// The zone.
        zone: ZoneId,
        /// Pages that the allocator manages.
        managed: u32,
        /// Pages that exist.
        present: u32,
    },
    /// A space's counters are not what its tables hold.
    SpaceCounts {
        /// The address space.
        space: SpaceId,
        /// Pages and swap entries that it counts.
        counts: (u32, u32),
        /// Pages and swap entries in its tables.
        found: (u32, u32),
    },
    /// A slot names a page that does not name it, or the other way round.
    OrphanSlot(SwapEntry),
    /// A page says that it is in a file's cache, and the file does not have it.
    OrphanFilePage {
        /// The frame.
        pfn: Pfn,
        /// The page of the file that it says it is.
        at: FilePage,
    },
    /// A file's entry and the page that it names do not agree.
    BadFileEntry {
        /// The page of the file.
        at: FilePage,
    },
    /// The tree of the areas that map a file is broken.
    BadFileAreas(FileId),
    /// A file counts more or fewer of something than it has.
    FileCounts {
        /// The file.
        file: FileId,
        /// Of what.
        what: &'static str,
        /// What it counts.
        counts: u32,
        /// What was found.
        found: u32,
    },
    /// A page-table entry names a slot that is not used.
    UnusedSlot(SwapEntry),
    /// The slots count more or fewer users than there are entries.
    SlotUses {
        /// What the slots count.
        counts: u64,
        /// Swap entries in all tables.
        found: u64,
    },
    /// A device's free count is not that of its slots.
    FreeSlots {
        /// The stored count.
        kept: u32,
        /// Free slots.
        counted: u32,
    },
    /// A task is changing the areas of a space: this is no quiet moment.
    Busy(SpaceId),
    /// A CPU's list of free pages is in use: this is no quiet moment.
    BusyLists(ZoneId),
    /// Two counters contradict each other.
    CounterIdentity(&'static str),
}

/// Where all pages are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Census {
    /// Free.
    pub free: u32,
    /// On the LRU lists, by [`LruList`].
    pub lru: [u32; LruList::COUNT],
    /// Owned by the kernel: tables, stacks and the like.
    pub kernel: u32,
    /// Never given to the allocator.
    pub reserved: u32,
    /// Mappings in all spaces.
    pub mappings: u32,
    /// Pages in the caches of files.
    pub cached: u32,
    /// Areas that map files.
    pub file_areas: u32,
    /// Swap entries in all spaces and files.
    pub swap_entries: u64,
    /// Address spaces.
    pub spaces: u32,
    /// Areas in all spaces.
    pub areas: u32,
    /// Families of areas.
    pub families: u32,
    /// Links of areas to their ancestors' families.
    pub links: u32,
}

/// The records to compare.
pub(crate) struct Books<'a, 'm, E: Env> {
    pub(crate) env: E,
    pub(crate) map: MemMap<'m>,
    pub(crate) zones: &'a Zones<'m, E>,
    pub(crate) lru: &'a Lru<'m, E>,
    pub(crate) files: &'a Files<'m, E>,
    pub(crate) swap: &'a Swap<'m, E>,
    pub(crate) spaces: &'a Spaces<'m, E>,
    pub(crate) rmap: &'a Rmap<'m, E>,
    /// How often an event happened.
    pub(crate) event: &'a dyn Fn(VmEvent) -> u64,
}

impl<E: Env> Books<'_, '_, E> {
    /// Checks everything; returns where the pages are. It does not sleep, so that a kernel may call
    /// it with all other CPUs stopped.
    ///
    /// # Errors
    /// The first violation found.
    pub(crate) fn validate(&self) -> Result<Census, Violation> {
        self.lru.drain_all();
        if let Some(zone) =
            ZoneId::ALL.map(|id| self.zones.zone(id)).into_iter().find(|zone| !zone.drain_pcp())
        {
            return Err(Violation::BusyLists(zone.id()));
        }
        let mut census = Census::default();
        self.check_spaces(&mut census)?;
        self.check_files(&mut census)?;
        self.check_free_lists(&mut census)?;
        self.check_lru_lists(&mut census)?;
        self.check_pages(&mut census)?;
        self.check_slots(&census)?;
        self.check_counters()?;
        Ok(census)
    }

    /// The identities between counters that hold at any quiet moment.
    ///
    /// # Errors
    /// The identity that does not hold.
    pub(crate) fn check_counters(&self) -> Result<(), Violation> {
        let n = |event| (self.event)(event);
        let by_caller = |k, d, p| n(k) + n(d) + n(p);
        let scanned =
            by_caller(VmEvent::PgScanKswapd, VmEvent::PgScanDirect, VmEvent::PgScanProactive);
        let stolen =
            by_caller(VmEvent::PgStealKswapd, VmEvent::PgStealDirect, VmEvent::PgStealProactive);
        let identities = [
            (scanned >= stolen, "pgscan >= pgsteal"),
            (n(VmEvent::PgScanKswapd) >= n(VmEvent::PgStealKswapd), "kswapd: pgscan >= pgsteal"),
            (n(VmEvent::PgScanDirect) >= n(VmEvent::PgStealDirect), "direct: pgscan >= pgsteal"),
            (
                n(VmEvent::PgScanAnon) + n(VmEvent::PgScanFile) == scanned,
                "pgscan: anon + file == kswapd + direct + proactive",
            ),
            (
                n(VmEvent::PgStealAnon) + n(VmEvent::PgStealFile) == stolen,
                "pgsteal: anon + file == kswapd + direct + proactive",
            ),
            (
                n(VmEvent::WorkingsetActivateAnon) <= n(VmEvent::WorkingsetRefaultAnon),
                "refault_activate <= refault",
            ),
            (n(VmEvent::PgAlloc) >= n(VmEvent::PgFree), "pgalloc >= pgfree"),
        ];
        match identities.iter().find(|(holds, _)| !holds) {
            Some((_, name)) => Err(Violation::CounterIdentity(name)),
            None => Ok(()),
        }
    }
}
