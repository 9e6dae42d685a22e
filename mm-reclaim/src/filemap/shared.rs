//! Shared memory: pages that a file's index finds and swap backs (SHM-01).
//!
//! A page is made, of zeroes, at its first use. Reclaim moves it from the file's index to the swap
//! cache when it writes it (`swap/shared.rs`), and leaves the swap entry in the index, which counts as
//! one use of the slot. The next use brings the page back into the swap cache, if it has left that,
//! and from there into the index; the slot is free then, and the page dirty.
//!
//! ```text
//!   nothing --make--> page <--------------------------------+
//!                      | reclaim writes it                  | found: moved back under its lock
//!                      v                                    |
//!                 swap entry, page in the swap cache -------+
//!                      | evicted                            |
//!                      v                                    | read in
//!                 swap entry -------------------------------+
//! ```
//!
//! Counterpart in Linux: `shmem_get_folio`, `shmem_swapin_folio`.

use super::{FileError, Filemap, Of};
use crate::base::units::{FilePage, Order};
use crate::env::{Env, FrameMemory};
use crate::file::Entry;
use crate::file::index::Want;
use crate::page::{PageFlags, PageRef};
use crate::swap::{Ahead, SwapEntry};
use crate::zone::gfp::Gfp;

impl<'m, E: Env> Filemap<'m, E> {
    /// A page of shared memory, if there is one: read in if it is in swap.
    pub(crate) fn find_shared(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
    ) -> Result<Option<PageRef<'m>>, FileError> {
        loop {
            match self.files.entry(file, at) {
                Entry::Empty | Entry::Shadow(_) => return Ok(None),
                Entry::Page(_) => {
                    if let Some(held) = self.files.lookup(file, at) {
                        return Ok(Some(held));
                    }
                }
                Entry::Swap(entry) => self.bring_back(file, at, entry, Gfp::HIGHUSER_MOVABLE)?,
            }
        }
    }

    /// A page of shared memory, made if there is none. `within` refuses a page behind the end.
    ///
    /// # Errors
    /// [`FileError::Io`] also for a page behind the end.
    pub(crate) fn make_shared(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        within: bool,
    ) -> Result<PageRef<'m>, FileError> {
        loop {
            if let Some(held) = self.find_shared(file, at)? {
                return Ok(held);
            }
            if within && at.index >= file.pages() {
                return Err(FileError::Io);
            }
            let (new, spare) = self.new_page(file, at, Gfp::HIGHUSER_MOVABLE)?;
            self.env.frames().zero(self.map.pfn(new.page()));
            let can_swap = self.swap.has_free();
            if let Ok((lock, held)) = self.files.enter(file, at, new, spare, within, can_swap) {
                held.page().set_uptodate();
                self.zones.unlock(lock);
                return Ok(held);
            }
        }
    }

    /// Moves a page from swap back into the index of its file; the caller looks again.
    fn bring_back(
        &self,
        file: Of<'_, 'm, E>,
        at: FilePage,
        entry: SwapEntry,
        gfp: Gfp,
    ) -> Result<(), FileError> {
        let (held, is_own) = match self.swap.lookup(entry) {
            Some(held) => (held, false),
            None => match self.read_slot(entry, gfp)? {
                Some(read) => read,
                None => return Ok(()),
            },
        };
        let locked = self.zones.lock_page(&held);
        let end = match locked {
            Err(_) => Err(FileError::Killed),
            Ok(lock) => {
                let page = lock.page();
                let is_it = page.has(PageFlags::SWAPCACHE) && page.private() == entry.raw();
                let end = if is_it && !page.is_uptodate() {
                    self.swap.forget_failed_read(&lock);
                    if is_own { Err(FileError::Io) } else { Ok(()) }
                } else {
                    if is_it {
                        self.swap.move_to_file(file, at, entry, &lock);
                    }
                    Ok(())
                };
                self.zones.unlock(lock);
                end
            }
        };
        // Its file may have let the entry go meanwhile.
        self.swap.drop_if_unused(held.page());
        self.lru.put(held);
        end
    }

    /// Reads a slot into a new page of the swap cache; `None` if it is not in use any more. True if it
    /// was this call that reads.
    fn read_slot(
        &self,
        entry: SwapEntry,
        gfp: Gfp,
    ) -> Result<Option<(PageRef<'m>, bool)>, FileError> {
        let device = self.swap.device(entry);
        loop {
            if device.state(entry.slot()).uses == 0 {
                return Ok(None);
            }
            let new = self.alloc.alloc_page(gfp, Order::ZERO).ok_or(FileError::NoMemory)?;
            if let Ok(held) = self.swap.read_into(entry, new, Ahead::No) {
                return Ok(Some((held, true)));
            }
            if let Some(held) = self.swap.lookup(entry) {
                return Ok(Some((held, false)));
            }
        }
    }

    /// Brings back every page of shared memory whose slot is on the swap device at position `at`.
    ///
    /// # Errors
    /// The slot that could not be read, if that is why.
    #[doc(alias = "shmem_unuse")]
    pub(crate) fn unuse_shared(&self, at: usize) -> Result<(), (FileError, u32)> {
        self.for_each_file(|file| self.unuse_file(file, at))
    }

    fn unuse_file(&self, file: Of<'_, 'm, E>, device: usize) -> Result<(), (FileError, u32)> {
        let mut from = 0;
        loop {
            let next = self.files.with_tree(file, file.id(), |tree| {
                tree.next(from, u64::from(u32::MAX), Want::Swap)
            });
            let Some((index, Entry::Swap(entry))) = next else { return Ok(()) };
            from = index + 1;
            if entry.device() == device {
                // No program accessed the page, and none must be killed for it.
                let gfp = Gfp::HIGHUSER_MOVABLE | Gfp::RETRY_MAYFAIL;
                let back = self.bring_back(file, file.page(index), entry, gfp);
                back.map_err(|error| (error, entry.slot()))?;
            }
        }
    }
}
