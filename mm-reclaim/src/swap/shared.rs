//! Pages of shared memory on their way to swap and back (SHM-01).
//!
//! Such a page is either in its file's cache or in swap's, which has the file's reference to the page
//! while it is there. The move happens under the page lock, in one critical section of the file's
//! index: whoever looks there finds the page or its entry. The entry in the index counts as one use of
//! the slot.
//!
//! Counterpart in Linux: `shmem_writepage`, `shmem_replace_entry`.

use super::{Swap, SwapEntry};
use crate::base::units::FilePage;
use crate::env::Env;
use crate::file::{Entry, File};
use crate::page::{Page, PageFlags, PageLock};

impl<'m, E: Env> Swap<'m, E> {
    /// Gives a page of shared memory, which nothing maps, a slot, and moves it into swap's cache,
    /// dirty. False if no slot is free. The caller counts the pages in the cache.
    #[inline(never)]
    pub(crate) fn add_shared_to_swap(&self, at: FilePage, lock: &PageLock<'m>) -> bool {
        let (page, files) = (lock.page(), self.files);
        let pfn = self.map.pfn(page);
        let Some(entry) = self.allocate_slot(pfn, page.memcg(), 1) else { return false };
        files.with_tree(files.at(at.file), at.file, |tree| {
            page.move_to_swap_cache(entry.raw());
            let was = tree.replace(at.index, Entry::Swap(entry));
            debug_assert_eq!(was, Entry::Page(pfn), "{at} is another page's");
        });
        true
    }

    /// Moves a page of swap's cache, up to date, back into its file's, if the file's index has its
    /// entry; the slot is free then, and the page dirty.
    pub(crate) fn move_to_file(
        &self,
        file: &File<E::Cpu>,
        at: FilePage,
        entry: SwapEntry,
        lock: &PageLock<'m>,
    ) {
        let page = lock.page();
        if page.has(PageFlags::WRITEBACK) {
            // Its end would look for the slot.
            return self.wait_and_leave(page);
        }
        let pfn = self.map.pfn(page);
        let is_moved = self.files.with_tree(file, at.file, |tree| {
            let is_it = tree.get(at.index) == Entry::Swap(entry);
            if is_it {
                page.move_to_file(at);
                tree.replace(at.index, Entry::Page(pfn));
            }
            is_it
        });
        if is_moved {
            self.lru.of(page).add_swapcached(-1);
            // The use goes first: whoever has seen the entry reads no slot without users.
            self.free(entry);
            let device = self.device(entry);
            device.uncache(entry.slot(), pfn, None, || self.discard(device, entry));
        }
    }

    /// The write that is under way must end first; the caller looks again.
    fn wait_and_leave(&self, page: &'m Page) {
        self.zones.wait_for_writeback_surely(page);
    }

    /// The entry of a page of shared memory is removed from its file, if it is still there, and its
    /// slot given up.
    pub(crate) fn forget_shared(&self, file: &File<E::Cpu>, at: FilePage, entry: SwapEntry) {
        let was = self.files.with_tree(file, at.file, |tree| {
            let is_it = tree.get(at.index) == Entry::Swap(entry);
            is_it.then(|| tree.replace(at.index, Entry::Empty))
        });
        if was.is_some() {
            self.free_swap_and_cache(entry);
        }
    }
}
