//! Taking pages off a list in batches, and putting them back.
//!
//! Isolation happens under the lruvec's lock, all other work on the pages outside it. A page that
//! is being freed (no reference left) is skipped: the task that put the last reference unlinks it
//! as soon as the lock is free.

use bitflags::bitflags;

use super::{Lists, Lruvec};
use crate::env::Cpu;
use crate::page::{IsolatedPage, IsolatedPages, ListChoice, LruList, Page, PageFlags, PageType};

bitflags! {
    /// Which pages a scan skips.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct IsolateMode: u8 {
        /// Skip mapped pages: they may not be unmapped.
        const UNMAPPED = 1;
        /// Skip dirty pages and those under write-back: they may not be written.
        const CLEAN = 2;
        /// Skip pages that have no slot in swap: no slot is free.
        const WITH_SLOT = 4;
    }
}

impl IsolateMode {
    fn wants(self, page: &Page) -> bool {
        let unwritten = PageFlags::DIRTY | PageFlags::WRITEBACK;
        !(self.contains(Self::UNMAPPED) && page.is_mapped()
            || self.contains(Self::CLEAN) && page.flags().intersects(unwritten)
            || self.contains(Self::WITH_SLOT) && !page.has(PageFlags::SWAPCACHE))
    }
}

/// What one isolation took: filled in place, as it is large.
pub(crate) struct Taken<'m> {
    pub(crate) pages: IsolatedPages<'m>,
    /// Base pages scanned.
    pub(crate) scanned: u32,
    /// Base pages taken.
    pub(crate) taken: u32,
}

impl Taken<'_> {
    #[inline(always)]
    pub(crate) fn nothing() -> Self {
        Self { pages: IsolatedPages::new(), scanned: 0, taken: 0 }
    }
}

impl<'m, C: Cpu> Lruvec<'m, C> {
    /// Takes up to `want` pages from the tail of `list` (`isolate_lru_pages`).
    ///
    /// Pages that `mode` skips go to the head, so that the next scan does not find them again at
    /// once; at most `want` pages are scanned, each once.
    pub(crate) fn isolate(&self, list: LruList, want: u32, mode: IsolateMode, out: &mut Taken<'m>) {
        let mut lists = self.lists.lock();
        let mut looks = lists.lists[list as usize].len();
        while out.scanned < want && looks > 0 && !out.pages.is_full() {
            looks -= 1;
            self.isolate_tail(&mut lists, list, mode, out);
        }
        self.resize(list, -(out.taken as i32));
        drop(lists);
        if let Some(kind) = list.page_type() {
            self.add_isolated(kind, out.taken as i32);
        }
    }

    #[inline]
    fn isolate_tail(
        &self,
        lists: &mut Lists<'m>,
        list: LruList,
        mode: IsolateMode,
        out: &mut Taken<'m>,
    ) {
        let source = &mut lists.lists[list as usize];
        let Some(page) = source.pop_back() else { return };
        let nr = self.map.nr_pages(page);
        out.scanned += nr;
        if !mode.wants(page) {
            source.push_front(page);
            return;
        }
        // The list holds no reference, so the page may be about to be freed.
        let Some(reference) = page.get_unless_zero() else {
            source.push_front(page);
            return;
        };
        page.enter_isolation();
        out.taken += nr;
        out.pages.push(IsolatedPage::adopt(reference.leak()));
    }

    /// Returns pages to the head of the lists that their flags now name
    /// (`move_pages_to_lru`); a page whose write failed in the meantime becomes active (SWAP-07).
    /// Pages whose last reference was dropped in the meantime are returned for the caller to free;
    /// they are on no list.
    pub(crate) fn putback(
        &self,
        pages: &mut IsolatedPages<'m>,
        kind: PageType,
        taken: u32,
        mut freed: impl FnMut(&'m Page),
    ) {
        let mut activated = 0;
        let mut lists = self.lists.lock();
        while let Some(page) = pages.pop().map(IsolatedPage::leak) {
            page.leave_isolation();
            let list = page.settle_list();
            let list = match page.take_write_error() && !page.has(PageFlags::UNEVICTABLE) {
                true => {
                    page.choose_list(ListChoice::Active);
                    page.lru_list()
                }
                false => list,
            };
            if list.is_active() {
                activated += self.map.nr_pages(page);
            }
            lists.lists[list as usize].push_front(page);
            self.resize(list, self.map.nr_pages(page) as i32);
            if page.put() {
                self.unlink(&mut lists, page);
                page.leave_lru();
                freed(page);
            }
        }
        drop(lists);
        self.add_isolated(kind, -(taken as i32));
        self.age(activated);
    }

    /// Puts pages of this lruvec on their lists, up to the first one of another, and drops a
    /// reference of each, in one critical section; returns how many those were. Pages whose last
    /// reference it was are returned for the caller to free; they are on no list.
    pub(crate) fn add_held(
        &self,
        pages: &mut [Option<&'m Page>],
        mut freed: impl FnMut(&'m Page),
    ) -> usize {
        let mut lists = self.lists.lock();
        let all = pages.len();
        for (done, slot) in pages.iter_mut().enumerate() {
            let Some(page) = *slot else { continue };
            if page.zone_index() != self.zone.index() {
                return done;
            }
            *slot = None;
            self.link_new(&mut lists, page);
            if page.put() {
                self.unlink(&mut lists, page);
                page.leave_lru();
                freed(page);
            }
        }
        all
    }

    /// Puts new pages on their lists in one critical section.
    #[cfg(test)]
    pub(crate) fn add_new(&self, pages: impl Iterator<Item = &'m Page>) {
        let mut lists = self.lists.lock();
        for page in pages {
            self.link_new(&mut lists, page);
        }
    }
}

#[cfg(test)]
mod tests;
