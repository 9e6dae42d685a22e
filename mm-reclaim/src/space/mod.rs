//! Address spaces: areas, translation tables, and what a process costs.
//!
//! Data: an [`AddressSpace`] owns its tree of areas, its tables and its counters. It lives in
//! a pool (`page/pool.rs`), and the directory maps its name, a [`SpaceId`], to it.
//!
//! Locks, outermost first: the area lock (sleeping; faults hold it across I/O and
//! reclaim), the lock of a tree of families, the page-table lock (spin). An rmap walk comes
//! from below: tree, then page table, never the area lock, because it may run inside a fault
//! that holds one. Two page-table locks are held at once only by `fork`, the parent's first:
//! the child is not reachable by any other path that holds a page-table lock.

mod area;
mod directory;
mod family;
mod file_areas;
mod index;
mod open;
mod spaces;
mod tree;
mod zero_page;

pub use area::{Area, AreaFlags, AreaView, Backing};
pub(crate) use area::{Areas, ReadAhead};
pub(crate) use directory::Directory;
pub(crate) use family::{Families, Links, Loose, Tally, Tree, TreeLock, Trees};
pub use family::{Family, Link};
pub(crate) use file_areas::FileAreas;
pub(crate) use index::AreaIndex;
pub use index::MAX_MAP_COUNT;
pub use open::OpenSpace;
pub(crate) use spaces::{HeldSpace, SpaceOf, Spaces};

use crate::base::lock_order::TABLES;
use crate::base::sync::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Lock, Ordering};
use crate::base::units::Vpn;
use crate::base::wait::SleepLock;
use crate::env::{Cpu, PageTables};
use crate::page::pool::kind::{AREA, FAMILY, LINK, SPACE};
use crate::page::pool::{Handle, Pool, Window};

pub use crate::base::units::SpaceId;

/// The name of an area.
pub(crate) type AreaHandle = Handle<AREA>;
/// The name of a family.
pub type FamilyHandle = Handle<FAMILY>;
/// The name of a link.
pub(crate) type LinkHandle = Handle<LINK>;
/// The name of an address space.
pub(crate) type SpaceHandle = Handle<SPACE>;

/// Every address space of a machine.
pub(crate) type SpacePool<'m, C, T> = Pool<'m, C, AddressSpace<'m, C, T>, SPACE>;

/// The first page that user mode may map: a null pointer with a small offset faults.
pub const USER_START: Vpn = Vpn(16);
/// The first page beyond user memory: 39 bits of address.
pub const USER_END: Vpn = Vpn(1 << 27);
/// Where the search for a free range begins; it goes downwards.
pub const MMAP_TOP: Vpn = Vpn((1 << 27) - (1 << 15));

/// Why an operation on an address space was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SpaceError {
    /// There is no address space of that name (any more).
    NoSuchSpace,
    /// No memory for tables, spaces, areas, families or links.
    NoMemory,
    /// The space has the maximum number of areas ([`MAX_MAP_COUNT`]), or the machine the maximum
    /// number of spaces.
    TableFull,
    /// Part of the range is locked into memory, where the advice must not be followed.
    Locked {
        /// The first page of the area that is locked.
        start: Vpn,
    },
    /// Part of the range maps a file, where the advice is for anonymous memory.
    NotAnonymous {
        /// The first page of the area that does.
        start: Vpn,
    },
    /// Part of the range never becomes writable ([`AreaFlags::READ_ONLY`]); what is before it has the
    /// new rights.
    ReadOnly {
        /// The first page of the area that does not.
        start: Vpn,
    },
    /// The range is empty, wraps, leaves the user's half or contains a hole.
    BadRange {
        /// The first page of the range.
        start: Vpn,
        /// The page after its last.
        end: Vpn,
    },
    /// No hole is large enough.
    NoHole {
        /// Pages requested.
        pages: u32,
    },
    /// A page has the maximum number of mappings.
    TooManyMappings,
    /// The caller was killed.
    Killed,
}

/// One address space.
#[doc(alias = "mm_struct")]
pub struct AddressSpace<'m, C: Cpu, T: PageTables> {
    /// The areas, guarded by the area lock.
    pub(crate) areas: SleepLock<AreaIndex<'m>>,
    /// The tables, guarded by the page-table lock; `None` while the space is unused.
    pub(crate) tables: Lock<C, Option<T>, TABLES>,
    /// Pages mapped.
    pub(crate) resident: AtomicU32,
    /// Swap entries in the tables.
    pub(crate) swapped: AtomicU32,
    /// Frames of the tables.
    pub(crate) table_frames: AtomicU32,
    /// Faults by how they ended; changed under the page-table lock.
    pub(crate) min_faults: AtomicU64,
    pub(crate) maj_faults: AtomicU64,
    /// Faults that found a page that was read ahead.
    pub(crate) ra_hits: AtomicU64,
    /// A process uses it; the killer considers it.
    pub(crate) live: AtomicBool,
    /// Its process is exiting: its memory is about to be freed.
    pub(crate) dying: AtomicBool,
    /// Its process was killed by the out-of-memory killer, and the reaper is to empty it.
    pub(crate) victim: AtomicBool,
    /// The reaper has emptied it: no more memory can be freed from it.
    pub(crate) reaped: AtomicBool,
    /// What is added to its badness, in thousandths of all memory (two's complement).
    pub(crate) oom_score_adj: AtomicU16,
}

/// The counters of an address space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpaceStat {
    /// Pages mapped.
    pub resident: u32,
    /// Pages in swap.
    pub swapped: u32,
    /// Frames of translation tables.
    pub table_frames: u32,
    /// Faults that needed no I/O.
    pub min_faults: u64,
    /// Faults that needed I/O.
    pub maj_faults: u64,
}

impl<'m, C: Cpu, T: PageTables> AddressSpace<'m, C, T> {
    /// An unused space, whose areas will lie in `window`.
    pub(crate) fn blank(window: Window<'m>) -> Self {
        Self {
            areas: SleepLock::new(AreaIndex::new(window)),
            tables: Lock::new(None),
            resident: AtomicU32::new(0),
            swapped: AtomicU32::new(0),
            table_frames: AtomicU32::new(0),
            min_faults: AtomicU64::new(0),
            maj_faults: AtomicU64::new(0),
            ra_hits: AtomicU64::new(0),
            live: AtomicBool::new(false),
            dying: AtomicBool::new(false),
            victim: AtomicBool::new(false),
            reaped: AtomicBool::new(false),
            oom_score_adj: AtomicU16::new(0),
        }
    }

    /// Resets the counters of the space that had this place before.
    pub(crate) fn reset(&self) {
        for counter in [&self.resident, &self.swapped, &self.table_frames] {
            counter.store(0, Ordering::Relaxed);
        }
        self.min_faults.store(0, Ordering::Relaxed);
        self.maj_faults.store(0, Ordering::Relaxed);
        self.ra_hits.store(0, Ordering::Relaxed);
        for mark in [&self.dying, &self.victim, &self.reaped] {
            mark.store(false, Ordering::Relaxed);
        }
        self.oom_score_adj.store(0, Ordering::Relaxed);
    }

    /// Counts mapped or unmapped pages. Under the page-table lock, so a plain addition is enough.
    #[inline(always)]
    pub(crate) fn add_resident(&self, delta: i32) {
        add(&self.resident, delta);
    }

    /// Counts new or removed swap entries, under the page-table lock.
    #[inline(always)]
    pub(crate) fn add_swapped(&self, delta: i32) {
        add(&self.swapped, delta);
    }

    /// For operations under the area lock: fails if the reaper has emptied the space.
    ///
    /// # Errors
    /// [`SpaceError::Killed`].
    pub(crate) fn refuse_reaped(&self) -> Result<(), SpaceError> {
        match self.reaped.load(Ordering::Relaxed) {
            true => Err(SpaceError::Killed),
            false => Ok(()),
        }
    }

    /// The counters.
    pub fn stat(&self) -> SpaceStat {
        SpaceStat {
            resident: self.resident.load(Ordering::Relaxed),
            swapped: self.swapped.load(Ordering::Relaxed),
            table_frames: self.table_frames.load(Ordering::Relaxed),
            min_faults: self.min_faults.load(Ordering::Relaxed),
            maj_faults: self.maj_faults.load(Ordering::Relaxed),
        }
    }
}

#[inline(always)]
fn add(count: &AtomicU32, delta: i32) {
    count.store(count.load(Ordering::Relaxed).wrapping_add_signed(delta), Ordering::Relaxed);
}
