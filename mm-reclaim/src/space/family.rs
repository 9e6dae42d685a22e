//! Families: which areas may map a page.
//!
//! A page carries the handle of the family of the area that made it. A family leads to every
//! area that may map its pages: those that it is the *own* family of, its *members*, and those
//! that descend from them by `fork`, which are in it by a [`Link`] each.
//!
//! ```text
//!   process P touches an area, forks A and B; A forks C
//!
//!   family 1, of P          members: P    by link: A, B, C       (the root)
//!    |- family 2, of A      members: A    by link: C
//!    |   `- family 4, of C  members: C
//!    `- family 3, of B      members: B
//!
//!   the area of C: its own family is 4; its chain: links to 2 and 1
//! ```
//!
//! So a page that P made may be mapped by all four; one that A made by A and C; one that C made by
//! C alone, and a walk checks no other area.
//!
//! **A first touch** gives an area a family: a near neighbour's, so that the two can be merged
//! later, or a new one, which is the root of a tree. **A split** puts the new piece into the same
//! families. **A fork** puts the child's area into all families of the parent's, and gives it its
//! own family: one of these that has no members any more and fewer than two children, or else a new
//! one below the parent's own. A root counts itself as a child.
//!
//! **Reuse** keeps a chain of generations, each of which exits after its fork, from growing: each
//! but the first few takes over the family of its grandparent.
//!
//! | generation | own | by link | origin of its own |
//! | --- | --- | --- | --- |
//! | 0 | 1 | | first touch |
//! | 1 | 2 | 1 | new, below 1 |
//! | 2 | 3 | 2, 1 | new, below 2: 1 has two children, itself and 2 |
//! | 3 | 2 | 3, 1 | generation 1 is gone: 2 has no member, and one child |
//! | 4 | 3 | 2, 1 | generation 2 is gone: 3 has no member, and no child |
//! | 5 | 2 | 3, 1 | and so on |
//!
//! A walk may be longer for that: a page of generation 3 carries family 2, which contains all
//! descendants of generation 1. If only generation 3 maps it, it is found at once, since members
//! are checked first; if its children map it too, they are found among their cousins.
//!
//! # Data
//!
//! A [`Family`] has the heads of its two lists, and counts its members and its children. A link
//! is on two lists: the family's, by both neighbours, and the chain of its area. Both live in
//! pools and are named by handles. These hold between operations (`validate` checks them):
//!
//! - An area that is in a family is in all families above it. So a family is freed before the one
//!   above it, the root last, and a family's `root` is valid as long as the family is.
//! - The members of a family are areas of one space and have equal chains. So two neighbours of the
//!   same own family can be merged.
//! - A family in use has a member or a link.
//!
//! # Owner, lock, undo
//!
//! The areas in a family own it together: the last one to leave frees it (`family/tree.rs`). An
//! area owns the links of its chain.
//!
//! One lock guards a whole tree: that of its root; no other family's is taken. Under it, `root`,
//! `parent`, lists and counts of all its families change, and bounds, shift and own family of
//! all their areas. Changing an area requires the area lock of its address space, under which chain
//! and own family do not change even without the tree's lock. So the objects that a change needs
//! are counted and taken from their pools before the tree is locked ([`Loose`]), and the surplus is
//! returned after it is unlocked: nothing is allocated under the lock. It nests around page-table
//! locks.
//!
//! What a first touch, a split or a fork puts into families leaves them by [`Tree::leave`], when
//! the area is freed: by `munmap`, by merging, at exit, or because the fork failed.
//!
//! A handle that a page still carries after its last unmapping may name a family that was freed and
//! reused, or one whose frame was freed. A walk (`rmap/family.rs`) holds the frames while it
//! follows the handle to the family and from there to the root, and rechecks the root when it has
//! the lock. Then it compares frames, so a wrong family costs wasted work at worst.
//!
//! Counterpart in Linux: `anon_vma`, `anon_vma_chain`.

mod audit;
mod tree;

use super::area::{Area, Areas};
use super::{AREA, FAMILY, FamilyHandle, LINK};
use crate::base::lock_order;
use crate::base::sync::{AtomicU32, Lock, LockGuard, Ordering};
use crate::env::Cpu;
use crate::page::pool::{HandleCell, Pool};

pub(crate) use audit::Tally;
pub(crate) use tree::{Loose, Tree, Trees};

/// Every family of a machine.
pub(crate) type Families<'m, C> = Pool<'m, C, Family<C>, FAMILY>;
/// Every link of a machine.
pub(crate) type Links<'m, C> = Pool<'m, C, Link, LINK>;
/// The guard of a tree's lock.
pub(crate) type TreeLock<'a, C> = LockGuard<'a, C, (), { lock_order::FAMILY }>;

/// The areas that may map the pages of those whose own family it is.
#[doc(alias = "anon_vma")]
pub struct Family<C: Cpu> {
    /// Guards the tree if this is its root; otherwise it is not used.
    lock: Lock<C, (), { lock_order::FAMILY }>,
    /// The root of the tree; none while the family is unused.
    root: HandleCell<FAMILY>,
    /// The family above; of a root, itself.
    parent: HandleCell<FAMILY>,
    /// The first area whose own family this is.
    member: HandleCell<AREA>,
    /// The first link.
    link: HandleCell<LINK>,
    members: AtomicU32,
    /// Families whose parent this is.
    children: AtomicU32,
}

/// An area is in the family of one that it descends from.
#[doc(alias = "anon_vma_chain")]
pub struct Link {
    area: HandleCell<AREA>,
    family: HandleCell<FAMILY>,
    /// Neighbours on the family's list.
    next: HandleCell<LINK>,
    prev: HandleCell<LINK>,
    /// The next link of the area's chain; of a loose one, the next loose one.
    further: HandleCell<LINK>,
}

/// Adds to a count that the lock of the tree guards.
fn add(count: &AtomicU32, delta: i32) {
    let sum = count.load(Ordering::Relaxed).wrapping_add_signed(delta);
    count.store(sum, Ordering::Relaxed);
}

impl<C: Cpu> Family<C> {
    pub(crate) const fn blank() -> Self {
        Self {
            lock: Lock::new(()),
            root: HandleCell::none(),
            parent: HandleCell::none(),
            member: HandleCell::none(),
            link: HandleCell::none(),
            members: AtomicU32::new(0),
            children: AtomicU32::new(0),
        }
    }

    /// The family whose lock guards this one; none if this one is unused. A caller that is not in
    /// the family must recheck it under that lock.
    #[inline(always)]
    pub(crate) fn root(&self) -> Option<FamilyHandle> {
        self.root.get()
    }

    /// Takes the lock of the tree of which this is the root.
    #[inline(always)]
    pub(crate) fn lock_tree(&self) -> TreeLock<'_, C> {
        self.lock.lock()
    }

    /// The family above; its own handle for a root.
    fn parent(&self) -> Option<FamilyHandle> {
        self.parent.get()
    }

    /// Areas whose own family it is.
    fn members(&self) -> u32 {
        self.members.load(Ordering::Relaxed)
    }

    /// Families whose parent it is; a root is its own child.
    fn children(&self) -> u32 {
        self.children.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.member.get().is_none() && self.link.get().is_none()
    }

    /// The areas of the family, for the holder of the tree's lock: the members, the youngest
    /// first, then those in it by link.
    #[inline(always)]
    pub(crate) fn areas<'a, 'm>(
        &'m self,
        areas: &'a Areas<'m, C>,
        links: &'a Links<'m, C>,
    ) -> impl Iterator<Item = &'m Area> + use<'a, 'm, C> {
        let mut member = self.member.get();
        // Most walks end among the members, so the head of the links is read only when it is
        // needed.
        let mut link = &self.link;
        core::iter::from_fn(move || {
            if let Some(handle) = member {
                let area = areas.at(handle);
                member = area.next.get();
                return Some(area);
            }
            let found = links.at(link.get()?);
            link = &found.next;
            found.area.get().map(|area| areas.at(area))
        })
    }
}

impl Link {
    pub(crate) const fn blank() -> Self {
        Self {
            area: HandleCell::none(),
            family: HandleCell::none(),
            next: HandleCell::none(),
            prev: HandleCell::none(),
            further: HandleCell::none(),
        }
    }
}

#[cfg(test)]
mod tests;
