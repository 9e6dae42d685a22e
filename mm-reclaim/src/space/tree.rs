//! The areas of one address space as a red-black tree by their start, linked by handle.
//!
//! `intrusive_collections::RBTree` with a compact link: parent and children are 32-bit
//! handles, and live in the areas. The area lock of the address space that owns the tree guards it.
//!
//! All unsafe code about the tree is here. It relies on this: an area is in use, and its chunk
//! therefore not freed, from before it is inserted until after it is removed; and every link is the
//! handle of an inserted area, because nothing else writes the link fields.

#![allow(unsafe_code, reason = "the intrusive tree's adapter traits are unsafe to implement")]

use intrusive_collections::rbtree::{Color, RBTreeOps};
use intrusive_collections::{Adapter, KeyAdapter, LinkOps, PointerOps, RBTree};

use super::AreaHandle;
use super::area::Area;
use crate::base::sync::Ordering::Relaxed;
use crate::base::units::Vpn;
use crate::page::pool::Window;

/// In `parent`: the area is in no tree.
pub(super) const UNLINKED: u32 = u32::MAX;

/// The areas of an address space, by start.
pub(super) type AreaTree<'m> = RBTree<AreaLinks<'m>>;

/// A link: the handle of an area.
type Link = AreaHandle;

/// Adapter, link operations and pointer operations in one.
#[derive(Clone, Copy)]
pub(super) struct AreaLinks<'m> {
    pub(super) window: Window<'m>,
}

impl<'m> AreaLinks<'m> {
    #[inline(always)]
    pub(super) fn area(&self, link: Link) -> &'m Area {
        // SAFETY: links are handles of inserted areas, which are in use.
        unsafe { self.window.at(link) }
    }
}

#[inline(always)]
fn encode(link: Option<Link>) -> u32 {
    link.map_or(0, Link::raw)
}

// SAFETY: links are made by `get_link` alone, and `acquire_link` admits an area only while it
// is in no tree: `parent` is UNLINKED exactly then.
unsafe impl LinkOps for AreaLinks<'_> {
    type LinkPtr = Link;

    unsafe fn acquire_link(&mut self, link: Link) -> bool {
        let area = self.area(link);
        if area.parent.load(Relaxed) != UNLINKED {
            return false;
        }
        area.parent.store(0, Relaxed);
        true
    }

    unsafe fn release_link(&mut self, link: Link) {
        self.area(link).parent.store(UNLINKED, Relaxed);
    }
}

// SAFETY: what is stored is what is loaded: only the tree writes these fields, under the area lock.
unsafe impl RBTreeOps for AreaLinks<'_> {
    #[inline(always)]
    unsafe fn left(&self, link: Link) -> Option<Link> {
        Link::new(self.area(link).left.load(Relaxed))
    }

    #[inline(always)]
    unsafe fn right(&self, link: Link) -> Option<Link> {
        Link::new(self.area(link).right.load(Relaxed))
    }

    #[inline(always)]
    unsafe fn parent(&self, link: Link) -> Option<Link> {
        Link::new(self.area(link).parent.load(Relaxed))
    }

    unsafe fn color(&self, link: Link) -> Color {
        if self.area(link).red.load(Relaxed) { Color::Red } else { Color::Black }
    }

    unsafe fn set_left(&mut self, link: Link, left: Option<Link>) {
        self.area(link).left.store(encode(left), Relaxed);
    }

    unsafe fn set_right(&mut self, link: Link, right: Option<Link>) {
        self.area(link).right.store(encode(right), Relaxed);
    }

    unsafe fn set_parent(&mut self, link: Link, parent: Option<Link>) {
        self.area(link).parent.store(encode(parent), Relaxed);
    }

    unsafe fn set_color(&mut self, link: Link, color: Color) {
        self.area(link).red.store(color == Color::Red, Relaxed);
    }
}

// SAFETY: a reference becomes a pointer and the same reference again; an inserted area is in
// use, and its chunk stays.
unsafe impl<'m> PointerOps for AreaLinks<'m> {
    type Value = Area;
    type Pointer = &'m Area;

    #[inline(always)]
    unsafe fn from_raw(&self, value: *const Area) -> &'m Area {
        // SAFETY: `value` came from `into_raw` or `get_value`.
        unsafe { &*value }
    }

    #[inline(always)]
    fn into_raw(&self, ptr: &'m Area) -> *const Area {
        ptr
    }
}

// SAFETY: `get_value` and `get_link` are inverse to each other for areas of the pool.
unsafe impl<'m> Adapter for AreaLinks<'m> {
    type LinkOps = Self;
    type PointerOps = Self;

    #[inline(always)]
    unsafe fn get_value(&self, link: Link) -> *const Area {
        self.area(link)
    }

    #[inline(always)]
    unsafe fn get_link(&self, value: *const Area) -> Link {
        // SAFETY: the tree passes pointers that it got from `into_raw`: areas of the pool.
        let area = unsafe { &*value };
        self.window.handle_of(area)
    }

    #[inline(always)]
    fn link_ops(&self) -> &Self {
        self
    }

    #[inline(always)]
    fn link_ops_mut(&mut self) -> &mut Self {
        self
    }

    #[inline(always)]
    fn pointer_ops(&self) -> &Self {
        self
    }
}

impl<'a> KeyAdapter<'a> for AreaLinks<'_> {
    type Key = Vpn;

    #[inline(always)]
    fn get_key(&self, area: &'a Area) -> Vpn {
        area.start()
    }
}

/// Removes an area, which must be in this tree.
pub(super) fn remove<'m>(tree: &mut AreaTree<'m>, area: &'m Area) {
    assert!(area.parent.load(Relaxed) != UNLINKED, "in no tree: {:?}", area.view());
    // SAFETY: the area is in a tree, and in this one by the callers' invariant: it is an area
    // of the space whose area lock they hold.
    let mut cursor = unsafe { tree.cursor_mut_from_ptr(area) };
    cursor.remove();
}
