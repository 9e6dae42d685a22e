//! `mincore`: which pages of a range are in memory.
//!
//! The answer may be out of date as soon as it is given. Untouched memory is not in memory; what
//! was only read is, as the zero page.
//!
//! Counterpart in Linux: `mm/mincore.c`.

use super::{Mmap, checked_range};
use crate::base::units::{FilePage, Vpn};
use crate::env::{Env, PageTables, Pte};
use crate::file::Entry;
use crate::page::PageFlags;
use crate::space::{AreaView, Backing, SpaceError, SpaceId, SpaceOf};
use crate::swap::{NotPresent, SwapEntry};

/// Pages that are looked at in one critical section of the page-table lock.
const BATCH: usize = 64;
/// The entry of a page is empty: for a moment in the answer.
const UNMAPPED: u8 = 2;

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
        let mut rest = out;
        for area in index.overlapping(range.clone()) {
            let area = area.view();
            let mut at = area.start.max(range.start);
            let bytes;
            (bytes, rest) = rest.split_at_mut((area.end.min(range.end) - at) as usize);
            for bytes in bytes.chunks_mut(BATCH) {
                self.residence(space, at, bytes)?;
                self.add_unmapped(&area, at, bytes);
                at = at + bytes.len() as u32;
            }
        }
        Ok(())
    }

    /// Of what is not mapped here, what is cached for the file.
    fn add_unmapped(&self, area: &AreaView, start: Vpn, out: &mut [u8]) {
        for (distance, byte) in (0..).zip(out).filter(|(_, byte)| **byte == UNMAPPED) {
            let Backing::File(id) = area.backing else {
                *byte = 0;
                continue;
            };
            let at = FilePage { file: id, index: area.index_of(start + distance) };
            *byte = u8::from(match self.spaces.files.entry(self.spaces.files.at(id), at) {
                Entry::Empty | Entry::Shadow(_) => false,
                Entry::Page(pfn) => self.map.page(pfn).has(PageFlags::UPTODATE),
                Entry::Swap(entry) => self.is_cached(entry),
            });
        }
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
            *byte = match tables.get(start + distance) {
                Pte::None => UNMAPPED,
                Pte::Present(_) => 1,
                Pte::NotPresent(word) => match NotPresent::decode(word) {
                    NotPresent::Swap(entry) => u8::from(self.is_cached(entry)),
                },
            };
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
