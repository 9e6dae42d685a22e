//! Unmapping: entries are cleared, the TLB is flushed, and only then are the pages dropped.
//!
//! All state of a mapping is undone here, on every path that removes an area or its contents
//! (`munmap`, `MADV_DONTNEED`, exit, a fork that failed, the reaper): the entry, the mapping count
//! and the reference of the page, the use of a swap slot, the resident and swapped counts of the
//! space, and the mark of a page that was locked into memory by this mapping.
//!
//! Counterpart in Linux: `zap_pte_range`.

use super::Rmap;
use crate::base::tlb::TlbBatch;
use crate::base::units::Vpn;
use crate::env::{Env, PageTables, Pte};
use crate::page::{Page, PageFlags, PageRef};
use crate::space::{AreaFlags, AreaIndex, AreaView, SpaceOf};
use crate::swap::NotPresent;

/// The most entries that are cleared in one critical section of the page-table lock.
const ZAP_BATCH: usize = 32;

/// Pages removed from tables, to be dropped after the flush.
struct Zapped<'m> {
    pages: [Option<&'m Page>; ZAP_BATCH],
    len: usize,
    stale: TlbBatch,
    /// Where to continue.
    next: Vpn,
}

impl<'m, E: Env> Rmap<'m, E> {
    /// Removes every area, with its pages and slots.
    pub(crate) fn unmap_all(&self, space: &SpaceOf<'m, E>, index: &mut AreaIndex<'m>) {
        loop {
            let Some(area) = index.iter().next() else { return };
            let view = area.view();
            self.zap_range(space, &view);
            index.remove(area);
            self.spaces.retire_area(area);
        }
    }

    /// Clears the entries of `part`, which is an area or a part of one, and drops the pages and
    /// slots.
    pub(crate) fn zap_range(&self, space: &SpaceOf<'m, E>, part: &AreaView) {
        let mut at = part.start;
        while at < part.end {
            let mut out =
                Zapped { pages: [None; ZAP_BATCH], len: 0, stale: TlbBatch::new(), next: part.end };
            self.zap_batch(space, at, part.end, &mut out);
            out.stale.flush(&self.env);
            for page in out.pages[..out.len].iter().flatten() {
                self.let_go(page, part.flags.contains(AreaFlags::LOCKED));
            }
            at = out.next;
        }
    }

    fn zap_batch(&self, space: &SpaceOf<'m, E>, start: Vpn, end: Vpn, out: &mut Zapped<'m>) {
        let mut locked = space.tables.lock();
        let Some(tables) = locked.as_mut() else { return };
        let mut at = start;
        while let Some((vpn, _)) = tables.next_entry(at, end) {
            if out.len == ZAP_BATCH {
                out.next = vpn;
                return;
            }
            at = vpn + 1;
            match tables.replace(vpn, Pte::None) {
                Pte::None => {}
                Pte::NotPresent(word) => match NotPresent::decode(word) {
                    NotPresent::Swap(entry) => {
                        space.add_swapped(-1);
                        self.swap.free_swap_and_cache(entry);
                    }
                },
                Pte::Present(old) => {
                    out.stale.gather(&self.env, tables.asid(), vpn);
                    if self.spaces.is_zero_page(old.pfn) {
                        continue;
                    }
                    let page = self.map.page(old.pfn);
                    if old.dirty {
                        self.files.set_page_dirty(page);
                    }
                    if old.young && page.has(PageFlags::FILE) {
                        // What the mapping knew of its use would be lost (as in `zap_pte_range`).
                        page.mark_referenced();
                    }
                    page.remove_mapping();
                    space.add_resident(-1);
                    out.pages[out.len] = Some(page);
                    out.len += 1;
                }
            }
        }
    }

    /// Drops the reference of a removed mapping; a page that is no longer mapped leaves the swap
    /// cache as well (`free_page_and_swap_cache`).
    pub(super) fn let_go(&self, page: &'m Page, was_locked: bool) {
        if was_locked {
            self.munlock_page(page);
        }
        if page.has(PageFlags::SWAPCACHE)
            && !page.is_mapped()
            && let Some(lock) = page.try_lock()
        {
            self.swap.try_to_free_swap(&lock);
            self.zones.unlock(lock);
        }
        self.lru.put(PageRef::adopt(page));
    }
}
