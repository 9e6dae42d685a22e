//! Areas and their families: splitting, merging, and the families of a child's area.
//!
//! The objects that an area needs to enter families are taken before the tree of families is
//! locked, because that may sleep and reclaim. The number needed does not change until then: the
//! area locks of the spaces are held. The surplus is returned.

use super::Mmap;
use crate::base::units::Vpn;
use crate::env::Env;
use crate::space::{Area, AreaIndex, Family, FamilyHandle, Link, Loose, SpaceError};

/// The area that a fork made last, and the family of the one that it is a copy of.
#[derive(Clone, Copy)]
pub(crate) struct Sibling<'m> {
    pub(crate) parents: FamilyHandle,
    pub(crate) area: &'m Area,
}

impl<'m, E: Env> Mmap<'m, E> {
    /// Takes `links` links, and a family if `family`.
    fn take_loose(&self, links: usize, family: bool) -> Result<Loose, SpaceError> {
        let (trees, mut loose) = (self.spaces.trees(), Loose::default());
        let mut take_all = || {
            for _ in 0..links {
                let (link, _) = self.alloc.object(&self.spaces.links, Link::blank)?;
                trees.add_link(&mut loose, link);
            }
            if family {
                let (family, _) = self.alloc.object(&self.spaces.families, Family::blank)?;
                trees.add_family(&mut loose, family);
            }
            Ok(())
        };
        match take_all() {
            Ok(()) => Ok(loose),
            Err(error) => {
                self.spaces.give_loose(loose);
                Err(error)
            }
        }
    }

    /// The length of an area's chain.
    fn links_of(&self, area: &Area) -> usize {
        self.spaces.trees().chain(area).count()
    }

    /// Splits an area in two, of which the upper one begins at `at`.
    pub(crate) fn split_area(
        &self,
        index: &mut AreaIndex<'m>,
        area: &'m Area,
        at: Vpn,
    ) -> Result<(), SpaceError> {
        let mut loose = self.take_loose(self.links_of(area), false)?;
        let upper = match self.take_area() {
            Ok(upper) => upper,
            Err(error) => {
                self.spaces.give_loose(loose);
                return Err(error);
            }
        };
        let view = area.view();
        upper.init(area.space(), view.part(at, view.end));
        upper.set_seen(area.seen());
        // Until the tree is unlocked, no walk sees that a part is missing.
        let tree = self.spaces.tree_of(area);
        self.spaces.change_bounds(area, Some(upper), |area| area.set_bounds(view.start, at));
        if let Some(tree) = tree {
            tree.follow(area, upper, &mut loose);
        }
        self.spaces.give_loose(loose);
        index.insert(upper);
        Ok(())
    }

    /// Merges two neighbours that agree, and returns the merged area.
    pub(crate) fn merge(
        &self,
        index: &mut AreaIndex<'m>,
        low: &'m Area,
        high: &'m Area,
    ) -> &'m Area {
        let (start, end) = (low.start(), high.end());
        let (stays, goes) = if low.family().is_none() { (high, low) } else { (low, high) };
        index.remove(goes);
        // A walk must not see that a part is missing: it would take a mapping for gone.
        let tree = self.spaces.tree_of(stays);
        self.spaces.change_bounds(stays, None, |stays| stays.set_bounds(start, end));
        let file = self.spaces.leave_file(goes);
        let left = tree.filter(|_| goes.family().is_some()).map(|tree| tree.leave(goes));
        if let Some(loose) = left {
            self.spaces.give_loose(loose);
        }
        self.spaces.put_surplus(self.spaces.areas.give(self.spaces.areas.handle_of(goes)));
        if let Some(file) = file {
            self.spaces.files.put(file);
        }
        stays
    }

    /// Puts the fresh area of a child into the families of the parent's area that it is a copy of.
    /// Areas of one family in the parent are of one family in the child, too, if none of another
    /// family lies between them: they may agree later.
    pub(crate) fn inherit(
        &self,
        parent: &Area,
        heir: &'m Area,
        before: Option<Sibling<'m>>,
    ) -> Result<(), SpaceError> {
        let sibling = before.filter(|sibling| Some(sibling.parents) == parent.family());
        let mut loose = match sibling {
            Some(sibling) => self.take_loose(self.links_of(sibling.area), false)?,
            None => self.take_loose(1 + self.links_of(parent), true)?,
        };
        if let Some(tree) = self.spaces.tree_of(parent) {
            match sibling {
                Some(sibling) => tree.follow(sibling.area, heir, &mut loose),
                None => tree.inherit(parent, heir, &mut loose),
            }
        }
        self.spaces.give_loose(loose);
        Ok(())
    }
}
