//! Changing a tree of families: a first touch, a fork, a split, and the end of an area.
//!
//! Everything here is done under the lock of the tree's root, and nothing allocates.

use super::{Families, Family, Link, Links, TreeLock, add};
use crate::env::Cpu;
use crate::page::PageRef;
use crate::space::area::{Area, Areas};
use crate::space::{FamilyHandle, LinkHandle};

/// A family that more areas than this have as their own is adopted by no other.
const FEW: u32 = 16;

/// The pools of the objects that trees consist of.
pub(crate) struct Trees<'a, 'm, C: Cpu> {
    pub(crate) areas: &'a Areas<'m, C>,
    pub(crate) families: &'a Families<'m, C>,
    pub(crate) links: &'a Links<'m, C>,
}

impl<C: Cpu> Clone for Trees<'_, '_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: Cpu> Copy for Trees<'_, '_, C> {}

/// A tree of families whose lock is held.
pub(crate) struct Tree<'a, 'm, C: Cpu> {
    pools: Trees<'a, 'm, C>,
    root: FamilyHandle,
    _held: TreeLock<'m, C>,
}

/// A family and links that are in no tree: taken from their pools before a tree is locked, or left
/// over afterwards. To be returned by [`Trees::give`].
#[must_use = "objects that are not returned are lost"]
#[derive(Default)]
pub(crate) struct Loose {
    /// The first link. Each may name one more family that is loose.
    links: Option<LinkHandle>,
    family: Option<FamilyHandle>,
}

impl<'a, 'm, C: Cpu> Trees<'a, 'm, C> {
    /// Locks the tree that an area is in, if it has a family. The caller holds its area lock.
    pub(crate) fn lock(self, area: &Area) -> Option<Tree<'a, 'm, C>> {
        // The family exists while the area is in it, and so does its root.
        let root = self.families.at(area.family()?).root()?;
        Some(self.lock_root(root))
    }

    fn lock_root(self, root: FamilyHandle) -> Tree<'a, 'm, C> {
        Tree { pools: self, root, _held: self.families.at(root).lock_tree() }
    }

    /// Makes a fresh family the root of a tree, and an untouched area its only member.
    pub(crate) fn found(self, area: &Area, root: FamilyHandle) {
        // Locked although no area is in it: a walk may come here with a stale handle.
        let tree = self.lock_root(root);
        tree.place(root, root);
        tree.join(area, root);
    }

    /// The links of an area's chain. The caller holds its area lock.
    pub(crate) fn chain(self, area: &Area) -> impl Iterator<Item = &'m Link> + use<'a, 'm, C> {
        let mut link = area.chain.get();
        core::iter::from_fn(move || {
            let found = self.links.at(link?);
            link = found.further.get();
            Some(found)
        })
    }

    /// The families that an area is in, its own first. The caller holds its area lock.
    pub(crate) fn families_of(
        self,
        area: &Area,
    ) -> impl Iterator<Item = FamilyHandle> + use<'a, 'm, C> {
        let others = self.chain(area).filter_map(|link| link.family.get());
        area.family().into_iter().chain(others)
    }

    /// A link for [`Tree::inherit`] or [`Tree::follow`].
    pub(crate) fn add_link(self, loose: &mut Loose, link: LinkHandle) {
        self.links.at(link).family.put(None);
        self.links.at(link).further.put(loose.links);
        loose.links = Some(link);
    }

    /// A family for [`Tree::inherit`].
    pub(crate) fn add_family(self, loose: &mut Loose, family: FamilyHandle) {
        debug_assert_eq!((self.families.at(family).root(), loose.family), (None, None));
        loose.family = Some(family);
    }

    /// Takes one of the loose links.
    fn next_loose(self, loose: &mut Loose) -> Option<(LinkHandle, &'m Link)> {
        let handle = loose.links?;
        let link = self.links.at(handle);
        loose.links = link.further.get();
        Some((handle, link))
    }

    /// Returns loose objects to their pools; frames that these no longer need go to `put_frame`.
    pub(crate) fn give(self, mut loose: Loose, mut put_frame: impl FnMut(Option<PageRef<'m>>)) {
        if let Some(family) = loose.family {
            put_frame(self.families.give(family));
        }
        while let Some((handle, link)) = self.next_loose(&mut loose) {
            let family = link.family.get();
            put_frame(self.links.give(handle));
            if let Some(family) = family {
                put_frame(self.families.give(family));
            }
        }
    }
}

impl<'m, C: Cpu> Tree<'_, 'm, C> {
    /// A family of this tree.
    fn at(&self, family: FamilyHandle) -> &'m Family<C> {
        let found = self.pools.families.at(family);
        debug_assert_eq!(found.root(), Some(self.root), "the lock of another tree is held");
        found
    }

    /// Places a fresh family in the tree, below `parent`.
    fn place(&self, family: FamilyHandle, parent: FamilyHandle) {
        let fresh = self.pools.families.at(family);
        debug_assert!(fresh.is_empty() && (fresh.root(), fresh.children()) == (None, 0));
        fresh.root.put(Some(self.root));
        fresh.parent.put(Some(parent));
        add(&self.at(parent).children, 1);
    }

    /// An area that has no family becomes a member of one.
    fn join(&self, area: &Area, family: FamilyHandle) {
        let (own, handle) = (self.at(family), self.pools.areas.handle_of(area));
        let first = own.member.get();
        area.next.put(first);
        area.prev.put(None);
        if let Some(first) = first {
            self.pools.areas.at(first).prev.put(Some(handle));
        }
        own.member.put(Some(handle));
        add(&own.members, 1);
        area.set_family(Some(family));
    }

    /// An area that is in no family yet enters the families of its ancestors, by loose links: its
    /// chain is in their order.
    fn connect(
        &self,
        area: &Area,
        families: impl Iterator<Item = FamilyHandle>,
        loose: &mut Loose,
    ) {
        let mut end = &area.chain;
        for family in families {
            let above = self.at(family);
            let taken = self.pools.next_loose(loose);
            let (handle, link) = taken.expect("a link for each family");
            let first = above.link.get();
            link.area.put(Some(self.pools.areas.handle_of(area)));
            link.family.put(Some(family));
            link.next.put(first);
            link.prev.put(None);
            if let Some(first) = first {
                self.pools.links.at(first).prev.put(Some(handle));
            }
            above.link.put(Some(handle));
            end.put(Some(handle));
            end = &link.further;
        }
        end.put(None);
    }

    /// An untouched area becomes a member of the family of `near`, unless that made walks too long:
    /// many members, or areas of children. True if it did.
    pub(crate) fn adopt(&self, near: &Area, area: &Area) -> bool {
        let Some(family) = near.family() else { return false };
        let own = self.at(family);
        let is_in_one = near.chain.get().is_none() && own.link.get().is_none();
        let alone = is_in_one && own.members() <= FEW;
        if alone {
            self.join(area, family);
        }
        alone
    }

    /// The fresh area of a child enters the families of the parent's, and gets its own. Takes at
    /// most as many links as the parent's area has families, and possibly a family.
    pub(crate) fn inherit(&self, parent: &Area, heir: &Area, loose: &mut Loose) {
        let is_left = |family: &FamilyHandle| {
            let family = self.at(*family);
            family.members() == 0 && family.children() < 2
        };
        let reused = self.pools.families_of(parent).find(is_left);
        let others = self.pools.families_of(parent).filter(|family| Some(*family) != reused);
        self.connect(heir, others, loose);
        let own = reused.unwrap_or_else(|| {
            let fresh = loose.family.take().expect("a family to be the heir's");
            self.place(fresh, parent.family().expect("the tree is the parent's"));
            fresh
        });
        self.join(heir, own);
    }

    /// A fresh area enters the families of another one of its space, whose own becomes its own.
    /// Takes as many links as the other's chain has.
    pub(crate) fn follow(&self, other: &Area, fresh: &Area, loose: &mut Loose) {
        let Some(own) = other.family() else { return };
        self.connect(fresh, self.pools.chain(other).filter_map(|link| link.family.get()), loose);
        self.join(fresh, own);
    }

    /// Removes an area from all its families. Returns its links, and each family that it was the
    /// last in, as loose objects.
    pub(crate) fn leave(&self, area: &Area) -> Loose {
        let mut loose = Loose { links: area.chain.get(), family: area.family() };
        self.part(area);
        self.pools.chain(area).for_each(|link| self.disconnect(link));
        // First the counts, then the roots: a family may be below another one that is freed.
        for family in self.pools.families_of(area).map(|family| self.at(family)) {
            if family.is_empty() {
                let above = family.parent().expect("a family in a tree");
                add(&self.at(above).children, -1);
            }
        }
        for link in self.pools.chain(area) {
            link.family.put(link.family.get().and_then(|family| self.retire(family)));
        }
        loose.family = loose.family.and_then(|family| self.retire(family));
        area.chain.put(None);
        area.set_family(None);
        loose
    }

    /// Makes a family loose if it is empty, and returns its handle.
    fn retire(&self, family: FamilyHandle) -> Option<FamilyHandle> {
        let found = self.at(family);
        if !found.is_empty() {
            return None;
        }
        debug_assert_eq!(found.children(), 0, "a family goes before the one above it");
        found.root.put(None);
        Some(family)
    }

    /// Removes an area from the members of its own family.
    fn part(&self, area: &Area) {
        let Some(own) = area.family().map(|family| self.at(family)) else { return };
        let (prev, next) = (area.prev.get(), area.next.get());
        match prev {
            None => own.member.put(next),
            Some(prev) => self.pools.areas.at(prev).next.put(next),
        }
        if let Some(next) = next {
            self.pools.areas.at(next).prev.put(prev);
        }
        add(&own.members, -1);
    }

    /// Removes a link from its family's list.
    fn disconnect(&self, link: &Link) {
        let (prev, next) = (link.prev.get(), link.next.get());
        match (prev, link.family.get()) {
            (Some(prev), _) => self.pools.links.at(prev).next.put(next),
            (None, Some(family)) => self.at(family).link.put(next),
            (None, None) => {}
        }
        if let Some(next) = next {
            self.pools.links.at(next).prev.put(prev);
        }
    }
}

#[cfg(test)]
mod tests;
