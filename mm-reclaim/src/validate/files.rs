//! Files: what each keeps of its pages, its counts, and the areas that map it.

use super::{Books, Census, Violation};
use crate::base::sync::Ordering;
use crate::base::units::{FileId, FilePage};
use crate::env::Env;
use crate::file::index::Want;
use crate::file::{Entry, File, Mark};
use crate::page::PageFlags;

/// What is found in one file.
#[derive(Default)]
struct Found {
    pages: u32,
    shadows: u32,
    swapped: u32,
    dirty: u32,
}

impl<'m, E: Env> Books<'_, 'm, E> {
    pub(super) fn check_files(&self, census: &mut Census) -> Result<(), Violation> {
        let (mut files, mut mapping, mut dirty, mut nodes) = (0, 0, 0, 0);
        let mut next = self.files.all.first(&self.files.pool);
        let mut broken = Ok(());
        while let Some(file) = next {
            let checked = self.check_file(file.file(), file.id(), &mut nodes);
            next = self.files.all.after(&self.files.pool, &file);
            self.files.put(file);
            match checked {
                Ok((found, areas)) => {
                    files += 1;
                    mapping += areas;
                    dirty += found.dirty;
                    census.cached += found.pages;
                    census.swap_entries += u64::from(found.swapped);
                }
                Err(violation) => broken = broken.and(Err(violation)),
            }
        }
        broken?;
        let counts = [
            ("files", self.files.pool.usage().0, files),
            ("nodes of files", self.files.nodes().usage().0, nodes),
            ("areas of files", mapping, census.file_areas),
            ("dirty pages", self.files.dirty.pages(), dirty),
            ("pages under write-back", self.files.dirty.under_writeback(), 0),
        ];
        for (kind, taken, found) in counts {
            if taken != found {
                return Err(Violation::LostObjects { kind, taken, found });
            }
        }
        Ok(())
    }

    /// Checks one file; returns what it has, and how many areas map it.
    fn check_file(
        &self,
        file: &'m File<E::Cpu>,
        id: FileId,
        nodes: &mut u32,
    ) -> Result<(Found, u32), Violation> {
        let areas = self.spaces.areas_of(file).audit(self.spaces.areas.usage().0);
        let areas = areas.ok_or(Violation::BadFileAreas(id))?;
        let (mut found, mut from, mut broken) = (Found::default(), Some(0), None);
        let mut before: Option<u32> = None;
        while let Some(at) = from {
            let any = |tree: &mut crate::file::index::Tree<'_, 'm, E::Cpu>| {
                let next = tree.next(at, u64::from(u32::MAX), Want::Any)?;
                *nodes += tree.nodes_entered(before, next.0);
                Some((next, tree.is_marked(next.0, Mark::Dirty)))
            };
            let Some(((index, entry), marked)) = self.files.with_tree(file, id, any) else { break };
            let at = FilePage { file: id, index };
            if !self.is_sound_entry(at, entry, marked, &mut found) {
                broken = Some(Violation::BadFileEntry { at });
            }
            (from, before) = (index.checked_add(1), Some(index));
        }
        if let Some(violation) = broken {
            return Err(violation);
        }
        let index = file.index.lock();
        let counts = [
            ("pages", index.pages, found.pages),
            ("shadows", index.shadows, found.shadows),
            ("swap entries", index.swapped, found.swapped),
            ("dirty pages", file.nr_dirty.load(Ordering::Relaxed), found.dirty),
            ("pages under write-back", file.nr_writeback.load(Ordering::Relaxed), 0),
        ];
        match counts.iter().find(|(_, counts, found)| counts != found) {
            Some(&(what, counts, found)) => {
                Err(Violation::FileCounts { file: id, what, counts, found })
            }
            None => Ok((found, areas)),
        }
    }

    /// Whether an entry and its page agree.
    fn is_sound_entry(&self, at: FilePage, entry: Entry, marked: bool, found: &mut Found) -> bool {
        match entry {
            Entry::Empty => false,
            Entry::Shadow(_) => {
                found.shadows += 1;
                !marked
            }
            Entry::Swap(entry) => {
                found.swapped += 1;
                !marked && self.swap.device(entry).state(entry.slot()).uses == 1
            }
            Entry::Page(pfn) => {
                found.pages += 1;
                found.dirty += u32::from(marked);
                let page = self.map.page(pfn);
                let is_accounted = !page.has(PageFlags::SWAPBACKED);
                page.file_page() == Some(at)
                    && marked == (is_accounted && page.has(PageFlags::DIRTY))
            }
        }
    }
}
