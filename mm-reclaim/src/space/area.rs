//! Areas (VMAs) and the anon families that reclaim finds them by.
//!
//! Data: an [`Area`] is a range of pages of one address space with common rights. It
//! lives in a pool ([`crate::page::pool`]) and is named by a handle. The first touch of an area
//! gives it an anon family ([`AnonVma`]), a neighbour's if the two could become one area;
//! `fork` and splits put the new area into the same family.
//!
//! A page stores its family's handle and a linear index. Every area of the family that
//! covers the index may map the page, at the virtual page `index + shift`: a new area has
//! shift 0, a split keeps the shift, and moving an area changes only the shift. So rmap
//! survives fork, splits and mremap, and a page needs no list of its mappings.
//!
//! Cost: a walk visits at most the areas of the family, that is of the processes forked
//! from one ancestor since the area was made, and ends as soon as it has met as many
//! mappings as the page counts. Depth is one: family, area, page-table entry.
//!
//! Locks: the family's spin lock guards its list and, for the rmap walk, the bounds and
//! the shift of each area on it. Whoever changes an area holds the area lock of its
//! address space and then the family's lock. Family locks nest around page-table locks.
//!
//! A handle that a page still carries after its last unmapping may name a family that was
//! given back and taken again, or one whose frame is gone. A walk holds the frame while it
//! follows the handle, and compares frames: wasted work at worst, never a wrong answer.

use bitflags::bitflags;

use super::tree::UNLINKED;
use crate::base::lock_order::FAMILY;
use crate::base::sync::{AtomicBool, AtomicU32, Lock, LockGuard, Ordering};
use crate::base::units::Vpn;
use crate::env::{Cpu, Prot};
use crate::page::pool::Pool;

/// Areas of a family that [`Members::is_of_one_space`] looks at.
const FEW: u32 = 16;

/// Chunks of areas, for [`Pool`].
pub(crate) const AREA: u32 = 1;
/// Chunks of families.
pub(crate) const ANON_VMA: u32 = 2;
/// Chunks of address spaces.
pub(crate) const SPACE: u32 = 3;

/// Every area of a machine.
pub(crate) type Areas<'m, C> = Pool<'m, C, Area, AREA>;
/// Every anon family of a machine.
pub(crate) type AnonVmas<'m, C> = Pool<'m, C, AnonVma<C>, ANON_VMA>;

bitflags! {
    /// Properties of an area beside its rights.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct AreaFlags: u32 {
        /// Locked into memory (`VM_LOCKED`).
        const LOCKED = 1 << 8;
    }
}

/// A range of one address space. Fields are changed under the space's area lock, and
/// under the family's lock too once there is a family.
pub struct Area {
    space: AtomicU32,
    start: AtomicU32,
    end: AtomicU32,
    /// Virtual page minus linear index, wrapping.
    shift: AtomicU32,
    /// [`Prot`] in the low byte, [`AreaFlags`] above.
    rights: AtomicU32,
    anon: AtomicU32,
    /// Neighbours on the family's list; guarded by the family's lock.
    next: AtomicU32,
    prev: AtomicU32,
    /// Links of the tree of the space's areas; guarded by the area lock.
    pub(super) left: AtomicU32,
    pub(super) right: AtomicU32,
    /// [`UNLINKED`] while the area is in no tree.
    pub(super) parent: AtomicU32,
    pub(super) red: AtomicBool,
}

#[cfg(not(any(loom, shuttle)))]
const _: () = assert!(size_of::<Area>() <= 60, "an area and its free link fit a line");

/// An area's fields as plain values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AreaView {
    /// The first page.
    pub start: Vpn,
    /// The page behind the last.
    pub end: Vpn,
    /// Virtual page minus linear index, wrapping.
    pub shift: u32,
    /// What user mode may do.
    pub prot: Prot,
    /// Other properties.
    pub flags: AreaFlags,
    /// The anon family's handle, or 0.
    pub anon: u32,
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
    /// The linear index of a page of the area.
    pub const fn index_of(&self, vpn: Vpn) -> u32 {
        vpn.0.wrapping_sub(self.shift)
    }

    /// Pages in the area.
    pub const fn pages(&self) -> u32 {
        self.end.0 - self.start.0
    }

    /// The part of the area from `start` to `end`, which lies in it.
    pub(crate) const fn part(&self, start: Vpn, end: Vpn) -> Self {
        Self { start, end, ..*self }
    }

    /// Whether this area and `upper`, which begins where it ends, could be one: they agree in
    /// everything, and at most one of them has pages of a family of its own.
    pub(crate) fn agrees(&self, upper: &Self) -> bool {
        self.end == upper.start
            && self.prot == upper.prot
            && self.flags == upper.flags
            && self.shift == upper.shift
            && (self.anon == upper.anon || self.anon == 0 || upper.anon == 0)
    }
}

impl Area {
    pub(crate) const fn blank() -> Self {
        Self {
            space: AtomicU32::new(0),
            start: AtomicU32::new(0),
            end: AtomicU32::new(0),
            shift: AtomicU32::new(0),
            rights: AtomicU32::new(0),
            anon: AtomicU32::new(0),
            next: AtomicU32::new(0),
            prev: AtomicU32::new(0),
            left: AtomicU32::new(0),
            right: AtomicU32::new(0),
            parent: AtomicU32::new(UNLINKED),
            red: AtomicBool::new(false),
        }
    }

    /// Fills a fresh area, which nobody else can reach yet.
    pub(crate) fn init(&self, space: u32, view: AreaView) {
        self.space.store(space, Ordering::Relaxed);
        self.set_bounds(view.start, view.end);
        self.shift.store(view.shift, Ordering::Relaxed);
        self.set_rights(view.prot, view.flags);
        self.anon.store(view.anon, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn view(&self) -> AreaView {
        let (prot, flags) = rights_of(self.rights.load(Ordering::Relaxed));
        AreaView {
            start: self.start(),
            end: self.end(),
            shift: self.shift.load(Ordering::Relaxed),
            prot,
            flags,
            anon: self.anon(),
        }
    }

    /// The handle of the address space.
    pub(crate) fn space(&self) -> u32 {
        self.space.load(Ordering::Relaxed)
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
    pub(crate) fn anon(&self) -> u32 {
        self.anon.load(Ordering::Relaxed)
    }

    pub(crate) fn set_bounds(&self, start: Vpn, end: Vpn) {
        self.start.store(start.0, Ordering::Relaxed);
        self.end.store(end.0, Ordering::Relaxed);
    }

    pub(crate) fn set_rights(&self, prot: Prot, flags: AreaFlags) {
        self.rights.store(rights_word(prot, flags), Ordering::Relaxed);
    }

    pub(crate) fn set_anon(&self, anon: u32) {
        self.anon.store(anon, Ordering::Relaxed);
    }

    /// The virtual page at which the area shows linear index `index`, if it covers it.
    pub(crate) fn page_of(&self, index: u32) -> Option<Vpn> {
        let vpn = Vpn(index.wrapping_add(self.shift.load(Ordering::Relaxed)));
        (self.start() <= vpn && vpn < self.end()).then_some(vpn)
    }
}

/// The areas that may map a family's pages.
#[doc(alias = "anon_vma")]
pub struct AnonVma<C: Cpu> {
    members: Lock<C, Members, FAMILY>,
}

/// A family's list of areas, inside its lock.
pub(crate) struct Members {
    first: u32,
    count: u32,
}

impl<C: Cpu> AnonVma<C> {
    pub(crate) const fn blank() -> Self {
        Self { members: Lock::new(Members { first: 0, count: 0 }) }
    }

    #[inline(always)]
    pub(crate) fn lock(&self) -> LockGuard<'_, C, Members, FAMILY> {
        self.members.lock()
    }
}

impl Members {
    /// Adds an area at the front: the youngest is looked at first.
    pub(crate) fn link<C: Cpu>(&mut self, areas: &Areas<'_, C>, area: &Area) {
        let handle = areas.handle_of(area);
        area.next.store(self.first, Ordering::Relaxed);
        area.prev.store(0, Ordering::Relaxed);
        if self.first != 0 {
            areas.at(self.first).prev.store(handle, Ordering::Relaxed);
        }
        self.first = handle;
        self.count += 1;
    }

    /// Takes an area off; true if it was the last one.
    pub(crate) fn unlink<C: Cpu>(&mut self, areas: &Areas<'_, C>, area: &Area) -> bool {
        let (prev, next) = (area.prev.load(Ordering::Relaxed), area.next.load(Ordering::Relaxed));
        match prev {
            0 => self.first = next,
            _ => areas.at(prev).next.store(next, Ordering::Relaxed),
        }
        if next != 0 {
            areas.at(next).prev.store(prev, Ordering::Relaxed);
        }
        self.count -= 1;
        self.count == 0
    }

    /// Whether all areas of the family belong to one space. Looks at a few: a family with
    /// many areas counts as one of several spaces.
    pub(crate) fn is_of_one_space<C: Cpu>(&self, areas: &Areas<'_, C>) -> bool {
        let mut spaces = self.iter(areas).map(Area::space);
        let first = spaces.next();
        self.count <= FEW && spaces.all(|space| Some(space) == first)
    }

    /// The areas of the family.
    #[inline(always)]
    pub(crate) fn iter<'a, 'm, C: Cpu>(
        &self,
        areas: &'a Areas<'m, C>,
    ) -> impl Iterator<Item = &'m Area> + use<'a, 'm, C> {
        let mut handle = self.first;
        core::iter::from_fn(move || {
            if handle == 0 {
                return None;
            }
            let area = areas.at(handle);
            handle = area.next.load(Ordering::Relaxed);
            Some(area)
        })
    }
}

#[cfg(test)]
mod tests;
