//! The areas that map a file, found by the pages of the file that they cover.
//!
//! A tree of areas by the first page of the file that they cover, and by their handle among equals.
//! Each carries the last page that it or any area below it covers, so that a search for a page passes
//! over every branch that ends before it: a walk of one page visits the areas that cover it, and a
//! logarithm of the others.
//!
//! The tree is a treap: the priority of an area is a hash of its handle, so that it needs no word, and
//! no order of mapping makes the tree deep except by chance.
//!
//! Data: the links in the areas, the root in the file. Lock: the file's `areas` lock, which is held
//! while a [`FileAreas`] lives. The bounds of an area change only while it is out of the tree and the
//! lock is held, so that no walk sees half a split.
//!
//! Source: C. Aragon and R. Seidel, "Randomized search trees", 1989; for the ends, Cormen et al.,
//! "Introduction to Algorithms", interval trees. Counterpart in Linux: `mm/interval_tree.c`, `i_mmap`.

use core::ops::RangeInclusive;

use super::{Area, AreaHandle, Areas};
use crate::base::lock_order::FILE_AREAS;
use crate::base::sync::{LockGuard, Ordering, Proof};
use crate::env::Cpu;
use crate::page::pool::HandleCell;
use crate::page::pool::kind::AREA;

/// The areas of a file whose lock is held.
pub(crate) struct FileAreas<'a, 'm, C: Cpu> {
    areas: &'a Areas<'m, C>,
    root: LockGuard<'m, C, HandleCell<AREA>, FILE_AREAS>,
}

/// Which child of its parent an area is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl<'a, 'm, C: Cpu> FileAreas<'a, 'm, C> {
    pub(super) fn new(
        areas: &'a Areas<'m, C>,
        root: LockGuard<'m, C, HandleCell<AREA>, FILE_AREAS>,
    ) -> Self {
        Self { areas, root }
    }

    /// Its holder is not preempted.
    pub(crate) fn proof(&self) -> Proof<'_> {
        self.root.proof()
    }

    fn at(&self, area: AreaHandle) -> &'m Area {
        self.areas.at(area)
    }

    // ---- changes ----

    /// Adds an area of the file.
    pub(crate) fn insert(&self, area: &Area) {
        let handle = self.areas.handle_of(area);
        let key = |area: &Area, handle: AreaHandle| (area.file_range().0, handle);
        let mine = key(area, handle);
        let (mut parent, mut place) = (None, &*self.root);
        while let Some(at) = place.get() {
            let found = self.at(at);
            (parent, place) = match mine < key(found, at) {
                true => (Some(at), &found.file_links.left),
                false => (Some(at), &found.file_links.right),
            };
        }
        place.put(Some(handle));
        area.file_links.left.put(None);
        area.file_links.right.put(None);
        area.file_links.parent.put(parent);
        self.note_ends(Some(handle));
        while let Some(above) =
            area.file_links.parent.get().filter(|p| priority(*p) < priority(handle))
        {
            self.rotate_up(handle, above);
        }
    }

    /// Removes an area of the file.
    pub(crate) fn remove(&self, area: &Area) {
        let handle = self.areas.handle_of(area);
        let links = &area.file_links;
        while let (Some(left), Some(right)) = (links.left.get(), links.right.get()) {
            let up = if priority(left) > priority(right) { left } else { right };
            self.rotate_up(up, handle);
        }
        let below = links.left.get().or(links.right.get());
        let parent = links.parent.get();
        self.place_of(handle, parent).put(below);
        if let Some(below) = below {
            self.at(below).file_links.parent.put(parent);
        }
        self.note_ends(parent);
    }

    /// The cell that leads to an area.
    fn place_of(&self, area: AreaHandle, parent: Option<AreaHandle>) -> &HandleCell<AREA> {
        match parent.map(|parent| (parent, self.side(area, parent))) {
            None => &self.root,
            Some((parent, Side::Left)) => &self.at(parent).file_links.left,
            Some((parent, Side::Right)) => &self.at(parent).file_links.right,
        }
    }

    fn side(&self, area: AreaHandle, parent: AreaHandle) -> Side {
        let is_left = self.at(parent).file_links.left.get() == Some(area);
        if is_left { Side::Left } else { Side::Right }
    }

    /// An area takes the place of its parent, which becomes its child.
    fn rotate_up(&self, area: AreaHandle, parent: AreaHandle) {
        let (lower, upper) = (&self.at(area).file_links, &self.at(parent).file_links);
        let above = upper.parent.get();
        let between = match self.side(area, parent) {
            Side::Left => {
                let between = lower.right.get();
                upper.left.put(between);
                lower.right.put(Some(parent));
                between
            }
            Side::Right => {
                let between = lower.left.get();
                upper.right.put(between);
                lower.left.put(Some(parent));
                between
            }
        };
        if let Some(between) = between {
            self.at(between).file_links.parent.put(Some(parent));
        }
        match above.map(|above| &self.at(above).file_links) {
            None => self.root.put(Some(area)),
            Some(links) if links.left.get() == Some(parent) => links.left.put(Some(area)),
            Some(links) => links.right.put(Some(area)),
        }
        lower.parent.put(above);
        upper.parent.put(Some(area));
        self.note_end(parent);
        self.note_end(area);
    }

    /// The last page that an area and those below it cover, from its children's.
    fn note_end(&self, handle: AreaHandle) {
        let area = self.at(handle);
        let links = &area.file_links;
        let of = |child: &HandleCell<AREA>| child.get().map_or(0, |at| self.last_of(at));
        let last = area.file_range().1.max(of(&links.left)).max(of(&links.right));
        links.last.store(last, Ordering::Relaxed);
    }

    /// The same for an area and all above it.
    fn note_ends(&self, mut from: Option<AreaHandle>) {
        while let Some(at) = from {
            self.note_end(at);
            from = self.at(at).file_links.parent.get();
        }
    }

    fn last_of(&self, area: AreaHandle) -> u32 {
        self.at(area).file_links.last.load(Ordering::Relaxed)
    }

    // ---- searches ----

    /// The areas that cover a page of `range`, in their order.
    pub(crate) fn covering(
        &self,
        range: RangeInclusive<u32>,
    ) -> impl Iterator<Item = &'m Area> + use<'_, 'a, 'm, C> {
        let mut next = self.root.get().and_then(|root| self.first_below(root, &range));
        core::iter::from_fn(move || {
            let at = next?;
            next = self.next_after(at, &range);
            Some(self.at(at))
        })
    }

    /// The first area below `top`, or `top` itself, that covers a page of `range`.
    fn first_below(&self, top: AreaHandle, range: &RangeInclusive<u32>) -> Option<AreaHandle> {
        let reaches = |at: &AreaHandle| self.last_of(*at) >= *range.start();
        let mut at = Some(top).filter(reaches)?;
        loop {
            let (area, links) = (self.at(at), &self.at(at).file_links);
            if let Some(left) = links.left.get().filter(reaches) {
                at = left;
                continue;
            }
            let (first, last) = area.file_range();
            if first > *range.end() {
                return None;
            }
            if last >= *range.start() {
                return Some(at);
            }
            at = links.right.get().filter(reaches)?;
        }
    }

    fn next_after(&self, mut at: AreaHandle, range: &RangeInclusive<u32>) -> Option<AreaHandle> {
        loop {
            let right = self.at(at).file_links.right.get();
            if let Some(found) = right.and_then(|right| self.first_below(right, range)) {
                return Some(found);
            }
            // Up, until from the left: what lies there begins later.
            loop {
                let parent = self.at(at).file_links.parent.get()?;
                let side = self.side(at, parent);
                at = parent;
                if side == Side::Left {
                    break;
                }
            }
            let (first, last) = self.at(at).file_range();
            if first > *range.end() {
                return None;
            }
            if last >= *range.start() {
                return Some(at);
            }
        }
    }

    /// Whether the tree is one: order, priorities, ends and parents. For a quiet moment.
    pub(crate) fn audit(&self, most: u32) -> Option<u32> {
        let (mut found, mut before) = (0, 0);
        for area in self.covering(0..=u32::MAX) {
            let (first, links) = (area.file_range().0, &area.file_links);
            let handle = self.areas.handle_of(area);
            let last = links.last.load(Ordering::Relaxed);
            self.note_end(handle);
            let children = [links.left.get(), links.right.get()];
            let is_sound = first >= before
                && last == links.last.load(Ordering::Relaxed)
                && children.iter().flatten().all(|child| {
                    priority(*child) <= priority(handle)
                        && self.at(*child).file_links.parent.get() == Some(handle)
                });
            if !is_sound || found >= most {
                return None;
            }
            (found, before) = (found + 1, first);
        }
        Some(found)
    }
}

/// The priority of an area in its tree: a hash of its name (Fibonacci hashing, Knuth 6.4).
fn priority(area: AreaHandle) -> u32 {
    let mixed = area.raw().wrapping_mul(0x9e37_79b9);
    (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca6b)
}

#[cfg(test)]
mod tests;
