//! The pages of files in the cache: found, entered, evicted, dirtied.
//!
//! The cache's steps are those of all stores ([`crate::cache`]); the store of a file's page is the
//! file's index. A page's dirty flag and its mark in the index change together, under the index's
//! lock; those of shared memory have no mark, since nobody writes them back but reclaim.
//!
//! Nothing here allocates: a node for the index is taken before ([`Files::prepare`] says whether one
//! is needed, `filemap` takes it).

use super::index::{NeedsNodes, Spare, Tree, Want};
use super::list::is_still_due;
use super::node::{Node, NodeHandle, Nodes};
use super::{Entry, File, FileKind, FileRef, Files, Mark};
use crate::base::sync::Ordering;
use crate::base::units::{FileId, FilePage, Pfn};
use crate::cache::{Busy, NotEntered, Store};
use crate::env::{Clock, Env, FileStore};
use crate::page::pool::Handle;
use crate::page::{FrozenPage, LockedPage, NewPage, Page, PageFlags, PageLock, PageRef, PageType};

/// The index of one file, as a store.
struct IndexOf<'a, 'm, E: Env> {
    files: &'a Files<'m, E>,
    file: &'a File<E::Cpu>,
    /// Pages behind the end are refused.
    within: bool,
    spare: core::cell::Cell<Spare>,
}

impl<E: Env> Store for IndexOf<'_, '_, E> {
    type Key = FilePage;

    fn cached(&self, at: FilePage) -> Option<Pfn> {
        match self.files.entry(self.file, at) {
            Entry::Page(pfn) => Some(pfn),
            _ => None,
        }
    }

    fn enter(&self, at: FilePage, frame: Pfn) -> Result<Option<u32>, NotEntered> {
        let mut spare = self.spare.replace(Spare::NONE);
        let entered = self.files.with_tree(self.file, at.file, |tree| {
            let now = tree.get(at.index);
            let is_there = !self.within || at.index < self.file.pages();
            if !is_there || matches!(now, Entry::Page(_) | Entry::Swap(_)) {
                return Err(NotEntered);
            }
            let entry = Entry::Page(frame);
            tree.insert(at.index, entry, &mut spare).map_err(|NeedsNodes(_)| NotEntered)
        });
        self.spare.set(spare);
        entered.map(|was| match was {
            Entry::Shadow(shadow) => Some(shadow),
            _ => None,
        })
    }

    fn leave(&self, at: FilePage, frame: Pfn, shadow: Option<u32>) {
        self.files.with_tree(self.file, at.file, |tree| {
            let left = shadow.map_or(Entry::Empty, Entry::Shadow);
            let was = tree.replace(at.index, left);
            debug_assert_eq!(was, Entry::Page(frame), "{at} is another page's");
        });
    }
}

impl<'m, E: Env> Files<'m, E> {
    /// Runs `act` on the index of a file, under its lock.
    #[inline(always)] // Its closure is the caller's.
    pub(crate) fn with_tree<R>(
        &self,
        file: &File<E::Cpu>,
        id: FileId,
        act: impl FnOnce(&mut Tree<'_, 'm, E::Cpu>) -> R,
    ) -> R {
        let mut index = file.index.lock();
        act(&mut Tree {
            nodes: &self.nodes,
            shadows: &self.shadow_nodes,
            file: Handle::new(id.0).expect("the name of a file"),
            index: &mut index,
            put: &|surplus| self.cache.lru.put(surplus),
        })
    }

    /// What is kept of a page.
    #[inline]
    pub(crate) fn entry(&self, file: &File<E::Cpu>, at: FilePage) -> Entry {
        self.with_tree(file, at.file, |tree| tree.get(at.index))
    }

    fn store<'a>(&'a self, file: &'a File<E::Cpu>, spare: Spare) -> IndexOf<'a, 'm, E> {
        IndexOf { files: self, file, within: true, spare: core::cell::Cell::new(spare) }
    }

    // ---- files ----

    /// A file of `size` bytes from a fresh object, with one reference.
    pub(crate) fn begin(
        &self,
        handle: Handle<{ crate::page::pool::kind::FILE }>,
        file: &'m File<E::Cpu>,
        kind: FileKind,
        size: u64,
    ) -> FileRef<'m, E::Cpu> {
        let device = match kind {
            FileKind::Stored(store) => self.env.files().device(store).0,
            FileKind::Shared => 0,
        };
        file.init(kind, device, size);
        // Release pairs with the Acquire of `try_get`.
        file.users.store(1, Ordering::Release);
        self.all.append(&self.pool, handle);
        FileRef::adopt(file, FileId(handle.raw()))
    }

    /// Drops a reference. After the last one the file is listed as gone, and the flusher called, for
    /// a caller who cannot wait: [`Files::next_gone`].
    pub(crate) fn put(&self, file: FileRef<'m, E::Cpu>) {
        let (file, _) = file.leak();
        if file.put() {
            self.gone.append(&self.pool, self.pool.handle_of(file));
            self.dirty.call_flusher(0);
        }
    }

    /// A file without references, for the caller to end.
    pub(crate) fn next_gone(&self) -> Option<(&'m File<E::Cpu>, FileId)> {
        let handle = self.gone.pop(&self.pool)?;
        Some((self.pool.at(handle), FileId(handle.raw())))
    }

    /// A file without references and pages goes.
    pub(crate) fn end(&self, file: &'m File<E::Cpu>) {
        let handle = self.pool.handle_of(file);
        self.dirty.files.remove_if(&self.pool, handle, || true);
        self.all.remove_if(&self.pool, handle, || true);
        self.with_tree(file, FileId(handle.raw()), |tree| {
            while let Some((at, _)) = tree.next(0, u64::from(u32::MAX), Want::Any) {
                let was = tree.replace(at, Entry::Empty);
                debug_assert!(matches!(was, Entry::Shadow(_)), "{was:?} is left of page {at}");
            }
        });
        debug_assert_eq!(file.nr_dirty.load(Ordering::Relaxed), 0, "dirty pages are gone");
        if let Some(surplus) = self.pool.give(handle) {
            self.cache.lru.put(surplus);
        }
    }

    /// Frees the pools' spare frames.
    pub(crate) fn trim(&self) {
        for surplus in [self.pool.trim(), self.nodes.trim()].into_iter().flatten() {
            self.cache.lru.put(surplus);
        }
    }

    // ---- nodes ----

    /// How many nodes must be added to `spare` before the page can be entered.
    pub(crate) fn prepare(&self, file: &File<E::Cpu>, at: FilePage, spare: &Spare) -> u32 {
        self.with_tree(file, at.file, |tree| tree.needed(at.index)).saturating_sub(spare.len())
    }

    /// The pool that nodes are taken from.
    pub(crate) fn nodes(&self) -> &Nodes<'m, E::Cpu> {
        &self.nodes
    }

    /// Returns nodes that were not needed.
    pub(crate) fn give_spare(&self, spare: Spare) {
        spare.give(&self.nodes, |surplus| self.cache.lru.put(surplus));
    }

    /// An object for [`Files::nodes`].
    pub(crate) fn blank_node() -> Node {
        Node::blank()
    }

    /// Adds a node to those that are spare.
    pub(crate) fn add_spare(&self, spare: &mut Spare, node: NodeHandle) {
        spare.add(&self.nodes, node);
    }

    // ---- pages ----

    /// The page, if it is cached.
    #[inline(never)] // There are many callers; the hot one calls `lookup_inline`.
    pub(crate) fn lookup(&self, file: &File<E::Cpu>, at: FilePage) -> Option<PageRef<'m>> {
        self.lookup_inline(file, at)
    }

    /// The same, for who reads page after page.
    #[inline(always)]
    pub(crate) fn lookup_inline(&self, file: &File<E::Cpu>, at: FilePage) -> Option<PageRef<'m>> {
        self.cache.lookup(&self.store(file, Spare::NONE), at)
    }

    /// Takes a reference to each cached page from `from` to the one before `end`, but not to one that is
    /// about to leave.
    #[doc(alias = "filemap_get_folios")]
    pub(crate) fn lookup_range(
        &self,
        file: &File<E::Cpu>,
        from: FilePage,
        end: u32,
        mut found: impl FnMut(u32, PageRef<'m>),
    ) {
        self.with_tree(file, from.file, |tree| {
            let mut at = from.index;
            while let Some((index, Entry::Page(pfn))) = tree.next(at, end.into(), Want::Page) {
                // The index has a reference, and gives it up under its lock.
                if let Some(held) = self.cache.map.page(pfn).get_unless_zero() {
                    found(index, held);
                }
                at = index + 1;
            }
        });
    }

    /// Enters a fresh page, whose contents are still to be made, with its lock held; `within` refuses
    /// one behind the end of the file, which only the holder of the inode lock may enter; `can_swap`
    /// as for the swap cache's refaults. What `spare` has left goes back.
    ///
    /// # Errors
    /// The page was not entered, and is freed.
    pub(crate) fn enter(
        &self,
        file: &File<E::Cpu>,
        at: FilePage,
        new: NewPage<'m>,
        spare: Spare,
        within: bool,
        can_swap: bool,
    ) -> Result<(PageLock<'m>, PageRef<'m>), NotEntered> {
        let is_shared = file.is_shared_memory();
        let begin = |page: &'m Page| page.begin_in_file(at, is_shared);
        let store = IndexOf { within, ..self.store(file, spare) };
        let entered = self.cache.enter(&store, at, new, begin);
        self.give_spare(store.spare.into_inner());
        let (lock, held, shadow) = entered?;
        if let Some(shadow) = shadow {
            let kind = if is_shared { PageType::Anon } else { PageType::File };
            self.cache.workingset_refault(held.page(), kind, shadow, can_swap);
        }
        self.cache.lru.add(held.page());
        Ok((lock, held))
    }

    /// Removes a page from the cache: it is behind the end, or could not be read. It is not being
    /// written; if it is dirty, its contents are lost.
    #[doc(alias = "filemap_remove_folio")]
    pub(crate) fn remove(&self, file: &File<E::Cpu>, at: FilePage, lock: &PageLock<'m>) {
        self.clear_page_dirty(file, at, lock);
        self.cache.remove(&self.store(file, Spare::NONE), at, lock);
    }

    /// Evicts a clean page, as [`Cache::freeze_and_remove`] does.
    ///
    /// # Errors
    /// Returns the page, with the reason.
    ///
    /// [`Cache::freeze_and_remove`]: crate::cache::Cache::freeze_and_remove
    pub(crate) fn freeze_and_remove(
        &self,
        at: FilePage,
        page: LockedPage<'m>,
    ) -> Result<FrozenPage<'m>, (LockedPage<'m>, Busy)> {
        let store = self.store(self.at(at.file), Spare::NONE);
        self.cache.freeze_and_remove(&store, at, page)
    }

    // ---- dirty ----

    /// The contents of a page were changed; true if it was clean. The caller holds the page lock, or
    /// the lock of a page table that maps the page: so it is in its file's cache.
    #[doc(alias = "filemap_dirty_folio")]
    #[inline(always)]
    pub(crate) fn set_page_dirty(&self, page: &Page) -> bool {
        match page.file_page() {
            Some(at) if !page.has(PageFlags::SWAPBACKED) => self.dirty_stored(page, at),
            _ => page.set_dirty(),
        }
    }

    #[inline(never)]
    fn dirty_stored(&self, page: &Page, at: FilePage) -> bool {
        let (flags, file) = (page.flags(), self.at(at.file));
        if flags.contains(PageFlags::PRIVATE) {
            // Also of a page that is dirty: its blocks may have been written since.
            self.env.files().dirtied(file.store(), at.index);
        }
        if flags.contains(PageFlags::DIRTY) {
            return false;
        }
        let fresh = self.with_tree(file, at.file, |tree| {
            let fresh = page.set_dirty();
            if fresh {
                tree.set_mark(at.index, Mark::Dirty, true);
                file.nr_dirty.fetch_add(1, Ordering::Relaxed);
            }
            fresh
        });
        if fresh {
            self.dirty.device(file).note_dirtied();
            self.list_dirty(file);
        }
        fresh
    }

    /// The shadow of a page is removed, if there is one.
    pub(crate) fn forget_shadow(&self, file: &File<E::Cpu>, at: FilePage) {
        self.with_tree(file, at.file, |tree| {
            if matches!(tree.get(at.index), Entry::Shadow(_)) {
                tree.replace(at.index, Entry::Empty);
            }
        });
    }

    /// The flusher has written some pages of a file: it goes to the end of the dirty files, or off
    /// the list if it is clean; true if it is.
    pub(crate) fn take_turn(&self, file: &File<E::Cpu>) -> bool {
        let (files, handle) = (&self.dirty.files, self.pool.handle_of(file));
        files.remove_if(&self.pool, handle, || true);
        let is_dirty = is_still_due(&file.nr_dirty);
        if is_dirty {
            files.append(&self.pool, handle);
        }
        !is_dirty
    }

    /// A file with a dirty page is listed, with the time of the first.
    fn list_dirty(&self, file: &File<E::Cpu>) {
        if !file.dirty.is_listed() {
            file.dirtied_when.store(self.env.clock().now().0, Ordering::Relaxed);
            self.dirty.files.append(&self.pool, self.pool.handle_of(file));
        }
    }

    /// The page is dirty no more, for the holder of its lock; true if it was.
    pub(crate) fn clear_page_dirty(
        &self,
        file: &File<E::Cpu>,
        at: FilePage,
        lock: &PageLock<'m>,
    ) -> bool {
        let page = lock.page();
        if page.has(PageFlags::SWAPBACKED) {
            return page.clear_dirty();
        }
        let was = self.with_tree(file, at.file, |tree| {
            let was = page.clear_dirty();
            if was {
                tree.set_mark(at.index, Mark::Dirty, false);
                file.nr_dirty.fetch_sub(1, Ordering::Relaxed);
            }
            was
        });
        if was {
            self.dirty.device(file).note_clean();
        }
        was
    }
}
