//! Every address space of the machine: the pools of areas, families, links and spaces, and the
//! lookup of a space by name.
//!
//! A space is named by a [`SpaceId`], which the directory turns into the space. The name of a space
//! that is gone finds none, even if the place is reused. A call about a space relies on its owner:
//! a space is not destroyed while a program or a call uses it. The killer, the reaper, `swapoff`
//! and the statistics look at the spaces of others, which may be destroyed concurrently: they hold
//! the frame that the space lies in ([`HeldSpace`]), and recheck the name under a lock.
//!
//! Nothing here allocates: a caller that needs an object and finds none supplies a frame (`mmap`,
//! `fault`).

use super::{
    AddressSpace, Area, Areas, Backing, Directory, Families, FileAreas, Links, Loose, SpaceError,
    SpaceId, SpacePool, SpaceStat, Tree, Trees,
};
use crate::base::sync::{AtomicU32, AtomicU64, Ordering};
use crate::env::Env;
use crate::file::{File, FileRef, Files};
use crate::lru::Lru;
use crate::page::PageRef;
use crate::page::pool::{Pool, Window};

/// The address spaces of an environment.
pub(crate) type SpaceOf<'m, E> = AddressSpace<'m, <E as Env>::Cpu, <E as Env>::Tables>;

/// In [`Spaces::zero_page`]: there is none yet.
pub(super) const NO_ZERO_PAGE: u32 = u32::MAX;

/// The address spaces of the machine.
pub(crate) struct Spaces<'m, E: Env> {
    pub(super) lru: &'m Lru<'m, E>,
    pub(crate) files: &'m Files<'m, E>,
    pub(crate) window: Window<'m>,
    pub(crate) directory: Directory<'m, E::Cpu>,
    pub(crate) pool: SpacePool<'m, E::Cpu, E::Tables>,
    pub(crate) areas: Areas<'m, E::Cpu>,
    pub(crate) families: Families<'m, E::Cpu>,
    pub(crate) links: Links<'m, E::Cpu>,
    /// The frame of the zero page, or [`NO_ZERO_PAGE`].
    pub(super) zero_page: AtomicU32,
}

/// An address space whose frame is held: it may be destroyed concurrently, or even become another
/// space, but the object stays valid.
pub(crate) struct HeldSpace<'a, 'm, E: Env> {
    spaces: &'a Spaces<'m, E>,
    pub(crate) id: SpaceId,
    pub(crate) space: &'m SpaceOf<'m, E>,
    /// `None` only inside `drop`.
    frame: Option<PageRef<'m>>,
}

impl<'m, E: Env> HeldSpace<'_, 'm, E> {
    /// Keeps the frame held, until [`Spaces::put_frame_of`].
    pub(super) fn keep(mut self) -> &'m SpaceOf<'m, E> {
        if let Some(frame) = self.frame.take() {
            frame.leak();
        }
        self.space
    }

    /// Whether the space still has its name. Under its page-table lock the answer stays valid while
    /// the lock is held and there are tables.
    pub(crate) fn is_current(&self) -> bool {
        let handle = self.spaces.directory.find(self.id);
        handle == Some(self.spaces.pool.handle_of(self.space))
    }
}

impl<E: Env> Drop for HeldSpace<'_, '_, E> {
    fn drop(&mut self) {
        if let Some(frame) = self.frame.take() {
            self.spaces.lru.put(frame);
        }
    }
}

impl<'m, E: Env> Spaces<'m, E> {
    /// No space yet; there can be as many as `places`.
    pub(crate) fn new(
        files: &'m Files<'m, E>,
        window: Window<'m>,
        places: &'m [AtomicU64],
    ) -> Self {
        let (map, lru) = (files.cache.map, files.cache.lru);
        Self {
            lru,
            files,
            window,
            directory: Directory::new(places),
            pool: Pool::new(map, window),
            areas: Pool::new(map, window),
            families: Pool::new(map, window),
            links: Pool::new(map, window),
            zero_page: AtomicU32::new(NO_ZERO_PAGE),
        }
    }

    /// The address space of that name.
    ///
    /// # Errors
    /// If there is none.
    #[inline(always)]
    pub(crate) fn find(&self, id: SpaceId) -> Result<&'m SpaceOf<'m, E>, SpaceError> {
        match self.directory.find(id) {
            Some(handle) => Ok(self.pool.at(handle)),
            None => Err(SpaceError::NoSuchSpace),
        }
    }

    /// The address space that an area belongs to.
    #[inline(always)]
    pub(crate) fn of(&self, area: &Area) -> &'m SpaceOf<'m, E> {
        self.pool.at(area.space().expect("an area of a space"))
    }

    /// The address space of that name, which the caller need not own.
    pub(crate) fn hold(&self, id: SpaceId) -> Option<HeldSpace<'_, 'm, E>> {
        let handle = self.directory.find(id)?;
        let frame = match self.pool.hold(handle) {
            Ok(frame) => frame,
            Err(other) => {
                self.put_surplus(other);
                return None;
            }
        };
        let space = self.pool.at_held(handle);
        let held = HeldSpace { spaces: self, id, space, frame: Some(frame) };
        held.is_current().then_some(held)
    }

    /// Puts the reference that [`HeldSpace::keep`] left.
    pub(super) fn put_frame_of(&self, space: &SpaceOf<'m, E>) {
        let frame = self.pool.frame_of(self.pool.handle_of(space));
        self.lru.put(PageRef::adopt(self.lru.zones.map.page(frame)));
    }

    /// Every address space, one after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = HeldSpace<'_, 'm, E>> {
        self.directory.iter().filter_map(|id| self.hold(id))
    }

    /// The sum of a value over the spaces in use.
    pub(crate) fn of_live(&self, figure: impl Fn(&SpaceOf<'m, E>) -> u64) -> u64 {
        let live = self.iter().filter(|held| held.space.live.load(Ordering::Acquire));
        live.map(|held| figure(held.space)).sum()
    }

    /// The space's counters; zeroes if it does not exist.
    pub(crate) fn stat(&self, id: SpaceId) -> SpaceStat {
        self.find(id).map(AddressSpace::stat).unwrap_or_default()
    }

    /// Runs `f` on the tables of a space, under the page-table lock.
    ///
    /// # Panics
    /// If the space does not exist.
    pub(crate) fn with_tables<R>(&self, id: SpaceId, f: impl FnOnce(&mut E::Tables) -> R) -> R {
        let mut tables = self.find(id).expect("a space that exists").tables.lock();
        f(tables.as_mut().expect("a space that exists"))
    }

    // ---- freeing ----

    /// Puts a frame that a pool no longer needs.
    #[inline]
    pub(crate) fn put_surplus(&self, surplus: Option<PageRef<'m>>) {
        if let Some(page) = surplus {
            self.lru.put(page);
        }
    }

    /// Frees the spare frames of the pools of areas, families, links and spaces: at most one each.
    pub(crate) fn trim(&self) {
        self.put_surplus(self.areas.trim());
        self.put_surplus(self.families.trim());
        self.put_surplus(self.links.trim());
        self.put_surplus(self.pool.trim());
    }

    /// Frees objects that are in no tree of families.
    pub(crate) fn give_loose(&self, loose: Loose) {
        self.trees().give(loose, |surplus| self.put_surplus(surplus));
    }

    /// Removes an area, which is in no index any more, from its families and its file's areas, and
    /// frees it. A file that nobody needs any more is left to [`Files::put`].
    pub(crate) fn retire_area(&self, area: &'m Area) {
        if let Some(tree) = self.tree_of(area) {
            let loose = tree.leave(area);
            // Unlock before the family that has the lock may be freed.
            drop(tree);
            self.give_loose(loose);
        }
        let file = self.leave_file(area);
        self.put_surplus(self.areas.give(self.areas.handle_of(area)));
        if let Some(file) = file {
            self.files.put(file);
        }
    }

    // ---- files ----

    /// The file that an area maps, if any.
    pub(crate) fn file_of(&self, area: &Area) -> Option<&'m File<E::Cpu>> {
        match area.backing() {
            Backing::Anonymous => None,
            Backing::File(id) => Some(self.files.at(id)),
        }
    }

    /// The areas that map a file, locked.
    pub(crate) fn areas_of(&self, file: &'m File<E::Cpu>) -> FileAreas<'_, 'm, E::Cpu> {
        FileAreas::new(&self.areas, file.areas.lock())
    }

    /// Adds a fresh area to those that map its file, if it maps one: it has a reference already.
    pub(crate) fn join_file(&self, area: &Area) {
        if let Some(file) = self.file_of(area) {
            self.areas_of(file).insert(area);
        }
    }

    /// Removes an area from those that map its file; returns its reference to that.
    pub(crate) fn leave_file(&self, area: &Area) -> Option<FileRef<'m, E::Cpu>> {
        let Backing::File(id) = area.backing() else { return None };
        let file = self.files.at(id);
        self.areas_of(file).remove(area);
        Some(FileRef::adopt(file, id))
    }

    /// Changes the bounds of areas of one file or of none, so that no walk by the file sees half of
    /// the change: `area` is in the tree and changes, `fresh` enters it.
    pub(crate) fn change_bounds(
        &self,
        area: &Area,
        fresh: Option<&Area>,
        change: impl FnOnce(&Area),
    ) {
        let Some(file) = self.file_of(area) else { return change(area) };
        let areas = self.areas_of(file);
        areas.remove(area);
        change(area);
        areas.insert(area);
        if let Some(fresh) = fresh {
            file.get();
            areas.insert(fresh);
        }
    }

    // ---- families ----

    /// The trees that all families are in.
    #[inline(always)]
    pub(crate) fn trees(&self) -> Trees<'_, 'm, E::Cpu> {
        Trees { areas: &self.areas, families: &self.families, links: &self.links }
    }

    /// The tree of families that an area is in, locked: until it is unlocked, no walk sees the
    /// area. The caller holds the area lock.
    pub(crate) fn tree_of(&self, area: &Area) -> Option<Tree<'_, 'm, E::Cpu>> {
        self.trees().lock(area)
    }
}
