//! Areas (VMAs): ranges of an address space with common rights.
//!
//! Data: an [`Area`] lives in a pool ([`crate::page::pool`]) and is named by a handle. The first
//! touch gives it a family ([`super::family`]), by which reclaim finds it.
//!
//! A page stores its family's handle and a linear index. Every area of the family that
//! covers the index may map the page, at the virtual page `index + shift`: a new area has
//! shift 0, a split and a fork keep the shift, and moving an area changes only the shift. So
//! rmap survives fork, splits and mremap, and a page needs no list of its mappings.
//!
//! Owner: the address space, whose tree it is in from its creation until it is freed.
//!
//! Locks: the area lock of the address space guards every field but the hints for read-ahead; the lock of the tree of
//! families guards bounds, shift, family, chain and neighbours, too, once there is a family.

use core::ops::Range;

use bitflags::bitflags;

use super::tree::UNLINKED;
use super::{FamilyHandle, SpaceHandle};
use crate::base::errseq::Seen;
use crate::base::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::base::units::{FileId, Vpn};
use crate::env::Prot;
use crate::page::pool::kind::{AREA, FAMILY, FILE, LINK, SPACE};
use crate::page::pool::{Handle, HandleCell, Pool};

/// Every area of a machine.
pub(crate) type Areas<'m, C> = Pool<'m, C, Area, AREA>;

bitflags! {
    /// Properties of an area beside its rights.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct AreaFlags: u32 {
        /// Locked into memory (`VM_LOCKED`).
        const LOCKED = 1 << 8;
        /// Stores go to the file, and are seen by all that map it (`VM_SHARED`). Only of a file.
        const SHARED = 1 << 9;
        /// Pages are used in no order (`VM_RAND_READ`).
        const RAND_READ = 1 << 10;
        /// Pages are used one after the other (`VM_SEQ_READ`).
        const SEQ_READ = 1 << 11;
        /// It never becomes writable: its file was not opened for that.
        #[doc(alias = "VM_MAYWRITE")]
        const READ_ONLY = 1 << 12;
    }
}

/// What an area contains where no page was ever touched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backing {
    /// Anonymous memory, initially zero.
    #[doc(alias = "vma_is_anonymous")]
    Anonymous,
    /// A file: the linear index of a page is its place in the file. If the area is not shared, the
    /// first store to a page copies it into anonymous memory.
    File(FileId),
}

/// A range of one address space. Fields are changed under the space's area lock, and
/// under that of the tree of families too once there is a family.
pub struct Area {
    space: HandleCell<SPACE>,
    start: AtomicU32,
    end: AtomicU32,
    /// Virtual page minus linear index, wrapping.
    shift: AtomicU32,
    /// [`Prot`] in the low byte, [`AreaFlags`] above.
    rights: AtomicU32,
    /// Its own family, if it has one.
    family: HandleCell<FAMILY>,
    /// The file that it maps, if any: the area has a reference to it.
    file: HandleCell<FILE>,
    /// Links of the tree of the file's areas, and the end of the last page in the file that an area
    /// below this one in the tree covers; guarded by the file's `areas` lock.
    pub(super) file_links: FileLinks,
    /// The first of its links to the other families that it is in.
    pub(super) chain: HandleCell<LINK>,
    /// Neighbours among the members of its own family.
    pub(super) next: HandleCell<AREA>,
    pub(super) prev: HandleCell<AREA>,
    /// Links of the tree of the space's areas; guarded by the area lock.
    pub(super) left: AtomicU32,
    pub(super) right: AtomicU32,
    /// [`UNLINKED`] while the area is in no tree.
    pub(super) parent: AtomicU32,
    pub(super) red: AtomicBool,
    /// A [`ReadAhead`], without a lock: hints.
    ahead_last: AtomicU32,
    ahead_pages: AtomicU8,
    ahead_hits: AtomicU8,
    /// The window of what is read ahead of its file, in two words; hints, too.
    file_ahead: [AtomicU64; 2],
    /// What it knows of its file's write errors.
    seen: AtomicU32,
}

/// What an area remembers of its last swap-in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadAhead {
    /// The page of the last fault on a swap entry.
    pub(crate) last: Vpn,
    /// Pages of the last read.
    pub(crate) pages: u8,
    /// Pages read ahead that were wanted since.
    pub(crate) hits: u8,
}

/// How an area hangs in the tree of the areas that map its file.
pub(super) struct FileLinks {
    pub(super) left: HandleCell<AREA>,
    pub(super) right: HandleCell<AREA>,
    pub(super) parent: HandleCell<AREA>,
    /// The end of what the area and those below it cover.
    pub(super) last: AtomicU32,
}

#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Area>() <= 124, "an area and its free link fit two lines");

/// An area's fields as plain values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AreaView {
    /// The first page.
    pub start: Vpn,
    /// The page after the last.
    pub end: Vpn,
    /// Virtual page minus linear index, wrapping.
    pub shift: u32,
    /// What user mode may do.
    pub prot: Prot,
    /// Other properties.
    pub flags: AreaFlags,
    /// What backs it.
    pub backing: Backing,
    /// Its own family, if it has one.
    pub family: Option<FamilyHandle>,
}

/// Rights and flags in one word.
#[inline(always)]
fn rights_word(prot: Prot, flags: AreaFlags) -> u32 {
    u32::from(prot.bits()) | flags.bits()
}

/// The inverse of [`rights_word`].
#[inline(always)]
fn rights_of(word: u32) -> (Prot, AreaFlags) {
    (Prot::from_bits_truncate(word as u8), AreaFlags::from_bits_truncate(word))
}

impl AreaView {
    /// A new area of anonymous memory.
    pub(crate) const fn anonymous(range: Range<Vpn>, prot: Prot, flags: AreaFlags) -> Self {
        let (start, end) = (range.start, range.end);
        Self { start, end, shift: 0, prot, flags, backing: Backing::Anonymous, family: None }
    }

    /// The linear index of a page of the area.
    pub const fn index_of(&self, vpn: Vpn) -> u32 {
        vpn.0.wrapping_sub(self.shift)
    }

    /// Whether stores go to a file.
    pub const fn is_shared(&self) -> bool {
        self.flags.contains(AreaFlags::SHARED)
    }

    /// Pages in the area.
    pub const fn pages(&self) -> u32 {
        self.end.0 - self.start.0
    }

    /// The part of the area from `start` to `end`, which lies in it.
    pub(crate) const fn part(&self, start: Vpn, end: Vpn) -> Self {
        Self { start, end, ..*self }
    }

    /// Whether this area and `upper`, which begins where it ends, can be merged: they agree in
    /// everything, and one of them is in every family that either is in. Two of the same own family
    /// are in the same families; an untouched one is in none.
    pub(crate) fn agrees(&self, upper: &Self) -> bool {
        self.end == upper.start
            && self.prot == upper.prot
            && self.flags == upper.flags
            && self.backing == upper.backing
            && self.shift == upper.shift
            && (self.family == upper.family || self.family.is_none() || upper.family.is_none())
    }
}

impl Area {
    pub(crate) const fn blank() -> Self {
        Self {
            space: HandleCell::none(),
            start: AtomicU32::new(0),
            end: AtomicU32::new(0),
            shift: AtomicU32::new(0),
            rights: AtomicU32::new(0),
            family: HandleCell::none(),
            file: HandleCell::none(),
            file_links: FileLinks {
                left: HandleCell::none(),
                right: HandleCell::none(),
                parent: HandleCell::none(),
                last: AtomicU32::new(0),
            },
            chain: HandleCell::none(),
            next: HandleCell::none(),
            prev: HandleCell::none(),
            left: AtomicU32::new(0),
            right: AtomicU32::new(0),
            parent: AtomicU32::new(UNLINKED),
            red: AtomicBool::new(false),
            ahead_last: AtomicU32::new(0),
            ahead_pages: AtomicU8::new(0),
            ahead_hits: AtomicU8::new(0),
            file_ahead: [const { AtomicU64::new(0) }; 2],
            seen: AtomicU32::new(0),
        }
    }

    /// What it knows of its file's write errors.
    pub(crate) fn seen(&self) -> Seen {
        Seen::of_raw(self.seen.load(Ordering::Relaxed))
    }

    /// Whether this area and `upper` can be merged: as [`AreaView::agrees`], and what they have reported
    /// of their file's errors is the same.
    pub(crate) fn agrees(&self, upper: &Self) -> bool {
        let (lower, view) = (self.view(), upper.view());
        lower.agrees(&view) && (lower.backing == Backing::Anonymous || self.seen() == upper.seen())
    }

    /// Sets [`Area::seen`].
    pub(crate) fn set_seen(&self, seen: Seen) {
        self.seen.store(seen.raw(), Ordering::Relaxed);
    }

    /// The window of what is read ahead of its file.
    pub(crate) fn file_ahead(&self) -> [u64; 2] {
        [0, 1].map(|at| self.file_ahead[at].load(Ordering::Relaxed))
    }

    /// Sets [`Area::file_ahead`].
    pub(crate) fn set_file_ahead(&self, words: [u64; 2]) {
        for (cell, word) in self.file_ahead.iter().zip(words) {
            cell.store(word, Ordering::Relaxed);
        }
    }

    /// Initialises a fresh area, which is not published yet and is in no family.
    pub(crate) fn init(&self, space: Option<SpaceHandle>, view: AreaView) {
        self.space.put(space);
        self.set_bounds(view.start, view.end);
        self.shift.store(view.shift, Ordering::Relaxed);
        self.set_rights(view.prot, view.flags);
        self.file.put(match view.backing {
            Backing::Anonymous => None,
            Backing::File(file) => Handle::new(file.0),
        });
        debug_assert_eq!(self.chain.get(), None, "it is still in families");
        self.set_family(None);
        self.set_read_ahead(ReadAhead { last: view.start, pages: 0, hits: 0 });
        self.set_file_ahead([0; 2]);
    }

    pub(crate) fn read_ahead(&self) -> ReadAhead {
        ReadAhead {
            last: Vpn(self.ahead_last.load(Ordering::Relaxed)),
            pages: self.ahead_pages.load(Ordering::Relaxed),
            hits: self.ahead_hits.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn set_read_ahead(&self, ahead: ReadAhead) {
        self.ahead_last.store(ahead.last.0, Ordering::Relaxed);
        self.ahead_pages.store(ahead.pages, Ordering::Relaxed);
        self.ahead_hits.store(ahead.hits, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn view(&self) -> AreaView {
        let (prot, flags) = self.rights();
        AreaView {
            start: self.start(),
            end: self.end(),
            shift: self.shift.load(Ordering::Relaxed),
            prot,
            flags,
            backing: self.backing(),
            family: self.family(),
        }
    }

    /// What it contains where no page was touched.
    #[inline(always)]
    pub(crate) fn backing(&self) -> Backing {
        match self.file.get() {
            None => Backing::Anonymous,
            Some(file) => Backing::File(FileId(file.raw())),
        }
    }

    /// The pages of its file that it covers, the last one included.
    #[inline(always)]
    pub(super) fn file_range(&self) -> (u32, u32) {
        let first =
            self.start.load(Ordering::Relaxed).wrapping_sub(self.shift.load(Ordering::Relaxed));
        (first, first + (self.end().0 - self.start().0 - 1))
    }

    /// What user mode may do, and other properties.
    #[inline(always)]
    pub(crate) fn rights(&self) -> (Prot, AreaFlags) {
        rights_of(self.rights.load(Ordering::Relaxed))
    }

    /// Whether it is locked into memory.
    #[inline(always)]
    pub(crate) fn is_locked(&self) -> bool {
        self.rights().1.contains(AreaFlags::LOCKED)
    }

    /// The address space that it is in.
    #[inline(always)]
    pub(crate) fn space(&self) -> Option<SpaceHandle> {
        self.space.get()
    }

    #[inline(always)]
    pub(crate) fn start(&self) -> Vpn {
        Vpn(self.start.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn end(&self) -> Vpn {
        Vpn(self.end.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn family(&self) -> Option<FamilyHandle> {
        self.family.get()
    }

    pub(crate) fn set_bounds(&self, start: Vpn, end: Vpn) {
        self.start.store(start.0, Ordering::Relaxed);
        self.end.store(end.0, Ordering::Relaxed);
    }

    pub(crate) fn set_rights(&self, prot: Prot, flags: AreaFlags) {
        self.rights.store(rights_word(prot, flags), Ordering::Relaxed);
    }

    pub(super) fn set_family(&self, family: Option<FamilyHandle>) {
        self.family.put(family);
    }

    /// The virtual page of linear index `index` in the area, if it covers that.
    pub(crate) fn page_of(&self, index: u32) -> Option<Vpn> {
        let vpn = Vpn(index.wrapping_add(self.shift.load(Ordering::Relaxed)));
        (self.start() <= vpn && vpn < self.end()).then_some(vpn)
    }
}

#[cfg(test)]
mod tests;
