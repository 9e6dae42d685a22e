//! What user programs do on a machine.

use mm_reclaim::Place;
use mm_reclaim::env::Prot;
use mm_reclaim::fault::{Access, FaultEnd};
use mm_reclaim::mmap::Advice;
use mm_reclaim::space::{AreaFlags, SpaceId};
use mm_reclaim::units::Vpn;

use crate::machine::Machine;

/// The first page of every program.
pub const FIRST: Vpn = Vpn(16);

/// A user program.
#[derive(Clone, Copy)]
pub struct Program<'m> {
    pub(crate) machine: Machine<'m>,
    pub(crate) space: SpaceId,
}

impl<'m> Program<'m> {
    fn touch(self, page: u32, store: Option<u64>) -> u64 {
        let (vpn, mm) = (FIRST + page, self.machine.mm);
        let access = if store.is_some() { Access::Write } else { Access::Read };
        loop {
            if let Some(was) = mm.with_tables(self.space, |tables| tables.touch(vpn, store)) {
                return was;
            }
            match mm.handle_fault(self.space, vpn.addr(), access) {
                // A read that failed is tried again, for as long as reads fail.
                FaultEnd::Minor | FaultEnd::Major | FaultEnd::BusError => {}
                // The other tasks have all the memory at the moment.
                FaultEnd::Killed => shuttle::thread::yield_now(),
                end => panic!("{vpn:?}: {end:?}"),
            }
        }
    }

    /// One fault of a store that is never done, however it ends.
    pub fn fault_for_store_once(self, page: u32) {
        let addr = (FIRST + page).addr();
        let _end = self.machine.mm.handle_fault(self.space, addr, Access::Write);
    }

    /// One fault of a load that is never done, however it ends.
    pub fn fault_for_load_once(self, page: u32) {
        let addr = (FIRST + page).addr();
        let _end = self.machine.mm.handle_fault(self.space, addr, Access::Read);
    }

    /// Maps a page elsewhere and unmaps it again, which changes the areas.
    pub fn map_for_a_moment(self) {
        let (at, rights) = (Place::Fixed(FIRST + 40), Prot::READ);
        let mapped = self.machine.mm.mmap(self.space, at, 1, rights, AreaFlags::empty());
        if mapped.is_ok() {
            self.unmap(40, 1);
        }
    }

    /// Whether it may still map memory.
    pub fn is_alive(self) -> bool {
        let (at, rights) = (Place::Fixed(FIRST + 20), Prot::READ);
        self.machine.mm.mmap(self.space, at, 1, rights, AreaFlags::empty()).is_ok()
    }

    /// Stores to a page.
    pub fn store(self, page: u32, value: u64) {
        self.touch(page, Some(value));
    }

    /// Checks what a page holds.
    ///
    /// # Panics
    /// If it holds another value.
    pub fn check(self, page: u32, value: u64) {
        assert_eq!(self.touch(page, None), value, "page {page} of space {:?}", self.space);
    }

    /// Stores different values to pages `0..pages`.
    pub fn store_all(self, pages: u32) {
        (0..pages).for_each(|page| self.store(page, 100 + u64::from(page)));
    }

    /// Checks what [`Program::store_all`] stored.
    pub fn check_all(self, pages: u32) {
        (0..pages).for_each(|page| self.check(page, 100 + u64::from(page)));
    }

    /// Asks for a page to be swapped out, in whatever CPU's batch it waits.
    pub fn page_out(self, page: u32) {
        self.machine.mm.lru_add_drain_all();
        let range = FIRST + page..FIRST + page + 1;
        let done = self.machine.mm.madvise(self.space, range, Advice::PageOut);
        assert!(done.is_ok(), "{done:?}");
    }

    /// Gives up the contents of pages.
    pub fn give_up(self, first: u32, pages: u32) {
        let range = FIRST + first..FIRST + first + pages;
        let done = self.machine.mm.madvise(self.space, range, Advice::Free);
        assert!(done.is_ok(), "{done:?}");
    }

    /// Checks a page that was given up: it holds what it did, or zero.
    ///
    /// # Panics
    /// If it holds another value.
    pub fn check_given_up(self, page: u32, value: u64) {
        let found = self.touch(page, None);
        assert!(found == value || found == 0, "page {page} of space {:?}: {found}", self.space);
    }

    /// Locks pages into memory, and lets them go again.
    pub fn lock_for_a_moment(self, first: u32, pages: u32) {
        let range = FIRST + first..FIRST + first + pages;
        assert_eq!(self.machine.mm.mlock(self.space, range.clone()), Ok(()));
        assert_eq!(self.machine.mm.munlock(self.space, range), Ok(()));
    }

    /// Unmaps pages.
    pub fn unmap(self, first: u32, pages: u32) {
        let range = FIRST + first..FIRST + first + pages;
        assert_eq!(self.machine.mm.munmap(self.space, range), Ok(()));
    }

    /// A child with the same pages.
    pub fn fork(self) -> Self {
        loop {
            match self.machine.mm.fork_space(self.space) {
                Ok(child) => return Self { space: child, ..self },
                Err(why) => self.machine.out_of_memory(why),
            }
        }
    }

    /// Ends, with everything it has.
    pub fn exit(self) {
        self.machine.mm.destroy_space(self.space).expect("the program's own space");
    }
}
