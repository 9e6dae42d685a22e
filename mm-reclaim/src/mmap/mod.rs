//! Areas: mapping, unmapping, changing rights; splitting and merging.
//!
//! Every operation here holds the area lock of the space that it changes. Bounds of an area
//! that has a family change under the lock of its tree too, so that an rmap walk never sees
//! half a split or half a merge.
//!
//! **Merging.** After every change the areas from the one that ends where the range begins to the
//! one that begins where it ends are compared in pairs: two that agree are merged. The area that
//! stays is the one with a family, so that its pages still lead to it. If both have one, it is the
//! same, and then both are in the same families.
//!
//! **Tables.** A range that `munmap` leaves without areas needs no translation tables. They are
//! unlinked under the page-table lock, the space is flushed with its intermediate levels, and only
//! then are the frames freed: until the flush, a CPU may still walk them.
//!
//! Counterpart in Linux: `mm/mmap.c`, `mm/vma.c`, `free_pgtables`.

mod fork;
mod kin;
mod life;
mod madvise;
mod mincore;
mod mlock;
mod msync;

pub use madvise::Advice;

use core::ops::Range;

use crate::alloc::Alloc;
use crate::base::stat::VmEvents;
use crate::base::sync::Ordering;
use crate::base::tlb::TlbBatch;
use crate::base::units::{Order, Pfn, Vpn};
use crate::env::{Env, Mapping, PageTables, Prot, Pte};
use crate::fault::Faults;
use crate::file::FileRef;
use crate::filemap::Filemap;
use crate::lru::Lru;
use crate::page::memmap::MemMap;
use crate::reclaim::Reclaim;
use crate::rmap::Rmap;
use crate::space::{
    Area, AreaFlags, AreaIndex, AreaView, Backing, MAX_MAP_COUNT, SpaceError, SpaceId, SpaceOf,
    Spaces, USER_END, USER_START,
};
use crate::swap::Swap;

/// Table frames that are unlinked in one critical section of the page-table lock.
const TABLE_BATCH: usize = 32;

/// Where a new mapping is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Wherever there is room.
    Anywhere,
    /// At this place if it is free, else wherever there is room.
    Hint(Vpn),
    /// At this place only (`MAP_FIXED_NOREPLACE`).
    #[doc(alias = "MAP_FIXED_NOREPLACE")]
    Fixed(Vpn),
}

/// The calls that make, change and destroy address spaces and their areas.
pub(crate) struct Mmap<'m, E: Env> {
    env: E,
    map: MemMap<'m>,
    lru: &'m Lru<'m, E>,
    swap: &'m Swap<'m, E>,
    spaces: &'m Spaces<'m, E>,
    rmap: &'m Rmap<'m, E>,
    reclaim: &'m Reclaim<'m, E>,
    alloc: &'m Alloc<'m, E>,
    filemap: &'m Filemap<'m, E>,
    faults: &'m Faults<'m, E>,
    events: &'m VmEvents<E::Cpu>,
}

impl<'m, E: Env> Mmap<'m, E> {
    pub(crate) fn new(
        swap: &'m Swap<'m, E>,
        spaces: &'m Spaces<'m, E>,
        rmap: &'m Rmap<'m, E>,
        reclaim: &'m Reclaim<'m, E>,
        alloc: &'m Alloc<'m, E>,
        filemap: &'m Filemap<'m, E>,
        faults: &'m Faults<'m, E>,
    ) -> Self {
        let lru = filemap.files.cache.lru;
        let (env, map, events) = (lru.zones.env, lru.zones.map, lru.events);
        Self { env, map, lru, swap, spaces, rmap, reclaim, alloc, filemap, faults, events }
    }

    /// Maps `pages` new anonymous pages.
    ///
    /// # Errors
    /// If the place is taken or outside the user's half, or there is no room; if the space has the
    /// maximum number of areas; if there is no memory for an area.
    pub fn mmap(
        &self,
        id: SpaceId,
        place: Place,
        pages: u32,
        prot: Prot,
        flags: AreaFlags,
    ) -> Result<Vpn, SpaceError> {
        let flags = flags - AreaFlags::SHARED;
        self.map_area(id, place, pages, |range| AreaView::anonymous(range, prot, flags))
    }

    /// Maps pages `part` of a file.
    ///
    /// # Errors
    /// As for [`Mmap::mmap`].
    pub fn mmap_file(
        &self,
        id: SpaceId,
        place: Place,
        prot: Prot,
        flags: AreaFlags,
        file: &FileRef<'m, E::Cpu>,
        part: Range<u32>,
    ) -> Result<Vpn, SpaceError> {
        let backing = Backing::File(file.id());
        self.map_area(id, place, part.end.saturating_sub(part.start), |range| {
            let shift = range.start.0.wrapping_sub(part.start);
            AreaView { shift, backing, ..AreaView::anonymous(range, prot, flags) }
        })
    }

    fn map_area(
        &self,
        id: SpaceId,
        place: Place,
        pages: u32,
        view: impl FnOnce(Range<Vpn>) -> AreaView,
    ) -> Result<Vpn, SpaceError> {
        let space = self.spaces.find(id)?;
        let mut index = space.areas.lock(self.env.tasks());
        space.refuse_reaped()?;
        let range = choose_range(&mut index, place, pages)?;
        let start = range.start;
        let new = view(range);
        if !self.extend_neighbour(&mut index, &new) {
            self.new_area(&mut index, id, new)?;
        }
        Ok(start)
    }

    /// Extends an adjacent area that agrees over the new range, which is untouched, so that its
    /// linear indices are free; if both neighbours agree, all three are merged.
    fn extend_neighbour(&self, index: &mut AreaIndex<'m>, new: &AreaView) -> bool {
        let seen = match new.backing {
            Backing::File(id) => Some(self.spaces.files.at(id).errors.sample()),
            Backing::Anonymous => None,
        };
        let agrees = |area: &Area| seen.is_none_or(|seen| area.seen() == seen);
        let below = index.below(new.start).filter(|area| area.view().agrees(new) && agrees(area));
        let above =
            index.from(new.end).next().filter(|area| new.agrees(&area.view()) && agrees(area));
        match (below, above) {
            (Some(below), _) => self.resize_area(below, below.start(), new.end),
            (None, Some(above)) => self.resize_area(above, new.start, above.end()),
            (None, None) => return false,
        }
        self.merge_around(index, new.start..new.end);
        true
    }

    /// Unmaps `range`; holes in it are fine.
    ///
    /// # Errors
    /// If the range is outside the user's half, or splitting an area needs one too many.
    pub fn munmap(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        let space = self.spaces.find(id)?;
        let range = checked_range(range)?;
        let mut index = space.areas.lock(self.env.tasks());
        space.refuse_reaped()?;
        if index.is_full() && is_inside_one_area(&mut index, &range) {
            return Err(SpaceError::TableFull);
        }
        // The unmapped areas are removed in a moment: the limit may be exceeded until then.
        self.isolate_range(&mut index, &range, u32::MAX)?;
        let mut gone = false;
        loop {
            let Some(area) = index.overlapping(range.clone()).next() else { break };
            self.rmap.zap_range(space, &area.view());
            index.remove(area);
            self.spaces.retire_area(area);
            gone = true;
        }
        if gone {
            self.free_tables(space, &range, index.free_around(range.clone()));
        }
        drop(index);
        self.filemap.end_gone_files();
        Ok(())
    }

    /// Changes the rights of `range`, which areas cover without a hole. Added rights take effect by
    /// faults, but in memory that is locked they do so at once.
    ///
    /// # Errors
    /// If there is a hole, or splitting an area needs one too many; if an area never becomes
    /// writable, with the rights before it changed; if the pages of a locked
    /// area that becomes writable find no memory, with the rights changed.
    pub fn mprotect(&self, id: SpaceId, range: Range<Vpn>, prot: Prot) -> Result<(), SpaceError> {
        let (mut locked, mut refused) = (false, None);
        self.change_areas(id, range.clone(), |area, space| {
            let view = area.view();
            if prot.contains(Prot::WRITE) && view.flags.contains(AreaFlags::READ_ONLY) {
                refused.get_or_insert(view.start);
            }
            if refused.is_some() {
                return;
            }
            area.set_rights(prot, view.flags);
            locked |=
                view.flags.contains(AreaFlags::LOCKED) && (prot - view.prot).contains(Prot::WRITE);
            self.restrict_range(space, view.start..view.end, prot);
        })?;
        if let Some(start) = refused {
            return Err(SpaceError::ReadOnly { start });
        }
        if locked { self.populate_locked(id, range) } else { Ok(()) }
    }

    /// Splits areas at the ends of `range`, visits each area inside, and merges those that
    /// agree afterwards.
    ///
    /// # Errors
    /// If there is a hole, after the areas before it were visited, as in Linux; else nothing has changed.
    pub(crate) fn change_areas(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        mut change: impl FnMut(&'m Area, &'m SpaceOf<'m, E>),
    ) -> Result<(), SpaceError> {
        let space = self.spaces.find(id)?;
        let range = checked_range(range)?;
        let mut index = space.areas.lock(self.env.tasks());
        space.refuse_reaped()?;
        let part = range.start..index.covered(range.clone());
        if !part.is_empty() {
            self.isolate_range(&mut index, &part, MAX_MAP_COUNT)?;
            for area in index.overlapping(part.clone()) {
                change(area, space);
            }
            self.merge_around(&mut index, part.clone());
        }
        match part.end == range.end {
            true => Ok(()),
            false => Err(SpaceError::BadRange { start: range.start, end: range.end }),
        }
    }

    /// Splits areas so that `range` begins and ends at area boundaries, with at most `most`
    /// areas; if that fails, the areas are unchanged.
    fn isolate_range(
        &self,
        index: &mut AreaIndex<'m>,
        range: &Range<Vpn>,
        most: u32,
    ) -> Result<(), SpaceError> {
        self.split_at(index, range.start, most)?;
        let end = self.split_at(index, range.end, most);
        if end.is_err() {
            self.merge_around(index, range.start..range.start);
        }
        end
    }

    /// Splits the area around `at`, so that an area boundary lies there.
    fn split_at(&self, index: &mut AreaIndex<'m>, at: Vpn, most: u32) -> Result<(), SpaceError> {
        let Some((area, view)) = index.find(at) else { return Ok(()) };
        if view.start == at {
            return Ok(());
        }
        if index.len() >= most {
            return Err(SpaceError::TableFull);
        }
        self.split_area(index, area, at)
    }

    // ---- making and freeing ----

    /// An unused area.
    fn take_area(&self) -> Result<&'m Area, SpaceError> {
        let (_, area) = self.alloc.object(&self.spaces.areas, Area::blank)?;
        Ok(area)
    }

    /// Makes an area that is in no family, and inserts it into its space.
    pub(crate) fn new_area(
        &self,
        index: &mut AreaIndex<'m>,
        id: SpaceId,
        view: AreaView,
    ) -> Result<&'m Area, SpaceError> {
        if index.is_full() {
            return Err(SpaceError::TableFull);
        }
        let area = self.take_area()?;
        area.init(self.spaces.directory.find(id), view);
        if let Some(file) = self.spaces.file_of(area) {
            file.get();
            area.set_seen(file.errors.sample());
            self.spaces.join_file(area);
        }
        index.insert(area);
        Ok(area)
    }

    /// Changes an area's bounds so that no rmap walk sees a partial change. The caller holds the
    /// area lock exclusively.
    fn resize_area(&self, area: &Area, start: Vpn, end: Vpn) {
        let _tree = self.spaces.tree_of(area);
        self.spaces.change_bounds(area, None, |area| area.set_bounds(start, end));
    }

    /// Merges each two neighbours that agree, from the one that ends where `range` begins to the
    /// one that begins where it ends.
    pub(crate) fn merge_around(&self, index: &mut AreaIndex<'m>, range: Range<Vpn>) {
        let first = Vpn(range.start.0.saturating_sub(1));
        let Some(mut low) = index.from(first).next() else { return };
        loop {
            let next = index.from(low.end()).next();
            let Some(high) = next.filter(|area| area.start() <= range.end) else { return };
            low = if low.agrees(high) { self.merge(index, low, high) } else { high };
        }
    }

    // ---- translations ----

    /// Removes rights from the present pages of a range. Added rights take effect by faults, so
    /// that a shared page is not made writable.
    fn restrict_range(&self, space: &SpaceOf<'m, E>, range: Range<Vpn>, prot: Prot) {
        let mut stale = TlbBatch::new();
        let mut at = range.start;
        let mut locked = space.tables.lock();
        let Some(tables) = locked.as_mut() else { return };
        while let Some((vpn, pte)) = tables.next_entry(at, range.end) {
            if let Pte::Present(old) = pte {
                let write = old.prot & prot & Prot::WRITE;
                let new = Mapping { prot: (prot - Prot::WRITE) | write, ..old };
                tables.replace(vpn, Pte::Present(new));
                stale.gather(&self.env, tables.asid(), vpn);
            }
            at = vpn + 1;
        }
        drop(locked);
        stale.flush(&self.env);
    }

    /// Frees the tables that only `range`, which was unmapped, needed: no area lies within `free`
    /// around it. BUDY-12.
    fn free_tables(&self, space: &SpaceOf<'m, E>, range: &Range<Vpn>, free: Range<Vpn>) {
        let mut from = Some(range.start);
        while let Some(at) = from {
            let mut frames = [Pfn(0); TABLE_BATCH];
            let mut len = 0;
            let mut locked = space.tables.lock();
            let Some(tables) = locked.as_mut() else { return };
            from = tables.unlink_tables(at..range.end, &free, &mut |frame| {
                frames[len] = frame;
                len += 1;
                len < TABLE_BATCH
            });
            if len == 0 {
                return;
            }
            space.table_frames.store(tables.table_frames(), Ordering::Relaxed);
            let asid = tables.asid();
            drop(locked);
            self.env.flush_tlb_space(asid);
            frames[..len].iter().for_each(|frame| self.alloc.free_pages(*frame, Order::ZERO));
        }
    }
}

/// Whether an area reaches beyond both ends of `range`, so that unmapping leaves two.
fn is_inside_one_area(index: &mut AreaIndex<'_>, range: &Range<Vpn>) -> bool {
    let around = index.find(range.start);
    around.is_some_and(|(_, view)| view.start < range.start && range.end < view.end)
}

/// The pages that a mapping is to take.
fn choose_range(
    index: &mut AreaIndex<'_>,
    place: Place,
    pages: u32,
) -> Result<Range<Vpn>, SpaceError> {
    let taken = |range: &Range<Vpn>| index.overlapping(range.clone()).next().is_some();
    let at = |start: Vpn| {
        let range = checked_range(start..Vpn(start.0.wrapping_add(pages)))?;
        match taken(&range) {
            true => Err(SpaceError::BadRange { start: range.start, end: range.end }),
            false => Ok(range),
        }
    };
    match place {
        Place::Fixed(start) => return at(start),
        Place::Hint(start) => {
            if let Ok(range) = at(start) {
                return Ok(range);
            }
        }
        Place::Anywhere => {}
    }
    let none = SpaceError::NoHole { pages };
    let start = if pages == 0 { None } else { index.find_hole(pages) }.ok_or(none)?;
    checked_range(start..start + pages)
}

/// The range, if it is not empty and lies in the user's half.
pub(crate) fn checked_range(range: Range<Vpn>) -> Result<Range<Vpn>, SpaceError> {
    let Range { start, end } = range;
    if start >= end || start < USER_START || end > USER_END {
        return Err(SpaceError::BadRange { start, end });
    }
    Ok(range)
}

#[cfg(test)]
mod tests;
