//! `fork`: a copy of an address space that shares its pages until one of the two writes.
//!
//! Areas enter their parents' families before their first entry is written, so rmap finds the
//! child's mappings from the first moment. The area locks of both spaces are held throughout; of
//! the page-table locks the parent's is taken before the child's, and no other path takes two.
//!
//! Counterpart in Linux: `dup_mmap`, `copy_page_range`.

use core::ops::Range;

use super::Mmap;
use super::kin::Sibling;
use crate::base::sync::Ordering;
use crate::base::tlb::TlbBatch;
use crate::base::units::{Pfn, Vpn};
use crate::env::{Env, Mapping, PageTables, Prot, Pte};
use crate::page::PageFlags;
use crate::space::{AreaFlags, AreaView, SpaceError, SpaceId, SpaceOf, USER_END, USER_START};
use crate::swap::NotPresent;

impl<'m, E: Env> Mmap<'m, E> {
    /// A copy of `parent`: pages are shared until one of the two writes.
    ///
    /// # Errors
    /// If a table is full, there is no memory, or a page has too many mappings; the parent is
    /// unchanged, except for pages that will be copied at the next store.
    pub fn fork_space(&self, parent: SpaceId) -> Result<SpaceId, SpaceError> {
        let child = self.new_space()?;
        match self.copy_space(parent, child) {
            Ok(()) => Ok(child),
            Err(error) => {
                self.destroy_space(child)?;
                Err(error)
            }
        }
    }

    fn copy_space(&self, parent: SpaceId, child: SpaceId) -> Result<(), SpaceError> {
        let (parent, heir) = (self.spaces.find(parent)?, self.spaces.find(child)?);
        let from = parent.areas.lock(self.env.tasks());
        parent.refuse_reaped()?;
        let mut to = heir.areas.lock(self.env.tasks());
        let mut stale = TlbBatch::new();
        let mut copy_all = || {
            let mut sibling = None;
            for area in from.iter() {
                let view = area.view();
                let flags = view.flags - AreaFlags::LOCKED;
                let copy = self.new_area(&mut to, child, AreaView { flags, ..view })?;
                copy.set_seen(area.seen());
                if let Some(parents) = view.family {
                    self.inherit(area, copy, sibling)?;
                    sibling = Some(Sibling { parents, area: copy });
                    self.copy_range(parent, heir, view.start..view.end, &mut stale)?;
                }
            }
            self.merge_around(&mut to, USER_START..USER_END);
            Ok(())
        };
        let done = copy_all();
        stale.flush(&self.env);
        if done.is_ok() {
            let adj = parent.oom_score_adj.load(Ordering::Relaxed);
            heir.oom_score_adj.store(adj, Ordering::Relaxed);
            heir.live.store(true, Ordering::Release);
        }
        done
    }

    /// Whether a fault of the child finds the page by itself: it is a file's.
    fn is_of_file(&self, pfn: Pfn) -> bool {
        !self.spaces.is_zero_page(pfn) && self.map.page(pfn).has(PageFlags::FILE)
    }

    fn copy_range(
        &self,
        parent: &SpaceOf<'m, E>,
        child: &SpaceOf<'m, E>,
        range: Range<Vpn>,
        stale: &mut TlbBatch,
    ) -> Result<(), SpaceError> {
        let mut at = range.start;
        while at < range.end {
            match self.copy_entries(parent, child, at..range.end, stale)? {
                Copied::All => return Ok(()),
                Copied::NeedsTable(vpn) => {
                    if !self.faults.grow_tables(child, vpn) {
                        return Err(SpaceError::NoMemory);
                    }
                    at = vpn;
                }
            }
        }
        Ok(())
    }

    /// Copies entries until a table is missing. The parent's page-table lock is taken
    /// before the child's; no other path takes two.
    fn copy_entries(
        &self,
        parent: &SpaceOf<'m, E>,
        child: &SpaceOf<'m, E>,
        range: Range<Vpn>,
        stale: &mut TlbBatch,
    ) -> Result<Copied, SpaceError> {
        let (mut from, mut to) = (parent.tables.lock(), child.tables.lock());
        let (Some(from), Some(to)) = (from.as_mut(), to.as_mut()) else {
            return Err(SpaceError::Killed);
        };
        let mut at = range.start;
        while let Some((vpn, pte)) = from.next_entry(at, range.end) {
            at = vpn + 1;
            let copy = match pte {
                Pte::None => continue,
                Pte::NotPresent(word) => {
                    let NotPresent::Swap(entry) = NotPresent::decode(word);
                    if to.set(vpn, pte).is_err() {
                        return Ok(Copied::NeedsTable(vpn));
                    }
                    if !self.swap.duplicate(entry) {
                        to.replace(vpn, Pte::None);
                        return Err(SpaceError::TooManyMappings);
                    }
                    child.add_swapped(1);
                    continue;
                }
                Pte::Present(old) if self.is_of_file(old.pfn) => continue,
                Pte::Present(old) => Mapping { prot: old.prot - Prot::WRITE, ..old },
            };
            if self.spaces.is_zero_page(copy.pfn) {
                if to.set(vpn, Pte::Present(copy)).is_err() {
                    return Ok(Copied::NeedsTable(vpn));
                }
                continue;
            }
            let page = self.map.page(copy.pfn);
            page.add_mapping().map_err(|()| SpaceError::TooManyMappings)?;
            if to.set(vpn, Pte::Present(Mapping { young: false, ..copy })).is_err() {
                page.remove_mapping();
                return Ok(Copied::NeedsTable(vpn));
            }
            page.get().leak();
            child.add_resident(1);
            from.replace(vpn, Pte::Present(copy));
            stale.gather(&self.env, from.asid(), vpn);
        }
        Ok(Copied::All)
    }
}

/// Where [`Mmap::copy_entries`] stopped.
enum Copied {
    All,
    NeedsTable(Vpn),
}
