//! Files that must stay in memory: their pages go to the unevictable list when reclaim meets them, and
//! come back when the file is evictable again (SPL-02).
//!
//! Such a page is marked as retained, as one of a locked area is as mlocked, so that whoever links it on
//! a list knows where it belongs without a look at the file. Locks: reclaim marks a page under its lock;
//! the mark goes without it.
//!
//! Counterpart in Linux: `mapping_set_unevictable`, `shmem_unlock_mapping`,
//! `check_move_unevictable_folios`.

use super::index::Want;
use super::{File, Files};
use crate::base::stat::VmEvent;
use crate::base::sync::{Ordering, fence};
use crate::base::units::{FileId, FilePage};
use crate::env::{Env, Tasks};
use crate::lru::Relocation;
use crate::page::PageLock;

impl<'m, E: Env> Files<'m, E> {
    /// Whether reclaim must leave a locked page of a file alone; it is marked then.
    #[inline(never)]
    pub(crate) fn retain(&self, lock: &PageLock<'m>) -> bool {
        let page = lock.page();
        let Some(at) = page.file_page() else { return false };
        let file = self.at(at.file);
        if !file.is_unevictable() {
            return false;
        }
        page.set_retained(true);
        // Pairs with the fence of `set_unevictable`: either the new state of the file is seen here, or
        // the mark there.
        fence(Ordering::SeqCst);
        let is_unevictable = file.is_unevictable();
        if !is_unevictable {
            page.set_retained(false);
        }
        is_unevictable
    }

    /// Sets whether reclaim must leave the pages of a file alone; if not, those that it has put away
    /// come back.
    pub(crate) fn set_unevictable(&self, file: &File<E::Cpu>, id: FileId, on: bool) {
        file.mark_unevictable(on);
        if on {
            return;
        }
        fence(Ordering::SeqCst);
        let mut from = 0;
        loop {
            let next =
                self.with_tree(file, id, |tree| tree.next(from, u64::from(u32::MAX), Want::Page));
            let Some((index, _)) = next else { return };
            self.let_evict(file, FilePage { file: id, index });
            from = index + 1;
            self.env.tasks().yield_now();
        }
    }

    fn let_evict(&self, file: &File<E::Cpu>, at: FilePage) {
        let Some(held) = self.lookup(file, at) else { return };
        let (page, lru) = (held.page(), self.cache.lru);
        // One that is isolated goes back to where it is then said to belong.
        if page.set_retained(false) && lru.of(page).relocate(page, Relocation::Rescue) {
            self.cache.events.count(VmEvent::UnevictablePgsRescued, 1);
        }
        lru.put(held);
    }
}
