//! Making, finding and destroying address spaces.
//!
//! A space is named by a [`SpaceId`], which the directory turns into the space. The name of a
//! space that is gone finds none, whoever has the place now. A call about a space relies on its
//! owner: nobody destroys a space while a program or a call is at work in it. The killer, the
//! reaper, `swapoff` and the statistics look at the spaces of others, which may go meanwhile:
//! they hold the frame that the space lies in ([`HeldSpace`]), and ask again under a lock
//! whether the name still is its name.
//!
//! Undone by `destroy_space`: areas and what they map, tables, the name, the place. A space
//! that `fork` did not finish goes the same way.

use crate::aspace::{AddressSpace, AreaIndex, SpaceError, SpaceId, SpaceStat};
use crate::env::{Env, PageTables};
use crate::gfp::Gfp;
use crate::mm::Mm;
use crate::page::PageRef;
use crate::stat::VmEvent;
use crate::sync::Ordering;
use crate::units::{Order, Pfn};

/// The address spaces of an environment.
pub(crate) type SpaceOf<'m, E> = AddressSpace<'m, <E as Env>::Cpu, <E as Env>::Tables>;

/// Somebody's address space, whose frame is held: it may be destroyed meanwhile, and even be
/// another space, but it stays a space.
pub(crate) struct HeldSpace<'a, 'm, E: Env> {
    mm: &'a Mm<'m, E>,
    pub(crate) id: SpaceId,
    pub(crate) space: &'m SpaceOf<'m, E>,
    /// `None` only inside `drop`.
    frame: Option<PageRef<'m>>,
}

impl<E: Env> HeldSpace<'_, '_, E> {
    /// Whether the space still has its name. Under its page-table lock the answer stays true
    /// while the lock is held and there are tables.
    pub(crate) fn is_current(&self) -> bool {
        let handle = self.mm.space_ids.find(self.id);
        handle == Some(self.mm.spaces.handle_of(self.space))
    }
}

impl<E: Env> Drop for HeldSpace<'_, '_, E> {
    fn drop(&mut self) {
        if let Some(frame) = self.frame.take() {
            self.mm.put(frame);
        }
    }
}

impl<'m, E: Env> Mm<'m, E> {
    /// The address space of that name.
    ///
    /// # Errors
    /// If there is none.
    #[inline(always)]
    pub(crate) fn space(&self, id: SpaceId) -> Result<&'m SpaceOf<'m, E>, SpaceError> {
        match self.space_ids.find(id) {
            Some(handle) => Ok(self.spaces.at(handle)),
            None => Err(SpaceError::NoSuchSpace),
        }
    }

    /// The address space of that name, which may be anybody's.
    pub(crate) fn hold_space(&self, id: SpaceId) -> Option<HeldSpace<'_, 'm, E>> {
        let handle = self.space_ids.find(id)?;
        let frame = match self.spaces.hold(handle) {
            Ok(frame) => frame,
            Err(other) => {
                self.put_surplus(other);
                return None;
            }
        };
        let space = self.spaces.at_held(handle);
        let held = HeldSpace { mm: self, id, space, frame: Some(frame) };
        held.is_current().then_some(held)
    }

    /// Every address space, one after the other.
    pub(crate) fn held_spaces(&self) -> impl Iterator<Item = HeldSpace<'_, 'm, E>> {
        self.space_ids.iter().filter_map(|id| self.hold_space(id))
    }

    /// A new, empty address space.
    ///
    /// # Errors
    /// If there are as many as the directory holds, or no frame for the root table.
    pub fn create_space(&self) -> Result<SpaceId, SpaceError> {
        let id = self.new_space()?;
        // Release pairs with the killer's Acquire: it sees the counters reset.
        self.space(id)?.live.store(true, Ordering::Release);
        Ok(id)
    }

    /// A space that the killer does not consider yet.
    pub(crate) fn new_space(&self) -> Result<SpaceId, SpaceError> {
        self.prepare_zero_page()?;
        let root = self.table_frame()?;
        let Some((handle, space)) = self.take_space() else {
            self.put(root.1);
            return Err(SpaceError::NoMemory);
        };
        space.reset();
        let tables = self.env.new_tables(root.0);
        space.table_frames.store(tables.table_frames(), Ordering::Relaxed);
        let Some(id) = self.space_ids.enter(handle) else {
            drop(tables);
            self.put(root.1);
            self.put_surplus(self.spaces.give(handle));
            return Err(SpaceError::TableFull);
        };
        root.1.leak();
        *space.tables.lock() = Some(tables);
        Ok(id)
    }

    fn take_space(&self) -> Option<(u32, &'m SpaceOf<'m, E>)> {
        loop {
            if let Some(taken) = self.spaces.take() {
                return Some(taken);
            }
            let (pfn, page) = self.table_frame().ok()?;
            let surplus = self.spaces.add_chunk(pfn, page, || AddressSpace::blank(self.window));
            self.put_surplus(surplus);
        }
    }

    /// A zeroed frame for a table or for objects of the crate's own. Not called in reclaim.
    pub(crate) fn table_frame(&self) -> Result<(Pfn, PageRef<'m>), SpaceError> {
        let gfp = Gfp::KERNEL | Gfp::ZERO;
        let pfn = self.alloc_pages(gfp, Order::ZERO).ok_or(SpaceError::NoMemory)?;
        Ok((pfn, PageRef::adopt(self.map.page(pfn))))
    }

    /// A pool does not need a frame any more.
    #[inline]
    pub(crate) fn put_surplus(&self, surplus: Option<PageRef<'m>>) {
        if let Some(page) = surplus {
            self.put(page);
        }
    }

    /// Gives back the frames that the tables of areas, families and spaces keep for the next
    /// object: at most one each.
    pub fn trim_tables(&self) {
        self.put_surplus(self.areas.trim());
        self.put_surplus(self.anons.trim());
        self.put_surplus(self.spaces.trim());
    }

    /// Unmaps everything and frees the tables. No task runs in the space any more.
    ///
    /// # Errors
    /// If there is no such space (any more); nothing was done then.
    pub fn destroy_space(&self, id: SpaceId) -> Result<(), SpaceError> {
        let space = self.space(id)?;
        // Its memory is about to come: nobody need be killed meanwhile.
        space.dying.store(true, Ordering::Relaxed);
        self.unmap_all(space, &mut space.areas.lock(self.env.tasks()));
        let stat = space.stat();
        space.live.store(false, Ordering::Release);
        self.count(VmEvent::PgFault, stat.min_faults + stat.maj_faults);
        self.count(VmEvent::PgMajFault, stat.maj_faults);
        self.count(VmEvent::SwapRaHit, space.ra_hits.load(Ordering::Relaxed));
        let tables = space.tables.lock().take();
        if let Some(mut tables) = tables {
            self.env.flush_tlb_space(tables.asid());
            tables.release(&mut |frame| self.free_pages(frame, Order::ZERO));
        }
        // The name goes before the place: under the page-table lock, whoever finds tables and
        // the name knows that both belong together.
        self.space_ids.leave(id);
        self.put_surplus(self.spaces.give(self.spaces.handle_of(space)));
        Ok(())
    }

    /// Takes every area away, with its pages and slots.
    pub(crate) fn unmap_all(&self, space: &SpaceOf<'m, E>, index: &mut AreaIndex<'m>) {
        loop {
            let Some(area) = index.iter().next() else { return };
            let view = area.view();
            self.zap_range(space, &view);
            index.remove(area);
            self.retire_area(area);
        }
    }

    /// For operations under the area lock: the reaper has emptied the space of a victim.
    pub(crate) fn refuse_reaped(&self, space: &SpaceOf<'m, E>) -> Result<(), SpaceError> {
        match space.reaped.load(Ordering::Relaxed) {
            true => Err(SpaceError::Killed),
            false => Ok(()),
        }
    }

    /// Runs `f` on the tables of a space, under the page-table lock.
    ///
    /// # Panics
    /// If the space does not exist.
    pub fn with_tables<R>(&self, id: SpaceId, f: impl FnOnce(&mut E::Tables) -> R) -> R {
        let mut tables = self.space(id).expect("a space that exists").tables.lock();
        f(tables.as_mut().expect("a space that exists"))
    }

    /// What the space costs and has done; of one that does not exist, nothing.
    pub fn space_stat(&self, id: SpaceId) -> SpaceStat {
        self.space(id).map(AddressSpace::stat).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
