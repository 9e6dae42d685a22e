//! The page descriptor.
//!
//! One [`Page`] stands for one frame, 32 bytes of it, and there is one for every frame of
//! every zone. It holds handles, never pointers, so that it fits with no slack:
//!
//! | field | bytes | while free | anonymous page | compound kernel page |
//! | --- | --- | --- | --- | --- |
//! | `flags` | 4 | `BUDDY` (heads) and the zone | state and the zone | `HEAD`/`TAIL` and the zone |
//! | `refs` | 4 | 0 | see below | 1 in the head |
//! | `mapcount`, `memcg` | 2 + 2 | 0 | mappings, group | 0 |
//! | `next`, `prev` | 8 | free list | LRU or private list | unlinked |
//! | `private` | 4 | order | swap entry, in the swap cache | first tail: order |
//! | `place`, low half: `owner` | 4 | 0 | handle of its family, or its file | tails: the head's frame |
//! | `place`, high half: `index` | 4 | migrate type | linear index in the family | 0 |
//!
//! # The reference count as a state machine
//!
//! ```text
//!            alloc                 get_unless_zero / get
//!   0 free ----------> 1 owned  <------------------------> n held
//!     ^                  |  ^ put                             |
//!     |  free to zone    v  |                                 | freeze(expected)
//!     +----------- 0 frozen <---------------------------------+
//! ```
//!
//! A frozen page and a free page both read 0; the difference is the owner: a frozen page is held by
//! exactly one [`FrozenPage`], so no new reference can be taken. A reference is held by: each
//! mapping in a page table, the swap cache (one), an isolation (one), a batch that the page waits
//! in (one), and each temporary user. An LRU list holds none: the last put unlinks the page from
//! its list.
//!
//! # Locks (the letters on the fields)
//!
//! (A) atomic, any time; (L) the lruvec's lock while `LRU` is set, else the token's holder;
//! (Z) the zone's lock while free; (P) the page lock; (C) constant after initialisation.
//!
//! *The LRU flag is set exactly while the page is linked on the list that its flags name,
//! and both change only under that lruvec's lock.*

mod flags;
pub(crate) mod list;
pub mod memmap;
pub(crate) mod pool;
mod token;
mod token_array;
mod transitions;

pub(crate) use flags::ListChoice;
pub use flags::{CHECK_AT_FREE, LruList, PageFlags, PageType};
pub(crate) use token::NewPage;
pub use token::{FrozenPage, IsolatedPage, LockedPage, PageLock, PageRef};
pub(crate) use token_array::{IsolatedPages, MOST_ISOLATED, TokenArray};

use core::fmt;

use crate::base::sync::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use crate::base::units::{FileId, FilePage};

/// The two top bits of the flag word name the zone. (C)
const ZONE_SHIFT: u32 = 30;
/// A page that is on no list carries this in `next`.
pub(crate) const UNLINKED: u32 = u32::MAX;
/// The most mappings that a page can have; a fork that would add one more fails.
pub const MAPCOUNT_MAX: u16 = u16::MAX - 1;

/// The descriptor of one frame.
#[repr(C, align(32))]
pub struct Page {
    /// State (see [`PageFlags`]) and zone. Each flag has a lock letter of its own.
    flags: AtomicU32,
    /// References. (A)
    refs: AtomicU32,
    /// Page-table entries that map the page. (A), changed under a page-table lock
    mapcount: AtomicU16,
    /// The memory control group that is charged. (P)
    memcg: AtomicU16,
    /// Next on the list, as frame index + 1; 0 at the end. (L) (Z)
    pub(crate) next: AtomicU32,
    /// Previous on the list, as frame index + 1; 0 at the start. (L) (Z)
    pub(crate) prev: AtomicU32,
    /// Swap entry or order. (P) (Z)
    private: AtomicU32,
    /// The owner, such as the handle of the anon family that maps the page, and above it the index
    /// in the family: one word, because both change together. (P), set before the first mapping
    place: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Page>() == 32, "a page descriptor is 32 bytes");

impl Page {
    /// The descriptor of a frame that cannot be allocated yet. A frame that is not present, a hole,
    /// has no reference count.
    pub(crate) const fn reserved(zone: u8, present: bool) -> Self {
        Self {
            flags: AtomicU32::new(((zone as u32) << ZONE_SHIFT) | PageFlags::RESERVED.bits()),
            refs: AtomicU32::new(present as u32),
            mapcount: AtomicU16::new(0),
            memcg: AtomicU16::new(0),
            next: AtomicU32::new(UNLINKED),
            prev: AtomicU32::new(UNLINKED),
            private: AtomicU32::new(0),
            place: AtomicU64::new(0),
        }
    }

    /// The flags as they are at this moment.
    #[inline(always)]
    pub fn flags(&self) -> PageFlags {
        PageFlags::from_bits_truncate(self.flags.load(Ordering::Relaxed))
    }

    /// Whether all of `flags` are set at this moment.
    #[inline(always)]
    pub fn has(&self, flags: PageFlags) -> bool {
        self.flags.load(Ordering::Relaxed) & flags.bits() == flags.bits()
    }

    /// The zone that the frame lies in.
    #[inline(always)]
    pub fn zone_index(&self) -> usize {
        (self.flags.load(Ordering::Relaxed) >> ZONE_SHIFT) as usize
    }

    /// The list that the page is on, or would be put on.
    pub fn lru_list(&self) -> LruList {
        LruList::of(self.flags())
    }

    /// References at this moment.
    pub fn refs(&self) -> u32 {
        self.refs.load(Ordering::Relaxed)
    }

    /// Page-table entries that map the page.
    #[inline(always)]
    pub fn mapcount(&self) -> u16 {
        self.mapcount.load(Ordering::Relaxed)
    }

    /// Whether a page table maps the page.
    #[inline(always)]
    pub fn is_mapped(&self) -> bool {
        self.mapcount() != 0
    }

    /// The memory control group that is charged for the page.
    pub fn memcg(&self) -> u16 {
        self.memcg.load(Ordering::Relaxed)
    }

    /// The owner: the handle of the family of areas that may map the page, or its file if `FILE` is
    /// set; of a tail, the head's frame. 0 if the page is unowned.
    #[doc(alias = "mapping")]
    #[inline(always)]
    pub fn owner(&self) -> u32 {
        self.place.load(Ordering::Relaxed) as u32
    }

    /// The linear index within the family, or within the file.
    #[inline(always)]
    pub fn index(&self) -> u32 {
        (self.place.load(Ordering::Relaxed) >> 32) as u32
    }

    /// The swap entry of a page in the swap cache, or the order of a free block; of a compound
    /// page the first tail has the order.
    #[inline(always)]
    pub fn private(&self) -> u32 {
        self.private.load(Ordering::Relaxed)
    }

    /// Whether the page is linked on some list.
    pub fn is_linked(&self) -> bool {
        self.next.load(Ordering::Relaxed) != UNLINKED
    }

    /// Whether the frame is memory that the boot has not handed over (yet).
    #[inline(always)]
    pub(crate) fn is_boot_memory(&self) -> bool {
        self.has(PageFlags::RESERVED) && self.refs() > 0
    }

    /// Whether a program has given up the contents (`MADV_FREE`): an anonymous page, which has an
    /// owner, that is not backed by swap. For the holder of a page that is on a list or isolated.
    #[inline]
    pub fn is_lazily_freed(&self) -> bool {
        !self.flags().intersects(PageFlags::SWAPBACKED | PageFlags::FILE) && self.owner() != 0
    }

    /// The file and offset of the page, if it is in a file's page cache.
    #[inline]
    pub fn file_page(&self) -> Option<FilePage> {
        let at = || FilePage { file: FileId(self.owner()), index: self.index() };
        self.has(PageFlags::FILE).then(at)
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page")
            .field("flags", &self.flags())
            .field("zone", &self.zone_index())
            .field("refs", &self.refs())
            .field("mapcount", &self.mapcount())
            .field("owner", &self.owner())
            .field("index", &self.index())
            .field("private", &self.private())
            .finish()
    }
}

#[cfg(test)]
mod tests;
