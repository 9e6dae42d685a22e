//! Programs: their address spaces, their faults, and their advice about memory.

use core::ops::Range;

use super::Mm;
use crate::base::units::Vpn;
use crate::env::{Env, Pinned, Prot};
use crate::fault::{Access, FaultEnd};
use crate::mmap::{Advice, Place};
use crate::oom::BadOomScore;
use crate::space::{AreaFlags, OpenSpace, SpaceError, SpaceId, SpaceStat};

impl<'m, E: Env> Mm<'m, E> {
    /// Resolves a fault of user mode at `addr`. In a space that does not exist every address
    /// is bad.
    #[doc(alias = "handle_mm_fault")]
    #[inline]
    pub fn handle_fault(&self, id: SpaceId, addr: u64, access: Access) -> FaultEnd {
        self.faults.handle_fault(id, addr, access)
    }

    /// As [`Mm::handle_fault`], for an exception handler that is not preempted yet, in a space that
    /// the task keeps open: `pinned` is released before anything that may sleep. If it was not, the
    /// end is [`FaultEnd::Minor`] or [`FaultEnd::Major`].
    #[inline(always)]
    pub fn handle_fault_pinned<P: Pinned>(
        &self,
        space: &OpenSpace<'m, E>,
        addr: u64,
        access: Access,
        pinned: P,
    ) -> FaultEnd {
        self.faults.resolve(space.space(), addr, access, pinned)
    }

    /// Opens an address space for a task, whose faults then find it without a look-up.
    ///
    /// # Errors
    /// If there is no such space (any more).
    pub fn open_space(&self, id: SpaceId) -> Result<OpenSpace<'m, E>, SpaceError> {
        self.spaces.open(id)
    }

    /// Closes what [`Mm::open_space`] opened, before the space is destroyed.
    pub fn close_space(&self, open: OpenSpace<'m, E>) {
        self.spaces.close(open);
    }

    /// A new, empty address space.
    ///
    /// # Errors
    /// If there are as many as the directory holds, or no frame for the root table.
    #[doc(alias = "mm_alloc")]
    pub fn create_space(&self) -> Result<SpaceId, SpaceError> {
        self.mmap.create_space()
    }

    /// A copy of `parent`: pages are shared until one of the two writes.
    ///
    /// # Errors
    /// If a table is full, there is no memory, or a page has too many mappings; the parent is
    /// unchanged, except for pages that will be copied at the next store.
    #[doc(alias = "dup_mmap")]
    pub fn fork_space(&self, parent: SpaceId) -> Result<SpaceId, SpaceError> {
        self.mmap.fork_space(parent)
    }

    /// Unmaps everything and frees the tables. No task runs in the space any more.
    ///
    /// # Errors
    /// If there is no such space (any more); nothing was done then.
    #[doc(alias = "exit_mmap")]
    pub fn destroy_space(&self, id: SpaceId) -> Result<(), SpaceError> {
        self.mmap.destroy_space(id)
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
        self.mmap.mmap(id, place, pages, prot, flags)
    }

    /// Unmaps `range`; holes in it are fine.
    ///
    /// # Errors
    /// If the range is outside the user's half, or splitting an area needs one too many.
    pub fn munmap(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        self.mmap.munmap(id, range)
    }

    /// Changes the rights of `range`, which areas cover without a hole. Added rights take effect by
    /// faults, but in memory that is locked they do so at once.
    ///
    /// # Errors
    /// If there is a hole, or splitting an area needs one too many; if the pages of a locked
    /// area that becomes writable find no memory, with the rights changed.
    pub fn mprotect(&self, id: SpaceId, range: Range<Vpn>, prot: Prot) -> Result<(), SpaceError> {
        self.mmap.mprotect(id, range, prot)
    }

    /// Locks `range` into memory: every page is read in and stays (LRU-10).
    ///
    /// # Errors
    /// If the range has holes, or memory runs out; pages locked by then stay locked.
    pub fn mlock(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        self.mmap.mlock(id, range)
    }

    /// Allows the pages of `range` to be reclaimed again.
    ///
    /// # Errors
    /// If the range has holes or lies outside the user's half.
    pub fn munlock(&self, id: SpaceId, range: Range<Vpn>) -> Result<(), SpaceError> {
        self.mmap.munlock(id, range)
    }

    /// Follows advice about `range`; returns how many pages it freed or moved.
    ///
    /// # Errors
    /// [`SpaceError::Locked`] if the advice would take pages out of an area that is locked into
    /// memory, [`SpaceError::NotAnonymous`] if it is for anonymous memory and an area maps a file:
    /// the areas before it were advised. [`SpaceError::BadRange`] if the range has holes: all that is
    /// mapped was advised.
    pub fn madvise(
        &self,
        id: SpaceId,
        range: Range<Vpn>,
        advice: Advice,
    ) -> Result<u32, SpaceError> {
        self.mmap.madvise(id, range, advice)
    }

    /// Sets each byte of `out` to 1 if the page at its distance from `start` can be touched without
    /// a read from a device, else to 0.
    ///
    /// # Errors
    /// If the range has holes; `out` is unchanged then.
    pub fn mincore(&self, id: SpaceId, start: Vpn, out: &mut [u8]) -> Result<(), SpaceError> {
        self.mmap.mincore(id, start, out)
    }

    /// Runs `f` on the tables of a space, under the page-table lock.
    ///
    /// # Panics
    /// If the space does not exist.
    pub fn with_tables<R>(&self, id: SpaceId, f: impl FnOnce(&mut E::Tables) -> R) -> R {
        self.spaces.with_tables(id, f)
    }

    /// The space's counters; zeroes if it does not exist.
    pub fn space_stat(&self, id: SpaceId) -> SpaceStat {
        self.spaces.stat(id)
    }

    /// Frees the spare frames of the pools of areas, families, links and spaces, of files and of the
    /// nodes of their indices: at most one each.
    pub fn trim_tables(&self) {
        self.spaces.trim();
        self.files.trim();
    }

    /// How much the killer prefers or spares a space: -1000 (never) to 1000 (first).
    ///
    /// # Errors
    /// If there is no such space.
    pub fn oom_score_adj(&self, id: SpaceId) -> Result<i16, SpaceError> {
        self.oom.oom_score_adj(id)
    }

    /// Sets [`Mm::oom_score_adj`]; a fork inherits it.
    ///
    /// # Errors
    /// If it is below -1000 or above 1000, or if there is no such space.
    pub fn set_oom_score_adj(&self, id: SpaceId, adj: i16) -> Result<(), BadOomScore> {
        self.oom.set_oom_score_adj(id, adj)
    }
}
