//! Locking memory: `mlock` and `munlock` (LRU-10).
//!
//! Data: an area's `LOCKED`, and a page's `MLOCKED`: some locked area maps the page. The page
//! is then on the unevictable list, or on its way there.
//!
//! **Present and private.** Locking reads every page in. In a writable area it also breaks
//! copy-on-write at once, so that a store to locked memory allocates nothing until the next fork;
//! an untouched page, and one that maps the zero page, gets a private page.
//!
//! **The list** is chosen when the page is linked, under the lruvec's lock, by the mark: a page
//! whose mark changed while it was isolated or in a batch ends up on the right one.
//!
//! Counterpart in Linux: `mm/mlock.c`.

use core::ops::Range;

use super::Mmap;
use crate::base::units::Vpn;
use crate::env::{Env, PageTables, Prot, Pte, Tasks};
use crate::fault::{Access, FaultEnd, Site};
use crate::page::PageRef;
use crate::space::{AreaFlags, SpaceError, SpaceId, SpaceOf};

impl<'m, E: Env> Mmap<'m, E> {
    /// Locks `range` into memory: every page is read in and stays (LRU-10).
    ///
    /// # Errors
    /// If the range has holes, or memory runs out; pages locked by then stay locked.
    pub fn mlock(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        self.change_areas(id, range.clone(), |area, _| {
            let view = area.view();
            area.set_rights(view.prot, view.flags | AreaFlags::LOCKED);
        })?;
        self.populate_locked(id, range)
    }

    /// Reads in every page of `range` that lies in a locked area, and marks it.
    pub(crate) fn populate_locked(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        let space = self.spaces.find(id)?;
        for vpn in (range.start.0..range.end.0).map(Vpn) {
            while !self.lock_in(id, space, vpn)? {}
            self.env.tasks().yield_now();
        }
        Ok(())
    }

    /// One step towards a page that is present, private where it is writable, and marked; true if
    /// it is.
    fn lock_in(
        &self,
        id: SpaceId,
        space: &'m SpaceOf<'m, E>,
        vpn: Vpn,
    ) -> Result<bool, SpaceError> {
        let index = space.areas.lock(self.env.tasks());
        space.refuse_reaped()?;
        let bad = SpaceError::BadRange { start: vpn, end: vpn + 1 };
        let (place, area) = index.find(vpn).ok_or(bad)?;
        // Unlocked again in the meantime: nothing to read in.
        if !area.flags.contains(AreaFlags::LOCKED) {
            return Ok(true);
        }
        // A store to a shared page needs no copy.
        let writable = area.prot.contains(Prot::WRITE) && !area.is_shared();
        let access = if writable { Access::Write } else { Access::Read };
        let end = match self.mark_present(space, vpn, writable) {
            Present::Marked(held) => {
                self.rmap.settle_mlocked(held.page());
                self.lru.put(held);
                return Ok(true);
            }
            Present::Zero => {
                self.faults.replace_zero_page(Site { space, place, area, vpn, access })
            }
            Present::No => {
                drop(index);
                self.faults.handle_fault(id, vpn.addr(), access)
            }
        };
        match end {
            FaultEnd::Minor | FaultEnd::Major => Ok(false),
            FaultEnd::Killed => Err(SpaceError::NoMemory),
            FaultEnd::BadAddress | FaultEnd::BusError => Err(bad),
        }
    }

    /// Marks the page at `vpn`, of a locked area, if it is present and needs no copy before a
    /// store.
    fn mark_present(&self, space: &SpaceOf<'m, E>, vpn: Vpn, writable: bool) -> Present<'m> {
        let tables = space.tables.lock();
        let Some(Pte::Present(now)) = tables.as_ref().map(|t| t.get(vpn)) else {
            return Present::No;
        };
        if self.spaces.is_zero_page(now.pfn) {
            return Present::Zero;
        }
        if writable && !now.prot.contains(Prot::WRITE) {
            return Present::No;
        }
        let held = self.map.page(now.pfn).get();
        self.rmap.mark_mlocked(held.page());
        Present::Marked(held)
    }

    /// Allows the pages of `range` to be reclaimed again.
    ///
    /// # Errors
    /// If the range has holes or lies outside the user's half.
    pub fn munlock(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        self.change_areas(id, range, |area, space| {
            let view = area.view();
            area.set_rights(view.prot, view.flags - AreaFlags::LOCKED);
            let mut at = view.start;
            while at < view.end {
                let batch = self.gather(space, at..view.end, |_, _, _| true);
                at = batch.next;
                for held in batch.pages.into_iter().flatten() {
                    self.rmap.munlock_page(held.page());
                    self.lru.put(held);
                }
            }
        })
    }
}

/// What [`Mmap::mark_present`] found.
enum Present<'m> {
    Marked(PageRef<'m>),
    /// The zero page.
    Zero,
    /// No page, or one that a store would have to copy first.
    No,
}
