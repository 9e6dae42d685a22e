//! Moving a page from one list to another.
//!
//! A move is decided before the lruvec's lock is taken, often long before, when the page waits in a
//! batch. So under the lock the page is looked at once more: it may have left its list, be isolated
//! or unevictable, or have become what the move is not meant for.
//!
//! Counterpart in Linux: `lru_activate`, `lru_deactivate`, `lru_lazyfree`, `lru_move_tail`.

use super::{Lists, Lruvec};
use crate::env::Cpu;
use crate::page::{ListChoice, Page, PageFlags};

/// Where a listed page is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relocation {
    /// The head of its active list.
    Activate,
    /// The head of its inactive list, as a page that was not used.
    Deactivate,
    /// The tail of its inactive list: reclaim's next victim.
    InactiveTail,
    /// The head of the inactive list of files: its contents may be dropped from now on.
    LazyFree,
    /// The unevictable list.
    Unevictable,
    /// From the unevictable list back to the inactive one.
    Rescue,
}

impl Relocation {
    /// Whether a page with these flags is moved, if it is on a list.
    pub(super) fn applies(self, flags: PageFlags) -> bool {
        let unevictable = flags.contains(PageFlags::UNEVICTABLE);
        match self {
            Self::Activate => !unevictable && !flags.contains(PageFlags::ACTIVE),
            Self::Deactivate => !unevictable && flags.contains(PageFlags::ACTIVE),
            Self::InactiveTail => {
                !unevictable && !flags.intersects(PageFlags::LOCKED | PageFlags::DIRTY)
            }
            // A page with a slot would not be dropped, but written.
            Self::LazyFree => {
                let kind = PageFlags::SWAPBACKED | PageFlags::SWAPCACHE;
                !unevictable && flags & kind == PageFlags::SWAPBACKED
            }
            Self::Unevictable => !unevictable,
            // It may be unevictable for the other of the two reasons.
            Self::Rescue => {
                unevictable && !flags.intersects(PageFlags::MLOCKED | PageFlags::RETAINED)
            }
        }
    }

    fn choice(self) -> ListChoice {
        match self {
            Self::Activate => ListChoice::Active,
            Self::Unevictable => ListChoice::Unevictable,
            Self::Deactivate | Self::InactiveTail | Self::LazyFree | Self::Rescue => {
                ListChoice::Inactive
            }
        }
    }

    /// Changes the flags of a page that is on no list at this moment, so that they name the list
    /// that it is moved to.
    fn describe(self, page: &Page) {
        page.choose_list(self.choice());
        match self {
            Self::Deactivate => _ = page.take_referenced(),
            Self::LazyFree => page.mark_lazily_freed(),
            Self::Activate | Self::InactiveTail | Self::Unevictable | Self::Rescue => {}
        }
    }
}

impl<'m, C: Cpu> Lruvec<'m, C> {
    /// Moves a listed page to another list, to its head or its tail; false if the page was on no
    /// list, or is one that is not to be moved.
    pub(crate) fn relocate(&self, page: &'m Page, to: Relocation) -> bool {
        self.relocate_listed(&mut self.lists.lock(), page, to)
    }

    #[inline(always)]
    fn relocate_listed(&self, lists: &mut Lists<'m>, page: &'m Page, to: Relocation) -> bool {
        if !page.has(PageFlags::LRU) || !to.applies(page.flags()) {
            return false;
        }
        let old = page.lru_list();
        lists.lists[old as usize].remove(page);
        to.describe(page);
        let list = page.lru_list();
        match to {
            Relocation::InactiveTail => lists.lists[list as usize].push_back(page),
            _ => lists.lists[list as usize].push_front(page),
        }
        if list != old {
            let pages = self.map.nr_pages(page) as i32;
            self.resize(old, -pages);
            self.resize(list, pages);
        }
        true
    }

    /// Moves pages of this lruvec, up to the first one of another, and drops a reference of each, in
    /// one critical section; returns how many those were. The base pages that were moved are added
    /// to `moved`. Pages whose last reference it was are returned for the caller to free; they are
    /// on no list.
    pub(super) fn relocate_held(
        &self,
        pages: &[Option<&'m Page>],
        to: Relocation,
        moved: &mut u32,
        freed: impl FnMut(&'m Page),
    ) -> usize {
        match to {
            // Each page that a queue has written comes this way.
            Relocation::InactiveTail => {
                self.move_held(pages, Relocation::InactiveTail, moved, freed)
            }
            to => self.move_held(pages, to, moved, freed),
        }
    }

    #[inline(always)] // Once for the frequent move, which is a constant, and once for all others.
    fn move_held(
        &self,
        pages: &[Option<&'m Page>],
        to: Relocation,
        moved: &mut u32,
        mut freed: impl FnMut(&'m Page),
    ) -> usize {
        let mut lists = self.lists.lock();
        for (done, page) in pages.iter().enumerate() {
            let Some(page) = *page else { continue };
            if page.zone_index() != self.zone.index() {
                return done;
            }
            if self.relocate_listed(&mut lists, page, to) {
                *moved += self.map.nr_pages(page);
            }
            if page.put() {
                if page.has(PageFlags::LRU) {
                    self.unlink(&mut lists, page);
                    page.leave_lru();
                }
                freed(page);
            }
        }
        pages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lru::LruSet;
    use crate::page::LruList;
    use crate::tests::{TestCpu, descriptors, nth, owned, place};

    /// LRU-07: written pages become the next victims, even active ones, unless they are locked,
    /// dirty or unevictable.
    #[test]
    fn only_clean_unlocked_evictable_pages_go_to_the_tail() {
        for (flags, moves) in [
            (PageFlags::empty(), true),
            (PageFlags::ACTIVE, true),
            (PageFlags::REFERENCED, true),
            (PageFlags::LOCKED, false),
            (PageFlags::DIRTY, false),
            (PageFlags::UNEVICTABLE | PageFlags::MLOCKED, false),
        ] {
            let pages = descriptors(3, |_| 0);
            let map = owned(&pages);
            let lru = LruSet::<TestCpu>::new(map);
            pages[1].corrupt_flags(flags);
            let vec = lru.of(&pages[1]);
            vec.add_new((0..3).map(|number| nth(map, number)));
            let before = pages[1].lru_list();
            assert_eq!(vec.relocate(&pages[1], Relocation::InactiveTail), moves, "{flags:?}");
            let mut last = None;
            vec.for_each(LruList::InactiveFile, |page| last = Some(place(map, page)));
            assert_eq!(last, Some(u32::from(moves)));
            let after = if moves { LruList::InactiveFile } else { before };
            assert_eq!(pages[1].lru_list(), after);
        }
    }
}
