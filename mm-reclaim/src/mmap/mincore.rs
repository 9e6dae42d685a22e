//! `mincore`: which pages of a range are in memory.
//!
//! The answer may be out of date as soon as it is given. Untouched memory is not in memory; what
//! was only read is, as the zero page.
//!
//! Counterpart in Linux: `mm/mincore.c`.

use super::{Mmap, checked_range};
use crate::base::units::Vpn;
use crate::env::{Env, PageTables, Pte};
use crate::page::PageFlags;
use crate::space::{SpaceError, SpaceId, SpaceOf};
use crate::swap::{NotPresent, SwapEntry};

/// Pages that are looked at in one critical section of the page-table lock.
const BATCH: usize = 64;

impl<'m, E: Env> Mmap<'m, E> {
    /// Sets each byte of `out` to 1 if the page at its distance from `start` can be touched without
    /// a read from a device, else to 0.
    ///
    /// # Errors
    /// If the range has holes; `out` is unchanged then.
    pub fn mincore(&self, id: SpaceId, start: Vpn, out: &mut [u8]) -> Result<(), SpaceError> {
        let space = self.spaces.find(id)?;
        let pages = u32::try_from(out.len()).unwrap_or(u32::MAX);
        let range = checked_range(start..Vpn(start.0.saturating_add(pages)))?;
        let index = space.areas.lock_shared(self.env.tasks());
        space.refuse_reaped()?;
        if !index.covers(range.clone()) {
            return Err(SpaceError::BadRange { start: range.start, end: range.end });
        }
        let mut at = range.start;
        for bytes in out.chunks_mut(BATCH) {
            self.residence(space, at, bytes)?;
            at = at + bytes.len() as u32;
        }
        Ok(())
    }

    fn residence(
        &self,
        space: &SpaceOf<'m, E>,
        start: Vpn,
        out: &mut [u8],
    ) -> Result<(), SpaceError> {
        let locked = space.tables.lock();
        let tables = locked.as_ref().ok_or(SpaceError::Killed)?;
        for (distance, byte) in (0..).zip(out) {
            let is_here = match tables.get(start + distance) {
                Pte::None => false,
                Pte::Present(_) => true,
                Pte::NotPresent(word) => match NotPresent::decode(word) {
                    NotPresent::Swap(entry) => self.is_cached(entry),
                },
            };
            *byte = u8::from(is_here);
        }
        Ok(())
    }

    /// Whether the page of a slot is in the swap cache, and read.
    fn is_cached(&self, entry: SwapEntry) -> bool {
        self.swap.lookup(entry).is_some_and(|held| {
            let is_read = held.page().has(PageFlags::UPTODATE);
            self.lru.put(held);
            is_read
        })
    }
}
