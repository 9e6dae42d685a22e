//! Making, forking, changing and destroying address spaces.
//!
//! Every operation here holds the area lock of the space that it changes. Bounds of an
//! area that has a family change under the family's lock too, so that an rmap walk never
//! sees half a split. Unmapping gathers pages, flushes the TLB, and only then lets the
//! pages go.

use core::ops::Range;

use crate::aspace::{
    AddressSpace, AreaFlags, AreaIndex, AreaView, SpaceError, SpaceId, SpaceStat, USER_END,
    USER_START,
};
use crate::env::{Env, Mapping, PageTables, Prot, Pte};
use crate::gfp::Gfp;
use crate::mm::Mm;
use crate::page::{Page, PageFlags, PageRef};
use crate::stat::VmEvent;
use crate::swap::SwapEntry;
use crate::sync::Ordering;
use crate::tlb::TlbBatch;
use crate::units::{Order, Vpn};

/// Entries that one page-table lock hold takes out at most.
const ZAP_BATCH: usize = 32;

/// Pages taken out of tables, to be let go after the flush.
struct Zapped<'m> {
    pages: [Option<&'m Page>; ZAP_BATCH],
    len: usize,
    stale: TlbBatch,
    /// Where to go on.
    next: Vpn,
}

impl<'m, E: Env> Mm<'m, E> {
    /// A new, empty address space.
    ///
    /// # Errors
    /// If the table of spaces is full or there is no frame for the root table.
    pub fn create_space(&self) -> Result<SpaceId, SpaceError> {
        let id = self.new_space()?;
        // Release pairs with the killer's Acquire: it sees the counters reset.
        self.space(id).live.store(true, Ordering::Release);
        Ok(id)
    }

    /// A space that the killer does not consider yet.
    pub(crate) fn new_space(&self) -> Result<SpaceId, SpaceError> {
        let root =
            self.alloc_pages(Gfp::KERNEL | Gfp::ZERO, Order::ZERO).ok_or(SpaceError::NoMemory)?;
        let Some((handle, space)) = self.spaces.take() else {
            self.free_pages(root, Order::ZERO);
            return Err(SpaceError::TableFull);
        };
        space.reset();
        let tables = self.env.new_tables(root);
        space.table_frames.store(tables.table_frames(), Ordering::Relaxed);
        *space.tables.lock() = Some(tables);
        Ok(SpaceId(handle as u16))
    }

    /// Unmaps everything and frees the tables. No task runs in the space any more.
    pub fn destroy_space(&self, id: SpaceId) {
        let space = self.space(id);
        // Its memory is about to come: nobody need be killed meanwhile.
        space.dying.store(true, Ordering::Relaxed);
        self.unmap_all(id, &mut space.areas.lock(self.env.tasks()));
        let stat = space.stat();
        space.live.store(false, Ordering::Release);
        self.count(VmEvent::PgFault, stat.min_faults + stat.maj_faults);
        self.count(VmEvent::PgMajFault, stat.maj_faults);
        self.env.flush_tlb_space(self.with_tables(id, |t| t.asid()));
        let tables = space.tables.lock().take();
        if let Some(mut tables) = tables {
            tables.release(&mut |frame| self.free_pages(frame, Order::ZERO));
        }
        self.spaces.give(u32::from(id.0));
    }

    /// Takes every area away, with its pages and slots.
    pub(crate) fn unmap_all(&self, id: SpaceId, areas: &mut AreaIndex) {
        while let Some(last) = areas.handles().len().checked_sub(1) {
            let view = self.areas.at(areas.handles()[last]).view();
            self.zap_range(self.space(id), &view, view.start..view.end);
            let handle = areas.remove(last);
            self.retire_area(handle);
        }
    }

    /// For operations under the area lock: the reaper has emptied the space of a victim.
    pub(crate) fn refuse_reaped(&self, id: SpaceId) -> Result<(), SpaceError> {
        match self.space(id).reaped.load(Ordering::Relaxed) {
            true => Err(SpaceError::Killed),
            false => Ok(()),
        }
    }

    /// Runs `f` on the tables of a space, under the page-table lock.
    ///
    /// # Panics
    /// If the space does not exist.
    pub fn with_tables<R>(&self, id: SpaceId, f: impl FnOnce(&mut E::Tables) -> R) -> R {
        let mut tables = self.space(id).tables.lock();
        f(tables.as_mut().expect("a space that exists"))
    }

    /// What the space costs and has done.
    pub fn space_stat(&self, id: SpaceId) -> SpaceStat {
        self.space(id).stat()
    }

    // ---- areas ----

    /// Takes an area off its family and gives its slot back.
    fn retire_area(&self, handle: u32) {
        let area = self.areas.at(handle);
        let anon = area.anon();
        if anon != 0 {
            let empty = self.anons.at(anon).lock().unlink(&self.areas, handle);
            area.set_anon(0);
            if empty {
                self.anons.give(anon);
            }
        }
        self.areas.give(handle);
    }

    /// Makes an area and links it into its family and its space.
    pub(crate) fn new_area(
        &self,
        index: &mut AreaIndex,
        id: SpaceId,
        view: AreaView,
    ) -> Result<u32, SpaceError> {
        if index.is_full(1) {
            return Err(SpaceError::TableFull);
        }
        let (handle, area) = self.areas.take().ok_or(SpaceError::TableFull)?;
        if view.anon != 0 {
            let mut members = self.anons.at(view.anon).lock();
            area.init(u32::from(id.0), view);
            members.link(&self.areas, handle);
        } else {
            area.init(u32::from(id.0), view);
        }
        index.insert(&self.areas, handle);
        Ok(handle)
    }

    /// Changes an area's bounds so that no rmap walk sees them half done.
    fn resize_area(&self, handle: u32, start: Vpn, end: Vpn) {
        let area = self.areas.at(handle);
        let _members = (area.anon() != 0).then(|| self.anons.at(area.anon()).lock());
        area.set_bounds(start, end);
    }

    /// Splits the area around `at`, so that an area boundary lies there.
    fn split_at(&self, index: &mut AreaIndex, id: SpaceId, at: Vpn) -> Result<(), SpaceError> {
        let Some((handle, area)) = index.find(&self.areas, at) else { return Ok(()) };
        let view = area.view();
        if view.start == at {
            return Ok(());
        }
        if index.is_full(1) {
            return Err(SpaceError::TableFull);
        }
        self.resize_area(handle, view.start, at);
        let upper = self.new_area(index, id, AreaView { start: at, ..view });
        if upper.is_err() {
            self.resize_area(handle, view.start, view.end);
        }
        upper.map(|_| ())
    }

    /// Maps `pages` new anonymous pages, at `at` exactly or where there is room.
    ///
    /// # Errors
    /// If the place is taken, outside the user's half, or nowhere is room.
    pub fn mmap(
        &self,
        id: SpaceId,
        at: Option<Vpn>,
        pages: u32,
        prot: Prot,
        flags: AreaFlags,
    ) -> Result<Vpn, SpaceError> {
        let mut index = self.space(id).areas.lock(self.env.tasks());
        self.refuse_reaped(id)?;
        let start = match at {
            Some(start) => start,
            None => index.find_hole(&self.areas, pages).ok_or(SpaceError::NoHole { pages })?,
        };
        let range = checked_range(start, pages)?;
        if !index.overlapping(&self.areas, &range).is_empty() {
            return Err(SpaceError::BadRange { start: range.start, end: range.end });
        }
        if self.extend_neighbour(&index, &range, prot, flags) {
            return Ok(start);
        }
        let view = AreaView { start, end: range.end, shift: 0, prot, flags, anon: 0 };
        self.new_area(&mut index, id, view)?;
        Ok(start)
    }

    /// Lets an adjacent area of the same rights grow over the new range, which no page has
    /// touched yet, so its linear indices are free.
    fn extend_neighbour(
        &self,
        index: &AreaIndex,
        range: &Range<Vpn>,
        prot: Prot,
        flags: AreaFlags,
    ) -> bool {
        let at = index.first_ending_after(&self.areas, range.start);
        let fits = |handle: u32| {
            let v = self.areas.at(handle).view();
            (v.prot == prot && v.flags == flags && v.shift == 0).then_some((handle, v))
        };
        let below = at.checked_sub(1).map(|i| index.handles()[i]).and_then(fits);
        if let Some((handle, v)) = below.filter(|(_, v)| v.end == range.start) {
            self.resize_area(handle, v.start, range.end);
            return true;
        }
        let above = index.handles().get(at).copied().and_then(fits);
        if let Some((handle, v)) = above.filter(|(_, v)| v.start == range.end) {
            self.resize_area(handle, range.start, v.end);
            return true;
        }
        false
    }

    /// Unmaps `range`; holes in it are fine.
    ///
    /// # Errors
    /// If the range is outside the user's half, or splitting an area needs one too many.
    pub fn munmap(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        let range = checked_range(range.start, range.end.0.wrapping_sub(range.start.0))?;
        let space = self.space(id);
        let mut index = space.areas.lock(self.env.tasks());
        self.refuse_reaped(id)?;
        self.split_at(&mut index, id, range.start)?;
        self.split_at(&mut index, id, range.end)?;
        let gone = index.overlapping(&self.areas, &range);
        for at in gone.rev() {
            let view = self.areas.at(index.handles()[at]).view();
            self.zap_range(space, &view, view.start..view.end);
            let handle = index.remove(at);
            self.retire_area(handle);
        }
        Ok(())
    }

    /// Changes the rights of `range`, which areas cover without a hole.
    ///
    /// # Errors
    /// If there is a hole, or splitting an area needs one too many.
    pub fn mprotect(&self, id: SpaceId, range: Range<Vpn>, prot: Prot) -> Result<(), SpaceError> {
        self.change_areas(id, range, |area, space| {
            let view = area.view();
            area.set_rights(prot, view.flags);
            self.restrict_range(space, view.start..view.end, prot);
        })
    }

    /// Splits areas at the ends of `range` and visits each area inside.
    pub(crate) fn change_areas(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        mut change: impl FnMut(&crate::aspace::Area, &AddressSpace<E::Cpu, E::Tables>),
    ) -> Result<(), SpaceError> {
        let range = checked_range(range.start, range.end.0.wrapping_sub(range.start.0))?;
        let space = self.space(id);
        let mut index = space.areas.lock(self.env.tasks());
        self.refuse_reaped(id)?;
        if !index.covers(&self.areas, &range) {
            return Err(SpaceError::BadRange { start: range.start, end: range.end });
        }
        self.split_at(&mut index, id, range.start)?;
        self.split_at(&mut index, id, range.end)?;
        for at in index.overlapping(&self.areas, &range) {
            change(self.areas.at(index.handles()[at]), space);
        }
        Ok(())
    }

    /// Takes rights away from the present pages of a range. Rights that are added come
    /// by fault, so that a shared page is not made writable.
    fn restrict_range(
        &self,
        space: &AddressSpace<E::Cpu, E::Tables>,
        range: Range<Vpn>,
        prot: Prot,
    ) {
        let mut stale = TlbBatch::new();
        let mut at = range.start;
        let mut locked = space.tables.lock();
        let Some(tables) = locked.as_mut() else { return };
        while let Some((vpn, pte)) = tables.next_entry(at, range.end) {
            if let Pte::Present(old) = pte {
                let write = old.prot & prot & Prot::WRITE;
                let new = Mapping { prot: (prot - Prot::WRITE) | write, ..old };
                tables.replace(vpn, Pte::Present(new));
                stale.gather(&self.env, tables.asid(), vpn, false);
            }
            at = vpn + 1;
        }
        drop(locked);
        stale.flush(&self.env);
    }

    // ---- unmapping ----

    /// Empties the entries of `range` and lets the pages and slots go.
    pub(crate) fn zap_range(
        &self,
        space: &AddressSpace<E::Cpu, E::Tables>,
        area: &AreaView,
        range: Range<Vpn>,
    ) {
        let mut at = range.start;
        while at < range.end {
            let mut out = Zapped {
                pages: [None; ZAP_BATCH],
                len: 0,
                stale: TlbBatch::new(),
                next: range.end,
            };
            self.zap_batch(space, at..range.end, &mut out);
            out.stale.flush(&self.env);
            for page in out.pages[..out.len].iter().flatten() {
                self.let_go(page, area.flags.contains(AreaFlags::LOCKED));
            }
            at = out.next;
        }
    }

    fn zap_batch(
        &self,
        space: &AddressSpace<E::Cpu, E::Tables>,
        range: Range<Vpn>,
        out: &mut Zapped<'m>,
    ) {
        let mut locked = space.tables.lock();
        let Some(tables) = locked.as_mut() else { return };
        let mut at = range.start;
        while let Some((vpn, _)) = tables.next_entry(at, range.end) {
            if out.len == ZAP_BATCH {
                out.next = vpn;
                return;
            }
            at = vpn + 1;
            match tables.replace(vpn, Pte::None) {
                Pte::None => {}
                Pte::Swap(raw) => {
                    space.add_swapped(-1);
                    self.free_swap_and_cache(SwapEntry::from_raw(raw));
                }
                Pte::Present(old) => {
                    let page = self.map.page(old.pfn);
                    if old.dirty {
                        page.set_dirty();
                    }
                    page.remove_mapping();
                    space.add_resident(-1);
                    out.stale.gather(&self.env, tables.asid(), vpn, old.dirty);
                    out.pages[out.len] = Some(page);
                    out.len += 1;
                }
            }
        }
    }

    /// Drops the reference of a mapping that is gone; a page that nobody maps leaves the
    /// swap cache with it (`free_page_and_swap_cache`).
    fn let_go(&self, page: &'m Page, was_locked: bool) {
        if was_locked && page.is_mapped() {
            self.munlock_page(page);
        }
        if page.has(PageFlags::SWAPCACHE)
            && !page.is_mapped()
            && let Some(lock) = page.try_lock()
        {
            self.try_to_free_swap(&lock);
            self.unlock(lock);
        }
        self.put(PageRef::adopt(page));
    }
}

/// `pages` pages from `start`, if they lie in the user's half.
fn checked_range(start: Vpn, pages: u32) -> Result<Range<Vpn>, SpaceError> {
    let end = Vpn(start.0.wrapping_add(pages));
    if pages == 0 || start < USER_START || end > USER_END || end < start {
        return Err(SpaceError::BadRange { start, end });
    }
    Ok(start..end)
}

#[cfg(test)]
mod tests;
