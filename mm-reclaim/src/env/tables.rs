//! Translation tables, as the environment supplies them.
//!
//! A table entry has three states ([`Pte`]). Most operations name an entry by its page; a fault
//! looks one up once ([`PageTables::entry`]), and acts on what it found ([`PageEntry`]).

use core::ops::Range;

use crate::base::units::{Pfn, Vpn};
use crate::env::Asid;

bitflags::bitflags! {
    /// What user mode may do with a page.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Prot: u8 {
        /// Loads.
        const READ = 1;
        /// Stores.
        const WRITE = 2;
        /// Instruction fetches.
        const EXEC = 4;
    }
}

/// A present translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The frame.
    pub pfn: Pfn,
    /// What user mode may do. `WRITE` says that a store is allowed, either at once or after a dirty
    /// fault.
    pub prot: Prot,
    /// Accessed since the flag was last cleared. While it is clear, an access either sets
    /// it (hardware) or faults.
    pub young: bool,
    /// Written since the flag was last cleared. While it is clear, a store either sets it
    /// (hardware) or faults.
    pub dirty: bool,
}

/// One page-table entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pte {
    /// Nothing was ever here.
    None,
    /// No translation: 32 bits of the crate's own, which say why
    /// ([`NotPresent`](crate::swap::NotPresent)).
    NotPresent(u32),
    /// A translation.
    Present(Mapping),
}

/// A table that would hold the entry does not exist yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoTable;

/// One address space's translation tables, guarded by the page-table lock of the crate.
///
/// The crate owns the value inside a lock, so `&mut self` is the exclusive right to
/// change entries. Hardware may nevertheless set the young and dirty flags at any moment: an
/// implementation that allows this must change entries by compare-and-swap.
///
/// No method invalidates the TLB, except where one turns a present entry into another
/// present entry of another frame, which the architecture may forbid without a break.
/// The crate collects `(asid, vpn)` pairs and calls [`Env::flush_tlb`](super::Env::flush_tlb).
pub trait PageTables: Send {
    /// One entry, found.
    type Entry<'t>: PageEntry
    where
        Self: 't;

    /// The number that TLB entries of this space carry now.
    fn asid(&self) -> Asid;

    /// Reads the entry of `vpn`; `Pte::None` where a table is missing.
    fn get(&self, vpn: Vpn) -> Pte;

    /// The entry of `vpn`, for several operations on it; `None` where a table is missing.
    /// Tables without a faster way use [`EntryAt`].
    fn entry(&mut self, vpn: Vpn) -> Option<Self::Entry<'_>>;

    /// Writes the entry of `vpn`. For an executable mapping, instruction fetches must see the
    /// frame's current bytes.
    ///
    /// # Errors
    /// [`NoTable`] where a table is missing; nothing was changed. (Writing `Pte::None`
    /// where a table is missing succeeds.)
    fn set(&mut self, vpn: Vpn, pte: Pte) -> Result<(), NoTable>;

    /// Atomically replaces the entry of `vpn` by `new`, and returns the old one: no store through
    /// the old translation can miss the returned dirty flag once the TLB was flushed. The table
    /// exists, since the entry was seen present.
    fn replace(&mut self, vpn: Vpn, new: Pte) -> Pte;

    /// Clears the young flag of a present entry and says whether it was set.
    fn test_and_clear_young(&mut self, vpn: Vpn) -> bool;

    /// Whether an access sets the young flag of an entry without a fault: then a page that is mapped
    /// although nobody touched it is mapped old.
    #[doc(alias = "arch_wants_old_prefaulted_pte")]
    fn sets_young(&self) -> bool {
        false
    }

    /// Sets young, and dirty too if `write`, on a present entry; a store must be allowed.
    fn mark_accessed(&mut self, vpn: Vpn, write: bool);

    /// The first entry in `from..end` that is not `Pte::None`.
    fn next_entry(&self, from: Vpn, end: Vpn) -> Option<(Vpn, Pte)>;

    /// Links `frame`, zeroed, as the next missing table on the way to `vpn`. Several
    /// levels may be missing: the crate repeats until [`PageTables::set`] succeeds.
    /// Returns the frame if no table was missing.
    fn install_table(&mut self, vpn: Vpn, frame: Pfn) -> Option<Pfn>;

    /// Unlinks tables that are no longer needed and hands their frames to `take`, those of the
    /// lowest level first: each table of which some page lies in `range`, and all pages lie in
    /// `free`, where every entry is [`Pte::None`]. The root stays. The frames are still walked
    /// until [`Env::flush_tlb_space`](super::Env::flush_tlb_space).
    ///
    /// `take` returns whether it has room for another frame. If it has not, the page to continue
    /// from is returned: the start of `range` in the next call.
    fn unlink_tables(
        &mut self,
        range: Range<Vpn>,
        free: &Range<Vpn>,
        take: &mut dyn FnMut(Pfn) -> bool,
    ) -> Option<Vpn>;

    /// The number of frames that the tables occupy, the root included.
    fn table_frames(&self) -> u32;

    /// Hands every table frame to `give`, the root last. Every entry is `Pte::None` and no
    /// CPU uses the tables. The value is dropped afterwards.
    fn release(&mut self, give: &mut dyn FnMut(Pfn));
}

/// An entry that was found, for the holder of the page-table lock.
pub trait PageEntry {
    /// Reads it.
    fn get(&self) -> Pte;

    /// Writes a translation into an entry that is not present, like [`PageTables::set`].
    fn fill(self, mapping: Mapping);

    /// Like [`PageTables::mark_accessed`].
    fn mark_accessed(self, write: bool);
}

/// An entry that each method looks up again.
pub struct EntryAt<'t, T> {
    tables: &'t mut T,
    vpn: Vpn,
}

impl<'t, T: PageTables> EntryAt<'t, T> {
    /// The entry of `vpn`, whose table exists.
    pub fn new(tables: &'t mut T, vpn: Vpn) -> Self {
        Self { tables, vpn }
    }
}

impl<T: PageTables> PageEntry for EntryAt<'_, T> {
    fn get(&self) -> Pte {
        self.tables.get(self.vpn)
    }

    fn fill(self, mapping: Mapping) {
        self.tables.set(self.vpn, Pte::Present(mapping)).expect("the entry has a table");
    }

    fn mark_accessed(self, write: bool) {
        self.tables.mark_accessed(self.vpn, write);
    }
}
