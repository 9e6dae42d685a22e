//! Making and destroying address spaces.
//!
//! Undone by `destroy_space`: areas and what they map, tables, the name, the place. A space
//! that `fork` did not finish goes the same way.

use super::Mmap;
use crate::base::stat::VmEvent;
use crate::base::sync::Ordering;
use crate::base::units::Order;
use crate::env::{Env, PageTables};
use crate::space::{AddressSpace, SpaceError, SpaceHandle, SpaceId, SpaceOf};

impl<'m, E: Env> Mmap<'m, E> {
    /// A new, empty address space.
    ///
    /// # Errors
    /// If the directory is full, or no frame for the root table.
    pub fn create_space(&self) -> Result<SpaceId, SpaceError> {
        let id = self.new_space()?;
        // Release pairs with the killer's Acquire: it sees the counters reset.
        self.spaces.find(id)?.live.store(true, Ordering::Release);
        Ok(id)
    }

    /// Makes sure that there is a zero page.
    fn prepare_zero_page(&self) -> Result<(), SpaceError> {
        if !self.spaces.has_zero_page() {
            let (pfn, page) = self.alloc.table_frame()?;
            self.spaces.enter_zero_page(pfn, page);
        }
        Ok(())
    }

    /// A new space that the killer does not consider yet.
    pub(crate) fn new_space(&self) -> Result<SpaceId, SpaceError> {
        self.prepare_zero_page()?;
        let root = self.alloc.table_frame()?;
        let Some((handle, space)) = self.take_space() else {
            self.lru.put(root.1);
            return Err(SpaceError::NoMemory);
        };
        space.reset();
        let tables = self.env.new_tables(root.0);
        space.table_frames.store(tables.table_frames(), Ordering::Relaxed);
        let Some(id) = self.spaces.directory.enter(handle) else {
            drop(tables);
            self.lru.put(root.1);
            self.spaces.put_surplus(self.spaces.pool.give(handle));
            return Err(SpaceError::TableFull);
        };
        root.1.leak();
        *space.tables.lock() = Some(tables);
        Ok(id)
    }

    fn take_space(&self) -> Option<(SpaceHandle, &'m SpaceOf<'m, E>)> {
        let blank = || AddressSpace::blank(self.spaces.window);
        self.alloc.object(&self.spaces.pool, blank).ok()
    }

    /// Unmaps everything and frees the tables. No task runs in the space any more.
    ///
    /// # Errors
    /// If there is no such space (any more); nothing was done then.
    pub fn destroy_space(&self, id: SpaceId) -> Result<(), SpaceError> {
        let space = self.spaces.find(id)?;
        // Its memory is about to be freed: no kill is needed in the meantime.
        space.dying.store(true, Ordering::Relaxed);
        self.rmap.unmap_all(space, &mut space.areas.lock(self.env.tasks()));
        self.filemap.end_gone_files();
        let stat = space.stat();
        space.live.store(false, Ordering::Release);
        self.events.count(VmEvent::PgFault, stat.min_faults + stat.maj_faults);
        self.events.count(VmEvent::PgMajFault, stat.maj_faults);
        self.events.count(VmEvent::SwapRaHit, space.ra_hits.load(Ordering::Relaxed));
        let tables = space.tables.lock().take();
        if let Some(mut tables) = tables {
            self.env.flush_tlb_space(tables.asid());
            tables.release(&mut |frame| self.alloc.free_pages(frame, Order::ZERO));
        }
        // The name is removed before the place: under the page-table lock, tables that are present
        // belong to the space that the name leads to.
        self.spaces.directory.leave(id);
        self.spaces.put_surplus(self.spaces.pool.give(self.spaces.pool.handle_of(space)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
