//! Changing a tree of families: a first touch, a fork, a split, and the end of an area.
//!
//! Everything here is done under the lock of the tree's root, and nothing allocates.

use super::{Families, Family, Link, Links, TreeLock, add, get, put};
use crate::env::Cpu;
use crate::page::PageRef;
use crate::space::area::{Area, Areas};

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
    root: u32,
    _held: TreeLock<'m, C>,
}

/// A family and links that are in no tree: taken from their pools before a tree is locked, or left
/// over afterwards. To be returned by [`Trees::give`].
#[must_use = "objects that are not returned are lost"]
#[derive(Default)]
pub(crate) struct Loose {
    /// The first link. Each may name one more family that is loose.
    links: u32,
    family: u32,
}

impl<'a, 'm, C: Cpu> Trees<'a, 'm, C> {
    /// Locks the tree that an area is in, if it has a family. The caller holds its area lock.
    pub(crate) fn lock(self, area: &Area) -> Option<Tree<'a, 'm, C>> {
        let family = area.family();
        // The family exists while the area is in it, and so does its root.
        (family != 0).then(|| self.lock_root(self.families.at(family).root()))
    }

    fn lock_root(self, root: u32) -> Tree<'a, 'm, C> {
        Tree { pools: self, root, _held: self.families.at(root).lock_tree() }
    }

    /// Makes a fresh family the root of a tree, and an untouched area its only member.
    pub(crate) fn found(self, area: &Area, root: u32) {
        // Locked although no area is in it: a walk may come here with a stale handle.
        let tree = self.lock_root(root);
        tree.place(root, root);
        tree.join(area, root);
    }

    /// The links of an area's chain. The caller holds its area lock.
    pub(crate) fn chain(self, area: &Area) -> impl Iterator<Item = &'m Link> + use<'a, 'm, C> {
        let mut link = get(&area.chain);
        core::iter::from_fn(move || {
            let found = (link != 0).then(|| self.links.at(link))?;
            link = get(&found.further);
            Some(found)
        })
    }

    /// The families that an area is in, its own first. The caller holds its area lock.
    pub(crate) fn families_of(self, area: &Area) -> impl Iterator<Item = u32> + use<'a, 'm, C> {
        let own = area.family();
        let others = self.chain(area).map(|link| get(&link.family));
        (own != 0).then_some(own).into_iter().chain(others)
    }

    /// A link for [`Tree::inherit`] or [`Tree::follow`].
    pub(crate) fn add_link(self, loose: &mut Loose, link: u32) {
        put(&self.links.at(link).family, 0);
        put(&self.links.at(link).further, loose.links);
        loose.links = link;
    }

    /// A family for [`Tree::inherit`].
    pub(crate) fn add_family(self, loose: &mut Loose, family: u32) {
        debug_assert_eq!((self.families.at(family).root(), loose.family), (0, 0));
        loose.family = family;
    }

    /// Takes one of the loose links.
    fn next_loose(self, loose: &mut Loose) -> Option<(u32, &'m Link)> {
        let handle = loose.links;
        let link = (handle != 0).then(|| self.links.at(handle))?;
        loose.links = get(&link.further);
        Some((handle, link))
    }

    /// Returns loose objects to their pools; frames that these no longer need go to `put_frame`.
    pub(crate) fn give(self, mut loose: Loose, mut put_frame: impl FnMut(Option<PageRef<'m>>)) {
        if loose.family != 0 {
            put_frame(self.families.give(loose.family));
        }
        while let Some((handle, link)) = self.next_loose(&mut loose) {
            let family = get(&link.family);
            put_frame(self.links.give(handle));
            if family != 0 {
                put_frame(self.families.give(family));
            }
        }
    }
}

impl<'m, C: Cpu> Tree<'_, 'm, C> {
    /// A family of this tree.
    fn at(&self, family: u32) -> &'m Family<C> {
        let found = self.pools.families.at(family);
        debug_assert_eq!(found.root(), self.root, "the lock of another tree is held");
        found
    }

    /// Places a fresh family in the tree, below `parent`.
    fn place(&self, family: u32, parent: u32) {
        let fresh = self.pools.families.at(family);
        debug_assert!(fresh.is_empty() && (fresh.root(), fresh.children()) == (0, 0));
        put(&fresh.root, self.root);
        put(&fresh.parent, parent);
        add(&self.at(parent).children, 1);
    }

    /// An area that has no family becomes a member of one.
    fn join(&self, area: &Area, family: u32) {
        let (own, handle) = (self.at(family), self.pools.areas.handle_of(area));
        let first = get(&own.member);
        put(&area.next, first);
        put(&area.prev, 0);
        if first != 0 {
            put(&self.pools.areas.at(first).prev, handle);
        }
        put(&own.member, handle);
        add(&own.members, 1);
        area.set_family(family);
    }

    /// An area that is in no family yet enters the families of its ancestors, by loose links: its
    /// chain is in their order.
    fn connect(&self, area: &Area, families: impl Iterator<Item = u32>, loose: &mut Loose) {
        let mut end = &area.chain;
        for family in families {
            let above = self.at(family);
            let taken = self.pools.next_loose(loose);
            let (handle, link) = taken.expect("a link for each family");
            let first = get(&above.link);
            put(&link.area, self.pools.areas.handle_of(area));
            put(&link.family, family);
            put(&link.next, first);
            put(&link.prev, 0);
            if first != 0 {
                put(&self.pools.links.at(first).prev, handle);
            }
            put(&above.link, handle);
            put(end, handle);
            end = &link.further;
        }
        put(end, 0);
    }

    /// An untouched area becomes a member of the family of `near`, unless that made walks too long:
    /// many members, or areas of children. True if it did.
    pub(crate) fn adopt(&self, near: &Area, area: &Area) -> bool {
        let family = near.family();
        let own = self.at(family);
        let alone = get(&near.chain) == 0 && get(&own.link) == 0 && own.members() <= FEW;
        if alone {
            self.join(area, family);
        }
        alone
    }

    /// The fresh area of a child enters the families of the parent's, and gets its own. Takes at
    /// most as many links as the parent's area has families, and possibly a family.
    pub(crate) fn inherit(&self, parent: &Area, heir: &Area, loose: &mut Loose) {
        let is_left = |family: &u32| {
            let family = self.at(*family);
            family.members() == 0 && family.children() < 2
        };
        let reused = self.pools.families_of(parent).find(is_left);
        let others = self.pools.families_of(parent).filter(|family| Some(*family) != reused);
        self.connect(heir, others, loose);
        let own = reused.unwrap_or_else(|| {
            let fresh = core::mem::take(&mut loose.family);
            self.place(fresh, parent.family());
            fresh
        });
        self.join(heir, own);
    }

    /// A fresh area enters the families of another one of its space, whose own becomes its own.
    /// Takes as many links as the other's chain has.
    pub(crate) fn follow(&self, other: &Area, fresh: &Area, loose: &mut Loose) {
        self.connect(fresh, self.pools.chain(other).map(|link| get(&link.family)), loose);
        self.join(fresh, other.family());
    }

    /// Removes an area from all its families. Returns its links, and each family that it was the
    /// last in, as loose objects.
    pub(crate) fn leave(&self, area: &Area) -> Loose {
        let mut loose = Loose { links: get(&area.chain), family: area.family() };
        self.part(area);
        self.pools.chain(area).for_each(|link| self.disconnect(link));
        // First the counts, then the roots: a family may be below another one that is freed.
        for family in self.pools.families_of(area).map(|family| self.at(family)) {
            if family.is_empty() {
                add(&self.at(family.parent()).children, -1);
            }
        }
        for link in self.pools.chain(area) {
            put(&link.family, self.retire(get(&link.family)));
        }
        loose.family = self.retire(loose.family);
        put(&area.chain, 0);
        area.set_family(0);
        loose
    }

    /// Makes a family loose if it is empty, and returns its handle, else 0.
    fn retire(&self, family: u32) -> u32 {
        let found = self.at(family);
        if !found.is_empty() {
            return 0;
        }
        debug_assert_eq!(found.children(), 0, "a family goes before the one above it");
        put(&found.root, 0);
        family
    }

    /// Removes an area from the members of its own family.
    fn part(&self, area: &Area) {
        let own = self.at(area.family());
        let (prev, next) = (get(&area.prev), get(&area.next));
        match prev {
            0 => put(&own.member, next),
            _ => put(&self.pools.areas.at(prev).next, next),
        }
        if next != 0 {
            put(&self.pools.areas.at(next).prev, prev);
        }
        add(&own.members, -1);
    }

    /// Removes a link from its family's list.
    fn disconnect(&self, link: &Link) {
        let (prev, next) = (get(&link.prev), get(&link.next));
        match prev {
            0 => put(&self.at(get(&link.family)).link, next),
            _ => put(&self.pools.links.at(prev).next, next),
        }
        if next != 0 {
            put(&self.pools.links.at(next).prev, prev);
        }
    }
}

#[cfg(test)]
mod tests;
